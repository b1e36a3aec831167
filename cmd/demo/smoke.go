package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// check is one thing tried through the proxy. It returns what is worth showing beside PASS.
type check struct {
	name string
	try  func(ctx context.Context, t *trial) (detail string, err error)
}

// trial is what checks work with.
type trial struct {
	options options
	servers *servers
	dsn     string
}

// checkTimeout bounds each check: a proxy that hangs has failed.
const checkTimeout = 60 * time.Second

func checks() []check {
	return []check{
		{"simple query", simpleQuery},
		{"extended, unnamed", extendedUnnamed},
		{"prepared, same name", preparedByName},
		{"transaction", transaction},
		{"failed transaction", failedTransaction},
		{"error, then go on", errorThenGoOn},
		{"COPY in and out", copyBothWays},
		{"cancel", cancel},
		{"batch", batch},
		{"pipeline", pipeline},
		{"clients > pool", moreClientsThanPool},
		{"replica follows", replicaFollows},
		{"Redis answers", redisAnswers},
		{"psql -c", psqlCommand},
		{"pgbench simple", pgbench("simple")},
		{"pgbench extended", pgbench("extended")},
		{"pgbench prepared", pgbench("prepared")},
	}
}

// errNotFound is a tool this machine does not have; it fails nothing.
var errNotFound = errors.New("not found")

// smokeError ends the program with status 1 after the lines have said why.
type smokeError struct{ failed, tried int }

func (e *smokeError) Error() string { return fmt.Sprintf("%d of %d checks failed", e.failed, e.tried) }

// smoke runs the checks one after another, whatever the ones before said.
func smoke(ctx context.Context, o options, s *servers, p *proxy, out *screen) error {
	out.heading("Checks through " + where(o, p))
	t := &trial{options: o, servers: s, dsn: p.dsn}
	if err := t.prepare(ctx); err != nil {
		return err
	}
	all := checks()
	failed := 0
	for _, one := range all {
		started := time.Now()
		detail, err := one.run(ctx, t)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		out.result(one.name, time.Since(started), detail, err)
		if err != nil && !errors.Is(err, errNotFound) {
			failed++
		}
	}
	out.print("\n")
	if failed > 0 {
		failure := &smokeError{failed, len(all)}
		if p.log != nil {
			return p.failure(failure.Error() + "; the end of sarnic's log:")
		}
		return failure
	}
	out.print(out.paint(green, "every check passed") + "\n")
	return nil
}

func where(o options, p *proxy) string {
	if o.direct {
		return p.dsn + " (no proxy)"
	}
	return p.dsn
}

func (c check) run(ctx context.Context, t *trial) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return c.try(ctx, t)
}

// result prints one line.
func (s *screen) result(name string, took time.Duration, detail string, err error) {
	verdict := s.paint(green, "PASS")
	switch {
	case errors.Is(err, errNotFound):
		verdict, detail = s.paint(yellow, "----"), err.Error()
	case err != nil:
		verdict, detail = s.paint(red, "FAIL"), err.Error()
	}
	line := fmt.Sprintf("  %s  %s%11s  %s", verdict, pad(name, 20), milliseconds(took), detail)
	s.print(strings.TrimRight(line, " ") + "\n")
}

// prepare makes the table that checks write to, on the primary itself.
func (t *trial) prepare(ctx context.Context) error {
	return t.servers.primary.Exec(ctx, database,
		"SET ROLE "+user+"; DROP TABLE IF EXISTS smoke; CREATE TABLE smoke (client text, n int)")
}

// connect opens a client; mode is how it sends statements.
func (t *trial) connect(ctx context.Context, mode pgx.QueryExecMode) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(t.dsn)
	if err != nil {
		return nil, err
	}
	config.DefaultQueryExecMode = mode
	return pgx.ConnectConfig(ctx, config)
}

// with lends a client to fn and closes it.
func (t *trial) with(ctx context.Context, mode pgx.QueryExecMode, fn func(*pgx.Conn) error) error {
	conn, err := t.connect(ctx, mode)
	if err != nil {
		return err
	}
	err = fn(conn)
	return errors.Join(err, conn.Close(ctx))
}

// pair lends two clients.
func (t *trial) pair(ctx context.Context, mode pgx.QueryExecMode, fn func(a, b *pgx.Conn) error) error {
	return t.with(ctx, mode, func(a *pgx.Conn) error {
		return t.with(ctx, mode, func(b *pgx.Conn) error { return fn(a, b) })
	})
}

// ask reads the only value of a query.
func ask[T any](ctx context.Context, conn *pgx.Conn, sql string, args ...any) (T, error) {
	var value T
	err := conn.QueryRow(ctx, sql, args...).Scan(&value)
	return value, err
}

// expect asks and compares.
func expect[T comparable](ctx context.Context, conn *pgx.Conn, want T, sql string, args ...any) error {
	got, err := ask[T](ctx, conn, sql, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	if got != want {
		return fmt.Errorf("%s: got %v, want %v", sql, got, want)
	}
	return nil
}
