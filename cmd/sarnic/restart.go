package main

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/sarnicdb/sarnic/proxy"
	"github.com/sarnicdb/sarnic/proxy/admin"
)

// takeOver asks a running process for its place. Nil: none listens at restart.socket.
func (v *service) takeOver(ctx context.Context, path string) (*proxy.Predecessor, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // nobody is there
	}
	before, err := proxy.TakeOver(ctx, path)
	if before != nil {
		v.log.Info("taking over from the running process")
	}
	return before, err
}

// listenHTTP opens the address of the HTTP endpoints, or goes on with what the process before this one had there.
func (v *service) listenHTTP(ctx context.Context, address string) (net.Listener, error) {
	key := "http " + address
	l := v.before.Listener(key)
	if l == nil {
		var err error
		if l, err = listen(ctx, address); err != nil {
			return nil, err
		}
	}
	v.server.Lend(key, l)
	return l, nil
}

// part is the end of a process that another has taken over from: the clients that could not be handed over are served until
// they leave, restart.drain_timeout is over, or a signal says that it is enough. It returns whom to wait for then.
func (v *service) part(ctx context.Context, signals <-chan os.Signal) admin.ShutdownWait {
	v.health.notReady("another process has taken over")
	patience := v.reloads.settings().restartDrain
	v.log.Info("serving the clients that are left", "for", patience)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if patience > 0 {
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	select {
	case <-v.server.Vacant():
		return admin.WaitForNobody
	case wait := <-v.shutdowns:
		return wait
	case received := <-signals:
		v.log.Info("draining: running transactions may finish, another signal ends now", "signal", received.String())
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			v.log.Warn("some clients have not left in time")
		}
	}
	return admin.WaitForServers
}

// restart is the block of the file about replacing the process.
type restart struct {
	Socket       string
	DrainTimeout time.Duration
}

// defaultRestartDrain gives clients that cannot be handed over, mostly those under TLS, the time in which drivers' pools
// replace their connections anyway.
const defaultRestartDrain = time.Hour

func (c composer) restartSocket() string {
	const most = 100 // of 108 bytes that a socket's name may have; its first name is longer
	path := c.Restart.Socket
	if path != "" {
		path = within(c.folder, path)
	}
	if len(path) > most {
		c.badf("restart.socket", "must be a path of at most %d bytes, got %d", most, len(path))
	}
	return path
}

func (c composer) restartDrain() time.Duration {
	if c.Restart.DrainTimeout < 0 {
		c.badf("restart.drain_timeout", "must not be negative, got %s", c.Restart.DrainTimeout)
	}
	return c.Restart.DrainTimeout
}
