package loop

import (
	"io"
	"net"
	"time"
)

// Event is a set of things that can happen to a connection.
type Event uint8

// The events a fiber can wait for.
const (
	Readable Event = 1 << iota // bytes, the end of the stream or an error can be read
	Drained                    // everything written so far has been taken by the peer's kernel, or never will be
	Gone                       // the peer has closed or reset its side, whatever is still unread
	Writable                   // the socket takes bytes again: between Conn and Poller, nobody else waits for it
)

// ErrWouldBlock is what Read returns when nothing is there. It is a temporary net.Error, which is what crypto/tls
// needs to keep a half-read record and go on later.
var ErrWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "would block" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// Socket is a driver's own kind of connection, where it is not a plain descriptor.
type Socket interface {
	// TryRead reads what is there, or returns ErrWouldBlock. Less than len(b) means that nothing else is there now.
	TryRead(b []byte) (int, error)
	// TryWrite writes what is taken now; less than all means that the rest would block.
	TryWrite(b []byte) (int, error)
	// Close ends the connection.
	Close() error
}

// Conn is one connection, on a goroutine until it is adopted, on a loop afterwards. It is a net.Conn so that
// crypto/tls can run on top from the first byte and stay there.
type Conn struct {
	loop    *Loop
	sock    Socket   // nil where fd is used directly
	nc      net.Conn // what it wraps until adoption
	fiber   *Fiber
	handler Handler
	err     error  // why reading or writing ended
	out     []byte // written, not yet taken by the socket
	fd      int32
	slot    int32 // place in the poller's table plus one; 0 while not registered
	gen     uint32
	sent    int32 // how much of out is sent
	ready   Event
	want    Event
	hangup  bool // the peer closed or failed: the readable bit stays
	closed  bool
	linger  bool // close when out is sent
}

// Wrap makes a Conn of an accepted or dialled connection. Until Adopt it does what nc does.
func Wrap(nc net.Conn) *Conn { return &Conn{nc: nc, fd: -1} }

// NewConn makes a Conn of a driver's own socket.
func NewConn(sock Socket) *Conn { return &Conn{sock: sock, fd: -1} }

// Socket is what NewConn was given.
func (c *Conn) Socket() Socket { return c.sock }

// Register puts c on l, where h is woken when something can be read and no fiber is attached. Loop goroutine only. On
// an error c is on no loop and still open.
func (l *Loop) Register(c *Conn, h Handler) error {
	if c.closed || c.loop != nil {
		return net.ErrClosed
	}
	want := Readable
	if len(c.out) == 0 {
		c.ready |= Drained
	} else {
		want |= Writable // it came with bytes that its peer has not taken
	}
	c.loop, c.handler = l, h
	if err := l.drv.Poller.Watch(c, want); err != nil {
		c.loop = nil
		return err
	}
	l.conns.Add(1)
	return nil
}

// Release takes c off its loop without closing it, so that another loop may Register it. A handler's job that has not
// begun is withdrawn; the new loop sees what there is to read.
func (c *Conn) Release() {
	if c.loop == nil || c.closed {
		return
	}
	c.depart()
	c.loop.drv.Poller.Drop(c, true)
	c.loop.conns.Add(-1)
	c.loop, c.fiber = nil, nil
	c.ready, c.want, c.hangup = c.ready&Drained, 0, false
}

// SetHandler changes who is woken. What can be read already wakes h now, unless a fiber is attached.
func (c *Conn) SetHandler(h Handler) {
	c.withdraw()
	c.handler = h
	c.serveAgain()
}

// Handled reports whether anybody is woken.
func (c *Conn) Handled() bool { return c.handler != nil }

// withdraw takes back a job of the handler that was queued for an event and has not begun.
func (c *Conn) withdraw() {
	if f := c.fiber; f != nil && f.home == c && !f.begun && !plantedStaleJob {
		c.fiber, f.home = nil, nil
		f.done(true)
	}
}

// depart ends the tie between c and the fiber that its own event started: that job is withdrawn if it has not begun,
// and does not look at c when it ends otherwise. By then c may be another loop's.
func (c *Conn) depart() {
	c.withdraw()
	if f := c.fiber; f != nil && f.home == c {
		f.home = nil
	}
}

// Detach ends what Attach began. If something can be read, the handler is woken for it.
func (c *Conn) Detach() {
	c.depart()
	c.fiber, c.want = nil, 0
	c.serveAgain()
}

