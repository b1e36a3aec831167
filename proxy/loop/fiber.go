package loop

import (
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
)

// ErrStopped ends a wait because the loop is closing.
var ErrStopped = errors.New("loop is closing")

var errGoexit = errors.New("runtime.Goexit")

// Handler is woken with a fiber when its connection has something to read and no fiber is on it. It returns when
// nothing is left to do; the fiber then goes back to the loop.
type Handler interface {
	Serve(f *Fiber)
}

// Fiber runs straight-line code on a loop and waits without holding a thread. It is valid until Serve returns.
type Fiber struct {
	loop   *Loop
	next   func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	job    Handler
	home   *Conn // the conn whose event started the job
	timer  Timer
	spins  uint8 // waits that did not have to wait since f was resumed
	queued bool  // in the run queue
	begun  bool  // job has started
	woken  bool

	prevLive, nextLive *Fiber // fibers lent now, so that closing reaches those that wait for nothing but time
}

// Go runs job on a fiber of l in the next round. Loop goroutine only; others use Post.
func (l *Loop) Go(job Handler) { l.start(job, nil) }

func (l *Loop) start(job Handler, home *Conn) {
	var f *Fiber
	if n := len(l.free); n > 0 {
		f = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		f = &Fiber{loop: l}
		f.timer.fiber = f
		f.next, f.stop = iter.Pull(f.body)
		l.coroutines.Add(1)
	}
	f.job, f.home, f.woken, f.begun = job, home, false, false
	if home != nil {
		home.fiber = f
	}
	l.fibers.Add(1)
	l.timers.live(f)
	l.ready(f)
}

// body is the coroutine: it runs one job after another until the loop stops it.
func (f *Fiber) body(yield func(struct{}) bool) {
	f.yield = yield
	for {
		f.runJob()
		if !f.yield(struct{}{}) {
			return
		}
	}
}

// runJob runs the job to its end. A panic in it ends its session and nothing else.
func (f *Fiber) runJob() {
	returned := false
	defer func() {
		if !returned {
			f.broke(recover())
		}
		f.done(true)
	}()
	f.begun = true
	f.job.Serve(f)
	returned = true
}

// broke ends a job that did not return. v is nil for runtime.Goexit, which nothing stops: it would go on into the
// loop and end that. So its coroutine is left where it is, for good; only a failing test does this.
func (f *Fiber) broke(v any) {
	if v == nil {
		v = errGoexit
	}
	f.loop.panicked(v)
	if f.home != nil {
		_ = f.home.Close()
	}
	if v == errGoexit { //nolint:errorlint // set three lines above
		f.done(false)
		for {
			f.yield(struct{}{})
		}
	}
}

// done ends the job, or one that has not begun, and keeps f for another if it is reusable.
func (f *Fiber) done(reusable bool) {
	l, home := f.loop, f.home
	f.job, f.home = nil, nil
	l.timers.remove(&f.timer)
	l.timers.dead(f)
	l.fibers.Add(-1)
	switch {
	case !reusable:
	case len(l.free) < maxFree && !l.closing:
		l.free = append(l.free, f)
	default:
		l.coroutines.Add(-1)
		l.Post(f.stop) // not from inside the coroutine itself
	}
	if home != nil && home.fiber == f {
		home.fiber = nil
		home.serveAgain()
	}
}

// resume runs f until it waits or its job ends. Only the loop calls it. A fiber woken by what its own job did last
// is still queued when it has no job any more, or another one.
func (f *Fiber) resume() {
	f.queued = false
	if f.job == nil {
		return
	}
	f.spins = 0
	f.next()
}

// Loop is the loop f runs on.
func (f *Fiber) Loop() *Loop { return f.loop }

// Wake ends f's current wait, or its next one. Loop goroutine only.
func (f *Fiber) Wake() {
	f.woken = true
	f.loop.ready(f)
}

// Attach makes events of c end f's waits. A conn has one fiber at most. A handler's job that an event of c has queued
// and that has not begun is withdrawn: f finds what there is to read.
func (f *Fiber) Attach(c *Conn) {
	if c.fiber != f {
		c.depart()
		c.fiber, c.want = f, 0
	}
}

// Wait suspends f until a has an event of wa, or b one of wb (either may be nil), until deadline (Forever: none), or
// until Wake. It returns ErrStopped when the loop closes. Both conns are attached to f. Lent buffers are invalid
// afterwards. It may return early: the caller looks at everything it waits for each time.
func (f *Fiber) Wait(a *Conn, wa Event, b *Conn, wb Event, deadline int64) error {
	if f.woken || (a != nil && a.ready&wa != 0) || (b != nil && b.ready&wb != 0) {
		f.woken = false
		return f.passed()
	}
	if deadline <= f.loop.now || f.loop.closing {
		return f.passed()
	}
	if a != nil {
		a.await(f, wa)
	}
	if b != nil {
		b.await(f, wb)
	}
	if deadline != Forever {
		f.loop.timers.add(&f.timer, deadline)
	}
	alive := f.yield(struct{}{})
	if a != nil {
		a.want = 0
	}
	if b != nil {
		b.want = 0
	}
	if deadline != Forever {
		f.loop.timers.remove(&f.timer)
	}
	f.woken = false
	if !alive {
		return ErrStopped
	}
	return f.stopped()
}

func (f *Fiber) stopped() error {
	if f.loop.closing {
		return ErrStopped
	}
	return nil
}

// maxSpins is how often in a row a fiber may find what it waits for already there before the others have a turn.
const maxSpins = 16

// passed ends a wait that did not have to wait.
func (f *Fiber) passed() error {
	if f.spins++; f.spins >= maxSpins {
		f.Yield()
	}
	return f.stopped()
}

// Sleep suspends f until the deadline or Wake.
func (f *Fiber) Sleep(deadline int64) error { return f.Wait(nil, 0, nil, 0, deadline) }

// Yield lets the others run and comes back in the next round.
func (f *Fiber) Yield() {
	f.loop.ready(f)
	f.yield(struct{}{})
}

// Await runs fn on an ordinary goroutine and suspends f until it has returned, whatever else happens meanwhile: fn
// must bound its own time. fn must not use lent buffers. A panic of fn is one of the fiber.
func (f *Fiber) Await(fn func()) {
	l, done := f.loop, false
	var failure any
	l.drv.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				failure = fmt.Sprintf("%v, awaited in\n%s", v, debug.Stack())
			}
			l.Post(func() { done = true; l.ready(f) })
		}()
		fn()
	})
	for !done {
		if !f.yield(struct{}{}) {
			return
		}
	}
	if failure != nil {
		panic(failure)
	}
}
