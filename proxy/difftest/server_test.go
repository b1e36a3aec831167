package difftest

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// server is a running PostgreSQL and the databases of it that no test uses now.
type server struct {
	*pgtest.Postgres
	version int
	free    chan string // databases nobody uses
	made    chan int    // how many databases there are
}

func newServer(pg *pgtest.Postgres, version int) *server {
	s := &server{Postgres: pg, version: version, free: make(chan string, 1000), made: make(chan int, 1)}
	s.made <- 0
	return s
}

// room is a database a test has for itself, emptied, and a superuser in it.
type room struct {
	*server
	database string
	super    *pgconn.PgConn
}

const (
	appUser     = "app"
	appPassword = "secret of app"
)

// appDSN is how the proxy reaches its database.
func (r *room) appDSN() string { return r.DSN(appUser, appPassword, r.database) }

func (r *room) account() account { return account{appUser, appPassword, r.database} }

// enter takes a free database, or makes one, and empties it. It is given back when the test ends.
func (s *server) enter(t testing.TB) *room {
	t.Helper()
	ctx := t.Context()
	r := &room{server: s}
	select {
	case r.database = <-s.free:
	default:
		number := <-s.made
		s.made <- number + 1
		r.database = fmt.Sprintf("room%d", number)
		if err := s.Exec(ctx, "postgres", "CREATE DATABASE "+r.database); err != nil {
			t.Fatal(err)
		}
	}
	super, err := pgconn.Connect(ctx, s.AdminDSN(r.database))
	if err != nil {
		t.Fatalf("superuser in %s: %v", r.database, err)
	}
	r.super = super
	t.Cleanup(func() {
		_ = super.Close(context.Background())
		s.free <- r.database
	})
	if err := r.empty(ctx); err != nil {
		t.Fatalf("emptying %s: %v", r.database, err)
	}
	return r
}

// empty ends every other session of the database and drops what earlier ones made.
func (r *room) empty(ctx context.Context) error {
	const end = `SELECT count(pg_terminate_backend(pid)) = 0 FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`
	if err := r.superUntil(ctx, end); err != nil {
		return err
	}
	if err := r.rollbackPrepared(ctx); err != nil {
		return err
	}
	const drop = `
		SET client_min_messages = warning;
		DROP SCHEMA public CASCADE;
		CREATE SCHEMA public AUTHORIZATION app;
		SELECT lo_unlink(oid) FROM pg_largeobject_metadata`
	return r.super.Exec(ctx, drop).Close()
}

// rollbackPrepared ends the two-phase transactions of a test that failed.
func (r *room) rollbackPrepared(ctx context.Context) error {
	result := r.super.ExecParams(ctx, `SELECT quote_literal(gid) FROM pg_prepared_xacts WHERE database = current_database()`,
		nil, nil, nil, nil).Read()
	for _, row := range result.Rows {
		if err := r.super.Exec(ctx, "ROLLBACK PREPARED "+string(row[0])).Close(); err != nil {
			return err
		}
	}
	return result.Err
}

// superUntil asks the server until it says true.
func (r *room) superUntil(ctx context.Context, sql string) error {
	return pollUntil(ctx, func() (bool, error) {
		result := r.super.ExecParams(ctx, sql, nil, nil, nil, nil).Read()
		yes := result.Err == nil && len(result.Rows) == 1 && string(result.Rows[0][0]) == "t"
		return yes, result.Err
	})
}

// mustExec runs SQL as the superuser.
func (r *room) mustExec(t testing.TB, sql string) {
	t.Helper()
	if err := r.super.Exec(t.Context(), sql).Close(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
