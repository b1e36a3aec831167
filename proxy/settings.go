package proxy

import (
	"encoding/binary"
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
	doubt  bool // these may have been set, to whatever value
	refs   int  // guarded by settingsTable.mu

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

// hold is another reference.
func (t *settingsTable) hold(s *settings) *settings {
	if s != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		s.refs++
	}
	return s
}

func (t *settingsTable) drop(s *settings) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.refs--; s.refs == 0 && len(t.all) > maxIdleSettings {
		delete(t.all, s.key)
	}
}

// list is the parameters; the caller changes nothing in it.
func (st *settings) list() []wire.Param {
	if st == nil {
		return nil
	}
	return st.params
}

// setOne is params with name set to value.
func setOne(params []wire.Param, name, value string) []wire.Param {
	return append(resetOne(params, nil, name), wire.Param{Name: name, Value: value})
}

// resetOne is params with the value that startup has of name, or without it.
func resetOne(params, startup []wire.Param, name string) []wire.Param {
	is := func(p wire.Param) bool { return strings.EqualFold(p.Name, name) }
	out := slices.DeleteFunc(slices.Clone(params), is)
	if i := slices.IndexFunc(startup, is); i >= 0 {
		out = append(out, startup[i])
	}
	return out
}

// resetAll is what params are after RESET ALL: the start-up values, under the role there was.
func resetAll(params, startup []wire.Param) []wire.Param {
	out := slices.Clone(startup)
	for _, p := range params {
		if identity(p.Name) {
			out = setOne(out, p.Name, p.Value)
		}
	}
	return out
}

// setSettings is what the session has from now on.
func (s *session) setSettings(params []wire.Param) {
	old := s.settings
	s.settings = s.srv.settings.intern(s.pool.Name(), params)
	if old != nil {
		s.srv.settings.drop(old)
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

// doubted is what a connection has of the settings from when one of them, or another, is about to change: nobody knows what
// it will be, or whether that will be rolled back. It equals no session's settings.
func doubted(from any, name string) any {
	old, _ := from.(*settings)
	return &settings{doubt: true, params: setOne(old.list(), name, "")}
}

// inDoubt reports whether nobody knows what a connection has.
func inDoubt(have any) bool {
	st, _ := have.(*settings)
	return st != nil && st.doubt
}

// script is the SQL that takes a connection from the settings from (nil: the server's own) to st. A role is taken off first
// and put on last: what it may set is another matter than what its session may.
func (st *settings) script(from any) string {
	old, _ := from.(*settings)
	same := sameIdentity(old, st)
	var calls []string
	if !same {
		calls = appendIdentity(calls, old, true)
	}
	for _, p := range old.list() {
		if _, wanted := valueOf(st.list(), p.Name); !wanted && !identity(p.Name) {
			calls = append(calls, setConfig(p.Name, "NULL")) // back to the server's own
		}
	}
	for _, p := range st.list() {
		if had, ok := valueOf(old.list(), p.Name); ok && had == p.Value && !old.doubt || identity(p.Name) {
			continue
		}
		calls = append(calls, setConfig(p.Name, quoteText(p.Value)))
	}
	if !same {
		calls = appendIdentity(calls, st, false)
	}
	if len(calls) == 0 {
		return ""
	}
	return "SELECT " + strings.Join(calls, ", ")
}

// appendIdentity appends what makes the session the one that st means, or ends that.
func appendIdentity(calls []string, st *settings, ends bool) []string {
	for _, name := range []string{sessionAuthorization, role} {
		switch value, ok := valueOf(st.list(), name); {
		case ok && ends:
			calls = append(calls, setConfig(name, "NULL"))
		case ok:
			calls = append(calls, setConfig(name, quoteText(value)))
		}
	}
	return calls
}

// The parameters that say who a session is.
const (
	sessionAuthorization = "session_authorization"
	role                 = "role"
)

func identity(name string) bool {
	return strings.EqualFold(name, role) || strings.EqualFold(name, sessionAuthorization)
}

// sameIdentity reports whether two settings certainly mean the same role.
func sameIdentity(a, b *settings) bool {
	for _, name := range []string{sessionAuthorization, role} {
		inA, hasA := valueOf(a.list(), name)
		inB, hasB := valueOf(b.list(), name)
		if hasA != hasB || inA != inB || hasA && a.doubt {
			return false
		}
	}
	return true
}

func valueOf(params []wire.Param, name string) (string, bool) {
	for _, p := range params {
		if strings.EqualFold(p.Name, name) {
			return p.Value, true
		}
	}
	return "", false
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
	clean := c.Settings == nil
	c.Settings = s.wanted()
	if sql == "" {
		return nil
	}
	a, err := askServer(c, f, sql, deadline)
	if err != nil {
		if err == errServerLost {
			s.srv.log.Warn("server connection lost while settings were applied", "pool", s.pool.Name(), "pid", c.PID())
		}
		return err
	}
	if st != nil && clean {
		st.mu.Lock()
		if st.status == nil {
			st.status = append([]wire.Param{}, a.status...)
		}
		st.mu.Unlock()
	}
	return nil
}

// askServer runs one statement of our own and returns what came in answer.
func askServer(c *pool.Conn, f *loop.Fiber, sql string, deadline int64) (*answer, *wire.Error) {
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
			return nil, errServerSilent
		}
	}
	return &a, a.failure
}

var (
	errServerLost   = &wire.Error{Code: wire.CodeConnectionFailure, Message: "server closed the connection unexpectedly"}
	errServerSilent = &wire.Error{Code: wire.CodeConnectionFailure, Message: "the server does not answer"}
)

// answer collects what matters of the reply to a statement of our own.
type answer struct {
	rest    []byte
	status  []wire.Param
	value   string // the first column of the last row
	failure *wire.Error
	ready   bool
}

// firstValue is the first value of a DataRow; "" for NULL.
func firstValue(body []byte) string {
	if len(body) < 6 {
		return ""
	}
	n := int(int32(binary.BigEndian.Uint32(body[2:])))
	if n <= 0 || n > len(body)-6 {
		return ""
	}
	return string(body[6 : 6+n])
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
		case 'D':
			a.value = firstValue(body)
		case 'E':
			if e, ok := wire.ParseError(body); ok && a.failure == nil {
				a.failure = e
			}
		case 'Z':
			a.ready = true
		}
	}
}
