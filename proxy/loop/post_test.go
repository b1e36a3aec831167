package loop

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Posts from many goroutines race with the loop going to sleep. Each goroutine waits for its post before it makes the
// next, so a single lost wake-up stops the test.
func TestPostRacesWithSleep(t *testing.T) {
	r := newRig(t, 1)
	l := r.g.Loops()[0]
	for _, posters := range []int{1, 2, 8} {
		var wg sync.WaitGroup
		var ran atomic.Int64
		for range posters {
			wg.Go(func() {
				done := make(chan struct{}, 1)
				for range 20000 / posters {
					l.Post(func() { ran.Add(1); done <- struct{}{} })
					r.wait(done, "a post")
				}
			})
		}
		wg.Wait()
		if n := ran.Load(); n != int64(20000/posters*posters) {
			t.Errorf("%d posters: %d functions ran", posters, n)
		}
	}
}

// Posts of one goroutine run in their order, also when they post again.
func TestPostKeepsOrder(t *testing.T) {
	r := newRig(t, 1)
	l := r.g.Loops()[0]
	const n = 10000
	next := 0
	done := make(chan struct{})
	for i := range n {
		l.Post(func() {
			if next != i {
				t.Errorf("function %d ran as number %d", i, next)
			}
			next++
			if i == n-1 {
				l.Post(func() { close(done) })
			}
		})
	}
	r.wait(done, "the last post")
}

// Two loops wake each other by posts; both sleep in between.
func TestPostBetweenLoops(t *testing.T) {
	r := newRig(t, 2)
	a, b := r.g.Loops()[0], r.g.Loops()[1]
	done := make(chan struct{})
	n := 0
	var ping, pong func()
	ping = func() {
		if n++; n == 20000 {
			close(done)
			return
		}
		b.Post(pong)
	}
	pong = func() { a.Post(ping) }
	a.Post(ping)
	r.wait(done, "20000 round trips")
}

// A wake by post reaches a fiber that is about to wait, and one that waits for a conn.
func TestPostedWakes(t *testing.T) {
	r := newRig(t, 1)
	nc, _ := pair(t, "unix")
	c := r.adopt(0, nc, nil)
	l := r.g.Loops()[0]
	const n = 5000
	seen := 0
	var asked, fed atomic.Int64
	done := r.fiber(0, func(f *Fiber) {
		f.Attach(c)
		go func() {
			for i := range int64(n) {
				for asked.Load() < i {
					runtime.Gosched()
				}
				l.Post(func() { fed.Add(1); f.Wake() })
			}
		}()
		for seen < n {
			for fed.Load() <= int64(seen) {
				if err := f.Wait(c, Readable, nil, 0, Forever); err != nil {
					t.Error(err)
					return
				}
			}
			seen++
			asked.Store(int64(seen))
		}
	})
	r.wait(done, "all wakes")
}
