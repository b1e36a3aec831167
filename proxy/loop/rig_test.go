package loop

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(relayMode); mode != "" {
		relayMain(mode)
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/sarnicdb/sarnic/proxy/loop.(*Fiber).broke"))
}

// patience is how long a test waits for what must happen. What must not happen is never waited for.
const patience = 10 * time.Second

// rig is a running group of loops.
type rig struct {
	t    testing.TB
	g    *Group
	log  *lockedBuffer
	stop context.CancelFunc
	done chan struct{}
}

func newRig(t testing.TB, loops int) *rig {
	t.Helper()
	r := &rig{t: t, log: &lockedBuffer{}, done: make(chan struct{})}
	g, err := NewGroup(loops, slog.New(slog.NewTextHandler(r.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	g.active.Store(int32(loops))
	r.g = g
	ctx, stop := context.WithCancel(context.Background()) // t.Context ends before the clean-ups that still need the loops
	r.stop = stop
	go func() {
		defer close(r.done)
		g.Run(ctx)
	}()
	t.Cleanup(r.close)
	return r
}

// close ends the loops and waits for them.
func (r *rig) close() {
	r.stop()
	r.wait(r.done, "the loops to end")
}

func (r *rig) wait(ch <-chan struct{}, what string) {
	r.t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		r.t.Fatalf("waited in vain for %s\n%s", what, activeStacks())
	}
}

// do runs fn on loop i and waits for its end.
func (r *rig) do(i int, fn func(l *Loop)) {
	r.t.Helper()
	l, done := r.g.Loops()[i], make(chan struct{})
	l.Post(func() { fn(l); close(done) })
	r.wait(done, "a posted function")
}

// fiber runs fn on a fiber of loop i; the channel is closed at its end.
func (r *rig) fiber(i int, fn func(f *Fiber)) <-chan struct{} {
	l, done := r.g.Loops()[i], make(chan struct{})
	l.Post(func() { l.Go(serve(func(f *Fiber) { defer close(done); fn(f) })) })
	return done
}

// eventually polls cond until it holds.
func (r *rig) eventually(what string, cond func() bool) {
	r.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// adopt puts nc on loop i.
func (r *rig) adopt(i int, nc net.Conn, h Handler) *Conn {
	r.t.Helper()
	c := Wrap(nc)
	if err := c.Adopt(); err != nil {
		r.t.Fatal(err)
	}
	r.do(i, func(l *Loop) {
		if err := l.Register(c, h); err != nil {
			r.t.Error(err)
		}
	})
	return c
}

// serve makes a function a handler.
type serve func(f *Fiber)

func (s serve) Serve(f *Fiber) { s(f) }

// networks are the kinds of socket that behave differently.
var networks = []string{"tcp", "unix"}

func eachNetwork(t *testing.T, test func(t *testing.T, network string)) {
	for _, network := range networks {
		t.Run(network, func(t *testing.T) { test(t, network) })
	}
}

// pair is two ends of one connection through the kernel, closed with the test.
func pair(t testing.TB, network string) (a, b net.Conn) {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "loop") // t.TempDir is longer than a unix address may be
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		addr = filepath.Join(dir, "s")
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- nc
	}()
	if b, err = net.Dial(network, ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	a = <-accepted
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	_ = b.SetDeadline(time.Now().Add(6 * patience))
	return a, b
}

// readAll reads until the conn would block; err is what ended it otherwise.
func readAll(c *Conn) (got []byte, err error) {
	buf := c.Loop().Buffer()
	for {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err == ErrWouldBlock {
			return got, nil
		}
		if err != nil {
			return got, err
		}
	}
}

// echo sends back what comes until the end of the stream, waiting on the way.
func echo(c *Conn) serve {
	return func(f *Fiber) {
		for {
			n, err := c.Read(f.Loop().Buffer())
			if err == ErrWouldBlock {
				return
			}
			if err == nil {
				_, err = c.Write(f.Loop().Buffer()[:n])
			}
			if err != nil {
				_ = c.Close()
				return
			}
			for c.Pending() > 0 {
				if f.Wait(c, Drained, nil, 0, Forever) != nil {
					return
				}
			}
		}
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func mustWrite(t testing.TB, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Error(err)
	}
}

func mustRead(t testing.TB, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil {
		t.Errorf("after %d bytes: %v", len(got), err)
	} else if !bytes.Equal(got, want) {
		t.Errorf("read %d bytes that differ from what was sent", len(got))
	}
}

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
