package difftest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// serverLost are the SQLSTATEs a client is told when there is no server: connection exceptions and "cannot connect now".
var serverLost = []string{"08000", "08001", "08004", "08006", "08007", "40003", "57P01", "57P02", "57P03", "58000"}

// TestServerConnectionEndsWhileIdle: the clients do not notice, with named and unnamed statements.
func TestServerConnectionEndsWhileIdle(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		a, b := r.join(t, p.addr, "A"), r.join(t, p.addr, "B")
		a.send(t, `Parse s "SELECT 'a', $1::int" | Bind "" s [1] | Execute "" | Sync | Parse "" "SELECT 'a, unnamed'" | Sync`)
		if _, err := a.read("ReadyForQuery | ReadyForQuery"); err != nil {
			t.Fatal(err)
		}
		b.answers(t, "b")
		for i := range 10 {
			r.endAppSessions(t)
			b.answers(t, fmt.Sprint("b", i))
			r.endAppSessions(t)
			a.send(t, `Bind "" s [2] | Execute "" | Bind "" "" [] | Execute "" | Sync`)
			a.expect(t, `BindComplete | DataRow a 2 | CommandComplete "SELECT 1" | BindComplete | DataRow "a, unnamed" | CommandComplete "SELECT 1" | ReadyForQuery I`)
		}
		if some, err := b.pending(); some || err != nil {
			t.Errorf("B heard of it (%v)", err)
		}
	})
}

// endAppSessions terminates all server connections of the application and waits until they are gone.
func (r *room) endAppSessions(t testing.TB) {
	t.Helper()
	r.waitFor(t, `SELECT count(pg_terminate_backend(pid)) = 0 FROM pg_stat_activity
		WHERE datname = current_database() AND usename = 'app'`)
}

// TestServerConnectionEndsRacing terminates server connections while clients work: each statement is answered, or the
// client is told and disconnected, and no answer is another client's.
func TestServerConnectionEndsRacing(t *testing.T) {
	onEachServer(t, 2, func(t *testing.T, r *room, p *proxy) {
		lost, answered := 0, 0
		var c *client
		for i := range 300 {
			if c == nil {
				var err error
				if c, err = tryJoin(p.addr, "C", r.account()); err != nil {
					t.Fatalf("login: %v", err)
				}
			}
			if i%3 == 0 {
				r.mustExec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'app'`)
			}
			value := fmt.Sprintf("value%d", i)
			got, err := c.ask(fmt.Sprintf(`Query "SELECT '%s'"`, value), 1)
			switch {
			case err == nil && got == fmt.Sprintf(`RowDescription ?column?:25 | DataRow %s | CommandComplete "SELECT 1" | ReadyForQuery I`, value):
				answered++
			case err == nil && strings.HasSuffix(got, "End") && !strings.Contains(got, "DataRow"):
				c.close()
				c, lost = nil, lost+1
			default:
				t.Fatalf("round %d: %s %v", i, got, err)
			}
		}
		if c != nil {
			c.close()
		}
		t.Logf("%d answered, %d lost", answered, lost)
		if answered < 150 {
			t.Errorf("only %d of 300 were answered", answered)
		}
	})
}

// TestServerRestarts stops, breaks and restarts the server under the proxy.
func TestServerRestarts(t *testing.T) {
	for _, version := range pgtest.Versions() {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			t.Parallel()
			pg := pgtest.New(t, pgtest.Options{Version: version, Users: []pgtest.User{{Name: appUser, Password: appPassword}}})
			s := newServer(pg, version)
			r := &room{server: s, database: "postgres"}
			p := startProxy(t, r.appDSN(), 1)
			restartUnder(t, pg, r, p)
		})
	}
}

func restartUnder(t *testing.T, pg *pgtest.Postgres, r *room, p *proxy) {
	a, b := r.join(t, p.addr, "A"), r.join(t, p.addr, "B")
	a.send(t, `Parse s "SELECT 'a'" | Sync`)
	a.expect(t, "ParseComplete | ReadyForQuery I")
	ctx := context.WithoutCancel(t.Context())
	for name, breakOff := range map[string]func() error{"stopped": pg.Stop, "killed": pg.Kill} {
		b.send(t, `Query "BEGIN"`)
		b.expect(t, "CommandComplete BEGIN | ReadyForQuery T")
		if err := breakOff(); err != nil {
			t.Fatal(err)
		}
		got, err := b.read("End")
		if err != nil {
			t.Fatalf("%s: B in its transaction got %s %v", name, got, err)
		}
		refusedWith(t, r.account(), p, serverLost)
		if err := pg.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		b = joinAgain(t, r.account(), p, "SELECT 'b'")
	}
	a.send(t, `Bind "" s [] | Execute "" | Sync`)
	got, err := a.read("ReadyForQuery")
	if err != nil || got != `BindComplete | DataRow a | CommandComplete "SELECT 1" | ReadyForQuery I` {
		t.Errorf("A, idle all the time, got %s %v", got, err)
	}
}

// joinAgain logs in as soon as the proxy has found its server again, and gets an answer.
func joinAgain(t *testing.T, who account, p *proxy, query string) *client {
	t.Helper()
	var c *client
	err := pollUntil(t.Context(), func() (bool, error) {
		var err error
		if c, err = tryJoin(p.addr, "B", who); err == nil {
			var got string
			got, err = c.ask(fmt.Sprintf("Query %q", query), 1)
			if err == nil && strings.HasSuffix(got, "ReadyForQuery I") && !strings.Contains(got, "Error") {
				return true, nil
			}
			c.close()
		}
		return false, nil // there is no server yet
	})
	if err != nil {
		t.Fatalf("after the restart: %v", err)
	}
	t.Cleanup(c.close)
	return c
}

// refusedWith asks something while there is no server: an error with one of the codes must come, at the login or at the query.
func refusedWith(t *testing.T, who account, p *proxy, codes []string) {
	t.Helper()
	c, err := dial("C", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	c.wait = 3 * patience // the proxy may try for a while
	if err := c.login(who, protocol30); err != nil {
		t.Fatal(err)
	}
	frames, err := c.until('Z', 1)
	if err == nil && frames[len(frames)-1].typ == 'Z' {
		c.send(t, `Query "SELECT 'c'"`)
		frames, err = c.until('Z', 1)
	}
	if err != nil {
		t.Fatalf("without a server C got %s %v", foldFrames(frames), err)
	}
	i := slices.IndexFunc(frames, func(f frame) bool { return f.typ == 'E' })
	if i < 0 || !slices.Contains(codes, reportOf(frames[i].body)['C']) {
		t.Errorf("without a server C got %s", foldFrames(frames))
	}
}
