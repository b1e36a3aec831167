package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// rounds is how often checks repeat what they do, so that clients meet several server connections.
const rounds = 20

func simpleQuery(ctx context.Context, t *trial) (string, error) {
	return "", t.with(ctx, pgx.QueryExecModeSimpleProtocol, func(conn *pgx.Conn) error {
		if err := expect(ctx, conn, int64(accounts), "SELECT count(*) FROM pgbench_accounts"); err != nil {
			return err
		}
		results, err := conn.PgConn().Exec(ctx, "SELECT 1; SELECT 2, 'two'; SELECT 3").ReadAll()
		if err == nil && len(results) != 3 {
			err = fmt.Errorf("three statements in one query gave %d results", len(results))
		}
		return err
	})
}

func extendedUnnamed(ctx context.Context, t *trial) (string, error) {
	return "", t.pair(ctx, pgx.QueryExecModeDescribeExec, func(a, b *pgx.Conn) error {
		for n := range rounds {
			err := errors.Join(
				expect(ctx, a, n+1, "SELECT $1::int + 1", n),
				expect(ctx, b, strings.Repeat("x", n), "SELECT repeat('x', $1::int)", n),
			)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// preparedByName lets two clients give one name to different statements and use them in turn.
func preparedByName(ctx context.Context, t *trial) (string, error) {
	return fmt.Sprintf("two clients, %d executions each", rounds), t.pair(ctx, pgx.QueryExecModeCacheStatement, func(a, b *pgx.Conn) error {
		if _, err := a.Prepare(ctx, "same", "SELECT $1::int * 2"); err != nil {
			return err
		}
		if _, err := b.Prepare(ctx, "same", "SELECT 'text ' || $1::text"); err != nil {
			return err
		}
		for n := range rounds {
			err := errors.Join(expect(ctx, a, 2*n, "same", n), expect(ctx, b, fmt.Sprintf("text %d", n), "same", fmt.Sprint(n)))
			if err != nil {
				return err
			}
		}
		return a.Deallocate(ctx, "same")
	})
}

// transaction looks with one client at what another does.
func transaction(ctx context.Context, t *trial) (string, error) {
	return "commit seen, rollback not", t.pair(ctx, pgx.QueryExecModeCacheStatement, func(a, b *pgx.Conn) error {
		count := func(want int64) error {
			return expect(ctx, b, want, "SELECT count(*) FROM smoke WHERE client = 'transaction'")
		}
		for _, end := range []struct {
			sql  string
			want int64
		}{{"ROLLBACK", 0}, {"COMMIT", 1}} {
			for _, sql := range []string{"BEGIN", "INSERT INTO smoke VALUES ('transaction', 1)"} {
				if _, err := a.Exec(ctx, sql); err != nil {
					return err
				}
			}
			if err := count(0); err != nil {
				return fmt.Errorf("before %s: %w", end.sql, err)
			}
			if _, err := a.Exec(ctx, end.sql); err != nil {
				return err
			}
			if err := count(end.want); err != nil {
				return fmt.Errorf("after %s: %w", end.sql, err)
			}
		}
		return nil
	})
}

func failedTransaction(ctx context.Context, t *trial) (string, error) {
	return "22012, then 25P02, savepoint, rollback", t.with(ctx, pgx.QueryExecModeCacheStatement, func(conn *pgx.Conn) error {
		steps := []struct{ sql, state string }{
			{"BEGIN", ""},
			{"SAVEPOINT here", ""},
			{"SELECT 1/0", "22012"},
			{"SELECT 1", "25P02"},
			{"ROLLBACK TO here", ""},
			{"SELECT 1", ""},
			{"SELECT 1/0", "22012"},
			{"ROLLBACK", ""},
			{"SELECT 1", ""},
		}
		for i, step := range steps {
			if _, err := conn.Exec(ctx, step.sql); sqlState(err) != step.state {
				return fmt.Errorf("step %d, %s: got %w, want SQLSTATE %q", i+1, step.sql, orNone(err), step.state)
			}
		}
		return nil
	})
}

func errorThenGoOn(ctx context.Context, t *trial) (string, error) {
	return "42P01, 42601", t.with(ctx, pgx.QueryExecModeCacheStatement, func(conn *pgx.Conn) error {
		for sql, state := range map[string]string{"SELECT * FROM nowhere": "42P01", "SELEC 1": "42601"} {
			if _, err := conn.Exec(ctx, sql); sqlState(err) != state {
				return fmt.Errorf("%s: got %w, want SQLSTATE %s", sql, orNone(err), state)
			}
			if err := expect(ctx, conn, 1, "SELECT 1"); err != nil {
				return err
			}
		}
		return nil
	})
}

func copyBothWays(ctx context.Context, t *trial) (string, error) {
	const rows = 20_000
	return fmt.Sprintf("%d rows", rows), t.with(ctx, pgx.QueryExecModeCacheStatement, func(conn *pgx.Conn) error {
		source := pgx.CopyFromSlice(rows, func(i int) ([]any, error) { return []any{"copy", i}, nil })
		written, err := conn.CopyFrom(ctx, pgx.Identifier{"smoke"}, []string{"client", "n"}, source)
		if err != nil {
			return fmt.Errorf("in: %w", err)
		}
		if written != rows {
			return fmt.Errorf("in: %d rows, want %d", written, rows)
		}
		var out bytes.Buffer
		if _, err := conn.PgConn().CopyTo(ctx, &out, "COPY (SELECT n FROM smoke WHERE client = 'copy') TO STDOUT"); err != nil {
			return fmt.Errorf("out: %w", err)
		}
		if lines := bytes.Count(out.Bytes(), []byte("\n")); lines != rows {
			return fmt.Errorf("out: %d lines, want %d", lines, rows)
		}
		// A COPY that fails must leave nothing and the connection usable.
		_, err = conn.PgConn().CopyFrom(ctx, strings.NewReader("copy\tnot a number\n"), "COPY smoke FROM STDIN")
		if sqlState(err) != "22P02" {
			return fmt.Errorf("bad row: got %w, want SQLSTATE 22P02", orNone(err))
		}
		return expect(ctx, conn, int64(rows), "SELECT count(*) FROM smoke WHERE client = 'copy'")
	})
}

// cancel stops one client's query and looks that another's goes on.
func cancel(ctx context.Context, t *trial) (string, error) {
	return "57014, the other client goes on", t.pair(ctx, pgx.QueryExecModeCacheStatement, func(a, b *pgx.Conn) error {
		other := make(chan error, 1)
		go func() { other <- expect(ctx, b, "slept", "SELECT 'slept' FROM pg_sleep(1)") }()
		slept := make(chan error, 1)
		go func() {
			_, err := a.Exec(ctx, "/* smoke: cancel me */ SELECT pg_sleep(50)")
			slept <- err
		}()
		err := t.awaitActive(ctx, "/* smoke: cancel me */%")
		if err == nil {
			err = a.PgConn().CancelRequest(ctx)
		}
		if err != nil {
			err = errors.Join(err, a.PgConn().Conn().Close()) // ends the sleep, whose goroutine we wait for
		}
		if got := <-slept; err == nil && sqlState(got) != "57014" {
			err = fmt.Errorf("got %w, want SQLSTATE 57014", orNone(got))
		}
		if otherErr := <-other; otherErr != nil {
			err = errors.Join(err, fmt.Errorf("the other client: %w", otherErr))
		}
		if err != nil {
			return err
		}
		return expect(ctx, a, 1, "SELECT 1")
	})
}

// awaitActive waits until the primary runs a statement like that.
func (t *trial) awaitActive(ctx context.Context, like string) error {
	sql := "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '" + like + "'"
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for ; ; <-ticker.C { // Value ends with ctx
		running, err := t.servers.primary.Value(ctx, database, sql)
		if err != nil {
			return err
		}
		if running == "1" {
			return nil
		}
	}
}

func batch(ctx context.Context, t *trial) (string, error) {
	return fmt.Sprintf("%d statements in one round trip", rounds), t.with(ctx, pgx.QueryExecModeCacheStatement, func(conn *pgx.Conn) error {
		var queries pgx.Batch
		sum := 0
		for n := range rounds {
			queries.Queue("SELECT $1::int * $1::int", n).QueryRow(func(row pgx.Row) error {
				var square int
				err := row.Scan(&square)
				sum += square
				return err
			})
		}
		if err := conn.SendBatch(ctx, &queries).Close(); err != nil {
			return err
		}
		if want := (rounds - 1) * rounds * (2*rounds - 1) / 6; sum != want {
			return fmt.Errorf("the squares add up to %d, want %d", sum, want)
		}
		return nil
	})
}

// pipeline sends three groups at once; the second fails in its middle and must not touch the others.
func pipeline(ctx context.Context, t *trial) (string, error) {
	return "an error skips to its Sync, not beyond", t.with(ctx, pgx.QueryExecModeCacheStatement, func(conn *pgx.Conn) error {
		line := conn.PgConn().StartPipeline(ctx)
		for _, group := range [][]string{{"SELECT 1", "SELECT 2"}, {"SELECT 1/0", "SELECT 3"}, {"SELECT 4"}} {
			for _, sql := range group {
				line.SendQueryParams(sql, nil, nil, nil, nil)
			}
			if err := line.Sync(); err != nil { // also flushes
				return errors.Join(err, line.Close())
			}
		}
		got, err := readPipeline(line)
		if err = errors.Join(err, line.Close()); err != nil {
			return err
		}
		if want := "1 2 sync error:22012 sync 4 sync"; got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return expect(ctx, conn, 1, "SELECT 1")
	})
}

// readPipeline reads all results as words.
func readPipeline(line *pgconn.Pipeline) (string, error) {
	var words []string
	for {
		results, err := line.GetResults()
		switch state := sqlState(err); {
		case state != "":
			words = append(words, "error:"+state)
			continue
		case err != nil:
			return "", err
		}
		switch result := results.(type) {
		case nil:
			return strings.Join(words, " "), nil
		case *pgconn.PipelineSync:
			words = append(words, "sync")
		case *pgconn.ResultReader:
			read := result.Read()
			if state := sqlState(read.Err); state != "" {
				words = append(words, "error:"+state)
			} else if read.Err != nil {
				return "", read.Err
			}
			for _, row := range read.Rows {
				words = append(words, string(row[0]))
			}
		}
	}
}

func sqlState(err error) string {
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		return failure.Code
	}
	if err != nil {
		return "none"
	}
	return ""
}

// orNone makes "no error" sayable where one was expected.
func orNone(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}
