package difftest

import (
	"fmt"
	"strings"
	"testing"
)

// askForRemains asks for everything a vanished client may have left: rows, locks of this session, settings, tables.
const askForRemains = `Query "SELECT (SELECT count(*) FROM t), ` +
	`(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), ` +
	`current_setting('application_name'), to_regclass('own')"`

// TestClientsThatVanish lets clients go at every point of their work, in every way: whoever comes next on the only server
// connection finds nothing of them, and no server connection is lost.
func TestClientsThatVanish(t *testing.T) {
	points := []struct{ name, line, want string }{
		{"idle", `Query "SELECT 1"`, "ReadyForQuery"},
		{"in a transaction", `Query "BEGIN; INSERT INTO t VALUES ('never')"`, "ReadyForQuery"},
		{"in a failed transaction", `Query "BEGIN; INSERT INTO t VALUES ('never')" | Query "broken"`, "ReadyForQuery | ReadyForQuery"},
		{"behind a Flush", `Parse "" "INSERT INTO t VALUES ('never')" | Bind "" "" [] | Execute "" | Flush`, "CommandComplete"},
		{"while skipping", `Parse "" "INSERT INTO t VALUES ('never')" | Bind "" "" [] | Execute "" | Parse "" "broken"`, "ErrorResponse"},
		{"in a copy", `Query "COPY t FROM STDIN" | CopyData "never\n"`, "CopyInResponse"},
		{"with a suspended portal", `Parse "" "SELECT n FROM generate_series(1, 9) n" | Bind "" "" [] | Execute "" 2 | Flush`, "PortalSuspended"},
		{"with unread answers", `200x Query "SELECT repeat('never', 1000)"`, "DataRow"},
		{"in the middle of a message", `Query "BEGIN" | raw 51 00000100 "INSERT INTO t VALUES ('ne"`, "ReadyForQuery"},
		{"with a setting", `Query "SET application_name = 'never'"`, "ReadyForQuery"},
		{"with a lock", `Query "SELECT pg_advisory_lock(5)" | Query "CREATE TEMP TABLE own (n int)"`, "ReadyForQuery | ReadyForQuery"},
		{"while the server works", `Query "SELECT pg_sleep(60), 'never'"`, ""},
		{"while the server works in a transaction", `Query "BEGIN" | Query "INSERT INTO t VALUES ('never'); SELECT pg_sleep(60)"`, "ReadyForQuery"},
	}
	ends := []struct {
		name string
		end  func(*testing.T, *client)
	}{
		{"FIN", func(_ *testing.T, c *client) { c.close() }},
		{"RST", func(_ *testing.T, c *client) { c.reset() }},
		{"Terminate", func(t *testing.T, c *client) { c.send(t, "Terminate"); c.close() }},
	}
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		r.mustExec(t, "CREATE TABLE t (v text); ALTER TABLE t OWNER TO app")
		b := r.join(t, p.addr, "B")
		for _, point := range points {
			for _, end := range ends {
				t.Run(point.name+" by "+end.name, func(t *testing.T) {
					a := r.join(t, p.addr, "A")
					a.send(t, point.line)
					if point.want != "" {
						if _, err := a.read(point.want); err != nil {
							t.Fatal(err)
						}
					}
					if strings.Contains(point.line, "pg_sleep") {
						r.waitForSleep(t, 1)
					}
					end.end(t, a)
					b.send(t, askForRemains)
					b.expect(t, `RowDescription count:20 count:20 current_setting:25 to_regclass:2205 | `+
						`DataRow 0 0 "" NULL | CommandComplete "SELECT 1" | ReadyForQuery I`)
				})
			}
		}
		r.nothingLeft(t, 1)
		b.leave(t)
	})
}

// TestQueuedClientsThatVanish leaves the queue in every way; the holder and those behind in the queue notice nothing.
func TestQueuedClientsThatVanish(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		r.mustExec(t, "CREATE TABLE t (v text); ALTER TABLE t OWNER TO app")
		a := r.join(t, p.addr, "A")
		last := r.join(t, p.addr, "last")
		a.send(t, `Query "BEGIN"`)
		a.expect(t, "CommandComplete BEGIN | ReadyForQuery T")
		for i := range 9 {
			c := r.join(t, p.addr, fmt.Sprint("queued ", i))
			c.send(t, `Query "INSERT INTO t VALUES ('queued')"`)
			switch i % 3 {
			case 0:
				c.close()
			case 1:
				c.reset()
			case 2:
				c.send(t, "Terminate")
				c.close()
			}
		}
		last.send(t, `Query "SELECT 'last'"`)
		a.send(t, `Query "COMMIT"`)
		a.expect(t, "CommandComplete COMMIT | ReadyForQuery I")
		last.expect(t, `RowDescription ?column?:25 | DataRow last | CommandComplete "SELECT 1" | ReadyForQuery I`)
		a.answers(t, "a")
		r.nothingLeft(t, 1)
	})
}

// TestManyClientsComeAndGo looks for what is lost a little at a time: server connections and descriptors.
func TestManyClientsComeAndGo(t *testing.T) {
	onEachServer(t, 2, func(t *testing.T, r *room, p *proxy) {
		b := r.join(t, p.addr, "B")
		b.answers(t, "b")
		before := p.descriptors(t)
		for i := range 60 {
			c := r.join(t, p.addr, "C")
			c.send(t, `Query "BEGIN" | Query "SELECT 1"`)
			if i%2 == 0 {
				if _, err := c.read("ReadyForQuery | ReadyForQuery"); err != nil {
					t.Fatal(err)
				}
			}
			if i%3 == 0 {
				c.reset()
			} else {
				c.close()
			}
		}
		r.nothingLeft(t, 2)
		b.answers(t, "b")
		err := pollUntil(t.Context(), func() (bool, error) { return p.descriptors(t) <= before+2, nil })
		if err != nil {
			t.Errorf("%d descriptors are open, before it were %d", p.descriptors(t), before)
		}
	})
}
