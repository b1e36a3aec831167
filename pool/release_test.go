package pool

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// What is asked of the server when a connection comes back, for each state it comes back in.
func TestReleaseAsksOfTheServer(t *testing.T) {
	for how, want := range map[Clean][]string{
		Ready:    nil,
		Rollback: {"", "ROLLBACK"},
		Reset:    {"", "ROLLBACK", "DISCARD ALL"},
	} {
		r, db := newRig(t, 1), newFakeDB(t)
		p := r.pool(db, sized(1))
		a := r.client("a", 0, p).ask()
		c := a.got()
		var texts Texts
		a.step(func(*loop.Fiber) {
			s := texts.Intern([]byte("SELECT 1"), []byte{0, 0})
			c.Statements.Add(&texts, s)
			texts.Drop(s)
			c.Unnamed, c.Settings = 7, "mine"
		})
		a.release(how)
		r.wantCounts(p, "c0 i1 b0 r0 w0")
		if got := db.asked(c); !slices.Equal(got, want) {
			t.Errorf("release %d asked %q, want %q", how, got, want)
		}
		r.do(0, func(*loop.Loop) {
			if clean := how == Reset; clean != (c.Statements.Len() == 0) || clean != (c.Settings == nil) {
				t.Errorf("release %d leaves %d statements and settings %v in the books", how, c.Statements.Len(), c.Settings)
			}
			if unnamed := c.Unnamed; unnamed != 0 && how != Ready {
				t.Errorf("release %d: a simple query ended the unnamed statement, the books say it is %d's", how, unnamed)
			}
		})
	}
}

// Broken and doomed ones are closed, also where somebody waits.
func TestBrokenConnectionsAreClosed(t *testing.T) {
	for name, how := range map[string]Clean{"broken": Broken, "doomed": Ready, "doomed in reset": Reset, "lost": Ready} {
		t.Run(name, func(t *testing.T) {
			r, db := newRig(t, 1), newFakeDB(t)
			p := r.pool(db, sized(1))
			a := r.client("a", 0, p).ask()
			c := a.got()
			b := r.client("b", 0, p).ask()
			a.step(func(f *loop.Fiber) {
				switch {
				case strings.HasPrefix(name, "doomed"):
					c.Doom()
				case name == "lost":
					_ = db.conn(c).nc.Close()
					for !c.Net.Ready(loop.Readable) {
						f.Yield()
					}
				}
			})
			a.release(how)
			if b.got() == c {
				t.Error("lent again")
			}
			r.eventually("it is closed", func() bool { return db.get(&db.open) == 1 })
			b.release(Ready)
		})
	}
}

// A server that does not answer, or answers wrongly, while a connection is reset loses it; the waiter gets another.
func TestResetFails(t *testing.T) {
	wrong := map[string][]byte{
		"an error":             wire.AppendReadyForQuery(wire.AppendError(nil, &wire.Error{Code: "XX000", Message: "no"}), 'I'),
		"still in transaction": wire.AppendReadyForQuery(nil, 'T'),
		"garbage":              []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"half a frame more":    append(wire.AppendReadyForQuery(nil, 'I'), 'S', 0),
		"no status":            {'Z', 0, 0, 0, 5, '?'},
		"the end":              nil,
	}
	for name, answer := range wrong {
		t.Run(name, func(t *testing.T) {
			r, db := newRig(t, 1), newFakeDB(t)
			p := r.pool(db, sized(1))
			a := r.client("a", 0, p).ask()
			c := a.got()
			b := r.client("b", 0, p).ask()
			db.set(func() { db.deaf = true })
			a.release(Rollback)
			r.eventually("it asks", func() bool { return len(db.asked(c)) == 1 })
			db.conn(c).say(wire.AppendReadyForQuery(wire.AppendEmptyQuery(nil), 'T')) // the fence
			r.eventually("it asks", func() bool { return len(db.asked(c)) == 2 })
			db.set(func() { db.deaf = false })
			if answer == nil {
				_ = db.conn(c).nc.Close()
			} else {
				db.conn(c).say(answer)
			}
			if b.got() == c {
				t.Error("lent again")
			}
			b.release(Ready)
		})
	}
}

