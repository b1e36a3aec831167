package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// askWith runs a statement with parameters in text format.
func askWith(t *testing.T, conn *pgconn.PgConn, sql string, format int16, args ...[]byte) string {
	t.Helper()
	r := conn.ExecParams(t.Context(), sql, args, nil, []int16{format}, nil).Read()
	if r.Err != nil {
		t.Fatalf("%s: %v", sql, r.Err)
	}
	return string(r.Rows[0][0])
}

// The number a client was told at its login is the one that pg_backend_pid tells it, on whatever connection.
func TestBackendPID(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		r, db := real(t, pg, nil)
		for range 3 {
			conn, err := r.login(db)
			if err != nil {
				t.Fatal(err)
			}
			own := fmt.Sprint(conn.PID())
			for _, sql := range []string{
				"SELECT pg_backend_pid()", "select pg_catalog . pg_backend_pid ( )", "SELECT 'a'; SELECT pg_backend_pid()::text",
				"SELECT pg_backend_pid() GROUP BY pg_backend_pid() ORDER BY pg_backend_pid()", "BEGIN; SELECT pg_backend_pid() AS x; COMMIT",
			} {
				if got := ask(t, conn, sql); got != own && got != "a "+own {
					t.Errorf("%s: %s, own number %s", sql, got, own)
				}
			}
			results, err := conn.Exec(t.Context(), "SELECT pg_backend_pid(), pg_backend_pid()::text, pg_backend_pid() + 1").ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, f := range results[0].FieldDescriptions {
				names = append(names, fmt.Sprint(f.Name, ":", f.DataTypeOID))
			}
			if got := strings.Join(names, " "); got != "pg_backend_pid:23 pg_backend_pid:25 ?column?:23" {
				t.Errorf("columns %s", got)
			}
			if got := askWith(t, conn, "SELECT pg_backend_pid() - $1::int", 0, []byte("0")); got != own {
				t.Errorf("by the extended protocol %s", got)
			}
			if _, err := conn.Prepare(t.Context(), "p", "SELECT pg_backend_pid()", nil); err != nil {
				t.Fatal(err)
			}
			if got := conn.ExecPrepared(t.Context(), "p", nil, nil, nil).Read(); string(got.Rows[0][0]) != own {
				t.Errorf("prepared: %s", got.Rows[0][0])
			}
			if got := ask(t, conn, "SELECT count(*) FROM pg_stat_activity WHERE pid = pg_backend_pid()"); got != "1" {
				t.Errorf("%s processes of one's own", got)
			}
		}
	})
}

// pg_terminate_backend and pg_cancel_backend act on the client whose number is given, whatever it does.
func TestEndingByPID(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		r, db := real(t, pg, func(c *Config) { c.Databases[0].Pool.Size = 2 })
		killer, err := r.login(db)
		if err != nil {
			t.Fatal(err)
		}
		join := func() *pgconn.PgConn {
			t.Helper()
			conn, err := r.login(db)
			if err != nil {
				t.Fatal(err)
			}
			ask(t, conn, "SELECT 1")
			return conn
		}
		ways := map[string]func(call string, pid uint32) string{
			"a literal": func(call string, pid uint32) string { return ask(t, killer, fmt.Sprintf("SELECT %s(%d)", call, pid)) },
			"a literal, extended": func(call string, pid uint32) string {
				return askWith(t, killer, fmt.Sprintf("SELECT %s(%d)", call, pid), 0)
			},
			"a parameter": func(call string, pid uint32) string {
				return askWith(t, killer, "SELECT "+call+"($1)", 0, fmt.Append(nil, pid))
			},
		}
		for how, run := range ways {
			idle := join()
			if got := run("pg_cancel_backend", idle.PID()); got != "t" {
				t.Errorf("%s: cancel of an idle client: %s", how, got)
			}
			if got := ask(t, idle, "SELECT 2"); got != "2" {
				t.Errorf("%s: behind that cancel: %s", how, got)
			}
			if got := run("pg_terminate_backend", idle.PID()); got != "t" {
				t.Errorf("%s: %s", how, got)
			}
			told := make([]byte, 200)
			_ = idle.Conn().SetReadDeadline(time.Now().Add(patience))
			if n, err := idle.Conn().Read(told); err != nil || !strings.Contains(string(told[:n]), "57P01") {
				t.Errorf("%s: the idle client was told %q %v", how, told[:n], err)
			}
			for call, code := range map[string]string{"pg_cancel_backend": "57014", "pg_terminate_backend": "57P01"} {
				busy := join()
				ended := make(chan error, 1)
				go func() {
					_, err := busy.Exec(t.Context(), "SELECT pg_sleep(60)").ReadAll()
					ended <- err
				}()
				r.eventually("the busy client works", func() bool { return r.srv.Stats().Pools[0].Busy > 0 })
				for {
					if got := run(call, busy.PID()); got != "t" {
						t.Fatalf("%s: %s: %s", how, call, got)
					}
					var pgErr *pgconn.PgError
					select {
					case err := <-ended:
						if !asPgError(err, &pgErr) || pgErr.Code != code {
							t.Errorf("%s: %s: the busy client was told %v", how, call, err)
						}
					case <-time.After(100 * time.Millisecond):
						continue // the cancel came before its statement
					}
					break
				}
			}
			if got := run("pg_terminate_backend", 2147483000); got != "f" {
				t.Errorf("%s: of nobody: %s", how, got)
			}
		}
	})
}

// A client's own notification comes from the number that it knows.
func TestOwnNotification(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		r, db := real(t, pg, nil)
		cfg, err := pgconn.ParseConfig("postgres://app@" + r.addr() + "/" + db + "?sslmode=disable")
		if err != nil {
			t.Fatal(err)
		}
		from := uint32(0)
		cfg.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { from = n.PID }
		conn, err := pgconn.ConnectConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		ask(t, conn, "LISTEN news; NOTIFY news, 'own'")
		ask(t, conn, "SELECT 1")
		if from != conn.PID() {
			t.Errorf("the notification is from %d, the client is %d", from, conn.PID())
		}
	})
}
