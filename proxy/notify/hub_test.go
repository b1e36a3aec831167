package notify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/proxy/notify"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

func wantPayloads(t testing.TB, got []notify.Notification, want ...string) {
	t.Helper()
	if p := payloads(got); !slices.Equal(p, want) && len(p)+len(want) > 0 {
		t.Errorf("got %q, want %q", p, want)
	}
}

func TestListen(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		r := newRig(t, pg, notify.Options{})
		if s := r.Stats(); s.Connected || s.Connects != 0 {
			t.Error("it dials before it must")
		}
		a, b, said := r.join(), r.join(), r.direct()
		a.listen("x")
		said.exec("notify x, '1'")
		b.listen("x", "y", "x") // nothing of before
		said.exec("notify x, '2'; notify x, '2'; notify y, '3'; notify z, '4'")
		if got := a.synced(); len(got) == 2 && (got[0].PID != said.PID() || got[1].PID != said.PID()) {
			t.Errorf("%v is not from %d", got, said.PID())
		} else {
			wantPayloads(t, got, "x:1", "x:2")
		}
		wantPayloads(t, b.synced(), "x:2", "y:3")
		if names := b.Channels(); !slices.Equal(names, []string{"x", "y"}) || !b.Listening() {
			t.Errorf("in %q", names)
		}
		a.Unlisten([]string{"x", "nothing"})
		said.exec("notify x, '5'")
		wantPayloads(t, b.synced(), "x:5")
		wantPayloads(t, a.synced())
		if s := r.Stats(); s.Listens != 2 || s.Unlistens != 0 || s.Channels != 2 || s.Listeners != 2 || s.Connects != 1 || s.PID == 0 {
			t.Errorf("%+v", s)
		}
		b.UnlistenAll()
		until(t, "unlisten", func() bool { s := r.Stats(); return s.Unlistens == 2 && s.Channels == 0 })
		b.listen("x")
		said.exec("notify x, '6'")
		wantPayloads(t, b.synced(), "x:6")
		b.Leave()
		b.Leave()
		if err := b.try("x"); err == nil {
			t.Error("who has left listens")
		}
		until(t, "unlisten", func() bool { return r.Stats().Channels == 0 })
		if s := r.Stats(); s.Listeners != 1 || s.Unlistens != 3 || s.QueuedBytes != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestNames(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		r := newRig(t, pg, notify.Options{})
		c, said := r.join(), r.direct()
		names := []string{
			"Case", "case", `a"b`, `"`, `""`, `;`, `x"; drop table t; --`, `back\slash`, "new\nline", "ş→😀", "'", "$1", "select", " ",
			strings.Repeat("n", 63), strings.Repeat("é", 31),
		}
		c.listen(names...)
		for i, name := range names {
			if result := said.ExecParams(t.Context(), "select pg_notify($1, $2)", [][]byte{[]byte(name), fmt.Append(nil, i)}, nil, nil, nil).Read(); result.Err != nil {
				t.Errorf("%q: %v", name, result.Err)
			}
		}
		got := c.synced()
		if len(got) != len(names) {
			t.Fatalf("got %q", payloads(got))
		}
		for i, n := range got {
			if n.Channel != names[i] || n.Payload != fmt.Sprint(i) {
				t.Errorf("%q is %+v", names[i], n)
			}
		}
		for name, code := range map[string]string{"": "42601", "\x00": "42601", strings.Repeat("n", 64): "54000"} {
			var e *wire.Error
			if err := c.try("fine", name); !errors.As(err, &e) || e.Code != code {
				t.Errorf("%q: %v", name, err)
			}
		}
		if slices.Contains(c.Channels(), "fine") {
			t.Error("half of a LISTEN")
		}
	})
}

