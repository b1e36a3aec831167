package pool

import (
	"slices"

	"github.com/sarnicdb/sarnic/proxy/loop"
)

// source is where a pool's connections come from. A connection whose source is no longer its pool's is used up: its
// owner may finish, and then it is closed.
type source struct {
	dial   Dialer
	cancel Canceler
	dials  int // under way; guarded by set.mu
}

// Reconfigure changes the limits and times of a pool in use. Connections stay, but for those beyond a smaller size:
// idle ones are closed now, owned ones when they are released. The mode is not changed here: clients rely on the one
// they logged in with.
func (p *Pool) Reconfigure(cfg Config) {
	s := p.set
	s.mu.Lock()
	defer s.mu.Unlock()
	old := p.Config()
	cfg.Mode = old.Mode
	p.cfg.Store(&cfg)
	if cfg.Lifetime != old.Lifetime {
		for i := range p.lists {
			for c := p.lists[i].head; c != nil; c = c.next {
				c.expires = p.endOfLife(c.born)
			}
		}
	}
	for c := p.lists[Idle].head; c != nil && p.total() > cfg.Size; c = p.lists[Idle].head {
		s.move(c, Closed)
		c.closeOnLoop()
	}
	s.lookAfter(p)
}

// Redirect has connections dialled elsewhere, or as somebody else, from now on. Those there are are used up.
func (p *Pool) Redirect(dial Dialer, cancel Canceler) {
	s := p.set
	s.mu.Lock()
	defer s.mu.Unlock()
	p.params = nil // another server may report others
	p.renew(&source{dial: dial, cancel: cancel})
}

// Reconnect has every connection replaced by one dialled anew: idle ones now, owned ones when they are released.
func (p *Pool) Reconnect() {
	p.set.mu.Lock()
	defer p.set.mu.Unlock()
	p.renew(&source{dial: p.source.dial, cancel: p.source.cancel})
}

// renew puts another source in place and closes what is idle. The caller holds mu.
func (p *Pool) renew(from *source) {
	p.source = from
	p.failedAt, p.failure = 0, nil
	p.closeIdle()
	p.set.lookAfter(p)
}

// Retire ends a pool that gets no new clients. Those it has are served; a connection that none of them waits for is
// closed. Close follows when the last of them has gone.
func (p *Pool) Retire() {
	p.set.mu.Lock()
	defer p.set.mu.Unlock()
	p.retired = true
	p.closeIdle()
}

// Close takes a pool without clients out of its set, as soon as its last connection has ended.
func (p *Pool) Close() {
	p.set.mu.Lock()
	defer p.set.mu.Unlock()
	p.retired, p.deserted = true, true
	p.closeIdle()
	p.set.dropDeserted()
}

// dropDeserted forgets the pools of which nothing is left. The caller holds mu.
func (s *Set) dropDeserted() {
	s.pools = slices.DeleteFunc(s.pools, func(p *Pool) bool { return p.deserted && p.total() == 0 })
}

// closeIdle closes every connection nobody owns. The caller holds mu.
func (p *Pool) closeIdle() {
	for c := p.lists[Idle].head; c != nil; c = p.lists[Idle].head {
		p.set.move(c, Closed)
		c.closeOnLoop()
	}
}

// SetMax changes a limit that pools share; 0: none. Where there are more connections than that, idle ones are closed
// now and others when they are released.
func (s *Set) SetMax(l *Limit, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.Max = most
	for l.exceeded() && s.evict(l) {
	}
	for _, p := range s.pools {
		if slices.Contains(p.limits[:], l) {
			s.lookAfter(p)
		}
	}
}

// exceeded reports whether there are more than a limit that was lowered allows.
func (l *Limit) exceeded() bool { return l != nil && l.Max > 0 && l.used > l.Max }

// over reports whether c is not to be lent again: it has had its time, or the configuration has changed meanwhile. The
// caller holds mu.
func (p *Pool) over(c *Conn, now int64) bool {
	cfg := p.Config()
	return c.expires <= now || c.source != p.source || p.total() > cfg.Size+cfg.Reserve ||
		p.limits[0].exceeded() || p.limits[1].exceeded() || p.retired && p.waiters.n == 0 || p.halt == paused
}

// endOfLife is the jittered end of a connection made at born. The caller holds mu.
func (p *Pool) endOfLife(born int64) int64 {
	life := p.Config().Lifetime
	if life <= 0 {
		return loop.Forever
	}
	return born + p.set.jittered(int64(life))
}

// lookAfter has the janitor's work done for p soon: where there is more room now, those who wait are dialled for. Any
// goroutine.
func (s *Set) lookAfter(p *Pool) {
	l := s.loops()
	l.Post(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed && !l.Closing() {
			p.tidy(l)
		}
	})
}
