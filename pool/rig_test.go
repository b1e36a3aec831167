package pool

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
)

// patience is how long a test waits for what must happen. What must not happen is waited for as briefly as a loop
// needs to show that nothing is on its way (rig.settle).
const patience = 10 * time.Second

// rig is a set of pools on running loops.
type rig struct {
	t    testing.TB
	set  *Set
	log  *lockedBuffer
	g    *loop.Group
	stop context.CancelFunc
	done chan struct{}

	shrunk bool // the test lowers limits
}

// newRig starts loops and an empty set on them. No janitor runs: tests call tidy, or start one.
func newRig(t testing.TB, loops int) *rig {
	t.Helper()
	r := &rig{t: t, log: &lockedBuffer{}, done: make(chan struct{})}
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g, err := loop.NewGroup(loops, log)
	if err != nil {
		t.Fatal(err)
	}
	r.g = g
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		defer close(r.done)
		g.Run(ctx)
	}()
	r.set = NewSet(ctx, log, g.Pick, 1)
	t.Cleanup(r.close)
	return r
}

// close ends the set and the loops, and looks at the books a last time.
func (r *rig) close() {
	r.set.Close()
	r.settle()
	r.check()
	r.stop()
	r.wait(r.done, "the loops to end")
	if r.t.Failed() {
		r.t.Logf("the log:\n%s", r.log)
	}
}

func (r *rig) wait(ch <-chan struct{}, what string) {
	r.t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		r.t.Fatalf("waited in vain for %s\n%s", what, r.books())
	}
}

// do runs fn on loop i, outside any fiber, and waits for its end.
func (r *rig) do(i int, fn func(l *loop.Loop)) {
	r.t.Helper()
	l, done := r.g.Loops()[i], make(chan struct{})
	l.Post(func() { defer close(done); fn(l) })
	select {
	case <-done:
	case <-r.done: // a loop that has ended does nothing any more
	case <-time.After(patience):
		r.t.Fatalf("a loop does not run what was posted\n%s", r.books())
	}
}

// settle lets every loop do what is queued on it now: posted functions, the fibers these wake, and so on.
func (r *rig) settle() {
	r.t.Helper()
	for range 6 {
		for i := range r.g.Loops() {
			r.do(i, func(*loop.Loop) {})
		}
	}
}

// eventually polls cond until it holds, and the books then.
func (r *rig) eventually(what string, cond func() bool) {
	r.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !cond(); <-tick.C {
		r.check()
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain until %s\n%s", what, r.books())
		}
	}
	r.check()
}

// tidy is one tick of the janitor on loop i.
func (r *rig) tidy(i int) {
	r.t.Helper()
	r.do(i, func(l *loop.Loop) {
		r.set.mu.Lock()
		defer r.set.mu.Unlock()
		for _, p := range r.set.pools {
			p.tidy(l)
		}
	})
	r.check()
}

// pool makes one on db. change, if not nil, changes the options.
func (r *rig) pool(db *fakeDB, change func(o *Options)) *Pool {
	r.t.Helper()
	o := Options{Database: "db", User: "u", Config: DefaultConfig(), Dial: db.dial, Cancel: db.cancel}
	if change != nil {
		change(&o)
	}
	if problems := o.Config.Validate(); len(problems) > 0 {
		r.t.Fatal(problems)
	}
	return r.set.NewPool(o)
}

// sized is a change of the pool's size.
func sized(size int) func(*Options) { return func(o *Options) { o.Config.Size = size } }

// counts is a pool's state as text: connecting idle busy resetting, waiting.
func (r *rig) counts(p *Pool) string {
	s := p.Stats(0)
	return fmt.Sprintf("c%d i%d b%d r%d w%d", s.Connecting, s.Idle, s.Busy, s.Resetting, s.Waiting)
}

func (r *rig) wantCounts(p *Pool, want string) {
	r.t.Helper()
	var got string
	r.eventually("the pool is "+want, func() bool { got = r.counts(p); return got == want })
}

func (r *rig) books() string {
	var b bytes.Buffer
	for _, p := range r.set.Pools() {
		fmt.Fprintf(&b, "%s: %s\n", p.Name(), r.counts(p))
	}
	return b.String()
}

// client is a session as the pool sees it: a fiber that waits in the queue and owns what it is given.
type client struct {
	r    *rig
	name string
	l    *loop.Loop
	todo []func(f *loop.Fiber) // on the loop
	quit bool
	f    *loop.Fiber
	w    *Waiter
	p    *Pool
	ends chan struct{}

	mu   sync.Mutex
	c    *Conn
	err  error
	wait bool
}

