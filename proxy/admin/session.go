package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Bounds on one client of the console.
const (
	maxMessage    = 64 << 10
	maxStatements = 256 // prepared, and as many portals
	idleTime      = 4 * time.Hour
	writeTime     = 30 * time.Second
	farewellTime  = time.Second
	flushAfter    = 64 // messages
)

// session is one client of the console. It belongs to the goroutine of its Serve.
type session struct {
	console    Console
	who        Who
	ctx        context.Context
	line       *line
	out        *pgproto3.Backend
	unflushed  int // messages
	views      []view
	status     byte // of the transaction block: I, T or E
	skipping   bool // after an error in the extended protocol, up to its Sync
	statements map[string]*prepared
	portals    map[string]*portal
}

// Serve talks to one client that has logged in until it leaves, or ctx ends. It does not close conn. The error says why
// the connection cannot be used any more; a client that takes its leave is none.
func Serve(ctx context.Context, conn net.Conn, who Who, console Console) error {
	l := &line{ctx: ctx, conn: conn, early: who.Early}
	s := &session{
		console: console, who: who, ctx: ctx, line: l, out: pgproto3.NewBackend(l, l), views: views(console.Version), status: 'I',
		statements: make(map[string]*prepared), portals: make(map[string]*portal),
	}
	s.out.SetMaxBodyLen(maxMessage)
	stop := context.AfterFunc(ctx, l.end)
	defer stop()
	err := s.greet()
	for err == nil {
		err = s.next()
	}
	if errors.Is(err, errLeft) {
		return nil
	}
	l.farewell(err)
	return err
}

// errLeft is the client's Terminate, or its end.
var errLeft = errors.New("client has left")

// greet tells the client what a server tells after a login.
func (s *session) greet() error {
	var b []byte
	b = append(b, s.who.Unsent...)
	for _, one := range serverSettings(s.console.Version, s.who.User) {
		if one.reported {
			b = wire.AppendParameterStatus(b, one.name, one.value)
		}
	}
	b = wire.AppendBackendKeyData(b, s.who.PID, s.who.Secret)
	_, err := s.line.Write(wire.AppendReadyForQuery(b, 'I'))
	return err
}

// next deals with one message.
func (s *session) next() error {
	msg, err := s.out.Receive()
	if err != nil {
		return s.receiveError(err)
	}
	switch msg := msg.(type) {
	case *pgproto3.Terminate:
		return errLeft
	case *pgproto3.Sync:
		s.skipping = false
		return s.ready()
	case *pgproto3.Flush:
		return s.flush()
	case *pgproto3.Query:
		if !s.skipping {
			return s.query(msg.String)
		}
	}
	if s.skipping {
		return nil
	}
	return s.extended(msg)
}

// send keeps msg for the next flush, which comes by itself before there are many.
func (s *session) send(msg pgproto3.BackendMessage) error {
	s.out.Send(msg)
	if s.unflushed++; s.unflushed < flushAfter {
		return nil
	}
	return s.flush()
}

func (s *session) flush() error {
	s.unflushed = 0
	return s.out.Flush()
}

// receiveError tells apart how a message could not be had.
func (s *session) receiveError(err error) error {
	var long *pgproto3.ExceededMaxBodyLenErr
	var network net.Error
	switch {
	case s.ctx.Err() != nil, errors.As(err, &network):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errLeft
	case errors.As(err, &long):
		return refusal(wire.CodeProgramLimitExceeded, "message of %d bytes: the console takes %d", long.ActualBodyLen, maxMessage)
	}
	return refusal(wire.CodeProtocolViolation, "%s", err) // what pgproto3 says of bytes that are no message
}

// query is the simple protocol: statement after statement, up to the first that fails.
func (s *session) query(sql string) error {
	delete(s.portals, "")
	delete(s.statements, "")
	commands := split(sql)
	if len(commands) == 0 {
		if err := s.send(&pgproto3.EmptyQueryResponse{}); err != nil {
			return err
		}
	}
	for _, c := range commands {
		err := s.simple(c)
		if told, ok := errors.AsType[*wire.Error](err); ok {
			err = s.fail(told)
			commands = nil
		}
		if err != nil {
			return err
		}
		if commands == nil {
			break
		}
	}
	return s.ready()
}

