package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options is what the command line says, checked.
type options struct {
	load
	programs
	ab       []program // two builds to compare; nil: compare targets
	targets  []string
	base     string // the target that ratios refer to
	jsonFile string
	merge    []string // files of -json; if any, nothing is measured
	verbose  bool
}

// load is how much is measured.
type load struct {
	rounds  int
	seconds int
	scripts []string
	modes   []string
	clients []int
	cells   *regexp.Regexp
	only    []string // phases
	pool    int
	jobs    int // pgbench threads; 0: one per core, never more than clients
	scale   int
	idle    int           // idle clients
	settle  time.Duration // how long a process rests before its idle memory is read
}

// programs is what is started.
type programs struct {
	pgBin     string // of PostgreSQL; empty: pgtest finds it
	pgMajor   int    // 0: the newest found
	pgbench   string
	pgbouncer string
	sarnic    string
	auth      string // scram or trust, of PostgreSQL and the proxies
	extra     []program
}

// program is a proxy to start: a path (of sarnic, which gets its usual arguments) or a command with placeholders.
type program struct {
	name    string
	command string
}

const (
	targetDirect    = "direct"
	targetPgBouncer = "pgbouncer"
	targetSarnic    = "sarnic"

	authScram = "scram"
	authTrust = "trust"

	usage = `usage: bench [flags]

Measures direct PostgreSQL, PgBouncer and sarnic with pgbench in interleaved rounds.

A proxy given by -proxy (or -sarnic, -ab) is a path to sarnic or, if it holds a brace, a command line whose
placeholders are filled in: {dsn} {listen} {host} {port} {pool} {auth} {pg} (PostgreSQL's host:port), {cert} {key}, {tls}
(sarnic's TLS flags, nothing without TLS), {ini} (a PgBouncer configuration written for it).

`
)

// texts holds flags as typed, before they are split and checked.
type texts struct {
	scripts, modes, clients, cells, only, targets, ab, merge string
	quick                                                    bool
}

func parseOptions(args []string, getenv func(string) string, status io.Writer) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(status)
	fs.Usage = func() { fmt.Fprint(status, usage); fs.PrintDefaults() }
	t := o.register(fs, getenv)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	o.shorten(t, set)
	if err := o.fill(t); err != nil {
		return nil, err
	}
	if !set["base"] && len(o.targets) > 0 && !slices.Contains(o.targets, o.base) {
		o.base = o.targets[0]
	}
	return o, o.check()
}

func (o *options) register(fs *flag.FlagSet, getenv func(string) string) *texts {
	t := &texts{}
	fs.BoolVar(&t.quick, "quick", false, "a short run that shows the harness works: 2 rounds of 1 s, few cells, 200 idle clients")
	fs.IntVar(&o.rounds, "rounds", 5, "rounds over all cells (with -ab: 10)")
	fs.IntVar(&o.seconds, "seconds", 3, "length of one measurement")
	fs.StringVar(&t.scripts, "scripts", "select,tpcb", "pgbench scripts")
	fs.StringVar(&t.modes, "modes", "simple,extended,prepared", "protocol modes")
	fs.StringVar(&t.clients, "clients", "1,4,16,64,256", "numbers of clients")
	fs.StringVar(&t.cells, "cells", "", "only cells whose name (select/prepared/64, select/simple/16/tls, …) matches this regular expression")
	fs.StringVar(&t.only, "only", "plain,reconnect,tls,idle,idle-tls", "phases to run (with -ab: plain)")
	fs.StringVar(&t.targets, "targets", "direct,pgbouncer,sarnic", "targets to measure; those of -proxy are added")
	fs.StringVar(&t.ab, "ab", "", "A=path,B=path: compare two builds of sarnic instead")
	fs.StringVar(&o.base, "base", targetPgBouncer, "the target that ratios refer to (default: the first, where it is not measured)")
	fs.IntVar(&o.pool, "pool", 20, "server connections of a proxy")
	fs.IntVar(&o.jobs, "jobs", 0, "pgbench threads; 0: one per core, never more than clients")
	fs.IntVar(&o.scale, "scale", 20, "pgbench scale")
	fs.IntVar(&o.idle, "idle", 5000, "idle clients of the memory phases")
	fs.DurationVar(&o.settle, "settle", 5*time.Second, "rest before the memory of idle clients is read")
	fs.StringVar(&o.pgBin, "pg", "", "directory of PostgreSQL's programs (default: $SARNIC_PG<major>, then the newest on the machine)")
	fs.IntVar(&o.pgMajor, "pg-version", 0, "major version of PostgreSQL (default: the newest found)")
	fs.StringVar(&o.pgbench, "pgbench", "", "pgbench (default: beside PostgreSQL's programs, then PATH)")
	fs.StringVar(&o.pgbouncer, "pgbouncer", getenv("PGBOUNCER"), "PgBouncer (default: $PGBOUNCER, then PATH)")
	fs.StringVar(&o.sarnic, "sarnic", "bin/sarnic", "sarnic, or a command with placeholders")
	fs.StringVar(&o.auth, "auth", authScram, "login everywhere: scram or trust")
	fs.Func("proxy", "name=path or name=command: one more proxy to measure (may be repeated)", o.addProxy)
	fs.StringVar(&o.jsonFile, "json", "", "also write every round's figures to this file")
	fs.StringVar(&t.merge, "merge", "", "files of -json: print the medians of these runs, and measure nothing")
	fs.BoolVar(&o.verbose, "v", false, "one line of progress per measurement, also on a terminal")
	return t
}

