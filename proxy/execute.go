package proxy

import (
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// acquire gets a server connection for the request at hand. Where none is free the session queues: ok is false, the
// input is kept, and pump goes on when one is granted.
func (s *session) acquire() (ok bool, err error) {
	x := s.x
	c := s.pool.TryAcquire(x.f)
	if c == nil {
		s.enqueue()
		return false, nil
	}
	x.server = c
	return s.attached()
}

// attached brings a connection just acquired to the client's settings, if it is not there already. That takes a round
// trip of its own, so the input at hand must be kept: ok is false then, and it is looked at again.
func (s *session) attached() (ok bool, err error) {
	x := s.x
	x.status = 'I'
	switch x.server.Sequences {
	case 0:
		x.server.Sequences = s.owned
	case s.owned:
	default:
		x.server.Sequences = pool.Shared
	}
	if x.server.Settings == s.wanted() {
		return true, nil
	}
	x.apply = true
	x.again = true
	return false, nil
}

// wanted is what a connection's Settings must equal.
func (s *session) wanted() any {
	if s.settings == nil {
		return nil
	}
	return s.settings
}

func (s *session) enqueue() {
	x := s.x
	cfg := s.pool.Config()
	x.waiter = s.w.borrowWaiter()
	x.deadline = s.w.loop.After(cfg.WaitTimeout)
	x.noticeAt = s.w.loop.After(cfg.WaitNotice)
	s.pool.Enqueue(x.waiter, x.f)
}

// waited looks at how a wait in the queue goes, after each wake.
func (s *session) waited() error {
	x := s.x
	c, err := s.pool.Granted(x.waiter)
	now := s.w.loop.Now()
	switch {
	case c != nil:
		s.w.keepWaiter(x.waiter)
		x.waiter, x.server, x.again = nil, c, true
		_, err := s.attached()
		return err
	case err != nil:
		s.leaveQueue()
		return s.refuse(serverError(err))
	case x.canceled:
		s.leaveQueue()
		x.canceled = false
		return s.refuse(&wire.Error{
			Code: wire.CodeQueryCanceled, Message: "canceling statement due to user request",
		})
	case now >= x.deadline:
		s.leaveQueue()
		return s.refuse(s.waitTimedOut())
	case now >= x.noticeAt:
		x.noticeAt = 1<<63 - 1
		return s.write(wire.AppendNotice(nil, &wire.Error{
			Severity: "NOTICE", Code: "00000", Message: "waiting for a server connection of pool " + s.pool.Name(),
		}))
	}
	return nil
}

func (s *session) waitTimedOut() *wire.Error {
	return &wire.Error{
		Code: wire.CodeTooManyConnections, Message: "timed out waiting for a server connection",
		Detail: "The pool " + s.pool.Name() + " has had no free connection for " + s.pool.Config().WaitTimeout.String() + ".",
		Hint:   "Raise the pool's size or wait_timeout, or shorten transactions.",
	}
}

func (s *session) leaveQueue() {
	x := s.x
	if s.pool.Dequeue(x.waiter) {
		s.w.keepWaiter(x.waiter)
	}
	x.waiter = nil
}

// refuse answers the request at the head of the input with an error of our own, while no server connection is
// attached: a simple request is answered whole, an extended one is skipped up to its Sync.
func (s *session) refuse(e *wire.Error) error {
	x := s.x
	x.again = true
	if len(s.in) < wire.HeaderLen {
		return e
	}
	s.sendError(e)
	typ, size, _ := wire.Header(s.in)
	if typ != 'Q' && typ != 'F' {
		s.skipping = true
		return nil
	}
	if size > len(s.in) {
		x.passIn, x.passInDrop = size-len(s.in), true
		size = len(s.in)
	}
	if s.in = s.in[:copy(s.in, s.in[size:])]; len(s.in) == 0 {
		s.dropInput()
	}
	return s.write(wire.AppendReadyForQuery(nil, 'I'))
}

// sendError is the only function that writes an ErrorResponse of our own making to a logged-in client; poison's goes
// the server's way.
func (s *session) sendError(e *wire.Error) { _ = s.write(wire.AppendError(nil, e)) }

// serverError is what a client is told when its server cannot be reached.
func serverError(err error) *wire.Error {
	e := wire.ToldToClient(err)
	if e.Code != wire.CodeInternalError {
		return e
	}
	return &wire.Error{
		Code: wire.CodeConnectionFailure, Message: "cannot connect to the server",
		Hint: "The reason is in the log of sarnic.",
	}
}

// applyTimeout bounds the round trip that applies settings.
const applyTimeout = 10 * time.Second

// maxLost is how many server connections that end while they are brought to a client's settings, or of which nobody knows
// what they have, are made up for by another.
const maxLost = 3

// applySettings runs the round trip that attached asked for. A connection that ends in it has seen nothing of the
// client's: the request at hand waits for another.
func (s *session) applySettings() error {
	x := s.x
	x.apply = false
	if x.server == nil {
		return nil
	}
	doubtful := inDoubt(x.server.Settings)
	err := s.settings.apply(s, x.server, x.f, s.w.loop.After(applyTimeout))
	if err == nil {
		x.lost = 0
		return nil
	}
	s.letGo(pool.Broken)
	if x.lost++; (err == errServerLost || doubtful) && x.lost <= maxLost {
		x.again = true
		return nil
	}
	x.lost = 0
	return s.refuse(err)
}
