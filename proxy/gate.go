package proxy

import (
	"context"
	"sync"
)

// gate bounds the logins under way.
type gate struct {
	mu    sync.Mutex
	most  int
	in    int
	freed chan struct{} // closed when one may go in; nil: nobody waits
}

func newGate(most int) *gate { return &gate{most: max(most, 1)} }

func (g *gate) resize(most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.most = max(most, 1)
	g.call()
}

// call has those who wait look again. The caller holds mu.
func (g *gate) call() {
	if g.freed != nil {
		close(g.freed)
		g.freed = nil
	}
}

// enter waits for a place. It reports whether there is one before ctx ends.
func (g *gate) enter(ctx context.Context) bool {
	for {
		g.mu.Lock()
		if g.in < g.most {
			g.in++
			g.mu.Unlock()
			return true
		}
		if g.freed == nil {
			g.freed = make(chan struct{})
		}
		freed := g.freed
		g.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return false
		}
	}
}

// inside is how many there are.
func (g *gate) inside() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.in
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.in--
	g.call()
}
