package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// reload changes the configuration in a copy.
func (r *rig) reload(change func(*Config)) error {
	cfg := r.srv.snapshot().cfg
	cfg.Databases = append([]Database(nil), cfg.Databases...)
	cfg.Users = append([]User(nil), cfg.Users...)
	cfg.Listen = append([]string(nil), cfg.Listen...)
	change(&cfg)
	return r.srv.Reload(cfg)
}

func (r *rig) mustReload(change func(*Config)) {
	r.t.Helper()
	if err := r.reload(change); err != nil {
		r.t.Fatal(err)
	}
}

// mustLogin is login where nothing else is expected.
func (r *rig) mustLogin(database string, params ...string) *pgconn.PgConn {
	r.t.Helper()
	conn, err := r.login(database, params...)
	if err != nil {
		r.t.Fatal(err)
	}
	return conn
}

// backend tells which server connection runs a client's statement, after others if there are any: when it began. The
// process number that a client sees is its own.
func backend(t *testing.T, conn *pgconn.PgConn, before ...string) string {
	t.Helper()
	for _, sql := range before {
		ask(t, conn, sql)
	}
	ask(t, conn, "SELECT pg_stat_clear_snapshot()") // a transaction sees what it saw first
	mark := fmt.Sprintf("mark %d", marks.Add(1))
	return ask(t, conn, "SELECT backend_start FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%"+mark+"%'")
}

// marks numbers what backend asks.
var marks atomic.Int64

// backendIn is the connection on which a transaction of conn has begun.
func backendIn(t *testing.T, conn *pgconn.PgConn) string {
	t.Helper()
	return backend(t, conn, "BEGIN")
}

// two is a proxy in front of two databases of one server, named one and two, and no other.
func two(t *testing.T, pg *pgtest.Postgres, change func(*Config)) *rig {
	t.Helper()
	cfg := config(t, pg.AdminDSN(pg.NewDatabase(t)))
	other, err := dial.Parse(pg.AdminDSN(pg.NewDatabase(t)))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Databases[0].Name = "one"
	cfg.Databases = append(cfg.Databases, Database{Name: "two", Server: other, Pool: pool.DefaultConfig()})
	if change != nil {
		change(&cfg)
	}
	return start(t, cfg)
}

// fails wants the client told code, and nothing else.
func fails(t *testing.T, err error, code string) *pgconn.PgError {
	t.Helper()
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("want %s, got %v", code, err)
	}
	return e
}

// stats finds a pool's.
func (r *rig) stats(database string) (st pool.Stats, found bool) {
	for _, p := range r.srv.Stats().Pools {
		if p.Database == database {
			return p, true
		}
	}
	return st, false
}

func TestReloadOfTheSameChangesNothing(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), nil)
	conn := r.mustLogin("one")
	pid := backend(t, conn)
	login, before := r.srv.snapshot(), r.srv.Addrs()[0].String()
	for range 3 {
		r.mustReload(func(*Config) {})
	}
	if got := backend(t, conn); got != pid {
		t.Errorf("server process %s, was %s", got, pid)
	}
	if r.srv.snapshot() == login || r.srv.Addrs()[0].String() != before {
		t.Error("no snapshot was made, or the address was opened again")
	}
	if p, _ := r.stats("one"); p.Counters.Dials.Load() != 1 {
		t.Errorf("%d dials", p.Counters.Dials.Load())
	}
}

// A pool's limits and times apply at once to its clients, and its connections stay.
func TestReloadOfLimits(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), func(c *Config) { c.Databases[0].Pool.Size = 1 })
	holder, other := r.mustLogin("one"), r.mustLogin("one")
	pid := backendIn(t, holder)
	r.mustReload(func(c *Config) { c.Databases[0].Pool.WaitTimeout = time.Nanosecond })
	_, err := other.Exec(t.Context(), "SELECT 1").ReadAll()
	fails(t, err, "53300")
	r.mustReload(func(c *Config) { c.Databases[0].Pool.Size, c.Databases[0].Pool.WaitTimeout = 2, time.Minute })
	if got := ask(t, other, "SELECT 1"); got != "1" {
		t.Error(got)
	}
	r.mustReload(func(c *Config) { c.Databases[0].MaxConnections = 1 })
	if got := backend(t, holder); got != pid {
		t.Errorf("server process %s, was %s", got, pid)
	}
	ask(t, holder, "COMMIT")
	ask(t, other, "SELECT 1")
	r.eventually("one connection is left", func() bool { p, _ := r.stats("one"); return p.Idle == 1 && p.Busy == 0 })
	r.mustReload(func(c *Config) { c.MaxClients = 2 })
	_, err = r.login("one")
	fails(t, err, "53300")
	r.mustReload(func(c *Config) { c.MaxClients = 0; c.MaxLogins = 1 })
	r.mustLogin("one")
}

