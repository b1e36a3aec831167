package loop

import (
	"context"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Group is the process's loops: one until it is busy, then more, up to a maximum.
type Group struct {
	loops  []*Loop
	active atomic.Int32 // loops that take new connections
	busy   []time.Duration
	log    *slog.Logger
	wg     sync.WaitGroup
}

const (
	watchEvery = time.Second
	busyShare  = 0.85 // of one core for one watch period: then the next loop takes new connections
)

// DefaultLoops is the maximum where the operator says nothing: half the cores, at most four. The other half is the
// application's and, on a small machine, the server's.
func DefaultLoops() int { return min(max(runtime.GOMAXPROCS(0)/2, 1), 4) }

// NewGroup makes n loops (0: DefaultLoops) with the driver of this build.
func NewGroup(n int, log *slog.Logger) (*Group, error) {
	if n <= 0 {
		n = DefaultLoops()
	}
	g := &Group{busy: make([]time.Duration, n), log: log}
	g.active.Store(1)
	for range n {
		drv, err := newDriver()
		if err != nil {
			g.close()
			return nil, err
		}
		g.loops = append(g.loops, New(drv, log))
	}
	return g, nil
}

// Run turns every loop until ctx ends and their fibers have returned. Connections still registered then are closed.
func (g *Group) Run(ctx context.Context) {
	for _, l := range g.loops {
		g.wg.Go(func() { l.Run(ctx) })
	}
	g.wg.Go(func() { newWatchdog(g.loops, g.log).run(ctx) })
	g.watch(ctx)
	g.wg.Wait()
	g.close()
}

func (g *Group) close() {
	for _, l := range g.loops {
		if c, ok := l.drv.Poller.(io.Closer); ok {
			_ = c.Close()
		}
	}
}

// watch opens another loop when every open one was busy for a whole period.
func (g *Group) watch(ctx context.Context) {
	if len(g.loops) == 1 {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.grow()
		}
	}
}

func (g *Group) grow() {
	all := true
	n := int(g.active.Load())
	for i, l := range g.loops {
		b := l.Stats().Busy
		if i < n && float64(b-g.busy[i]) < busyShare*float64(watchEvery) {
			all = false
		}
		g.busy[i] = b
	}
	if all && n < len(g.loops) {
		g.active.Store(int32(n + 1))
	}
}

// Pick is the loop for a new connection: of the active ones, the one with the fewest.
func (g *Group) Pick() *Loop {
	best := g.loops[0]
	for _, l := range g.loops[1:g.active.Load()] {
		if l.conns.Load() < best.conns.Load() {
			best = l
		}
	}
	return best
}

// Loops returns all loops, also those not active yet.
func (g *Group) Loops() []*Loop { return g.loops }
