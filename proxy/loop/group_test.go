package loop

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A thousand connections that are open and silent have no fiber and no stack, on either driver.
func TestIdleConnsHaveNoFiber(t *testing.T) {
	r := newRig(t, 1)
	const n = 200
	for range n {
		nc, peer := pair(t, "unix")
		c := Wrap(nc)
		if err := c.Adopt(); err != nil {
			t.Fatal(err)
		}
		r.do(0, func(l *Loop) { _ = l.Register(c, echo(c)) })
		mustWrite(t, peer, []byte("hello"))
		mustRead(t, peer, []byte("hello"))
	}
	r.eventually("all fibers are back", func() bool { return r.g.Loops()[0].Stats().Fibers == 0 })
	if s := r.g.Loops()[0].Stats(); s.Conns != n {
		t.Errorf("%d conns, want %d", s.Conns, n)
	}
	r.do(0, func(l *Loop) {
		if len(l.free) > 2 {
			t.Errorf("%d fibers were needed for conns served one after the other", len(l.free))
		}
	})
}

// What is still registered when the loops end is closed with them.
func TestCloseEndsTheConns(t *testing.T) {
	r := newRig(t, 2)
	var peers []io.Reader
	for i := range 10 {
		nc, peer := pair(t, networks[i%2])
		r.adopt(i%2, nc, nil)
		peers = append(peers, peer)
	}
	r.close()
	for _, p := range peers {
		if _, err := p.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a peer sees %v", err)
		}
	}
}

func TestPickPrefersTheActiveAndTheEmpty(t *testing.T) {
	r := newRig(t, 3)
	g := r.g
	g.active.Store(1)
	for range 5 {
		if g.Pick() != g.Loops()[0] {
			t.Error("a loop was picked that is not active yet")
		}
	}
	g.active.Store(3)
	nc, _ := pair(t, "unix")
	r.adopt(0, nc, nil)
	nc, _ = pair(t, "unix")
	r.adopt(1, nc, nil)
	if g.Pick() != g.Loops()[2] {
		t.Error("not the loop with the fewest conns")
	}
}

func TestGroupGrowsWhenBusy(t *testing.T) {
	g, err := NewGroup(3, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	spend := func(share float64, loops ...int) {
		for _, i := range loops {
			g.loops[i].busy.Add(int64(share * float64(watchEvery)))
		}
		g.grow()
	}
	steps := []struct {
		share  float64
		loops  []int
		active int32
	}{
		{0.5, []int{0}, 1}, {0.95, []int{0}, 2}, // one is busy: the second opens
		{0.95, []int{0}, 2}, {0.95, []int{1}, 2}, // one of two is not enough
		{0.95, []int{0, 1}, 3}, {1, []int{0, 1, 2}, 3}, // at the maximum
	}
	for i, s := range steps {
		if spend(s.share, s.loops...); g.active.Load() != s.active {
			t.Errorf("step %d: %d active, want %d", i, g.active.Load(), s.active)
		}
	}
}

func TestBusyTimeIsCountedOnce(t *testing.T) {
	r := newRig(t, 1)
	l := r.g.Loops()[0]
	start, before := time.Now(), l.Stats()
	r.do(0, func(*Loop) {
		for time.Since(start) < 30*time.Millisecond {
		}
	})
	r.do(0, func(*Loop) {})
	s, elapsed := l.Stats(), time.Since(start)
	if busy := s.Busy - before.Busy; busy < 30*time.Millisecond || busy > elapsed+time.Millisecond {
		t.Errorf("busy for %v of %v", busy, elapsed)
	}
	if s.Slow != before.Slow+1 {
		t.Errorf("%d slow turns, want 1", s.Slow-before.Slow)
	}
}

// A blocked loop is reported once with the stack of the culprit, then not again until the next incident, and that
// only when the last report is old enough.
func TestWatchdog(t *testing.T) {
	r := newRig(t, 1)
	l := r.g.Loops()[0]
	log := &bytes.Buffer{}
	w := newWatchdog(r.g.Loops(), slog.New(slog.NewTextHandler(log, nil)))
	now := time.Now()
	r.eventually("the loop sleeps", l.sleeping.Load)
	r.eventually("an idle loop turns nothing", func() bool { return !w.look(now) })
	if log.Len() != 0 {
		t.Fatalf("an idle loop was reported: %s", log)
	}
	incident := func(at time.Time) {
		hold, held := make(chan struct{}), make(chan struct{})
		done := r.fiber(0, func(*Fiber) { blockOnPurpose(held, hold) })
		r.wait(held, "the fiber that blocks")
		for range 5 {
			if !w.look(at) {
				t.Error("a stuck loop counts as idle")
			}
		}
		close(hold)
		r.wait(done, "its end")
	}
	incident(now)
	if n := strings.Count(log.String(), "stuck in one turn"); n != 1 || !strings.Contains(log.String(), "blockOnPurpose") {
		t.Fatalf("%d reports:\n%s", n, log)
	}
	incident(now.Add(logEvery / 2))
	if n := strings.Count(log.String(), "stuck in one turn"); n != 1 {
		t.Errorf("%d reports within the limit's time", n)
	}
	incident(now.Add(2 * logEvery))
	if n := strings.Count(log.String(), "stuck in one turn"); n != 2 {
		t.Errorf("%d reports of two incidents far apart", n)
	}
	if l.Stats().Slow > 3 {
		t.Errorf("%d slow turns", l.Stats().Slow)
	}
}

func blockOnPurpose(held, hold chan struct{}) {
	close(held)
	<-hold
}

// The group's own watchdog does it by itself.
func TestGroupWatchesItsLoops(t *testing.T) {
	r := newRig(t, 1)
	hold := make(chan struct{})
	done := r.fiber(0, func(*Fiber) { blockOnPurpose(make(chan struct{}), hold) })
	r.eventually("the watchdog reports", func() bool { return strings.Contains(r.log.String(), "stuck in one turn") })
	close(hold)
	r.wait(done, "the fiber")
}

func TestRunEndsWithItsContext(t *testing.T) {
	for _, loops := range []int{1, 3} {
		g, err := NewGroup(loops, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var ended atomic.Bool
		done := make(chan struct{})
		go func() { defer close(done); g.Run(ctx); ended.Store(true) }()
		if ended.Load() {
			t.Error("ended by itself")
		}
		stop()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatal("Run does not end")
		}
	}
}

func TestDefaultLoops(t *testing.T) {
	if n := DefaultLoops(); n < 1 || n > 4 {
		t.Errorf("%d loops by default", n)
	}
	g, err := NewGroup(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	if len(g.Loops()) != DefaultLoops() {
		t.Errorf("%d loops", len(g.Loops()))
	}
}

func TestScratch(t *testing.T) {
	now := int64(0)
	l := clockOnly(&now)
	b := append(l.Scratch(), make([]byte, 2*BufferSize)...)
	l.KeepScratch(b)
	if s := l.Scratch(); len(s) != 0 || cap(s) < 2*BufferSize {
		t.Errorf("len %d cap %d after it grew", len(s), cap(s))
	}
	l.KeepScratch(make([]byte, 16*BufferSize))
	if s := l.Scratch(); cap(s) > 4*BufferSize {
		t.Error("a huge buffer was kept")
	}
	if len(l.Buffer()) != BufferSize {
		t.Error("the read buffer has another size")
	}
}
