package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
)

// document is everything a run found: -json writes it, print shows it.
type document struct {
	Machine  machine      `json:"machine"`
	Base     string       `json:"ratios_to"`
	Cells    []cellResult `json:"cells"`
	Summary  []summary    `json:"summary"`
	Idle     []idleResult `json:"idle,omitempty"`
	Missing  []string     `json:"missing,omitempty"`
	Failures []string     `json:"failures,omitempty"`
}

// cellResult is one target in one cell.
type cellResult struct {
	Cell   cell     `json:"cell"`
	Name   string   `json:"name"`
	Target string   `json:"target"`
	Median sample   `json:"median"`
	Ratio  *ratios  `json:"ratio,omitempty"` // to the base; nil for the base itself and where either is missing
	Rounds []sample `json:"rounds"`
}

// ratios are a target's medians over the base's; 0 where one of the two has no such figure.
type ratios struct {
	TPS float64 `json:"tps"`
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	CPU float64 `json:"cpu,omitempty"`
	RSS float64 `json:"rss,omitempty"`
}

// summary is one target over all cells of a group.
type summary struct {
	Group      string  `json:"group"`
	Target     string  `json:"target"`
	Cells      int     `json:"cells"`
	TPS        float64 `json:"tps_geomean"`
	WorstTPS   worst   `json:"tps_worst"`
	CPU        float64 `json:"cpu_geomean,omitempty"`
	WorstCPU   worst   `json:"cpu_worst,omitzero"`
	P50        float64 `json:"p50_geomean"`
	P99        float64 `json:"p99_geomean"`
	P99Waiting float64 `json:"p99_geomean_above_pool,omitempty"` // cells with more clients than server connections
	WorstP99   worst   `json:"p99_worst_above_pool,omitzero"`
}

type worst struct {
	Ratio float64 `json:"ratio"`
	Cell  string  `json:"cell"`
}

func (b *bench) document(r *results, idle []idleResult) *document {
	d := &document{Machine: b.machine, Base: b.o.base, Idle: idle, Missing: r.missing(), Failures: r.failures}
	for _, c := range r.cells {
		base := r.samples[c][b.o.base]
		for _, t := range r.targets {
			rounds := r.samples[c][t]
			if len(rounds) == 0 {
				continue
			}
			res := cellResult{Cell: c, Name: c.String(), Target: t, Median: medians(rounds), Rounds: rounds}
			if t != b.o.base && len(base) > 0 {
				res.Ratio = ratiosOf(res.Median, medians(base))
			}
			d.Cells = append(d.Cells, res)
		}
	}
	d.Summary = summarise(d.Cells, r.targets, b.o.pool)
	return d
}

func medians(rounds []sample) sample {
	pick := func(f func(sample) float64) float64 { return medianOf(rounds, f) }
	return sample{
		Transactions: int64(pick(func(s sample) float64 { return float64(s.Transactions) })),
		TPS:          pick(func(s sample) float64 { return s.TPS }),
		P50:          pick(func(s sample) float64 { return s.P50 }),
		P99:          pick(func(s sample) float64 { return s.P99 }),
		Connect:      pick(func(s sample) float64 { return s.Connect }),
		CPU:          pick(func(s sample) float64 { return s.CPU }),
		RSS:          pick(func(s sample) float64 { return s.RSS }),
	}
}

func ratiosOf(a, base sample) *ratios {
	over := func(x, y float64) float64 {
		if x == 0 || y == 0 {
			return 0
		}
		return x / y
	}
	return &ratios{over(a.TPS, base.TPS), over(a.P50, base.P50), over(a.P99, base.P99), over(a.CPU, base.CPU), over(a.RSS, base.RSS)}
}

