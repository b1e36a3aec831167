package pool

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
)

// older makes the first waiter of p look as if it had waited for d longer.
func (r *rig) older(p *Pool, d time.Duration) {
	r.set.mu.Lock()
	defer r.set.mu.Unlock()
	p.waiters.head.since -= int64(d)
}

// crowd is n clients that ask, over all loops.
func (r *rig) crowd(p *Pool, n int) []*client {
	r.t.Helper()
	all := make([]*client, n)
	for i := range all {
		all[i] = r.client(fmt.Sprint(p.Name(), " ", i), i%len(r.g.Loops()), p).ask()
	}
	return all
}

func TestSizeIsTheMost(t *testing.T) {
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d loops", loops), func(t *testing.T) {
			r, db := newRig(t, loops), newFakeDB(t)
			p := r.pool(db, sized(3))
			all := r.crowd(p, 8)
			for _, c := range all[:3] {
				c.got()
			}
			r.tidy(0)
			r.settle()
			r.wantCounts(p, "c0 i0 b3 r0 w5")
			if db.get(&db.dials) != 3 {
				t.Errorf("%d dials", db.dials)
			}
			for i, c := range all {
				c.got()
				c.release([]Clean{Ready, Rollback, Reset, Broken}[i%4])
			}
			r.eventually("nothing is under way", func() bool {
				s := p.Stats(0)
				return s.Connecting+s.Busy+s.Resetting+s.Waiting == 0
			})
		})
	}
}

// Dials that fail or wait do not pile up, however many clients wait.
func TestDialsAreBounded(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	db.hold = make(chan struct{})
	p := r.pool(db, sized(20))
	all := r.crowd(p, 12)
	r.wantCounts(p, fmt.Sprintf("c%d i0 b0 r0 w12", maxDials))
	r.tidy(0)
	close(db.hold)
	for _, c := range all {
		c.got()
	}
	if db.get(&db.most) > maxDials {
		t.Errorf("%d dials at once", db.most)
	}
	for _, c := range all {
		c.release(Ready)
	}
}

// The janitor fills a pool to its minimum before anybody comes, keeps it there, and leaves it alone otherwise.
func TestMinimum(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, func(o *Options) { o.Config.Size, o.Config.MinSize = 8, 6 })
	none := r.pool(db, nil)
	for range 3 { // maxDials at a time
		r.tidy(0)
		r.eventually("dials have ended", func() bool { return p.Stats(0).Connecting == 0 })
	}
	r.wantCounts(p, "c0 i6 b0 r0 w0")
	r.wantCounts(none, "c0 i0 b0 r0 w0")
	if len(p.Params()) == 0 {
		t.Error("nothing is known of the server")
	}
	lost := r.client("lost", 0, p).ask()
	lost.got()
	lost.release(Broken)
	r.wantCounts(p, "c0 i5 b0 r0 w0")
	r.tidy(0)
	r.wantCounts(p, "c0 i6 b0 r0 w0")
	r.tidy(0)
	r.settle()
	if db.get(&db.dials) != 7 {
		t.Errorf("%d dials", db.dials)
	}
}

// The reserve is touched when somebody has waited long, and only then.
func TestReserve(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, func(o *Options) { o.Config.Size, o.Config.Reserve, o.Config.ReserveAfter = 1, 2, time.Hour })
	all := r.crowd(p, 5)
	all[0].got()
	r.tidy(0)
	r.settle()
	r.wantCounts(p, "c0 i0 b1 r0 w4")
	r.older(p, time.Hour)
	r.tidy(0)
	all[1].got()
	all[2].got() // it has not waited that long, but the pool is short of connections
	r.older(p, time.Hour)
	r.tidy(0)
	r.settle()
	r.wantCounts(p, "c0 i0 b3 r0 w2") // size and reserve
	for _, c := range all {
		c.got()
		c.release(Ready)
	}
	r.wantCounts(p, "c0 i3 b0 r0 w0")
}

