package simtest

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop/sim"
)

// direct is clients that each have a server process of their own: nothing may ever be wrong there.
func direct(seed uint64, clients int, cuts float64) (*sim.World, int, error) {
	w := sim.New(seed, slog.New(slog.DiscardHandler))
	db := NewDatabase(func(d time.Duration, wake func()) { w.After(d, 0, wake) })
	if seed%3 == 0 {
		db.Major = 15
	}
	var all []*Client
	for i := range clients {
		theirs, ours := w.Pair(fmt.Sprintf("client %d", i), fmt.Sprintf("server of client %d", i))
		mark, app := fmt.Sprintf("c%d", i), fmt.Sprintf("app%d", i)
		b := db.Start(app)
		Listen(ours, b)
		ref := NewReference(app, db.Major)
		c := NewClient(w, theirs, i, converse(seed*7+uint64(i), mark, ref, i%2 == 0), ref)
		c.Mark, c.App = mark, app
		c.Cancel = func(uint32, []byte) {
			w.After(time.Duration(w.Rand().IntN(2000)), i, func() { b.Cancel(w.Rand().IntN(2) == 0) })
		}
		if cuts > 0 {
			c.Permits.Lost = func(error, bool) bool { return true }
		}
		theirs.MaybeCut(cuts, 3000)
		c.Start()
		all = append(all, c)
	}
	err := w.Run(time.Hour, func() bool {
		for _, c := range all {
			if !c.Done() {
				return false
			}
		}
		return db.Backends() == 0
	})
	hits := 0
	for _, c := range all {
		if err == nil {
			err = c.Err()
		}
		if err == nil {
			err = c.CheckRows(db, false)
		}
		_, hit := c.Cancels()
		hits += hit
	}
	if err != nil {
		return w, hits, err
	}
	return w, hits, w.Close()
}

func TestDirectConnections(t *testing.T) {
	var all sim.Counts
	hits := 0
	distinct := map[uint64]bool{}
	for seed := range uint64(schedules) {
		w, hit, err := direct(seed, 1+int(seed%4), []float64{0, 0.3}[seed%2])
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		distinct[w.Hash()] = true
		all.Add(w.Counts())
		hits += hit
	}
	if len(distinct) != schedules || all.AllCuts() == 0 || hits == 0 {
		t.Errorf("%d distinct traces of %d, %d cancel requests hit, %+v", len(distinct), schedules, hits, all)
	}
	t.Logf("%d distinct traces, %d cancel requests hit, %+v", len(distinct), hits, all)
}

func TestSameSeedSameTrace(t *testing.T) {
	for seed := range uint64(schedules / 10) {
		a, _, errA := direct(seed, 3, 0.2)
		b, _, errB := direct(seed, 3, 0.2)
		if errA != nil || errB != nil || a.Hash() != b.Hash() || a.Counts() != b.Counts() {
			t.Fatalf("seed %d: %x and %x, %v, %v", seed, a.Hash(), b.Hash(), errA, errB)
		}
	}
}
