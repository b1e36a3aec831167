package router

import (
	"strings"

	pgquery "github.com/pganalyze/pg_query_go/v6"
)

// do notes an anonymous block. Its body is not parsed: Harmless is what its words allow, whatever they stand for there.
func (a *analysis) do(n *pgquery.DoStmt) {
	p := Part{Kind: Do}
	for _, arg := range n.GetArgs() {
		switch e := arg.GetDefElem(); e.GetDefname() {
		case "as":
			p.Text = e.GetArg().GetString_().GetSval()
		case "language":
			p.Value = e.GetArg().GetString_().GetSval()
		}
	}
	p.Harmless = (p.Value == "" || p.Value == "plpgsql") && harmlessBlock(p.Text)
	a.add(p)
}

// harmlessBlock tells that no word of a block's body is one that changes the session or runs a text. A function of the user's
// own that it calls is beyond any word.
func harmlessBlock(body string) bool {
	if longestOperator(body) > maxOperator {
		return false
	}
	ts := parser.tokens(body)
	if len(ts) == 0 {
		return false
	}
	for _, t := range ts {
		word := body[t.Start:t.End]
		switch {
		case t.Token == pgquery.Token_UIDENT:
			return false // spelled in escapes
		case t.Token == pgquery.Token_IDENT, t.KeywordKind != pgquery.KeywordKind_NO_KEYWORD:
			if changesSession(strings.ToLower(strings.Trim(word, `"`))) {
				return false
			}
		}
	}
	return true
}

// changesSession tells a word that may begin or name something with an effect on the session.
func changesSession(word string) bool {
	switch word {
	case "set", "reset", "execute", "temp", "temporary", "listen", "unlisten", "prepare", "load", "hold", "discard", "deallocate",
		"call", "pg_settings":
		return true
	}
	if temporarySchema(word) {
		return true
	}
	kind, known := catalogFunction(word)
	if !known {
		kind, known = extensionFunction(word)
	}
	return known && kind != BackendPID && kind != SessionView && kind != Notify
}
