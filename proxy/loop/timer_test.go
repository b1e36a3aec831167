package loop

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// clockOnly is a loop whose clock is set by hand and whose poller has nothing.
func clockOnly(now *int64) *Loop {
	return New(Driver{Poller: noPoller{}, Go: func(fn func()) { fn() }, Now: func() int64 { return *now }}, nil)
}

type noPoller struct{}

func (noPoller) Watch(*Conn, Event) error { return nil }
func (noPoller) Drop(*Conn, bool)         {}
func (noPoller) Poll(time.Duration) int   { return 0 }
func (noPoller) Wake()                    {}

func TestTimersFireInOrder(t *testing.T) {
	now := int64(0)
	l := clockOnly(&now)
	rnd := rand.New(rand.NewPCG(1, 2))
	const n = 5000
	timers := make([]Timer, n)
	want := map[int64]int{}
	var fired []int64
	for i := range timers {
		at := 1 + rnd.Int64N(1000)
		l.Schedule(&timers[i], at, func() { fired = append(fired, at) })
		want[at]++
	}
	for i := range timers { // some are moved, some stopped
		switch i % 5 {
		case 0:
			l.Unschedule(&timers[i])
			l.Unschedule(&timers[i])
		case 1:
			at := 1 + rnd.Int64N(2000)
			l.Schedule(&timers[i], at, func() { fired = append(fired, at) })
		}
	}
	for ; now <= 2000; now += 7 {
		l.Turn(0)
		for _, at := range fired {
			if at > now {
				t.Fatalf("a timer of %d fired at %d", at, now)
			}
		}
	}
	if len(fired) != n-n/5 {
		t.Errorf("%d timers fired, want %d", len(fired), n-n/5)
	}
	if !slices.IsSorted(fired) {
		t.Error("not in order")
	}
	if len(l.timers.heap) != 0 {
		t.Errorf("%d timers left", len(l.timers.heap))
	}
}

// A model of the heap: random operations against a plain list.
func TestTimersAgainstAModel(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		now := int64(0)
		l := clockOnly(&now)
		timers := make([]Timer, 40)
		due := make([]int64, len(timers)) // 0: idle
		for range 400 {
			i := rnd.IntN(len(timers))
			switch rnd.IntN(3) {
			case 0:
				l.Unschedule(&timers[i])
				due[i] = 0
			case 1:
				due[i] = now + 1 + rnd.Int64N(50)
				l.Schedule(&timers[i], due[i], func() {
					if due[i] == 0 || due[i] > now {
						t.Fatalf("seed %d: timer %d due at %d fired at %d", seed, i, due[i], now)
					}
					due[i] = 0
				})
			default:
				now += rnd.Int64N(10)
				l.Turn(0)
				for i, at := range due {
					if at != 0 && at <= now {
						t.Fatalf("seed %d: timer %d due at %d has not fired at %d", seed, i, at, now)
					}
				}
			}
		}
	}
}

// A timer that sets itself to the present must not hold the turn.
func TestTimerThatSetsItselfToNow(t *testing.T) {
	now := int64(100)
	l := clockOnly(&now)
	var tm Timer
	n := 0
	var again func()
	again = func() { n++; l.Schedule(&tm, l.Now(), again) }
	l.Schedule(&tm, 0, again)
	for turn := range 5 {
		now++
		l.Turn(0)
		if n != turn+1 {
			t.Fatalf("fired %d times in %d turns", n, turn+1)
		}
	}
}

func TestTimerStoppedByAnotherOfTheSameTurn(t *testing.T) {
	now := int64(0)
	l := clockOnly(&now)
	var a, b Timer
	fired := ""
	l.Schedule(&a, 1, func() { fired += "a"; l.Unschedule(&b) })
	l.Schedule(&b, 2, func() { fired += "b" })
	now = 5
	l.Turn(0)
	if fired != "a" {
		t.Errorf("fired %q, want only a", fired)
	}
}

func TestSleepIsNeitherShortNorLong(t *testing.T) {
	r := newRig(t, 1)
	for _, d := range []time.Duration{0, time.Microsecond, time.Millisecond, 30 * time.Millisecond} {
		var took time.Duration
		r.wait(r.fiber(0, func(f *Fiber) {
			start := time.Now()
			_ = f.Sleep(f.Loop().Now() + int64(d))
			took = time.Since(start)
		}), "a sleep")
		if took < d-time.Millisecond || took > d+patience/2 {
			t.Errorf("slept %v instead of %v", took, d)
		}
	}
}

// A deadline ends a wait for a conn, and an event before it takes the deadline away.
func TestDeadlines(t *testing.T) {
	r := newRig(t, 1)
	nc, peer := pair(t, "unix")
	c := r.adopt(0, nc, nil)
	got := make(chan string, 1)
	done := r.fiber(0, func(f *Fiber) {
		f.Attach(c)
		l := f.Loop()
		if end := l.After(20 * time.Millisecond); f.Wait(c, Readable, nil, 0, end) == nil && l.Now() < end {
			t.Error("the wait ended before its deadline, with nothing to read")
		}
		mustWrite(t, peer, []byte("x"))
		_ = f.Wait(c, Readable, nil, 0, l.After(time.Hour))
		b, _ := readAll(c)
		got <- string(b)
		if len(l.timers.heap) != 0 {
			t.Error("the deadline of a wait that ended is still pending")
		}
		_ = f.Wait(c, Readable, nil, 0, l.After(-1)) // Forever; woken below
	})
	if s := <-got; s != "x" {
		t.Errorf("read %q", s)
	}
	mustWrite(t, peer, []byte("y"))
	r.wait(done, "the fiber")
}

func TestThousandsOfSleepers(t *testing.T) {
	r := newRig(t, 2)
	const n = 5000
	var left atomic.Int64
	left.Store(2 * n)
	all := make(chan struct{})
	for i := range 2 {
		r.do(i, func(l *Loop) {
			for k := range n {
				l.Go(serve(func(f *Fiber) {
					_ = f.Sleep(l.Now() + int64(k%50)*int64(time.Millisecond))
					if left.Add(-1) == 0 {
						close(all)
					}
				}))
			}
		})
	}
	r.wait(all, "all sleepers")
}
