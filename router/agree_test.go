//go:build cgo

package router

import (
	"math"
	"testing"

	pgquery "github.com/pganalyze/pg_query_go/v6"
	wasm "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/proto"
)

// TestBothGrammarsAgree compares the grammar these tests run on with the one of a program built without C. The latter is of
// an older release that does not say everything yet; what it says must be the same.
func TestBothGrammarsAgree(t *testing.T) {
	texts := append(cases(t, "settings", "calls", "statements"), values()...)
	for _, sql := range towers(40) {
		texts = append(texts, sql)
	}
	for _, sql := range texts {
		native, err := parseTree(sql)
		other, otherErr := wasm.Parse(sql)
		if (err == nil) != (otherErr == nil) || err == nil && !proto.Equal(older(native), other) {
			t.Errorf("%s\nnative: %v %v\nWebAssembly: %v %v", sql, native, err, other, otherErr)
		}
		scanned, err := scanTokens(sql)
		otherScanned, otherErr := wasm.Scan(sql)
		if (err == nil) != (otherErr == nil) || err == nil && !proto.Equal(scanned, otherScanned) {
			t.Errorf("%s: other tokens", sql)
		}
	}
}

// older takes off what only the newer release says.
func older(tree *pgquery.ParseResult) *pgquery.ParseResult {
	walk(tree.ProtoReflect(), func(m proto.Message) bool {
		switch n := m.(type) {
		case *pgquery.DefElem:
			n.ArgLocation = 0
		case *pgquery.NotifyStmt:
			n.PayloadLocation = 0
		case *pgquery.FetchStmt:
			n.HowMany = min(n.HowMany, math.MaxInt32) // ALL
		}
		return true
	})
	return tree
}
