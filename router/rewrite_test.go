package router

import (
	"strings"
	"testing"
)

// rewritten puts a literal wherever a verdict says that pg_backend_pid may be replaced.
func rewritten(sql string, v *Verdict) string {
	var out strings.Builder
	at := 0
	for _, p := range v.Parts {
		if p.Kind != BackendPID || p.From || p.Names || p.Stored {
			continue
		}
		out.WriteString(sql[at:p.At] + "'7'::pg_catalog.int4")
		if p.Alone {
			out.WriteString(" AS pg_backend_pid")
		}
		at = p.End
	}
	return out.String() + sql[at:]
}

// TestCallsCanBeReplaced checks that what is put where a call stood is what was meant.
func TestCallsCanBeReplaced(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT pg_backend_pid()":                                    "SELECT '7'::pg_catalog.int4 AS pg_backend_pid",
		"SELECT pg_backend_pid() x, ((pg_catalog.pg_backend_pid()))": "SELECT '7'::pg_catalog.int4 x, '7'::pg_catalog.int4 AS pg_backend_pid",
		"SELECT f(pg_backend_pid()) WHERE 1 = (pg_backend_pid())":    "SELECT f('7'::pg_catalog.int4) WHERE 1 = ('7'::pg_catalog.int4)",
		"SELECT 1 ORDER BY pg_backend_pid ( /* ) */ ) ;":             "SELECT 1 ORDER BY '7'::pg_catalog.int4 ;",
		"DELETE FROM t RETURNING pg_backend_pid()":                   "DELETE FROM t RETURNING '7'::pg_catalog.int4 AS pg_backend_pid",
		"SELECT (SELECT pg_backend_pid())":                           "SELECT (SELECT '7'::pg_catalog.int4 AS pg_backend_pid)",
		"SELECT pg_backend_pid()::text":                              "SELECT pg_backend_pid()::text",
		"SELECT * FROM pg_backend_pid()":                             "SELECT * FROM pg_backend_pid()",
		"ALTER TABLE t ADD a int DEFAULT pg_backend_pid()":           "ALTER TABLE t ADD a int DEFAULT pg_backend_pid()",
		"SELECT 'é', pg_backend_pid() -- ü":                          "SELECT 'é', '7'::pg_catalog.int4 AS pg_backend_pid -- ü",
		"SELECT pg_backend_pid() UNION SELECT pg_backend_pid()":      "SELECT '7'::pg_catalog.int4 AS pg_backend_pid UNION SELECT '7'::pg_catalog.int4 AS pg_backend_pid",
	} {
		got := rewritten(sql, Analyze(sql))
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", sql, got, want)
		}
		if v := Analyze(got); !v.Parsed {
			t.Errorf("%s is no SQL", got)
		}
	}
}
