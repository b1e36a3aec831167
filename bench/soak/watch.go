package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// watch prints progress and takes samples until ctx ends. It stops the load when there is no more use in it.
func (s *soak) watch(ctx context.Context, stop context.CancelFunc, phase int) {
	begun := time.Now()
	tick := time.NewTicker(s.o.every)
	defer tick.Stop()
	var before progress
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.proxy.Done():
			s.faults.add("sarnic", nil, "%v", s.proxy.ended())
			stop()
			return
		case <-s.faults.full:
			stop()
			return
		case <-tick.C:
		}
		now, err := s.proxy.sample(ctx)
		if err != nil {
			if ctx.Err() == nil {
				s.faults.add("metrics", nil, "%v", err)
			}
			continue
		}
		if phase > 1 {
			s.trend = append(s.trend, now)
		}
		before = s.line(time.Since(begun), now, before)
	}
}

// progress is what the last line said, to tell rates from.
type progress struct {
	at       time.Duration
	answers  int64
	requests int
}

// line prints where things stand.
func (s *soak) line(at time.Duration, now sample, before progress) progress {
	p := progress{at, s.tally.get(answers), now.requests}
	span := (at - before.at).Seconds()
	rate := "" // not known on the first line of a phase
	if before.at > 0 {
		rate = fmt.Sprintf("%4.0f answers/s %5.0f requests/s  ",
			float64(p.answers-before.answers)/span, float64(p.requests-before.requests)/span)
	}
	s.say("%6s  %s%d terminated, %d canceled of %d, %d cut, %d lost  %s  %d failures",
		at.Round(time.Second), rate, s.tally.get(terminated), s.tally.get(cancelsHit), s.tally.get(cancelsSent), s.tally.get(cuts),
		s.lost(), now, s.faults.count())
	return p
}

func (s sample) String() string {
	var states []string
	for _, state := range []string{"busy", "idle", "resetting", "connecting"} {
		if n := s.servers[state]; n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, state))
		}
	}
	var loops []string
	for i := range len(s.loops) {
		loops = append(loops, fmt.Sprint(s.loops[i]))
	}
	return fmt.Sprintf("%d clients, servers %s, sockets %s, %d waiting, %d fibers, %d goroutines, %d descriptors, RSS %s, heap %s",
		s.clients, strings.Join(states, " "), strings.Join(loops, "+"), s.waiting, s.fibers, s.goroutines, s.descriptors,
		mega(s.rss), mega(s.heap))
}

func mega(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/(1<<20)) }

// trend is the samples under load after the warm-up.
type trend []sample

// leastTrend is how many samples it takes to speak of one.
const leastTrend = 16

// ends is the median of something in the first and in the last quarter.
func (t trend) ends(of func(sample) int64) (first, last int64) {
	quarter := len(t) / 4
	return median(t[:quarter], of), median(t[len(t)-quarter:], of)
}

func median(t trend, of func(sample) int64) int64 {
	var values []int64
	for _, s := range t {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// growing are the things that must not grow under load either: what each is, how to read it, and what it may gain
// beside the factor of -memory.
func growing() []struct {
	name  string
	of    func(sample) int64
	extra int64
} {
	return []struct {
		name  string
		of    func(sample) int64
		extra int64
	}{
		{"the resident set", func(s sample) int64 { return s.rss }, moreMemory},
		{"the heap", func(s sample) int64 { return s.heap }, moreMemory},
		{"goroutines", func(s sample) int64 { return int64(s.goroutines) }, 20},
		{"descriptors", func(s sample) int64 { return int64(s.descriptors) }, 20},
		{"fibers", func(s sample) int64 { return int64(s.fibers) }, 20},
	}
}

// compareTrend looks for what grew from the first quarter of the load to the last.
func (s *soak) compareTrend() {
	if len(s.trend) < leastTrend {
		return
	}
	for _, g := range growing() {
		first, last := s.trend.ends(g.of)
		if last > int64(float64(first)*s.o.memory)+g.extra {
			s.faults.add("trend", nil, "%s grew under load: %d in the first quarter of the time, %d in the last", g.name, first, last)
		}
	}
}

// compareLosses: each server connection that was terminated may take one client with it, and nothing else may.
func (s *soak) compareLosses() {
	lost, most := s.lost(), s.tally.get(terminated)
	if lost > most {
		s.faults.add("losses", nil, "%d clients lost their server connection although only %d were terminated", lost, most)
	}
}

func (s *soak) lost() int64 {
	return s.tally.get(toldLost) + s.tally.get(foundLost) + s.tally.get(refusedLost)
}
