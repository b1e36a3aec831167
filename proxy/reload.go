package proxy

import (
	"errors"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// KeyError is why a new configuration cannot be had, and the key of the file that is to blame.
type KeyError struct {
	Key string
	Err error
}

func (e *KeyError) Error() string { return e.Key + ": " + e.Err.Error() }
func (e *KeyError) Unwrap() error { return e.Err }

var (
	errNotServing = errors.New("the server is starting or ending")
	errFixed      = errors.New("cannot be changed while the process runs: restart it")
)

// Reload puts cfg in the place of the configuration, whole, or leaves everything as it is and says why. Pools whose
// settings are the same keep their connections. Where the limits or times of a pool differ, so do they from now on;
// where its server, role or password differ, its connections are used up and replaced. Clients of a database or user
// that is no more may finish their transaction.
func (srv *Server) Reload(cfg Config) error {
	srv.reloading.Lock()
	defer srv.reloading.Unlock()
	select {
	case <-srv.ready:
	default:
		return errNotServing
	}
	if cfg.MaxLoops != srv.snapshot().cfg.MaxLoops {
		return &KeyError{"limits.loops", errFixed}
	}
	if cfg.RestartSocket != srv.snapshot().cfg.RestartSocket {
		return &KeyError{"restart.socket", errFixed}
	}
	next, err := srv.newSnapshot(cfg)
	if err != nil {
		return err
	}
	doors, err := srv.open(&next.cfg, nil)
	if err != nil {
		return err
	}
	leaving, sum, err := srv.replace(next, doors)
	if err != nil {
		doors.abandon()
		return err
	}
	doors.finish()
	for _, s := range leaving {
		s.w.loop.Post(s.leave)
	}
	srv.log.Info("configuration reloaded", "pools_kept", sum.kept, "pools_changed", sum.changed, "pools_reconnected", sum.redirected,
		"pools_removed", sum.removed, "clients_leaving", len(leaving))
	return nil
}

// summary is what a reload did.
type summary struct{ kept, changed, redirected, removed int }

// replace is the moment at which everything changes. It returns the clients that may not stay.
func (srv *Server) replace(next *snapshot, doors *doors) (leaving []*session, sum summary, err error) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closed() || srv.handover.offered {
		return nil, sum, errNotServing
	}
	srv.current.Store(next)
	srv.gate.resize(next.cfg.MaxLogins)
	srv.listeners = doors.all
	for _, ln := range doors.opened {
		srv.take(ln)
	}
	for key, l := range srv.limits {
		if most := next.most(key); most != l.Max {
			srv.pools.SetMax(l, most)
		}
	}
	for _, t := range srv.tenancies {
		srv.follow(t, next, &sum)
	}
	for _, s := range srv.sessions {
		if t := srv.tenancies[s.pool]; t != nil && t.why != nil {
			leaving = append(leaving, s)
		}
	}
	return leaving, sum, nil
}

// follow makes of a pool what next says it is to be. The caller holds mu.
func (srv *Server) follow(t *tenancy, next *snapshot, sum *summary) {
	to, refusal := next.plan(t.key)
	if refusal != nil {
		sum.removed++
		srv.retire(t, leaveBecause(refusal))
		return
	}
	from := t.plan
	t.plan = to
	redirected, changed := !from.server.Equal(to.server), from.pool != to.pool
	if redirected {
		t.pool.Redirect(to.server.Dial, to.cancel)
	}
	if changed {
		t.pool.Reconfigure(to.pool)
	}
	switch {
	case from.pool.Mode != to.pool.Mode && srv.byName[t.key] == t.pool:
		srv.retire(t, nil) // the clients it has rely on the mode they logged in with
		sum.changed++
	case redirected:
		sum.redirected++
	case changed:
		sum.changed++
	default:
		sum.kept++
	}
}

// leaveBecause is what a client is told that can no longer be where it is.
func leaveBecause(refusal *wire.Error) *wire.Error {
	e := *errAdminShutdown
	e.Detail = "The configuration was changed: " + refusal.Message + " any more."
	e.Hint = "Connect again to a database and as a user that the configuration of sarnic names."
	return &e
}

// farewell is why the session is to leave. On its loop.
func (s *session) farewell() *wire.Error {
	s.srv.mu.Lock()
	defer s.srv.mu.Unlock()
	if t := s.srv.tenancies[s.pool]; t != nil && t.why != nil {
		return t.why
	}
	return errAdminShutdown
}

// leave ends the session as soon as it holds no transaction. On its loop.
func (s *session) leave() {
	s.leaving = true
	if s.ended || s.conn.Loop() == nil { // on its way here, or to another process: it is seen to where it arrives
		return
	}
	if s.x == nil {
		s.end(s.farewell())
		return
	}
	if x := s.x; x.server != nil && x.status == 'I' && x.led.settled() && !x.open {
		s.leaveAfterAnswers(s.farewell()) // pinned, or in session mode: nothing runs
		x.f.Wake()
	}
}
