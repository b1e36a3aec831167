package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// report prints what was done and what came of it.
func (s *soak) report(out io.Writer) {
	fmt.Fprintf(out, "\nsoak of sarnic %s before PostgreSQL %s\n", s.warm.version, s.pg.Install.Version)
	fmt.Fprintf(out, "seed %d, %s under load after %s of warm-up, %d workers and %d vandals, %d server connections, %d loops\n\n",
		s.o.seed, s.loaded.Round(time.Second), s.o.warmup, s.o.clients, s.o.vandals, s.o.pool, s.o.loops)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	s.reportBooks(t)
	for _, name := range counted() {
		fmt.Fprintf(t, "%d\t %s\n", s.tally.get(name), name)
	}
	t.Flush()
	s.reportWork(out)
	s.reportGrowth(out)
	for i, text := range s.faults.shown() {
		fmt.Fprintf(out, "\nFAILURE %d: %s\n", i+1, text)
	}
	fmt.Fprintf(out, "\n%d failures\n", s.faults.count())
}

func (s *soak) reportBooks(out io.Writer) {
	n, copies := counts(s.books)
	landed := "not audited"
	if s.audit != nil {
		landed = fmt.Sprintf("%d of them committed", s.audit.landed)
	}
	fmt.Fprintf(out, "%d\t transactions acknowledged\n%d\t not committed\n", n[present], n[absent])
	fmt.Fprintf(out, "%d\t of unknown outcome, %s\n%d\t of all these were a COPY\n", n[unknown], landed, copies)
}

// reportWork shows how often everything was done.
func (s *soak) reportWork(out io.Writer) {
	fmt.Fprintln(out)
	var left, right []string
	for _, j := range new(worker).jobs() {
		left = append(left, fmt.Sprintf("%d\t %s", s.tally.get(j.name), j.name))
	}
	for _, p := range new(vandal).pranks() {
		right = append(right, fmt.Sprintf("%d\t %s", s.tally.get(p.name), p.name))
	}
	columns(out, left)
	fmt.Fprintln(out)
	columns(out, right)
}

// columns prints pairs of cells, two pairs in a line.
func columns(out io.Writer, pairs []string) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight|tabwriter.TabIndent)
	half := (len(pairs) + 1) / 2
	for i, pair := range pairs[:half] {
		fmt.Fprint(t, pair)
		if half+i < len(pairs) {
			fmt.Fprint(t, "\t "+pairs[half+i])
		}
		fmt.Fprintln(t)
	}
	t.Flush()
}

// reportGrowth shows the calm after the warm-up and at the end, and both ends of the time under load.
func (s *soak) reportGrowth(out io.Writer) {
	fmt.Fprintln(out)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tcalm, warm\tcalm, at the end\tfirst quarter\tlast quarter\t")
	for _, g := range growing() {
		first, last := "", ""
		if len(s.trend) >= leastTrend {
			a, b := s.trend.ends(g.of)
			first, last = figure(g.name, a), figure(g.name, b)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t\n", g.name, figure(g.name, g.of(s.warm)), figure(g.name, g.of(s.last)), first, last)
	}
	fmt.Fprintf(t, "server connections\t%d\t%d\t\t\t\n", s.warm.connected(), s.last.connected())
	t.Flush()
	fmt.Fprintf(out, "%d requests, %d server connections dialled, %d slow turns of a loop\n",
		s.last.requests, s.last.dials, s.last.slowTurns)
}

func figure(name string, n int64) string {
	if strings.HasPrefix(name, "the ") { // memory
		return mega(n)
	}
	return fmt.Sprint(n)
}
