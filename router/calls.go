package router

import (
	"strings"

	pgquery "github.com/pganalyze/pg_query_go/v6"
)

// call notes a function that does something to the session.
func (a *analysis) call(n *pgquery.FuncCall) {
	if qualifiedTemp(n.GetFuncname()) {
		a.usesTemp()
	}
	kind, name, known := function(n.GetFuncname())
	if !known || a.runs == inert || a.runs == planned {
		return
	}
	p := Part{Kind: kind, Stmt: a.stmt, Name: name, CallSite: a.places[n]}
	p.Stored = a.runs == stored
	p.At, p.End = a.callRange(int(n.GetLocation()), p.Alone)
	args := arguments{call: n}
	switch kind {
	case SetConfig:
		args.setConfig(&p)
	case Notify:
		args.notify(&p)
	case TerminateBackend, CancelBackend:
		a.process(&p, args)
	}
	a.parts = append(a.parts, p)
	a.mayUseTemp(p)
}

// callRange is where a call stands that begins at the offset. Where it is all of a column, so are parentheses around it: what
// replaces it may need a name, which does not go inside them.
func (a *analysis) callRange(at int, alone bool) (from, to int) {
	ts := a.tokens()
	first := ts.from(at)
	_, last, ok := ts.parens(first)
	if !ok || at < 0 {
		a.failed = true
		return 0, 0
	}
	for alone && first > 0 && ts[first-1].Token == pgquery.Token_ASCII_40 && last+1 < len(ts) &&
		ts[last+1].Token == pgquery.Token_ASCII_41 {
		first, last = first-1, last+1
	}
	return int(ts[first].Start), int(ts[last].End)
}

// arguments of a call, by position or by name.
type arguments struct{ call *pgquery.FuncCall }

// get returns an argument without casts to the types these functions take; nil where there is none.
func (g arguments) get(position int, name string) *pgquery.Node {
	for i, arg := range g.call.GetArgs() {
		if named := arg.GetNamedArgExpr(); named != nil {
			if named.GetName() == name {
				return uncast(named.GetArg())
			}
		} else if i == position {
			return uncast(arg)
		}
	}
	return nil
}

// uncast takes the casts off a literal or a parameter that leave it what it is: to text, boolean or an integer.
func uncast(n *pgquery.Node) *pgquery.Node {
	for n.GetTypeCast() != nil {
		names := n.GetTypeCast().GetTypeName().GetNames()
		if len(names) == 0 || len(n.GetTypeCast().GetTypeName().GetArrayBounds()) > 0 || len(n.GetTypeCast().GetTypeName().GetTypmods()) > 0 {
			return n
		}
		switch names[len(names)-1].GetString_().GetSval() {
		case "text", "varchar", "unknown", "bool", "int4", "int8":
			n = n.GetTypeCast().GetArg()
		default:
			return n
		}
	}
	return n
}

// setConfig reads set_config(setting_name, new_value, is_local).
func (g arguments) setConfig(p *Part) {
	if p.Name == "set_limit" { // pg_trgm's own way to set its parameter
		p.Name = "pg_trgm.similarity_threshold"
		return
	}
	name, value, local := g.get(0, "setting_name"), g.get(1, "new_value"), g.get(2, "is_local")
	p.Name = ""
	p.Arg, p.ValueArg, p.LocalArg = bound(name), bound(value), bound(local)
	if s, ok := text(name); ok {
		p.Name = parameter(s)
	}
	p.Value, p.HasValue = text(value)
	isLocal, told := boolean(local)
	p.Unknown = g.call.GetFuncVariadic() || p.Name == "" && p.Arg == 0 || !told && p.LocalArg == 0
	if told && isLocal {
		p.Kind = SetConfigLocal
	}
	p.Kind = settingKind(p.Kind, p.Name)
}

func (g arguments) notify(p *Part) {
	channel := g.get(0, "")
	name, ok := text(channel)
	p.Name, p.Arg = name, bound(channel)
	p.Unknown = !ok && p.Arg == 0
	p.Text, _ = text(g.get(1, ""))
}

// process reads the pid that pg_terminate_backend and pg_cancel_backend are given.
func (a *analysis) process(p *Part, g arguments) {
	pid := g.get(0, "pid")
	p.Arg = bound(pid)
	if v := pid.GetAConst().GetIval(); v != nil {
		p.PID = int(v.GetIval())
		p.Args = a.tokenSpan(int(pid.GetAConst().GetLocation()))
	}
	p.Unknown = p.Arg == 0 && p.PID == 0
}

// tokenSpan is the range of a literal that begins at the offset, its sign included.
func (a *analysis) tokenSpan(at int) Span {
	ts := a.tokens()
	i := ts.from(at)
	if i < len(ts) && ts[i].Token == pgquery.Token_ASCII_45 {
		return ts.span(i, i+2)
	}
	return ts.span(i, i+1)
}

// bound is n for the parameter $n, else 0.
func bound(n *pgquery.Node) int { return int(n.GetParamRef().GetNumber()) }

// text is a string literal.
func text(n *pgquery.Node) (string, bool) {
	if s := n.GetAConst().GetSval(); s != nil {
		return s.GetSval(), true
	}
	return "", false
}

// boolean is a literal of that type, as a word or as a string.
func boolean(n *pgquery.Node) (value, ok bool) {
	if b := n.GetAConst().GetBoolval(); b != nil {
		return b.GetBoolval(), true
	}
	s, ok := text(n)
	if !ok {
		return false, false
	}
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "t", "true", "y", "yes", "on", "1":
		return true, true
	case "f", "false", "n", "no", "off", "0":
		return false, true
	}
	return false, false
}
