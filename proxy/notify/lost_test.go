package notify_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/notify"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// quick are options for tests that lose connections.
func quick() notify.Options {
	return notify.Options{Pause: 5 * time.Millisecond, MaxPause: 20 * time.Millisecond}
}

func (c *client) wantLost(code string) {
	c.t.Helper()
	var lost *notify.LostError
	if err := c.failure(); !errors.As(err, &lost) || lost.Told.Code != code || lost.Told.Severity != "FATAL" {
		c.t.Errorf("want %s, got %v", code, err)
	} else if told := wire.ToldToClient(err); told != lost.Told {
		c.t.Errorf("a client is told %v", told)
	}
}

// TestTerminated: all are told, once; those who stay hear again.
func TestTerminated(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		r := newRig(t, pg, quick())
		stays, leaves, idle, said := r.join(), r.join(), r.join(), r.direct()
		stays.listen("x", "y")
		leaves.listen("x", "z")
		said.exec("notify y, 'before'")
		if err := stays.trySync(); err != nil {
			t.Fatal(err)
		}
		for i := range uint64(3) {
			said.exec(fmt.Sprintf("select pg_terminate_backend(%d)", r.Stats().PID))
			stays.wantLost("57P01")
			if i == 0 {
				leaves.wantLost("57P01")
				leaves.Leave()
				wantPayloads(t, stays.got, "y:before")
				stays.got = nil
			}
			until(t, "reconnected", func() bool { return r.Stats().Connects == i+2 })
			idle.listen("w") // behind the LISTENs of the reconnection
			said.exec("notify x, 'after'; notify w, 'too'")
			wantPayloads(t, stays.synced(), "x:after")
			wantPayloads(t, idle.synced(), "w:too")
			idle.UnlistenAll()
			if err := idle.drain(); err != nil {
				t.Error(err)
			}
			until(t, "gone", func() bool { return r.Stats().Channels == 2 })
		}
	})
}

// TestServerRestart: while there is no server a LISTEN fails with the reason, and those who stay hear again afterwards.
func TestServerRestart(t *testing.T) {
	pg := pgtest.New(t, pgtest.Options{Version: 18})
	r := newRig(t, pg, quick())
	c, other := r.join(), r.join()
	c.listen("x")
	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.failure(); !errors.As(err, new(*notify.LostError)) {
		t.Error(err)
	}
	if err := c.trySync(); !errors.As(err, new(*notify.LostError)) {
		t.Errorf("a sync without a server: %v", err)
	}
	var failed *dial.Error
	if err := other.try("y"); !errors.As(err, &failed) || failed.Told.Severity == "FATAL" {
		t.Error(err)
	}
	until(t, "attempts", func() bool { return r.Stats().Failures > 3 })
	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "reconnected", func() bool { return r.Stats().Connected })
	other.listen("y")
	r.direct().exec("notify x, 'again'")
	wantPayloads(t, c.synced(), "x:again")
	c.Leave()
	other.Leave()
}

// TestSilent: a connection that is dead without a word is found out, when it owes an answer and when it is idle.
func TestSilent(t *testing.T) {
	for name, probe := range map[string]time.Duration{"idle": 30 * time.Millisecond, "asked": time.Hour} {
		t.Run(name, func(t *testing.T) {
			o := quick()
			o.Answer, o.Probe = 2*time.Second, probe
			r := newRig(t, pgtest.Server(t, 18), o)
			c, said := r.join(), r.direct()
			c.listen("x")
			if name == "idle" {
				before := r.Stats().Rounds
				until(t, "probes", func() bool { return r.Stats().Rounds > before+3 })
			}
			r.last().freeze()
			said.exec("notify x, 'missed'")
			if name == "asked" {
				if err := c.trySync(); !errors.As(err, new(*notify.LostError)) {
					t.Error(err)
				}
			}
			c.wantLost("08006")
			until(t, "reconnected", func() bool { return r.Stats().Connects == 2 })
			if name == "idle" {
				c.listen("y")
				said.exec("notify x, 'heard'")
				wantPayloads(t, c.synced(), "x:heard")
			}
		})
	}
}

// TestDialFails: a LISTEN is told why, a later one gets through.
func TestDialFails(t *testing.T) {
	r := newRig(t, pgtest.Server(t, 18), quick())
	c := r.join()
	r.failDials(errors.New("secret address"))
	for range 3 {
		err := c.try("x")
		if told := wire.ToldToClient(err); told.Code != "08006" || told.Severity == "FATAL" || strings.Contains(told.Message, "secret") {
			t.Error(err)
		}
	}
	if s := r.Stats(); s.Failures != 3 || s.Channels != 0 {
		t.Errorf("%+v", s)
	}
	r.failDials(nil)
	c.listen("x")
}

// TestStandby: the server's words.
func TestStandby(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		replica, err := pg.Replica(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = replica.Close() })
		r := &rig{t: t, pg: replica, db: pgtest.Superuser}
		r.start(quick())
		var e *wire.Error
		if err := r.join().try("x", "y"); !errors.As(err, &e) || e.Code != "25006" || e.Severity != "ERROR" {
			t.Error(err)
		}
	})
}

// TestBecomesStandby: after a reconnection the server refuses to listen, so whoever stayed is ended.
func TestBecomesStandby(t *testing.T) {
	pg := pgtest.Server(t, 18)
	replica, err := pg.Replica(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = replica.Close() })
	r := &rig{t: t, pg: pg, db: pgtest.Superuser}
	r.start(quick())
	c := r.join()
	c.listen("x", "y")
	r.mu.Lock()
	r.pg = replica
	r.mu.Unlock()
	r.last().freeze()
	_ = r.last().Close()
	c.wantLost("08006")
	c.wantLost("25006")
	if err := c.try("x"); err == nil {
		t.Error("it goes on")
	}
}
