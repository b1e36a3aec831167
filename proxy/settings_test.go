package proxy

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

func params(pairs ...string) []wire.Param {
	var ps []wire.Param
	for i := 0; i < len(pairs); i += 2 {
		ps = append(ps, wire.Param{Name: pairs[i], Value: pairs[i+1]})
	}
	return ps
}

func TestInternSharesSettings(t *testing.T) {
	var table settingsTable
	if table.intern("db/u", nil) != nil || table.intern("db/u", params()) != nil {
		t.Error("no settings are settings")
	}
	a := table.intern("db/u", params("TimeZone", "UTC", "application_name", "x"))
	for _, same := range [][]wire.Param{
		params("TimeZone", "UTC", "application_name", "x"),
		params("application_name", "x", "TimeZone", "UTC"),
		params("timezone", "Europe/Paris", "application_name", "x", "TimeZone", "UTC"),             // the last one wins
		params("APPLICATION_NAME", "y", "application_name", "x", "TimeZone", "UTC"),                // whatever its case
		params("application_name", "", "TimeZone", "", "TimeZone", "UTC", "application_name", "x"), // several times
	} {
		if table.intern("db/u", same) != a {
			t.Errorf("%v are other settings", same)
		}
	}
	for _, other := range [][]wire.Param{
		params("TimeZone", "UTC"),
		params("TimeZone", "UTC", "application_name", ""),
		params("TimeZone", "UTCapplication_name", "x", ""),
		params("TimeZone", "UTC", "application_name", "x", "a.b", ""),
	} {
		s := table.intern("db/u", other)
		if s == a {
			t.Errorf("%v are the same settings", other)
		}
		table.drop(s)
	}
	if a.refs != 6 {
		t.Errorf("%d references", a.refs)
	}
}

// What no client uses is kept for what was learned of it, but not without bound.
func TestDropSettings(t *testing.T) {
	var table settingsTable
	used := table.intern("db/u", params("a", "used"))
	for i := range 4 * maxIdleSettings {
		table.drop(table.intern("db/u", params("a", fmt.Sprint(i))))
	}
	if n := len(table.all); n > maxIdleSettings+1 || n < maxIdleSettings {
		t.Errorf("%d settings are kept", n)
	}
	if table.intern("db/u", params("a", "used")) != used {
		t.Error("settings in use were forgotten")
	}
}

func TestScript(t *testing.T) {
	var table settingsTable
	a := table.intern("db/u", params("a.x", "1", "b.y", "it's", "c.z", `back\slash`))
	b := table.intern("db/u", params("B.Y", "2"))
	for _, c := range []struct {
		from any
		to   *settings
		want string
	}{
		{nil, nil, ""},
		{nil, a, `SELECT pg_catalog.set_config(E'a.x', E'1', false) IS NULL, pg_catalog.set_config(E'b.y', E'it''s', false) IS NULL, ` +
			`pg_catalog.set_config(E'c.z', E'back\\slash', false) IS NULL`},
		{a, b, `SELECT pg_catalog.set_config(E'a.x', NULL, false) IS NULL, pg_catalog.set_config(E'c.z', NULL, false) IS NULL, ` +
			`pg_catalog.set_config(E'B.Y', E'2', false) IS NULL`},
		{a, nil, `SELECT pg_catalog.set_config(E'a.x', NULL, false) IS NULL, pg_catalog.set_config(E'b.y', NULL, false) IS NULL, ` +
			`pg_catalog.set_config(E'c.z', NULL, false) IS NULL`},
		{a, a, ""},
		{doubted(nil, "b.y"), nil, `SELECT pg_catalog.set_config(E'b.y', NULL, false) IS NULL`},
		{doubted(b, "b.y"), b, `SELECT pg_catalog.set_config(E'B.Y', E'2', false) IS NULL`},
		{a, table.intern("db/u", params("a.x", "1", "B.Y", "it's")), `SELECT pg_catalog.set_config(E'c.z', NULL, false) IS NULL`},
		{
			table.intern("db/u", params("role", "r", "a.x", "1")), table.intern("db/u", params("a.x", "2", "session_authorization", "s")),
			`SELECT pg_catalog.set_config(E'role', NULL, false) IS NULL, pg_catalog.set_config(E'a.x', E'2', false) IS NULL, ` +
				`pg_catalog.set_config(E'session_authorization', E's', false) IS NULL`,
		},
		{doubted(nil, "session_authorization"), nil, `SELECT pg_catalog.set_config(E'session_authorization', NULL, false) IS NULL`},
	} {
		if got := c.to.script(c.from); got != c.want {
			t.Errorf("from %v to %v:\n%s\nwant\n%s", c.from, c.to, got, c.want)
		}
	}
}

