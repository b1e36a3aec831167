package router

import pgquery "github.com/pganalyze/pg_query_go/v6"

// prepare finds the statement and the types in PREPARE name (types) AS statement. The statement is read for itself, as whoever
// executes it will know it by its own text.
func (a *analysis) prepare(n *pgquery.PrepareStmt) {
	p := a.add(Part{Kind: Prepare, Name: n.GetName()})
	own := a.own()
	as := own.next(1, pgquery.Token_AS)
	p.Body = own.span(as+1, len(own))
	if p.Body.Empty() {
		a.failed = true
		return
	}
	if len(n.GetArgtypes()) > 0 {
		open, closing, _ := own.parens(1)
		p.Args = own.span(open+1, closing)
	}
	p.Inner = Analyze(p.Body.In(a.text))
}

// execute finds the arguments in EXECUTE name (arguments), which may stand in EXPLAIN and in CREATE TABLE AS.
func (a *analysis) execute(n *pgquery.ExecuteStmt) {
	p := a.add(Part{Kind: Execute, Name: n.GetName()})
	own := a.own()
	at := own.executeAt()
	if at+1 >= len(own) {
		a.failed = true
		return
	}
	end := at + 2
	if len(n.GetParams()) > 0 {
		open, closing, ok := own.parens(at + 2)
		a.failed = a.failed || !ok
		p.Args, end = own.span(open+1, closing), closing+1
	}
	p.At, p.End = own.span(at, end).At, own.span(at, end).End
}

// executeAt is the index of the word EXECUTE that begins the command, not one that is a name.
func (ts tokens) executeAt() int {
	for i := ts.next(0, pgquery.Token_EXECUTE); i < len(ts); i = ts.next(i+1, pgquery.Token_EXECUTE) {
		if i == 0 {
			return i
		}
		switch ts[i-1].Token {
		case pgquery.Token_AS, pgquery.Token_EXPLAIN, pgquery.Token_ANALYZE, pgquery.Token_ANALYSE, pgquery.Token_VERBOSE,
			pgquery.Token_ASCII_41:
			return i
		}
	}
	return len(ts)
}
