package main

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the reports into testdata, to be read as a diff")

// checkGolden compares with a file of testdata.
func checkGolden(t *testing.T, file, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

func exampleResults() *results {
	o := &options{targets: []string{targetDirect, targetPgBouncer, targetSarnic}}
	o.rounds = 3
	r := newResults(o)
	small := cell{Script: scriptSelect, Mode: "simple", Clients: 16}
	large := cell{Script: scriptSelect, Mode: "prepared", Clients: 64}
	again := cell{Script: scriptSelect, Mode: "simple", Clients: 16, Reconnect: true}
	r.cells = []cell{small, large, again}
	for i := range o.rounds {
		f := float64(i)
		r.add(small, targetDirect, sample{TPS: 40000 + f, P50: 300, P99: 900 - f})
		r.add(small, targetPgBouncer, sample{TPS: 20000 + f, P50: 600, P99: 2000, CPU: 16 + f, RSS: 5e6})
		r.add(small, targetSarnic, sample{TPS: 24000 - f, P50: 500, P99: 1500, CPU: 17, RSS: 20e6})
		r.add(large, targetPgBouncer, sample{TPS: 19000, P50: 3000, P99: 9000, CPU: 18, RSS: 5e6})
		r.add(large, targetSarnic, sample{TPS: 17100, P50: 3300, P99: 8100 + f, CPU: 18, RSS: 21e6})
		r.add(again, targetPgBouncer, sample{TPS: 230, P50: 190, P99: 3300, Connect: 5100, CPU: 160, RSS: 5e6})
	}
	return r
}

func TestReport(t *testing.T) {
	b := &bench{o: &options{base: targetPgBouncer}}
	b.o.pool = 20
	idle := []idleResult{
		{Target: targetPgBouncer, Clients: 5000, Base: 5e6, LoggedIn: 1250, Queried: 1300},
		{Target: targetSarnic, Clients: 5000, Base: 18e6, LoggedIn: 1000, Queried: 1040},
		{Target: targetSarnic, TLS: true, Clients: 5000, Base: 18e6, LoggedIn: 14000, Queried: 14000},
	}
	r := exampleResults()
	r.failures = []string{"round 1, select/simple/16/reconnect of sarnic: pgbench: exit status 2"}
	var out strings.Builder
	b.document(r, idle).print(&out)
	checkGolden(t, "testdata/report.txt", out.String())
}

func TestMissing(t *testing.T) {
	r := exampleResults()
	want := []string{
		"select/prepared/64 of direct (0 of 3 rounds)",
		"select/simple/16/reconnect of direct (0 of 3 rounds)",
		"select/simple/16/reconnect of sarnic (0 of 3 rounds)",
	}
	if got := r.missing(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// A program without TLS is not missing in the TLS cells.
func TestSkippedIsNotMissing(t *testing.T) {
	o := &options{targets: []string{"old", "new"}}
	o.rounds = 1
	r := newResults(o)
	c := cell{Script: scriptSelect, Mode: "simple", Clients: 1, TLS: true}
	r.expect([]cell{c}, []target{{name: "new"}})
	r.add(c, "new", sample{TPS: 1})
	if got := r.missing(); len(got) > 0 {
		t.Error(got)
	}
}

func TestRotate(t *testing.T) {
	ts := []target{{name: "a"}, {name: "b"}, {name: "c"}}
	for by, want := range []string{"abc", "bca", "cab", "abc"} {
		var got string
		for _, x := range rotate(ts, by) {
			got += x.name
		}
		if got != want {
			t.Errorf("by %d: %s", by, got)
		}
	}
}

func TestBuildsReport(t *testing.T) {
	o := &options{targets: []string{"old", "new"}}
	o.rounds = 4
	r := newResults(o)
	for i, clients := range []int{1, 16} {
		c := cell{Script: scriptSelect, Mode: "simple", Clients: clients}
		r.cells = append(r.cells, c)
		for n := range o.rounds {
			f := float64(n + i)
			r.add(c, "old", sample{TPS: 10000 + 100*f, CPU: 20})
			r.add(c, "new", sample{TPS: 10200 + 90*f, CPU: 20.1 + f/10})
		}
	}
	d := abDocument{Names: [2]string{"old", "new"}}
	d.fill(r)
	var out strings.Builder
	d.print(&out)
	checkGolden(t, "testdata/builds.txt", out.String())
}
