package router

import pgquery "github.com/pganalyze/pg_query_go/v6"

// place notes something about a call before it is looked at.
func (a *analysis) place(n *pgquery.FuncCall, note func(*CallSite)) {
	if a.places == nil {
		a.places = make(map[*pgquery.FuncCall]CallSite)
	}
	site := a.places[n]
	note(&site)
	a.places[n] = site
}

// column looks at an expression of a SELECT's or RETURNING's list that was given no name: a call lends it the function's.
func (a *analysis) column(n *pgquery.ResTarget) {
	if n.GetName() != "" {
		return
	}
	if call := n.GetVal().GetFuncCall(); call != nil {
		a.place(call, func(s *CallSite) { s.Alone = true })
		return
	}
	if call := namesake(n.GetVal()); call != nil {
		a.place(call, func(s *CallSite) { s.Names = true })
	}
}

// namesake is the call that an unnamed column takes its name from although it is not the whole of it.
func namesake(n *pgquery.Node) *pgquery.FuncCall {
	for {
		switch e := n.GetNode().(type) {
		case *pgquery.Node_FuncCall:
			return e.FuncCall
		case *pgquery.Node_TypeCast:
			n = e.TypeCast.GetArg()
		case *pgquery.Node_CollateClause:
			n = e.CollateClause.GetArg()
		case *pgquery.Node_AIndirection:
			n = e.AIndirection.GetArg()
		case *pgquery.Node_CaseExpr:
			n = e.CaseExpr.GetDefresult()
		default:
			return nil
		}
	}
}

// tableFunctions looks at functions in FROM.
func (a *analysis) tableFunctions(n *pgquery.RangeFunction) {
	for _, function := range n.GetFunctions() {
		for _, item := range function.GetList().GetItems() {
			if call := item.GetFuncCall(); call != nil {
				a.place(call, func(s *CallSite) { s.From = true })
			}
		}
	}
}

// once looks whether the columns of a SELECT are computed exactly once: it has nothing but columns, and no column is anything
// that could give no rows.
func (a *analysis) once(n *pgquery.SelectStmt) {
	if !onlyColumns(n) {
		return
	}
	for _, target := range n.GetTargetList() {
		if !plain(target.GetResTarget().GetVal()) {
			return
		}
	}
	for _, target := range n.GetTargetList() {
		if call := target.GetResTarget().GetVal().GetFuncCall(); call != nil {
			a.place(call, func(s *CallSite) { s.Once = true })
		}
	}
}

// onlyColumns tells a SELECT of nothing but its list.
func onlyColumns(n *pgquery.SelectStmt) bool {
	return n.GetOp() == pgquery.SetOperation_SETOP_NONE &&
		len(n.GetFromClause())+len(n.GetDistinctClause())+len(n.GetGroupClause())+len(n.GetWindowClause())+
			len(n.GetValuesLists())+len(n.GetSortClause())+len(n.GetLockingClause()) == 0 &&
		n.GetWhereClause() == nil && n.GetHavingClause() == nil && n.GetLimitCount() == nil && n.GetLimitOffset() == nil &&
		n.GetWithClause() == nil && n.GetIntoClause() == nil
}

// plain tells an expression of literals, parameters and the functions known here that give one value.
func plain(n *pgquery.Node) bool {
	switch e := n.GetNode().(type) {
	case *pgquery.Node_AConst, *pgquery.Node_ParamRef:
		return true
	case *pgquery.Node_TypeCast:
		return plain(e.TypeCast.GetArg())
	case *pgquery.Node_NamedArgExpr:
		return plain(e.NamedArgExpr.GetArg())
	case *pgquery.Node_FuncCall:
		kind, _, known := function(e.FuncCall.GetFuncname())
		if !known || kind == SessionView || kind == RunsText || kind == Dblink || e.FuncCall.GetOver() != nil {
			return false
		}
		for _, arg := range e.FuncCall.GetArgs() {
			if !plain(arg) {
				return false
			}
		}
		return true
	}
	return false
}