// hostile are texts that end literals, begin comments or confuse encodings.
func hostile() []string {
	all := []string{
		"", " ", "'", "''", "'''", `\`, `\\`, `\'`, `'\`, `\''`, `'; DROP TABLE t; --`, `\'; DROP TABLE t; --`, "--", "/*", "*/",
		"$$", "$1", "\n", "\r\n", "\t", "\b", "%s", "E'x'", `"`, `";DROP TABLE t;--`, `\x27`, `\047`, `\u0027`, "a\\", "é", "日本", "表",
		"表'; DROP TABLE t; --", "\U0001f600", strings.Repeat("'", 501), strings.Repeat(`\`, 501), "\x7f", "\x01", "ＡＢ", "\u2028",
	}
	// In SJIS, BIG5 and others the second byte of a character can be a backslash: the same bytes are valid UTF-8 only by
	// accident, so these are texts whose UTF-8 bytes mean something there.
	return append(all, "\u015c'", "\u065c\\'; DROP TABLE t; --")
}

// Values reach the server as they are, whatever the connection's encoding and the meaning of a backslash there.
func TestQuotingAgainstServer(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		ctx := t.Context()
		conn, err := pgconn.Connect(ctx, pg.AdminDSN(pg.NewDatabase(t)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		run := func(sql string) (string, error) {
			results, err := conn.Exec(ctx, sql).ReadAll()
			if err != nil || len(results) == 0 || len(results[len(results)-1].Rows) == 0 {
				return "", err
			}
			return string(results[len(results)-1].Rows[0][0]), nil
		}
		if _, err := run("CREATE TABLE t (i int)"); err != nil {
			t.Fatal(err)
		}
		for _, encoding := range []string{"UTF8", "SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "LATIN1"} {
			for _, conforming := range []string{"on", "off"} {
				for _, value := range hostile() {
					if _, err := run("SET client_encoding = " + encoding + "; SET standard_conforming_strings = " + conforming); err != nil {
						t.Fatal(err)
					}
					st := &settings{params: params("my.setting", value)}
					if _, err := run(st.script(nil)); err != nil && encoding == "UTF8" {
						t.Errorf("%s %s: %q: %v", encoding, conforming, value, err)
						continue
					}
					got, err := run("SET client_encoding = UTF8; SELECT current_setting('my.setting')")
					if err != nil || got != value {
						t.Errorf("%s %s: %q came as %q, %v", encoding, conforming, value, got, err)
					}
					if got, err := run((*settings)(nil).script(st) + "; SELECT current_setting('my.setting')"); err != nil || got != "" {
						t.Errorf("%s %s: resetting after %q: %q, %v", encoding, conforming, value, got, err)
					}
				}
			}
		}
		for _, name := range append(hostile(), `my.a"b`, `my.a';x`, `a.b.c.d`, `my.é`, `"my"."x"`, `my.表`, "my.", ".x", "TimeZone'") {
			_, err := run((&settings{params: params(name, "UTC")}).script(nil))
			if err == nil {
				if _, err := run((*settings)(nil).script(&settings{params: params(name, "")})); err != nil {
					t.Errorf("%q can be set and not be reset: %v", name, err)
				}
			}
		}
		if _, err := run("SELECT FROM t"); err != nil {
			t.Error(err)
		}
	})
}

// lexLiteral reads an E” literal as PostgreSQL does and returns its value and what follows. wide says that a byte from
// 0x81 on takes the next one with it, whatever that is.
func lexLiteral(s string, wide bool) (value []byte, rest string, ok bool) {
	if !strings.HasPrefix(s, "E'") {
		return nil, s, false
	}
	for i := 2; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\'' && i+1 < len(s) && s[i+1] == '\'':
			value = append(value, '\'')
			i++
		case c == '\'':
			return value, s[i+1:], true
		case c == '\\' && i+3 < len(s) && s[i+1] == 'x':
			var b byte
			if _, err := fmt.Sscanf(s[i+2:i+4], "%02x", &b); err != nil {
				return nil, s, false
			}
			value = append(value, b)
			i += 3
		case c == '\\' && i+1 < len(s):
			value = append(value, s[i+1])
			i++
		case wide && c >= 0x81 && i+1 < len(s):
			value = append(value, c, s[i+1])
			i++
		default:
			value = append(value, c)
		}
	}
	return nil, s, false
}

// FuzzQuote: however a text looks, its literal is one literal, and has its value.
func FuzzQuote(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s)
	}
	f.Add("\x95\\'; DROP TABLE t; --")
	f.Add("\x95'")
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) {
			return // cannot come in a start-up packet
		}
		for _, wide := range []bool{false, true} {
			value, rest, ok := lexLiteral(quoteText(s), wide)
			if !ok || rest != "" || string(value) != s {
				t.Fatalf("%q is quoted as %s: read as %q, then %q", s, quoteText(s), value, rest)
			}
		}
	})
}

// real is a proxy with one server connection in front of a real server.
func real(t *testing.T, pg *pgtest.Postgres, change func(*Config)) (*rig, string) {
	t.Helper()
	name := pg.NewDatabase(t)
	cfg := config(t, pg.AdminDSN(name))
	cfg.Databases[0].Name = name
	cfg.Databases[0].Pool.Size = 1
	if change != nil {
		change(&cfg)
	}
	return start(t, cfg), name
}