// A maximum over several pools: the idle connections of others make room, the longest idle first, busy ones do not,
// and neither do those of a pool where clients wait.
func TestSharedMaximum(t *testing.T) {
	for name, of := range map[string]func(o *Options, l *Limit){
		"database": func(o *Options, l *Limit) { o.ByDatabase = l },
		"user":     func(o *Options, l *Limit) { o.ByUser = l },
	} {
		t.Run(name, func(t *testing.T) {
			r, db := newRig(t, 2), newFakeDB(t)
			limit := &Limit{Max: 3}
			var pools []*Pool
			for _, user := range []string{"a", "b", "c"} {
				pools = append(pools, r.pool(db, func(o *Options) { o.User = user; of(o, limit) }))
			}
			free := r.pool(db, func(o *Options) { o.User = "free" })
			a, b := r.client("a", 0, pools[0]).ask(), r.client("b", 1, pools[1]).ask()
			old, young := a.got(), b.got()
			b2 := r.client("b2", 0, pools[1]).ask()
			b2.got()
			a.release(Ready)
			b.release(Ready)
			r.set.mu.Lock()
			old.idleSince, young.idleSince = 1, 2
			r.set.mu.Unlock()

			c := r.client("c", 0, pools[2]).ask()
			c.got()
			r.wantCounts(pools[0], "c0 i0 b0 r0 w0") // its connection was the oldest
			r.wantCounts(pools[1], "c0 i1 b1 r0 w0")
			c2 := r.client("c2", 1, pools[2]).ask()
			c2.got()
			r.wantCounts(pools[1], "c0 i0 b1 r0 w0")
			a.ask()
			r.tidy(0)
			a.stillWaits() // all are busy
			r.client("free", 0, free).ask().got()

			c2.release(Ready) // the janitor sees that there is one to make room
			r.tidy(0)
			a.got()
			r.wantCounts(pools[2], "c0 i0 b1 r0 w0")
			if limit.used != 3 {
				t.Errorf("%d in use", limit.used)
			}
			r.eventually("evicted ones are closed", func() bool { return db.get(&db.open) == 4 })
		})
	}
}

// Both maxima at once: the eviction for one of them must not be in vain because of the other, and none may be exceeded.
func TestBothMaxima(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	byDatabase, byUser := &Limit{Max: 2}, &Limit{Max: 1}
	mine := r.pool(db, func(o *Options) { o.ByDatabase, o.ByUser = byDatabase, byUser })
	other := r.pool(db, func(o *Options) { o.User = "other"; o.ByDatabase = byDatabase })
	elsewhere := r.pool(db, func(o *Options) { o.Database = "elsewhere"; o.ByUser = byUser })
	a := r.client("a", 0, other).ask()
	b := r.client("b", 0, other).ask()
	a.got()
	b.got()
	a.release(Ready)
	b.release(Ready)
	busy := r.client("busy", 0, elsewhere).ask()
	busy.got()
	c := r.client("c", 0, mine).ask()
	c.stillWaits() // the user's only connection is in use elsewhere
	busy.release(Ready)
	r.tidy(0)
	c.got()
	r.wantCounts(elsewhere, "c0 i0 b0 r0 w0")
	c.release(Ready)
}

// Filling a pool to its minimum is no reason to take connections from others, or from itself.
func TestMinimumDoesNotEvict(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	limit := &Limit{Max: 3}
	least := func(user string) func(*Options) {
		return func(o *Options) { o.User, o.ByDatabase, o.Config.MinSize = user, limit, 2 }
	}
	a, b := r.pool(db, least("a")), r.pool(db, least("b"))
	for range 5 {
		r.tidy(0)
		r.eventually("dials have ended", func() bool { return a.Stats(0).Connecting+b.Stats(0).Connecting == 0 })
	}
	r.wantCounts(a, "c0 i2 b0 r0 w0")
	r.wantCounts(b, "c0 i1 b0 r0 w0")
	if db.get(&db.dials) != 3 {
		t.Errorf("%d dials for 3 connections", db.dials)
	}
}

// A dial that fails gives back what it had taken of the limits.
func TestFailedDialsFreeTheLimits(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	limit := &Limit{Max: 1}
	p := r.pool(db, func(o *Options) { o.ByDatabase, o.ByUser = limit, limit })
	limit.Max = 2 // one connection counts twice: it is both limits
	db.set(func() { db.fail = errDial })
	for range 3 {
		if err := r.client("x", 0, p).ask().failed(); !errors.Is(err, errDial) {
			t.Error(err)
		}
	}
	r.do(0, func(*loop.Loop) {
		if limit.used != 0 {
			t.Errorf("%d in use", limit.used)
		}
	})
	db.set(func() { db.fail = nil })
	c := r.client("y", 0, p).ask()
	c.got()
	c.release(Broken)
	r.do(0, func(*loop.Loop) {
		if limit.used != 0 {
			t.Errorf("%d in use", limit.used)
		}
	})
}
