package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const printed = `pgbench (15.18)
transaction type: <builtin: select only>
number of clients: 16
maximum number of tries: 1
duration: 3 s
number of transactions actually processed: 69660
number of failed transactions: 0 (0.000%)
latency average = 0.684 ms
initial connection time = 12.345 ms
tps = 23238.512345 (without initial connection time)
`

func TestParseReport(t *testing.T) {
	s, err := parseReport(printed)
	if err != nil || s.Transactions != 69660 || s.TPS != 23238.512345 || s.Connect != 0 {
		t.Errorf("%+v %v", s, err)
	}
	if d := connectTime(printed); d != 12345*time.Microsecond {
		t.Error(d)
	}
}

func TestParseReportOfReconnects(t *testing.T) {
	s, err := parseReport(`number of transactions actually processed: 700
number of failed transactions: 0 (0.000%)
average connection time = 4.250 ms
tps = 231.000000 (including reconnection times)
`)
	if err != nil || s.TPS != 231 || s.Connect != 4250 {
		t.Errorf("%+v %v", s, err)
	}
}

func TestParseReportRefuses(t *testing.T) {
	for _, text := range []string{
		"",
		"number of transactions actually processed: 5\n",
		"number of transactions actually processed: 5\nnumber of failed transactions: 2 (28.571%)\ntps = 5.0 (without initial connection time)\n",
	} {
		if s, err := parseReport(text); err == nil {
			t.Errorf("%q gave %+v", text, s)
		}
	}
	if _, err := parseReport("number of transactions actually processed: 0\n"); !errors.Is(err, errTooShort) {
		t.Error(err)
	}
}

func TestReadLogs(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"log.1":   "0 0 2500 0 1700000000 500000\n0 1 100 0 1700000000 500200\n",
		"log.1.1": "1 0 400 0 1700000003 7\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readLogs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.latencies) != 3 || got.first != 1700000000497500 || got.last != 1700000003000007 {
		t.Errorf("%+v", got)
	}
}

func TestReadLogsRefuses(t *testing.T) {
	for _, line := range []string{"", "0 0 failed 0 1700000000 5", "0 1 2 3", "0 0 1 0 x 5"} {
		var times logTimes
		if err := times.add(line); err == nil {
			t.Errorf("%q gave %+v", line, times)
		}
	}
}

// A thread that serves several clients would wait for itself: see pgbench.threads.
func TestThreads(t *testing.T) {
	p := pgbench{jobs: 2, pool: 20}
	for c, want := range map[cell]int{
		{Script: scriptTPCB, Mode: "prepared", Clients: 64}:   64,
		{Script: scriptTPCB, Mode: "prepared", Clients: 16}:   2,
		{Script: scriptTPCB, Mode: "simple", Clients: 64}:     2,
		{Script: scriptSelect, Mode: "prepared", Clients: 64}: 2,
		{Script: scriptSelect, Mode: "simple", Clients: 1}:    1,
	} {
		if got := p.threads(c); got != want {
			t.Errorf("%s: %d threads, want %d", c, got, want)
		}
	}
}

func TestCPUBetween(t *testing.T) {
	c := &cpuTrack{at: []int64{100, 200, 300}, used: []time.Duration{1000, 2000, 6000}}
	for _, tt := range []struct {
		from, to int64
		want     time.Duration
	}{
		{100, 300, 5000}, {150, 250, 2500}, {200, 201, 40}, {0, 1000, 5000},
	} {
		if got, err := c.between(tt.from, tt.to); err != nil || got != tt.want {
			t.Errorf("%d to %d: got %v (%v), want %v", tt.from, tt.to, got, err, tt.want)
		}
	}
	if _, err := c.between(5, 5); err == nil {
		t.Error("an empty window gave a figure")
	}
}

func TestProcessFigures(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for n := 0; time.Now().Before(deadline); n++ { // spend CPU time until the clock shows it
		after, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if after > before+time.Millisecond {
			break
		}
	}
	if size, err := rss(os.Getpid()); err != nil || size < 1<<20 {
		t.Error(size, err)
	}
	if _, err := cpuTime(1 << 22); err == nil {
		t.Error("a process that does not exist has a CPU clock")
	}
}
