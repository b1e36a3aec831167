package pool

import "fmt"

// check fails the test if the books of the set do not add up. Any goroutine may call it at any time.
func (r *rig) check() {
	r.t.Helper()
	if err := r.set.audit(r.shrunk); err != nil {
		r.t.Fatalf("the books do not add up: %v\n%s", err, r.books())
	}
}

// audit looks at every list, count and limit. Where a limit was lowered, owned connections may exceed it, idle ones not.
func (s *Set) audit(shrunk bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[*Conn]State{}
	used := map[*Limit]int{}
	for _, p := range s.pools {
		if err := p.auditLists(seen, shrunk); err != nil {
			return fmt.Errorf("%s: %w", p.Name(), err)
		}
		if err := p.auditWaiters(); err != nil {
			return fmt.Errorf("%s: %w", p.Name(), err)
		}
		for _, l := range p.limits {
			if l != nil {
				used[l] += p.total()
			}
		}
	}
	for l, n := range used {
		if l.used != n || l.Max > 0 && n > l.Max && !shrunk {
			return fmt.Errorf("a limit of %d counts %d and there are %d", l.Max, l.used, n)
		}
	}
	return nil
}

// auditLists walks the lists both ways. The caller holds mu.
func (p *Pool) auditLists(seen map[*Conn]State, shrunk bool) error {
	for state := range p.lists {
		l, n := &p.lists[state], 0
		var prev *Conn
		for c := l.head; c != nil; prev, c = c, c.next {
			n++
			if other, twice := seen[c]; twice {
				return fmt.Errorf("a connection is %s and %s", other, State(state))
			}
			seen[c] = State(state)
			if c.state != State(state) || c.pool != p || c.prev != prev {
				return fmt.Errorf("a connection on list %s is %s, of %s, or its links are wrong", State(state), c.state, c.pool.Name())
			}
		}
		if n != l.n || l.tail != prev {
			return fmt.Errorf("list %s counts %d and has %d", State(state), l.n, n)
		}
	}
	if p.lists[Connecting].n+p.lists[Closed].n > 0 {
		return fmt.Errorf("connections that are none are on lists")
	}
	if p.connecting < 0 || p.connecting > maxDials {
		return fmt.Errorf("%d dials under way", p.connecting)
	}
	if most := p.Config().Size + p.Config().Reserve; p.total() > most && (!shrunk || p.lists[Idle].n > 0) {
		return fmt.Errorf("%d connections, %d allowed", p.total(), most)
	}
	return nil
}

// auditWaiters walks the queue. The caller holds mu.
func (p *Pool) auditWaiters() error {
	n := 0
	var prev *Waiter
	for w := p.waiters.head; w != nil; prev, w = w, w.next {
		n++
		if !w.queued || w.conn != nil || w.err != nil || w.travels || w.fiber == nil || w.prev != prev {
			return fmt.Errorf("a waiter in the queue has been served, or its links are wrong")
		}
	}
	if n != p.waiters.n || p.waiters.tail != prev {
		return fmt.Errorf("the queue counts %d and has %d", p.waiters.n, n)
	}
	// Where somebody waits, an idle connection is left alone only if others are on their way to every waiter.
	if idle := p.lists[Idle].n; p.halt == running && idle > 0 && n > p.lists[Resetting].n+p.connecting {
		return fmt.Errorf("%d wait, %d are idle and %d on their way", n, idle, p.lists[Resetting].n+p.connecting)
	}
	if idle := p.lists[Idle].n; p.halt == paused && idle > 0 {
		return fmt.Errorf("%d are idle in a paused pool", idle)
	}
	return nil
}
