package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Succeed is New for a process that takes the place of another; p may be nil. The Server owns p from then on.
func Succeed(cfg Config, p *Predecessor, log *slog.Logger) (*Server, error) {
	srv, err := New(cfg, log)
	if err != nil || p == nil {
		return srv, err
	}
	srv.handover.before = p
	srv.key = p.offer.Key
	srv.lastPID = (p.offer.LastPID + pidDistance) & (1<<31 - 1)
	again, err := srv.newSnapshot(cfg) // what was derived from the key
	if err != nil {
		return nil, err
	}
	srv.current.Store(again)
	return srv, nil
}

// pidDistance keeps the process numbers that a successor gives out from those that its predecessor goes on giving out for
// a moment.
const pidDistance = 1 << 20

// listenFirst opens what the configuration says, out of what a predecessor has handed over where it can.
func (srv *Server) listenFirst() error {
	err := srv.listen()
	if path := srv.snapshot().cfg.RestartSocket; err == nil && path != "" && srv.handover.before == nil {
		err = srv.openControl(path)
	}
	if err != nil {
		srv.handover.before.Close() // which goes on as if nothing had been said
	}
	return err
}

// startSucceeding begins to be the successor, where there is somebody to succeed.
func (srv *Server) startSucceeding() {
	p := srv.handover.before
	if p == nil {
		return
	}
	srv.handover.work.Go(func() {
		defer srv.closeWithServer(p.link)()
		srv.succeed(p)
	})
}

// succeed is the successor's side, from the moment at which it accepts clients until its predecessor has gone.
func (srv *Server) succeed(p *Predecessor) {
	defer srv.bereave(p)
	if err := p.link.send(&letter{Kind: readyLetter}); err != nil {
		srv.log.Error("the process that was to be replaced has gone", "error", err)
		return
	}
	for {
		m, descriptors, err := p.link.receive()
		if err != nil {
			return
		}
		switch m.Kind {
		case stoppedLetter:
			p.closeRest()
			srv.inherit()
		case parcelLetter:
			srv.takeParcel(p, m, descriptors)
			continue
		case cancelLetter:
			srv.passedOn(m, p.link)
		case doneLetter:
			p.link.answered(m.Number)
		}
		closeDescriptors(descriptors)
	}
}

// inherit takes the names that were the predecessor's: from now on the next successor comes to us.
func (srv *Server) inherit() {
	srv.mu.Lock()
	known := srv.handover.control != nil
	for _, ln := range srv.listeners {
		if u, ok := ln.Listener.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(true)
		}
	}
	srv.mu.Unlock()
	path := srv.snapshot().cfg.RestartSocket
	if known || path == "" || srv.ctx.Err() != nil {
		return
	}
	if err := srv.openControl(path); err != nil {
		srv.log.Error("nobody can take over from this process", "error", err)
	}
}

// bereave notes that the predecessor has gone.
func (srv *Server) bereave(p *Predecessor) {
	srv.inherit()
	p.Close()
	srv.mu.Lock()
	srv.handover.before = nil
	srv.mu.Unlock()
	if srv.ctx.Err() == nil {
		srv.log.Info("the process before this one has ended")
	}
}

// takeParcel makes a client of the predecessor ours, or says why not.
func (srv *Server) takeParcel(p *Predecessor, m *letter, descriptors []int) {
	err := srv.admitMoved(m.Parcel, descriptors)
	if err == nil {
		_ = p.link.send(&letter{Kind: takenLetter, Number: m.Number}) // else it drops the client as well
		return
	}
	srv.log.Debug("a client of the process before this one cannot be taken", "error", err)
	_ = p.link.send(&letter{Kind: refusalLetter, Number: m.Number, Text: err.Error()})
}

// admitMoved puts a client that another process has handed over on a loop. The descriptors are ours in any case.
func (srv *Server) admitMoved(p *parcel, descriptors []int) error {
	if p == nil || len(descriptors) != 1 {
		closeDescriptors(descriptors)
		return errors.New("hand-over: a parcel without a client")
	}
	nc, err := connOf(descriptors[0])
	if err != nil {
		return err
	}
	if !srv.mayDialFor(p) {
		_ = nc.Close()
		return errors.New("hand-over: the user has not shown how to log in to the server")
	}
	conn := loop.Wrap(nc)
	if err := conn.Adopt(); err != nil {
		_ = conn.Close()
		return err
	}
	l := srv.group.Pick()
	s := srv.unpack(p, conn, srv.workers[l])
	if refusal := srv.registerMoved(s, poolKey{p.Database, p.User}); refusal != nil {
		for _, cs := range s.stmts {
			srv.texts.Drop(cs.stmt)
		}
		_ = conn.Close()
		return fmt.Errorf("hand-over: %w", refusal)
	}
	s.startup = srv.settings.intern(s.pool.Name(), p.Startup)
	s.settings = srv.settings.intern(s.pool.Name(), p.Settings)
	placed := make(chan error, 1)
	l.Post(func() { placed <- l.Register(conn, s) })
	select {
	case err = <-placed:
	case <-srv.ctx.Done():
		return srv.ctx.Err()
	}
	if err != nil {
		l.Post(func() {
			s.ended = true
			s.leaveBooks()
			_ = conn.Close()
		})
	}
	return err
}

// mayDialFor reports whether there is something to log in to the server with for the client of p.
func (srv *Server) mayDialFor(p *parcel) bool {
	sn := srv.snapshot()
	if !sn.dialsItself(p.User) {
		return true
	}
	_, plain := sn.auth.secrets[p.User].Password()
	return srv.proofs.of(poolKey{p.Database, p.User}).Receive(p.Proof) || plain
}

// registerMoved enters s in the books under the process number that it has.
func (srv *Server) registerMoved(s *session, key poolKey) (refusal *wire.Error) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if refusal = srv.mayEnter(); refusal != nil {
		return refusal
	}
	if srv.sessions[s.pid] != nil || srv.console.clients[s.pid] != nil {
		return &wire.Error{Code: wire.CodeInternalError, Message: "the process number is taken"}
	}
	if s.pool, refusal = srv.poolFor(key); refusal != nil {
		return refusal
	}
	srv.enroll(s)
	srv.moveIn(s.pool)
	return nil
}
