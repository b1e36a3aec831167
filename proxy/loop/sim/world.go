package sim

import (
	"container/heap"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
)

// ErrStuck is what Run returns when nothing can happen any more, or nothing did for too long, and the test still waits.
var ErrStuck = errors.New("stuck")

// World is one simulation. It belongs to one goroutine.
type World struct {
	seed  uint64
	now   int64
	rng   *rand.Rand // the scheduler's and the network's
	user  *rand.Rand // the test's, so that its draws do not depend on the schedule
	mood  mood
	loops []*poller
	ends  []*End
	later events  // by time
	due   []event // at or before now, in no order
	seq   uint64
	trace trace
	log   *slog.Logger
}

// New makes the world of a seed. log receives what the loops log.
func New(seed uint64, log *slog.Logger) *World {
	w := &World{
		seed: seed, log: log,
		rng:  rand.New(rand.NewPCG(seed, 0x736368656475)),
		user: rand.New(rand.NewPCG(seed, 0x75736572)),
	}
	w.mood = newMood(w.rng)
	return w
}

// mood is how this world treats its connections. Each seed has its own, because a world in which everything is a
// little unlikely never sees two unlikely things at once.
type mood struct {
	delay   int64   // the longest ordinary delay of a delivery, in nanoseconds
	slow    float64 // chance of a delay a hundred times as long
	split   float64 // chance that a write arrives in pieces
	window  int     // bytes a direction holds before its writer is blocked
	balk    float64 // chance that a write is taken in part although there is room
	rumour  float64 // chance of a readable event with nothing to read
	late    float64 // chance that an event misses a poll and comes with the next
	rearm   bool    // events must be asked for again, as on systems without epoll
	turn    int64   // the longest time a turn of a loop takes
	offload int64   // the longest time background work takes
}

func newMood(r *rand.Rand) mood {
	pick := func(values ...float64) float64 { return values[r.IntN(len(values))] }
	return mood{
		delay: int64(pick(0, 1e3, 50e3, 1e6)), slow: pick(0, 0.01, 0.1),
		split: pick(0, 0.1, 0.5, 1), window: int(pick(40, 300, 5000, 1<<16)), balk: pick(0, 0.1, 0.5),
		rumour: pick(0, 0.05, 0.3), late: pick(0, 0.2), rearm: r.IntN(4) == 0,
		turn: int64(pick(200, 2e3, 100e3)), offload: int64(pick(1, 100e3, 20e6)),
	}
}

// Seed is what New was given.
func (w *World) Seed() uint64 { return w.seed }

// Now is the virtual time in nanoseconds.
func (w *World) Now() int64 { return w.now }

// Rand is the test's own source of randomness.
func (w *World) Rand() *rand.Rand { return w.user }

// After has fn run as a step of its own once d has passed. id tells it from others in the trace.
func (w *World) After(d time.Duration, id int, fn func()) {
	w.at(w.now+int64(d), kindStep, id, fn)
}

// event is a step that is due at a time.
type event struct {
	at   int64
	seq  uint64
	kind kind
	id   int
	fn   func()
}

func (w *World) at(at int64, k kind, id int, fn func()) {
	w.seq++
	heap.Push(&w.later, event{at, w.seq, k, id, fn})
}

// events is a heap by time, then by order of creation.
type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	ev := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return ev
}

// maxSteps is how many steps one Run may take: a test that needs more spins.
const maxSteps = 5_000_000

// Run takes steps until done. It fails when there are none left, or when more than d of virtual time have passed.
func (w *World) Run(d time.Duration, done func() bool) error {
	end, last := w.now+int64(d), w.trace.total+maxSteps
	for !done() {
		switch {
		case w.now > end || w.trace.total > last:
			return w.stuck(fmt.Sprintf("not done after %v of virtual time and %d steps", time.Duration(w.now), w.trace.total))
		case !w.Step():
			return w.stuck("nothing can happen any more")
		}
	}
	return nil
}

func (w *World) stuck(why string) error {
	return fmt.Errorf("seed %d: %w: %s\n%s", w.seed, ErrStuck, why, w.Trace())
}

// Step does one of the things that can happen now; if there is none it moves the clock first. It reports false when
// nothing will ever happen.
func (w *World) Step() bool {
	for {
		for len(w.later) > 0 && w.later[0].at <= w.now {
			w.due = append(w.due, heap.Pop(&w.later).(event))
		}
		ready := 0
		for _, p := range w.loops {
			if p.runnable() {
				ready++
			}
		}
		if n := ready + len(w.due); n > 0 {
			w.take(w.rng.IntN(n))
			return true
		}
		if !w.advance() {
			return false
		}
	}
}

// take does the i-th of the things that can happen: first the due events, then the loops.
func (w *World) take(i int) {
	if i < len(w.due) {
		ev, last := w.due[i], len(w.due)-1
		w.due[i], w.due[last] = w.due[last], event{}
		w.due = w.due[:last]
		w.note(ev.kind, ev.id, 0)
		ev.fn()
		return
	}
	i -= len(w.due)
	for _, p := range w.loops {
		if !p.runnable() {
			continue
		}
		if i == 0 {
			p.turn()
			return
		}
		i--
	}
}

// advance moves the clock to the next thing that will happen.
func (w *World) advance() bool {
	next := loop.Forever
	if len(w.later) > 0 {
		next = w.later[0].at
	}
	for _, p := range w.loops {
		if !p.ended {
			next = min(next, p.until)
		}
	}
	if next == loop.Forever {
		return false
	}
	w.now = max(next, w.now)
	return true
}

// Close ends the loops and every connection, and reports what does not end. A World that is not closed keeps its
// coroutines.
func (w *World) Close() error {
	for _, p := range w.loops {
		p.loop.Post(p.loop.Stop)
		p.woken = true // whatever else is broken, this must arrive
	}
	const enough = 100_000 // turns; fibers end at their next wait
	for range enough {
		if w.ended() {
			break
		}
		w.Step()
	}
	for _, e := range w.ends {
		_ = e.Close()
	}
	if !w.ended() {
		return fmt.Errorf("seed %d: %w: a loop does not end", w.seed, ErrStuck)
	}
	return nil
}

func (w *World) ended() bool {
	for _, p := range w.loops {
		if !p.ended {
			return false
		}
	}
	return true
}

func (w *World) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// between draws a duration up to most.
func (w *World) upTo(most int64) int64 {
	if most <= 0 {
		return 0
	}
	return w.rng.Int64N(most + 1)
}