// Loop is where c is registered; nil before.
func (c *Conn) Loop() *Loop { return c.loop }

// Closed reports whether Close was called.
func (c *Conn) Closed() bool { return c.closed }

// Err is why the connection ended, or nil.
func (c *Conn) Err() error { return c.err }

// Pending is how many written bytes the peer has not taken yet.
func (c *Conn) Pending() int { return len(c.out) - int(c.sent) }

// Ready reports whether one of the events has happened.
func (c *Conn) Ready(e Event) bool { return c.ready&e != 0 }

// Stirs reports whether something can be read, also where the driver has not told yet. Epoll tells everything that
// happened before the turn began; a driver whose events come late is asked.
func (c *Conn) Stirs() bool {
	if c.ready&Readable != 0 {
		return true
	}
	if late, ok := c.sock.(interface{ Stirs() bool }); ok && late.Stirs() {
		c.ready |= Readable
		return true
	}
	return false
}

// Read reads what is there and never waits on a loop: it returns ErrWouldBlock instead.
func (c *Conn) Read(b []byte) (int, error) {
	if c.loop == nil {
		if c.nc == nil {
			return 0, net.ErrClosed // between two loops
		}
		return c.nc.Read(b)
	}
	if len(b) == 0 {
		return 0, nil
	}
	if c.ready&Readable == 0 {
		return 0, ErrWouldBlock
	}
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.tryRead(b)
	if n > 0 {
		if n < len(b) && !c.hangup {
			c.unready() // a short read has emptied the socket; what comes later is a new edge
		}
		return n, nil
	}
	switch {
	case err == ErrWouldBlock: //nolint:errorlint // a sentinel of our own drivers, never wrapped
		c.hangup = false
		c.unready()
	case err == nil || err == io.EOF: //nolint:errorlint // as above
		err = io.EOF
		c.err, c.hangup = err, true // the peer may still read: what is to be sent goes on being sent
	default:
		c.fail(err)
	}
	return 0, err
}

func (c *Conn) unready() {
	c.ready &^= Readable
	if c.loop.drv.Rearm && c.fiber == nil {
		c.rearm()
	}
}

func (c *Conn) rearm() {
	if err := c.loop.drv.Poller.Watch(c, Readable); err != nil {
		c.fail(err)
	}
}

// await notes what f waits for.
func (c *Conn) await(f *Fiber, e Event) {
	if c.fiber != f {
		panic("loop: a fiber waits for a connection that is not attached to it")
	}
	c.want = e
	if c.loop.drv.Rearm && e&(Readable|Gone) != 0 {
		if err := c.loop.drv.Poller.Watch(c, e&(Readable|Gone)); err != nil {
			c.fail(err)
		}
	}
}

// Write sends b without waiting. What the socket does not take is copied and sent by the loop; the caller looks at
// Pending and waits for Drained before it produces much more. An error is one that an earlier or this write met. A
// peer that has ended its own stream can still be written to.
func (c *Conn) Write(b []byte) (int, error) {
	if c.loop == nil {
		if c.nc == nil {
			return 0, net.ErrClosed // between two loops
		}
		return c.nc.Write(b)
	}
	if c.err != nil && c.err != io.EOF { //nolint:errorlint // set by Read, never wrapped
		return 0, c.err
	}
	rest := b
	if len(c.out) == 0 {
		n, err := c.tryWrite(b)
		if err != nil {
			c.fail(err)
			return 0, err
		}
		if n == len(b) {
			return n, nil
		}
		rest = b[n:]
		c.out = c.loop.takeSpill()
		c.ready &^= Drained
		if err := c.loop.drv.Poller.Watch(c, Readable|Writable); err != nil {
			c.fail(err)
			return 0, err
		}
	}
	if int(c.sent) > len(c.out)/2 { // a writer that never lets it drain must not make it grow
		c.out, c.sent = c.out[:copy(c.out, c.out[c.sent:])], 0
	}
	c.out = append(c.out, rest...)
	return len(b), nil
}

// flush sends what is left, on a writable event.
func (c *Conn) flush() {
	n, err := c.tryWrite(c.out[c.sent:])
	if err != nil {
		c.fail(err)
		return
	}
	c.sent += int32(n)
	if int(c.sent) < len(c.out) {
		if c.loop.drv.Rearm {
			if err := c.loop.drv.Poller.Watch(c, Readable|Writable); err != nil {
				c.fail(err)
			}
		}
		return
	}
	c.dropSpill()
	if !c.loop.drv.Rearm {
		if err := c.loop.drv.Poller.Watch(c, Readable); err != nil {
			c.fail(err)
		}
	}
	if c.linger {
		_ = c.Close()
	}
}

