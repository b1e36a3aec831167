package loop

import (
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestFiberPanicEndsItsSessionOnly(t *testing.T) {
	r := newRig(t, 1)
	nc, peer := pair(t, "tcp")
	c := Wrap(nc)
	if err := c.Adopt(); err != nil {
		t.Fatal(err)
	}
	cleaned := make(chan struct{})
	r.do(0, func(l *Loop) {
		_ = l.Register(c, serve(func(*Fiber) {
			defer close(cleaned)
			panic("a bug")
		}))
	})
	mustWrite(t, peer, []byte("x"))
	r.wait(cleaned, "the job's own defer")
	if _, err := peer.Read(make([]byte, 1)); err == nil {
		t.Error("the connection of the session that panicked is still open")
	}
	r.eventually("the fiber is back", func() bool { return r.g.Loops()[0].Stats().Fibers == 0 })
	if log := r.log.String(); !strings.Contains(log, "a bug") || !strings.Contains(log, "TestFiberPanic") {
		t.Errorf("the log lacks the panic or its stack:\n%s", log)
	}
	ran := false
	r.wait(r.fiber(0, func(*Fiber) { ran = true }), "another fiber")
	if !ran {
		t.Error("the loop does not serve others any more")
	}
}

// runtime.Goexit in a fiber, as t.Fatal does, must not take the loop along. The coroutine is lost, which TestMain
// knows.
func TestFiberGoexitLeavesTheLoopAlive(t *testing.T) {
	r := newRig(t, 1)
	cleaned := make(chan struct{})
	r.wait(r.fiber(0, func(*Fiber) {
		defer close(cleaned)
		runtime.Goexit()
	}), "the end of the fiber")
	r.wait(cleaned, "the job's own defer")
	for range 3 {
		r.wait(r.fiber(0, func(*Fiber) {}), "another fiber")
	}
	r.eventually("every fiber is back", func() bool { return r.g.Loops()[0].Stats().Fibers == 0 })
}

func TestWakeEndsTheNextWaitToo(t *testing.T) {
	r := newRig(t, 1)
	r.wait(r.fiber(0, func(f *Fiber) {
		f.Wake()
		_ = f.Sleep(Forever)
	}), "a wait after a wake")
}

// A fiber that its own last act woke is queued with no job. It must neither run nothing nor spoil the next job.
func TestWakeByTheJobsLastAct(t *testing.T) {
	r := newRig(t, 1)
	for range 3 {
		r.wait(r.fiber(0, func(f *Fiber) { f.Wake() }), "a fiber that woke itself")
	}
	early := false
	r.wait(r.fiber(0, func(f *Fiber) {
		end := f.Loop().After(20 * time.Millisecond)
		_ = f.Sleep(end)
		early = f.Loop().Now() < end
	}), "a sleeping fiber")
	if early {
		t.Error("a wake of an earlier job ended this one's wait")
	}
	if log := r.log.String(); log != "" {
		t.Errorf("unexpected log:\n%s", log)
	}
}

// The job of a fiber ends while the fiber is queued, and the fiber is lent again before the queue is run.
func TestFiberReusedWhileQueued(t *testing.T) {
	r := newRig(t, 1)
	var runs atomic.Int64
	r.do(0, func(l *Loop) {
		l.Go(serve(func(f *Fiber) {
			f.Wake()
			l.Post(func() { // runs before the queue
				l.Go(serve(func(*Fiber) { runs.Add(1) }))
				l.Go(serve(func(*Fiber) { runs.Add(1) }))
			})
		}))
	})
	r.eventually("both jobs ran", func() bool { return runs.Load() == 2 })
	r.do(0, func(*Loop) {})
	if n := runs.Load(); n != 2 {
		t.Errorf("%d runs of 2 jobs", n)
	}
	if n := r.g.Loops()[0].Stats().Fibers; n != 0 {
		t.Errorf("%d fibers lent, want 0", n)
	}
}

func TestYieldLetsOthersRun(t *testing.T) {
	r := newRig(t, 1)
	var turn atomic.Int64
	done := make(chan struct{})
	r.do(0, func(l *Loop) {
		for i := range int64(2) {
			l.Go(serve(func(f *Fiber) {
				for n := range int64(100) {
					if got := turn.Load(); got != 2*n+i {
						t.Errorf("fiber %d at turn %d, want %d", i, got, 2*n+i)
					}
					turn.Add(1)
					f.Yield()
				}
				if i == 1 {
					close(done)
				}
			}))
		}
	})
	r.wait(done, "both fibers")
}

func TestYieldKeepsAWake(t *testing.T) {
	r := newRig(t, 1)
	first := r.fiber(0, func(f *Fiber) {
		f.Loop().Post(f.Wake)
		f.Yield()
		_ = f.Sleep(Forever)
	})
	r.wait(first, "the fiber that was woken while it yielded")
}

// A fiber that never has to wait must not starve the others.
func TestWaitsThatNeverWaitGiveWay(t *testing.T) {
	r := newRig(t, 1)
	nc, peer := pair(t, "unix")
	c := r.adopt(0, nc, nil)
	mustWrite(t, peer, []byte("never read"))
	var stop atomic.Bool
	spinning := make(chan struct{})
	spinner := r.fiber(0, func(f *Fiber) {
		f.Attach(c)
		for range 1000 {
			_ = f.Wait(c, Readable, nil, 0, Forever)
		}
		close(spinning)
		for !stop.Load() {
			_ = f.Wait(c, Readable, nil, 0, f.Loop().Now())
		}
	})
	r.wait(spinning, "the spinner")
	r.wait(r.fiber(0, func(*Fiber) {}), "another fiber beside the spinner")
	stop.Store(true)
	r.wait(spinner, "the spinner's end")
}

func TestWaitForAConnOfAnotherFiberIsABug(t *testing.T) {
	r := newRig(t, 1)
	nc, _ := pair(t, "unix")
	c := r.adopt(0, nc, nil)
	var got any
	r.wait(r.fiber(0, func(f *Fiber) {
		defer func() { got = recover() }()
		_ = f.Wait(c, Readable, nil, 0, Forever)
	}), "the panic")
	if got == nil {
		t.Error("a wait that nothing can end was accepted")
	}
}

func TestAwait(t *testing.T) {
	r := newRig(t, 1)
	release := make(chan struct{})
	var order []string
	first := r.fiber(0, func(f *Fiber) {
		f.Loop().Post(f.Wake) // does not end it early
		f.Await(func() { <-release })
		order = append(order, "awaited")
	})
	r.wait(r.fiber(0, func(*Fiber) { order = append(order, "other") }), "a fiber beside an awaiting one")
	r.wait(r.fiber(0, func(*Fiber) { order = append(order, "third") }), "a third fiber")
	close(release)
	r.wait(first, "the awaited work")
	if got := strings.Join(order, " "); got != "other third awaited" {
		t.Errorf("order %q", got)
	}
}

func TestAwaitKeepsAWake(t *testing.T) {
	r := newRig(t, 1)
	release := make(chan struct{})
	first := r.fiber(0, func(f *Fiber) {
		l := f.Loop()
		l.Post(func() { f.Wake(); l.Post(func() { close(release) }) })
		f.Await(func() { <-release })
		_ = f.Sleep(Forever) // the wake came meanwhile
	})
	r.wait(first, "the fiber woken during its Await")
}

func TestAwaitPanicIsTheFibers(t *testing.T) {
	r := newRig(t, 1)
	recovered := make(chan any, 1)
	r.wait(r.fiber(0, func(f *Fiber) {
		defer func() { recovered <- recover() }()
		f.Await(func() { panic("in the background") })
	}), "the fiber")
	if v, _ := (<-recovered).(string); !strings.Contains(v, "in the background") || !strings.Contains(v, "fiber_test") {
		t.Errorf("recovered %q", v)
	}
}

func TestManyAwaits(t *testing.T) {
	r := newRig(t, 2)
	const n = 200
	var left atomic.Int64
	left.Store(2 * n)
	all := make(chan struct{})
	for i := range 2 {
		r.do(i, func(l *Loop) {
			for range n {
				l.Go(serve(func(f *Fiber) {
					for range 5 {
						done := false
						f.Await(func() { done = true })
						if !done {
							t.Error("Await came back before its function")
						}
					}
					if left.Add(-1) == 0 {
						close(all)
					}
				}))
			}
		})
	}
	r.wait(all, "all awaits")
}

func TestOffload(t *testing.T) {
	r := newRig(t, 1)
	done := make(chan struct{})
	value := 0
	r.do(0, func(l *Loop) {
		l.Offload(func() { value = 7 }, func() { close(done) })
	})
	r.wait(done, "the offloaded work")
	if value != 7 {
		t.Error("done ran before its work")
	}
}

// Every parked fiber comes back with ErrStopped when the loops close, whatever it waits for, and a wait after that
// does not wait.
func TestClosingWithParkedFibers(t *testing.T) {
	r := newRig(t, 2)
	nc, _ := pair(t, "tcp")
	var stopped, ran atomic.Int64
	park := func(wait func(f *Fiber) error) serve {
		return func(f *Fiber) {
			ran.Add(1)
			if errors.Is(wait(f), ErrStopped) && errors.Is(f.Sleep(Forever), ErrStopped) {
				stopped.Add(1)
			}
		}
	}
	c := r.adopt(0, nc, nil)
	release := make(chan struct{})
	for i := range 2 {
		r.do(i, func(l *Loop) {
			for range 300 { // more than are kept for reuse
				l.Go(park(func(f *Fiber) error { return f.Sleep(Forever) }))
				l.Go(park(func(f *Fiber) error { return f.Sleep(l.After(time.Hour)) }))
			}
			l.Go(park(func(f *Fiber) error { f.Await(func() { <-release }); return f.Sleep(Forever) }))
			if i == 0 {
				l.Go(park(func(f *Fiber) error { f.Attach(c); return f.Wait(c, Readable, nil, 0, Forever) }))
			}
		})
	}
	r.eventually("all are parked", func() bool { return ran.Load() == 1203 })
	r.stop()
	close(release)
	r.wait(r.done, "the loops to end")
	if n := stopped.Load(); n != 1203 {
		t.Errorf("%d fibers saw ErrStopped, want 1203", n)
	}
}

// A fiber that starts after the loop began to close sees it at once.
func TestFiberStartedWhileClosing(t *testing.T) {
	r := newRig(t, 1)
	hold, held := make(chan struct{}), make(chan struct{})
	var err error
	r.fiber(0, func(f *Fiber) {
		f.Await(func() { close(held); <-hold })
		f.Loop().Go(serve(func(f *Fiber) { err = f.Sleep(Forever) }))
	})
	r.wait(held, "the fiber that holds the loop open")
	r.stop()
	r.eventually("the loop closes", func() bool {
		closing := false
		r.do(0, func(l *Loop) { closing = l.Closing() })
		return closing
	})
	close(hold)
	r.wait(r.done, "the loop to end")
	if !errors.Is(err, ErrStopped) {
		t.Errorf("the late fiber's wait returned %v", err)
	}
}

func TestFreeFibersAreBounded(t *testing.T) {
	r := newRig(t, 1)
	var ran atomic.Int64
	r.do(0, func(l *Loop) {
		for range 4 * maxFree {
			l.Go(serve(func(f *Fiber) { f.Yield(); ran.Add(1) }))
		}
	})
	r.eventually("all ran", func() bool { return ran.Load() == 4*maxFree && r.g.Loops()[0].Stats().Fibers == 0 })
	r.do(0, func(*Loop) {})
	r.do(0, func(l *Loop) {
		if n := len(l.free); n > maxFree {
			t.Errorf("%d fibers kept, at most %d wanted", n, maxFree)
		} else if made := l.Stats().Coroutines; made != int64(n) {
			t.Errorf("%d coroutines, %d fibers are kept", made, n)
		}
	})
}
