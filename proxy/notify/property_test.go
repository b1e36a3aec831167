package notify_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/notify"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

var seed = flag.Uint64("seed", 0, "of the random tests; 0: any")

func newRand(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed %d", s)
	return rand.New(rand.NewPCG(s, 0))
}

func channelName(i int) string { return fmt.Sprintf("Channel %d", i) }

// say sends notifications in transactions of random size, some rolled back, some with duplicates.
func say(d *direct, rng *rand.Rand, channels, n int, name string) {
	for i := 0; i < n; {
		sql := "begin;"
		for range 1 + rng.IntN(4) {
			one := fmt.Sprintf(`notify "%s", '%s %d';`, channelName(rng.IntN(channels)), name, i)
			sql += one
			if rng.IntN(5) == 0 {
				sql += one
			}
			i++
		}
		if rng.IntN(6) == 0 {
			d.exec(sql + "rollback")
		} else {
			d.exec(sql + "commit")
		}
	}
}

// TestSameAsDirect: while channels do not change, a listener hears exactly what a connection of its own hears, in the same
// order over all senders; who changes its channels in between, from then on.
func TestSameAsDirect(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		const channels, listeners, senders, phases = 6, 12, 4, 15
		rng := newRand(t)
		r := newRig(t, pg, notify.Options{})
		type pair struct {
			ours   *client
			theirs *direct
		}
		var pairs []pair
		for range listeners {
			pairs = append(pairs, pair{r.join(), r.direct()})
		}
		var speakers []*direct
		for range senders {
			speakers = append(speakers, r.direct())
		}
		heard := 0
		for phase := range phases {
			for i := range pairs {
				p := &pairs[i]
				for range rng.IntN(4) {
					change(p.ours, p.theirs, rng, channels)
				}
				if rng.IntN(12) == 0 {
					p.ours.Leave()
					_ = p.theirs.Close(t.Context())
					*p = pair{r.join(), r.direct()}
				}
			}
			var wg sync.WaitGroup
			for i, d := range speakers {
				own := rand.New(rand.NewPCG(rng.Uint64(), 0))
				wg.Go(func() { say(d, own, channels, 40, fmt.Sprint(phase, i)) })
			}
			wg.Wait()
			for i, p := range pairs {
				ours, theirs := p.ours.synced(), p.theirs.synced()
				if !slices.Equal(ours, theirs) {
					t.Fatalf("phase %d, listener %d, in %q:\n%q\nhas heard, instead of\n%q", phase, i, p.ours.Channels(), payloads(ours), payloads(theirs))
				}
				heard += len(ours)
			}
		}
		t.Logf("%d heard", heard)
	})
}

// change does the same to both.
func change(ours *client, theirs *direct, rng *rand.Rand, channels int) {
	name := channelName(rng.IntN(channels))
	switch rng.IntN(7) {
	case 0:
		theirs.exec("unlisten *")
		ours.UnlistenAll()
	case 1, 2:
		theirs.exec(`unlisten "` + name + `"`)
		ours.Unlisten([]string{name})
	case 3:
		theirs.exec(`listen "` + name + `"; listen "x"`)
		ours.listen(name, "x")
	default:
		theirs.exec(`listen "` + name + `"`)
		ours.listen(name)
	}
}

// span is when something began and ended, on a clock that all goroutines of a test share.
type span struct{ from, to int64 }

// TestWindows: while channels change and senders go on, a listener hears what began after its Listen was done and ended
// before its Unlisten, once and in the order of each sender, and nothing that ended before the Listen or began after the
// Unlisten.
func TestWindows(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		const channels, listeners, senders, notes = 4, 10, 4, 600
		rng := newRand(t)
		r := newRig(t, pg, notify.Options{})
		var clock atomic.Int64
		said := make([][]note, senders)
		var speaking, listening sync.WaitGroup
		stop := make(chan struct{})
		for s := range senders {
			d, own := r.direct(), rand.New(rand.NewPCG(rng.Uint64(), 0))
			speaking.Go(func() {
				for i := range notes {
					n := note{channel: channelName(own.IntN(channels)), payload: fmt.Sprint(s, " ", i)}
					n.from = clock.Add(1)
					d.exec(fmt.Sprintf(`notify "%s", '%s'`, n.channel, n.payload))
					n.to = clock.Add(1)
					said[s] = append(said[s], n)
				}
			})
		}
		windows := make([][]window, listeners)
		for l := range listeners {
			c, own := r.join(), rand.New(rand.NewPCG(rng.Uint64(), 0))
			listening.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						windows[l] = append(windows[l], oneWindow(c, own, channels, &clock))
					}
				}
			})
		}
		speaking.Wait()
		close(stop)
		listening.Wait()
		heard, count := 0, 0
		for l := range windows {
			for _, w := range windows[l] {
				w.check(t, said)
				heard += len(w.heard)
				count++
			}
		}
		t.Logf("%d windows, %d heard, %+v", count, heard, r.Stats())
	})
}

type note struct {
	span
	channel, payload string
}

// window is one time between a Listen and an Unlisten.
type window struct {
	opens, closes span
	channels      []string
	heard         []notify.Notification
}

func oneWindow(c *client, rng *rand.Rand, channels int, clock *atomic.Int64) window {
	var w window
	for i := range channels {
		if rng.IntN(2) == 0 {
			w.channels = append(w.channels, channelName(i))
		}
	}
	w.opens.from = clock.Add(1)
	c.listen(w.channels...)
	w.opens.to = clock.Add(1)
	for range rng.IntN(6) {
		w.heard = append(w.heard, c.synced()...)
	}
	w.closes.from = clock.Add(1)
	w.heard = append(w.heard, c.synced()...)
	c.Unlisten(w.channels)
	w.closes.to = clock.Add(1)
	return w
}

func (w *window) check(t *testing.T, said [][]note) {
	t.Helper()
	heard := map[string]int{}
	for place, n := range w.heard {
		if _, twice := heard[n.Payload]; twice {
			t.Errorf("%s came twice", n.Payload)
		}
		heard[n.Payload] = place
		if !slices.Contains(w.channels, n.Channel) {
			t.Errorf("%s is not in %q", n.Channel, w.channels)
		}
	}
	for _, notes := range said {
		last := -1
		for _, n := range notes {
			place, came := heard[n.payload]
			in := slices.Contains(w.channels, n.channel)
			switch {
			case came && (n.to < w.opens.from || n.from > w.closes.to):
				t.Errorf("%s came at a wrong time", n.payload)
			case !came && in && n.from > w.opens.to && n.to < w.closes.from:
				t.Errorf("%s did not come: said %v, listening %v %v", n.payload, n.span, w.opens, w.closes)
			case came && place < last:
				t.Errorf("%s came out of order", n.payload)
			}
			if came {
				last = place
			}
		}
	}
}
