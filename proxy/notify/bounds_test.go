package notify_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/notify"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// TestOverflow: who does not read is ended, with nothing left of it; the others go on.
func TestOverflow(t *testing.T) {
	for name, o := range map[string]notify.Options{
		"count": {MaxQueued: 10},
		"bytes": {MaxQueuedBytes: 10 * 1050},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pgtest.Server(t, 18), o)
			slow, reads, other, said := r.join(), r.join(), r.join(), r.direct()
			slow.listen("x", "only mine")
			reads.listen("x")
			other.listen("y")
			payload := strings.Repeat("p", 1000)
			for i := range 30 {
				said.exec(fmt.Sprintf("notify x, '%d%s'", i, payload))
				if got := reads.synced(); len(got) != 1 {
					t.Fatalf("%d", len(got))
				}
			}
			if err := slow.failure(); !errors.Is(err, notify.ErrOverflow) || len(slow.got) != 0 {
				t.Errorf("%v behind %d", err, len(slow.got))
			}
			for _, err := range []error{slow.failure(), slow.try("z"), slow.trySync()} {
				if !errors.Is(err, notify.ErrOverflow) || wire.ToldToClient(err).Code != "53400" {
					t.Error(err)
				}
			}
			said.exec("notify y")
			wantPayloads(t, other.synced(), "y:")
			if s := r.Stats(); s.Overflows != 1 || s.QueuedBytes != 0 || s.Channels > 3 || s.Listeners != 2 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestHubOverflow: when all queues together are too large, the longest goes.
func TestHubOverflow(t *testing.T) {
	r := newRig(t, pgtest.Server(t, 18), notify.Options{MaxHubBytes: 20_000})
	long, short, said := r.join(), r.join(), r.direct()
	long.listen("x")
	short.listen("y")
	payload := strings.Repeat("p", 1000)
	said.exec(fmt.Sprintf("notify y, '%s'", payload))
	for i := range 30 {
		said.exec(fmt.Sprintf("notify x, '%d%s'", i, payload))
	}
	if err := short.trySync(); err != nil { // all of it is here, and nobody has read yet
		t.Fatal(err)
	}
	if err := long.failure(); !errors.Is(err, notify.ErrOverflow) {
		t.Error(err)
	}
	if got := short.synced(); len(got) != 1 {
		t.Errorf("%d", len(got))
	}
	if s := r.Stats(); s.Overflows != 1 || s.QueuedBytes != 0 {
		t.Errorf("%+v", s)
	}
}

func TestTooManyChannels(t *testing.T) {
	r := newRig(t, pgtest.Server(t, 18), notify.Options{MaxChannels: 3, MaxHubChannels: 5})
	a, b := r.join(), r.join()
	a.listen("1", "2")
	wantLimit := func(err error) {
		t.Helper()
		var e *wire.Error
		if !errors.As(err, &e) || e.Code != "53400" || e.Severity == "FATAL" {
			t.Error(err)
		}
	}
	wantLimit(a.try("3", "4"))
	a.listen("3", "1", "3")
	b.listen("4", "5")
	wantLimit(b.try("6"))
	b.listen("1")
	b.UnlistenAll()
	until(t, "unlisten", func() bool { return r.Stats().Channels == 3 })
	b.listen("6")
	if s := r.Stats(); s.Channels != 4 {
		t.Errorf("%+v", s)
	}
}

// TestStorm: ten thousand channels of many sessions at once take few round trips, and Syncs get through meanwhile.
func TestStorm(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		r := newRig(t, pg, notify.Options{})
		first := r.join()
		first.listen("first")
		const sessions, each = 100, 100
		answers := make(chan error, sessions)
		var clients []*client
		for i := range sessions {
			c := r.join()
			clients = append(clients, c)
			names := []string{"all"}
			for k := range each - 1 {
				names = append(names, fmt.Sprintf("c %d %d", i, k))
			}
			go c.Listen(names, func(err error) { answers <- err })
		}
		said := r.direct()
		for waiting := sessions; waiting > 0; {
			said.exec("notify first")
			wantPayloads(t, first.synced(), "first:")
			for more := true; more; {
				select {
				case err := <-answers:
					if waiting--; err != nil {
						t.Error(err)
					}
				default:
					more = false
				}
			}
		}
		s := r.Stats()
		t.Logf("%+v", s)
		if want := uint64(sessions*(each-1) + 2); s.Listens != want || s.Rounds-s.Syncs > 40 {
			t.Errorf("%d LISTENs in %d rounds, want %d", s.Listens, s.Rounds-s.Syncs, want)
		}
		said.exec("notify \"all\", 'x'; notify \"c 7 42\"")
		for i, c := range clients {
			if i == 7 {
				wantPayloads(t, c.synced(), "all:x", "c 7 42:")
			} else {
				wantPayloads(t, c.synced(), "all:x")
			}
			c.Leave()
		}
		until(t, "unlisten", func() bool { return r.Stats().Channels == 1 })
		said.exec("notify first")
		wantPayloads(t, first.synced(), "first:")
	})
}

// TestManyChannelsOfOne: one LISTEN of more channels than a round takes.
func TestManyChannelsOfOne(t *testing.T) {
	r := newRig(t, pgtest.Server(t, 18), notify.Options{})
	a, b := r.join(), r.join()
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprint("c", i)
	}
	answer := make(chan error, 1)
	b.Listen(names, func(err error) { answer <- err })
	a.listen("a")
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	r.direct().exec("notify c0; notify c9999")
	wantPayloads(t, b.synced(), "c0:", "c9999:")
	if s := r.Stats(); s.Rounds > 24 {
		t.Errorf("%+v", s)
	}
	r.last().freeze()
	_ = r.last().Close()
	b.wantLost("08006")
	until(t, "reconnected", func() bool { return r.Stats().Connects == 2 })
	a.listen("z")
	r.direct().exec("notify c0; notify c9999")
	wantPayloads(t, b.synced(), "c0:", "c9999:")
}
