package proxy

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// settings are the session parameters of a client's start-up packet. Clients that ask for the same share one object,
// so that comparing them with those of a server connection is comparing two pointers.
type settings struct {
	key    string
	params []wire.Param
	refs   int // guarded by settingsTable.mu

	mu     sync.Mutex
	status []wire.Param // what the server reports once they are applied; nil: not learned yet
}

// settingsTable holds the settings in use, and some that were.
type settingsTable struct {
	mu  sync.Mutex
	all map[string]*settings
}

// maxIdleSettings is how many settings that no client uses are kept for what was learned of them.
const maxIdleSettings = 256

// intern returns the settings for params in the pool of that name, with one reference for the caller; nil for none. What
// is learned of them, and whether they are valid, differs between databases and roles.
func (t *settingsTable) intern(pool string, params []wire.Param) *settings {
	if len(params) == 0 {
		return nil
	}
	last := make(map[string]int, len(params))
	for i, p := range params {
		last[strings.ToLower(p.Name)] = i
	}
	var kept []wire.Param
	var key strings.Builder
	key.WriteString(pool + "\x00")
	for i, p := range params {
		if last[strings.ToLower(p.Name)] != i {
			continue // the last of several wins, as on a server
		}
		kept = append(kept, p)
	}
	slices.SortFunc(kept, func(a, b wire.Param) int { return strings.Compare(a.Name, b.Name) })
	for _, p := range kept {
		key.WriteString(p.Name + "\x00" + p.Value + "\x00")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.all[key.String()]
	if s == nil {
		if t.all == nil {
			t.all = make(map[string]*settings)
		}
		s = &settings{key: key.String(), params: kept}
		t.all[s.key] = s
	}
	s.refs++
	return s
}

func (t *settingsTable) drop(s *settings) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.refs--; s.refs == 0 && len(t.all) > maxIdleSettings {
		delete(t.all, s.key)
	}
}

// learned is what the server reports under these settings, nil while nobody has asked.
func (st *settings) learned() []wire.Param {
	if st == nil {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.status
}

// doubted is what a connection has that may have left the settings from, in part or in whole: a RESET leads to the server's
// own, and may have been rolled back. It equals no session's settings.
func doubted(from any) any {
	old, _ := from.(*settings)
	if old == nil {
		return nil // the server's own in any case
	}
	return &settings{key: "in doubt", params: old.params}
}

// script is the SQL that takes a connection from the settings from (nil: the server's own) to st.
func (st *settings) script(from any) string {
	var params []wire.Param
	if st != nil {
		params = st.params
	}
	var calls []string
	if old, _ := from.(*settings); old != nil {
		for _, p := range old.params {
			if !slices.ContainsFunc(params, func(q wire.Param) bool { return strings.EqualFold(p.Name, q.Name) }) {
				calls = append(calls, setConfig(p.Name, "NULL")) // back to the server's own
			}
		}
	}
	for _, p := range params {
		calls = append(calls, setConfig(p.Name, quoteText(p.Value)))
	}
	if len(calls) == 0 {
		return ""
	}
	return "SELECT " + strings.Join(calls, ", ")
}

// setConfig is a call whose result does not say the value: that may lack in the client's encoding.
func setConfig(name, value string) string {
	return "pg_catalog.set_config(" + quoteText(name) + ", " + value + ", false) IS NULL"
}

// quoteText quotes a literal whatever standard_conforming_strings and client_encoding are: in some encodings a quote or
// backslash may be the second byte of a character, so that only ASCII is safe. The server takes the bytes of a start-up
// packet as they are too.
func quoteText(s string) string {
	b := append(make([]byte, 0, len(s)+8), "E'"...)
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\' || c == '\'':
			b = append(b, c, c)
		case c >= 0x80:
			b = fmt.Appendf(b, `\x%02x`, c)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '\''))
}

// apply brings c to st in a round trip of its own, outside any transaction of the client's. What the server reports
// is kept for the clients that log in with the same. An error is the server's; the connection is not to be used then.
func (st *settings) apply(s *session, c *pool.Conn, f *loop.Fiber, deadline int64) *wire.Error {
	sql := st.script(c.Settings)
	c.Settings = s.wanted()
	if sql == "" {
		return nil
	}
	status, err := askServer(c, f, sql, deadline)
	if err != nil {
		if err == errServerLost {
			s.srv.log.Warn("server connection lost while settings were applied", "pool", s.pool.Name(), "pid", c.PID())
		}
		return err
	}
	if st != nil {
		st.mu.Lock()
		if st.status == nil {
			st.status = append([]wire.Param{}, status...)
		}
		st.mu.Unlock()
	}
	return nil
}

// askServer runs one statement and returns the ParameterStatus messages that came with its answer.
func askServer(c *pool.Conn, f *loop.Fiber, sql string, deadline int64) ([]wire.Param, *wire.Error) {
	if _, err := c.Write(wire.AppendQuery(nil, sql)); err != nil {
		return nil, errServerLost
	}
	c.Unnamed = 0
	var a answer
	for !a.ready {
		buf := f.Loop().Buffer()
		n, err := c.Read(buf)
		switch {
		case err == nil:
			a.add(buf[:n])
		case err != loop.ErrWouldBlock: //nolint:errorlint // our own sentinel
			return nil, errServerLost
		case f.Loop().Now() >= deadline || f.Wait(c.Net, loop.Readable, nil, 0, deadline) != nil:
			return nil, &wire.Error{Code: wire.CodeConnectionFailure, Message: "the server does not answer"}
		}
	}
	return a.status, a.failure
}

var errServerLost = &wire.Error{Code: wire.CodeConnectionFailure, Message: "server closed the connection unexpectedly"}

// answer collects what matters of the reply to a statement of our own.
type answer struct {
	rest    []byte
	status  []wire.Param
	failure *wire.Error
	ready   bool
}

func (a *answer) add(b []byte) {
	a.rest = append(a.rest, b...)
	for {
		typ, body, rest, ok := wire.Next(a.rest)
		if !ok {
			return
		}
		a.rest = rest
		switch typ {
		case 'S':
			if name, value, ok := wire.ParameterStatus(body); ok {
				a.status = append(a.status, wire.Param{Name: string(name), Value: string(value)})
			}
		case 'E':
			if e, ok := wire.ParseError(body); ok && a.failure == nil {
				a.failure = e
			}
		case 'Z':
			a.ready = true
		}
	}
}
