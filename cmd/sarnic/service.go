package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sarnicdb/sarnic/proxy"
)

// runService runs the proxy from the first line of the log to the last.
func (p program) runService(ctx context.Context, s settings, o logOptions) error {
	log, logs := startLog(o, p.stderr)
	defer logs.Close()
	fitContainer(p.env, log)
	checkFiles(s.openFiles(), log)
	for _, key := range s.replicas {
		log.Warn("a replica is configured but not used yet: all queries go to the upstream", "key", key)
	}
	server, err := proxy.New(s.proxy, log)
	if err != nil {
		return err
	}
	v := &service{server: server, drainTime: s.proxy.DrainTime, log: log, health: newHealth()}
	b := readBuild()
	log.Info("starting", "version", b.version, "commit", b.commit, "go", b.goVersion, "pid", os.Getpid())
	err = v.run(ctx, s.http, newMetrics(b, logs, server.Stats))
	if err == nil {
		log.Info("ended")
	}
	return err
}

// openFiles is how many descriptors the configuration may need at once.
func (s settings) openFiles() int {
	servers := 0
	for _, d := range s.proxy.Databases {
		servers += d.Pool.Size + d.Pool.Reserve // of one user: how many will come is not known
	}
	return s.proxy.MaxClients + s.proxy.MaxLogins + servers
}

// service is the proxy, its HTTP endpoints, and the signals that end both.
type service struct {
	server    *proxy.Server
	drainTime time.Duration
	log       *slog.Logger
	health    *health
}

// run serves until the proxy ends by itself, ctx ends or signals say so. A drained end is a success.
func (v *service) run(ctx context.Context, address string, metrics http.Handler) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	group, ctx := errgroup.WithContext(ctx)
	if address != "" {
		l, err := listen(ctx, address)
		if err != nil {
			return err
		}
		v.log.Info("listening for http", "address", l.Addr().String())
		group.Go(func() error { return serveHTTP(ctx, l, endpoints(v.health, metrics), v.log) })
	}
	group.Go(func() error {
		defer stop() // with the proxy everything ends
		return v.server.Run(ctx)
	})
	group.Go(func() error {
		v.watch(ctx, stop, signals)
		return nil
	})
	return group.Wait()
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	return l, nil
}

// watch says when the proxy is ready and turns signals into its end, until ctx ends. The first signal drains, unless there
// is nothing to drain yet; the second ends what is left.
func (v *service) watch(ctx context.Context, stop context.CancelFunc, signals <-chan os.Signal) {
	defer v.health.notReady("ending")
	select {
	case <-v.server.Ready():
		v.announce()
	case <-signals:
		stop()
		return
	case <-ctx.Done():
		return
	}
	select {
	case received := <-signals:
		v.log.Info("draining: running transactions may finish, another signal ends now", "signal", received.String())
	case <-ctx.Done():
		return
	}
	v.health.notReady("draining")
	ctx, cancel := v.drainContext(ctx)
	defer cancel()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		if err := v.server.Drain(ctx); errors.Is(err, context.DeadlineExceeded) {
			v.log.Warn("some transactions did not finish in time", "error", err)
		}
	}()
	select {
	case received := <-signals:
		v.log.Warn("ending now", "signal", received.String())
		cancel()
		<-drained
	case <-drained:
	}
	stop()
}

// drainContext bounds a drain, unless the operator wants to wait for ever.
func (v *service) drainContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if v.drainTime == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, v.drainTime)
}

func (v *service) announce() {
	v.health.ready()
	for _, address := range v.server.Addrs() {
		v.log.Info("listening", "network", address.Network(), "address", address.String())
	}
}
