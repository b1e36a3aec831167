package router

import pgquery "github.com/pganalyze/pg_query_go/v6"

// The grammar's code calls itself for each level of the tree when it hands the tree over, and nothing stops it. Some thousand
// levels end a native process, or leave the WebAssembly one broken for good; some hundred make each later parse of the latter
// slower, since it copies its stack for each, as large as it ever was. A few bytes are enough for a level (1+1+1+1), so a text
// with many words or signs is split into tokens first, which needs no recursion, and those bound its height from above.
//
// The other bound is for the time it takes: the lexer reads a run of operator characters again for each operator in it, so
// that the +-+-+- of one text could keep it busy for minutes.
const (
	maxHeight   = 300
	maxOperator = 256

	bracketHeight = 2 // the bracket, and a list or an AND in it
)

// flat tells a text that has too few tokens to be high, without splitting it: a token is a word or has a sign of its own.
func flat(text string) bool {
	most, inWord := 0, false
	for i := range len(text) {
		switch c := text[i]; {
		case c == '_' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
			if !inWord {
				most++
			}
			inWord = true
		case c == ' ' || '\t' <= c && c <= '\r':
			inWord = false
		default:
			most += bracketHeight
			inWord = false
		}
	}
	return most <= maxHeight
}

// longestOperator is the length of the longest run of operator characters, wherever it stands.
func longestOperator(text string) (longest int) {
	run := 0
	for i := range len(text) {
		switch text[i] {
		case '~', '!', '@', '#', '^', '&', '|', '`', '?', '+', '-', '*', '/', '%', '<', '>', '=':
			run++
			longest = max(longest, run)
		default:
			run = 0
		}
	}
	return longest
}

// shallow tells whether the tree of a text with these tokens is no higher than the grammar's code bears.
func shallow(ts tokens) bool { return measureOf(ts) <= maxHeight }

// measureOf bounds the height of the tree of a text with these tokens.
func measureOf(ts tokens) int {
	m := measure{levels: make([]level, 1, 16)}
	for i, t := range ts {
		m.token(t, i > 0 && ts[i-1].Token == pgquery.Token_ASCII_46)
		if len(m.levels) > maxHeight {
			return len(m.levels) // too high, or never closed
		}
	}
	for len(m.levels) > 1 {
		m.leave()
	}
	return m.levels[0].height()
}

// measure goes through tokens with one level for each bracket that is open. It relies on what the grammar is like: all that
// nests without brackets is a chain of operators and keywords; a comma, AND and OR separate siblings; joins and set operations
// chain across commas.
type measure struct{ levels []level }

// level is what was seen since its bracket was opened.
type level struct {
	opened pgquery.Token
	chain  int // operators and keywords since the last comma
	inside int // the highest bracket since the last comma
	joins  int // joins and set operations
	most   int // the highest of what commas ended
}

func (l *level) height() int { return l.joins + max(l.most, l.chain+l.inside) }

// sibling ends one of several that stand side by side.
func (l *level) sibling() {
	l.most = max(l.most, l.chain+l.inside)
	l.chain, l.inside = 0, 0
}

func (m *measure) enter(opened pgquery.Token) { m.levels = append(m.levels, level{opened: opened}) }

func (m *measure) leave() {
	last := len(m.levels) - 1
	height := m.levels[last].height() + bracketHeight
	m.levels = m.levels[:last]
	m.top().inside = max(m.top().inside, height)
}

func (m *measure) top() *level { return &m.levels[len(m.levels)-1] }

// close ends the innermost level that was opened so, and what was left open inside it.
func (m *measure) close(opened pgquery.Token) {
	for i := len(m.levels) - 1; i > 0; i-- {
		if m.levels[i].opened == opened {
			for len(m.levels) > i {
				m.leave()
			}
			return
		}
	}
}

// token takes the next token; afterDot says that it is a name whatever it looks like.
func (m *measure) token(t *pgquery.ScanToken, afterDot bool) {
	top := m.top()
	switch t.Token {
	case pgquery.Token_ASCII_40, pgquery.Token_ASCII_91, pgquery.Token_CASE:
		m.enter(t.Token)
	case pgquery.Token_ASCII_41:
		m.close(pgquery.Token_ASCII_40)
	case pgquery.Token_ASCII_93:
		m.close(pgquery.Token_ASCII_91)
	case pgquery.Token_END_P:
		if top.opened == pgquery.Token_CASE && !afterDot {
			m.leave()
		}
	case pgquery.Token_ASCII_44, pgquery.Token_AND, pgquery.Token_OR, pgquery.Token_ASCII_59:
		top.sibling()
	case pgquery.Token_JOIN, pgquery.Token_UNION, pgquery.Token_INTERSECT, pgquery.Token_EXCEPT:
		top.sibling()
		top.joins++
	case pgquery.Token_WHEN:
		if top.opened == pgquery.Token_CASE {
			top.sibling()
		}
		top.chain++
	case pgquery.Token_IDENT, pgquery.Token_UIDENT, pgquery.Token_ICONST, pgquery.Token_FCONST, pgquery.Token_SCONST,
		pgquery.Token_USCONST, pgquery.Token_BCONST, pgquery.Token_XCONST, pgquery.Token_PARAM, pgquery.Token_ASCII_46:
	default:
		top.chain++
	}
}
