package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sarnicdb/sarnic/proxy/admin"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// operate carries out a command of the console.
func (srv *Server) operate(ctx context.Context, user string, c admin.Command) error {
	srv.log.Info("console command", "command", string(c.Verb), "database", c.Database, "user", user)
	if err := srv.mayOperate(c); err != nil {
		return err
	}
	switch c.Verb {
	case admin.Pause, admin.Suspend, admin.Kill:
		return srv.halt(ctx, c)
	case admin.Resume:
		return srv.resume(c.Database)
	case admin.Reconnect:
		srv.pools.Reconnect(c.Database)
		return nil
	case admin.WaitClose:
		if err := srv.pools.AwaitRenewal(ctx, c.Database); err != nil {
			return err
		}
		return srv.settle(ctx)
	case admin.KillClient:
		return srv.killClient(ctx, c.Client)
	case admin.Disable, admin.Enable:
		srv.setDisabled(c.Database, c.Verb == admin.Disable)
		return nil
	}
	return srv.useHook(ctx, c)
}

// useHook carries out what the program around the server does.
func (srv *Server) useHook(ctx context.Context, c admin.Command) error {
	h := &srv.console.hooks
	switch {
	case c.Verb == admin.Reload && h.Reload != nil:
		if err := h.Reload(ctx); err != nil {
			return &wire.Error{
				Code: codeConfigFileError, Message: "RELOAD failed, the configuration stays as it was", Detail: err.Error(),
			}
		}
		return nil
	case c.Verb == admin.Set && h.Set != nil:
		return h.Set(ctx, c.Key, c.Value)
	case c.Verb == admin.Shutdown && h.Shutdown != nil:
		h.Shutdown(c.Wait)
		return nil
	case c.Verb == admin.Set:
		return &wire.Error{
			Code: wire.CodeFeatureNotSupported, Message: fmt.Sprintf("%q cannot be set on the console", c.Key),
			Hint: "Change the configuration file and RELOAD.",
		}
	}
	return &wire.Error{Code: wire.CodeFeatureNotSupported, Message: string(c.Verb) + " is not available"}
}

// codeConfigFileError is PostgreSQL's config_file_error.
const codeConfigFileError = "F0000"

// mayOperate refuses a command about a database that does not exist or is the console itself.
func (srv *Server) mayOperate(c admin.Command) error {
	switch {
	case c.Database == "":
		return nil
	case srv.isConsole(c.Database):
		return wrongState("the console itself cannot be the object of %s", c.Verb)
	case srv.snapshot().database(c.Database) == nil && !srv.hasPool(c.Database):
		return &wire.Error{Code: wire.CodeInvalidCatalogName, Message: "no such database: " + c.Database}
	}
	return nil
}

func (srv *Server) hasPool(database string) bool {
	for _, p := range srv.pools.Pools() {
		if p.Database() == database {
			return true
		}
	}
	return false
}

func wrongState(format string, args ...any) *wire.Error {
	return &wire.Error{Code: wire.CodeObjectNotInPrerequisiteState, Message: fmt.Sprintf(format, args...)}
}

// killTime bounds how long KILL waits for the last of the connections to end.
const killTime = 5 * time.Second

// halt carries out PAUSE, SUSPEND and KILL. The first two answer when nothing runs any more. A cancel request while they wait
// for that takes them back; a client that leaves does not.
func (srv *Server) halt(ctx context.Context, c admin.Command) error {
	paused, suspended, _ := srv.pools.Halted()
	if (paused || suspended) && c.Verb != admin.Kill {
		return wrongState("already suspended/paused")
	}
	var err error
	switch c.Verb {
	case admin.Suspend:
		srv.pools.Suspend()
		err = srv.pools.AwaitReturn(ctx)
	case admin.Kill:
		srv.pools.Pause(c.Database)
		err = srv.killDatabase(ctx, c.Database)
	default:
		srv.pools.Pause(c.Database)
		err = srv.pools.AwaitEmpty(ctx, c.Database)
	}
	if errors.Is(err, admin.ErrCanceled) && c.Verb != admin.Kill {
		srv.pools.Resume(c.Database)
	}
	if err != nil {
		return err
	}
	return srv.settle(ctx)
}

// killDatabase ends every client of a database ("": of all), and with them the connections they hold.
func (srv *Server) killDatabase(ctx context.Context, database string) error {
	srv.mu.Lock()
	all := srv.all()
	srv.mu.Unlock()
	for _, s := range all {
		if database == "" || s.pool.Database() == database {
			s.w.loop.Post(s.kill)
		}
	}
	if err := srv.settle(ctx); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	if err := srv.pools.AwaitEmpty(limited, database); err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil // what is left is being closed
}

func (srv *Server) killClient(ctx context.Context, pid uint32) error {
	srv.mu.Lock()
	s, c := srv.sessions[pid], srv.console.clients[pid]
	srv.mu.Unlock()
	switch {
	case s != nil:
		s.w.loop.Post(s.kill)
		return srv.settle(ctx)
	case c != nil:
		c.end()
		return nil
	}
	return wrongState("client not found")
}

func (srv *Server) resume(database string) error {
	if srv.pools.Resume(database) {
		return nil
	}
	if database == "" {
		return wrongState("pooler is not paused/suspended")
	}
	return wrongState("database %s is not paused", database)
}

func (srv *Server) setDisabled(database string, disabled bool) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if disabled {
		srv.console.disabled[database] = true
	} else {
		delete(srv.console.disabled, database)
	}
}

// settle waits until every loop has done what was posted to it and what that woke.
func (srv *Server) settle(ctx context.Context) error {
	for range 2 {
		if err := srv.onLoops(ctx, func(*loop.Loop) {}); err != nil {
			return err
		}
	}
	return nil
}

// loopPatience is how long a loop may take to answer the console.
const loopPatience = 5 * time.Second

// onLoops runs fn on every loop and waits for all of them.
func (srv *Server) onLoops(ctx context.Context, fn func(*loop.Loop)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, loopPatience, errBusy)
	defer cancel()
	loops := srv.group.Loops()
	done := make(chan struct{}, len(loops))
	for _, l := range loops {
		l.Post(func() {
			fn(l)
			done <- struct{}{}
		})
	}
	for range loops {
		select {
		case <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

var errBusy = &wire.Error{Code: wire.CodeQueryCanceled, Message: "an event loop is too busy to answer"}

// WaitForClients takes no new client and returns when the others have left by themselves, or with ctx's error.
func (srv *Server) WaitForClients(ctx context.Context) error {
	select {
	case <-srv.noneLeft():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// noneLeft ends the taking of clients. What it returns is closed when there are none any more.
func (srv *Server) noneLeft() <-chan struct{} {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.closeAll()
	srv.draining = true
	srv.empty = make(chan struct{})
	if len(srv.sessions) == 0 {
		close(srv.empty)
	}
	return srv.empty
}
