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

	"golang.org/x/sync/errgroup"

	"github.com/sarnicdb/sarnic/proxy"
	"github.com/sarnicdb/sarnic/proxy/admin"
)

// runService runs the proxy from the first line of the log to the last.
func (p program) runService(ctx context.Context, first settings, o logOptions, hangups <-chan os.Signal) error {
	log, logs := startLog(o, p.stderr)
	defer logs.Close()
	fitContainer(p.env, log)
	told := notifier(p.env)
	reloads, err := newReloader(first, log, told)
	if err != nil {
		return err
	}
	s := reloads.settings()
	checkFiles(s.openFiles(), log)
	for _, key := range s.replicas {
		log.Warn("a replica is configured but not used yet: all queries go to the upstream", "key", key)
	}
	v := &service{
		reloads: reloads, hangups: hangups, told: told, log: log, health: newHealth(), shutdowns: make(chan admin.ShutdownWait, 1),
	}
	if v.before, err = v.takeOver(ctx, s.proxy.RestartSocket); err != nil {
		return err
	}
	defer v.before.Close()
	server, err := proxy.Succeed(s.proxy, v.before, log)
	if err != nil {
		return err
	}
	reloads.apply, v.server = server.Reload, server
	b := readBuild()
	server.SetHooks(v.hooks(b))
	log.Info("starting", "version", b.version, "commit", b.commit, "go", b.goVersion, "pid", os.Getpid())
	err = v.run(ctx, s.http, newMetrics(b, logs, server.Stats, reloadMetrics(reloads)...))
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
	server  *proxy.Server
	reloads *reloader
	hangups <-chan os.Signal
	told    func(state string) // the service manager
	log     *slog.Logger
	health  *health
	before  *proxy.Predecessor // the process whose place this one takes; nil: none

	shutdowns chan admin.ShutdownWait // that the console asks for
}

// run serves until the proxy ends by itself, ctx ends or signals say so. A drained end is a success.
func (v *service) run(ctx context.Context, address string, metrics http.Handler) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	group, ctx := errgroup.WithContext(ctx)
	ours, yield := context.WithCancel(ctx) // until another process has taken over
	defer yield()
	if address != "" {
		l, err := v.listenHTTP(ctx, address)
		if err != nil {
			return err
		}
		v.log.Info("listening for http", "address", l.Addr().String())
		group.Go(func() error { return serveHTTP(ours, l, endpoints(v.health, metrics), v.log) })
	}
	group.Go(func() error {
		defer stop() // with the proxy everything ends
		return v.server.Run(ctx)
	})
	group.Go(func() error {
		v.watch(ctx, stop, yield, signals)
		return nil
	})
	group.Go(func() error {
		select {
		case <-v.server.Ready():
			v.reloads.run(ours, v.hangups)
		case <-ctx.Done():
		}
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
// is nothing to drain yet; the second ends what is left. A process that another has taken over from yields to it first.
func (v *service) watch(ctx context.Context, stop, yield context.CancelFunc, signals <-chan os.Signal) {
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
	wait := admin.WaitForServers
	select {
	case received := <-signals:
		v.log.Info("draining: running transactions may finish, another signal ends now", "signal", received.String())
	case wait = <-v.shutdowns:
	case <-v.server.HandedOver():
		yield()
		wait = v.part(ctx, signals)
	case <-ctx.Done():
		return
	}
	v.health.notReady("draining")
	v.told(stoppingState)
	for wait != admin.WaitForNobody {
		wait = v.drain(ctx, wait, signals)
	}
	stop()
}

// drain lets clients finish, as far as wait says. It returns whom to wait for then: nobody, unless the console has changed
// its mind.
func (v *service) drain(ctx context.Context, wait admin.ShutdownWait, signals <-chan os.Signal) (next admin.ShutdownWait) {
	ctx, cancel := v.drainContext(ctx, wait)
	defer cancel()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		finish := v.server.Drain
		if wait == admin.WaitForClients {
			finish = v.server.WaitForClients
		}
		if err := finish(ctx); errors.Is(err, context.DeadlineExceeded) {
			v.log.Warn("some transactions did not finish in time", "error", err)
		}
	}()
	select {
	case received := <-signals:
		v.log.Warn("ending now", "signal", received.String())
	case next = <-v.shutdowns:
	case <-drained:
	}
	cancel()
	<-drained
	return next
}

// drainContext bounds a drain, unless the operator wants to wait for ever.
func (v *service) drainContext(ctx context.Context, wait admin.ShutdownWait) (context.Context, context.CancelFunc) {
	patience := v.reloads.settings().proxy.DrainTime
	if patience == 0 || wait == admin.WaitForClients {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, patience)
}

func (v *service) announce() {
	v.health.ready()
	v.told(mainState())
	for _, address := range v.server.Addrs() {
		v.log.Info("listening", "network", address.Network(), "address", address.String())
	}
}
