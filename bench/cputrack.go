package main

import (
	"errors"
	"sync"
	"time"
)

// cpuInterval is between two readings of the CPU clock. Reading it takes a microsecond or two.
const cpuInterval = 10 * time.Millisecond

// cpuTrack reads a process's CPU clock all the time, because only the log, afterwards, tells when the first transaction began.
type cpuTrack struct {
	pid  int
	quit chan struct{}
	once sync.Once
	done chan struct{} // closed when at, used and err may be read
	at   []int64       // wall clock, µs since 1970
	used []time.Duration
	err  error
}

// trackCPU begins reading; for the server itself there is nothing to read, but the ticking is the same for all.
func trackCPU(t target) (*cpuTrack, error) {
	c := &cpuTrack{quit: make(chan struct{}), done: make(chan struct{})}
	if t.proc != nil {
		c.pid = t.proc.PID()
		if c.read(); c.err != nil {
			return nil, c.err
		}
	}
	go c.run()
	return c, nil
}

func (c *cpuTrack) run() {
	defer close(c.done)
	tick := time.NewTicker(cpuInterval)
	defer tick.Stop()
	for {
		select {
		case <-c.quit:
			c.read()
			return
		case <-tick.C:
			c.read()
		}
	}
}

func (c *cpuTrack) read() {
	if c.pid == 0 || c.err != nil {
		return
	}
	used, err := cpuTime(c.pid)
	if err != nil {
		c.err = err
		return
	}
	c.at = append(c.at, time.Now().UnixMicro())
	c.used = append(c.used, used)
}

// stop reads a last time; it may be called again.
func (c *cpuTrack) stop() {
	c.once.Do(func() { close(c.quit) })
	<-c.done
}

// span is the time from the first reading to the last. Only after stop.
func (c *cpuTrack) span() (from, to int64) {
	if len(c.at) == 0 {
		return 0, 0
	}
	return c.at[0], c.at[len(c.at)-1]
}

// between is the CPU time used from one moment to another, both µs since 1970. Only after stop.
func (c *cpuTrack) between(from, to int64) (time.Duration, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(c.at) < 2 || to <= from {
		return 0, errors.New("no CPU time was read during the transactions")
	}
	return c.usedAt(to) - c.usedAt(from), nil
}

// usedAt interpolates between the readings around a moment; outside them it is the nearest.
func (c *cpuTrack) usedAt(moment int64) time.Duration {
	if moment <= c.at[0] {
		return c.used[0]
	}
	for i := 1; i < len(c.at); i++ {
		if moment > c.at[i] {
			continue
		}
		share := float64(moment-c.at[i-1]) / float64(c.at[i]-c.at[i-1])
		return c.used[i-1] + time.Duration(share*float64(c.used[i]-c.used[i-1]))
	}
	return c.used[len(c.used)-1]
}
