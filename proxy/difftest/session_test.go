package difftest

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// onEachServer runs a test against a proxy in front of every version, with a pool of size connections.
func onEachServer(t *testing.T, size int, test func(t *testing.T, r *room, p *proxy)) {
	t.Helper()
	for _, s := range servers {
		t.Run(fmt.Sprint(s.version), func(t *testing.T) {
			t.Parallel()
			r := s.enter(t)
			test(t, r, startProxy(t, r.appDSN(), size))
		})
	}
}

// join logs a client in at addr and reads the answer.
func (r *room) join(t testing.TB, addr, name string, extra ...setting) *client {
	t.Helper()
	c, err := tryJoin(addr, name, r.account(), extra...)
	if err != nil {
		t.Fatalf("login of %s: %v", name, err)
	}
	t.Cleanup(c.close)
	return c
}

func tryJoin(addr, name string, who account, extra ...setting) (*client, error) {
	c, err := dial(name, addr)
	if err != nil {
		return nil, err
	}
	if err := c.login(who, protocol30, extra...); err != nil {
		c.close()
		return nil, err
	}
	frames, err := c.until('Z', 1)
	if err == nil && frames[len(frames)-1].typ != 'Z' {
		err = fmt.Errorf("refused: %s", foldFrames(frames))
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// send writes messages as a transcript has them.
func (c *client) send(t testing.TB, line string) {
	t.Helper()
	b, err := encodeLine(line)
	if err != nil {
		t.Fatalf("%s> %s: %v", c.name, line, err)
	}
	if err := c.write(b); err != nil {
		t.Fatalf("%s> %s: %v", c.name, line, err)
	}
}

// expect reads as many messages as a transcript would, and fails unless they are as listed.
func (c *client) expect(t testing.TB, want string) {
	t.Helper()
	got, err := c.read(want)
	if err != nil {
		t.Fatalf("%s< %s\n%v after: %s", c.name, want, err, got)
	}
	if got != want {
		t.Fatalf("%s: expected %s\ncame     %s", c.name, want, got)
	}
}

// read reads up to the last of the listed messages and writes down what came.
func (c *client) read(want string) (string, error) {
	last, count, err := expectation(want)
	if err != nil {
		return "", err
	}
	typ, err := typeNamed(last)
	if err != nil {
		return "", err
	}
	frames, err := c.until(typ, count)
	return foldFrames(frames), err
}

// ask sends messages and reads up to the n-th ReadyForQuery.
func (c *client) ask(line string, n int) (string, error) {
	b, err := encodeLine(line)
	if err != nil {
		return "", err
	}
	if err := c.write(b); err != nil {
		return "", err
	}
	frames, err := c.until('Z', n)
	return foldFrames(frames), err
}

// answers fails unless the client gets its own answer to a simple query.
func (c *client) answers(t testing.TB, value string) {
	t.Helper()
	c.send(t, fmt.Sprintf("Query %q", "SELECT '"+value+"'"))
	c.expect(t, fmt.Sprintf(`RowDescription ?column?:25 | DataRow %s | CommandComplete "SELECT 1" | ReadyForQuery I`, word([]byte(value))))
}

// leave says Terminate and fails if anything but the end comes.
func (c *client) leave(t testing.TB) {
	t.Helper()
	c.send(t, "Terminate")
	c.expect(t, "End")
}

// waitForSleep waits until n statements of the database sleep.
func (r *room) waitForSleep(t testing.TB, n int) {
	t.Helper()
	r.waitFor(t, fmt.Sprintf(`SELECT count(*) = %d FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event = 'PgSleep'`, n))
}

func (r *room) waitFor(t testing.TB, sql string) {
	t.Helper()
	if err := r.superUntil(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v\n%s", sql, err, r.activity(t.Context()))
	}
}

// activity is what the sessions of the database do now, for the reader of a failure.
func (r *room) activity(ctx context.Context) string {
	result := r.super.ExecParams(ctx, `SELECT pid, usename, state, wait_event, left(query, 60) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`, nil, nil, nil, nil).Read()
	var out []string
	for _, row := range result.Rows {
		out = append(out, fmt.Sprintf("%s", row))
	}
	return strings.Join(out, "\n")
}

// nothingLeft fails unless the application's sessions on the server are at most size, all idle and outside transactions.
func (r *room) nothingLeft(t testing.TB, size int) {
	t.Helper()
	r.waitFor(t, fmt.Sprintf(`SELECT count(*) <= %d AND count(*) = count(*) FILTER (WHERE state = 'idle') FROM pg_stat_activity
		WHERE datname = current_database() AND usename = 'app'`, size))
}
