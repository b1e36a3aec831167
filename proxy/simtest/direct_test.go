package simtest

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop/sim"
)

// direct is clients that each have a server process of their own: nothing may ever be wrong there.
func direct(seed uint64, clients int, cuts float64) (*sim.World, error) {
	w := sim.New(seed, slog.New(slog.DiscardHandler))
	db := NewDatabase(func(d time.Duration, wake func()) { w.After(d, 0, wake) })
	if seed%3 == 0 {
		db.Major = 15
	}
	all := make([]*Client, clients)
	for i := range all {
		theirs, ours := w.Pair(fmt.Sprintf("client %d", i), fmt.Sprintf("server of client %d", i))
		Listen(ours, db.Start())
		all[i] = NewClient(w, theirs, i, 30, AllTraits(), db.Major)
		all[i].Impatient = 0.3
		all[i].Cancel = func(pid uint32, _ []byte) {
			if b := db.Backend(pid); b != nil {
				b.Cancel()
			}
		}
		theirs.MaybeCut(cuts, 3000)
	}
	err := w.Run(time.Hour, func() bool {
		for _, c := range all {
			if !c.Done() {
				return false
			}
		}
		return db.Backends() == 0
	})
	if err != nil {
		return w, err
	}
	for _, c := range all {
		if c.Err() != nil {
			return w, c.Err()
		}
		if lost, _ := c.Lost(); lost && w.Counts().AllCuts() == 0 {
			return w, fmt.Errorf("%s lost its connection, and nothing was cut", c.prefix)
		}
		if err := c.CheckRows(db); err != nil {
			return w, err
		}
	}
	return w, w.Close()
}

func TestDirectConnections(t *testing.T) {
	var all sim.Counts
	distinct := map[uint64]bool{}
	for seed := range uint64(schedules) {
		w, err := direct(seed, 1+int(seed%4), []float64{0, 0.3}[seed%2])
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		distinct[w.Hash()] = true
		all.Add(w.Counts())
	}
	if len(distinct) != schedules || all.AllCuts() == 0 {
		t.Errorf("%d distinct traces of %d, %+v", len(distinct), schedules, all)
	}
	t.Logf("%d distinct traces, %+v", len(distinct), all)
}

func TestSameSeedSameTrace(t *testing.T) {
	for seed := range uint64(schedules / 10) {
		a, errA := direct(seed, 3, 0.2)
		b, errB := direct(seed, 3, 0.2)
		if errA != nil || errB != nil || a.Hash() != b.Hash() || a.Counts() != b.Counts() {
			t.Fatalf("seed %d: %x and %x, %v, %v", seed, a.Hash(), b.Hash(), errA, errB)
		}
	}
}
