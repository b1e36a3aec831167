package pool

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// waiting runs an Await in the background.
func (r *rig) waiting(await func(context.Context) error) (done chan error, cancel func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done = make(chan error, 1)
	go func() { done <- await(ctx) }()
	r.t.Cleanup(cancel)
	return done, cancel
}

func (r *rig) ended(done chan error) error {
	r.t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		r.t.Fatalf("waited in vain for an Await\n%s", r.books())
		return nil
	}
}

// open fails if the Await has ended, after everything under way has happened.
func (r *rig) open(done chan error) {
	r.t.Helper()
	r.settle()
	select {
	case err := <-done:
		r.t.Fatalf("the Await has ended: %v\n%s", err, r.books())
	default:
	}
}

func TestPauseClosesWhatComesBack(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	p := r.pool(db, sized(3))
	a, b := r.client("a", 0, p).ask(), r.client("b", 1, p).ask()
	a.got()
	b.got()
	c := r.client("c", 0, p).ask()
	c.got()
	c.release(Ready)
	r.wantCounts(p, "c0 i1 b2 r0 w0")
	r.set.Pause("db")
	r.wantCounts(p, "c0 i0 b2 r0 w0")
	empty, _ := r.waiting(func(ctx context.Context) error { return r.set.AwaitEmpty(ctx, "db") })
	late := r.client("late", 1, p).ask()
	a.release(Ready)
	r.open(empty)
	late.stillWaits()
	b.release(Rollback)
	if err := r.ended(empty); err != nil {
		t.Fatal(err)
	}
	late.stillWaits()
	r.tidy(0)
	r.wantCounts(p, "c0 i0 b0 r0 w1")
	r.eventually("the server has no connection", func() bool { return db.get(&db.open) == 0 })
	if !r.set.Resume("db") || r.set.Resume("db") {
		t.Error("Resume does not say whether there was anything to resume")
	}
	late.got()
}

// A pool that is made while its database is paused is paused too, another database's is not, and MinSize waits.
func TestPauseOutlivesPools(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	r.set.Pause("db")
	p := r.pool(db, func(o *Options) { o.Config.MinSize = 2 })
	other := r.pool(db, func(o *Options) { o.Database = "other" })
	r.client("other", 0, other).ask().got()
	a := r.client("a", 0, p).ask()
	r.tidy(0)
	a.stillWaits()
	r.wantCounts(p, "c0 i0 b0 r0 w1")
	r.set.Pause("")
	if all, _, databases := r.set.Halted(); !all || !databases["db"] {
		t.Errorf("halted: %v %v", all, databases)
	}
	if !r.set.Resume("") {
		t.Error("nothing to resume")
	}
	a.stillWaits()
	if !r.set.Resume("") { // the database's own pause is what is left
		t.Error("nothing to resume")
	}
	a.got()
	r.wantCounts(p, "c0 i1 b1 r0 w0")
}

// A dial that is under way when the pause comes is closed, and its failure is no waiter's error.
func TestPauseDuringADial(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, nil)
	for _, fail := range []error{nil, errDial} {
		hold := make(chan struct{})
		db.set(func() { db.hold, db.fail = hold, fail })
		a := r.client("a", 0, p).ask()
		r.wantCounts(p, "c1 i0 b0 r0 w1")
		r.set.Pause("")
		empty, _ := r.waiting(func(ctx context.Context) error { return r.set.AwaitEmpty(ctx, "") })
		r.open(empty)
		close(hold)
		if err := r.ended(empty); err != nil {
			t.Fatal(err)
		}
		a.stillWaits()
		db.set(func() { db.hold, db.fail = nil, nil })
		r.set.Resume("")
		a.got()
		a.release(Broken)
	}
}

func TestSuspendKeepsConnections(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	p := r.pool(db, sized(2))
	a, b := r.client("a", 0, p).ask(), r.client("b", 1, p).ask()
	a.got()
	b.got()
	r.set.Suspend()
	quiet, _ := r.waiting(r.set.AwaitReturn)
	waiters := []*client{r.client("c", 0, p).ask(), r.client("d", 1, p).ask()}
	a.release(Ready)
	r.open(quiet)
	b.release(Reset)
	if err := r.ended(quiet); err != nil {
		t.Fatal(err)
	}
	r.wantCounts(p, "c0 i2 b0 r0 w2")
	for _, w := range waiters {
		w.stillWaits()
	}
	r.set.Resume("")
	for _, w := range waiters {
		w.got()
	}
	if n := db.get(&db.dials); n != 2 {
		t.Errorf("%d dials", n)
	}
}

