package pool

import (
	"github.com/sarnicdb/sarnic/proxy/loop"
)

// Waiter is one session's place in the queue of a pool. A session lends one for as long as it waits.
type Waiter struct {
	fiber      *loop.Fiber
	loop       *loop.Loop
	since      int64
	prev, next *Waiter
	queued     bool
	travels    bool  // a connection is on its way from another loop
	conn       *Conn // granted; guarded by the set's mutex until the fiber is woken
	err        error
}

// waiters is a queue, first in first out.
type waiters struct {
	head, tail *Waiter
	n          int
}

func (q *waiters) push(w *Waiter) {
	w.prev, w.next, w.queued = q.tail, nil, true
	if q.tail != nil {
		q.tail.next = w
	} else {
		q.head = w
	}
	q.tail = w
	q.n++
}

func (q *waiters) remove(w *Waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.tail = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.n--
}

// TryAcquire lends an idle connection of f's loop, attached to f, or returns nil. Nobody who waits is overtaken.
func (p *Pool) TryAcquire(f *loop.Fiber) *Conn {
	l := f.Loop()
	s := p.set
	s.mu.Lock()
	if p.waiters.n > 0 || p.halt != running {
		s.mu.Unlock()
		return nil
	}
	for c := p.lists[Idle].tail; c != nil; c = c.prev {
		// One that can be read is going away or has news: its own fiber deals with it.
		if c.Net.Loop() == l && !c.Net.Stirs() {
			s.lend(c, l.Now())
			s.mu.Unlock()
			f.Attach(c.Net)
			return c
		}
	}
	s.mu.Unlock()
	return nil
}

// Enqueue puts f at the end of the queue and sees to it that a connection comes: one from another loop, a new one
// where limits allow, or the next that is released. The caller waits on f and asks Granted after each wake.
func (p *Pool) Enqueue(w *Waiter, f *loop.Fiber) {
	l := f.Loop()
	*w = Waiter{fiber: f, loop: l, since: l.Now()}
	p.Counters.Waits.Add(1)
	s := p.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		w.err = errShutdown
		f.Wake()
		return
	}
	p.waiters.push(w)
	p.fetch(l)
}

// fetch has a connection come for one more who waits: the one that became idle last, from whichever loop, else a new
// one. An idle one of the waiter's own loop has news, or came free while another's was on its way. The caller holds mu.
func (p *Pool) fetch(l *loop.Loop) {
	if p.halt != running {
		return
	}
	if c := p.lists[Idle].tail; c != nil {
		p.set.move(c, Resetting) // ours until its loop gives it away
		c.Net.Loop().Post(func() { p.give(c) })
		return
	}
	p.grow(l)
}

// Granted returns the connection w got, attached to its fiber, or the error that ended its wait, or neither.
func (p *Pool) Granted(w *Waiter) (*Conn, error) {
	p.set.mu.Lock()
	defer p.set.mu.Unlock()
	if w.err != nil {
		return nil, w.err
	}
	if w.conn != nil {
		p.Counters.WaitTime.Add(w.loop.Now() - w.since)
	}
	return w.conn, nil
}

// Dequeue ends w's wait. A connection granted at the last moment is passed on. It reports whether w may be used
// again: not while a connection travels to it, which then finds w.fiber gone.
func (p *Pool) Dequeue(w *Waiter) (reusable bool) {
	p.set.mu.Lock()
	c := w.conn
	w.conn, w.fiber = nil, nil
	reusable = !w.travels
	if w.queued {
		p.waiters.remove(w)
	}
	p.set.mu.Unlock()
	if c != nil {
		c.Net.Detach()
		p.give(c)
	}
	return reusable
}

// failWaiters ends every wait with err. The caller holds mu.
func (p *Pool) failWaiters(err error) {
	for w := p.waiters.head; w != nil; w = p.waiters.head {
		p.waiters.remove(w)
		w.err = err
		w.wake()
	}
}

// wake has the waiter look again, from whichever loop.
func (w *Waiter) wake() {
	f := w.fiber
	w.loop.Post(func() {
		if w.fiber == f {
			f.Wake()
		}
	})
}
