package pool

import (
	"fmt"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Waiters are served in the order in which they came, each by a direct hand-over: nothing becomes idle in between.
func TestWaitersAreServedInOrder(t *testing.T) {
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d loops", loops), func(t *testing.T) {
			r, db := newRig(t, loops), newFakeDB(t)
			p := r.pool(db, sized(1))
			first := r.client("first", 0, p).ask()
			conn := first.got()
			var queue []*client
			for i := range 6 {
				queue = append(queue, r.client(fmt.Sprint("waiter ", i), i%loops, p).ask())
			}
			r.wantCounts(p, "c0 i0 b1 r0 w6")
			owner := first
			for i, next := range queue {
				owner.release(Ready)
				if got := next.got(); got != conn {
					t.Fatal("another connection came")
				}
				for _, later := range queue[i+1:] {
					later.stillWaits()
				}
				owner = next
			}
			owner.release(Ready)
			r.wantCounts(p, "c0 i1 b0 r0 w0")
			if db.get(&db.dials) != 1 {
				t.Errorf("%d dials for one connection", db.dials)
			}
			if n := p.Counters.Waits.Load(); n != 7 {
				t.Errorf("%d waits counted, want 7", n)
			}
		})
	}
}

// Nobody who comes while others wait gets a connection before them.
func TestNobodyOvertakes(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, sized(1))
	a := r.client("a", 0, p).ask()
	a.got()
	b := r.client("b", 0, p).ask()
	c := r.client("c", 0, p)
	// a gives back and c asks in the same turn: b has not run yet, and c must not take what is b's.
	a.step(func(f *loop.Fiber) {
		a.p.Release(a.take(), Ready)
		if a.p.TryAcquire(f) != nil {
			t.Error("the one who gave it back took it again before the one who waits")
		}
	})
	c.ask()
	b.got()
	c.stillWaits()
	b.release(Ready)
	c.got()
	c.release(Ready)
}

// Idle connections are lent last in, first out, so that the surplus ages.
func TestIdleIsAStack(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, sized(3))
	var clients []*client
	var conns []*Conn
	for i := range 3 {
		c := r.client(fmt.Sprint("client ", i), 0, p).ask()
		conns = append(conns, c.got())
		clients = append(clients, c)
	}
	for _, i := range []int{1, 0, 2} {
		clients[i].release(Ready)
	}
	for _, want := range []int{2, 0, 1} {
		if got := clients[want].ask().got(); got != conns[want] {
			t.Errorf("not the one that became idle last")
		}
	}
	for _, c := range clients {
		c.release(Ready)
	}
}

// One that gives up is not served any more, and what was granted to it in the last moment goes on to the next.
func TestGivingUp(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, sized(1))
	a := r.client("a", 0, p).ask()
	conn := a.got()
	b := r.client("b", 0, p).ask()
	c := r.client("c", 0, p).ask()
	d := r.client("d", 0, p).ask()
	c.stopWaiting() // from the middle of the queue
	r.wantCounts(p, "c0 i0 b1 r0 w2")

	// Granted and given up in one turn, before the fiber of b has seen it.
	a.step(func(*loop.Fiber) {
		p.Release(a.take(), Ready)
		if reusable := p.Dequeue(b.w); !reusable {
			t.Error("nothing travels to b")
		}
		b.w = nil
	})
	if got := d.got(); got != conn {
		t.Error("another connection came")
	}
	d.release(Ready)
	r.wantCounts(p, "c0 i1 b0 r0 w0")
}

// A connection that is idle on one loop goes to a waiter on another.
func TestIdleConnectionsMoveBetweenLoops(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	p := r.pool(db, sized(2))
	a, b := r.client("a", 0, p).ask(), r.client("b", 1, p)
	conn := a.got()
	a.release(Ready)
	for range 3 {
		if got := b.ask().got(); got != conn || got.Net.Loop() != b.l {
			t.Fatal("not the idle one, or on the wrong loop")
		}
		if _, err := b.has().Write(nil); err != nil {
			t.Error(err)
		}
		b.release(Ready)
		if got := a.ask().got(); got != conn || got.Net.Loop() != a.l {
			t.Fatal("not the idle one, or on the wrong loop")
		}
		a.release(Ready)
	}
	if db.get(&db.dials) != 1 {
		t.Error("an idle connection was there, and another one was dialled")
	}
}

// As many waiters on both loops as there are idle connections on one: each gets one at once.
func TestIdleConnectionsForSeveralWaiters(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	p := r.pool(db, sized(3))
	var owners []*client
	for i := range 3 {
		owners = append(owners, r.client(fmt.Sprint("owner ", i), 0, p).ask())
		owners[i].got()
	}
	for _, c := range owners {
		c.release(Ready)
	}
	far, near := r.client("far", 1, p), r.client("near", 0, p)
	// Both ask before the loop that has the idle ones can send the first on its way.
	near.step(func(f *loop.Fiber) {
		far.ask()
		if p.TryAcquire(f) != nil {
			t.Error("the waiter on the other loop was overtaken")
		}
		near.w = new(Waiter)
		near.wait = true
		p.Enqueue(near.w, f)
	})
	far.got()
	near.got()
	if db.get(&db.dials) != 3 {
		t.Error("idle connections were there, and another one was dialled")
	}
	far.release(Ready)
	near.release(Ready)
}

