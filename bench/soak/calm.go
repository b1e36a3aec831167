package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// calmTime is within what everything must have come to rest.
const calmTime = 30 * time.Second

// calm waits until nothing is under way any more and returns what is left then. What does not come to rest is a failure.
func (s *soak) calm(ctx context.Context) (sample, error) {
	deadline := time.Now().Add(calmTime)
	for {
		now, err := s.proxy.sample(ctx)
		if err != nil {
			return now, errors.Join(err, s.proxy.ended())
		}
		why := now.busy()
		if why == "" {
			if why, err = s.serverSide(ctx, now); err != nil {
				return now, err
			}
		}
		if why == "" {
			break
		}
		if time.Now().After(deadline) {
			s.faults.add("calm", nil, "after %s without a client there is still: %s", calmTime, why)
			break
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return now, err
		}
	}
	if err := pause(ctx, s.o.settle); err != nil {
		return sample{}, err
	}
	return s.proxy.sample(ctx)
}

// serverSide asks PostgreSQL what it has of sarnic, and says what is wrong with that.
func (s *soak) serverSide(ctx context.Context, now sample) (why string, err error) {
	const sql = `SELECT count(*), count(*) FILTER (WHERE state <> 'idle' OR xact_start IS NOT NULL),
		string_agg(pid || ' ' || coalesce(state, '?') || ' ' || left(query, 60), '; ')
			FILTER (WHERE state <> 'idle' OR xact_start IS NOT NULL),
		(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')
		FROM pg_stat_activity WHERE usename = '` + user + `' AND backend_type = 'client backend'`
	row, err := adminRow(ctx, s.pg, sql)
	if err != nil {
		return "", err
	}
	var problems []string
	if row[0] != number(now.connected()) || now.connected() > s.o.pool {
		problems = append(problems, fmt.Sprintf("PostgreSQL has %s connections of sarnic, sarnic counts %d, the pool has %d places",
			row[0], now.connected(), s.o.pool))
	}
	if row[1] != "0" {
		problems = append(problems, row[1]+" server connections not idle: "+row[2])
	}
	if row[3] != "0" {
		problems = append(problems, row[3]+" advisory locks")
	}
	return strings.Join(problems, ", "), nil
}

// adminRow asks the superuser's question and returns the first row.
func adminRow(ctx context.Context, pg *pgtest.Postgres, sql string) ([]string, error) {
	conn, err := pgconn.Connect(ctx, pg.AdminDSN(database))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	var row []string
	for _, value := range results[0].Rows[0] {
		row = append(row, string(value))
	}
	return row, nil
}

// bounds are by how much what is left may exceed what was left after the warm-up.
const (
	moreGoroutines  = 4
	moreDescriptors = 3
	moreMemory      = 8 << 20
)

// compareCalm looks for what grew between two calms.
func (s *soak) compareCalm(before, after sample) {
	had, has := before.goroutines-before.coroutines, after.goroutines-after.coroutines // a loop keeps as many fibers as were busy at once
	if has > had+moreGoroutines {
		s.faults.add("calm", nil, "%d goroutines besides fibers, after the warm-up there were %d", has, had)
	}
	was, is := before.descriptors-before.connected(), after.descriptors-after.connected()
	if is > was+moreDescriptors {
		s.faults.add("calm", nil, "%d descriptors besides server connections, after the warm-up there were %d", is, was)
	}
	if most := int64(float64(before.rss)*s.o.memory) + moreMemory; after.rss > most {
		s.faults.add("calm", nil, "a resident set of %s, after the warm-up it was %s", mega(after.rss), mega(before.rss))
	}
}

// wholePool opens a transaction in every place of the pool at once: none is lost.
func (s *soak) wholePool(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	pids := make(map[string]bool)
	for i := range s.o.pool {
		conn, err := pgconn.ConnectConfig(ctx, s.config)
		if err != nil {
			return fmt.Errorf("login of client %d of %d: %w", i+1, s.o.pool, err)
		}
		defer conn.Close(ctx)
		results, err := conn.Exec(ctx, "BEGIN; SELECT pid FROM pg_stat_activity WHERE pid = pg_backend_pid()").ReadAll()
		if err != nil {
			return fmt.Errorf("transaction %d of %d at once: %w", i+1, s.o.pool, err)
		}
		pids[string(results[1].Rows[0][0])] = true
	}
	if len(pids) != s.o.pool {
		return fmt.Errorf("%d transactions at once are on %d server connections", s.o.pool, len(pids))
	}
	return nil
}

// end has SIGTERM end sarnic while one client is idle and another in a transaction, which it may finish.
func (s *soak) end(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	idle, err := pgconn.ConnectConfig(ctx, s.config)
	if err != nil {
		return err
	}
	defer idle.Close(ctx)
	last, err := pgconn.ConnectConfig(ctx, s.config)
	if err != nil {
		return err
	}
	defer last.Close(ctx)
	b := &book{owner: s.o.clients + s.o.vandals}
	s.books = append(s.books, b)
	t := b.begin(1)
	sql := fmt.Sprintf("BEGIN; INSERT INTO copied VALUES (%d, 0, 'last')", t)
	if _, err := last.Exec(ctx, sql).ReadAll(); err != nil {
		return err
	}
	if err := s.proxy.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := pause(ctx, 200*time.Millisecond); err != nil {
		return err
	}
	if _, err := last.Exec(ctx, "COMMIT").ReadAll(); err != nil {
		return fmt.Errorf("a transaction open at SIGTERM could not be finished: %w", err)
	}
	b.set(t, present)
	return s.awaitEnd(ctx)
}

// awaitEnd waits for the process, and for PostgreSQL to see that it is gone.
func (s *soak) awaitEnd(ctx context.Context) error {
	select {
	case <-s.proxy.Done():
	case <-time.After(calmTime):
		return fmt.Errorf("sarnic has not ended %s after SIGTERM", calmTime)
	}
	if err := s.proxy.Err(); err != nil {
		return fmt.Errorf("sarnic ended with %w: %s", err, s.proxy.lastWords())
	}
	for {
		row, err := adminRow(ctx, s.pg, "SELECT count(*) FROM pg_stat_activity WHERE usename = '"+user+"'")
		if err != nil || row[0] == "0" {
			return err
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("sarnic has ended and PostgreSQL still has %s connections of it", row[0])
		}
	}
}
