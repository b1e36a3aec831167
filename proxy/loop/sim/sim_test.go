//go:build !planted_lost_wake && !planted_lost_edge && !planted_stale_job

package sim

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every schedule brings every client its own bytes in order, whatever breaks, and leaves nothing behind.
func TestRelaySchedules(t *testing.T) {
	distinct := map[uint64]bool{}
	var all Counts
	moves := 0
	for seed := range uint64(schedules) {
		cuts := 0.0
		if seed%2 == 1 {
			cuts = 0.2
		}
		s := newScene(seed, 1+int(seed%5), cuts)
		if err := s.play(); err != nil {
			t.Fatal(err)
		}
		distinct[s.Hash()] = true
		all.Add(s.Counts())
		for _, x := range s.sessions {
			moves += x.moves
		}
	}
	if len(distinct) < schedules {
		t.Errorf("%d distinct traces of %d", len(distinct), schedules)
	}
	if all.AllCuts() == 0 || all.Splits == 0 || all.Delays == 0 || all.Blocked == 0 || all.Offloads == 0 || moves == 0 {
		t.Errorf("something never happened: %+v, %d moves", all, moves)
	}
	t.Logf("%d distinct traces, %+v, %d moves between loops", len(distinct), all, moves)
}

// The same seed twice is the same world.
func TestSameSeedSameTrace(t *testing.T) {
	for seed := range uint64(schedules / 10) {
		var hashes [2]uint64
		var counts [2]Counts
		for i := range hashes {
			s := newScene(seed, 4, 0.1)
			if err := s.play(); err != nil {
				t.Fatal(err)
			}
			hashes[i], counts[i] = s.Hash(), s.Counts()
		}
		if hashes[0] != hashes[1] || counts[0] != counts[1] {
			t.Errorf("seed %d: traces %x and %x, %+v and %+v", seed, hashes[0], hashes[1], counts[0], counts[1])
		}
	}
}
