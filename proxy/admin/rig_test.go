package admin

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// rig is a console on a port of its own, behind a login that trusts everybody.
type rig struct {
	t      testing.TB
	ln     net.Listener
	cancel chan struct{} // cancel requests for the client served last
	stop   context.CancelFunc
	ctx    context.Context
	access Access
	wg     sync.WaitGroup

	mu       sync.Mutex
	state    State
	commands []Command
	doing    func(context.Context, Command) error
	ends     []error
}

// start runs a console that shows state and notes the commands it is given.
func start(t testing.TB, state State) *rig {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, ln: ln, state: state, access: Operate, cancel: make(chan struct{}, 1)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.wg.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

func (r *rig) close() {
	r.stop()
	_ = r.ln.Close()
	r.wg.Wait()
}

func (r *rig) accept() {
	for {
		nc, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() {
			defer nc.Close()
			if user, ok := r.login(nc); ok {
				err := Serve(r.ctx, nc, Who{
					User: user, Access: r.access, PID: 77, Secret: []byte("1234"), Unsent: wire.AppendAuthOK(nil), Cancel: r.cancel,
				}, r.console())
				r.mu.Lock()
				r.ends = append(r.ends, err)
				r.mu.Unlock()
			}
		})
	}
}

// login reads the startup packet. A cancel request is passed on.
func (r *rig) login(nc net.Conn) (user string, ok bool) {
	b := pgproto3.NewBackend(nc, nc)
	for {
		msg, err := b.ReceiveStartupMessage()
		if err != nil {
			return "", false
		}
		switch msg := msg.(type) {
		case *pgproto3.StartupMessage:
			return msg.Parameters["user"], true
		case *pgproto3.CancelRequest:
			r.cancel <- struct{}{}
			return "", false
		}
		if _, err := nc.Write([]byte("N")); err != nil {
			return "", false
		}
	}
}

func (r *rig) console() Console {
	return Console{
		Version: "v1.2.3-4-gabcdef",
		Snapshot: func(context.Context, Part) (State, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.state, nil
		},
		Do: func(ctx context.Context, c Command) error {
			r.mu.Lock()
			r.commands = append(r.commands, c)
			doing := r.doing
			r.mu.Unlock()
			if doing != nil {
				return doing(ctx, c)
			}
			return nil
		},
	}
}

// done are the commands carried out.
func (r *rig) done() []Command {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.commands)
}

func (r *rig) dsn() string {
	return "postgres://op@" + r.ln.Addr().String() + "/sarnic?sslmode=disable"
}

// connect is a client for the time of the test.
func (r *rig) connect() *pgconn.PgConn {
	r.t.Helper()
	ctx := testContext(r.t)
	c, err := pgconn.Connect(ctx, r.dsn())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// simple runs sql by the simple protocol.
func (r *rig) simple(c *pgconn.PgConn, sql string) ([]*pgconn.Result, error) {
	r.t.Helper()
	return c.Exec(testContext(r.t), sql).ReadAll()
}

// mustFail runs sql and returns the error's code and message.
func (r *rig) mustFail(c *pgconn.PgConn, sql, code string) *pgconn.PgError {
	r.t.Helper()
	_, err := r.simple(c, sql)
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != code {
		r.t.Fatalf("%s: want SQLSTATE %s, got %v", sql, code, err)
	}
	return e
}

// tags runs sql and compares the command tags of what succeeds.
func (r *rig) tags(c *pgconn.PgConn, sql string, want ...string) {
	r.t.Helper()
	results, err := r.simple(c, sql)
	var got []string
	for _, one := range results {
		got = append(got, one.CommandTag.String())
	}
	if err != nil || !slices.Equal(got, want) {
		r.t.Fatalf("%s: tags %q, %v; want %q", sql, got, err, want)
	}
}

// full is a state with something in every part, and values that are hard to show.
func full() State {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return State{
		Databases: []Pooled{{Name: "app", Host: "db", Port: 5432, Database: "app", PoolSize: 20, Lifetime: time.Hour, Paused: true}},
		Pools: []Pool{{
			Database: "app", User: "kärger", Active: 3, Waiting: 1, ServersActive: 2, MaxWait: 1500 * time.Millisecond, Mode: "transaction",
		}},
		Users:        []User{{Name: "kärger", Connections: 2}},
		LoginClients: 1,
		Clients: []Socket{{
			User: "kärger", Database: "app", State: "active", Addr: "127.0.0.1", Port: 40000, ConnectTime: at, Link: 5, ID: 9, Unparsed: 4,
		}},
		Servers: []Socket{{Server: true, User: "app", Database: "app", State: "new", ID: 5, Link: 9, RemotePID: 1 << 31}},
		Pins:    []Pin{{Database: "app", User: "kärger", ClientPID: 9, ServerPID: 7, Reason: "session lock", Since: at}},
		Stats: []Stats{
			{Database: "app", Total: Numbers{Queries: 1 << 40, QueryTime: 30_000_000}, Period: Numbers{Queries: 600, QueryTime: 1200}, Length: time.Minute},
			{Database: "b", Total: Numbers{Queries: 10_000}},
		},
		Statements: []Statement{{Name: "sarnic_1", Database: "app", User: "kärger", Uses: 1 << 33, Servers: 2, Query: "SELECT 'ü'"}},
		Config:     []Setting{{Key: "max_client_conn", Value: "10000", Default: "10000", Changeable: true}},
		Memory:     []Memory{{Name: "heap", Size: 1, Used: 3 << 30, Free: 5}},
	}
}
