package main

import (
	"context"
	"crypto/md5" //nolint:gosec // PostgreSQL's md5() of a parameter, compared with ours
	"encoding/hex"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// look reads the worker's own canary, and what a client that went before may have left in the session.
func (w *worker) look(ctx context.Context) error {
	tag := w.tag()
	const sql = "SELECT $1::text, secret, current_setting('work_mem'), current_setting('application_name') " +
		"FROM canaries WHERE worker = $2::int"
	return w.check(w.s.ask(ctx, w.anyProtocol(), request{
		statement{"look", sql}, []string{tag, number(w.id)}, []string{tag, w.secret, workMem, w.s.app}, "SELECT 1",
	}))
}

// own uses a named statement whose text differs from worker to worker while the name does not.
func (w *worker) own(ctx context.Context) error {
	how := prepared
	if w.random.IntN(3) == 0 {
		how = split
	}
	if w.random.IntN(10) == 0 {
		if err := w.s.deallocate(ctx, "own"); err != nil {
			return err
		}
	}
	st := statement{"own", "SELECT '" + w.secret + "', $1::text"}
	tag := w.tag()
	return w.check(w.s.ask(ctx, how, request{st, []string{tag}, []string{w.secret, tag}, "SELECT 1"}))
}

// deallocate closes a statement that is used again later.
func (w *worker) deallocate(ctx context.Context) error {
	for name := range w.s.prepared {
		return w.s.deallocate(ctx, name)
	}
	return nil
}

// sleep is there for cancels to hit.
func (w *worker) sleep(ctx context.Context) error {
	tag := w.tag()
	return w.check(w.s.ask(ctx, w.anyProtocol(), request{
		statement{"sleep", "SELECT $1::text, pg_sleep($2::float8)::text"},
		[]string{tag, "0.0" + number(10+w.random.IntN(60))},
		[]string{tag, ""},
		"SELECT 1",
	}))
}

// manyRows reads a large result as it comes.
func (w *worker) manyRows(ctx context.Context) error {
	rows := 1 + w.random.IntN(4000)
	tag := w.tag()
	w.s.begun("%d rows for %s", rows, tag)
	r := w.s.conn.ExecParams(ctx, "SELECT $1::text, n, repeat(md5(n::text), 8) FROM generate_series(1, $2::int) n",
		texts([]string{tag, number(rows)}), nil, nil, nil)
	seen := 0
	var wrong error
	for r.NextRow() {
		seen++
		if row := r.Values(); wrong == nil && (len(row) != 3 || string(row[0]) != tag || string(row[1]) != number(seen)) {
			wrong = wrongf("row %d for %s is %s", seen, tag, show(row))
		}
	}
	_, err := r.Close()
	switch {
	case wrong != nil:
		return wrong
	case err == nil && seen != rows:
		return wrongf("%d rows instead of %d for %s", seen, rows, tag)
	}
	return w.check(err)
}

// largeValue reads one value larger than any buffer.
func (w *worker) largeValue(ctx context.Context) error {
	size := 1 + w.random.IntN(3<<20)
	tag := w.tag()
	st := statement{"large", "SELECT $1::text || repeat('v', $2::int) || $1::text"}
	got, err := w.s.send(ctx, w.anyProtocol(), st, []string{tag, number(size)})
	if err != nil {
		return err
	}
	if len(got.Rows) != 1 || len(got.Rows[0]) != 1 {
		return wrongf("a large value came in %d rows", len(got.Rows))
	}
	value := string(got.Rows[0][0])
	if len(value) != size+2*len(tag) || !strings.HasPrefix(value, tag) || !strings.HasSuffix(value, tag) ||
		strings.Trim(value[len(tag):len(tag)+size], "v") != "" {
		return wrongf("a value of %d bytes instead of %d for %s: %s", len(value), size+2*len(tag), tag, show(got.Rows[0]))
	}
	return w.check(nil)
}

// largeArgument sends one value larger than any buffer.
func (w *worker) largeArgument(ctx context.Context) error {
	argument := strings.Repeat(w.secret, 1+w.random.IntN(3<<20)/len(w.secret))
	sum := md5.Sum([]byte(argument)) //nolint:gosec // as above
	tag := w.tag()
	return w.check(w.s.ask(ctx, w.anyProtocol(), request{
		statement{"argument", "SELECT $1::text, length($2::text), md5($2::text)"},
		[]string{tag, argument},
		[]string{tag, number(len(argument)), hex.EncodeToString(sum[:])},
		"SELECT 1",
	}))
}

// mistake makes the server fail in the middle of a pipeline: what stands behind in the segment is skipped, the next one is not.
func (w *worker) mistake(ctx context.Context) error {
	var rs []request
	for i := range 4 {
		tag := w.tag()
		r := request{statement{"", "SELECT $1::text"}, []string{tag}, []string{tag}, "SELECT 1"}
		if i == 1 {
			r.sql = "SELECT 1 / length(substr($1::text, 1, 0))"
		}
		rs = append(rs, r)
	}
	p := w.s.pipeline(ctx, rs, []int{2})
	var told *pgconn.PgError
	switch {
	case errors.As(p.err, &told) && told.Code == "22012":
		return w.check(nil)
	case p.err == nil:
		return wrongf("a division by zero was answered")
	}
	return p.err
}

// change leaves state behind: sarnic must keep the server connection for this client until it leaves, and clean it then.
func (w *worker) change(ctx context.Context) error {
	steps := []request{
		{statement{"", "SET work_mem = '7MB'"}, nil, nil, "SET"},
		{statement{"", "SELECT pg_advisory_lock($1::bigint)::text"}, []string{number(w.random.Int64())}, []string{""}, "SELECT 1"},
		{statement{"", "SELECT current_setting('work_mem')"}, nil, []string{"7MB"}, "SELECT 1"},
	}
	w.leaving = true // also after an error: the setting must not be taken for a leak
	for _, r := range steps {
		if err := w.s.ask(ctx, simple, r); err != nil {
			return err
		}
	}
	return w.check(nil)
}

// check counts an answer that was right.
func (w *worker) check(err error) error {
	if err == nil {
		w.tally.add(answers)
	}
	return err
}
