package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"time"

	"github.com/sarnicdb/sarnic/proxy/login"
)

// Key lengths: what protocol 3.0 has room for, and what PostgreSQL 18 sends to a 3.2 client.
const (
	shortKey = 4
	longKey  = 32
)

// cancelKey is the secret of the client with this pid. It is computed, not kept: an idle client costs no memory for
// it, and the key of the computation never leaves the process.
func (srv *Server) cancelKey(pid uint32, long bool) []byte {
	mac := hmac.New(sha256.New, srv.key[:])
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], pid)
	mac.Write(b[:])
	sum := mac.Sum(nil)
	if long {
		return sum[:longKey]
	}
	return sum[:shortKey]
}

// cancelWait bounds how long a cancel request's own connection stays open for the server to act.
const cancelWait = 15 * time.Second

// cancel acts on a client's CancelRequest and returns when the server has been told, which is when PostgreSQL would
// close the connection that carried it. A wrong key is answered like a right one: not at all.
func (srv *Server) cancel(r *login.CancelRequest) { srv.cancelFor(r, nil) }

// cancelFor is cancel for a request that another process may have passed on. Of a client unknown here the others are asked.
func (srv *Server) cancelFor(r *login.CancelRequest, from *link) {
	s := srv.named(r)
	if s == nil {
		srv.cancelElsewhere(r, from)
		return
	}
	done := make(chan struct{})
	s.w.loop.Post(func() { s.cancel(func() { close(done) }) })
	select {
	case <-done:
	case <-time.After(cancelWait):
	case <-srv.ctx.Done():
	}
}

// named is the session that r names with the right key; nil where there is none.
func (srv *Server) named(r *login.CancelRequest) *session {
	srv.mu.Lock()
	s := srv.sessions[r.PID]
	srv.mu.Unlock()
	if s == nil || subtle.ConstantTimeCompare(srv.cancelKey(s.pid, s.newKeys), r.Secret) != 1 {
		return nil
	}
	return s
}

// cancel stops what the session runs or waits for. On its loop. done is called when that is certain.
func (s *session) cancel(done func()) {
	x := s.x
	switch {
	case s.ended || x == nil:
	case x.waiter != nil:
		x.canceled = true
		x.f.Wake()
	case x.server != nil && (!x.led.settled() || x.copyIn):
		x.server.Cancel(s.w.loop, s.srv.log, done)
		return
	}
	done()
}
