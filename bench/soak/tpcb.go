package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// The statements of TPC-B. Each answers with the tag of its request.
const (
	updateAccount = "UPDATE accounts SET abalance = abalance + $1::bigint WHERE aid = $2::int RETURNING $3::text, aid"
	selectAccount = "SELECT $1::text, aid FROM accounts WHERE aid = $2::int AND abalance IS NOT NULL"
	updateTeller  = "UPDATE tellers SET tbalance = tbalance + $1::bigint WHERE tid = $2::int RETURNING $3::text, tid"
	updateBranch  = "UPDATE branches SET bbalance = bbalance + $1::bigint WHERE bid = $2::int RETURNING $3::text, bid"
	insertHistory = "INSERT INTO history (token, tid, bid, aid, delta) " +
		"VALUES ($1::bigint, $2::int, $3::int, $4::int, $5::bigint) RETURNING $6::text"
)

// transfer is one transaction of TPC-B.
type transfer struct {
	token    token
	requests []request
}

func (w *worker) newTransfer() transfer {
	t := w.book.begin(0)
	delta := number(t.delta())
	aid, tid, bid := w.upTo(accounts), w.upTo(tellers), w.upTo(branches)
	var rs []request
	add := func(name, sql, commandTag string, want []string, args ...string) {
		tag := w.tag()
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "TAG", tag)
		}
		rs = append(rs, request{statement{name, sql}, args, append([]string{tag}, want...), commandTag})
	}
	add("account", updateAccount, "UPDATE 1", []string{aid}, delta, aid, "TAG")
	add("balance", selectAccount, "SELECT 1", []string{aid}, "TAG", aid)
	add("teller", updateTeller, "UPDATE 1", []string{tid}, delta, tid, "TAG")
	add("branch", updateBranch, "UPDATE 1", []string{bid}, delta, bid, "TAG")
	add("history", insertHistory, "INSERT 0 1", nil, number(t), tid, bid, aid, delta, "TAG")
	return transfer{t, rs}
}

func number[N ~int | ~int64](n N) string { return strconv.FormatInt(int64(n), 10) }

// upTo is a row's number, from 1 to n.
func (w *worker) upTo(n int) string { return number(w.random.IntN(n) + 1) }

func control(word string) request { return request{statement: statement{sql: word}, tag: word} }

// stepwise waits for every answer.
func (w *worker) stepwise(how protocol) func(context.Context) error {
	return func(ctx context.Context) error {
		t := w.newTransfer()
		if err := w.s.ask(ctx, simple, control("BEGIN")); err != nil {
			return err
		}
		for _, r := range t.requests {
			if err := w.s.ask(ctx, how, r); err != nil {
				return err
			}
			w.tally.add(answers)
		}
		if w.random.IntN(8) == 0 {
			return w.s.ask(ctx, simple, control("ROLLBACK"))
		}
		return w.commit(ctx, t.token, how)
	}
}

// commit sends COMMIT and books what comes back. An error of the server says that nothing was committed.
func (w *worker) commit(ctx context.Context, t token, how protocol) error {
	w.book.set(t, unknown)
	st := statement{sql: "COMMIT"}
	if how != simple {
		st.name = "commit"
	}
	got, err := w.s.send(ctx, how, st, nil)
	switch {
	case refused(err):
		w.book.set(t, absent)
		return err
	case err != nil:
		return err
	case got.CommandTag.String() != "COMMIT":
		return wrongf("COMMIT was answered %q", got.CommandTag)
	}
	w.book.set(t, present)
	return nil
}

// refused reports whether err is an ERROR, which the session survives and what it was doing does not.
func refused(err error) bool {
	var told *pgconn.PgError
	return errors.As(err, &told) && told.Severity == "ERROR"
}

