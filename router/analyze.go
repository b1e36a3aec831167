package router

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	pgquery "github.com/pganalyze/pg_query_go/v6"
)

// Analyze reads a text of any number of statements. It takes microseconds for a short one and milliseconds for a long one,
// the first call of a process up to seconds: callers keep verdicts by text. Never nil.
func Analyze(text string) *Verdict { return AnalyzeWith(text, true) }

// AnalyzeWith reads a text for a session whose standard_conforming_strings is conforming. Where it is off and the text has a
// backslash in a plain literal, nobody can tell from here where that literal ends: it counts as not understood.
func AnalyzeWith(text string, conforming bool) *Verdict {
	a := &analysis{text: text}
	if !a.readable(conforming) {
		return &Verdict{}
	}
	tree := parser.tree(text)
	if tree == nil {
		return &Verdict{}
	}
	for i, raw := range tree.GetStmts() {
		a.raw(i, raw)
	}
	if a.failed {
		return &Verdict{}
	}
	return &Verdict{Parsed: true, Count: len(tree.GetStmts()), Parts: a.parts}
}

// Working tells whether the grammar still answers. It stops for good, and every text counts as not understood, should it ever
// fail in itself: that is a bug worth an alarm.
func Working() bool {
	parser.mu.Lock()
	defer parser.mu.Unlock()
	return !parser.broken
}

// analysis is one text being read.
type analysis struct {
	text    string
	scanned tokens // of the whole text, once somebody needed them
	parts   []Part
	failed  bool // a position that must be there was not found

	stmt   int
	bounds Span // of the statement, blanks and comments around it included
	runs   mode
	temp   bool // that it names the temporary schema is noted
	places map[*pgquery.FuncCall]CallSite
	made   map[*pgquery.RangeVar]bool // names of what the statement creates
}

// mode is what becomes of the expressions in a statement.
type mode uint8

const (
	running mode = iota // they are evaluated
	stored              // they are kept in a definition, and perhaps evaluated too
	inert               // they are only kept
	planned             // nothing of the statement happens, it is only looked at: EXPLAIN
)

// readable tells whether the grammar may be asked about the text at all.
func (a *analysis) readable(conforming bool) bool {
	if strings.IndexByte(a.text, 0) >= 0 || !utf8.ValidString(a.text) || longestOperator(a.text) > maxOperator {
		return false
	}
	if !conforming && strings.Contains(a.text, `\`) && !plainLiterals(a.text, a.tokens()) {
		return false
	}
	return flat(a.text) || shallow(a.tokens())
}

// plainLiterals tells that no plain literal has a backslash: then the text means the same whatever backslashes mean. Up to the
// first such literal both readings agree, so looking at the tokens of one reading is enough.
func plainLiterals(text string, ts tokens) bool {
	if len(ts) == 0 {
		return false
	}
	for _, t := range ts {
		if t.Token == pgquery.Token_SCONST && text[t.Start] == '\'' && strings.Contains(text[t.Start:t.End], `\`) {
			return false
		}
	}
	return true
}

// tokens of the whole text.
func (a *analysis) tokens() tokens {
	if a.scanned == nil {
		a.scanned = parser.tokens(a.text)
	}
	return a.scanned
}

// raw reads one statement and puts its parts in the order of the text.
func (a *analysis) raw(i int, raw *pgquery.RawStmt) {
	a.stmt, a.runs, a.temp, a.places, a.made = i, running, false, nil, nil
	a.bounds = Span{At: int(raw.GetStmtLocation()), End: len(a.text)}
	if raw.GetStmtLen() > 0 {
		a.bounds.End = a.bounds.At + int(raw.GetStmtLen())
	}
	first := len(a.parts)
	a.statement(raw.GetStmt())
	slices.SortStableFunc(a.parts[first:], func(x, y Part) int { return cmp.Compare(x.At, y.At) })
}

// own is the statement's tokens.
func (a *analysis) own() tokens { return a.tokens().within(a.bounds) }

// add notes a part that is the statement as a whole, and returns it to be completed.
func (a *analysis) add(p Part) *Part {
	own := a.own()
	whole := own.span(0, len(own))
	p.Stmt, p.At, p.End = a.stmt, whole.At, whole.End
	a.failed = a.failed || whole.Empty()
	a.parts = append(a.parts, p)
	return &a.parts[len(a.parts)-1]
}