// A connection that is asleep in a reset goes with the loops, or after its time.
func TestResetIsBounded(t *testing.T) {
	if resetTimeout > 30*time.Second {
		t.Error("a client would wait for a reset until its own time-out")
	}
	r, db := newRig(t, 1), newFakeDB(t)
	db.deaf = true
	p := r.pool(db, sized(1))
	a := r.client("a", 0, p).ask()
	a.got()
	a.release(Reset)
	r.wantCounts(p, "c0 i0 b0 r1 w0")
	r.stop()
	r.wait(r.done, "the loops to end")
	r.wantCounts(p, "c0 i0 b0 r0 w0")
}

// News and the end of the server reach a connection that is idle: harmless frames are read and forgotten, everything
// else closes it, a notification too: somebody's LISTEN leaked.
func TestIdleConnectionsListen(t *testing.T) {
	parameter := wire.AppendParameterStatus(nil, "TimeZone", "UTC")
	notice := wire.AppendNotice(nil, &wire.Error{Severity: "WARNING", Code: "01000", Message: "mind the gap"})
	for name, c := range map[string]struct {
		says  []byte
		stays bool
	}{
		"a parameter":      {parameter, true},
		"several":          {append(append(append([]byte(nil), parameter...), notice...), parameter...), true},
		"a notification":   {wire.AppendNotification(nil, 1, "channel", ""), false},
		"a fatal error":    {wire.AppendError(nil, &wire.Error{Severity: "FATAL", Code: "57P01", Message: "bye"}), false},
		"a reply":          {wire.AppendReadyForQuery(nil, 'I'), false},
		"half a frame":     {parameter[:7], false},
		"a wrong length":   {[]byte{'S', 0, 0, 0, 1}, false},
		"one byte":         {[]byte{'S'}, false},
		"the end":          {nil, false},
		"notice and reply": {append(append([]byte(nil), notice...), 'Z', 0, 0, 0, 5, 'I'), false},
	} {
		t.Run(name, func(t *testing.T) {
			r, db := newRig(t, 2), newFakeDB(t)
			p := r.pool(db, sized(2))
			conns := r.idle(p, 2)
			if c.says == nil {
				_ = db.conn(conns[0]).nc.Close()
			} else {
				db.conn(conns[0]).say(c.says)
			}
			if !c.stays {
				r.wantCounts(p, "c0 i1 b0 r0 w0")
				return
			}
			r.eventually("it has been read", func() bool {
				var unread bool
				conn := conns[0]
				conn.Net.Loop().Post(func() {})
				r.do(slices.Index(r.g.Loops(), conn.Net.Loop()), func(*loop.Loop) { unread = conn.Net.Ready(loop.Readable) })
				return !unread
			})
			r.wantCounts(p, "c0 i2 b0 r0 w0")
			for _, x := range r.crowd(p, 2) {
				x.got()
				x.release(Ready)
			}
			if db.get(&db.dials) != 2 {
				t.Error("a harmless frame cost a connection")
			}
		})
	}
}

// news that come in the very moment of the release are settled before the connection is lent on.
func TestNewsAtRelease(t *testing.T) {
	for name, c := range map[string]struct {
		says  []byte
		stays bool
	}{
		"a parameter":    {wire.AppendParameterStatus(nil, "TimeZone", "UTC"), true},
		"a notification": {wire.AppendNotification(nil, 1, "channel", ""), false},
		"much":           {[]byte(strings.Repeat(string(wire.AppendParameterStatus(nil, "a", "b")), 400)), false},
		"the end":        {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, db := newRig(t, 1), newFakeDB(t)
			p := r.pool(db, sized(1))
			a := r.client("a", 0, p).ask()
			conn := a.got()
			b := r.client("b", 0, p).ask()
			a.step(func(f *loop.Fiber) {
				if c.says == nil {
					_ = db.conn(conn).nc.Close()
				} else {
					db.conn(conn).say(c.says)
				}
				for !conn.Net.Ready(loop.Readable) {
					f.Yield()
				}
				p.Release(a.take(), Ready)
			})
			if got := b.got(); c.stays != (got == conn) {
				t.Errorf("lent the same connection: %v", got == conn)
			}
			b.release(Ready)
		})
	}
}