// A pool whose server, role or password changes uses its connections up: a transaction ends where it began, the next
// one is on the new server.
func TestReloadOfTheServer(t *testing.T) {
	old, fresh := pgtest.Server(t, 15), pgtest.Server(t, 18)
	r := two(t, old, nil)
	in, idle := r.mustLogin("one"), r.mustLogin("one", "application_name", "kept")
	in15 := ask(t, in, "BEGIN; SHOW server_version_num")
	if got := ask(t, idle, "SHOW server_version_num"); got != in15 || got >= "16" {
		t.Fatal(got)
	}
	bystander := backend(t, r.mustLogin("two"))
	server, err := dial.Parse(fresh.AdminDSN(fresh.NewDatabase(t)))
	if err != nil {
		t.Fatal(err)
	}
	r.mustReload(func(c *Config) { c.Databases[0].Server = server })
	if got := ask(t, idle, "SHOW server_version_num"); got < "18" {
		t.Errorf("a new transaction is on %s", got)
	}
	if got := ask(t, idle, "SHOW application_name"); got != "kept" {
		t.Errorf("application_name %q", got)
	}
	if got := ask(t, in, "SHOW server_version_num"); got != in15 {
		t.Errorf("a transaction went on on %s", got)
	}
	ask(t, in, "COMMIT")
	if got := ask(t, in, "SHOW server_version_num"); got < "18" {
		t.Errorf("after its transaction a client is on %s", got)
	}
	if got := r.mustLogin("one").ParameterStatus("server_version"); !strings.HasPrefix(got, "18") {
		t.Errorf("a new client is told version %s", got)
	}
	if got := backend(t, r.mustLogin("two")); got != bystander {
		t.Error("the other pool's connection was replaced")
	}
}

// A server that cannot be reached any more hurts nobody but the clients of its own pool.
func TestReloadToAServerThatIsNotThere(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), nil)
	conn, other := r.mustLogin("one"), r.mustLogin("two")
	ask(t, conn, "SELECT 1")
	right := r.srv.snapshot().cfg.Databases[0].Server
	wrong, err := dial.Parse("postgres://app@127.0.0.1:1/app?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	r.mustReload(func(c *Config) { c.Databases[0].Server = wrong })
	_, err = conn.Exec(t.Context(), "SELECT 1").ReadAll()
	fails(t, err, "08006")
	if got := ask(t, other, "SELECT 2"); got != "2" {
		t.Error(got)
	}
	r.mustReload(func(c *Config) { c.Databases[0].Server = right })
	if got := ask(t, conn, "SELECT 3"); got != "3" {
		t.Error(got)
	}
}

// A database that is removed while in use: new clients are told that there is none, idle ones that they have to go, and
// a transaction may end first.
func TestReloadRemovesADatabaseInUse(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		r := two(t, pg, func(c *Config) { c.Databases[0].Pool.Size = 2 })
		idle, in, pinned, other := r.mustLogin("one"), r.mustLogin("one"), r.mustLogin("one"), r.mustLogin("two")
		ask(t, idle, "SELECT 1")
		ask(t, in, "BEGIN")
		ask(t, pinned, "CREATE TEMP TABLE t (n int)")
		waiting := r.mustLogin("one")
		waited := make(chan error, 1)
		go func() {
			_, err := waiting.Exec(context.Background(), "SELECT 1").ReadAll()
			waited <- err
		}()
		r.eventually("one waits", func() bool { p, _ := r.stats("one"); return p.Waiting == 1 })
		removed := r.srv.snapshot().cfg.Databases[0]
		r.mustReload(func(c *Config) { c.Databases = c.Databases[1:] })

		_, err := r.login("one")
		if e := fails(t, err, "3D000"); !strings.Contains(e.Message, `"one" does not exist`) {
			t.Error(e.Message)
		}
		_, err = idle.Exec(t.Context(), "SELECT 1").ReadAll()
		if e := fails(t, err, "57P01"); e.Severity != "FATAL" || e.Hint == "" || !strings.Contains(e.Detail, `"one"`) {
			t.Errorf("%+v", e)
		}
		_, err = pinned.Exec(t.Context(), "SELECT 1").ReadAll()
		fails(t, err, "57P01")
		if err := <-waited; err != nil {
			t.Errorf("a request that waited: %v", err)
		}
		_, err = waiting.Exec(t.Context(), "SELECT 1").ReadAll()
		fails(t, err, "57P01")
		ask(t, in, "INSERT INTO pg_catalog.pg_largeobject_metadata SELECT WHERE false")
		if got := ask(t, in, "SELECT 7; COMMIT"); got != "7" {
			t.Error(got)
		}
		_, err = in.Exec(t.Context(), "SELECT 1").ReadAll()
		fails(t, err, "57P01")
		if got := ask(t, other, "SELECT 1"); got != "1" {
			t.Error(got)
		}
		r.eventually("the pool is gone", func() bool { _, found := r.stats("one"); return !found })

		r.mustReload(func(c *Config) { c.Databases = append(c.Databases, removed) })
		if got := ask(t, r.mustLogin("one"), "SELECT 1"); got != "1" {
			t.Error(got)
		}
	})
}

