package pool

import (
	"fmt"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
)

// idle makes n idle connections and returns them, the longest idle first.
func (r *rig) idle(p *Pool, n int) []*Conn {
	r.t.Helper()
	all := r.crowd(p, n)
	conns := make([]*Conn, n)
	for i, c := range all {
		conns[i] = c.got()
	}
	for _, c := range all {
		c.release(Ready)
	}
	return conns
}

// age moves a time of c into the past.
func (r *rig) age(at *int64, d time.Duration) {
	r.set.mu.Lock()
	defer r.set.mu.Unlock()
	*at -= int64(d)
}

func (r *rig) stateOf(c *Conn) State {
	r.set.mu.Lock()
	defer r.set.mu.Unlock()
	return c.state
}

// The surplus that nobody has asked for is closed, down to the minimum.
func TestIdleTime(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	p := r.pool(db, func(o *Options) { o.Config.IdleTimeout, o.Config.MinSize, o.Config.Size = time.Hour, 2, 5 })
	never := r.pool(db, func(o *Options) { o.User, o.Config.IdleTimeout, o.Config.Size = "never", 0, 1 })
	conns, kept := r.idle(p, 5), r.idle(never, 1)
	r.tidy(0)
	r.wantCounts(p, "c0 i5 b0 r0 w0")
	r.age(&conns[0].idleSince, 59*time.Minute)
	r.age(&conns[1].idleSince, time.Hour)
	r.age(&kept[0].idleSince, 1000*time.Hour)
	r.tidy(1)
	r.wantCounts(p, "c0 i4 b0 r0 w0")
	r.wantCounts(never, "c0 i1 b0 r0 w0")
	if r.stateOf(conns[1]) != Closed {
		t.Error("another one was closed")
	}
	for _, c := range []*Conn{conns[0], conns[2], conns[3], conns[4]} {
		r.age(&c.idleSince, time.Hour)
	}
	r.tidy(0)
	r.wantCounts(p, "c0 i2 b0 r0 w0")
	r.eventually("their sockets are closed", func() bool { return db.get(&db.open) == 3 })
}

// At the end of its life an idle connection is closed at the next tick, a busy one when it is released, and a waiter
// gets a new one then.
func TestLifetime(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, func(o *Options) { o.Config.Size = 2 })
	conns := r.idle(p, 2)
	r.age(&conns[0].expires, 2*time.Hour)
	r.tidy(0)
	r.wantCounts(p, "c0 i1 b0 r0 w0")
	a := r.client("a", 0, p).ask()
	if a.got() != conns[1] {
		t.Error("the expired one was lent")
	}
	b := r.client("b", 0, p).ask()
	b.got()
	c := r.client("c", 0, p).ask()
	r.age(&conns[1].expires, 2*time.Hour)
	r.tidy(0)
	c.stillWaits() // a works on
	a.release(Ready)
	if got := c.got(); got == conns[1] {
		t.Error("an expired connection was lent again")
	}
	b.release(Ready)
	c.release(Rollback)
	r.wantCounts(p, "c0 i2 b0 r0 w0")
	r.eventually("two are open", func() bool { return db.get(&db.open) == 2 })
}

// An expired one whose reset takes it back is not lent either.
func TestLifetimeEndsInReset(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, sized(1))
	a := r.client("a", 0, p).ask()
	conn := a.got()
	b := r.client("b", 0, p).ask()
	r.age(&conn.expires, 2*time.Hour)
	a.release(Reset)
	if b.got() == conn {
		t.Error("an expired connection was lent again")
	}
	b.release(Ready)
}

// Connections made together end at different times, by up to a tenth of their life and never later than it.
func TestLifetimeIsJittered(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, func(o *Options) { o.Config.Size = 40 })
	endless := r.pool(db, func(o *Options) { o.Config.Lifetime = 0 })
	seen := map[int64]bool{}
	for _, c := range r.idle(p, 40) {
		life := time.Duration(c.expires - c.born)
		if life > time.Hour || life < 54*time.Minute {
			t.Errorf("a life of %s", life)
		}
		seen[c.expires-c.born] = true
	}
	if len(seen) < 35 {
		t.Errorf("%d different lives of 40", len(seen))
	}
	if c := r.idle(endless, 1)[0]; c.expires != loop.Forever {
		t.Error("a life without limit ends")
	}
}

// The janitor itself ticks until the set is closed.
func TestJanitorTicks(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, func(o *Options) { o.Config.MinSize = 1; o.Config.IdleTimeout = time.Millisecond })
	r.do(0, func(l *loop.Loop) { r.set.StartJanitor(l) })
	r.wantCounts(p, "c0 i1 b0 r0 w0") // at once
	first := r.idle(p, 3)
	r.wantCounts(p, "c0 i1 b0 r0 w0") // after a second
	for _, c := range first[:2] {
		if r.stateOf(c) != Closed {
			t.Error("not the longest idle were closed")
		}
	}
}

// Every way in which an idle connection ends drops what it held of the statements' texts.
func TestClosedConnectionsHoldNoTexts(t *testing.T) {
	for name, end := range map[string]func(r *rig, p *Pool, c *Conn){
		"idle time": func(r *rig, _ *Pool, c *Conn) { r.age(&c.idleSince, 2*time.Hour); r.tidy(0) },
		"lifetime":  func(r *rig, _ *Pool, c *Conn) { r.age(&c.expires, 2*time.Hour); r.tidy(1) },
		"shutdown":  func(r *rig, _ *Pool, _ *Conn) { r.set.Close() },
		"eviction": func(r *rig, p *Pool, _ *Conn) {
			r.set.mu.Lock()
			l := p.limits[0]
			r.set.mu.Unlock()
			other := r.pool(newFakeDB(r.t), func(o *Options) { o.User, o.ByDatabase = "other", l })
			r.client("other", 1, other).ask().got()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, db := newRig(t, 2), newFakeDB(t)
			p := r.pool(db, func(o *Options) { o.ByDatabase = &Limit{Max: 1} })
			var texts Texts
			a := r.client("a", 0, p).ask()
			c := a.got()
			a.step(func(*loop.Fiber) {
				for i := range 5 {
					s := texts.Intern([]byte(fmt.Sprint("SELECT ", i)), []byte{0, 0})
					c.Statements.Add(&texts, s)
					texts.Drop(s)
				}
			})
			if texts.Len() != 5 {
				t.Fatalf("%d texts", texts.Len())
			}
			a.release(Ready)
			end(r, p, c)
			r.eventually("the texts are forgotten", func() bool { return texts.Len() == 0 })
			r.eventually("the connection is closed", func() bool { return db.get(&db.open) == 0 })
		})
	}
}
