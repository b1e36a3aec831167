package router

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// TestEffectsAreTheServers runs the golden texts on real servers, each in a session of its own, and compares what the session
// then has with what the verdict says: a setting, statement, channel, lock, cursor, temporary object or open transaction that
// no part names is a leak, one that is named and missing is a mistake of the reading.
func TestEffectsAreTheServers(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, p *pgtest.Postgres) {
		lab := newLab(t, p)
		tried, succeeded := 0, 0
		for _, sql := range append(cases(t, "settings", "calls", "statements"), values()...) {
			if dangerous(sql) {
				continue
			}
			tried++
			if lab.compare(sql) {
				succeeded++
			}
		}
		t.Logf("%d texts, %d of them without an error", tried, succeeded)
		if succeeded*10 < tried*5 {
			t.Error("too few texts succeed for the comparison to mean much")
		}
	})
}

// dangerous tells the texts that end or change more than a session, or wait for what nobody sends.
func dangerous(sql string) bool {
	for _, word := range []string{"pg_terminate_backend(pid)", "pg_create_logical", "pg_backup_start", "PROGRAM", "ALTER SYSTEM", "FROM STDIN"} {
		if strings.Contains(sql, word) {
			return true
		}
	}
	return false
}

// values are SETs whose Value must mean to set_config what they meant themselves.
func values() []string {
	texts := []string{"SET search_path = \"a\"\"b\", 'it''s', \"$user\", \"Upper\", \"table\", \"between\", \"int\", \"authorization\", \"abort\", _x, \"9a\""}
	for _, v := range []string{"1", "-1", "0", "1.5", "'1'", "on", "'off'", "true", "x", "\"X y\"", "''", "E'a\\'b'", "$$a'b$$", "U&'\\0061'", "1e3", "0x10", "1_000", "a, b", "'a, b'"} {
		for _, name := range []string{"my.value", "application_name", "enable_sort", "lock_timeout", "random_page_cost", "search_path", "datestyle", "TimeZone", "work_mem", "default_transaction_isolation", "temp_tablespaces"} {
			texts = append(texts, "SET "+name+" = "+v)
		}
	}
	return texts
}

// lab is a database to run texts in.
type lab struct {
	*testing.T
	dsn   string
	stale bool           // the last text may have changed the fixtures
	conn  *pgconn.PgConn // kept while its texts only change what DISCARD ALL takes back; nil: none
	other *pgconn.PgConn // for comparing
}

func newLab(t *testing.T, p *pgtest.Postgres) *lab {
	l := &lab{T: t, stale: true, dsn: p.AdminDSN(p.NewDatabase(t))}
	l.other = l.connect()
	t.Cleanup(func() {
		l.close()
		_ = l.other.Close(context.Background())
	})
	conn := l.other
	for _, sql := range []string{`CREATE ROLE alice`, `CREATE ROLE "Alice"`, `GRANT pg_read_all_settings TO alice, "Alice"`} {
		if _, err := conn.Exec(context.Background(), sql).ReadAll(); err != nil {
			t.Fatal(sql, err)
		}
	}
	t.Cleanup(func() {
		for _, role := range []string{"alice", "Alice"} {
			_ = p.Exec(context.Background(), pgtest.Superuser, "DROP ROLE "+pgx.Identifier{role}.Sanitize())
		}
	})
	return l
}

func (l *lab) close() {
	if l.conn != nil {
		_ = l.conn.Close(context.Background())
	}
}

func (l *lab) connect() *pgconn.PgConn {
	conn, err := pgconn.Connect(context.Background(), l.dsn)
	if err != nil {
		l.Fatal(err)
	}
	return conn
}

// fixtures are what the texts use; whatever they made before is gone.
const fixtures = `
DROP SCHEMA IF EXISTS public, s, mine, ext CASCADE; CREATE SCHEMA public;
CREATE TABLE t (a int, b text, x text DEFAULT 'x', ch text DEFAULT 'ch'); INSERT INTO t VALUES (1, 'b');
CREATE SEQUENCE s; CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE p(int) LANGUAGE sql AS 'SELECT 1';
CREATE SCHEMA mine; CREATE FUNCTION mine.set_config(text, text, bool) RETURNS int LANGUAGE sql AS 'SELECT 1';
`

