package loop

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Forever is the deadline of a wait that has none.
const Forever = int64(1<<63 - 1)

// BufferSize is the length of the buffer a loop lends for one read: large enough that a result of usual size is one
// read and one write, small enough to stay in the second-level cache.
const BufferSize = 64 << 10

// maxFree bounds the fibers kept for the next request; each holds a small stack (about 4 kB).
const maxFree = 128

// Poller is what a driver offers a loop. Its methods are called on the loop's goroutine, but for Wake.
type Poller interface {
	// Watch asks for events of c. The first call registers c; later ones ask for want again once it was not ready.
	Watch(c *Conn, want Event) error
	// Drop forgets c. No event of c may be delivered afterwards, and its descriptor is closed by the poller when no
	// pending event can name it any more, unless keep.
	Drop(c *Conn, keep bool)
	// Poll waits at most d (negative: without limit), reports events by Conn.Notify, and returns how many there were.
	Poll(d time.Duration) int
	// Wake ends a Poll, now or the next one. Any goroutine may call it.
	Wake()
}

// Driver is a poller, how it starts background work, and whether its sockets must be watched anew after each
// would-block.
type Driver struct {
	Poller Poller
	Go     func(func()) // runs work that may block; its end is posted to the loop
	Now    func() int64 // monotonic nanoseconds
	Yield  func()       // if not nil, called at least every yieldEvery of a loop that does not rest
	Rearm  bool
}

// Loop owns connections, fibers and timers. All of it is used by one goroutine, the one in Run.
type Loop struct {
	drv    Driver
	log    *slog.Logger
	now    int64
	events int // of the last poll
	// A poll with more events than this was a busy one: the next looks before it sleeps. Sleeping costs two clock
	// readings, a flag and a system call that the scheduler watches, and is wasted where something is there already;
	// with one client nothing ever is (see the ADR on fibers).
	lookAbove  int
	yieldAt    int64
	runq       []*Fiber
	next       []*Fiber // the queue being filled while runq runs
	free       []*Fiber
	timers     timers
	buf        []byte
	out        []byte
	spills     [][]byte
	fibers     atomic.Int64 // lent now
	coroutines atomic.Int64 // lent or kept
	conns      atomic.Int64 // registered now
	busy       atomic.Int64 // nanoseconds spent outside Poll since the start
	turns      atomic.Int64
	slow       atomic.Int64 // turns longer than slowTurn
	closing    bool

	mu       sync.Mutex
	posted   []func()
	spare    []func()
	pending  atomic.Bool // posted is not empty
	sleeping atomic.Bool
}

// yieldEvery is how often a loop goes through the scheduler by itself. The scheduler's monitor takes a goroutine that
// was not seen there for 10 ms for one that computes: it signals the thread, moves the goroutine to another one, and
// looks again every 20 µs for a while. With one client that was a tenth of the CPU, and a move to another core at
// every third wake-up.
const yieldEvery = int64(8 * time.Millisecond)

// slowTurn is how long one turn may keep the others waiting before it is counted and logged.
const slowTurn = int64(10 * time.Millisecond)

// New makes a loop over drv. log receives panics of fibers and slow turns.
func New(drv Driver, log *slog.Logger) *Loop {
	return &Loop{
		drv: drv, log: log, now: drv.Now(), lookAbove: 1,
		buf: make([]byte, BufferSize), out: make([]byte, 0, BufferSize),
	}
}

// Now is the time of the current turn in monotonic nanoseconds. Virtual in the simulator.
func (l *Loop) Now() int64 { return l.now }

// Clock is the time now, on the clock of Now. Any goroutine may ask.
func (l *Loop) Clock() int64 { return l.drv.Now() }

// After is Now plus d, or Forever where d is not positive.
func (l *Loop) After(d time.Duration) int64 {
	if d <= 0 {
		return Forever
	}
	return l.now + int64(d)
}

// Buffer is the loop's read buffer, BufferSize bytes. It is lent until the caller's fiber next waits.
func (l *Loop) Buffer() []byte { return l.buf }

// Scratch is an empty slice with the loop's second buffer behind it, lent until the caller's fiber next waits. A
// caller that made it grow gives it back by KeepScratch, or loses the growth.
func (l *Loop) Scratch() []byte { return l.out[:0] }

// KeepScratch returns a scratch buffer that may have grown. One that grew very large is dropped.
func (l *Loop) KeepScratch(b []byte) {
	if cap(b) <= 4*BufferSize {
		l.out = b[:0]
	}
}

// Post runs fn on the loop, outside any fiber: fn must not wait. Any goroutine may call it, also fn itself.
func (l *Loop) Post(fn func()) {
	l.mu.Lock()
	l.posted = append(l.posted, fn)
	l.mu.Unlock()
	l.pending.Store(true)
	if l.sleeping.Load() && !plantedLostWake {
		l.drv.Poller.Wake()
	}
}

// Run turns the loop until ctx ends and every fiber that was running then has returned. Connections still registered
// belong to their owners; what is left is closed with the driver.
func (l *Loop) Run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { l.Post(l.Stop) })
	defer stop()
	l.RunUntilStop()
}

