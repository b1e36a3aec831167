package pool

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
)

// change is a pool's configuration with something else in it.
func change(p *Pool, edit func(*Config)) Config {
	cfg := *p.Config()
	edit(&cfg)
	return cfg
}

func TestABiggerPoolDialsForThoseWhoWait(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	p := r.pool(db, sized(1))
	all := r.crowd(p, 3)
	first := all[0].got()
	all[1].stillWaits()
	p.Reconfigure(change(p, func(c *Config) { c.Size = 3 }))
	all[1].got()
	all[2].got()
	if all[0].has() != first || p.Config().Size != 3 {
		t.Error("the connection in use was changed, or the size was not")
	}
	p.Reconfigure(change(p, func(c *Config) { c.MinSize = 3; c.IdleTimeout = 0 }))
	for _, c := range all {
		c.release(Ready)
	}
	r.wantCounts(p, "c0 i3 b0 r0 w0")
	if n := db.get(&db.dials); n != 3 {
		t.Errorf("%d dials", n)
	}
}

// Idle connections beyond a smaller size end at once, those in use when they are released, whoever waits.
func TestASmallerPoolClosesItsSurplus(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	r.shrunk = true
	p := r.pool(db, sized(6))
	all := r.crowd(p, 6)
	for _, c := range all {
		c.got()
	}
	all[0].release(Ready)
	all[1].release(Ready)
	r.wantCounts(p, "c0 i2 b4 r0 w0")
	p.Reconfigure(change(p, func(c *Config) { c.Size = 2 }))
	r.wantCounts(p, "c0 i0 b4 r0 w0")
	all[0].ask()
	all[2].release(Ready)
	all[3].release(Rollback)
	r.wantCounts(p, "c0 i0 b2 r0 w1")
	all[0].stillWaits()
	all[4].release(Ready)
	all[0].got()
	all[5].release(Ready)
	all[0].release(Ready)
	r.wantCounts(p, "c0 i2 b0 r0 w0")
	r.eventually("the others are closed", func() bool { return db.get(&db.open) == 2 })
}

func TestAnotherLifetimeHoldsForConnectionsThere(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, func(o *Options) { o.Config.Lifetime = 0 })
	a, b := r.client("a", 0, p).ask(), r.client("b", 0, p).ask()
	a.got()
	b.got()
	b.release(Ready)
	r.tidy(0)
	r.wantCounts(p, "c0 i1 b1 r0 w0")
	p.Reconfigure(change(p, func(c *Config) { c.Lifetime = time.Nanosecond }))
	r.wantCounts(p, "c0 i0 b1 r0 w0")
	p.Reconfigure(change(p, func(c *Config) { c.Lifetime = time.Hour }))
	a.release(Ready)
	r.wantCounts(p, "c0 i1 b0 r0 w0")
}

// The mode is the pool's for life: clients rely on the one they logged in with.
func TestTheModeStays(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, nil)
	p.Reconfigure(change(p, func(c *Config) { c.Mode = SessionMode }))
	if p.Config().Mode != TransactionMode {
		t.Error(p.Config().Mode)
	}
}

// Connections to the old server are used up: none is lent again, and cancel requests for them still go there.
func TestRedirect(t *testing.T) {
	r, old, fresh := newRig(t, 2), newFakeDB(t), newFakeDB(t)
	p := r.pool(old, sized(3))
	a, b := r.client("a", 0, p).ask(), r.client("b", 1, p).ask()
	held := a.got()
	b.got()
	b.release(Ready)
	r.wantCounts(p, "c0 i1 b1 r0 w0")
	p.Redirect(fresh.dial, fresh.cancel)
	r.wantCounts(p, "c0 i0 b1 r0 w0")
	if p.Params() != nil {
		t.Error("the old server's parameters are told on")
	}
	b.ask().got()
	if fresh.get(&fresh.dials) != 1 {
		t.Error("the new server was not dialled")
	}
	a.step(func(f *loop.Fiber) { held.Cancel(f.Loop(), r.set.log, func() {}) })
	r.eventually("the old server is told", func() bool { return old.get(&old.cancels) == 1 })
	if fresh.get(&fresh.cancels) != 0 {
		t.Error("the new server is told")
	}
	a.release(Ready)
	r.eventually("nothing is left of the old", func() bool { return old.get(&old.open) == 0 })
	b.release(Ready)
	r.wantCounts(p, "c0 i1 b0 r0 w0")
	a.ask().got()
	if old.get(&old.dials) != 2 || fresh.get(&fresh.dials) != 1 {
		t.Errorf("%d and %d dials", old.dials, fresh.dials)
	}
}

