package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
)

// options are the command line.
type options struct {
	sarnic   string // the binary
	listen   string // where it serves clients
	http     string // where it serves probes and metrics
	version  int    // major version of PostgreSQL, 0: the newest found
	poolSize int
	once     bool

	// direct leaves the proxy out: the checks must hold against PostgreSQL itself before they say anything about sarnic.
	// Only tests set it.
	direct bool
}

const usage = `Starts a throwaway PostgreSQL primary with a streaming replica, and Redis, with sarnic in front, until Ctrl-C.

Nothing has to be installed and root is not needed: PostgreSQL is found on the machine (or where SARNIC_PG18 says),
else downloaded once; Redis is found, else it runs inside this process.

Usage: demo [flags]

Flags:
  --once               try everything through the proxy, print PASS or FAIL for each, exit 0 or 1
  --pg VERSION         major version of PostgreSQL, such as 15 (default: the newest found)
  --pool-size N        server connections of the pool (default 20)
  --listen HOST:PORT   where sarnic serves clients (default 127.0.0.1:6432)
  --http HOST:PORT     where it serves probes and metrics (default 127.0.0.1:6433)
  --sarnic FILE        the binary to run (default bin/sarnic)
`

// errUsage is a mistake on the command line.
var errUsage = errors.New("see demo --help")

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.sarnic, "sarnic", "bin/sarnic", "")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:6432", "")
	flags.StringVar(&o.http, "http", "127.0.0.1:6433", "")
	flags.IntVar(&o.version, "pg", 0, "")
	flags.IntVar(&o.poolSize, "pool-size", 20, "")
	flags.BoolVar(&o.once, "once", false, "")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return o, err
	case err != nil:
		return o, fmt.Errorf("%w: %w", err, errUsage)
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q: %w", flags.Arg(0), errUsage)
	case o.poolSize < 1:
		return o, fmt.Errorf("--pool-size must be at least 1: %w", errUsage)
	}
	return o, nil
}

// run is the program.
func run(ctx context.Context, args []string, out *screen) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	return demonstrate(ctx, o, out)
}

// demonstrate starts everything, serves or checks, and stops everything in the opposite order.
func demonstrate(ctx context.Context, o options, out *screen) (err error) {
	if !o.direct {
		if err := checkBinary(o.sarnic); err != nil {
			return err
		}
	}
	// The end of ctx interrupts the start. Once everything runs it only asks for the stop, whose order is ours: the servers
	// must outlive the proxy's last transactions.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	interrupt := context.AfterFunc(ctx, end)

	s, p, err := start(life, o, out)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx) // whatever broke, it broke because of the interrupt
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop(), s.stop()) }()
	if !interrupt() {
		return context.Cause(ctx)
	}
	if o.once {
		return smoke(ctx, o, s, p, out)
	}
	p.invite(s, out)
	select {
	case <-ctx.Done():
		out.heading("Stopping")
		return nil
	case <-p.ended():
		return p.failure("sarnic ended by itself")
	}
}

// start starts the servers and the proxy; on an error nothing runs.
func start(ctx context.Context, o options, out *screen) (*servers, *proxy, error) {
	out.heading("Starting")
	s := &servers{}
	err := s.start(ctx, o.version, out)
	if err == nil {
		err = seed(ctx, s, out)
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.stop())
	}
	p, err := startProxy(ctx, o, s, out)
	if err != nil {
		return nil, nil, errors.Join(err, s.stop())
	}
	return s, p, nil
}

// report tells what went wrong and turns it into an exit status.
func report(err error, out *screen) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		out.print(usage)
		return 0
	case errors.Is(err, errUsage):
		out.failure(err)
		return 2
	case errors.Is(err, context.Canceled):
		out.print("interrupted\n")
		return 130
	}
	out.failure(err)
	return 1
}