// RunUntilStop is Run without a context: it ends some time after Stop.
func (l *Loop) RunUntilStop() {
	for !l.ended() || l.pending.Load() {
		l.Turn(-1)
	}
	for _, f := range l.free {
		f.stop()
	}
	l.free = nil
}

// ended reports whether nothing runs any more on a loop that closes.
func (l *Loop) ended() bool { return l.closing && l.fibers.Load() == 0 }

// Stop begins the end: every wait returns ErrStopped, now and from now on. Loop goroutine only; others post it.
func (l *Loop) Stop() {
	l.closing = true
	l.wakeAll()
}

// Turn does one round: posted work, ready fibers, then one poll that waits at most d (negative: until something
// happens), then the timers that are due.
func (l *Loop) Turn(d time.Duration) {
	l.runPosted()
	l.runFibers()
	if l.now >= l.yieldAt && l.drv.Yield != nil {
		l.yieldAt = l.now + yieldEvery
		l.drv.Yield()
	}
	switch {
	case len(l.next) > 0 || l.pending.Load() || l.ended():
		l.look()
	case d == 0 || l.events > l.lookAbove:
		if l.look() == 0 && d != 0 {
			l.sleep(d)
		}
	default:
		l.sleep(d)
	}
	l.turns.Add(1)
	for {
		t := l.timers.due(l.now)
		if t == nil {
			return
		}
		t.fire()
	}
}

// look polls without a wait.
func (l *Loop) look() int {
	start := l.now
	l.events = l.drv.Poller.Poll(0)
	l.now = l.drv.Now()
	l.account(l.now - start)
	return l.events
}

// sleep polls until an event, a Post, the next timer, or for d. The flag is set before the queue is looked at again,
// so a Post in between either sees the flag and wakes us, or is seen here.
func (l *Loop) sleep(d time.Duration) {
	now := l.drv.Now()
	l.account(now - l.now)
	if at := l.timers.next(); at != Forever {
		if left := time.Duration(max(at-now, 0)); d < 0 || left < d {
			d = left
		}
	}
	l.sleeping.Store(true)
	if l.pending.Load() {
		d = 0
	}
	l.events = l.drv.Poller.Poll(d)
	l.sleeping.Store(false)
	l.now = l.drv.Now()
}

func (l *Loop) account(spent int64) {
	l.busy.Add(spent)
	if spent > slowTurn {
		l.slow.Add(1)
	}
}

func (l *Loop) runPosted() {
	if !l.pending.Load() {
		return
	}
	l.mu.Lock()
	fns := l.posted
	l.posted = l.spare[:0]
	l.pending.Store(false)
	l.mu.Unlock()
	for i, fn := range fns {
		fn()
		fns[i] = nil
	}
	l.spare = fns
}

func (l *Loop) runFibers() {
	l.runq, l.next = l.next, l.runq[:0]
	for _, f := range l.runq {
		f.resume()
	}
}

// ready queues f to run in the next round.
func (l *Loop) ready(f *Fiber) {
	if f.queued {
		return
	}
	f.queued = true
	l.next = append(l.next, f)
}

// Closing reports whether the loop is on its way out: waits return at once, and what runs must end.
func (l *Loop) Closing() bool { return l.closing }

func (l *Loop) wakeAll() {
	for f := l.timers.fibers; f != nil; f = f.nextLive {
		f.Wake()
	}
}

// Stats is a snapshot of a loop's counters. Any goroutine may ask.
type Stats struct {
	Conns      int64         // registered connections
	Fibers     int64         // fibers lent to a request now
	Coroutines int64         // goroutines behind them and behind those kept for the next request
	Turns      int64         // rounds since the start
	Slow       int64         // rounds longer than 10 ms
	Busy       time.Duration // time outside the poller since the start
}

// Stats returns the loop's counters.
func (l *Loop) Stats() Stats {
	return Stats{
		Conns: l.conns.Load(), Fibers: l.fibers.Load(), Coroutines: l.coroutines.Load(), Turns: l.turns.Load(), Slow: l.slow.Load(),
		Busy: time.Duration(l.busy.Load()),
	}
}

func (l *Loop) panicked(v any) {
	l.log.Error("fiber panicked; its session ends", "panic", v, "stack", string(debug.Stack()))
}

// takeSpill lends an empty buffer for bytes that a peer does not take yet.
func (l *Loop) takeSpill() []byte {
	if n := len(l.spills); n > 0 {
		b := l.spills[n-1]
		l.spills = l.spills[:n-1]
		return b
	}
	return make([]byte, 0, 16<<10)
}

func (l *Loop) keepSpill(b []byte) {
	if cap(b) <= 4*BufferSize && len(l.spills) < 16 {
		l.spills = append(l.spills, b[:0])
	}
}

// Offload runs fn on an ordinary goroutine and then done on the loop, outside any fiber. Loop goroutine only.
func (l *Loop) Offload(fn, done func()) {
	l.drv.Go(func() {
		defer l.Post(done)
		fn()
	})
}
