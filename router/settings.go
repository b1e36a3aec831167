package router

import (
	"strconv"
	"strings"

	pgquery "github.com/pganalyze/pg_query_go/v6"
)

// set notes SET and RESET in all their spellings.
func (a *analysis) set(n *pgquery.VariableSetStmt) {
	switch n.GetKind() {
	case pgquery.VariableSetKind_VAR_RESET_ALL:
		a.add(Part{Kind: ResetAll})
	case pgquery.VariableSetKind_VAR_SET_MULTI:
		a.setSeveral(n)
	case pgquery.VariableSetKind_VAR_RESET:
		a.setting(Reset, n.GetName(), "", false)
	case pgquery.VariableSetKind_VAR_SET_DEFAULT:
		a.setting(orLocal(SetDefault, n), n.GetName(), "", false)
	case pgquery.VariableSetKind_VAR_SET_CURRENT:
		a.setting(orLocal(Set, n), n.GetName(), "", false)
	default:
		value, ok := a.value(parameter(n.GetName()), n.GetArgs())
		a.setting(orLocal(Set, n), n.GetName(), value, ok)
	}
}

func orLocal(k Kind, n *pgquery.VariableSetStmt) Kind {
	if n.GetIsLocal() {
		return SetLocal
	}
	return k
}

// setting notes what becomes of one parameter. Some are settings by their looks only.
func (a *analysis) setting(kind Kind, name, value string, has bool) {
	p := Part{Kind: kind, Name: parameter(name), Value: value, HasValue: has}
	p.Kind = settingKind(kind, p.Name)
	a.add(p)
	a.mayUseTemp(p)
}

// settingKind is the kind for a parameter that is not like the others, else kind.
func settingKind(kind Kind, name string) Kind {
	switch name {
	case "transaction_isolation", "transaction_read_only", "transaction_deferrable":
		return SetTransaction // every transaction begins with the default_ one again
	case "seed":
		return SetSeed
	}
	return kind
}

// mayUseTemp notes a search_path with pg_temp in it: objects may be created there from now on without a word about it.
func (a *analysis) mayUseTemp(p Part) {
	if p.Name != "search_path" {
		return
	}
	for entry := range strings.SplitSeq(p.Value, ",") {
		if temporarySchema(strings.Trim(entry, ` "`)) {
			a.usesTemp()
		}
	}
}

// setSeveral notes SET TRANSACTION and SET SESSION CHARACTERISTICS, which set a parameter for each of their modes.
func (a *analysis) setSeveral(n *pgquery.VariableSetStmt) {
	kind, prefix := SetTransaction, ""
	switch n.GetName() {
	case "TRANSACTION SNAPSHOT":
		a.add(Part{Kind: SetTransaction, Name: "transaction_snapshot"})
		return
	case "SESSION CHARACTERISTICS":
		kind, prefix = orLocal(SetCharacteristics, n), "default_"
	}
	for _, arg := range n.GetArgs() {
		e := arg.GetDefElem()
		value, ok := literal(e.GetArg())
		if strings.HasSuffix(e.GetDefname(), "_read_only") || strings.HasSuffix(e.GetDefname(), "_deferrable") {
			value = onOff(value)
		}
		a.add(Part{Kind: kind, Name: prefix + e.GetDefname(), Value: value, HasValue: ok})
	}
}

func onOff(value string) string {
	if value == "0" || value == "false" {
		return "off"
	}
	return "on"
}

// parameter is the name a parameter is known by: case does not matter, and some had another name once.
func parameter(name string) string {
	switch name = asciiLower(name); name {
	case "sort_mem":
		return "work_mem"
	case "vacuum_mem":
		return "maintenance_work_mem"
	}
	return name
}

// asciiLower lowers what PostgreSQL lowers in the name of a parameter.
func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// value spells the arguments of SET as one string that set_config would read the same way.
func (a *analysis) value(name string, args []*pgquery.Node) (string, bool) {
	list, quoted := listParameter(name)
	if len(args) == 0 || len(args) > 1 && !list {
		return "", false
	}
	parts := make([]string, len(args))
	for i, arg := range args {
		part, ok := literal(arg)
		if !ok {
			return "", false // an interval: the server writes it in its own way
		}
		if quoted && arg.GetAConst().GetSval() != nil {
			part = quoteName(part)
		}
		parts[i] = part
	}
	return strings.Join(parts, ", "), true
}

// listParameter tells whether a parameter takes a list, and whether of names that are quoted where needed. Extensions cannot
// have the second kind; one of the first kind that is missing here only has no Value.
func listParameter(name string) (list, quoted bool) {
	switch name {
	case "search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries":
		return true, true
	case "datestyle", "createrole_self_grant", "restrict_nonsystem_relation_kind", "wal_consistency_checking":
		return true, false
	}
	return false, false
}

// literal is a constant as SET takes it.
func literal(n *pgquery.Node) (string, bool) {
	c := n.GetAConst()
	switch v := c.GetVal().(type) {
	case *pgquery.A_Const_Sval:
		return v.Sval.GetSval(), true
	case *pgquery.A_Const_Ival:
		return strconv.Itoa(int(v.Ival.GetIval())), true
	case *pgquery.A_Const_Fval:
		return v.Fval.GetFval(), true
	case *pgquery.A_Const_Boolval:
		return strconv.FormatBool(v.Boolval.GetBoolval()), true
	}
	return "", false
}

// quoteName quotes a name where PostgreSQL's quote_identifier does.
func quoteName(name string) string {
	if plainName(name) {
		ts := parser.tokens(name)
		if len(ts) == 1 && (ts[0].KeywordKind == pgquery.KeywordKind_NO_KEYWORD || ts[0].KeywordKind == pgquery.KeywordKind_UNRESERVED_KEYWORD) {
			return name
		}
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

func plainName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '_' && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
