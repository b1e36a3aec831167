package pool

import "github.com/sarnicdb/sarnic/proxy/loop"

// Clean says in which state a session gives a connection back.
type Clean uint8

// What a session knows of a connection it gives back.
const (
	Ready    Clean = iota // in step, idle, no session state: may be lent at once
	Rollback              // in step, inside a transaction that its client abandoned
	Reset                 // in step, idle, with session state: DISCARD ALL first
	Broken                // anything else: closed
)

// Release gives c back. The caller does not touch it afterwards. Loop goroutine of c only.
func (p *Pool) Release(c *Conn, how Clean) {
	p.Counters.LentTime.Add(c.Net.Loop().Now() - c.lent)
	c.Net.Detach()
	switch {
	case how == Broken || c.doomed || c.Net.Err() != nil:
		p.discard(c, "")
	case c.fenced && !plantCancelNext:
		p.set.mu.Lock()
		p.set.move(c, Resetting)
		p.set.mu.Unlock()
		c.abandoned = how
		if c.cancels == 0 {
			p.fence(c)
			return
		}
		p.Counters.Fenced.Add(1)
	case how != Ready:
		p.set.mu.Lock()
		p.set.move(c, Resetting)
		p.set.mu.Unlock()
		p.reset(c, how)
	default:
		p.give(c)
	}
}

// give lends c to the first waiter, or makes it idle. Called on c's loop by its owner.
func (p *Pool) give(c *Conn) {
	l := c.Net.Loop()
	if c.Net.Stirs() && !p.settle(c) {
		p.discard(c, "lost")
		return
	}
	s := p.set
	s.mu.Lock()
	if s.closed || p.over(c, l.Now()) {
		s.mu.Unlock()
		p.discard(c, "end of life")
		return
	}
	w := p.waiters.head
	if w == nil || p.halt == suspended {
		c.idleSince = l.Now()
		s.move(c, Idle)
		s.mu.Unlock()
		return
	}
	p.waiters.remove(w)
	s.lend(c, l.Now())
	if w.loop == l {
		w.conn = c
		w.fiber.Attach(c.Net)
		s.mu.Unlock()
		w.fiber.Wake()
		return
	}
	w.travels = true
	s.mu.Unlock()
	p.handOver(c, w)
}

// settle reads what an unowned connection has to say, and reports whether it may be lent.
func (p *Pool) settle(c *Conn) bool {
	for c.Net.Ready(loop.Readable) {
		buf := make([]byte, 1024) // rare, and the loop's own buffer may be in use by the caller
		n, err := c.Read(buf)
		if err == loop.ErrWouldBlock { //nolint:errorlint // our own sentinel
			return true
		}
		if err != nil || !Harmless(buf[:n]) {
			return false
		}
	}
	return true
}

// handOver moves c to the loop of a waiter. Nobody owns it on the way but these two closures.
func (p *Pool) handOver(c *Conn, w *Waiter) {
	c.Net.Release()
	w.loop.Post(func() {
		err := w.loop.Register(c.Net, c)
		if err != nil {
			p.strand(c, w, err)
			return
		}
		p.set.mu.Lock()
		gone := w.fiber == nil
		w.travels = false
		if !gone {
			w.conn = c
			w.fiber.Attach(c.Net)
		}
		p.set.mu.Unlock()
		if gone {
			p.give(c)
			return
		}
		w.fiber.Wake()
	})
}

// strand closes a connection that its waiter's loop cannot take, and ends the wait.
func (p *Pool) strand(c *Conn, w *Waiter, err error) {
	p.set.log.Warn("cannot hand a connection over", "pool", p.Name(), "error", err)
	p.set.mu.Lock()
	p.set.move(c, Closed)
	w.travels = false
	if w.fiber != nil {
		w.err = err
		w.fiber.Wake()
	}
	if p.waiters.n > 0 {
		p.fetch(w.loop)
	}
	p.set.mu.Unlock()
	_ = c.Net.Close()
	c.Statements.Clear()
}

// discard closes c and lets the pool grow again if somebody waits. why is logged at debug level when not empty.
func (p *Pool) discard(c *Conn, why string) {
	l := c.Net.Loop()
	s := p.set
	s.mu.Lock()
	if c.state == Closed {
		s.mu.Unlock()
		return
	}
	s.move(c, Closed)
	if p.waiters.n > 0 {
		p.fetch(l)
	}
	s.mu.Unlock()
	_ = c.Net.Close()
	c.Statements.Clear()
	if why != "" {
		s.log.Debug("server connection closed", "pool", p.Name(), "reason", why, "pid", c.peer.PID)
	}
}
