package wire_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The list is closed: who adds a code adds it here too, and says in its comment when it is sent.
func TestSQLStatesAreClosedAndExplained(t *testing.T) {
	want := strings.Fields(`08000 08006 08007 08P01 0A000 25006 25P01 25P02 26000 28000 28P01 34000 3D000 40003 42601 42P05
		53300 53400 54000 55000 57014 57P01 57P02 57P03 57P05 58000 XX000`)
	file, err := parser.ParseFile(token.NewFileSet(), "sqlstate.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		name := spec.Names[0].Name
		if !strings.HasPrefix(name, "Code") || !strings.HasPrefix(spec.Doc.Text(), name+": ") {
			t.Errorf("%s: no sentence says when it is sent", name)
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, value)
		return true
	})
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
