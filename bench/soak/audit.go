package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// audit compares the books with the tables. Everybody is gone by then.
type audit struct {
	conn    *pgconn.PgConn
	faults  *faults
	owners  map[int]*book
	history map[token]int // rows by token
	lines   map[token]int
	sum     int64 // of the deltas in history
	landed  int   // transactions of unknown outcome that were committed
}

// runAudit reads the tables past sarnic.
func runAudit(ctx context.Context, pg *pgtest.Postgres, books []*book, workers []*worker, f *faults) (*audit, error) {
	conn, err := pgconn.Connect(ctx, pg.AdminDSN(database))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	a := &audit{conn: conn, faults: f, owners: make(map[int]*book), history: make(map[token]int), lines: make(map[token]int)}
	for _, b := range books {
		a.owners[b.owner] = b
	}
	if err := a.read(ctx); err != nil {
		return nil, err
	}
	for _, b := range books {
		a.compare(b)
	}
	if err := a.balances(ctx); err != nil {
		return nil, err
	}
	return a, a.canaries(ctx, workers)
}

func (a *audit) fault(format string, args ...any) { a.faults.add("audit", nil, format, args...) }

// read counts the rows of every token, and reports rows that nobody wrote.
func (a *audit) read(ctx context.Context) error {
	history := &rows{each: func(values []int64) {
		t := token(values[0])
		a.history[t]++
		a.sum += values[1]
		if !a.known(t) || values[1] != t.delta() {
			a.fault("history has a row that nobody wrote: token %d, delta %d", t, values[1])
		}
	}}
	if _, err := a.conn.CopyTo(ctx, history, "COPY (SELECT token, delta FROM history) TO STDOUT"); err != nil {
		return err
	}
	copied := &rows{each: func(values []int64) {
		t := token(values[0])
		a.lines[t] = int(values[1])
		if !a.known(t) || values[1] != values[2] {
			a.fault("a COPY left rows that nobody wrote, or some twice: token %d has %d rows, %d of them distinct",
				t, values[1], values[2])
		}
	}}
	_, err := a.conn.CopyTo(ctx, copied, "COPY (SELECT token, count(*), count(DISTINCT line) FROM copied GROUP BY token) TO STDOUT")
	return err
}

func (a *audit) known(t token) bool {
	b := a.owners[int(t>>32)]
	return b != nil && int(t&(1<<32-1)) < len(b.entries)
}

// compare holds one book against the tables.
func (a *audit) compare(b *book) {
	for i, e := range b.entries {
		t := token(b.owner)<<32 | token(i)
		found, whole := a.history[t], 1
		if e.lines > 0 {
			found, whole = a.lines[t], int(e.lines)
		}
		switch {
		case found != 0 && found != whole:
			a.fault("client %d's transaction %d (%s) has %d rows instead of %d or none", b.owner, i, e.outcome, found, whole)
		case e.outcome == present && found == 0:
			a.fault("client %d's transaction %d was acknowledged and is not there", b.owner, i)
		case e.outcome == absent && found != 0:
			a.fault("client %d's transaction %d was not committed and is there", b.owner, i)
		case e.outcome == unknown && found != 0:
			a.landed++
		}
	}
}

func (o outcome) String() string {
	return [...]string{"not committed", "unknown outcome", "acknowledged"}[o]
}

// balances adds up: what was moved in one table was moved in all.
func (a *audit) balances(ctx context.Context) error {
	const sql = `SELECT (SELECT sum(abalance) FROM accounts), (SELECT sum(tbalance) FROM tellers),
		(SELECT sum(bbalance) FROM branches)`
	results, err := a.conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return err
	}
	for i, table := range []string{"accounts", "tellers", "branches"} {
		if sum := string(results[0].Rows[0][i]); sum != strconv.FormatInt(a.sum, 10) {
			a.fault("the balances of %s add up to %s, history to %d", table, sum, a.sum)
		}
	}
	return nil
}

// canaries checks the workers' counters, which are changed outside of transaction blocks.
func (a *audit) canaries(ctx context.Context, workers []*worker) error {
	for _, w := range workers {
		results, err := a.conn.Exec(ctx, fmt.Sprintf("SELECT n FROM canaries WHERE worker = %d", w.id)).ReadAll()
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(results[0].Rows[0][0]), 10, 64)
		if least, most := w.canaries(); err != nil || n < least || n > most {
			a.fault("worker %d's canary is at %d, between %d and %d increments were made (%v)", w.id, n, least, most, err)
		}
	}
	return nil
}

// rows takes the lines of a COPY TO STDOUT that hold numbers.
type rows struct{ each func([]int64) }

func (r *rows) Write(b []byte) (int, error) {
	var values []int64
	for field := range strings.FieldsSeq(string(b)) {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q: %w", b, err)
		}
		values = append(values, n)
	}
	r.each(values)
	return len(b), nil
}

var _ io.Writer = (*rows)(nil)
