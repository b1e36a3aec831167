package proxy

import (
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
)

const (
	firstRound   = 10 * time.Millisecond  // between two looks at who is idle, at first
	slowestRound = 500 * time.Millisecond // and later
	roundSize    = 64                     // sessions looked at in one turn of a loop
)

// moveAll hands clients over as they become idle, until none is left. Those under TLS are not: their keys cannot be had.
func (u *successor) moveAll() {
	srv := u.srv
	logins := make(chan struct{})
	srv.handover.work.Go(func() {
		defer close(logins)
		srv.accepting.Wait()
		srv.logins.Wait()
	})
	pause := firstRound
	for timer := time.NewTimer(0); ; timer.Reset(pause) {
		select {
		case <-timer.C:
		case <-srv.ctx.Done():
			timer.Stop()
			return
		}
		left := u.round()
		select {
		case <-logins:
			if left == 0 {
				close(srv.handover.left)
				return
			}
		default:
		}
		pause = min(2*pause, slowestRound)
	}
}

// round has every session looked at on its loop, and returns what is left: clients, and the predecessor, through which
// others may still come.
func (u *successor) round() int {
	srv := u.srv
	srv.mu.Lock()
	left := len(srv.sessions)
	if srv.handover.before != nil {
		left++
	}
	byLoop := make(map[*loop.Loop][]*session)
	if u.link.parcels == parcelForm {
		for _, s := range srv.sessions {
			if s.tls == nil {
				byLoop[s.w.loop] = append(byLoop[s.w.loop], s)
			}
		}
	}
	srv.mu.Unlock()
	for l, all := range byLoop {
		u.look(l, all)
	}
	return left
}

// look takes sessions of one loop a few at a time: its others are not to wait for all of them.
func (u *successor) look(l *loop.Loop, all []*session) {
	l.Post(func() {
		n := min(len(all), roundSize)
		for _, s := range all[:n] {
			u.consider(s)
		}
		if n < len(all) {
			u.look(l, all[n:])
		}
	})
}

// consider hands s over if it is idle. Of one that is not, the end of its next request is not missed. On its loop.
func (u *successor) consider(s *session) {
	switch {
	case s.ended || s.conn.Loop() == nil: // or in transit
	case s.movable():
		u.move(s)
	case s.x != nil:
		s.conn.SetHandler(&mover{s, u})
	}
}

// mover is a session that is handed over as soon as it has been served.
type mover struct {
	s *session
	u *successor
}

// Serve serves the session.
func (m *mover) Serve(f *loop.Fiber) {
	m.s.Serve(f)
	if m.s.movable() {
		m.u.move(m.s)
	}
}

// move sends s on its way. Nobody reads from its socket until the answer has come; what its client sends meanwhile waits
// there. On its loop.
func (u *successor) move(s *session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.dead || u.stays[s] {
		return
	}
	fd, err := s.conn.Descriptor()
	if err != nil {
		u.stays[s] = true
		return
	}
	s.conn.Release()
	u.number++
	u.transit[u.number] = s
	u.queue = append(u.queue, outbound{u.number, s.pack(), fd})
	u.ring()
}

// moved ends a session whose client is another process's now. Its socket is closed here only. On its loop.
func (s *session) moved() {
	if s.ended {
		return
	}
	s.ended = true
	s.leaveBooks()
	_ = s.conn.Close()
}

// stay puts a session back on its loop that could not be handed over. On its loop.
func (s *session) stay() {
	if s.ended {
		return
	}
	if err := s.w.loop.Register(s.conn, s); err != nil {
		s.srv.log.Error("cannot watch a client's socket", "error", err)
		s.ended = true
		s.leaveBooks()
		_ = s.conn.Close()
		return
	}
	switch { // while it was away
	case s.killed:
		s.end(errAdminShutdown)
	case s.leaving:
		s.leave()
	}
}