func (o *options) addProxy(s string) error {
	p, err := parseProgram(s)
	if err != nil {
		return err
	}
	o.extra = append(o.extra, p)
	return nil
}

func parseProgram(s string) (program, error) {
	name, command, ok := strings.Cut(s, "=")
	if !ok || name == "" || command == "" {
		return program{}, fmt.Errorf("%q is not name=command", s)
	}
	return program{name, command}, nil
}

// shorten applies -quick and -ab to the flags that were not given.
func (o *options) shorten(t *texts, set map[string]bool) {
	if t.ab != "" {
		unless(set, "rounds", func() { o.rounds = 10 })
		unless(set, "only", func() { t.only = phasePlain })
	}
	if !t.quick {
		return
	}
	unless(set, "rounds", func() { o.rounds = 2 })
	unless(set, "seconds", func() { o.seconds = 1 })
	unless(set, "clients", func() { t.clients = "1,32" })
	unless(set, "modes", func() { t.modes = "simple,prepared" })
	unless(set, "scale", func() { o.scale = 1 })
	unless(set, "idle", func() { o.idle = 200 })
	unless(set, "settle", func() { o.settle = time.Second })
}

func unless(set map[string]bool, name string, do func()) {
	if !set[name] {
		do()
	}
}

func (o *options) fill(t *texts) error {
	o.scripts, o.modes = list(t.scripts), list(t.modes)
	o.only, o.targets, o.merge = list(t.only), list(t.targets), list(t.merge)
	for _, s := range list(t.clients) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf("-clients: %q is no number of clients", s)
		}
		o.clients = append(o.clients, n)
	}
	if t.cells != "" {
		re, err := regexp.Compile(t.cells)
		if err != nil {
			return fmt.Errorf("-cells: %w", err)
		}
		o.cells = re
	}
	for _, s := range list(t.ab) {
		p, err := parseProgram(s)
		if err != nil {
			return fmt.Errorf("-ab: %w", err)
		}
		o.ab = append(o.ab, p)
	}
	for _, p := range o.extra {
		o.targets = append(o.targets, p.name)
	}
	return nil
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}

func (o *options) check() error {
	errs := []error{
		oneOf("-scripts", o.scripts, scriptSelect, scriptTPCB),
		oneOf("-modes", o.modes, "simple", "extended", "prepared"),
		oneOf("-only", o.only, phasePlain, phaseReconnect, phaseTLS, phaseIdle, phaseIdleTLS),
		oneOf("-auth", []string{o.auth}, authScram, authTrust),
	}
	known := []string{targetDirect, targetPgBouncer, targetSarnic}
	for _, p := range o.extra {
		if slices.Contains(known, p.name) {
			errs = append(errs, fmt.Errorf("-proxy: the name %q is taken", p.name))
		}
		known = append(known, p.name)
	}
	errs = append(errs, oneOf("-targets", o.targets, known...), oneOf("-base", []string{o.base}, o.targets...))
	if len(o.targets) == 0 {
		errs = append(errs, errors.New("-targets: nothing to measure"))
	}
	if o.ab != nil && (len(o.ab) != 2 || o.ab[0].name == o.ab[1].name) {
		errs = append(errs, errors.New("-ab: want two builds with different names, A=path,B=path"))
	}
	if o.ab != nil && o.rounds < 2 {
		errs = append(errs, errors.New("-ab: one round has no confidence interval, want at least 2"))
	}
	for name, n := range map[string]int{"-rounds": o.rounds, "-seconds": o.seconds, "-pool": o.pool, "-scale": o.scale, "-idle": o.idle} {
		if n < 1 {
			errs = append(errs, fmt.Errorf("%s: must be at least 1, got %d", name, n))
		}
	}
	return errors.Join(errs...)
}

func oneOf(flagName string, got []string, want ...string) error {
	for _, s := range got {
		if !slices.Contains(want, s) {
			return fmt.Errorf("%s: %q is none of %s", flagName, s, strings.Join(want, ", "))
		}
	}
	return nil
}

// authMethod is -auth in the words that PostgreSQL, PgBouncer and sarnic share.
func (o *options) authMethod() string {
	if o.auth == authTrust {
		return "trust"
	}
	return "scram-sha-256"
}

// needFiles is how many descriptors this process and a proxy need at once.
func (o *options) needFiles() uint64 {
	n := 0
	if slices.Contains(o.only, phaseIdle) || slices.Contains(o.only, phaseIdleTLS) {
		n = o.idle
	}
	return uint64(max(n, slices.Max(append(o.clients, 1))) + o.pool + 100)
}
