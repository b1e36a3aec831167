package proxy

import (
	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// greeting is the first thing a session does on its loop: it tells the client the server's parameters, as they are
// under the client's settings, its cancel key, and that it may begin.
type greeting struct {
	s      *session
	unsent []byte // AuthenticationOk
}

// Serve runs the greeting and leaves the session idle.
func (g *greeting) Serve(f *loop.Fiber) {
	s := g.s
	f.Attach(s.conn)
	defer s.crash()
	s.begin(f)
	err := s.greet(g.unsent)
	if err == nil && len(s.in) > 0 {
		err = s.pump()
	}
	if err == nil && s.leaving {
		err = s.farewell()
	}
	if err != nil {
		s.end(err)
	}
	s.rest()
	if !s.ended {
		s.conn.SetHandler(s)
		s.conn.Detach()
	}
}

func (s *session) greet(unsent []byte) error {
	params, learned := s.pool.Params(), s.settings.learned()
	if params == nil || (s.settings != nil && learned == nil) {
		if err := s.learn(); err != nil {
			_ = s.write(unsent) // the client is who it says; what is wrong comes after that
			return fatal(err)
		}
		params, learned = s.pool.Params(), s.settings.learned()
	}
	b := append(s.w.loop.Scratch(), unsent...)
	for _, p := range params {
		b = wire.AppendParameterStatus(b, p.Name, override(p, learned))
	}
	b = wire.AppendBackendKeyData(b, s.pid, s.srv.cancelKey(s.pid, s.newKeys))
	b = wire.AppendReadyForQuery(b, 'I')
	err := s.write(b)
	s.w.loop.KeepScratch(b)
	if err != nil {
		return clientGone{err}
	}
	return nil
}

func override(p wire.Param, learned []wire.Param) string {
	for _, l := range learned {
		if l.Name == p.Name {
			return l.Value
		}
	}
	return p.Value
}

func fatal(e *wire.Error) *wire.Error {
	f := *e
	f.Severity = "FATAL"
	return &f
}

// learn sees that the client's settings are valid and what the server reports then.
func (s *session) learn() *wire.Error {
	err := s.learnOnce()
	for lost := 0; err == errServerLost && lost < maxLost; lost++ {
		err = s.learnOnce()
	}
	return err
}

// learnOnce borrows a server connection for it.
func (s *session) learnOnce() *wire.Error {
	x := s.x
	c, err := s.checkout()
	if err != nil {
		return err
	}
	if s.settings != nil && c.Settings != nil {
		// What the connection has already would not be reported.
		reset := (*settings)(nil).script(c.Settings)
		if _, e := askServer(c, x.f, reset, s.w.loop.After(applyTimeout)); e != nil {
			s.pool.Release(c, pool.Broken)
			return e
		}
		c.Settings = nil
	}
	if e := s.settings.apply(s, c, x.f, s.w.loop.After(applyTimeout)); e != nil {
		s.pool.Release(c, pool.Broken)
		return e
	}
	s.pool.Release(c, pool.Ready)
	return nil
}

// checkout waits for a server connection outside any request. Only a kill or the pool's wait time-out ends the wait.
func (s *session) checkout() (*pool.Conn, *wire.Error) {
	x := s.x
	if c := s.pool.TryAcquire(x.f); c != nil {
		return c, nil
	}
	s.enqueue()
	for {
		if err := x.f.Wait(nil, 0, nil, 0, x.deadline); err != nil || s.killed {
			s.leaveQueue()
			return nil, errAdminShutdown
		}
		c, err := s.pool.Granted(x.waiter)
		switch {
		case c != nil:
			s.w.keepWaiter(x.waiter)
			x.waiter = nil
			return c, nil
		case err != nil:
			s.leaveQueue()
			return nil, serverError(err)
		case s.w.loop.Now() >= x.deadline:
			s.leaveQueue()
			return nil, s.waitTimedOut()
		}
	}
}