// ready is what a session must have before some texts make sense.
const ready = `PREPARE p AS SELECT 1; PREPARE "P" AS SELECT 1; LISTEN a;`

// compare runs a text and compares; it tells whether the text succeeded.
func (l *lab) compare(sql string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if l.stale {
		l.close()
		l.conn = l.connect()
		l.must(ctx, l.conn, fixtures)
	}
	conn := l.conn
	l.must(ctx, conn, "DISCARD ALL")
	l.must(ctx, conn, ready)
	l.stale = !strings.HasPrefix(sql, "SET ") && !strings.HasPrefix(sql, "SELECT ") && !strings.HasPrefix(sql, "RESET ")
	before := l.state(ctx, conn)
	_, err := conn.Exec(ctx, sql).ReadAll()
	if conn.IsClosed() {
		l.stale = true
		return false // it ended itself
	}
	if err != nil && conn.TxStatus() != 'I' {
		l.must(ctx, conn, "ROLLBACK")
	}
	status := conn.TxStatus()
	if status != 'I' {
		l.must(ctx, conn, "COMMIT")
	}
	verdict := Analyze(sql)
	l.sound(sql, verdict, before, l.state(ctx, conn))
	if err == nil {
		l.exact(ctx, conn, sql, verdict)
		if open := predictedStatus(verdict); open != (status == 'T') {
			l.Errorf("%s\ntransaction open: predicted %v, status is %c", sql, open, status)
		}
	}
	return err == nil
}

func (l *lab) must(ctx context.Context, conn *pgconn.PgConn, sql string) [][][]byte {
	l.Helper()
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		l.Fatal(sql, err)
	}
	return results[len(results)-1].Rows
}

// state is all that a session has, as "what name" → value.
func (l *lab) state(ctx context.Context, conn *pgconn.PgConn) map[string]string {
	const query = `
SELECT 'parameter ' || lower(name), setting || ' ' || source FROM pg_catalog.pg_settings WHERE name NOT LIKE 'transaction\_%'
UNION ALL SELECT 'parameter ' || n, coalesce(pg_catalog.current_setting(n, true), '') FROM unnest('{session_authorization,role,is_superuser,a.b,a.c,a.d,c.d,my.app,my.value,myapp.user_id,my.long.name}'::text[]) n
UNION ALL SELECT 'prepared ' || name, '' FROM pg_catalog.pg_prepared_statements
UNION ALL SELECT 'listening ' || c, '' FROM pg_catalog.pg_listening_channels() c
UNION ALL SELECT 'cursor ' || name, '' FROM pg_catalog.pg_cursors WHERE is_holdable AND name <> ''
UNION ALL SELECT 'lock', count(*)::text FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid() HAVING count(*) > 0
UNION ALL SELECT 'temporary', count(*)::text FROM (SELECT relnamespace n FROM pg_catalog.pg_class UNION ALL SELECT pronamespace FROM pg_catalog.pg_proc
  UNION ALL SELECT typnamespace FROM pg_catalog.pg_type) x WHERE n = pg_catalog.pg_my_temp_schema() HAVING count(*) > 0`
	found := make(map[string]string)
	for _, row := range l.must(ctx, conn, query) {
		found[string(row[0])] = string(row[1])
	}
	return found
}

// sound checks that all that changed is named by a part.
func (l *lab) sound(sql string, v *Verdict, before, after map[string]string) {
	if !v.Parsed {
		return
	}
	named := allows(v)
	for what := range maps.Keys(after) {
		if _, there := before[what]; !there || before[what] != after[what] {
			l.allowed(sql, named, what, after[what])
		}
	}
	for what := range maps.Keys(before) {
		if _, there := after[what]; !there {
			l.allowed(sql, named, what, "gone")
		}
	}
}

