package proxy

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

var rewrite = flag.Bool("rewrite", false, "write what the scanner says into testdata/scan.txt")

// scanCase is one statement of the golden file.
type scanCase struct{ sql, want string }

// readScan reads the golden file: its head, and its cases.
func readScan(t testing.TB) (head string, cases []scanCase) {
	t.Helper()
	b, err := os.ReadFile("testdata/scan.txt")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(b), "\n\n")
	for rest != "" {
		sql, after, ok := strings.Cut(rest, "\n=>")
		if !ok {
			t.Fatalf("no verdict behind %q", rest)
		}
		want, next, _ := strings.Cut(after, "\n")
		cases = append(cases, scanCase{sql, strings.TrimSpace(want)})
		rest = strings.TrimPrefix(next, "\n")
	}
	return head, cases
}

// judge is what the scanner and the grammar make of a text.
func judge(sql string) string {
	if !suspicious([]byte(sql)) {
		return "not suspicious"
	}
	m := new(impacts).of([]byte(sql), true)
	if m == nil {
		return "nothing"
	}
	var says []string
	if m.pins != 0 {
		says = append(says, "pin: "+m.pins.String())
	}
	for _, p := range m.settings {
		name := p.Name
		if p.Arg > 0 {
			name = fmt.Sprint("$", p.Arg)
		}
		says = append(says, strings.TrimSpace(p.Kind.String()+" "+name))
	}
	for _, p := range m.prepared {
		says = append(says, p.Kind.String()+" "+p.Name)
	}
	if m.look {
		says = append(says, "look")
	}
	if m.settles {
		says = append(says, "settle")
	}
	return strings.Join(says, "; ")
}

func TestScanGolden(t *testing.T) {
	head, cases := readScan(t)
	var out bytes.Buffer
	out.WriteString(head + "\n")
	for _, c := range cases {
		got := judge(c.sql)
		if !*rewrite && got != c.want {
			t.Errorf("%s\n=> %s, want %s", c.sql, got, c.want)
		}
		fmt.Fprintf(&out, "\n%s\n=> %s\n", c.sql, got)
	}
	if *rewrite {
		if err := os.WriteFile("testdata/scan.txt", out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// inParts is scan through part, with the text cut by next, which says how long the next part is.
func inParts(sql []byte, next func(left int) int) bool {
	var sc scanner
	for len(sql) > 0 {
		n := min(next(len(sql)), len(sql))
		// A part is only lent: what the scanner keeps of it must be its own.
		lent := bytes.Clone(sql[:n])
		found := sc.part(lent, n == len(sql))
		clear(lent)
		if found {
			return true
		}
		sql = sql[n:]
	}
	return false
}

// cuts are ways to cut a text.
func cuts(seed uint64) map[string]func(int) int {
	r := rand.New(rand.NewPCG(seed, seed))
	return map[string]func(int) int{
		"byte by byte": func(int) int { return 1 },
		"at random":    func(int) int { return 1 + r.IntN(60) },
		"in two":       func(left int) int { return 1 + r.IntN(left) },
	}
}

func TestScanInParts(t *testing.T) {
	_, cases := readScan(t)
	for _, c := range cases {
		for _, sql := range []string{c.sql, c.sql + "\x00", strings.Repeat(" ", 100) + c.sql, c.sql + strings.Repeat("\n", 100)} {
			want := suspicious([]byte(sql))
			for name, next := range cuts(1) {
				for range 5 {
					if got := inParts([]byte(sql), next); got != want {
						t.Errorf("%q cut %s: %v, in one piece: %v", sql, name, got, want)
					}
				}
			}
		}
	}
}

// What the scanner keeps of a long text is bounded, whatever the text.
func TestScanKeepsLittle(t *testing.T) {
	for _, unit := range []string{" ", "a", "x ", "'", "$", "$a$", "/*", "*/", "--\n", "set", "SET ", "\x00", "é", "1"} {
		var sc scanner
		for range 2000 {
			if sc.part([]byte(strings.Repeat(unit, 7)), false) {
				break
			}
			if len(sc.tail) > 4*maxLookahead {
				t.Fatalf("%q: %d bytes are kept", unit, len(sc.tail))
			}
		}
	}
}

// FuzzScan: a text in parts is judged like the whole, and nothing makes the scanner panic.
func FuzzScan(f *testing.F) {
	_, cases := readScan(f)
	for i, c := range cases {
		f.Add([]byte(c.sql), uint64(i))
	}
	f.Fuzz(func(t *testing.T, sql []byte, seed uint64) {
		want := suspicious(sql)
		for name, next := range cuts(seed) {
			if got := inParts(sql, next); got != want {
				t.Errorf("%q cut %s: %v, in one piece: %v", sql, name, got, want)
			}
		}
		if behind := suspicious(append([]byte("SELECT 1;"), sql...)); want && !behind {
			t.Errorf("%q is not suspicious behind another statement", sql)
		}
	})
}

// fingerprint is what a session holds that another would notice.
const fingerprint = `SELECT
	(SELECT string_agg(name || '=' || setting, ';' ORDER BY name) FROM pg_settings WHERE source = 'session' AND name NOT LIKE 'transaction%'),
	current_setting('local$x.y', true), current_user, session_user,
	(SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels()),
	(SELECT count(*) FROM pg_cursors WHERE is_holdable), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
	(SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()),
	(SELECT count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema())`

// The oracle of the golden file: where a session of PostgreSQL differs after a statement, the scanner and the grammar must
// say so.
func TestScanAgainstServer(t *testing.T) {
	_, cases := readScan(t)
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		db := pg.NewDatabase(t)
		ctx := t.Context()
		if err := pg.Exec(ctx, db, "CREATE TABLE t (i int UNIQUE); CREATE SEQUENCE q"); err != nil {
			t.Fatal(err)
		}
		ran := 0
		for _, c := range cases {
			conn, err := pgconn.Connect(ctx, pg.AdminDSN(db))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(ctx, "PREPARE p0 AS SELECT 1; SET work_mem = '7MB'").ReadAll(); err != nil {
				t.Fatal(err)
			}
			before := rows(t, conn)
			_, failed := conn.Exec(ctx, c.sql).ReadAll()
			if failed == nil {
				ran++
			}
			if !conn.IsClosed() && conn.TxStatus() != 'I' {
				if _, err := conn.Exec(ctx, "ROLLBACK").ReadAll(); err != nil {
					t.Fatal(err)
				}
			}
			after := rows(t, conn)
			if said := judge(c.sql); before != after && (said == "not suspicious" || said == "nothing") {
				t.Errorf("%s\nleaves the session with\n%s\nbefore it was\n%s", c.sql, after, before)
			}
			_ = conn.Close(ctx)
			if err := pg.Exec(ctx, db, "DROP FUNCTION IF EXISTS f()"); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%d of %d statements ran without an error", ran, len(cases))
	})
}

func rows(t *testing.T, conn *pgconn.PgConn) string {
	t.Helper()
	results, err := conn.Exec(t.Context(), fingerprint).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%q", results[0].Rows[0])
}
