package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the whole program: results go to out, progress to status.
func run(ctx context.Context, args []string, getenv func(string) string, out, status io.Writer) error {
	o, err := parseOptions(args, getenv, status)
	if err != nil {
		return err
	}
	if len(o.merge) > 0 {
		return mergeRuns(o.merge, o.pool, out)
	}
	if err := raiseFileLimit(o.needFiles()); err != nil {
		return err
	}
	b, err := newBench(ctx, o, status)
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Fprint(out, b.machine, "\n")
	if o.ab != nil {
		return b.compareBuilds(ctx, out)
	}
	return b.compareTargets(ctx, out)
}

// raiseFileLimit also does it for the servers, which inherit the limit.
func raiseFileLimit(need uint64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	if l.Max < need {
		return fmt.Errorf("%d open files are needed and the hard limit is %d: raise it (ulimit -Hn) or lower -idle", need, l.Max)
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("raising the limit of open files: %w", err)
	}
	return nil
}