// A database that comes back while clients of its former self are still there is another pool.
func TestReloadBringsADatabaseBack(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), nil)
	in := r.mustLogin("one")
	pid := backendIn(t, in)
	removed := r.srv.snapshot().cfg.Databases[0]
	r.mustReload(func(c *Config) { c.Databases = c.Databases[1:] })
	r.mustReload(func(c *Config) { c.Databases = append(c.Databases, removed) })
	fresh := r.mustLogin("one")
	if got := backend(t, fresh); got == pid {
		t.Error("a connection in a transaction is lent")
	}
	r.mustReload(func(c *Config) { c.Databases[1].Pool.Size = 3 })
	if n := len(r.srv.Stats().Pools); n != 1 {
		t.Errorf("%d pools are shown under one name", n)
	}
	ask(t, in, "COMMIT")
	_, err := in.Exec(t.Context(), "SELECT 1").ReadAll()
	fails(t, err, "57P01")
	if got := ask(t, fresh, "SELECT 1"); got != "1" {
		t.Error(got)
	}
}

func TestReloadRemovesAUser(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), func(c *Config) { c.Users = []User{{Name: "app"}, {Name: "other"}} })
	conn := r.mustLogin("one")
	ask(t, conn, "SELECT 1")
	r.mustReload(func(c *Config) { c.Users = c.Users[1:] })
	_, err := conn.Exec(t.Context(), "SELECT 1").ReadAll()
	fails(t, err, "57P01")
	if _, err = r.login("one"); err == nil {
		t.Error("who is no user any more may log in")
	}
	r.mustReload(func(c *Config) { c.Users = append(c.Users, User{Name: "app"}) })
	ask(t, r.mustLogin("one"), "SELECT 1")
}

// The mode is that of the login: whoever relies on a connection of his own keeps it, and the next client is pooled.
func TestReloadOfTheMode(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), func(c *Config) { c.Databases[0].Pool.Mode = pool.SessionMode })
	old := r.mustLogin("one")
	pid := backend(t, old, "SET work_mem = '1MB'")
	r.mustReload(func(c *Config) { c.Databases[0].Pool.Mode = pool.TransactionMode })
	fresh := r.mustLogin("one")
	if got := backend(t, fresh); got == pid {
		t.Error("a connection in session mode is shared")
	}
	r.eventually("the new client holds nothing", func() bool { p, _ := r.stats("one"); return p.Busy == 0 })
	r.mustReload(func(c *Config) { c.Databases[0].Pool.Size = 7 })
	if got := ask(t, old, "SHOW work_mem"); got != "1MB" || backend(t, old) != pid {
		t.Errorf("work_mem %s", got)
	}
	_ = old.Close(t.Context())
	r.eventually("its pool is gone", func() bool { return len(r.srv.pools.Pools()) == 1 })
}

func TestReloadOfSecrets(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), func(c *Config) {
		c.Auth, c.Users = login.SCRAM, []User{{Name: "app", Secret: "old"}}
	})
	with := func(password string) error {
		conn, err := pgconn.Connect(t.Context(), "postgres://app:"+password+"@"+r.addr()+"/one?sslmode=disable")
		if err == nil {
			_ = conn.Close(t.Context())
		}
		return err
	}
	kept, err := pgconn.Connect(t.Context(), "postgres://app:old@"+r.addr()+"/one?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close(context.Background())
	r.mustReload(func(c *Config) { c.Users[0].Secret = "new" })
	if err := with("new"); err != nil {
		t.Error(err)
	}
	fails(t, with("old"), "28P01")
	if got := ask(t, kept, "SELECT 1"); got != "1" {
		t.Error(got)
	}
}

