package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

// Versions are the major versions tests run against: the oldest and the newest supported.
func Versions() []int { return []int{15, 18} }

// shared holds the servers of this process.
//
//nolint:gochecknoglobals // one server per process and version is what it is for: tests have no other common owner
var shared registry

type registry struct {
	mu      sync.Mutex
	servers map[int]*sharedServer
}

// sharedServer is started by the first test that asks; a failure is told to all.
type sharedServer struct {
	once sync.Once
	pg   *Postgres
	err  error
}

func (r *registry) server(version int) *sharedServer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.servers == nil {
		r.servers = make(map[int]*sharedServer)
	}
	if r.servers[version] == nil {
		r.servers[version] = &sharedServer{}
	}
	return r.servers[version]
}

func (r *registry) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	for _, server := range r.servers {
		if server.pg != nil {
			err = errors.Join(err, server.pg.Close())
		}
	}
	r.servers = nil
	return err
}

// Server returns the server of that major version which all tests of this process share; give each test its own database
// with NewDatabase, and use New where a test stops the server or changes its settings. It ends with the process, or with
// Main. A PostgreSQL that cannot be had fails the test.
func Server(t testing.TB, version int) *Postgres {
	t.Helper()
	server := shared.server(version)
	server.once.Do(func() {
		server.pg, server.err = Start(context.WithoutCancel(t.Context()), Options{Version: version, Progress: progressTo(t)})
	})
	if server.err != nil {
		t.Fatalf("start PostgreSQL %d: %v", version, server.err)
	}
	return server.pg
}

// New starts a server for one test and closes it when the test ends.
func New(t testing.TB, options Options) *Postgres {
	t.Helper()
	if options.Progress == nil {
		options.Progress = progressTo(t)
	}
	p, err := Start(context.WithoutCancel(t.Context()), options) // closed by Cleanup, after what the test itself cleans up
	if err != nil {
		t.Fatalf("start PostgreSQL %d: %v", options.Version, err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close PostgreSQL: %v", err)
		}
	})
	return p
}

// Each runs a subtest, named pg15 and so on, on the shared server of every version.
func Each(t *testing.T, test func(t *testing.T, p *Postgres)) {
	t.Helper()
	for _, version := range Versions() {
		t.Run(fmt.Sprintf("pg%d", version), func(t *testing.T) { test(t, Server(t, version)) })
	}
}

// databases numbers the databases of this process.
//
//nolint:gochecknoglobals // names must differ between tests that share a server
var databases atomic.Int64

// NewDatabase creates an empty database for one test and drops it, with its sessions, when the test ends.
func (p *Postgres) NewDatabase(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", databases.Add(1))
	if err := p.Exec(t.Context(), Superuser, "CREATE DATABASE "+quoteIdent(name)); err != nil {
		t.Fatalf("create a database: %v", err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if p.PID() == 0 {
			return // the test stopped the server
		}
		if err := p.Exec(ctx, Superuser, "DROP DATABASE "+quoteIdent(name)+" WITH (FORCE)"); err != nil {
			t.Errorf("drop the database: %v", err)
		}
	})
	return name
}

// Main wraps a testing.M so that the shared servers stop before goleak looks around:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }
//
// Without it they are killed when the process ends, and the next Start anywhere removes their directories.
func Main(m *testing.M) interface{ Run() int } { return mainRun{m} }

type mainRun struct{ m *testing.M }

func (r mainRun) Run() int {
	code := r.m.Run()
	if err := shared.close(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return max(code, 1)
	}
	return code
}

func progressTo(t testing.TB) func(string) {
	return func(line string) { t.Log("pgtest: " + line) }
}
