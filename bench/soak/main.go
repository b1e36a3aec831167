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
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// run is the whole program: the report goes to out, progress to status. The end of ctx ends the load early; what is to be
// counted is counted all the same.
func run(ctx context.Context, args []string, out, status io.Writer) error {
	o, err := parseOptions(args, status)
	if err != nil {
		return err
	}
	s := newSoak(o, status)
	defer s.close()
	if err := s.open(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	err = s.run(ctx)
	s.report(out)
	if err != nil {
		return err
	}
	if n := s.faults.count(); n > 0 {
		return fmt.Errorf("%d failures", n)
	}
	return nil
}
