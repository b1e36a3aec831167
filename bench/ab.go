package main

import (
	"context"
	"fmt"
	"io"
	"slices"
)

// abResult is two builds in one cell: medians, and the mean of the rounds' ratios B/A.
type abResult struct {
	Cell     string      `json:"cell"`
	A        sample      `json:"a"`
	B        sample      `json:"b"`
	TPS      interval    `json:"tps_ratio"`
	CPU      interval    `json:"cpu_ratio"`
	RoundsAB [][2]sample `json:"rounds,omitempty"`
}

// abDocument is what -json writes of a comparison. Overall is the geometric mean over the cells, its interval over rounds.
type abDocument struct {
	Machine machine    `json:"machine"`
	Names   [2]string  `json:"names"`
	Cells   []abResult `json:"cells"`
	TPS     interval   `json:"tps_ratio"`
	CPU     interval   `json:"cpu_ratio"`
	Missing []string   `json:"missing,omitempty"`
}

// compareBuilds measures two builds of sarnic against each other. Both are started anew every round, because where a
// process happens to lie in memory can matter as much as what is compared.
func (b *bench) compareBuilds(ctx context.Context, out io.Writer) error {
	o := b.o
	o.targets = []string{o.ab[0].name, o.ab[1].name}
	r := newResults(o)
	plain, tls := o.plainCells(), o.tlsCells()
	r.cells = slices.Concat(plain, tls)
	b.progress.expect(2 * o.rounds * len(r.cells))
	for round := range o.rounds {
		for _, part := range []struct {
			cells []cell
			tls   bool
		}{{plain, false}, {tls, true}} {
			if err := b.roundOfBuilds(ctx, r, part.cells, part.tls, round); err != nil {
				return err
			}
		}
	}
	b.progress.clear()
	if missing := r.missing(); len(missing) > 0 {
		return fmt.Errorf("missing: %v; %v", missing, r.failures)
	}
	doc := abDocument{Machine: b.machine, Names: [2]string(o.targets)}
	doc.fill(r)
	doc.print(out)
	if o.jsonFile != "" {
		return writeJSON(o.jsonFile, doc)
	}
	return nil
}

func (b *bench) roundOfBuilds(ctx context.Context, r *results, cells []cell, tls bool, round int) error {
	if len(cells) == 0 {
		return nil
	}
	var ts []target
	defer func() { stopTargets(ts) }()
	for _, p := range b.o.proxies() {
		t, err := b.startProxy(ctx, p, tls)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		ts = append(ts, t)
	}
	if err := b.warm(ctx, ts); err != nil {
		return err
	}
	for i, c := range cells {
		if err := b.turn(ctx, r, c, rotate(ts, round+i), round); err != nil {
			return err
		}
	}
	return nil
}

func (d *abDocument) fill(r *results) {
	tps, cpu := make([][]float64, r.rounds), make([][]float64, r.rounds)
	for _, c := range r.cells {
		as, bs := r.samples[c][d.Names[0]], r.samples[c][d.Names[1]]
		var ct, cc []float64
		res := abResult{Cell: c.String(), A: medians(as), B: medians(bs)}
		for i := range as {
			res.RoundsAB = append(res.RoundsAB, [2]sample{as[i], bs[i]})
			ct, cc = append(ct, bs[i].TPS/as[i].TPS), append(cc, bs[i].CPU/as[i].CPU)
			tps[i], cpu[i] = append(tps[i], ct[i]), append(cpu[i], cc[i])
		}
		res.TPS, res.CPU = ratioInterval(ct), ratioInterval(cc)
		d.Cells = append(d.Cells, res)
	}
	d.TPS, d.CPU = ratioInterval(geomeans(tps)), ratioInterval(geomeans(cpu))
}

func geomeans(rounds [][]float64) []float64 {
	gs := make([]float64, len(rounds))
	for i, xs := range rounds {
		gs[i] = geomean(xs)
	}
	return gs
}

func (d *abDocument) print(out io.Writer) {
	a, b := d.Names[0], d.Names[1]
	t := newTable("cell", "TPS "+a, b, b+"/"+a, "95 %", "CPU µs "+a, b, b+"/"+a, "95 %")
	for _, c := range d.Cells {
		t.row(c.Cell, whole(c.A.TPS), whole(c.B.TPS), ratio3(c.TPS.Mean), c.TPS.span(),
			tenth(c.A.CPU), tenth(c.B.CPU), ratio3(c.CPU.Mean), c.CPU.span())
	}
	t.row("geometric mean", "", "", ratio3(d.TPS.Mean), d.TPS.span(), "", "", ratio3(d.CPU.Mean), d.CPU.span())
	fmt.Fprintf(out, "\n%s against %s: medians, mean ratio of the rounds and its 95 %% confidence interval; CPU is per transaction\n\n", b, a)
	t.print(out)
}

func (i interval) span() string { return fmt.Sprintf("%s … %s", ratio3(i.Low), ratio3(i.High)) }
