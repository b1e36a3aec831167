package pool

import (
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
)

// Janitor does everything that only time causes, once a second, on one loop: connections past their idle time or
// their life are closed, pools are filled to their minimum, waiters get another dial after a failure or from the
// reserve. Waiters watch their own time-outs.
type Janitor struct {
	set   *Set
	timer loop.Timer
}

// janitorEvery is how often the janitor looks.
const janitorEvery = time.Second

// StartJanitor begins on l, on its goroutine. It ends with the set.
func (s *Set) StartJanitor(l *loop.Loop) {
	j := &Janitor{set: s}
	j.tick(l)
}

func (j *Janitor) tick(l *loop.Loop) {
	s := j.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || l.Closing() {
		return
	}
	for _, p := range s.pools {
		p.tidy(l)
	}
	s.dropDeserted()
	l.Schedule(&j.timer, l.After(janitorEvery), func() { j.tick(l) })
}

// tidy is one pool's share of a tick. The caller holds mu.
func (p *Pool) tidy(l *loop.Loop) {
	now, cfg := l.Now(), p.Config()
	for c := p.lists[Idle].head; c != nil; {
		next := c.next
		stale := cfg.IdleTimeout > 0 && now-c.idleSince >= int64(cfg.IdleTimeout) && p.total() > cfg.MinSize
		if stale || c.expires <= now {
			p.set.move(c, Closed)
			c.closeOnLoop()
		}
		c = next
	}
	p.grow(l)
	for !p.retired && p.total() < cfg.MinSize && p.mayGrow(now, false) {
		p.startDial(l)
	}
}
