package router

import (
	"strings"

	pgquery "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// inside looks at everything in a node: functions that are called, names that are created or used.
func (a *analysis) inside(node *pgquery.Node) {
	if node != nil {
		walk(node.ProtoReflect(), a.visit)
	}
}

// as looks at a node of which becomes something else than of what is around it.
func (a *analysis) as(m mode, node *pgquery.Node) {
	outer := a.runs
	if outer != planned {
		a.runs = m
	}
	a.inside(node)
	a.runs = outer
}

func (a *analysis) visit(m proto.Message) bool {
	switch n := m.(type) {
	case *pgquery.FuncCall:
		a.call(n)
	case *pgquery.ResTarget:
		a.column(n)
	case *pgquery.RangeFunction:
		a.tableFunctions(n)
	case *pgquery.RangeVar:
		a.relation(n)
	case *pgquery.UpdateStmt:
		a.update(n)
	case *pgquery.ExecuteStmt:
		a.execute(n)
		for _, param := range n.GetParams() {
			a.evaluated(param)
		}
		return false
	case *pgquery.A_Const, *pgquery.ColumnRef:
		return false
	default:
		return a.creates(m)
	}
	return true
}

// evaluated looks at an argument of EXECUTE, which EXPLAIN computes too.
func (a *analysis) evaluated(node *pgquery.Node) {
	outer := a.runs
	a.runs = running
	a.inside(node)
	a.runs = outer
}

// creates looks at what makes an object.
func (a *analysis) creates(m proto.Message) bool {
	switch n := m.(type) {
	case *pgquery.CreateStmt:
		a.created(n.GetRelation(), n.GetOncommit())
	case *pgquery.IntoClause:
		a.created(n.GetRel(), n.GetOnCommit())
	case *pgquery.CreateSeqStmt:
		a.created(n.GetSequence(), pgquery.OnCommitAction_ONCOMMIT_NOOP)
	case *pgquery.CompositeTypeStmt:
		a.created(n.GetTypevar(), pgquery.OnCommitAction_ONCOMMIT_NOOP)
	case *pgquery.ViewStmt:
		a.created(n.GetView(), pgquery.OnCommitAction_ONCOMMIT_NOOP)
		a.as(inert, n.GetQuery())
		return false
	case *pgquery.TypeName:
		if qualifiedTemp(n.GetNames()) {
			a.usesTemp()
		}
	default:
		if qualifiedTemp(definedName(m)) {
			a.createTemp("")
		}
	}
	return true
}

// definedName is the name of what m creates, of the kinds that are not named as a table is.
func definedName(m proto.Message) []*pgquery.Node {
	switch n := m.(type) {
	case *pgquery.CreateFunctionStmt:
		return n.GetFuncname()
	case *pgquery.DefineStmt:
		return n.GetDefnames()
	case *pgquery.CreateEnumStmt:
		return n.GetTypeName()
	case *pgquery.CreateRangeStmt:
		return n.GetTypeName()
	case *pgquery.CreateDomainStmt:
		return n.GetDomainname()
	case *pgquery.CreateStatsStmt:
		return n.GetDefnames()
	case *pgquery.CreateConversionStmt:
		return n.GetConversionName()
	case *pgquery.CreateOpClassStmt:
		return n.GetOpclassname()
	case *pgquery.CreateOpFamilyStmt:
		return n.GetOpfamilyname()
	}
	return nil
}

// created notes a relation that is made for this session only.
func (a *analysis) created(name *pgquery.RangeVar, onCommit pgquery.OnCommitAction) {
	if a.runs == planned || name.GetRelpersistence() != "t" && !temporarySchema(name.GetSchemaname()) {
		return
	}
	if a.made == nil {
		a.made = make(map[*pgquery.RangeVar]bool)
	}
	a.made[name] = true
	value := ""
	if onCommit == pgquery.OnCommitAction_ONCOMMIT_DROP {
		value = "drop"
	}
	a.createTemp(value)
}

func (a *analysis) createTemp(value string) { a.add(Part{Kind: CreateTemp, Value: value}) }

// relation looks at the name of a table or view.
func (a *analysis) relation(n *pgquery.RangeVar) {
	switch {
	case a.made[n]:
	case temporarySchema(n.GetSchemaname()):
		a.usesTemp()
	case a.runs == inert || a.runs == planned:
	case catalogName(n, "pg_prepared_statements") || catalogName(n, "pg_cursors"):
		a.add(Part{Kind: SessionView, Name: n.GetRelname()})
	}
}

func (a *analysis) update(n *pgquery.UpdateStmt) {
	if a.runs != inert && a.runs != planned && catalogName(n.GetRelation(), "pg_settings") {
		a.add(Part{Kind: UpdateSettings, Unknown: true})
	}
}

func catalogName(n *pgquery.RangeVar, name string) bool {
	return n.GetRelname() == name && (n.GetSchemaname() == "" || n.GetSchemaname() == "pg_catalog")
}

// usesTemp notes, once for a statement, that it names the schema of temporary objects.
func (a *analysis) usesTemp() {
	if !a.temp {
		a.temp = true
		a.add(Part{Kind: UsesTemp})
	}
}

// temporarySchema tells the alias of the session's own temporary schema, and the real name of any.
func temporarySchema(name string) bool {
	rest, found := strings.CutPrefix(name, "pg_temp")
	return found && (rest == "" || rest[0] == '_')
}

// qualifiedTemp tells a name that begins with the temporary schema.
func qualifiedTemp(names []*pgquery.Node) bool {
	return len(names) > 1 && temporarySchema(names[0].GetString_().GetSval())
}