// TestRefused: what the server refuses is refused to those who want it only.
func TestRefused(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		r := newRig(t, pg, notify.Options{})
		const n = 40
		clients := make([]*client, n)
		answers := make([]chan error, n)
		for i := range n {
			clients[i] = r.join()
			answers[i] = make(chan error, 1)
			names := []string{fmt.Sprint("c", i), "shared"}
			if i%10 == 3 {
				names = append(names, fmt.Sprint("bad\xff", i%20))
			}
			clients[i].Listen(names, func(err error) { answers[i] <- err })
		}
		said := r.direct()
		for i := range n {
			var e *wire.Error
			err := <-answers[i]
			if bad := i%10 == 3; bad && (!errors.As(err, &e) || e.Code != "22021") || !bad && err != nil {
				t.Errorf("%d: %v", i, err)
			}
			said.exec(fmt.Sprintf("notify c%d; notify shared", i))
		}
		for i, c := range clients {
			got := c.synced()
			if i%10 == 3 {
				wantPayloads(t, got)
				continue
			}
			if own := slices.ContainsFunc(got, func(x notify.Notification) bool { return x.Channel == fmt.Sprint("c", i) }); !own {
				t.Errorf("%d got %q", i, payloads(got))
			}
		}
		if s := r.Stats(); s.Channels != n-4+1 || s.Losses != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestOwnNotifications: what a client has committed is in its queue when the Sync behind it is done, also where a trigger
// said it.
func TestOwnNotifications(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		r := newRig(t, pg, notify.Options{})
		r.direct().exec(`create table t (id int);
			create function tell() returns trigger language plpgsql as $$begin perform pg_notify('t', new.id::text); return new; end$$;
			create trigger tell after insert on t for each row execute function tell()`)
		const clients, rounds = 8, 150
		done := make(chan struct{})
		for k := range clients {
			c, conn := r.join(), r.direct()
			go func() {
				defer func() { done <- struct{}{} }()
				c.listen("t")
				for i := range rounds {
					id := k*rounds + i
					conn.exec(fmt.Sprintf("insert into t values (%d)", id))
					got := c.synced()
					if !slices.ContainsFunc(got, func(n notify.Notification) bool { return n.Payload == fmt.Sprint(id) && n.PID == conn.PID() }) {
						t.Errorf("%d is not among %q", id, payloads(got))
						return
					}
				}
			}()
		}
		for range clients {
			<-done
		}
		s := r.Stats()
		t.Logf("%d syncs in %d rounds", s.Syncs, s.Rounds)
		if s.Syncs != clients*rounds || s.Rounds > s.Syncs+clients {
			t.Errorf("%+v", s)
		}
	})
}

// TestRest: without channels there is no connection and no goroutine after a while, and there is again when one is wanted.
func TestRest(t *testing.T) {
	r := newRig(t, pgtest.Server(t, 18), notify.Options{Rest: 20 * time.Millisecond})
	c, said := r.join(), r.direct()
	for i := range 3 {
		c.listen("x")
		said.exec(fmt.Sprintf("notify x, '%d'", i))
		wantPayloads(t, c.synced(), fmt.Sprint("x:", i))
		c.UnlistenAll()
		wantPayloads(t, c.synced())
		until(t, "rest", func() bool { return !r.Stats().Connected })
		until(t, "goodbye", func() bool {
			n, err := r.pg.Value(t.Context(), r.db, "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'sarnic listener'")
			return err == nil && n == "0"
		})
	}
	if s := r.Stats(); s.Connects != 3 || s.Losses != 0 {
		t.Errorf("%+v", s)
	}
}

// TestUnlistenWhileListening: a Listen that is under way gives way.
func TestUnlistenWhileListening(t *testing.T) {
	r := newRig(t, pgtest.Server(t, 18), notify.Options{})
	a, b, said := r.join(), r.join(), r.direct()
	for range 50 {
		first, second := make(chan error, 1), make(chan error, 1)
		a.Listen([]string{"x", "y"}, func(err error) { first <- err })
		b.Listen([]string{"y", "z"}, func(err error) { second <- err })
		a.Unlisten([]string{"y"})
		b.UnlistenAll()
		if err := errors.Join(<-first, <-second); err != nil {
			t.Fatal(err)
		}
		said.exec("notify x; notify y; notify z")
		wantPayloads(t, a.synced(), "x:")
		wantPayloads(t, b.synced())
		a.Listen([]string{"w"}, func(error) {})
		a.UnlistenAll()
	}
	until(t, "all gone", func() bool { return r.Stats().Channels == 0 })
}

func TestEncoding(t *testing.T) {
	pg := pgtest.Server(t, 18)
	r := newRig(t, pg, notify.Options{Encoding: "latin1"})
	c, said := r.join(), r.direct()
	c.listen("caf\xe9")
	said.exec(`notify "café", 'ö'`)
	wantPayloads(t, c.synced(), "caf\xe9:\xf6")

	bad := newRig(t, pg, notify.Options{Encoding: "it's"})
	var e *wire.Error
	if err := bad.join().try("x"); !errors.As(err, &e) || e.Code != "22023" || e.Severity == "FATAL" {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newRig(t, pgtest.Server(t, 18), notify.Options{})
	c, said := r.join(), r.direct()
	c.listen("x")
	said.exec("notify x, 'last'")
	if err := c.trySync(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if err := c.failure(); !errors.Is(err, notify.ErrClosed) {
		t.Error(err)
	}
	wantPayloads(t, c.got, "x:last")
	late := r.join()
	if err := errors.Join(late.try("x")); !errors.Is(err, notify.ErrClosed) {
		t.Error(err)
	}
	if err := c.trySync(); !errors.Is(err, notify.ErrClosed) {
		t.Error(err)
	}

	r.Hub = notify.New(ctx, r.dial, discard(), notify.Options{})
	c = r.join()
	c.listen("x")
	cancel()
	if err := c.failure(); !errors.Is(err, notify.ErrClosed) {
		t.Error(err)
	}
	if err := c.try("y"); !errors.Is(err, notify.ErrClosed) {
		t.Error(err)
	}
	r.Close()
}
