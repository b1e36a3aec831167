package pool

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// State is which list a Conn is in.
type State uint8

// The states of a Conn.
const (
	Connecting State = iota // being dialled; not a Conn yet, only counted
	Idle                    // owned by the pool, ready to be lent
	Busy                    // owned by a session
	Resetting               // owned by the pool, being brought into a known state
	Closed                  // on no list
	states
)

func (s State) String() string {
	return [states]string{"connecting", "idle", "busy", "resetting", "closed"}[s]
}

// Dialer makes one logged-in server connection. It may block.
type Dialer func(ctx context.Context) (*dial.Server, error)

// Canceler sends a cancel request to the server that s talks to and returns when that server has acted on it. It may
// block.
type Canceler func(ctx context.Context, s *dial.Server) error

// Conn is one server connection. The fields below the line belong to whoever owns the Conn.
type Conn struct {
	Net    *loop.Conn // the socket, on the loop of the owner
	tls    *tls.Conn
	peer   *dial.Server
	pool   *Pool
	source *source // where it was dialled

	state      State
	prev, next *Conn
	id         uint64
	local      netip.AddrPort // of our end; invalid over a unix socket
	remote     netip.AddrPort
	born       int64 // loop time
	lent       int64 // loop time of the last time; 0: never
	expires    int64 // loop time of its jittered end of life, or loop.Forever
	idleSince  int64

	// ----
	Statements Statements // prepared on this connection
	Unnamed    uint64     // the session whose unnamed statement it holds; 0: nobody's
	Sequences  uint64     // the only session that used it since its sequences were discarded; 0: nobody; Shared: several
	Settings   any        // the session settings applied to it; nil: the server's defaults. Compared, never read
	cancels    int        // cancel requests under way to it
	abandoned  Clean      // how it was released while a cancel was under way
	fenced     bool       // a cancel was sent since it was last known to be quiet
	doomed     bool       // close instead of lending it again
}

// Shared says that more than one session may have left something.
const Shared = ^uint64(0)

// Read reads what is there, or returns loop.ErrWouldBlock. With TLS the caller reads until it would block: decrypted
// bytes may be left while the socket has none.
func (c *Conn) Read(b []byte) (int, error) {
	if c.tls != nil {
		return c.tls.Read(b)
	}
	return c.Net.Read(b)
}

// Write sends b without waiting (loop.Conn.Write).
func (c *Conn) Write(b []byte) (int, error) {
	if c.tls != nil {
		return c.tls.Write(b)
	}
	return c.Net.Write(b)
}

// PID is the server process behind the connection; 0 where the server did not say.
func (c *Conn) PID() uint32 { return c.peer.PID }

// Pool is where the connection belongs.
func (c *Conn) Pool() *Pool { return c.pool }

// Doom has the connection closed instead of lent again.
func (c *Conn) Doom() { c.doomed = true }

// Cancel asks the server to stop what the connection runs. It does not wait. Until the server has acted, and a round
// trip after that shows that no signal is left, the connection is lent to nobody else. done is called then.
func (c *Conn) Cancel(l *loop.Loop, log *slog.Logger, done func()) {
	if c.peer.PID == 0 {
		done()
		return
	}
	c.cancels++
	c.pool.Counters.Cancels.Add(1)
	c.fenced = true
	var err error
	l.Offload(func() {
		ctx, stop := context.WithTimeout(c.pool.set.ctx, cancelTimeout)
		defer stop()
		err = c.source.cancel(ctx, c.peer)
	}, func() {
		done()
		c.cancels--
		c.pool.Counters.Cancels.Add(-1)
		if err != nil {
			log.Warn("cancel request failed", "pool", c.pool.Name(), "error", err)
		}
		if c.cancels == 0 && c.state == Resetting {
			c.pool.Counters.Fenced.Add(-1)
			c.pool.fence(c)
		}
	})
}

// Abandon asks the server to stop what the connection runs, for nobody waits for it any more. The caller releases the
// connection as Broken.
func (c *Conn) Abandon(l *loop.Loop) {
	if c.peer.PID == 0 {
		return
	}
	p := c.pool
	p.Counters.Cancels.Add(1)
	l.Offload(func() {
		ctx, stop := context.WithTimeout(p.set.ctx, cancelTimeout)
		defer stop()
		_ = c.source.cancel(ctx, c.peer) // it ends sooner or later without
	}, func() { p.Counters.Cancels.Add(-1) })
}

// cancelTimeout bounds one cancel request: dialling, sending, and the server's end of file.
const cancelTimeout = 10 * time.Second

// Serve is woken when an idle connection has something to say: a parameter changed by a reload of the server, a
// notice, or that it is going away. What it must never hold is a notification: somebody's LISTEN leaked.
func (c *Conn) Serve(*loop.Fiber) {
	s := c.pool.set
	s.mu.Lock()
	idle := c.state == Idle // any loop may take or close an idle one
	s.mu.Unlock()
	if !idle {
		return // whoever got it in the meantime will read for itself
	}
	buf := c.Net.Loop().Buffer()
	for {
		n, err := c.Read(buf)
		if err == loop.ErrWouldBlock { //nolint:errorlint // our own sentinel
			return
		}
		if err != nil || !Harmless(buf[:n]) {
			c.pool.discard(c, "lost while idle")
			return
		}
	}
}

// Harmless reports whether b is whole frames that an idle connection may send. A frame cut in two by the read is
// rare enough to cost a connection.
func Harmless(b []byte) bool {
	for len(b) > 0 {
		if len(b) < wire.HeaderLen {
			return false
		}
		typ, size, ok := wire.Header(b)
		if !ok || size > len(b) || (typ != 'S' && typ != 'N') {
			return false
		}
		b = b[size:]
	}
	return true
}

// list is an intrusive list of Conns, first in first.
type list struct {
	head, tail *Conn
	n          int
}

func (l *list) push(c *Conn) {
	c.prev, c.next = l.tail, nil
	if l.tail != nil {
		l.tail.next = c
	} else {
		l.head = c
	}
	l.tail = c
	l.n++
}

func (l *list) remove(c *Conn) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.tail = c.prev
	}
	c.prev, c.next = nil, nil
	l.n--
}
