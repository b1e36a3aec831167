package sim

import (
	"io"
	"net"
	"syscall"

	"github.com/sarnicdb/sarnic/proxy/loop"
)

// End is one end of a connection in memory. It is a loop.Socket: make it a loop.Conn with loop.NewConn, or give it a
// step function and use it directly. Bytes keep their order and arrive once; everything else about their journey is
// the world's choice.
type End struct {
	w    *World
	id   int
	name string
	peer *End

	in     []byte    // arrived, not read
	flight []segment // on the way here
	queue  int       // bytes in flight
	busy   bool      // an arrival is scheduled
	window int       // bytes in flight and unread that block the other side's writes
	cutAt  int       // bytes until cut is called; 0: never
	cut    func()

	finSent bool // we write no more
	eof     bool // the other side's end of stream has arrived
	reset   bool // the connection failed
	told    bool // a read has reported the failure
	closed  bool
	blocked bool // our last write was not taken whole: an event is owed

	conn   *loop.Conn // where it is registered, if it is on a loop
	poller *poller
	edges  events3    // not delivered
	queued bool       // in poller.pending
	want   loop.Event // of the last Watch: what a poller without rearming reports
	armed  loop.Event // asked for and not reported yet: what one with rearming does

	step     func() // for an end that is not on a loop
	stepping bool   // a call of step is scheduled
}

// events3 is what a poll reports of an end.
type events3 struct{ readable, writable, hangup bool }

func (e events3) bits() (n int) {
	for i, b := range []bool{e.readable, e.writable, e.hangup} {
		if b {
			n |= 1 << i
		}
	}
	return n
}

// Pair makes a connection. The names appear in errors and as addresses.
func (w *World) Pair(a, b string) (*End, *End) {
	x, y := w.end(a), w.end(b)
	x.peer, y.peer = y, x
	return x, y
}

func (w *World) end(name string) *End {
	e := &End{w: w, id: len(w.ends), name: name, window: 1 + w.rng.IntN(w.mood.window)}
	w.ends = append(w.ends, e)
	return e
}

// OnEvent has step called, as a step of the world, whenever something may have changed: bytes, room, the end. It reads
// until loop.ErrWouldBlock.
func (e *End) OnEvent(step func()) {
	e.step = step
	e.poke()
}

// poke schedules a call of step.
func (e *End) poke() {
	if e.step == nil || e.stepping {
		return
	}
	e.stepping = true
	e.w.at(e.w.now, kindPoke, e.id, func() {
		e.stepping = false
		if e.step != nil {
			e.step()
		}
	})
}

func (e *End) canRead() bool  { return len(e.in) > 0 || e.eof || e.reset }
func (e *End) canWrite() bool { return e.room() > 0 || e.reset || e.peer.closed }

// gone reports whether the other side's end has arrived, whatever is still unread.
func (e *End) gone() bool { return e.eof || e.reset }

// room is how many bytes the other side takes now.
func (e *End) room() int { return max(e.peer.window-e.peer.queue-len(e.peer.in), 0) }

// edge notes that something happened and tells whoever owns the end.
func (e *End) edge(ev events3) {
	if e.poller == nil {
		e.poke()
		return
	}
	e.edges.readable = e.edges.readable || ev.readable || ev.hangup
	e.edges.writable = e.edges.writable || ev.writable && (e.w.mood.rearm || e.want&loop.Writable != 0)
	e.edges.hangup = e.edges.hangup || ev.hangup
	e.enqueue()
}

// enqueue puts the end before the next poll, if that may report anything of it.
func (e *End) enqueue() {
	if e.queued || e.edges == (events3{}) {
		return
	}
	if e.w.mood.rearm && !e.askedFor() {
		return
	}
	e.queued = true
	e.poller.pending = append(e.poller.pending, e)
}

func (e *End) askedFor() bool {
	return e.edges.readable && e.armed&loop.Readable != 0 || e.edges.writable && e.armed&loop.Writable != 0 ||
		e.edges.hangup && e.armed&loop.Gone != 0
}

// takeEvents is what the poll reports. Without rearming that is everything that happened since the last report; with
// it, what was asked for, once, and only if it is still true.
func (e *End) takeEvents() events3 {
	ev := e.edges
	e.edges = events3{}
	if !e.w.mood.rearm {
		return ev
	}
	ev = events3{
		readable: e.armed&loop.Readable != 0 && e.canRead(),
		writable: e.armed&loop.Writable != 0 && e.canWrite(),
		hangup:   e.armed&loop.Gone != 0 && e.gone(),
	}
	if ev.hangup {
		e.armed &^= loop.Gone
	}
	if ev.readable {
		e.armed &^= loop.Readable
	}
	if ev.writable {
		e.armed &^= loop.Writable
	}
	return ev
}

// TryRead implements loop.Socket.
func (e *End) TryRead(b []byte) (int, error) {
	switch {
	case e.closed:
		return 0, net.ErrClosed
	case len(e.in) > 0 && len(b) > 0:
		n := copy(b, e.in)
		e.in = e.in[n:]
		e.w.note(kindRead, e.id, n)
		e.peer.unblock()
		return n, nil
	case e.reset && !e.told:
		e.told = true
		return 0, syscall.ECONNRESET
	case e.eof || e.reset:
		return 0, io.EOF
	}
	return 0, loop.ErrWouldBlock
}

// TryWrite implements loop.Socket.
func (e *End) TryWrite(b []byte) (int, error) {
	switch {
	case e.closed:
		return 0, net.ErrClosed
	case e.reset || e.finSent:
		return 0, syscall.EPIPE
	case len(b) == 0:
		return 0, nil
	}
	n := min(len(b), e.room())
	if n > 1 && e.w.chance(e.w.mood.balk) {
		n = 1 + e.w.rng.IntN(n-1)
	}
	e.w.note(kindWrite, e.id, n)
	if n < len(b) {
		e.w.trace.counts.Blocked++
		e.blocked = true
		if e.room() > n {
			e.unblock() // it only balked
		}
	}
	if n > 0 {
		e.peer.send(b[:n])
	}
	return n, nil
}

// unblock tells a writer that had to stop, a little later, that there is room again.
func (e *End) unblock() {
	if !e.blocked || e.closed {
		return
	}
	e.blocked = false
	e.w.at(e.w.now+e.w.upTo(e.w.mood.delay), kindRoom, e.id, func() {
		if !e.closed {
			e.edge(events3{writable: true})
		}
	})
}

// LocalAddr is the end's name.
func (e *End) LocalAddr() net.Addr { return addr(e.name) }

// RemoteAddr is the other end's name.
func (e *End) RemoteAddr() net.Addr { return addr(e.peer.name) }

type addr string

func (addr) Network() string  { return "sim" }
func (a addr) String() string { return string(a) }