// summarise makes one line per target and group, groups in the order of their cells, and last one over all groups.
func summarise(cells []cellResult, targets []string, pool int) []summary {
	var groups []string
	for _, c := range cells {
		if g := c.Cell.group(); !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	var all []summary
	for _, g := range append(groups, "all") {
		for _, t := range targets {
			of := slices.DeleteFunc(slices.Clone(cells), func(c cellResult) bool {
				return c.Target != t || c.Ratio == nil || g != "all" && c.Cell.group() != g
			})
			if len(of) > 0 {
				all = append(all, summariseTarget(g, t, of, pool))
			}
		}
	}
	return all
}

func summariseTarget(group, target string, cells []cellResult, pool int) summary {
	waiting := slices.DeleteFunc(slices.Clone(cells), func(c cellResult) bool { return c.Cell.Clients <= pool })
	s := summary{Group: group, Target: target, Cells: len(cells)}
	s.TPS, s.WorstTPS = over(cells, func(r *ratios) float64 { return r.TPS }, -1)
	s.CPU, s.WorstCPU = over(cells, func(r *ratios) float64 { return r.CPU }, 1)
	s.P50, _ = over(cells, func(r *ratios) float64 { return r.P50 }, 1)
	s.P99, _ = over(cells, func(r *ratios) float64 { return r.P99 }, 1)
	s.P99Waiting, s.WorstP99 = over(waiting, func(r *ratios) float64 { return r.P99 }, 1)
	return s
}

// over is the geometric mean of one ratio and its worst cell, which is the highest for badness 1 and the lowest for -1.
// Both are zero where no cell has the ratio.
func over(cells []cellResult, f func(*ratios) float64, badness float64) (float64, worst) {
	var xs []float64
	var w worst
	for _, c := range cells {
		x := f(c.Ratio)
		if x == 0 {
			continue
		}
		if len(xs) == 0 || (x-w.Ratio)*badness > 0 {
			w = worst{x, c.Name}
		}
		xs = append(xs, x)
	}
	if len(xs) == 0 {
		return 0, w
	}
	return geomean(xs), w
}

func (d *document) print(out io.Writer) {
	if len(d.Cells) > 0 {
		d.printCells(out)
		d.printSummary(out)
	}
	if len(d.Idle) > 0 {
		d.printIdle(out)
	}
	for _, f := range d.Failures {
		fmt.Fprintln(out, "FAILED:", f)
	}
	const most = 10
	for i, m := range d.Missing {
		if i == most {
			fmt.Fprintln(out, "MISSING:", len(d.Missing)-most, "more")
			break
		}
		fmt.Fprintln(out, "MISSING:", m)
	}
}

func (d *document) printCells(out io.Writer) {
	t := newTable("cell", "target", "TPS", "p50 ms", "p99 ms", "connect ms", "CPU µs", "RSS MB", "TPS ×", "p50 ×", "p99 ×", "CPU ×", "RSS ×")
	last := ""
	for _, c := range d.Cells {
		name := c.Name
		if name == last {
			name = ""
		}
		last = c.Name
		m := c.Median
		cols := []string{name, c.Target, whole(m.TPS), milli(m.P50), milli(m.P99), milli(m.Connect), tenth(m.CPU), tenth(m.RSS / 1e6)}
		if r := c.Ratio; r != nil {
			cols = append(cols, ratio(r.TPS), ratio(r.P50), ratio(r.P99), ratio(r.CPU), ratio(r.RSS))
		}
		t.row(cols...)
	}
	fmt.Fprintf(out, "\nMedians of the rounds; CPU is the proxy's time per transaction; × is the ratio to %s\n\n", d.Base)
	t.print(out)
}

func (d *document) printSummary(out io.Writer) {
	if len(d.Summary) == 0 {
		return
	}
	t := newTable("group", "target", "cells", "TPS", "worst", "CPU", "worst", "p50", "p99", "p99 waiting", "worst", "worst cells (TPS, CPU, p99)")
	for _, s := range d.Summary {
		t.row(s.Group, s.Target, fmt.Sprint(s.Cells), ratio(s.TPS), ratio(s.WorstTPS.Ratio), ratio(s.CPU), ratio(s.WorstCPU.Ratio),
			ratio(s.P50), ratio(s.P99), ratio(s.P99Waiting), ratio(s.WorstP99.Ratio),
			fmt.Sprintf("%s, %s, %s", s.WorstTPS.Cell, orDash(s.WorstCPU.Cell), orDash(s.WorstP99.Cell)))
	}
	fmt.Fprintf(out, "\nGeometric means of the ratios to %s; waiting: cells with more clients than server connections\n\n", d.Base)
	t.print(out)
}

func (d *document) printIdle(out io.Writer) {
	t := newTable("idle clients", "target", "base MB", "kB per client after login", "after one query each", "base ×", "login ×", "query ×")
	for _, r := range d.Idle {
		kind := fmt.Sprintf("%d plain", r.Clients)
		if r.TLS {
			kind = fmt.Sprintf("%d TLS", r.Clients)
		}
		cols := []string{kind, r.Target, tenth(r.Base / 1e6), hundredth(r.LoggedIn / 1e3), hundredth(r.Queried / 1e3)}
		base := slices.IndexFunc(d.Idle, func(x idleResult) bool { return x.Target == d.Base && x.TLS == r.TLS })
		if base >= 0 && r.Target != d.Base {
			x := d.Idle[base]
			cols = append(cols, ratio(r.Base/x.Base), ratio(r.LoggedIn/x.LoggedIn), ratio(r.Queried/x.Queried))
		}
		t.row(cols...)
	}
	fmt.Fprintf(out, "\nMemory (RSS) of freshly started processes; × is the ratio to %s; kB and MB are decimal\n\n", d.Base)
	t.print(out)
}

func writeJSON(file string, doc any) error {
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

func whole(x float64) string     { return number("%.0f", x) }
func tenth(x float64) string     { return number("%.1f", x) }
func hundredth(x float64) string { return number("%.2f", x) }
func ratio(x float64) string     { return number("%.2f", x) }
func ratio3(x float64) string    { return number("%.3f", x) }
func milli(us float64) string    { return number("%.3f", us/1e3) }

// number shows a figure that does not exist as a dash.
func number(format string, x float64) string {
	if x == 0 || math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf(format, x)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