// A dial that was under way when the pool was redirected gives nobody a connection, nor an error.
func TestRedirectDuringADial(t *testing.T) {
	for name, failure := range map[string]error{"good": nil, "failed": errors.New("gone")} {
		t.Run(name, func(t *testing.T) {
			r, old, fresh := newRig(t, 1), newFakeDB(t), newFakeDB(t)
			old.hold = make(chan struct{})
			p := r.pool(old, sized(1))
			c := r.client("c", 0, p).ask()
			r.wantCounts(p, "c1 i0 b0 r0 w1")
			p.Redirect(fresh.dial, fresh.cancel)
			old.set(func() { old.fail = failure })
			close(old.hold)
			c.got()
			if fresh.get(&fresh.dials) != 1 {
				t.Error("it got the old server's")
			}
			r.eventually("the old one is closed", func() bool { return old.get(&old.open) == 0 })
		})
	}
}

func TestReconnect(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, nil)
	a, b := r.client("a", 0, p).ask(), r.client("b", 0, p).ask()
	one := a.got()
	b.got()
	b.release(Ready)
	p.Reconnect()
	r.wantCounts(p, "c0 i0 b1 r0 w0")
	a.release(Ready)
	r.wantCounts(p, "c0 i0 b0 r0 w0")
	if a.ask().got() == one {
		t.Error("an old connection is lent")
	}
	if p.Params() == nil {
		t.Error("the same server's parameters are forgotten")
	}
}

// The clients of a retired pool are served to the end, and nothing is kept for others.
func TestRetire(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, func(o *Options) { o.Config.Size, o.Config.MinSize = 2, 2 })
	all := r.crowd(p, 4)
	all[0].got()
	all[1].got()
	p.Retire()
	all[0].release(Ready)
	all[2].got()
	all[1].release(Ready)
	all[3].got()
	all[2].release(Ready)
	all[3].release(Reset)
	r.wantCounts(p, "c0 i0 b0 r0 w0")
	r.tidy(0)
	r.settle()
	r.wantCounts(p, "c0 i0 b0 r0 w0")
	all[0].ask().got() // one that had not left yet
	p.Close()
	if len(r.set.Pools()) != 1 {
		t.Error("the pool was forgotten with a connection in use")
	}
	all[0].release(Ready)
	r.set.mu.Lock()
	r.set.dropDeserted()
	r.set.mu.Unlock()
	if len(r.set.Pools()) != 0 {
		t.Error("the pool is still there")
	}
}

func TestCloseOfAnIdlePool(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p, other := r.pool(db, nil), r.pool(db, nil)
	c := r.client("c", 0, p).ask()
	c.got()
	c.release(Ready)
	p.Close()
	if all := r.set.Pools(); len(all) != 1 || all[0] != other {
		t.Error(all)
	}
	r.eventually("its connection is closed", func() bool { return db.get(&db.open) == 0 })
}

// A shared limit that is lowered closes idle connections first, then those released; raised, it lets others dial.
func TestSetMax(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	r.shrunk = true
	shared := &Limit{}
	one := r.pool(db, func(o *Options) { o.ByDatabase = shared })
	two := r.pool(db, func(o *Options) { o.ByDatabase, o.User = shared, "v" })
	a, b := r.crowd(one, 3), r.crowd(two, 3)
	for _, c := range append(a, b...) {
		c.got()
	}
	a[0].release(Ready)
	r.wantCounts(one, "c0 i1 b2 r0 w0")
	r.set.SetMax(shared, 3)
	r.wantCounts(one, "c0 i0 b2 r0 w0")
	a[1].release(Ready)
	b[0].release(Ready)
	r.wantCounts(one, "c0 i0 b1 r0 w0")
	r.wantCounts(two, "c0 i0 b2 r0 w0")
	b[0].ask()
	b[0].stillWaits()
	r.set.SetMax(shared, 0)
	b[0].got()
	r.shrunk = false
	r.check()
}

// Whatever is changed while clients come and go, each of them is served and the books add up.
func TestReconfigureUnderLoad(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	r.shrunk = true
	shared := &Limit{}
	p := r.pool(db, func(o *Options) { o.ByUser = shared })
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		for i := 0; ctx.Err() == nil; i++ {
			switch i % 4 {
			case 0:
				p.Reconfigure(change(p, func(c *Config) { c.Size, c.MinSize = 1+i%5, i%2; c.Lifetime = time.Duration(i % 3) }))
			case 1:
				r.set.SetMax(shared, i%4)
			case 2:
				p.Reconnect()
			default:
				p.Redirect(db.dial, db.cancel)
			}
		}
	}()
	all := r.crowd(p, 4)
	for i := range 200 {
		c := all[i%len(all)]
		c.got()
		c.release([]Clean{Ready, Rollback, Reset, Broken}[i/4%4])
		c.ask()
	}
	stop()
	<-changed
	r.set.SetMax(shared, 0)
	p.Reconfigure(DefaultConfig())
	for _, c := range all {
		c.got()
		c.release(Ready)
	}
	r.eventually("nothing is under way", func() bool {
		s := p.Stats(0)
		return s.Connecting+s.Busy+s.Resetting+s.Waiting == 0
	})
}