func TestReconnectAndItsEnd(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, sized(2))
	other := r.pool(db, func(o *Options) { o.Database = "other" })
	a := r.client("a", 0, p).ask()
	first := a.got()
	b := r.client("b", 0, other).ask()
	kept := b.got()
	hold := make(chan struct{})
	db.set(func() { db.hold = hold })
	c := r.client("c", 0, p).ask()
	r.wantCounts(p, "c1 i0 b1 r0 w1")
	r.set.Reconnect("db")
	for _, info := range p.Conns() {
		if !info.CloseNeeded {
			t.Errorf("%+v", info)
		}
	}
	renewed, _ := r.waiting(func(ctx context.Context) error { return r.set.AwaitRenewal(ctx, "db") })
	a.release(Ready)
	r.open(renewed) // the dial under way began before
	db.set(func() { db.hold = nil })
	close(hold)
	if err := r.ended(renewed); err != nil {
		t.Fatal(err)
	}
	if c.got() == first {
		t.Error("a connection that was to be replaced was lent")
	}
	if again := a.ask().got(); again == first {
		t.Error("a connection that was to be replaced was lent")
	}
	b.release(Ready)
	if b.ask().got() != kept {
		t.Error("another database's connection was replaced")
	}
}

func TestAnAwaitIsGivenUp(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, nil)
	a := r.client("a", 0, p).ask()
	a.got()
	done, cancel := r.waiting(func(ctx context.Context) error { return r.set.AwaitEmpty(ctx, "db") })
	r.open(done)
	cancel()
	if err := r.ended(done); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	r.set.mu.Lock()
	left := len(r.set.watchers)
	r.set.mu.Unlock()
	if left != 0 {
		t.Errorf("%d watchers are left", left)
	}
}

func TestConnsShowWhatThereIs(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, nil)
	a := r.client("a", 0, p).ask()
	busy := a.got()
	b := r.client("b", 0, p).ask()
	b.got()
	b.release(Ready)
	r.wantCounts(p, "c0 i1 b1 r0 w0")
	infos := p.Conns()
	if len(infos) != 2 || infos[0].State != Idle || infos[1].State != Busy || infos[1].Conn != busy || infos[0].ID == infos[1].ID {
		t.Fatalf("%+v", infos)
	}
	if infos[1].Lent == 0 || infos[1].PID != busy.PID() || infos[0].CloseNeeded {
		t.Errorf("%+v", infos[1])
	}
	if n := p.Stats(0).Lendings; n != 2 {
		t.Errorf("%d lendings", n)
	}
	a.release(Ready)
	if p.Counters.LentTime.Load() <= 0 {
		t.Error("no time was counted")
	}
}

// TestHaltsUnderLoad pauses, suspends, reconnects and resumes while clients come and go. At the end everybody is served.
func TestHaltsUnderLoad(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	p := r.pool(db, sized(3))
	rng := rand.New(rand.NewPCG(1, 2))
	clients := r.crowd(p, 6)
	for range 300 {
		switch c := clients[rng.IntN(len(clients))]; {
		case c.has() != nil:
			c.release([]Clean{Ready, Rollback, Reset, Broken}[rng.IntN(4)])
		case !c.waits():
			c.ask()
		}
		switch rng.IntN(12) {
		case 0:
			r.set.Pause("db")
		case 1:
			r.set.Pause("")
		case 2:
			r.set.Suspend()
		case 3:
			r.set.Reconnect("")
		case 4, 5, 6, 7:
			r.set.Resume("")
		case 8:
			r.set.Resume("db")
		}
	}
	for r.set.Resume("") {
	}
	for range clients {
		for _, c := range clients {
			if c.has() != nil {
				c.release(Ready)
			}
		}
		r.settle()
	}
	r.eventually("nobody waits", func() bool {
		for _, c := range clients {
			if c.has() != nil {
				c.release(Ready)
			}
		}
		return p.Stats(0).Waiting == 0
	})
}