// The waiter is gone when the connection arrives from the other loop: it goes on to the next, or becomes idle there.
func TestGivingUpWhileAConnectionTravels(t *testing.T) {
	for _, next := range []string{"nobody", "same loop", "other loop"} {
		t.Run(next, func(t *testing.T) {
			r, db := newRig(t, 2), newFakeDB(t)
			p := r.pool(db, sized(1))
			a := r.client("a", 0, p).ask()
			conn := a.got()
			b := r.client("b", 1, p).ask()
			var heir *client
			switch next {
			case "same loop":
				heir = r.client("heir", 1, p).ask()
			case "other loop":
				heir = r.client("heir", 0, p).ask()
			}
			// b's loop is held while a gives back, so that the connection is on its way when b gives up.
			var reusable bool
			b.step(func(*loop.Fiber) {
				a.release(Ready)
				reusable = p.Dequeue(b.w)
				b.w = nil
			})
			if reusable {
				t.Error("the waiter may be used again although a connection travels to it")
			}
			if heir == nil {
				r.wantCounts(p, "c0 i1 b0 r0 w0")
				return
			}
			if got := heir.got(); got != conn || got.Net.Loop() != heir.l {
				t.Error("the heir got another one")
			}
			heir.release(Ready)
		})
	}
}

// What an idle connection says on the way between two loops is not lost: the end of the server is seen there.
func TestServerEndsWhileAConnectionTravels(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	p := r.pool(db, sized(1))
	a := r.client("a", 0, p).ask()
	conn := a.got()
	b := r.client("b", 1, p).ask()
	b.step(func(*loop.Fiber) {
		a.release(Ready)
		_ = db.conn(conn).nc.Close()
	})
	// It was fine when it left. Its new owner finds out at its first read.
	got := b.got()
	r.eventually("the owner can read the end", func() bool {
		var err error
		b.step(func(*loop.Fiber) { _, err = got.Read(make([]byte, 1)) })
		return err != nil && err != loop.ErrWouldBlock
	})
	b.release(Broken)
	r.wantCounts(p, "c0 i0 b0 r0 w0")
}

// News on an idle connection, at the moment when somebody asks for it, must not make that client wait: not for a
// harmless report, and not for the end.
func TestNewsWhileSomebodyAsks(t *testing.T) {
	for name, news := range map[string][]byte{
		"a parameter": wire.AppendParameterStatus(nil, "TimeZone", "UTC"),
		"a notice":    wire.AppendNotice(nil, &wire.Error{Severity: "NOTICE", Code: "00000", Message: "hello"}),
		"the end":     nil,
	} {
		t.Run(name, func(t *testing.T) {
			r, db := newRig(t, 1), newFakeDB(t)
			p := r.pool(db, sized(1))
			a, b := r.client("a", 0, p).ask(), r.client("b", 0, p)
			conn := a.got()
			a.release(Ready)
			r.wantCounts(p, "c0 i1 b0 r0 w0")
			// The loop is held until the news is in the socket. Then one poll brings both the news and b's request,
			// and b is looked at first.
			b.step(func(f *loop.Fiber) {
				if news == nil {
					_ = db.conn(conn).nc.Close()
				} else {
					db.conn(conn).say(news)
				}
				for !conn.Net.Ready(loop.Readable) {
					f.Yield()
				}
				if p.TryAcquire(f) != nil {
					t.Error("lent with news in it")
				}
				b.w = new(Waiter)
				b.wait = true
				p.Enqueue(b.w, f)
			})
			got := b.got()
			if (got == conn) != (news != nil) {
				t.Errorf("lent the same connection: %v", got == conn)
			}
			b.release(Ready)
		})
	}
}

// A closed set refuses those who wait and those who come.
func TestCloseRefuses(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	p := r.pool(db, sized(2))
	a, b := r.client("a", 0, p).ask(), r.client("b", 1, p).ask()
	a.got()
	b.got()
	c, d := r.client("c", 0, p).ask(), r.client("d", 1, p).ask()
	r.set.Close()
	for _, refused := range []*client{c, d, r.client("e", 0, p).ask(), r.client("f", 1, p).ask()} {
		if refused.failed() != errShutdown {
			t.Errorf("%s: %v", refused.name, refused.failure())
		}
	}
	r.wantCounts(p, "c0 i0 b2 r0 w0")
	a.release(Ready) // its transaction was under way
	b.release(Rollback)
	r.wantCounts(p, "c0 i0 b0 r0 w0")
	r.eventually("the server sees them end", func() bool { return db.get(&db.open) == 0 })
	r.set.Close() // again
}

// Close ends idle connections, those that are being reset and dials under way, and waits for none.
func TestCloseInEveryState(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	p := r.pool(db, sized(4))
	var clients []*client
	for i := range 3 {
		clients = append(clients, r.client(fmt.Sprint("client ", i), i%2, p).ask())
		clients[i].got()
	}
	clients[0].release(Ready)
	db.set(func() { db.deaf, db.hold = true, make(chan struct{}) })
	clients[1].release(Reset)
	clients[0].ask()
	more, most := r.client("more", 0, p).ask(), r.client("most", 1, p).ask()
	r.wantCounts(p, "c1 i0 b2 r1 w2")
	r.set.Close()
	more.failed()
	most.failed()
	clients[0].release(Ready)
	clients[2].release(Broken)
	db.set(func() { // the reset ends with the loops, or its time; here its server ends
		for _, c := range db.conns {
			_ = c.nc.Close()
		}
	})
	r.wantCounts(p, "c0 i0 b0 r0 w0")
	r.eventually("every connection is closed", func() bool { return db.get(&db.open) == 0 })
}