// simple runs one statement of a simple query. A *wire.Error is the client's; another ends the connection.
func (s *session) simple(c command) error {
	st, e := s.parse(c)
	if e != nil {
		return e
	}
	r, e := s.run(st)
	if e != nil {
		return e
	}
	if err := s.notice(r.notice); err != nil {
		return err
	}
	if st.columns != nil {
		if err := s.send(description(st.columns, nil)); err != nil {
			return err
		}
		if err := s.sendRows(st.columns, nil, r.rows); err != nil {
			return err
		}
	}
	return s.complete(r.tag, len(r.rows))
}

func (s *session) complete(tag string, rows int) error {
	tag = strings.Replace(tag, "#", fmt.Sprint(rows), 1)
	return s.send(&pgproto3.CommandComplete{CommandTag: []byte(tag)})
}

func (s *session) sendRows(all []column, formats []int16, rows [][]any) error {
	for _, row := range rows {
		if err := s.send(encode(all, formats, row)); err != nil {
			return err
		}
	}
	return nil
}

// run carries st out, as far as the transaction block allows. The error is the client's.
func (s *session) run(st *statement) (result, *wire.Error) {
	if s.status == 'E' && st.block < commits {
		return result{}, refusal(wire.CodeInFailedTransaction,
			"current transaction is aborted, commands ignored until end of transaction block")
	}
	ctx, end := s.ctx, func() {}
	if st.waits {
		ctx, end = s.watched()
	}
	r, err := st.run(ctx, s)
	end()
	if err != nil {
		return result{}, toldOf(ctx, err)
	}
	switch {
	case st.block == commits && s.status == 'E':
		s.status, r.tag = 'I', "ROLLBACK"
	case st.block == commits, st.block == rollsBack:
		s.status = 'I'
	case st.block == begins:
		s.status = 'T'
	case st.block == rollsBackTo && s.status == 'E':
		s.status = 'T'
	}
	if st.forget {
		clear(s.statements)
	}
	return r, nil
}

// watched is a context for one statement: it ends with the server, with the client, and by a cancel request. end is
// called before the client is read again.
func (s *session) watched() (ctx context.Context, end func()) {
	select {
	case <-s.who.Cancel: // for a statement that had ended by then
	default:
	}
	ctx, cancel := context.WithCancelCause(s.ctx)
	stop := s.line.watch(func() { cancel(ErrGone) })
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-s.who.Cancel:
			cancel(ErrCanceled)
		case <-done:
		}
	})
	return ctx, func() {
		close(done)
		wg.Wait()
		stop()
	}
}

// toldOf is what the client is told of an error. What a command says is for the operator who gave it.
func toldOf(ctx context.Context, err error) *wire.Error {
	var told *wire.Error
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), ErrCanceled):
		return refusal(wire.CodeQueryCanceled, "canceling statement due to user request")
	case errors.As(err, &told):
		return told
	}
	return refusal(wire.CodeInternalError, "%s", err)
}

// fail answers with an error.
func (s *session) fail(e *wire.Error) error {
	if s.status == 'T' {
		s.status = 'E'
	}
	severity := e.Severity
	if severity == "" {
		severity = "ERROR"
	}
	return s.send(&pgproto3.ErrorResponse{
		Severity: severity, SeverityUnlocalized: severity, Code: e.SQLState(),
		Message: noNUL(e.Message), Detail: noNUL(e.Detail), Hint: noNUL(e.Hint),
	})
}

// notice tells the client something, if there is something to tell.
func (s *session) notice(e *wire.Error) error {
	if e == nil {
		return nil
	}
	return s.send(&pgproto3.NoticeResponse{
		Severity: "NOTICE", SeverityUnlocalized: "NOTICE", Code: e.Code, Message: e.Message, Detail: e.Detail,
	})
}

// noNUL cuts a text where a field of a message would end.
func noNUL(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	return s
}

// ready ends the answer to a Query or a Sync.
func (s *session) ready() error {
	if s.status == 'I' {
		clear(s.portals)
	}
	s.out.Send(&pgproto3.ReadyForQuery{TxStatus: s.status})
	return s.flush()
}