// oneText sends the whole transaction as one Query.
func (w *worker) oneText(ctx context.Context) error {
	t := w.newTransfer()
	all := slices.Concat([]request{control("BEGIN")}, t.requests, []request{control("COMMIT")})
	var text strings.Builder
	for _, r := range all {
		text.WriteString(inline(r.sql, r.args) + "; ")
	}
	w.book.set(t.token, unknown)
	w.s.begun("simple, one text: %s", text.String())
	results, err := w.s.conn.Exec(ctx, text.String()).ReadAll()
	for i, got := range results {
		if i >= len(all) {
			return wrongf("%d results to %d statements", len(results), len(all))
		}
		if got.Err == nil {
			if err := all[i].check(got); err != nil {
				return err
			}
			w.tally.add(answers)
		}
	}
	committed := len(results) == len(all) && results[len(all)-1].Err == nil
	switch {
	case committed:
		w.book.set(t.token, present)
	case refused(err):
		w.book.set(t.token, absent)
	case err == nil:
		return wrongf("%d results to %d statements", len(results), len(all))
	}
	return err
}

// pipelinedTransfer sends BEGIN, and everything else without waiting, with Syncs here and there.
func (w *worker) pipelinedTransfer(ctx context.Context) error {
	t := w.newTransfer()
	if err := w.s.ask(ctx, extended, control("BEGIN")); err != nil {
		return err
	}
	rs := slices.Concat(t.requests, []request{control("COMMIT")})
	var syncs []int
	for i := range rs {
		if w.random.IntN(2) == 0 {
			syncs = append(syncs, i)
		}
	}
	w.book.set(t.token, unknown)
	p := w.s.pipeline(ctx, rs, syncs)
	return w.bookPipeline(t.token, p, p.lastTag == "COMMIT")
}

// implicit sends the statements in one segment, which is a transaction by itself.
func (w *worker) implicit(ctx context.Context) error {
	t := w.newTransfer()
	w.book.set(t.token, unknown)
	p := w.s.pipeline(ctx, t.requests, nil)
	return w.bookPipeline(t.token, p, p.done && p.err == nil)
}

// bookPipeline books what came of a pipeline that commits.
func (w *worker) bookPipeline(t token, p pipelined, committed bool) error {
	switch {
	case committed:
		w.book.set(t, present)
	case p.done:
		w.book.set(t, absent)
	case refused(p.err) && !w.s.conn.IsClosed():
		w.book.set(t, absent) // refused before the pipeline was sent
	}
	if p.err == nil && !committed {
		return wrongf("a pipeline without an error ended with %q", p.lastTag)
	}
	if p.err == nil {
		w.tally.add(answers)
	}
	return p.err
}

// increment changes the worker's own canary outside of a transaction block. What it counts is known but for the requests
// whose answer was lost: those may still come.
func (w *worker) increment(ctx context.Context) error {
	tag := w.tag()
	st := statement{"increment", "UPDATE canaries SET n = n + 1 WHERE worker = $1::int RETURNING $2::text, secret, n"}
	w.doubts++
	got, err := w.s.send(ctx, w.anyProtocol(), st, []string{number(w.id), tag})
	if refused(err) {
		w.doubts--
	}
	if err != nil {
		return err
	}
	r := request{statement: st, want: []string{tag, w.secret, anything}, tag: "UPDATE 1"}
	if err := r.check(got); err != nil {
		return err
	}
	w.doubts--
	n, err := strconv.ParseInt(string(got.Rows[0][2]), 10, 64)
	if err != nil {
		return wrongf("%s: n is %s", st.sql, show(got.Rows[0]))
	}
	w.increments++
	if n < w.increments || n > w.increments+w.doubts {
		return wrongf("the canary is at %d after %d increments acknowledged and %d with unknown outcome", n, w.increments, w.doubts)
	}
	w.tally.add(answers)
	return nil
}

// canaries says what the canary must be at when all is over.
func (w *worker) canaries() (least, most int64) { return w.increments, w.increments + w.doubts }

func (w *worker) tag() string {
	w.requests++
	return fmt.Sprintf("%s/%d", w.secret, w.requests)
}
