package sim

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
)

// poller is the driver of one simulated loop. The loop itself runs as a coroutine that gives way in Poll, so its turns
// interleave with everything else exactly there, and it sleeps as a real one does: until an event, a wake-up or a time.
type poller struct {
	w       *World
	id      int
	loop    *loop.Loop
	next    func() (struct{}, bool)
	yield   func(struct{}) bool
	pending []*End // with events that no poll has delivered yet, each once
	until   int64  // when Poll returns by itself
	woken   bool
	ended   bool
}

// Loop makes another loop of this world.
func (w *World) Loop() *loop.Loop {
	p := &poller{w: w, id: len(w.loops)}
	p.loop = loop.New(loop.Driver{Poller: p, Go: p.background, Now: w.Now, Rearm: w.mood.rearm}, w.log)
	p.next, _ = iter.Pull(func(yield func(struct{}) bool) {
		p.yield = yield
		p.loop.RunUntilStop()
		p.ended = true
	})
	w.loops = append(w.loops, p)
	return p.loop
}

func (p *poller) runnable() bool {
	return !p.ended && (p.woken || len(p.pending) > 0 || p.until <= p.w.now)
}

// turn runs the loop from its Poll to its next one.
func (p *poller) turn() {
	w := p.w
	w.note(kindTurn, p.id, len(p.pending))
	w.trace.counts.Turns++
	w.now += w.upTo(w.mood.turn)
	p.next()
}

// Poll implements loop.Poller.
func (p *poller) Poll(d time.Duration) int {
	w := p.w
	p.until = loop.Forever
	if d >= 0 {
		p.until = w.now + int64(d)
	}
	if !p.yield(struct{}{}) {
		panic("sim: a loop was abandoned")
	}
	p.woken = false
	return p.deliver()
}

// deliver reports the pending events in an order of its own. Some may miss this poll, as if they had come later.
func (p *poller) deliver() (n int) {
	w := p.w
	batch := p.pending
	p.pending = nil
	w.rng.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
	for _, e := range batch {
		e.queued = false
	}
	for _, e := range batch {
		if e.poller != p {
			continue // dropped while an earlier one of this batch was reported
		}
		if w.chance(w.mood.late) {
			e.enqueue()
			continue
		}
		ev := e.takeEvents()
		if ev == (events3{}) {
			continue
		}
		n++
		w.note(kindNotify, e.id, ev.bits())
		e.conn.Notify(ev.readable, ev.writable, ev.hangup)
	}
	return n
}

// Watch implements loop.Poller.
func (p *poller) Watch(c *loop.Conn, want loop.Event) error {
	e, ok := c.Socket().(*End)
	if !ok {
		return fmt.Errorf("sim: %T is not an end of this world", c.Socket())
	}
	if e.closed {
		return fmt.Errorf("sim: %s is closed", e.name)
	}
	e.conn, e.poller, e.step = c, p, nil
	e.want = want
	e.armed |= want
	// The kernel tells at once what is there already.
	if e.canRead() {
		e.edge(events3{readable: true, hangup: e.gone()})
	}
	if want&loop.Writable != 0 && e.canWrite() {
		e.edge(events3{writable: true})
	}
	return nil
}

// Drop implements loop.Poller.
func (p *poller) Drop(c *loop.Conn, keep bool) {
	e := c.Socket().(*End)
	if e.queued {
		e.queued = false
		p.pending = slices.DeleteFunc(p.pending, func(other *End) bool { return other == e })
	}
	e.conn, e.poller, e.edges, e.armed, e.want = nil, nil, events3{}, 0, 0
	if !keep {
		_ = e.Close()
	}
}

// Wake implements loop.Poller.
func (p *poller) Wake() {
	p.woken = true
	p.w.note(kindWake, p.id, 0)
}

// background runs the function of an Await or Offload: as one step, some time later.
func (p *poller) background(fn func()) {
	w := p.w
	w.trace.counts.Offloads++
	w.at(w.now+w.upTo(w.mood.offload), kindOffload, p.id, fn)
}