func (l *lab) allowed(sql string, named []string, what, now string) {
	if slices.Contains(named, what) || slices.Contains(named, strings.Fields(what)[0]+" *") || slices.Contains(named, "anything") {
		return
	}
	l.Errorf("%s\n%s is now %q; the verdict allows %q", sql, what, now, named)
}

// allows is what a verdict says may change.
func allows(v *Verdict) (named []string) {
	for _, p := range v.Parts {
		switch p.Kind {
		case Set, SetDefault, Reset, SetCharacteristics, SetConfig, SetSeed:
			named = append(named, "parameter "+p.Name)
			switch {
			case p.Unknown:
				named = append(named, "parameter *")
			case p.Name == "session_authorization": // takes the role along, and what depends on either
				named = append(named, "parameter role", "parameter is_superuser")
			case p.Name == "role":
				named = append(named, "parameter is_superuser")
			}
		case ResetAll, UpdateSettings:
			named = append(named, "parameter *")
		case DiscardAll, Do, RunsText, Load:
			named = append(named, "anything")
		case Prepare, Deallocate:
			named = append(named, "prepared "+p.Name)
		case DeallocateAll:
			named = append(named, "prepared *")
		case Listen, Unlisten:
			named = append(named, "listening "+p.Name)
		case UnlistenAll:
			named = append(named, "listening *")
		case DeclareHold:
			named = append(named, "cursor "+p.Name)
		case SessionLock, SessionUnlock:
			named = append(named, "lock")
		case CreateTemp, DiscardTemp:
			named = append(named, "temporary")
		}
	}
	return named
}

// exact checks that what the parts are sure about is so, in the session that ran the text.
func (l *lab) exact(ctx context.Context, conn *pgconn.PgConn, sql string, v *Verdict) {
	state := l.state(ctx, conn)
	for i, p := range v.Parts {
		if p.Stored || p.Unknown || slices.ContainsFunc(v.Parts[i+1:], func(q Part) bool { return q.Kind == ResetAll || q.Kind == Rollback }) {
			continue
		}
		switch p.Kind {
		case Set, SetCharacteristics:
			l.setTo(ctx, sql, p, state)
		case SetConfig:
			if p.Once {
				l.setTo(ctx, sql, p, state)
			}
		case Prepare:
			l.has(sql, state, "prepared "+p.Name)
		case Listen:
			l.has(sql, state, "listening "+p.Name)
		case DeclareHold:
			l.has(sql, state, "cursor "+p.Name)
		case CreateTemp:
			if p.Value != "drop" {
				l.has(sql, state, "temporary")
			}
		}
	}
}

func (l *lab) has(sql string, state map[string]string, what string) {
	if _, there := state[what]; !there {
		l.Errorf("%s\nthe verdict says %s, the session has none", sql, what)
	}
}

// setTo checks that set_config of the part's value in another session gives the parameter the value that it has in this one.
func (l *lab) setTo(ctx context.Context, sql string, p Part, state map[string]string) {
	here, there := state["parameter "+p.Name]
	if !there {
		l.Errorf("%s\nthere is no parameter %q", sql, p.Name)
		return
	}
	if !p.HasValue {
		return
	}
	conn := l.other
	l.must(ctx, conn, "DISCARD ALL")
	set := fmt.Sprintf("SELECT set_config(%s, %s, false)", quote(p.Name), quote(p.Value))
	if _, err := conn.Exec(ctx, set).ReadAll(); err != nil {
		l.Errorf("%s\n%s: %v", sql, set, err)
		return
	}
	if elsewhere := l.state(ctx, conn)["parameter "+p.Name]; elsewhere != here {
		l.Errorf("%s\nis %q here, and %q by %s", sql, here, elsewhere, set)
	}
}

func quote(s string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// predictedStatus tells whether a text leaves a transaction open.
func predictedStatus(v *Verdict) (open bool) {
	for _, p := range v.Parts {
		switch p.Kind {
		case Begin, CommitAndChain, RollbackAndChain:
			open = true
		case Commit, Rollback, PrepareTransaction:
			open = false
		}
	}
	return open
}
