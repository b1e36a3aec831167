package notify_test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/notify"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// rig is a hub on a database of its own.
type rig struct {
	*notify.Hub
	t  testing.TB
	pg *pgtest.Postgres
	db string

	mu    sync.Mutex
	conns []*frail
	fail  error // of the next dials
}

func newRig(t testing.TB, pg *pgtest.Postgres, o notify.Options) *rig {
	t.Helper()
	r := &rig{t: t, pg: pg, db: pg.NewDatabase(t)}
	r.start(o)
	return r
}

func (r *rig) start(o notify.Options) {
	r.Hub = notify.New(context.WithoutCancel(r.t.Context()), r.dial, slog.New(slog.NewTextHandler(r.t.Output(), nil)), o)
	r.t.Cleanup(r.Close)
}

func (r *rig) dial(ctx context.Context) (*dial.Server, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return nil, r.fail
	}
	c, err := dial.Parse(r.pg.AdminDSN(r.db))
	if err != nil {
		return nil, err
	}
	c.Wrap = func(nc net.Conn) net.Conn {
		f := &frail{Conn: nc, thaw: make(chan struct{})}
		r.conns = append(r.conns, f)
		return f
	}
	return c.Dial(ctx)
}

func (r *rig) failDials(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

// last is the newest connection of the hub.
func (r *rig) last() *frail {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conns[len(r.conns)-1]
}

// frail is a connection that can die without a word.
type frail struct {
	net.Conn
	mu     sync.Mutex
	frozen bool
	thaw   chan struct{} // closed by Close
	once   sync.Once
}

func (f *frail) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen = true
}

func (f *frail) isFrozen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.frozen
}

func (f *frail) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	if f.isFrozen() {
		<-f.thaw
		return 0, net.ErrClosed
	}
	return n, err
}

func (f *frail) Write(b []byte) (int, error) {
	if f.isFrozen() {
		return len(b), nil
	}
	return f.Conn.Write(b)
}

func (f *frail) Close() error {
	f.once.Do(func() { close(f.thaw) })
	return f.Conn.Close()
}

// client is what a session does with a listener.
type client struct {
	*notify.Listener
	t    testing.TB
	woke chan struct{}
	got  []notify.Notification
}

func (r *rig) join() *client {
	c := &client{t: r.t, woke: make(chan struct{}, 1)}
	c.Listener = r.Join(func() {
		select {
		case c.woke <- struct{}{}:
		default:
		}
	})
	r.t.Cleanup(c.Leave)
	return c
}

// wait turns a callback into an error.
func wait(t testing.TB, call func(done func(error))) error {
	t.Helper()
	answer := make(chan error, 1)
	call(func(err error) { answer <- err })
	select {
	case err := <-answer:
		return err
	case <-time.After(patience):
		t.Fatal("no answer")
		return nil
	}
}

func (c *client) try(channels ...string) error {
	c.t.Helper()
	return wait(c.t, func(done func(error)) { c.Listen(channels, done) })
}

func (c *client) listen(channels ...string) {
	c.t.Helper()
	if err := c.try(channels...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) trySync() error {
	c.t.Helper()
	return wait(c.t, c.Sync)
}

// synced is what has come so far.
func (c *client) synced() []notify.Notification {
	c.t.Helper()
	if err := c.trySync(); err != nil {
		c.t.Fatal(err)
	}
	if err := c.drain(); err != nil {
		c.t.Fatal(err)
	}
	got := c.got
	c.got = nil
	return got
}

func (c *client) drain() error {
	scratch := make([]notify.Notification, 7)
	for {
		n, err := c.Read(scratch)
		c.got = append(c.got, scratch[:n]...)
		if err != nil || n < len(scratch) {
			return err
		}
	}
}

// failure waits for the error of Read.
func (c *client) failure() error {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		if err := c.drain(); err != nil {
			return err
		}
		select {
		case <-c.woke:
		case <-deadline:
			c.t.Fatal("no error")
		}
	}
}

// payloads is what was said, on one line.
func payloads(all []notify.Notification) []string {
	texts := []string{}
	for _, n := range all {
		texts = append(texts, n.Channel+":"+n.Payload)
	}
	return texts
}

// direct is a connection of a client that has its own.
type direct struct {
	*pgconn.PgConn
	t   testing.TB
	got []notify.Notification
}

func (r *rig) direct() *direct {
	r.t.Helper()
	d := &direct{t: r.t}
	config, err := pgconn.ParseConfig(r.pg.AdminDSN(r.db))
	if err != nil {
		r.t.Fatal(err)
	}
	config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) {
		d.got = append(d.got, notify.Notification{PID: n.PID, Channel: n.Channel, Payload: n.Payload})
	}
	ctx := context.WithoutCancel(r.t.Context())
	if d.PgConn, err = pgconn.ConnectConfig(ctx, config); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = d.Close(ctx) })
	return d
}

func (d *direct) exec(sql string) {
	d.t.Helper()
	if _, err := d.Exec(context.Background(), sql).ReadAll(); err != nil {
		d.t.Errorf("%s: %v", sql, err)
	}
}

// synced is what has come so far.
func (d *direct) synced() []notify.Notification {
	d.exec("")
	got := d.got
	d.got = nil
	return got
}

// until polls for what no callback tells.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}
