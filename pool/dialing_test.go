package pool

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/loop"
)

// Without any connection nobody can be served before the next dial, so all who wait are told; the next who comes has
// the pool try again.
func TestDialFailureWithoutOtherConnections(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	p := r.pool(db, sized(3))
	db.set(func() { db.fail, db.hold = errDial, make(chan struct{}) })
	all := r.crowd(p, 5)
	close(db.hold)
	for _, c := range all {
		if err := c.failed(); !errors.Is(err, errDial) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	r.wantCounts(p, "c0 i0 b0 r0 w0")
	if p.Counters.DialFailures.Load() != p.Counters.Dials.Load() {
		t.Errorf("%d of %d dials failed", p.Counters.DialFailures.Load(), p.Counters.Dials.Load())
	}
	db.set(func() { db.fail, db.hold = nil, nil })
	for _, c := range all {
		c.ask()
	}
	for _, c := range all {
		c.got()
		c.release(Ready)
	}
	if !strings.Contains(r.log.String(), errDial.Error()) {
		t.Error("the log does not say why")
	}
}

// With other connections those who wait go on waiting: one of them will come free, and the janitor dials again.
func TestDialFailureWithOtherConnections(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, sized(3))
	a := r.client("a", 0, p).ask()
	a.got()
	db.set(func() { db.fail = errDial })
	b, c := r.client("b", 0, p).ask(), r.client("c", 0, p).ask()
	r.eventually("dials have failed", func() bool { return p.Counters.DialFailures.Load() >= 2 })
	b.stillWaits()
	c.stillWaits()
	a.release(Ready)
	b.got()
	c.stillWaits()
	before := db.get(&db.dials)
	r.tidy(0)
	r.eventually("the janitor has tried", func() bool { return db.get(&db.dials) > before && p.Stats(0).Connecting == 0 })
	c.stillWaits()
	db.set(func() { db.fail = nil })
	r.tidy(0)
	c.got()
	// The last connection breaks, and dials fail again: now nothing will come free.
	db.set(func() { db.fail = errDial })
	d := r.client("d", 0, p)
	b.release(Ready)
	d.ask().got()
	e, f := r.client("e", 0, p).ask(), r.client("f", 0, p).ask()
	c.release(Broken)
	e.stillWaits()
	d.release(Broken)
	e.failed()
	f.failed()
	r.wantCounts(p, "c0 i0 b0 r0 w0")
}

// A server that does not answer holds a dial until its time is over, and Close ends it before.
func TestConnectTimeout(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	db.hold = make(chan struct{}) // for ever
	p := r.pool(db, func(o *Options) { o.Config.ConnectTimeout = 20 * time.Millisecond })
	if err := r.client("a", 0, p).ask().failed(); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	endless := r.pool(db, func(o *Options) { o.Config.ConnectTimeout = 0 })
	b := r.client("b", 0, endless).ask()
	r.wantCounts(endless, "c1 i0 b0 r0 w1")
	r.set.Close()
	if err := b.failed(); err != errShutdown {
		t.Error(err)
	}
	r.wantCounts(endless, "c0 i0 b0 r0 w0")
}

// A dial that ends when the set is closed, or whose client has gone, loses nothing.
func TestDialEndsLate(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	db.hold = make(chan struct{})
	p := r.pool(db, sized(2))
	a := r.client("a", 0, p).ask()
	a.stopWaiting()
	close(db.hold)
	r.wantCounts(p, "c0 i1 b0 r0 w0") // kept for the next

	b, c := r.client("b", 0, p).ask(), r.client("c", 0, p)
	b.got()
	c.step(func(f *loop.Fiber) { // its dial ends, and before the loop looks at that the set is closed
		c.w = new(Waiter)
		p.Enqueue(c.w, f)
		r.eventually("the dial has ended", func() bool { return db.get(&db.open) == 2 })
		r.set.Close()
	})
	b.release(Ready)
	r.eventually("both are closed", func() bool { return db.get(&db.open) == 0 })
	r.wantCounts(p, "c0 i0 b0 r0 w0")
}

// What is not a socket of ours, or one that is gone, is a failed dial.
func TestDialerReturnsNonsense(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	here, there := net.Pipe()
	defer there.Close()
	defer here.Close()
	for name, conn := range map[string]net.Conn{"not of a loop": here, "without descriptor": loop.Wrap(here)} {
		p := r.pool(db, func(o *Options) {
			o.Dial = func(context.Context) (*dial.Server, error) { return &dial.Server{Conn: conn}, nil }
		})
		if err := r.client(name, 0, p).ask().failed(); err == nil {
			t.Error(name)
		}
		r.wantCounts(p, "c0 i0 b0 r0 w0")
	}
}
