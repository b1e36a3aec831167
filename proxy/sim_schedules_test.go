package proxy

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/loop/sim"
)

// simSeeds is which schedules to run: SARNIC_SIM_SEED names one, SARNIC_SIM_COUNT how many.
func simSeeds(t *testing.T) (first, n uint64) {
	t.Helper()
	number := func(name string, otherwise uint64) uint64 {
		text := os.Getenv(name)
		if text == "" {
			return otherwise
		}
		v, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return v
	}
	if os.Getenv("SARNIC_SIM_SEED") != "" {
		return number("SARNIC_SIM_SEED", 0), 1
	}
	return number("SARNIC_SIM_FIRST", 0), number("SARNIC_SIM_COUNT", simSchedules)
}

// simResult is what one schedule was.
type simResult struct {
	hash                    uint64
	counts                  sim.Counts
	frames                  int
	cancels, hits, failures int
}

func playSeed(seed uint64) (simResult, error) {
	s, err := newSimScene(seed, os.Getenv("SARNIC_SIM_SEED") != "")
	if err != nil {
		return simResult{}, err
	}
	if err := s.play(); err != nil {
		if s.tell {
			err = fmt.Errorf("%s%w", s.story.String(), err)
		}
		return simResult{}, err
	}
	r := simResult{hash: s.Hash(), counts: s.Counts()}
	for _, c := range s.clients {
		r.frames += c.Answered()
		sent, hit := c.Cancels()
		r.cancels += sent
		r.hits += hit
		r.failures += c.Failures()
	}
	return r, nil
}

// TestSchedules plays many conversations over the real sessions and pools, each in a schedule of its own: whatever
// order things happen in, every client is answered as by a server of its own, and nothing is left behind.
func TestSchedules(t *testing.T) {
	first, n := simSeeds(t)
	var (
		next     atomic.Uint64
		mu       sync.Mutex
		wg       sync.WaitGroup
		distinct = map[uint64]bool{}
		sum      simResult
		failed   int
	)
	next.Store(first)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				seed := next.Add(1) - 1
				if seed >= first+n {
					return
				}
				r, err := playSeed(seed)
				if err == nil && seed%simTwice == 0 {
					var again simResult
					if again, err = playSeed(seed); err == nil && again != r {
						t.Errorf("seed %d is not the same twice: %+v and %+v", seed, r, again)
					}
				}
				mu.Lock()
				if err != nil {
					if failed++; failed <= 3 {
						t.Errorf("seed %d\n%v", seed, err)
					} else {
						t.Errorf("seed %d", seed)
					}
				}
				distinct[r.hash] = true
				sum.counts.Add(r.counts)
				sum.frames += r.frames
				sum.cancels += r.cancels
				sum.hits += r.hits
				sum.failures += r.failures
				enough := failed >= 20
				mu.Unlock()
				if enough {
					return
				}
			}
		})
	}
	wg.Wait()
	c := sum.counts
	t.Logf("%d schedules, %d distinct traces, %d steps, %d answers, %d cuts, %d delays, %d splits, %d blocked writes, %d cancel requests (%d hit), %d failures told",
		n, len(distinct), c.Steps, sum.frames, c.AllCuts(), c.Delays, c.Splits, c.Blocked, sum.cancels, sum.hits, sum.failures)
	if n >= simSchedules && !t.Failed() {
		if uint64(len(distinct)) < n {
			t.Errorf("only %d distinct traces of %d schedules", len(distinct), n)
		}
		if c.AllCuts() == 0 || c.Delays == 0 || c.Splits == 0 || sum.cancels == 0 || sum.hits == 0 || sum.failures == 0 {
			t.Error("something never happened")
		}
	}
}
