package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// mergeRuns prints what several runs found together. A cell moves by a tenth from run to run, so the verdict on it is the
// median of the runs: of the figures, and of the ratios that each run found for itself.
func mergeRuns(files []string, pool int, out io.Writer) error {
	var runs []*document
	for _, f := range files {
		d, err := readRun(f)
		if err != nil {
			return err
		}
		if len(runs) > 0 && d.Base != runs[0].Base {
			return fmt.Errorf("%s: ratios to %s, those of %s are to %s", f, d.Base, files[0], runs[0].Base)
		}
		runs = append(runs, d)
		fmt.Fprintf(out, "%s%s\n\n", d.Machine, strings.Join(append(d.Missing, d.Failures...), "\n"))
	}
	merged := &document{Base: runs[0].Base, Cells: mergeCells(runs), Idle: mergeIdle(runs)}
	merged.Summary = summarise(merged.Cells, targetsOf(merged.Cells), pool)
	for _, c := range merged.Cells {
		if n := len(c.Rounds); n < len(runs) {
			merged.Missing = append(merged.Missing, fmt.Sprintf("%s of %s (%d of %d runs)", c.Name, c.Target, n, len(runs)))
		}
	}
	fmt.Fprintf(out, "Medians of %d runs.\n", len(runs))
	merged.print(out)
	if len(merged.Missing) > 0 {
		return fmt.Errorf("%d cells are not in every run", len(merged.Missing))
	}
	return nil
}

func readRun(file string) (*document, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &d, nil
}

// mergeCells has one result for each cell and target; its rounds are the runs.
func mergeCells(runs []*document) []cellResult {
	type place struct{ name, target string }
	var (
		merged []cellResult
		index  = map[place]int{}
		found  [][]ratios
	)
	for _, d := range runs {
		for _, c := range d.Cells {
			p := place{c.Name, c.Target}
			i, ok := index[p]
			if !ok {
				i = len(merged)
				index[p] = i
				merged = append(merged, cellResult{Cell: c.Cell, Name: c.Name, Target: c.Target})
				found = append(found, nil)
			}
			merged[i].Rounds = append(merged[i].Rounds, c.Median)
			if c.Ratio != nil {
				found[i] = append(found[i], *c.Ratio)
			}
		}
	}
	for i := range merged {
		merged[i].Median = medians(merged[i].Rounds)
		merged[i].Ratio = medianRatios(found[i])
	}
	return merged
}

func medianRatios(rs []ratios) *ratios {
	if len(rs) == 0 {
		return nil
	}
	return &ratios{
		TPS: medianOf(rs, func(r ratios) float64 { return r.TPS }),
		P50: medianOf(rs, func(r ratios) float64 { return r.P50 }),
		P99: medianOf(rs, func(r ratios) float64 { return r.P99 }),
		CPU: medianOf(rs, func(r ratios) float64 { return r.CPU }),
		RSS: medianOf(rs, func(r ratios) float64 { return r.RSS }),
	}
}

func mergeIdle(runs []*document) []idleResult {
	type kind struct {
		target  string
		tls     bool
		clients int
	}
	var order []kind
	all := map[kind][]idleResult{}
	for _, d := range runs {
		for _, r := range d.Idle {
			k := kind{r.Target, r.TLS, r.Clients}
			if all[k] == nil {
				order = append(order, k)
			}
			all[k] = append(all[k], r)
		}
	}
	var merged []idleResult
	for _, k := range order {
		merged = append(merged, idleResult{
			Target: k.target, TLS: k.tls, Clients: k.clients,
			Base:     medianOf(all[k], func(r idleResult) float64 { return r.Base }),
			LoggedIn: medianOf(all[k], func(r idleResult) float64 { return r.LoggedIn }),
			Queried:  medianOf(all[k], func(r idleResult) float64 { return r.Queried }),
		})
	}
	return merged
}

func targetsOf(cells []cellResult) []string {
	var targets []string
	seen := map[string]bool{}
	for _, c := range cells {
		if !seen[c.Target] {
			seen[c.Target] = true
			targets = append(targets, c.Target)
		}
	}
	return targets
}
