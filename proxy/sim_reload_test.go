package proxy

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSchedulesWithReloads is TestSchedules with a configuration that keeps changing: whenever a pool is reconfigured,
// redirected or reconnected, its clients notice nothing.
func TestSchedulesWithReloads(t *testing.T) {
	first, n := simSeeds(t)
	n = (n + 3) / 4
	var next, failed, reloads atomic.Uint64
	next.Store(first)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				seed := next.Add(1) - 1
				if seed >= first+n || failed.Load() >= 3 {
					return
				}
				done, err := playReloads(seed, os.Getenv("SARNIC_SIM_SEED") != "")
				reloads.Add(done)
				if err != nil {
					failed.Add(1)
					t.Errorf("seed %d\n%v", seed, err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d schedules, %d reloads", n, reloads.Load())
}

func playReloads(seed uint64, tell bool) (reloads uint64, err error) {
	s, err := newSimScene(seed, tell)
	if err != nil {
		return 0, err
	}
	r := rand.New(rand.NewPCG(seed, 1))
	for range 1 + r.IntN(6) {
		s.After(time.Duration(r.IntN(20_000))*time.Microsecond, 2000, func() { s.reload(r); reloads++ })
	}
	if err = s.play(); err != nil && tell {
		err = fmt.Errorf("%s%w", s.story.String(), err)
	}
	return reloads, err
}

// reload changes the pool in one of the ways in which a new configuration does.
func (s *simScene) reload(r *rand.Rand) {
	switch r.IntN(4) {
	case 0:
		s.say("the pool is reconnected")
		s.pool.Reconnect()
	case 1:
		s.say("the pool is redirected")
		s.pool.Redirect(s.dial, s.cancel)
	default:
		cfg := *s.pool.Config()
		cfg.Size = 1 + r.IntN(3)
		cfg.MinSize = r.IntN(cfg.Size + 1)
		cfg.Statements = 1 + r.IntN(4)
		cfg.Lifetime = []time.Duration{0, time.Millisecond, time.Second}[r.IntN(3)]
		s.say("the pool is reconfigured: %+v", cfg)
		s.pool.Reconfigure(cfg)
	}
}
