package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
)

const copyIn = "COPY copied (token, line, text) FROM STDIN"

// lines is the data of a COPY: so many lines of one transaction. It ends with err, io.EOF where it is to succeed.
type lines struct {
	token       token
	text        string
	next, total int
	err         error
	ended       atomic.Bool // all of it was handed out: a CopyDone may have followed
	rest        []byte
}

func (l *lines) Read(b []byte) (int, error) {
	for len(l.rest) == 0 {
		if l.next == l.total {
			l.ended.Store(true)
			return 0, l.err
		}
		l.rest = l.line(l.next)
		l.next++
	}
	n := copy(b, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func (l *lines) line(n int) []byte {
	return fmt.Appendf(nil, "%d\t%d\t%s %s\n", l.token, n, l.text, strings.Repeat("x", n%400))
}

// newCopy enters a COPY into the books.
func (w *worker) newCopy() *lines {
	total := 1 + w.random.IntN(60)
	if w.random.IntN(10) == 0 {
		total *= 60
	}
	return &lines{token: w.book.begin(total), text: w.secret, total: total, err: io.EOF}
}

// copyAlone is a COPY outside of a transaction block.
func (w *worker) copyAlone(ctx context.Context) error {
	l := w.newCopy()
	err := w.copy(ctx, l)
	switch {
	case err == nil:
		w.book.set(l.token, present)
	case !refused(err) && l.ended.Load():
		w.book.set(l.token, unknown)
	}
	return w.check(err)
}

// copyWithin is a COPY with statements around it.
func (w *worker) copyWithin(ctx context.Context) error {
	l := w.newCopy()
	tag := w.tag()
	if err := w.s.ask(ctx, simple, control("BEGIN")); err != nil {
		return err
	}
	if err := w.copy(ctx, l); err != nil {
		return err
	}
	err := w.s.ask(ctx, w.anyProtocol(), request{
		statement{"copied", "SELECT $1::text, count(*) FROM copied WHERE token = $2::bigint"}, // no index: it reads a lot
		[]string{tag, number(l.token)},
		[]string{tag, number(l.total)},
		"SELECT 1",
	})
	if err != nil {
		return err
	}
	return w.check(w.commit(ctx, l.token, w.anyProtocol()))
}

func (w *worker) copy(ctx context.Context, l *lines) error {
	w.s.begun("%s, %d lines, token %d", copyIn, l.total, l.token)
	tag, err := w.s.conn.CopyFrom(ctx, l, copyIn)
	if err != nil {
		w.s.did.add("  %v", err)
		return err
	}
	if want := fmt.Sprintf("COPY %d", l.total); tag.String() != want {
		return wrongf("%s: command tag %q instead of %q", copyIn, tag, want)
	}
	return nil
}

// copyFails gives a COPY up in its middle.
func (w *worker) copyFails(ctx context.Context) error {
	l := w.newCopy()
	l.err = errors.New("the client gives up")
	err := w.copy(ctx, l)
	var told *pgconn.PgError
	if errors.As(err, &told) && told.Code == "57014" && strings.Contains(told.Message, l.err.Error()) {
		return w.check(nil)
	}
	if err == nil {
		return wrongf("a COPY that was given up succeeded")
	}
	return err
}

// copyOut reads lines of its own making.
func (w *worker) copyOut(ctx context.Context) error {
	n := 1 + w.random.IntN(5000)
	tag := w.tag()
	sql := fmt.Sprintf("COPY (SELECT '%s', n FROM generate_series(1, %d) n) TO STDOUT", tag, n)
	w.s.begun("%s", sql)
	sink := &tagged{tag: tag}
	_, err := w.s.conn.CopyTo(ctx, sink, sql)
	switch {
	case sink.wrong != nil:
		return sink.wrong
	case err == nil && sink.lines != n:
		return wrongf("%d lines instead of %d for %s", sink.lines, n, tag)
	}
	return w.check(err)
}

// tagged checks the lines of a COPY TO STDOUT. The protocol sends each as a message, and so pgconn writes them.
type tagged struct {
	tag   string
	lines int
	wrong error
}

func (t *tagged) Write(b []byte) (int, error) {
	t.lines++
	if want := fmt.Sprintf("%s\t%d\n", t.tag, t.lines); t.wrong == nil && !bytes.Equal(b, []byte(want)) {
		t.wrong = wrongf("line %d for %s is %q", t.lines, t.tag, b[:min(len(b), 100)])
	}
	return len(b), nil
}