// login connects with pgconn.
func (r *rig) login(database string, params ...string) (*pgconn.PgConn, error) {
	dsn := "postgres://app@" + r.addr() + "/" + database + "?sslmode=disable"
	for i := 0; i < len(params); i += 2 {
		dsn += "&" + params[i] + "=" + params[i+1]
	}
	conn, err := pgconn.Connect(context.Background(), dsn)
	if err == nil {
		r.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	}
	return conn, err
}

func ask(t *testing.T, conn *pgconn.PgConn, sql string) string {
	t.Helper()
	results, err := conn.Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var out bytes.Buffer
	for _, r := range results {
		for _, row := range r.Rows {
			fmt.Fprintf(&out, "%s ", bytes.Join(row, []byte(",")))
		}
	}
	return strings.TrimSpace(out.String())
}

// Every client is told at its login what the server reports under its own settings, also where the server connection had
// some of them already, and has them whenever it asks.
func TestClientsHaveTheirSettings(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		r, db := real(t, pg, nil)
		type want struct{ zone, app, style string }
		clients := map[*pgconn.PgConn]want{}
		join := func(w want, params ...string) {
			t.Helper()
			conn, err := r.login(db, params...)
			if err != nil {
				t.Fatal(err)
			}
			clients[conn] = w
			if got := (want{
				conn.ParameterStatus("TimeZone"), conn.ParameterStatus("application_name"), conn.ParameterStatus("DateStyle"),
			}); got != w {
				t.Errorf("%v: told %+v, want %+v", params, got, w)
			}
		}
		direct, err := pgconn.Connect(t.Context(), pg.AdminDSN(db))
		if err != nil {
			t.Fatal(err)
		}
		zone, style := direct.ParameterStatus("TimeZone"), direct.ParameterStatus("DateStyle")
		_ = direct.Close(t.Context())
		join(want{"Europe/Paris", "a", style}, "TimeZone", "Europe/Paris", "application_name", "a")
		join(want{"Europe/Paris", "b", style}, "TimeZone", "Europe/Paris", "application_name", "b")
		join(want{"Europe/Paris", "b", "ISO, YMD"}, "timezone", "Europe/Paris", "application_name", "b", "datestyle", "ymd")
		join(want{zone, "", style})
		join(want{zone, "b", "ISO, YMD"}, "application_name", "b", "options", "-c%20DateStyle%3DYMD")
		join(want{"Europe/Paris", "a", style}, "TimeZone", "Europe/Paris", "application_name", "a")
		for range 3 {
			for conn, w := range clients {
				if got := ask(t, conn, "SHOW TimeZone; SHOW application_name; SHOW DateStyle"); got != strings.TrimSpace(w.zone+" "+w.app+" "+w.style) {
					t.Errorf("has %q, want %+v", got, w)
				}
			}
		}
		r.srv.settings.mu.Lock()
		defer r.srv.settings.mu.Unlock()
		if len(r.srv.settings.all) == 0 {
			t.Error("no settings")
		}
	})
}

// A setting that the server refuses ends the login with the server's own error, and costs at most one connection.
func TestSettingsAreRefusedAtLogin(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		r, db := real(t, pg, nil)
		for _, c := range [][3]string{
			{"TimeZone", "Nowhere/None", "22023"},
			{"no_such_setting", "1", "42704"},
			{"work_mem", "lots", "22023"},
			{"shared_buffers", "1GB", "55P02"},
			{"my.x'y", "1", "42602"},
		} {
			_, err := r.login(db, c[0], c[1])
			var pgErr *pgconn.PgError
			if !asPgError(err, &pgErr) || pgErr.Code != c[2] || pgErr.Severity != "FATAL" {
				t.Errorf("%v: %v", c, err)
			}
		}
		conn, err := r.login(db)
		if err != nil || ask(t, conn, "SELECT 1") != "1" {
			t.Error(err)
		}
	})
}

// A RESET reports the server's own values. Those of the start-up packet are there again with the next request, and the
// client is told before its answer.
func TestResetIsTold(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		r, db := real(t, pg, nil)
		conn, err := r.login(db, "application_name", "mine")
		if err != nil {
			t.Fatal(err)
		}
		for _, reset := range []string{"RESET ALL", "BEGIN; RESET application_name; COMMIT", "BEGIN; RESET ALL; ROLLBACK"} {
			ask(t, conn, reset)
			if got := ask(t, conn, "SHOW application_name"); got != "mine" {
				t.Errorf("behind %s application_name is %q", reset, got)
			}
			if got := conn.ParameterStatus("application_name"); got != "mine" {
				t.Errorf("behind %s the client believes that application_name is %q", reset, got)
			}
		}
		other, err := r.login(db) // there is one server connection: nobody is pinned
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(t, other, "SHOW application_name"); got != "" {
			t.Errorf("another client has application_name %q", got)
		}
	})
}
