package proxy

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/wire"
	"github.com/sarnicdb/sarnic/router"
)

// A client knows a process number of its own, which no server has. pg_backend_pid tells it that one, and
// pg_terminate_backend and pg_cancel_backend of it act on the client that has it. The calls are rewritten in the text; what
// is left to the server is every other process, and every statement that looks at the server's own views of its
// processes, where the real numbers are.

// rewritePIDs returns the text with its calls rewritten, nil where nothing is.
func (s *session) rewritePIDs(sql []byte, m *impact) (text []byte) {
	from := 0
	for i := range m.pids {
		p := &m.pids[i]
		if call := s.replacement(sql, p, m); call != "" && p.At >= from {
			text = append(append(text, sql[from:p.At]...), call...)
			from = p.End
		}
	}
	if text == nil {
		return nil
	}
	return append(text, sql[from:]...)
}

// replacement is what takes the place of a call; "" for one that stays as it is. A subquery lends its column's name to the
// statement's, as the call did.
func (s *session) replacement(sql []byte, p *router.Part, m *impact) string {
	switch {
	case p.From || p.Stored:
	case p.Kind == router.BackendPID:
		if m.ownPID {
			return "(SELECT '" + strconv.FormatUint(uint64(s.pid), 10) + "'::pg_catalog.int4 AS pg_backend_pid)"
		}
	case p.PID > 0:
		if s.mayEnd(uint32(p.PID)) != nil || slices.ContainsFunc(s.x.endings, func(e ending) bool { return e.pid == uint32(p.PID) }) {
			return "(SELECT true AS " + functionName(p.Kind) + ")"
		}
	case p.Arg > 0: // a number below zero stands for one of ours
		arg := "$" + strconv.Itoa(p.Arg)
		return "(SELECT CASE WHEN " + arg + " OPERATOR(pg_catalog.<) 0 THEN true ELSE " + string(sql[p.At:p.End]) + " END AS " +
			functionName(p.Kind) + ")"
	}
	return ""
}

func functionName(k router.Kind) string {
	if k == router.CancelBackend {
		return "pg_cancel_backend"
	}
	return "pg_terminate_backend"
}

// readsProcesses reports whether a text looks at views that show the server's own process numbers.
func readsProcesses(text []byte) bool {
	text = bytes.ToLower(text)
	return bytes.Contains(text, []byte("pg_stat_")) || bytes.Contains(text, []byte("pg_locks"))
}

// mayEnd is the session with a process number that the client may act on: of its own role, or anybody's for a superuser.
func (s *session) mayEnd(pid uint32) *session {
	s.srv.mu.Lock()
	other := s.srv.sessions[pid]
	s.srv.mu.Unlock()
	if other == nil || other.pool.User() == s.pool.User() {
		return other
	}
	super, _ := valueOf(s.pool.Params(), "is_superuser")
	if !strings.EqualFold(super, "on") {
		return nil
	}
	return other
}

// endsOf are the sessions that the calls of a statement about to run mean, and what is to be done to them.
func (s *session) endsOf(m *impact, tail []byte) (all []ending) {
	for i := range m.pids {
		p := &m.pids[i]
		pid := uint32(p.PID)
		if p.Arg > 0 {
			pid = pidParameter(tail, p.Arg)
		}
		if p.Kind == router.BackendPID || pid == 0 || p.From || p.Stored {
			continue
		}
		if other := s.mayEnd(pid); other != nil {
			all = append(all, ending{other, pid, p.Kind, p.Arg})
		}
	}
	return all
}

// ending is one session to be terminated, or whose statement is to be canceled.
type ending struct {
	who  *session
	pid  uint32
	kind router.Kind
	arg  int // the parameter that says so; 0: the text
}

// act has it done and calls done when it is. On any goroutine.
func (e ending) act(done func()) {
	e.who.w.loop.Post(func() {
		if e.kind == router.CancelBackend {
			e.who.cancel(done)
			return
		}
		e.who.kill()
		done()
	})
}

// endOthers has the sessions of all ended, and the frame at hand looked at again then.
func (s *session) endOthers(all []ending) error {
	s.x.endings = all
	return s.runErrand(func() error {
		x := s.x
		x.ended = true
		for _, e := range all {
			if e.who == s {
				s.killed = true // it is told in its own answer
				continue
			}
			x.f.Await(func() {
				acted := make(chan struct{})
				e.act(func() { close(acted) })
				select {
				case <-acted:
				case <-s.srv.done:
				}
			})
		}
		return nil
	})
}

// pidParameter reads the number that a Bind gives to a parameter; 0 for none that could be a client's.
func pidParameter(tail []byte, n int) uint32 {
	value, ok := wire.BindParameter(tail, n)
	if !ok {
		return 0
	}
	if wire.BindFormat(tail, n) == 1 {
		if len(value) != 4 {
			return 0
		}
		return binary.BigEndian.Uint32(value)
	}
	pid, err := strconv.ParseUint(string(value), 10, 31)
	if err != nil {
		return 0
	}
	return uint32(pid)
}

// below0 is the tail of a Bind with a number below zero in the places of the sessions that have been ended.
func below0(tail []byte, all []ending) []byte {
	for _, e := range all {
		if e.arg == 0 {
			continue
		}
		value := []byte("-1")
		if wire.BindFormat(tail, e.arg) == 1 {
			value = []byte{0xff, 0xff, 0xff, 0xff}
		}
		tail = wire.AppendBindReplaced(nil, tail, e.arg, value)
	}
	return tail
}
