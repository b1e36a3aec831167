package proxy

import (
	"errors"
	"net"
	"sync"
	"time"
)

// Times of a restart.
const (
	offerPatience = time.Minute      // for a successor to start
	partingIdle   = 10 * time.Second // a server connection is kept, when its clients are leaving anyway
)

// meet deals with a process that wants to take over.
func (srv *Server) meet(l *link) {
	defer l.drop()
	unwatch := srv.closeWithServer(l)
	defer unwatch()
	if err := srv.offerTo(l); err != nil {
		if srv.ctx.Err() == nil {
			srv.log.Warn("no process has taken over", "error", err)
		}
		return
	}
	u := srv.yieldTo(l)
	if u == nil {
		return
	}
	srv.handover.work.Go(u.deliver)
	srv.handover.work.Go(u.moveAll)
	u.listen()
}

// closeWithServer ends l when the server does.
func (srv *Server) closeWithServer(l *link) (unwatch func()) {
	done := make(chan struct{})
	srv.handover.work.Go(func() {
		select {
		case <-srv.ctx.Done():
			l.close()
		case <-done:
		}
	})
	return func() { close(done) }
}

var errEnding = errors.New("this process is ending, or another takes over already")

// offerTo gives a process our listeners and waits until it accepts clients.
func (srv *Server) offerTo(l *link) error {
	if err := judgePeer(l.conn); err != nil {
		return err
	}
	_ = l.conn.SetReadDeadline(time.Now().Add(linkPatience))
	m, descriptors, err := l.receive()
	closeDescriptors(descriptors)
	switch {
	case err != nil:
		return err
	case m.Kind != helloLetter || m.Version != linkVersion:
		err := errors.New("it speaks another version: stop the old process and start the new one")
		_ = l.send(&letter{Kind: refusalLetter, Text: err.Error()})
		return err
	}
	o, descriptors, err := srv.makeOffer()
	if err != nil {
		_ = l.send(&letter{Kind: refusalLetter, Text: err.Error()})
		return err
	}
	defer srv.endOffer()
	l.parcels = m.Parcels
	err = l.send(&letter{Kind: offerLetter, Offer: o}, descriptors...)
	closeDescriptors(descriptors)
	if err != nil {
		return err
	}
	_ = l.conn.SetReadDeadline(time.Now().Add(offerPatience))
	m, descriptors, err = l.receive()
	closeDescriptors(descriptors)
	if err == nil && m.Kind != readyLetter {
		err = errors.New("it does not speak as it should")
	}
	if err == nil {
		err = l.conn.SetReadDeadline(time.Time{})
	}
	return err
}

// makeOffer duplicates every listener. Until endOffer there is no reload: the new process has read the configuration.
func (srv *Server) makeOffer() (*offer, []int, error) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closed() || srv.handover.offered {
		return nil, nil, errEnding
	}
	o := &offer{Key: srv.key, LastPID: srv.lastPID}
	var descriptors []int
	for _, ln := range append(srv.listeners[:len(srv.listeners):len(srv.listeners)], srv.handover.lent...) {
		fd, err := descriptor(ln.Listener)
		if err != nil {
			closeDescriptors(descriptors)
			return nil, nil, err
		}
		o.Listeners, descriptors = append(o.Listeners, ln.key), append(descriptors, fd)
	}
	srv.handover.offered = true
	return o, descriptors, nil
}

func (srv *Server) endOffer() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.handover.offered = false
}