// A reload that cannot be had in whole is not had in part.
func TestReloadAllOrNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := two(t, pgtest.Server(t, 18), nil)
	conn := r.mustLogin("one")
	pid := backend(t, conn)
	for name, c := range map[string]struct {
		key    string
		change func(*Config)
	}{
		"another number of loops": {"limits.loops", func(c *Config) { c.MaxLoops = 3 }},
		"an address that is taken": {"listen[2]", func(c *Config) {
			c.Listen = append(c.Listen, "localhost:0", taken.Addr().String())
		}},
		"a directory that is not there": {"unix_socket.dir", func(c *Config) { c.UnixDir = "/nowhere/at/all" }},
		"a method without users":        {"", func(c *Config) { c.Auth = login.SCRAM }},
		"TLS without a certificate":     {"", func(c *Config) { c.TLSMode = login.TLSRequire }},
		"a secret that is none":         {"", func(c *Config) { c.Users = []User{{Name: "app", Secret: "SCRAM-SHA-256$4096:x"}} }},
	} {
		before, addrs := r.srv.snapshot(), len(r.srv.Addrs())
		err := r.reload(func(cfg *Config) {
			cfg.Databases = cfg.Databases[1:]
			c.change(cfg)
		})
		var key *KeyError
		switch {
		case err == nil:
			t.Errorf("%s is accepted", name)
		case c.key != "" && (!errors.As(err, &key) || key.Key != c.key):
			t.Errorf("%s: %v does not blame %s", name, err, c.key)
		}
		if r.srv.snapshot() != before || len(r.srv.Addrs()) != addrs {
			t.Errorf("%s has changed something", name)
		}
	}
	if got := backend(t, conn); got != pid {
		t.Errorf("server process %s, was %s", got, pid)
	}
	r.mustLogin("one")
}

func TestReloadOfAddresses(t *testing.T) {
	dir := t.TempDir()
	r := two(t, pgtest.Server(t, 18), nil)
	first := r.addr()
	conn := r.mustLogin("one")
	r.mustReload(func(c *Config) { c.Listen, c.UnixDir = append(c.Listen, "localhost:0"), dir })
	addrs := r.srv.Addrs()
	if len(addrs) != 3 || addrs[0].String() != first {
		t.Fatal(addrs)
	}
	_, port, _ := net.SplitHostPort(first)
	path := filepath.Join(dir, ".s.PGSQL."+port)
	for _, dsn := range []string{
		"postgres://app@" + addrs[1].String() + "/one?sslmode=disable", "postgres://app@/one?host=" + dir + "&port=" + port,
	} {
		c, err := pgconn.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close(t.Context())
	}
	r.mustReload(func(c *Config) { c.UnixMode = 0o700 })
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	r.mustReload(func(c *Config) { c.Listen, c.UnixDir = c.Listen[1:], "" })
	if c, err := net.Dial("tcp", first); err == nil {
		_ = c.Close()
		t.Error("an address that was removed is still open")
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket of a directory that was removed: %v", err)
	}
	if got := ask(t, conn, "SELECT 1"); got != "1" {
		t.Error(got)
	}
	r.mustLogin("one")
}

func TestReloadBeforeAndAfter(t *testing.T) {
	cfg := config(t, "postgres://app@127.0.0.1:1/app?sslmode=disable")
	r := start(t, cfg)
	if err := r.srv.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.srv.Reload(cfg); !errors.Is(err, errNotServing) {
		t.Error(err)
	}
}

