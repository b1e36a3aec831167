package difftest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// impatient starts the proxy with one server connection, for which clients wait half a second and are told so on the way.
func impatient(t *testing.T, r *room) *proxy {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sarnic.yaml")
	addr := freeAddr(t)
	text := fmt.Sprintf(`listen: [%q]
pool: {mode: transaction, size: 1, wait_timeout: 600ms, wait_notice: 200ms}
databases: {%s: {upstream: %q}}
users: {%s: {password: %q}}
`, addr, r.database, r.appDSN(), appUser, appPassword)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return startProgram(t, addr, "--config", path)
}

// waitedTooLong are the SQLSTATEs of a client for which no server connection became free in time.
var waitedTooLong = []string{"53300", "57P03"}

// TestWaitingTooLong: an error the proxy makes itself obeys the rules of the server's: the rest of a pipeline is dropped up
// to its Sync, every request has its ReadyForQuery, and the client is served when the server is free again (B).
func TestWaitingTooLong(t *testing.T) {
	for _, s := range servers {
		t.Run(fmt.Sprint(s.version), func(t *testing.T) {
			t.Parallel()
			r := s.enter(t)
			p := impatient(t, r)
			a, b := r.join(t, p.addr, "A"), r.join(t, p.addr, "B")
			a.send(t, `Query "BEGIN"`)
			a.expect(t, "CommandComplete BEGIN | ReadyForQuery T")

			b.send(t, `Query "SELECT 'never'"`)
			b.gaveUp(t, 1)
			b.send(t, `Parse s "SELECT 'never'" | Bind "" s [] | Execute "" | Query "SELECT 'lost'" | FunctionCall 177 [1, 2] | Sync`)
			b.gaveUp(t, 1)
			b.send(t, `Query "COPY t FROM STDIN" | CopyData "never\n" | CopyDone`)
			b.gaveUp(t, 1)
			if some, err := b.pending(); some || err != nil {
				t.Fatalf("B got more than it waited for (%v)", err)
			}
			a.send(t, `Query "COMMIT"`)
			a.expect(t, "CommandComplete COMMIT | ReadyForQuery I")
			b.answers(t, "b")
			b.send(t, `Bind "" s [] | Sync`)
			b.expect(t, "ErrorResponse 26000 | ReadyForQuery I")
			a.answers(t, "a")
			b.leave(t)
		})
	}
}

// gaveUp reads n refusals, each with its ReadyForQuery, told in advance by a notice at most once, and with a hint.
func (c *client) gaveUp(t *testing.T, n int) {
	t.Helper()
	frames, err := c.until('Z', n)
	if err != nil {
		t.Fatalf("%s: %v after %s", c.name, err, foldFrames(frames))
	}
	notices := 0
	frames = slices.DeleteFunc(frames, func(f frame) bool {
		if f.typ == 'N' {
			notices++
		}
		return f.typ == 'N'
	})
	if len(frames) != 2*n || notices > n {
		t.Fatalf("%s got %s and %d notices", c.name, foldFrames(frames), notices)
	}
	for i := 0; i < len(frames); i += 2 {
		report := reportOf(frames[i].body)
		if !slices.Contains(waitedTooLong, report['C']) || report['V'] != "ERROR" || report['H'] == "" || describe(frames[i+1]) != "ReadyForQuery I" {
			t.Errorf("%s got %s %q", c.name, foldFrames(frames[i:i+2]), report)
		}
	}
}

// TestQueueIsFair: clients that wait get the server connection in the order in which they came.
func TestQueueIsFair(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		r.mustExec(t, "CREATE TABLE t (id serial, v text); ALTER TABLE t OWNER TO app")
		a := r.join(t, p.addr, "A")
		a.send(t, `Query "BEGIN"`)
		a.expect(t, "CommandComplete BEGIN | ReadyForQuery T")
		var queue []*client
		var want []string
		for i := range 5 {
			c := r.join(t, p.addr, fmt.Sprint("queued ", i))
			queue = append(queue, c)
			want = append(want, fmt.Sprint(i))
			c.send(t, fmt.Sprintf(`Query "INSERT INTO t (v) VALUES ('%d')"`, i))
			<-time.After(30 * time.Millisecond) // nobody can see from outside that a request has been queued
		}
		a.send(t, `Query "COMMIT"`)
		a.expect(t, "CommandComplete COMMIT | ReadyForQuery I")
		for _, c := range queue {
			c.expect(t, `CommandComplete "INSERT 0 1" | ReadyForQuery I`)
		}
		a.send(t, `Query "SELECT string_agg(v, ' ' ORDER BY id) FROM t"`)
		a.expect(t, fmt.Sprintf(`RowDescription string_agg:25 | DataRow %q | CommandComplete "SELECT 1" | ReadyForQuery I`, strings.Join(want, " ")))
	})
}
