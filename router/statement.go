package router

import (
	"strings"

	pgquery "github.com/pganalyze/pg_query_go/v6"
)

// cursorHold is the bit of WITH HOLD in a cursor's options (CURSOR_OPT_HOLD in parsenodes.h).
const cursorHold = 0x20

// statement notes what the statement itself does, then what is inside it.
func (a *analysis) statement(node *pgquery.Node) {
	switch n := node.GetNode().(type) {
	case *pgquery.Node_ExplainStmt:
		a.explain(n.ExplainStmt)
		return
	case *pgquery.Node_PrepareStmt:
		a.prepare(n.PrepareStmt)
		return // nothing of it runs before EXECUTE
	case *pgquery.Node_VariableSetStmt:
		a.set(n.VariableSetStmt)
		return
	case *pgquery.Node_TransactionStmt:
		a.transaction(n.TransactionStmt)
		return
	case *pgquery.Node_DoStmt:
		a.do(n.DoStmt)
		return
	case *pgquery.Node_DeclareCursorStmt:
		a.declare(n.DeclareCursorStmt)
	case *pgquery.Node_CopyStmt:
		a.copy(n.CopyStmt)
	case *pgquery.Node_SelectStmt:
		a.once(n.SelectStmt)
	default:
		a.command(node)
	}
	a.runs = modeOf(node)
	a.inside(node)
}

// command notes the statements that are all said in a line.
func (a *analysis) command(node *pgquery.Node) {
	switch n := node.GetNode().(type) {
	case *pgquery.Node_ConstraintsSetStmt:
		a.add(Part{Kind: SetConstraints})
	case *pgquery.Node_DeallocateStmt:
		a.named(Deallocate, DeallocateAll, n.DeallocateStmt.GetName())
	case *pgquery.Node_ClosePortalStmt:
		a.named(CloseCursor, CloseAll, n.ClosePortalStmt.GetPortalname())
	case *pgquery.Node_ListenStmt:
		a.add(Part{Kind: Listen, Name: n.ListenStmt.GetConditionname()})
	case *pgquery.Node_UnlistenStmt:
		a.named(Unlisten, UnlistenAll, n.UnlistenStmt.GetConditionname())
	case *pgquery.Node_NotifyStmt:
		a.add(Part{Kind: Notify, Name: n.NotifyStmt.GetConditionname(), Text: n.NotifyStmt.GetPayload()})
	case *pgquery.Node_DiscardStmt:
		a.discard(n.DiscardStmt.GetTarget())
	case *pgquery.Node_LoadStmt:
		a.add(Part{Kind: Load, Name: n.LoadStmt.GetFilename()})
	case *pgquery.Node_CallStmt:
		a.add(Part{Kind: Call, Name: dotted(n.CallStmt.GetFunccall().GetFuncname())})
	case *pgquery.Node_DropStmt:
		a.add(Part{Kind: Drop, Value: objectWords(n.DropStmt.GetRemoveType())})
	case *pgquery.Node_DropOwnedStmt:
		a.add(Part{Kind: Drop, Value: "owned"})
	}
}

// named adds a part of one kind where there is a name and of the other where everything is meant.
func (a *analysis) named(one, all Kind, name string) {
	if name == "" {
		one = all
	}
	a.add(Part{Kind: one, Name: name})
}

func (a *analysis) discard(target pgquery.DiscardMode) {
	switch target {
	case pgquery.DiscardMode_DISCARD_PLANS:
		a.add(Part{Kind: DiscardPlans})
	case pgquery.DiscardMode_DISCARD_SEQUENCES:
		a.add(Part{Kind: DiscardSequences})
	case pgquery.DiscardMode_DISCARD_TEMP:
		a.add(Part{Kind: DiscardTemp})
	default:
		a.add(Part{Kind: DiscardAll})
	}
}

func (a *analysis) declare(n *pgquery.DeclareCursorStmt) {
	kind := Declare
	if n.GetOptions()&cursorHold != 0 {
		kind = DeclareHold
	}
	a.add(Part{Kind: kind, Name: n.GetPortalname()})
}

func (a *analysis) copy(n *pgquery.CopyStmt) {
	switch {
	case n.GetFilename() != "" || n.GetIsProgram():
	case n.GetIsFrom():
		a.add(Part{Kind: CopyIn})
	default:
		a.add(Part{Kind: CopyOut})
	}
}

// explain runs its statement only with ANALYZE, of which the last counts. What it names must be there either way.
func (a *analysis) explain(n *pgquery.ExplainStmt) {
	analyze := false
	for _, option := range n.GetOptions() {
		if e := option.GetDefElem(); e.GetDefname() == "analyze" {
			analyze = truth(e.GetArg())
		}
	}
	a.runs = planned
	if analyze {
		a.runs = modeOf(n.GetQuery())
	}
	a.inside(n.GetQuery())
}

// truth reads the argument of an option as PostgreSQL's defGetBoolean does; what it would refuse counts as true.
func truth(arg *pgquery.Node) bool {
	if i := arg.GetInteger(); i != nil {
		return i.GetIval() != 0
	}
	switch strings.ToLower(arg.GetString_().GetSval()) {
	case "false", "off":
		return false
	}
	return true
}

// modeOf tells what becomes of the expressions of a statement.
func modeOf(node *pgquery.Node) mode {
	switch n := node.GetNode().(type) {
	case *pgquery.Node_SelectStmt, *pgquery.Node_InsertStmt, *pgquery.Node_UpdateStmt, *pgquery.Node_DeleteStmt,
		*pgquery.Node_MergeStmt, *pgquery.Node_DeclareCursorStmt, *pgquery.Node_CopyStmt, *pgquery.Node_ExecuteStmt,
		*pgquery.Node_CallStmt:
		return running
	case *pgquery.Node_CreateTableAsStmt:
		if n.CreateTableAsStmt.GetObjtype() == pgquery.ObjectType_OBJECT_TABLE {
			return running
		}
		return stored
	case *pgquery.Node_RuleStmt, *pgquery.Node_CreateFunctionStmt, *pgquery.Node_CreatePolicyStmt,
		*pgquery.Node_AlterPolicyStmt, *pgquery.Node_CreateTrigStmt, *pgquery.Node_DropStmt:
		return inert
	}
	return stored
}

// objectWords is an object type in the words of DROP.
func objectWords(t pgquery.ObjectType) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(t.String(), "OBJECT_"), "_", " "))
}

// dotted is a qualified name as it would be written without quotes.
func dotted(names []*pgquery.Node) string {
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = n.GetString_().GetSval()
	}
	return strings.Join(parts, ".")
}
