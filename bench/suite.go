package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// results are all samples of a run. A cell is missing where a target has fewer samples than rounds.
type results struct {
	rounds   int
	targets  []string
	cells    []cell                       // in the order of measurement
	skipped  map[cell]map[string]bool     // targets a cell does not apply to
	samples  map[cell]map[string][]sample // by target, in the order of rounds
	failures []string
}

func newResults(o *options) *results {
	return &results{rounds: o.rounds, targets: o.targets, samples: map[cell]map[string][]sample{}}
}

func (r *results) add(c cell, t string, s sample) {
	if r.samples[c] == nil {
		r.samples[c] = map[string][]sample{}
	}
	r.samples[c][t] = append(r.samples[c][t], s)
}

// missing names what was not measured in every round.
func (r *results) missing() []string {
	var names []string
	for _, c := range r.cells {
		for _, t := range r.targets {
			if n := len(r.samples[c][t]); n < r.rounds && !r.skipped[c][t] {
				names = append(names, fmt.Sprintf("%s of %s (%d of %d rounds)", c, t, n, r.rounds))
			}
		}
	}
	return names
}

// compareTargets is the ordinary run. What was measured before a failure or Ctrl-C is still printed.
func (b *bench) compareTargets(ctx context.Context, out io.Writer) error {
	r := newResults(b.o)
	var idle []idleResult
	err := b.phase(ctx, r, b.o.plainCells(), false)
	if err == nil {
		err = b.phase(ctx, r, b.o.tlsCells(), true)
	}
	if err == nil {
		idle, err = b.idlePhases(ctx)
	}
	b.progress.clear()
	doc := b.document(r, idle)
	doc.print(out)
	if b.o.jsonFile != "" {
		err = errors.Join(err, writeJSON(b.o.jsonFile, doc))
	}
	if err == nil && len(doc.Missing) > 0 {
		err = fmt.Errorf("%d cells are missing", len(doc.Missing))
	}
	return err
}

// phase measures cells on targets started for it, one round after another over all of them.
func (b *bench) phase(ctx context.Context, r *results, cells []cell, tls bool) error {
	if len(cells) == 0 {
		return nil
	}
	ts, err := b.startTargets(ctx, tls)
	if err != nil {
		return err
	}
	defer stopTargets(ts)
	r.expect(cells, ts)
	if err := b.warm(ctx, ts); err != nil {
		return err
	}
	b.progress.expect(b.o.rounds * len(cells) * len(ts))
	for round := range b.o.rounds {
		for i, c := range cells {
			if err := b.turn(ctx, r, c, rotate(ts, round+i), round); err != nil {
				return err
			}
		}
	}
	return nil
}

// expect notes the cells, and the targets that do not take part in them.
func (r *results) expect(cells []cell, ts []target) {
	r.cells = append(r.cells, cells...)
	for _, name := range r.targets {
		if slices.ContainsFunc(ts, func(t target) bool { return t.name == name }) {
			continue
		}
		for _, c := range cells {
			if r.skipped == nil {
				r.skipped = map[cell]map[string]bool{}
			}
			if r.skipped[c] == nil {
				r.skipped[c] = map[string]bool{}
			}
			r.skipped[c][name] = true
		}
	}
}

// turn measures one cell on all targets, one directly after the other. A pgbench that fails leaves a hole; a server that
// is gone ends the run.
func (b *bench) turn(ctx context.Context, r *results, c cell, ts []target, round int) error {
	for _, t := range ts {
		if c.Script == scriptTPCB {
			if err := b.pg.tidy(ctx); err != nil {
				return err
			}
		}
		s, err := b.load.measure(ctx, c, t, round+1)
		if ctx.Err() != nil {
			return fmt.Errorf("stopped in round %d: %w", round+1, context.Cause(ctx))
		}
		if err != nil {
			if gone := b.gone(t); gone != nil {
				return gone
			}
			r.failures = append(r.failures, fmt.Sprintf("round %d, %s of %s: %v", round+1, c, t.name, err))
			b.progress.step("round %d %s %s FAILED: %v", round+1, c, t.name, err)
			continue
		}
		r.add(c, t.name, s)
		b.progress.step("round %d/%d %s %s: %.0f TPS", round+1, b.o.rounds, c, t.name, s.TPS)
	}
	return nil
}

func (b *bench) gone(t target) error {
	if t.proc != nil {
		if err := t.proc.ended(); err != nil {
			return err
		}
	}
	if b.pg.PID() == 0 {
		return errors.New("PostgreSQL is gone")
	}
	return nil
}

// warm fills the pools and PostgreSQL's cache: the first round must not be the one that does.
func (b *bench) warm(ctx context.Context, ts []target) error {
	short := b.load
	short.seconds = 1
	c := cell{Script: scriptSelect, Mode: "simple", Clients: b.o.pool * 2}
	for _, t := range ts {
		if _, err := short.measure(ctx, c, t, 1); err != nil {
			return fmt.Errorf("warming up %s: %w", t.name, err)
		}
	}
	return nil
}

// rotate moves the first by places to the end.
func rotate(ts []target, by int) []target {
	by %= len(ts)
	return append(slices.Clone(ts[by:]), ts[:by]...)
}
