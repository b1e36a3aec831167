package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// protocol is how a request is sent.
type protocol uint8

const (
	simple protocol = iota
	extended
	prepared
	split // Parse of the unnamed statement first, and what uses it after its Sync
	protocols
)

func (p protocol) String() string {
	return [...]string{"simple", "extended", "prepared", "split"}[p]
}

// statement is SQL with parameters $1, $2 …; name is that of its prepared form.
type statement struct{ name, sql string }

// request is a statement, its arguments, and the one row that must come. Without want none may come, and only the command
// tag is looked at.
type request struct {
	statement
	args []string
	want []string
	tag  string // of the command; "" is not looked at
}

// begun notes that a request goes out now.
func (s *session) begun(format string, args ...any) {
	s.did.add(format, args...)
	s.asked = time.Now()
}

// ask sends r and checks its answer.
func (s *session) ask(ctx context.Context, how protocol, r request) error {
	result, err := s.send(ctx, how, r.statement, r.args)
	if err != nil {
		s.did.add("  %v", err)
		return err
	}
	return r.check(result)
}

// send sends a statement and reads its answer.
func (s *session) send(ctx context.Context, how protocol, st statement, args []string) (*pgconn.Result, error) {
	name := st.name
	if how == prepared && name == "" {
		how = extended
	}
	switch how {
	case simple:
		return s.sendSimple(ctx, inline(st.sql, args))
	case extended:
		s.begun("extended: %s %q", st.sql, args)
		return whole(s.conn.ExecParams(ctx, st.sql, texts(args), nil, nil, nil))
	case split:
		name = ""
		s.begun("prepare unnamed: %s", st.sql)
		if _, err := s.conn.Prepare(ctx, "", st.sql, nil); err != nil {
			return nil, err
		}
	default:
		if err := s.prepare(ctx, st); err != nil {
			return nil, err
		}
	}
	s.begun("execute prepared %q %q", name, args)
	return whole(s.conn.ExecPrepared(ctx, name, texts(args), nil, nil))
}

// sendSimple runs one statement in the simple protocol.
func (s *session) sendSimple(ctx context.Context, sql string) (*pgconn.Result, error) {
	s.begun("simple: %s", sql)
	results, err := s.conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, wrongf("%d results to one statement", len(results))
	}
	return results[0], nil
}

// prepare makes sure that the client has st under its name.
func (s *session) prepare(ctx context.Context, st statement) error {
	if s.prepared[st.name] == there {
		return nil
	}
	if s.prepared[st.name] == doubtful {
		if err := s.deallocate(ctx, st.name); err != nil {
			return err
		}
	}
	s.begun("prepare %s: %s", st.name, st.sql)
	_, err := s.conn.Prepare(ctx, st.name, st.sql, nil)
	var failed *pgconn.PrepareError
	if err == nil || errors.As(err, &failed) && failed.ParseComplete {
		s.prepared[st.name] = there // also where only its Describe failed
	}
	return err
}

// deallocate closes a named statement. (Not by pgconn's Deallocate: behind an error that one leaves ReadyForQuery unread.)
func (s *session) deallocate(ctx context.Context, name string) error {
	s.begun("close statement %s", name)
	s.prepared[name] = doubtful
	pl := s.conn.StartPipeline(ctx)
	pl.SendDeallocate(name)
	if err := pl.Sync(); err != nil {
		return errors.Join(err, pl.Close())
	}
	_, err := pl.GetResults() // before Close, which tells the last error and not the first
	if closed := pl.Close(); err == nil {
		err = closed
	}
	if err != nil {
		s.did.add("  %v", err)
		return err
	}
	delete(s.prepared, name)
	return nil
}

func whole(r *pgconn.ResultReader) (*pgconn.Result, error) {
	result := r.Read()
	return result, result.Err
}

// check compares an answer with what must come.
func (r request) check(got *pgconn.Result) error {
	if tag := got.CommandTag.String(); r.tag != "" && tag != r.tag {
		return wrongf("%s: command tag %q instead of %q, %d rows, %s",
			r.sql, tag, r.tag, len(got.Rows), show(slices.Concat(got.Rows...)))
	}
	if r.want == nil {
		if len(got.Rows) > 0 {
			return wrongf("%s: %d rows where none belong: %s", r.sql, len(got.Rows), show(got.Rows[0]))
		}
		return nil
	}
	if len(got.Rows) != 1 {
		return wrongf("%s: %d rows instead of one", r.sql, len(got.Rows))
	}
	return r.checkRow(got.Rows[0])
}

func (r request) checkRow(row [][]byte) error {
	if len(row) != len(r.want) {
		return wrongf("%s: %d columns instead of %d: %s", r.sql, len(row), len(r.want), show(row))
	}
	for i, want := range r.want {
		if want != anything && string(row[i]) != want {
			return wrongf("%s: got %s instead of %q", r.sql, show(row), r.want)
		}
	}
	return nil
}

// anything in a wanted row is a value that cannot be known.
const anything = "\x00"

// show prints a row, of long values the beginning.
func show(row [][]byte) string {
	const most = 60
	var b strings.Builder
	for i, value := range row {
		if i > 0 {
			b.WriteString(" | ")
		}
		b.WriteString(strconv.Quote(string(value[:min(len(value), most)])))
	}
	return b.String()
}

func texts(args []string) [][]byte {
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	return values
}

// inline puts the arguments into the text, for the simple protocol. No argument of ours needs more than quotes.
func inline(sql string, args []string) string {
	var pairs []string
	for i := len(args); i > 0; i-- {
		pairs = append(pairs, "$"+strconv.Itoa(i), "'"+strings.ReplaceAll(args[i-1], "'", "''")+"'")
	}
	return strings.NewReplacer(pairs...).Replace(sql)
}
