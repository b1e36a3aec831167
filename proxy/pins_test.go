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

func TestScanGolden(t *testing.T) {
	head, cases := readScan(t)
	var out bytes.Buffer
	out.WriteString(head + "\n")
	for _, c := range cases {
		got := scan([]byte(c.sql)).String()
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
func inParts(sql []byte, next func(left int) int) pinReason {
	var sc scanner
	for len(sql) > 0 {
		n := min(next(len(sql)), len(sql))
		// A part is only lent: what the scanner keeps of it must be its own.
		lent := bytes.Clone(sql[:n])
		r := sc.part(lent, n == len(sql))
		clear(lent)
		if r != notPinned {
			return r
		}
		sql = sql[n:]
	}
	return notPinned
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
			want := scan([]byte(sql))
			for name, next := range cuts(1) {
				for range 5 {
					if got := inParts([]byte(sql), next); got != want {
						t.Errorf("%q cut %s: %s, in one piece: %s", sql, name, got, want)
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
			if sc.part([]byte(strings.Repeat(unit, 7)), false) != notPinned {
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
		want := scan(sql)
		for name, next := range cuts(seed) {
			if got := inParts(sql, next); got != want {
				t.Errorf("%q cut %s: %s, in one piece: %s", sql, name, got, want)
			}
		}
		// What is pinned stays pinned when it comes behind another statement.
		if behind := scan(append([]byte("SELECT 1;"), sql...)); want != notPinned && behind == notPinned {
			t.Errorf("%q is not pinned behind another statement", sql)
		}
	})
}

// fingerprint is what a session holds that another would notice.
const fingerprint = `SELECT
	(SELECT string_agg(name || '=' || setting, ';' ORDER BY name) FROM pg_settings WHERE source = 'session' AND name NOT LIKE 'transaction%'),
	current_setting('local$x.y', true), current_user, session_user,
	(SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels()),
	(SELECT count(*) FROM pg_cursors WHERE is_holdable), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
	(SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()),
	(SELECT count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema())`

// The oracle of the golden file: where a session of PostgreSQL differs after a statement, the scanner must pin, or say that
// its settings are in doubt.
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
			sc := scanner{start: true}
			_, reason := sc.words([]byte(c.sql), true)
			pinned := reason != notPinned || sc.resets
			byTag := strings.HasPrefix(strings.ToUpper(c.sql), "DEALLOCATE") || strings.HasPrefix(strings.ToUpper(c.sql), "DISCARD")
			if before != after && !pinned && !byTag {
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

// The functions that changesSession names by OID are those of the catalogue.
func TestFunctionsThatChangeTheSession(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		conn, err := pgconn.Connect(t.Context(), pg.AdminDSN("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		results, err := conn.Exec(t.Context(), `SELECT oid, proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND (
			proname IN ('currval', 'lastval', 'setseed', 'set_config') OR
			proname ~ '^pg_(try_)?advisory_(un)?lock' OR proname ~ '^pg_replication_origin_session_(setup|reset)')`).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var oid uint32
		found := 0
		for _, row := range results[0].Rows {
			if _, err := fmt.Sscan(string(row[0]), &oid); err != nil {
				t.Fatal(err)
			}
			if !changesSession(oid) {
				t.Errorf("%s, OID %d, is not known", row[1], oid)
			}
			ends := strings.Contains(string(row[1]), "unlock") // what only a pinned session has
			if pinned := scan([]byte("SELECT "+string(row[1])+"(1)")) != notPinned; pinned == ends {
				t.Errorf("%s pins by name: %v", row[1], pinned)
			}
			found++
		}
		n := 0
		for oid := range uint32(20000) {
			if changesSession(oid) {
				n++
			}
		}
		if n != found {
			t.Errorf("%d OIDs are known, %d are in the catalogue", n, found)
		}
	})
}
