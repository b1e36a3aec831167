package proxy

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/login"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// rig is a running Server.
type rig struct {
	t    testing.TB
	srv  *Server
	log  *lockedBuffer
	done chan struct{}
	err  error

	mayPanic bool // the test makes a session panic
}

// config is a server on a free port in front of dsn, where anybody may log in as the DSN's user.
func config(t testing.TB, dsn string) Config {
	t.Helper()
	server, err := dial.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Listen: []string{"127.0.0.1:0"}, Auth: login.Trust, LoginTime: patience, MaxLogins: 16, MaxLoops: 1,
		Databases: []Database{{Name: "*", Server: server, Pool: pool.DefaultConfig()}},
	}
}

// start runs a Server until the test ends.
func start(t testing.TB, cfg Config) *rig {
	t.Helper()
	log := &lockedBuffer{}
	return startLogging(t, cfg, log, slog.NewTextHandler(log, nil))
}

// startLogging is start with a log handler of the test's own, which writes to log.
func startLogging(t testing.TB, cfg Config, log *lockedBuffer, handler slog.Handler) *rig {
	t.Helper()
	r := &rig{t: t, log: log, done: make(chan struct{})}
	var err error
	if r.srv, err = New(cfg, slog.New(handler)); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.done)
		r.err = r.srv.Run(context.Background())
	}()
	t.Cleanup(r.close)
	r.wait(r.srv.Ready(), "the server to listen")
	return r
}

// close ends the server and looks at what it has logged.
func (r *rig) close() {
	_ = r.srv.Close()
	r.wait(r.done, "the server to end")
	if r.err != nil {
		r.t.Error(r.err)
	}
	if log := r.log.String(); strings.Contains(log, "panicked") && !r.mayPanic {
		r.t.Errorf("the log:\n%s", log)
	} else if r.t.Failed() && log != "" {
		r.t.Logf("the log:\n%s", log)
	}
}

func (r *rig) wait(ch <-chan struct{}, what string) {
	r.t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		r.t.Fatalf("waited in vain for %s\n%s", what, r.log)
	}
}

// eventually polls cond until it holds.
func (r *rig) eventually(what string, cond func() bool) {
	r.t.Helper()
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain until %s: %+v\n%s", what, r.srv.Stats(), r.log)
		}
	}
}

func (r *rig) addr() string { return r.srv.Addrs()[0].String() }

// lockedBuffer collects a log of several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