// client starts one on loop i, for pool p.
func (r *rig) client(name string, i int, p *Pool) *client {
	r.t.Helper()
	c := &client{r: r, name: name, l: r.g.Loops()[i], p: p, ends: make(chan struct{})}
	c.l.Post(func() { c.l.Go(c) })
	r.t.Cleanup(c.leave)
	return c
}

// Serve runs the steps the test posts and takes what is granted.
func (c *client) Serve(f *loop.Fiber) {
	defer close(c.ends)
	c.f = f
	for !c.quit && !f.Loop().Closing() {
		for len(c.todo) > 0 {
			step := c.todo[0]
			c.todo = c.todo[1:]
			step(f)
		}
		c.look()
		if c.quit {
			break
		}
		if f.Wait(nil, 0, nil, 0, loop.Forever) != nil {
			break
		}
	}
	c.giveUp()
	if conn := c.take(); conn != nil {
		c.p.Release(conn, Broken)
	}
	c.f = nil
}

// look asks whether the wait is over.
func (c *client) look() {
	if c.w == nil {
		return
	}
	conn, err := c.p.Granted(c.w)
	if conn == nil && err == nil {
		return
	}
	if err != nil {
		c.p.Dequeue(c.w)
	}
	c.w = nil
	c.mu.Lock()
	c.c, c.err, c.wait = conn, err, false
	c.mu.Unlock()
}

// step runs fn on the client's fiber and waits for its end.
func (c *client) step(fn func(f *loop.Fiber)) {
	c.r.t.Helper()
	done := make(chan struct{})
	c.l.Post(func() {
		c.todo = append(c.todo, func(f *loop.Fiber) { defer close(done); fn(f) })
		if c.f != nil {
			c.f.Wake()
		}
	})
	c.r.wait(done, "a step of "+c.name)
	c.r.check()
}

// ask acquires, or joins the queue.
func (c *client) ask() *client {
	c.r.t.Helper()
	c.step(func(f *loop.Fiber) {
		if conn := c.p.TryAcquire(f); conn != nil {
			c.mu.Lock()
			c.c, c.err = conn, nil
			c.mu.Unlock()
			return
		}
		c.w = new(Waiter)
		c.mu.Lock()
		c.c, c.err, c.wait = nil, nil, true
		c.mu.Unlock()
		c.p.Enqueue(c.w, f)
	})
	return c
}

// giveUp leaves the queue.
func (c *client) giveUp() {
	if c.w != nil {
		c.p.Dequeue(c.w)
		c.w = nil
		c.mu.Lock()
		c.wait = false
		c.mu.Unlock()
	}
}

// stopWaiting leaves the queue as a step.
func (c *client) stopWaiting() {
	c.r.t.Helper()
	c.step(func(*loop.Fiber) { c.giveUp() })
}

// has returns what the client owns, nil while it waits.
func (c *client) has() *Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.c
}

func (c *client) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wait
}

func (c *client) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *client) take() *Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn := c.c
	c.c = nil
	return conn
}

// got waits until the client has a connection.
func (c *client) got() *Conn {
	c.r.t.Helper()
	c.r.eventually(c.name+" has a connection", func() bool {
		if err := c.failure(); err != nil {
			c.r.t.Fatalf("%s: %v", c.name, err)
		}
		return c.has() != nil
	})
	return c.has()
}

// failed waits until the client's wait has ended with an error.
func (c *client) failed() error {
	c.r.t.Helper()
	c.r.eventually(c.name+" is refused", func() bool { return c.failure() != nil })
	return c.failure()
}

// stillWaits fails if the client has got something, after everything under way has happened.
func (c *client) stillWaits() {
	c.r.t.Helper()
	c.r.settle()
	if !c.waits() || c.has() != nil {
		c.r.t.Fatalf("%s does not wait any more\n%s", c.name, c.r.books())
	}
}

// release gives the connection back.
func (c *client) release(how Clean) {
	c.r.t.Helper()
	c.step(func(*loop.Fiber) {
		conn := c.take()
		if conn == nil {
			c.r.t.Errorf("%s has nothing to release", c.name)
			return
		}
		c.p.Release(conn, how)
	})
}

// leave ends the client; what it owns is closed.
func (c *client) leave() {
	c.l.Post(func() {
		c.quit = true
		if c.f != nil {
			c.f.Wake()
		}
	})
	select {
	case <-c.ends:
	case <-c.r.done:
	case <-time.After(patience):
		c.r.t.Errorf("%s does not leave", c.name)
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
