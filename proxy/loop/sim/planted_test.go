//go:build planted_lost_wake || planted_lost_edge || planted_stale_job

package sim

import "testing"

// With a bug planted in package loop by a build tag, some schedule must show it.
func TestPlantedBugIsFound(t *testing.T) {
	for seed := range uint64(2000) {
		s := newScene(seed, 1+int(seed%6), 0)
		if err := s.play(); err != nil {
			t.Logf("found by seed %d", seed)
			return
		}
	}
	t.Fatal("2000 schedules did not find the planted bug")
}