// yieldTo stops accepting: the successor does. Nil: the server is ending.
func (srv *Server) yieldTo(l *link) *successor {
	srv.mu.Lock()
	if srv.closed() {
		srv.mu.Unlock()
		return nil
	}
	u := &successor{
		srv: srv, link: l, transit: make(map[uint64]*session), stays: make(map[*session]bool), bell: make(chan struct{}, 1),
	}
	srv.handover.after = u
	for _, ln := range srv.listeners {
		if un, ok := ln.Listener.(*net.UnixListener); ok {
			un.SetUnlinkOnClose(false) // the name is the successor's
		}
	}
	srv.closeAll()
	for _, t := range srv.tenancies {
		cfg := *t.pool.Config()
		cfg.MinSize = 0
		if cfg.IdleTimeout == 0 || cfg.IdleTimeout > partingIdle {
			cfg.IdleTimeout = partingIdle
		}
		t.pool.Reconfigure(cfg)
	}
	clients := len(srv.sessions)
	srv.mu.Unlock()
	srv.closeControl()
	if err := l.send(&letter{Kind: stoppedLetter}); err != nil {
		srv.log.Warn("the process that took over has gone", "error", err)
	}
	srv.log.Info("another process has taken over", "clients", clients)
	close(srv.handover.over)
	return u
}

// successor is the process that took over, as its predecessor sees it.
type successor struct {
	srv  *Server
	link *link
	bell chan struct{} // something is in queue, or the link has ended

	mu      sync.Mutex
	number  uint64
	queue   []outbound
	transit map[uint64]*session // handed over and not yet answered; the sockets are on no loop
	stays   map[*session]bool   // it was refused, and is not offered again
	dead    bool
}

// outbound is a parcel to be sent.
type outbound struct {
	number     uint64
	parcel     *parcel
	descriptor int
}

// listen hears the successor's answers until it has gone.
func (u *successor) listen() {
	for {
		m, descriptors, err := u.link.receive()
		closeDescriptors(descriptors)
		if err != nil {
			u.end()
			return
		}
		switch m.Kind {
		case takenLetter:
			u.resolve(m.Number, true)
		case refusalLetter:
			u.resolve(m.Number, false)
		case cancelLetter:
			u.srv.passedOn(m, u.link)
		case doneLetter:
			u.link.answered(m.Number)
		}
	}
}

// resolve ends a client's transit.
func (u *successor) resolve(number uint64, taken bool) {
	u.mu.Lock()
	s := u.transit[number]
	delete(u.transit, number)
	if s != nil && !taken {
		u.stays[s] = true
	}
	u.mu.Unlock()
	if s == nil {
		return
	}
	if taken {
		s.w.loop.Post(s.moved)
	} else {
		s.w.loop.Post(s.stay)
	}
}

// end deals with those in transit when the link breaks. Whether the successor has one that was sent is not known: two
// processes that answer one client are worse than none.
func (u *successor) end() {
	u.mu.Lock()
	u.dead = true
	queue := u.queue
	u.queue = nil
	back := make([]*session, 0, len(queue))
	for _, o := range queue {
		closeDescriptors([]int{o.descriptor})
		back = append(back, u.transit[o.number])
		delete(u.transit, o.number)
	}
	lost := make([]*session, 0, len(u.transit))
	for number, s := range u.transit {
		lost = append(lost, s)
		delete(u.transit, number)
	}
	u.mu.Unlock()
	u.ring()
	for _, s := range back {
		s.w.loop.Post(s.stay)
	}
	for _, s := range lost {
		s.w.loop.Post(s.moved)
	}
	if u.srv.ctx.Err() == nil {
		u.srv.log.Warn("the process that took over has gone", "clients_lost", len(lost))
	}
}

func (u *successor) ring() {
	select {
	case u.bell <- struct{}{}:
	default:
	}
}

// deliver sends what loops have queued: they do not wait for the link.
func (u *successor) deliver() {
	for range u.bell {
		for {
			u.mu.Lock()
			if u.dead {
				u.mu.Unlock()
				return
			}
			if len(u.queue) == 0 {
				u.mu.Unlock()
				break
			}
			o := u.queue[0]
			u.queue = u.queue[1:]
			u.mu.Unlock()
			err := u.link.send(&letter{Kind: parcelLetter, Number: o.number, Parcel: o.parcel}, o.descriptor)
			closeDescriptors([]int{o.descriptor})
			if errors.Is(err, errNotSent) {
				u.resolve(o.number, false)
			}
		}
	}
}