// While a cancel is under way the connection is lent to nobody; after it a round trip draws what is left of the signal.
func TestCancelInFlightIsNeverLent(t *testing.T) {
	for _, how := range []Clean{Ready, Rollback, Reset, Broken} {
		r, db := newRig(t, 2), newFakeDB(t)
		db.freeze = make(chan struct{})
		p := r.pool(db, sized(1))
		a := r.client("a", 0, p).ask()
		conn := a.got()
		b := r.client("b", 1, p).ask()
		done := make(chan struct{}, 2)
		a.step(func(*loop.Fiber) {
			for range 2 { // an impatient user
				conn.Cancel(a.l, slog.New(slog.DiscardHandler), func() { done <- struct{}{} })
			}
		})
		r.eventually("both are sent", func() bool { return db.get(&db.cancels) == 2 })
		a.release(how)
		if how == Broken {
			if b.got() == conn {
				t.Error("a broken one is lent")
			}
			close(db.freeze)
			<-done
			<-done
			b.release(Ready)
			continue
		}
		r.wantCounts(p, "c0 i0 b0 r1 w1")
		b.stillWaits()
		r.tidy(0)
		if len(db.asked(conn)) != 0 {
			t.Error("something was sent to the server before the cancel had ended")
		}
		close(db.freeze)
		<-done
		<-done
		if b.got() != conn {
			t.Error("another connection came")
		}
		want := map[Clean][]string{Ready: {""}, Rollback: {"", "ROLLBACK"}, Reset: {"", "ROLLBACK", "DISCARD ALL"}}[how]
		if got := db.asked(conn); !slices.Equal(got, want) {
			t.Errorf("asked %q, want %q", got, want)
		}
		b.release(Ready)
		r.wantCounts(p, "c0 i1 b0 r0 w0")
		if n := len(db.asked(conn)); n != len(want) {
			t.Error("another fence although no cancel was sent since")
		}
	}
}

// The cancel ends while its connection is still in use: the fence is due all the same when it comes back.
func TestCancelEndsBeforeRelease(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	p := r.pool(db, sized(1))
	a := r.client("a", 0, p).ask()
	conn := a.got()
	done := make(chan struct{})
	a.step(func(*loop.Fiber) { conn.Cancel(a.l, slog.New(slog.DiscardHandler), func() { close(done) }) })
	r.wait(done, "the cancel")
	a.release(Ready)
	r.wantCounts(p, "c0 i1 b0 r0 w0")
	if got := db.asked(conn); !slices.Equal(got, []string{""}) {
		t.Errorf("asked %q", got)
	}
}

// A server without a cancel key cannot be asked to stop, and nobody waits for that.
func TestCancelWithoutKey(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	db.noKey = true
	p := r.pool(db, sized(1))
	a := r.client("a", 0, p).ask()
	conn := a.got()
	done := make(chan struct{})
	a.step(func(*loop.Fiber) {
		conn.Cancel(a.l, slog.New(slog.DiscardHandler), func() { close(done) })
		conn.Abandon(a.l)
	})
	r.wait(done, "the cancel")
	a.release(Ready)
	r.wantCounts(p, "c0 i1 b0 r0 w0")
	if db.get(&db.cancels) != 0 {
		t.Error("a cancel was sent")
	}
}

// Abandon asks the server to stop and the connection is closed meanwhile.
func TestAbandon(t *testing.T) {
	r, db := newRig(t, 1), newFakeDB(t)
	db.freeze = make(chan struct{})
	p := r.pool(db, sized(1))
	a := r.client("a", 0, p).ask()
	conn := a.got()
	a.step(func(*loop.Fiber) { conn.Abandon(a.l) })
	a.release(Broken)
	r.wantCounts(p, "c0 i0 b0 r0 w0")
	r.eventually("the cancel was sent", func() bool { return db.get(&db.cancels) == 1 })
	b := r.client("b", 0, p).ask()
	b.got()
	close(db.freeze)
	b.release(Ready)
}

// The loop of a waiter cannot take the connection: it is closed, the waiter is told, and those behind it are served.
func TestHandOverFails(t *testing.T) {
	r, db := newRig(t, 2), newFakeDB(t)
	p := r.pool(db, sized(1))
	a := r.client("a", 0, p).ask()
	conn := a.got()
	b := r.client("b", 1, p).ask()
	c := r.client("c", 0, p).ask()
	b.step(func(*loop.Fiber) {
		a.release(Ready)
		_ = conn.Net.Close() // nobody does; it stands for a loop that is out of descriptors
	})
	if b.failed() == nil {
		t.Error("no error")
	}
	c.got()
	c.release(Ready)
	r.wantCounts(p, "c0 i1 b0 r0 w0")
}
