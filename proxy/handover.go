package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/sarnicdb/sarnic/proxy/login"
)

// An online restart, in the order of what happens:
//
//	the new process connects to the socket of the old one (TakeOver) and is given its listeners and cancel keys;
//	it opens what its own configuration adds, accepts clients, and says so (handover_in.go);
//	the old process stops accepting (handover_out.go), and hands over each client that is idle and not under TLS
//	(handover_move.go);
//	the others it serves until they leave; a cancel request that comes to the one for a client of the other is passed on.
//
// At every moment somebody accepts from the same queue, so nobody is refused; a socket is with one process at a time, so
// nobody is answered twice. A new process that fails before it accepts has changed nothing.

// handover is what a server knows of the processes before and after it. The server's mu guards it, but for the channels.
type handover struct {
	before  *Predecessor // nil: there was none, or it has gone
	after   *successor   // nil: there is none
	offered bool         // one has been given the listeners and is starting
	lent    []*listener  // those of others in the process, to be handed on too
	control *net.UnixListener
	path    string

	work sync.WaitGroup
	over chan struct{} // closed when a successor accepts the clients
	left chan struct{} // closed when no client is left after that
}

// HandedOver is closed when another process has taken over and accepts the clients.
func (srv *Server) HandedOver() <-chan struct{} { return srv.handover.over }

// Vacant is closed when, after that, the last client has left or was handed over.
func (srv *Server) Vacant() <-chan struct{} { return srv.handover.left }

// Lend has another listener of the process handed over together with the server's own. The new process finds it by key.
func (srv *Server) Lend(key string, ln net.Listener) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.handover.lent = append(srv.handover.lent, &listener{ln, key})
}

// Predecessor is the running process, as seen by the one that is to take its place.
type Predecessor struct {
	link      *link
	offer     offer
	listeners map[string]net.Listener
}

// TakeOver asks the process that listens on the socket at path for its place. Nil without an error: nobody is there.
// Until a Server made by Succeed is ready, the other goes on as if nothing had been said.
func TakeOver(ctx context.Context, path string) (*Predecessor, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, nil //nolint:nilnil // nobody is there
	}
	if err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	p := &Predecessor{link: &link{conn: conn.(*net.UnixConn)}, listeners: make(map[string]net.Listener)}
	if err = judgePeer(p.link.conn); err == nil {
		err = p.ask()
	}
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("take over from the process at %s: %w", path, err)
	}
	return p, nil
}

func (p *Predecessor) ask() error {
	if err := p.link.send(&letter{Kind: helloLetter, Version: linkVersion, Parcels: parcelForm}); err != nil {
		return err
	}
	if err := p.link.conn.SetReadDeadline(time.Now().Add(linkPatience)); err != nil {
		return err
	}
	m, descriptors, err := p.link.receive()
	switch {
	case err != nil:
		return err
	case m.Kind == refusalLetter:
		return errors.New(m.Text)
	case m.Kind != offerLetter || m.Offer == nil || len(m.Offer.Listeners) != len(descriptors):
		closeDescriptors(descriptors)
		return errors.New("it does not speak as it should")
	}
	p.offer = *m.Offer
	for i, fd := range descriptors {
		ln, lerr := listenerOf(fd)
		if lerr != nil {
			err = errors.Join(err, lerr)
			continue
		}
		p.listeners[p.offer.Listeners[i]] = ln
	}
	if err != nil {
		return err
	}
	return p.link.conn.SetReadDeadline(time.Time{})
}

// Listener gives away the listener of that key; nil where there is none.
func (p *Predecessor) Listener(key string) net.Listener {
	if p == nil {
		return nil
	}
	ln := p.listeners[key]
	delete(p.listeners, key)
	return ln
}

// Close lets the predecessor be. What was not used of its listeners is closed here.
func (p *Predecessor) Close() {
	if p == nil {
		return
	}
	p.link.drop()
	p.closeRest()
}

func (p *Predecessor) closeRest() {
	for key, ln := range p.listeners {
		_ = ln.Close()
		delete(p.listeners, key)
	}
}

// openControl listens for a successor on the socket at path, whoever listened there before. The mu of srv is not held.
func (srv *Server) openControl(path string) error {
	own := path + "." + strconv.Itoa(os.Getpid())
	_ = os.Remove(own)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: own, Net: "unix"})
	if err != nil {
		return &KeyError{"restart.socket", err}
	}
	ln.SetUnlinkOnClose(false)
	err = os.Chmod(own, 0o600)
	if err == nil {
		err = os.Rename(own, path) // in one step: whoever connects reaches the one or the other
	}
	if err != nil {
		_ = os.Remove(own)
		_ = ln.Close()
		return &KeyError{"restart.socket", err}
	}
	srv.mu.Lock()
	srv.handover.control, srv.handover.path = ln, path
	srv.mu.Unlock()
	select {
	case <-srv.ctx.Done():
		srv.closeControl() // the end of the server may have come before there was something to close
		return nil
	default:
	}
	srv.handover.work.Go(func() {
		for {
			conn, err := ln.AcceptUnix()
			if err != nil {
				return // it was closed, or there are no descriptors for a process to come
			}
			srv.handover.work.Go(func() { srv.meet(&link{conn: conn}) })
		}
	})
	return nil
}

// closeControl ends the wait for a successor.
func (srv *Server) closeControl() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	h := &srv.handover
	if h.control == nil {
		return
	}
	_ = h.control.Close()
	if h.after == nil { // else the name is the successor's
		_ = os.Remove(h.path)
	}
	h.control = nil
}

// cancelElsewhere passes a cancel request on to the other processes there are, but for the one it came from.
func (srv *Server) cancelElsewhere(r *login.CancelRequest, from *link) {
	srv.mu.Lock()
	var links []*link
	if p := srv.handover.before; p != nil && p.link != from {
		links = append(links, p.link)
	}
	if u := srv.handover.after; u != nil && u.link != from {
		links = append(links, u.link)
	}
	srv.mu.Unlock()
	for _, l := range links {
		l.ask(r.PID, r.Secret, time.After(cancelWait))
	}
}

// passedOn deals with a cancel request that another process has passed on.
func (srv *Server) passedOn(m *letter, from *link) {
	srv.handover.work.Go(func() {
		srv.cancelFor(&login.CancelRequest{PID: m.PID, Secret: m.Secret}, from)
		_ = from.send(&letter{Kind: doneLetter, Number: m.Number}) // else nobody waits any more
	})
}
