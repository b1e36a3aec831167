package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// bench is one run: the server, and what is needed to put a proxy in front of it.
type bench struct {
	o        *options
	dir      string // holds everything of this run; removed at the end
	cert     certificate
	machine  machine
	load     pgbench
	pg       *postgres
	progress *progress
}

// newBench checks that every program is there before it starts PostgreSQL.
func newBench(ctx context.Context, o *options, status io.Writer) (*bench, error) {
	m, err := survey(ctx, o)
	if err != nil {
		return nil, err
	}
	b := &bench{o: o, machine: m, progress: newProgress(status, o.verbose)}
	if err := b.open(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) open(ctx context.Context) error {
	var err error
	if b.dir, err = os.MkdirTemp("", "sarnic-bench-"); err != nil {
		return err
	}
	if err := os.Chmod(b.dir, 0o755); err != nil { // PgBouncer reads in it as another user
		return err
	}
	if b.cert, err = newCertificate(b.dir); err != nil {
		return err
	}
	b.load = pgbench{
		path: b.o.pgbench, dir: b.dir, jobs: b.o.jobs, pool: b.o.pool, seconds: b.o.seconds,
		connect: map[connectKey]time.Duration{},
	}
	b.progress.say("starting PostgreSQL and loading pgbench's tables, scale %d", b.o.scale)
	b.pg, err = startPostgres(ctx, b.o, b.load, func(text string) { b.progress.say("%s", text) })
	return err
}

func (b *bench) close() {
	if b.pg != nil {
		b.pg.Close()
	}
	if b.dir != "" {
		os.RemoveAll(b.dir)
	}
}

// proxies are the programs of this run, in the order of the targets.
func (o *options) proxies() []program {
	if o.ab != nil {
		return o.ab
	}
	var ps []program
	for _, name := range o.targets {
		switch name {
		case targetDirect:
		case targetPgBouncer:
			ps = append(ps, program{name, o.pgbouncer + " " + pgbouncerArgs})
		case targetSarnic:
			ps = append(ps, program{name, o.sarnic})
		default:
			i := slices.IndexFunc(o.extra, func(p program) bool { return p.name == name })
			ps = append(ps, o.extra[i])
		}
	}
	for i := range ps {
		ps[i].command = absolute(ps[i].command)
	}
	return ps
}

// absolute makes a relative program path independent of the working directory, which servers do not share.
func absolute(command string) string {
	p := program{command: command}
	if full, err := filepath.Abs(p.path()); err == nil && filepath.Base(p.path()) != p.path() {
		return full + command[len(p.path()):]
	}
	return command
}

// startTargets starts every proxy that can serve in this way, and adds the server itself where it is a target.
func (b *bench) startTargets(ctx context.Context, tls bool) ([]target, error) {
	var ts []target
	if slices.Contains(b.o.targets, targetDirect) {
		t := b.pg.direct()
		t.tls = tls
		ts = append(ts, t)
	}
	for _, p := range b.o.proxies() {
		if tls && !p.offersTLS() {
			b.progress.say("%s is not in the TLS cells: its command has no {tls}", p.name)
			continue
		}
		t, err := b.startProxy(ctx, p, tls)
		if err != nil {
			stopTargets(ts)
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		ts = append(ts, t)
	}
	return ts, nil
}

func stopTargets(ts []target) {
	for _, t := range ts {
		t.stop()
	}
}