func (c *Conn) dropSpill() {
	if c.out != nil {
		c.loop.keepSpill(c.out)
	}
	c.out, c.sent = nil, 0
	c.ready |= Drained
}

// fail records the end of the connection and lets every wait see it.
func (c *Conn) fail(err error) {
	if c.err == nil || c.err == io.EOF { //nolint:errorlint // set by Read, never wrapped
		c.err = err
	}
	c.dropSpill()
	c.ready |= Readable | Drained | Gone
	c.hangup = true
	if c.linger {
		_ = c.Close()
		return
	}
	if f := c.fiber; f != nil && c.ready&c.want != 0 {
		f.loop.ready(f) // it waits, and another one's write met the error
	}
}

// Notify reports events of c. Drivers call it from Poll; hangup says that the peer closed or the socket failed.
func (c *Conn) Notify(readable, canWrite, hangup bool) {
	if canWrite && len(c.out) > 0 {
		c.flush()
		if c.closed {
			return
		}
	}
	if plantedLostEdge && c.fiber != nil && c.want&Readable == 0 {
		readable = false
	}
	if readable || hangup {
		c.ready |= Readable
	}
	if hangup {
		c.ready |= Gone
	}
	c.hangup = c.hangup || hangup
	if f := c.fiber; f != nil {
		if c.ready&c.want != 0 {
			f.loop.ready(f)
		}
		return
	}
	c.serveAgain()
}

// serveAgain lends a fiber to the handler if something can be read and nobody is on it.
func (c *Conn) serveAgain() {
	switch {
	case c.closed || c.fiber != nil || c.loop == nil:
	case c.ready&Readable == 0:
		if c.loop.drv.Rearm {
			c.rearm()
		}
	case c.handler != nil:
		c.loop.start(c.handler, c)
	}
}

// Close ends the connection at once; what was not sent is lost. A fiber waiting on it is woken; a handler's job that
// has not begun is withdrawn. Idempotent.
func (c *Conn) Close() error {
	if c.nc != nil {
		return c.nc.Close() // not adopted: any goroutine may close it, as any net.Conn
	}
	if c.closed {
		return nil
	}
	c.closed = true
	if c.loop == nil {
		return c.closeRaw()
	}
	c.withdraw()
	if c.err == nil {
		c.err = net.ErrClosed
	}
	c.dropSpill()
	c.ready |= Readable
	c.loop.conns.Add(-1)
	c.loop.drv.Poller.Drop(c, false)
	if f := c.fiber; f != nil && c.want != 0 {
		f.loop.ready(f)
	}
	return nil
}

// closeRaw closes what is on no loop.
func (c *Conn) closeRaw() error {
	switch {
	case c.nc != nil:
		return c.nc.Close()
	case c.sock != nil:
		return c.sock.Close()
	}
	c.closeFD()
	return nil
}

// CloseAfterFlush closes when what was written is sent. The caller bounds the time (a timer and Close).
func (c *Conn) CloseAfterFlush() {
	if c.closed || c.linger {
		return
	}
	if c.loop == nil || len(c.out) == 0 {
		_ = c.Close()
		return
	}
	c.linger = true
	c.handler = nil
}

// LocalAddr is the address of our end.
func (c *Conn) LocalAddr() net.Addr {
	if c.nc != nil {
		return c.nc.LocalAddr()
	}
	return sockAddr(c, false)
}

// RemoteAddr is the peer's address. Once adopted it asks the kernel: an idle connection keeps no address in memory.
func (c *Conn) RemoteAddr() net.Addr {
	if c.nc != nil {
		return c.nc.RemoteAddr()
	}
	return sockAddr(c, true)
}

// SetDeadline applies to a connection that is not adopted; on a loop, waits have deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	if c.loop == nil && c.nc != nil {
		return c.nc.SetDeadline(t)
	}
	return nil
}

// SetReadDeadline is SetDeadline for reads.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.loop == nil && c.nc != nil {
		return c.nc.SetReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline is SetDeadline for writes.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.loop == nil && c.nc != nil {
		return c.nc.SetWriteDeadline(t)
	}
	return nil
}
