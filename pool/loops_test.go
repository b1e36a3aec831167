package pool

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// worker is a client under load: it asks, works, gives back and sometimes loses patience, on its own.
type worker struct {
	r     *rig
	p     *Pool
	rand  *rand.Rand
	turns int
	owner *sync.Map // of each connection: the worker that has it now
	wg    *sync.WaitGroup
	ended *atomic.Int64 // how often a wait was given up
}

// Serve is the worker's life.
func (w *worker) Serve(f *loop.Fiber) {
	defer w.wg.Done()
	for range w.turns {
		c := w.acquire(f)
		if c == nil {
			continue
		}
		if other, taken := w.owner.LoadOrStore(c, w); taken {
			w.r.t.Errorf("%p and %p own the same connection", w, other)
		}
		if c.Net.Loop() != f.Loop() {
			w.r.t.Error("a connection of another loop")
		}
		how := w.work(f, c)
		w.owner.Delete(c)
		w.p.Release(c, how)
		if w.rand.IntN(4) == 0 {
			f.Yield()
		}
	}
}

// acquire asks and waits, not always to the end.
func (w *worker) acquire(f *loop.Fiber) *Conn {
	if c := w.p.TryAcquire(f); c != nil {
		return c
	}
	waiter := new(Waiter)
	deadline := f.Loop().After(patience)
	if w.rand.IntN(3) == 0 {
		deadline = f.Loop().After(time.Duration(w.rand.IntN(300)) * time.Microsecond)
	}
	w.p.Enqueue(waiter, f)
	for {
		if f.Wait(nil, 0, nil, 0, deadline) != nil {
			w.p.Dequeue(waiter)
			return nil
		}
		c, err := w.p.Granted(waiter)
		switch {
		case c != nil && w.rand.IntN(8) == 0:
			w.p.Dequeue(waiter) // killed in the very moment
			return nil
		case c != nil:
			return c
		case err != nil || f.Loop().Now() >= deadline:
			if f.Loop().Now() >= deadline && deadline > f.Loop().After(patience/2) {
				w.r.t.Error("nobody serves a worker")
			}
			w.ended.Add(1)
			w.p.Dequeue(waiter)
			return nil
		}
	}
}

// work runs a statement, or nothing, and says how the connection is given back.
func (w *worker) work(f *loop.Fiber, c *Conn) Clean {
	switch w.rand.IntN(10) {
	case 0:
		return Broken
	case 1:
		return Reset
	case 2:
		return Rollback
	case 3:
		c.Cancel(f.Loop(), w.r.set.log, func() {})
		return Ready
	case 4:
		return Ready
	}
	if !w.query(f, c) {
		return Broken
	}
	return Ready
}

// query asks a question and waits for its end.
func (w *worker) query(f *loop.Fiber, c *Conn) bool {
	if _, err := c.Write(wire.AppendQuery(nil, "SELECT 1")); err != nil {
		return false
	}
	var got []byte
	for {
		n, err := c.Read(f.Loop().Buffer())
		if err == loop.ErrWouldBlock {
			if f.Wait(c.Net, loop.Readable, nil, 0, f.Loop().After(patience)) != nil {
				return false
			}
			continue
		}
		if err != nil {
			return false
		}
		got = append(got, f.Loop().Buffer()[:n]...)
		if rest, status, failed := skim(got); status != 0 {
			if failed || status != 'I' || len(rest) > 0 {
				w.r.t.Errorf("a lent connection was not in step: %q", got)
			}
			return true
		}
	}
}

// Many workers on two loops share few connections of three pools under one limit, give up, break and cancel, while
// servers die, dials fail and the janitor works. The books add up at every moment, and nobody waits for ever.
func TestTwoLoopsUnderLoad(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	limit := &Limit{Max: 5}
	var pools []*Pool
	for i := range 3 {
		pools = append(pools, r.pool(db, func(o *Options) {
			o.User, o.ByDatabase = fmt.Sprint("user ", i), limit
			o.Config.Size, o.Config.MinSize, o.Config.Reserve, o.Config.ReserveAfter = 2+i, i, 1, time.Millisecond
		}))
	}
	turns := 150
	if testing.Short() {
		turns = 30
	}
	var wg sync.WaitGroup
	var owner sync.Map
	var ended atomic.Int64
	for i := range 24 {
		w := &worker{
			r: r, p: pools[i%3], rand: rand.New(rand.NewPCG(uint64(i), 1)), turns: turns, owner: &owner, wg: &wg, ended: &ended,
		}
		wg.Add(1)
		l := r.g.Loops()[i/3%2]
		l.Post(func() { l.Go(w) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	chaos := rand.New(rand.NewPCG(7, 7))
	deadline := time.Now().Add(2 * time.Minute)
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(time.Duration(chaos.IntN(1500)) * time.Microsecond):
			r.tidy(chaos.IntN(2))
			db.set(func() {
				db.fail = nil
				if chaos.IntN(5) == 0 {
					db.fail = errDial
				}
				if n := len(db.conns); n > 0 && chaos.IntN(4) == 0 {
					_ = db.conns[n-1-chaos.IntN(min(n, 6))].nc.Close()
				}
			})
		}
		if time.Now().After(deadline) {
			t.Fatalf("the load does not end\n%s", r.books())
		}
	}
	db.set(func() { db.fail = nil })
	r.eventually("everything is idle or closed", func() bool {
		sum := 0
		for _, p := range pools {
			s := p.Stats(0)
			if s.Connecting+s.Busy+s.Resetting+s.Waiting > 0 {
				return false
			}
			sum += s.Idle
		}
		return db.get(&db.open) == sum
	})
	t.Logf("%d dials, %d waits given up", db.get(&db.dials), ended.Load())
}

// Waiters that give up while connections travel: as often as the two loops can be made to meet.
func TestHandOverMeetsGivingUp(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	p := r.pool(db, sized(1))
	var wg sync.WaitGroup
	var owner sync.Map
	var ended atomic.Int64
	for i := range 6 {
		w := &worker{r: r, p: p, rand: rand.New(rand.NewPCG(uint64(i), 2)), turns: 300, owner: &owner, wg: &wg, ended: &ended}
		wg.Add(1)
		l := r.g.Loops()[i%2]
		l.Post(func() { l.Go(giver{w}) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(time.Millisecond):
			r.check()
		}
	}
	r.eventually("it is idle", func() bool {
		return p.Stats(0).Idle <= 1 && p.Stats(0).Busy+p.Stats(0).Resetting+p.Stats(0).Connecting == 0
	})
	if ended.Load() == 0 {
		t.Error("nobody gave up")
	}
}

// giver is a worker that does nothing with what it gets, so that connections travel all the time.
type giver struct{ *worker }

// Serve asks, and gives back at once.
func (g giver) Serve(f *loop.Fiber) {
	defer g.wg.Done()
	for range g.turns {
		if c := g.acquire(f); c != nil {
			if _, taken := g.owner.LoadOrStore(c, g); taken {
				g.r.t.Error("two own the same connection")
			}
			g.owner.Delete(c)
			g.p.Release(c, Ready)
		}
	}
}
