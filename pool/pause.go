package pool

import "context"

// halt says whether a pool lends connections.
type halt uint8

const (
	running   halt = iota
	suspended      // nothing is lent, connections are kept
	paused         // nothing is lent, connections are closed when they come back
)

// halts are what operators have stopped. They outlive the pools: one that is made later is halted too.
type halts struct {
	all       halt
	databases map[string]bool // paused one by one
}

// of is what applies to a database.
func (h *halts) of(database string) halt {
	if h.databases[database] {
		return paused
	}
	return h.all
}

// Pause has the pools of a database ("": all) lend nothing and close every connection as soon as its owner gives it back.
// Clients wait. AwaitEmpty says when all is quiet.
func (s *Set) Pause(database string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if database == "" {
		s.halts.all = paused
	} else {
		if s.halts.databases == nil {
			s.halts.databases = make(map[string]bool)
		}
		s.halts.databases[database] = true
	}
	s.obey()
}

// Suspend has all pools lend nothing; connections stay. AwaitReturn says when all is quiet.
func (s *Set) Suspend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halts.all = suspended
	s.obey()
}

// Resume ends what Pause of the same database began, or for "" what Pause or Suspend of all did; where that was nothing, every
// Pause of a database. It reports whether there was anything to end.
func (s *Set) Resume(database string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.halts
	switch {
	case database != "" && h.databases[database]:
		delete(h.databases, database)
	case database == "" && h.all != running:
		h.all = running
	case database == "" && len(h.databases) > 0:
		h.databases = nil
	default:
		return false
	}
	s.obey()
	return true
}

// Halted says what is stopped: everything, by Pause or by Suspend, or the databases named.
func (s *Set) Halted() (pausedAll, suspendedAll bool, databases map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	databases = make(map[string]bool)
	for name := range s.halts.databases {
		databases[name] = true
	}
	return s.halts.all == paused, s.halts.all == suspended, databases
}

// obey has every pool do what the halts say. The caller holds mu.
func (s *Set) obey() {
	for _, p := range s.pools {
		was := p.halt
		if p.halt = s.halts.of(p.database); p.halt == was {
			continue
		}
		if p.halt == paused {
			p.closeIdle()
		}
		if p.halt == running {
			p.catchUp()
		}
	}
	s.tell()
}

// catchUp has those who waited while the pool was halted get connections: idle ones where there are, others are dialled. The
// caller holds mu.
func (p *Pool) catchUp() {
	l := p.set.loops()
	for range min(p.waiters.n, p.lists[Idle].n) {
		p.fetch(l)
	}
	p.set.lookAfter(p)
}

// watcher is somebody who waits until something is true of the set.
type watcher struct {
	met  func() bool
	done chan struct{}
}

// await waits until met holds. It is called with mu held, whenever a connection has come to an end or to rest.
func (s *Set) await(ctx context.Context, met func() bool) error {
	w := &watcher{met: met, done: make(chan struct{})}
	s.mu.Lock()
	s.watchers = append(s.watchers, w)
	s.tell()
	s.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, one := range s.watchers {
		if one == w {
			s.watchers = append(s.watchers[:i], s.watchers[i+1:]...)
			return context.Cause(ctx)
		}
	}
	return nil
}

// tell lets those go who wait for what is true now. The caller holds mu.
func (s *Set) tell() {
	if len(s.watchers) == 0 {
		return
	}
	waiting := s.watchers[:0]
	for _, w := range s.watchers {
		if w.met() {
			close(w.done)
		} else {
			waiting = append(waiting, w)
		}
	}
	clear(s.watchers[len(waiting):])
	s.watchers = waiting
}

// AwaitEmpty waits until a database ("": none) has no server connection any more.
func (s *Set) AwaitEmpty(ctx context.Context, database string) error {
	return s.await(ctx, func() bool { return s.none(database, (*Pool).total) })
}

// AwaitReturn waits until no connection is in anybody's hands.
func (s *Set) AwaitReturn(ctx context.Context) error {
	return s.await(ctx, func() bool {
		return s.none("", func(p *Pool) int { return p.total() - p.lists[Idle].n })
	})
}

// AwaitRenewal waits until a database ("": none) has no connection any more that is used up.
func (s *Set) AwaitRenewal(ctx context.Context, database string) error {
	return s.await(ctx, func() bool { return s.none(database, (*Pool).usedUp) })
}

// none reports whether count is 0 for all pools of a database ("": all). The caller holds mu.
func (s *Set) none(database string, count func(*Pool) int) bool {
	for _, p := range s.pools {
		if (database == "" || p.database == database) && count(p) > 0 {
			return false
		}
	}
	return true
}

// usedUp is how many connections, also such as are being made, are to be replaced when they come back. The caller holds mu.
func (p *Pool) usedUp() int {
	n := p.connecting - p.source.dials
	for _, l := range []*list{&p.lists[Idle], &p.lists[Busy], &p.lists[Resetting]} {
		for c := l.head; c != nil; c = c.next {
			if c.source != p.source {
				n++
			}
		}
	}
	return n
}

// Reconnect has every connection of a database ("": of all) replaced by one dialled anew: idle ones now, owned ones when they
// are released.
func (s *Set) Reconnect(database string) {
	for _, p := range s.Pools() {
		if database == "" || p.database == database {
			p.Reconnect()
		}
	}
}