// TestThousandReloads is the promise: under load no query fails, and no connection of a pool that did not change is
// closed. SARNIC_PROVE=1 makes it a thousand.
func TestThousandReloads(t *testing.T) {
	reloads := 40
	if os.Getenv("SARNIC_PROVE") != "" {
		reloads = 1000
	}
	pg := pgtest.New(t, pgtest.Options{Version: 18, Settings: map[string]string{"max_connections": "200"}})
	r := two(t, pg, func(c *Config) { c.MaxLoops = 2 })
	extra := r.srv.snapshot().cfg.Databases[0]
	extra.Name = "sometimes"
	for i := range 2 {
		r.mustReload(func(c *Config) { c.Databases[i].Pool.Size = 4; c.Databases[i].Pool.Lifetime = 0 })
	}
	ctx, stop := context.WithCancel(t.Context())
	load := startLoad(ctx, t, r, pg, 6)
	r.eventually("the load runs", func() bool { return load.queries.Load() > 100 })
	before := load.unchanged()
	took := time.Duration(0)
	for i := range reloads {
		began := time.Now()
		r.mustReload(func(c *Config) {
			p := &c.Databases[1].Pool
			p.Size, p.MinSize, p.WaitNotice = 2+i%4, i%3, time.Duration(10+i)*time.Second
			c.MaxLogins = 8 + i%5
			switch c.Databases = c.Databases[:2]; i % 3 {
			case 0:
				c.Databases = append(c.Databases, extra)
			case 1: // the same server under another DSN: connections are replaced
				c.Databases[1].Server = c.Databases[1].Server.WithUser(c.Databases[1].Server.User(), "", fmt.Sprint("ignored", i))
			}
		})
		took += time.Since(began)
		due := load.queries.Load() + 20
		r.eventually("queries were answered since", func() bool { return load.queries.Load() >= due || load.failure.Load() != nil })
	}
	after, queries := load.unchanged(), load.queries.Load()
	stop()
	load.wg.Wait()
	if before != after {
		t.Errorf("the unchanged pool had the server processes %s and has %s", before, after)
	}
	if p, _ := r.stats("one"); p.Counters.Dials.Load() > 4 {
		t.Errorf("the unchanged pool dialled %d times", p.Counters.Dials.Load())
	}
	if err := load.failure.Load(); err != nil {
		t.Errorf("a query failed: %v", *err)
	}
	replaced, _ := r.stats("two")
	t.Logf("%d reloads in %.1f ms each, %d queries and %d logins under them: 0 failed, 0 connections of the unchanged pool closed, %d dials of the changed one",
		reloads, took.Seconds()*1e3/float64(reloads), queries, load.logins.Load(), replaced.Counters.Dials.Load())
}

// load is clients that never rest.
type load struct {
	t               *testing.T
	r               *rig
	pg              *pgtest.Postgres
	wg              sync.WaitGroup
	queries, logins atomic.Int64
	failure         atomic.Pointer[error]
}

// startLoad runs clients on each of the databases one and two until ctx ends: n that stay, of which every other one
// works in transactions and with a prepared statement, and one that comes and goes.
func startLoad(ctx context.Context, t *testing.T, r *rig, pg *pgtest.Postgres, n int) *load {
	l := &load{t: t, r: r, pg: pg}
	for _, database := range []string{"one", "two"} {
		for i := range n {
			conn := r.mustLogin(database)
			if _, err := conn.Prepare(t.Context(), "add", "SELECT $1::int + 1", nil); err != nil {
				t.Fatal(err)
			}
			l.wg.Go(func() { l.keep(ctx, conn, i%2 == 0) })
		}
		l.wg.Go(func() { l.comeAndGo(ctx, database) })
	}
	return l
}

func (l *load) failed(err error) {
	l.failure.CompareAndSwap(nil, &err)
}

func (l *load) keep(ctx context.Context, conn *pgconn.PgConn, transactions bool) {
	run := func(sql string) bool {
		_, err := conn.Exec(context.Background(), sql).ReadAll()
		if err != nil {
			l.failed(fmt.Errorf("%s: %w", sql, err))
		}
		l.queries.Add(1)
		return err == nil
	}
	for ctx.Err() == nil {
		if transactions {
			if !run("BEGIN") || !run("SELECT 1") {
				return
			}
		}
		result := conn.ExecPrepared(context.Background(), "add", [][]byte{[]byte("41")}, nil, nil).Read()
		if result.Err != nil || string(result.Rows[0][0]) != "42" {
			l.failed(fmt.Errorf("prepared: %w", result.Err))
			return
		}
		l.queries.Add(1)
		if transactions && !run("COMMIT") {
			return
		}
	}
}

func (l *load) comeAndGo(ctx context.Context, database string) {
	for ctx.Err() == nil {
		conn, err := pgconn.Connect(context.Background(), "postgres://app@"+l.r.addr()+"/"+database+"?sslmode=disable")
		if err != nil {
			l.failed(fmt.Errorf("login: %w", err))
			return
		}
		if _, err := conn.Exec(context.Background(), "SELECT 1").ReadAll(); err != nil {
			l.failed(err)
		}
		_ = conn.Close(context.Background())
		l.logins.Add(1)
	}
}

// unchanged lists the server processes of the pool of database one.
func (l *load) unchanged() string {
	l.t.Helper()
	value, err := l.pg.Value(l.t.Context(), pgtest.Superuser, "SELECT string_agg(pid || ' ' || backend_start, ',' ORDER BY pid) "+
		"FROM pg_stat_activity WHERE datname = '"+l.r.srv.snapshot().databases["one"].Server.Database()+"'")
	if err != nil {
		l.t.Fatal(err)
	}
	return value
}
