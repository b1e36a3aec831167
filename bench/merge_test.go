package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func runFile(t *testing.T, name string, d *document) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := writeJSON(file, d); err != nil {
		t.Fatal(err)
	}
	return file
}

// foundBy is a run with one cell in which sarnic has this many times PgBouncer's 1,000 transactions.
func foundBy(times float64) *document {
	c := cell{Script: scriptSelect, Mode: "simple", Clients: 64}
	base := sample{TPS: 1000, P50: 10, P99: 20, CPU: 5}
	ours := sample{TPS: 1000 * times, P50: 10, P99: 20 * times, CPU: 5}
	return &document{
		Base: targetPgBouncer,
		Cells: []cellResult{
			{Cell: c, Name: c.String(), Target: targetPgBouncer, Median: base},
			{Cell: c, Name: c.String(), Target: targetSarnic, Median: ours, Ratio: ratiosOf(ours, base)},
		},
		Idle: []idleResult{
			{Target: targetPgBouncer, Clients: 10, Base: 5e6, LoggedIn: 1000, Queried: 1000},
			{Target: targetSarnic, Clients: 10, Base: 10e6, LoggedIn: 1000 * times, Queried: 1000},
		},
	}
}

// The verdict of three runs is the one in the middle, for figures and ratios alike.
func TestMergeTakesTheMedian(t *testing.T) {
	files := []string{runFile(t, "a", foundBy(1.1)), runFile(t, "b", foundBy(0.5)), runFile(t, "c", foundBy(1.3))}
	var out, status strings.Builder
	if err := run(t.Context(), []string{"-merge", strings.Join(files, ",")}, func(string) string { return "" }, &out, &status); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Medians of 3 runs", "sarnic      1100", "select  sarnic      1  1.10", "10 plain      sarnic", "1.10  1.00",
	} {
		if !strings.Contains(squeeze(out.String()), squeeze(want)) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func TestMergeRefuses(t *testing.T) {
	other := foundBy(1)
	other.Base = targetDirect
	less := foundBy(1)
	less.Cells = less.Cells[:1]
	whole := runFile(t, "whole", foundBy(1))
	for want, file := range map[string]string{
		"no such file":                 "none.json",
		"ratios to direct":             runFile(t, "other", other),
		"1 cells are not in every run": runFile(t, "less", less),
	} {
		var out, status strings.Builder
		err := run(t.Context(), []string{"-merge", whole + "," + file}, func(string) string { return "" }, &out, &status)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
