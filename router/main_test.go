package router

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

// cases are the texts of a golden file.
func cases(t testing.TB, names ...string) []string {
	t.Helper()
	var all []string
	for _, name := range names {
		for _, block := range goldenBlocks(t, "testdata/"+name+".txt") {
			all = append(all, block.sql)
		}
	}
	return all
}
