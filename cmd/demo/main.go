// Command demo is `make run`: a throwaway PostgreSQL primary with a streaming replica, and Redis, with sarnic in front of them
// until Ctrl-C. With --once it tries the whole through the proxy instead and ends.
//
// run.go reads the flags and holds the order of things, servers.go starts PostgreSQL and Redis, seed.go fills the database,
// proxy.go runs the sarnic binary, smoke.go and its neighbours are the checks of --once, and screen.go prints.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, restore) // a second signal ends us at once; the servers die with us
	screen := newScreen(os.Stdout)
	os.Exit(report(run(ctx, os.Args[1:], screen), screen))
}
