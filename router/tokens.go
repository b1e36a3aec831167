package router

import (
	"sort"

	pgquery "github.com/pganalyze/pg_query_go/v6"
)

// tokens of a text in order, without comments.
type tokens []*pgquery.ScanToken

func withoutComments(all []*pgquery.ScanToken) tokens {
	kept := make(tokens, 0, len(all))
	for _, t := range all {
		if t.Token != pgquery.Token_SQL_COMMENT && t.Token != pgquery.Token_C_COMMENT {
			kept = append(kept, t)
		}
	}
	return kept
}

// from is the index of the first token that begins at offset or later.
func (ts tokens) from(offset int) int {
	return sort.Search(len(ts), func(i int) bool { return int(ts[i].Start) >= offset })
}

// span is the range of the tokens i to j, j not included.
func (ts tokens) span(i, j int) Span {
	if i >= j || j > len(ts) {
		return Span{}
	}
	return Span{At: int(ts[i].Start), End: int(ts[j-1].End)}
}

// within returns the tokens that lie in s.
func (ts tokens) within(s Span) tokens {
	return ts[ts.from(s.At):ts.from(s.End)]
}

// next is the index of the first token of that type at i or later, outside parentheses opened since; len(ts) for none.
func (ts tokens) next(i int, want pgquery.Token) int {
	depth := 0
	for ; i < len(ts); i++ {
		t := ts[i].Token
		if depth == 0 && t == want {
			return i
		}
		switch t {
		case pgquery.Token_ASCII_40:
			depth++
		case pgquery.Token_ASCII_41:
			depth--
		}
	}
	return i
}

// parens finds the first opening parenthesis at i or later and the one that closes it.
func (ts tokens) parens(i int) (open, closing int, ok bool) {
	open = ts.next(i, pgquery.Token_ASCII_40)
	if open == len(ts) {
		return 0, 0, false
	}
	closing = ts.next(open+1, pgquery.Token_ASCII_41)
	return open, closing, closing < len(ts)
}
