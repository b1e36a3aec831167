package admin

import (
	"errors"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// prepared is a statement that a Parse named; nil inside for an empty one.
type prepared struct{ st *statement }

// portal is a prepared statement that a Bind made ready.
type portal struct {
	st      *statement
	formats []int16
	begun   bool
	rows    [][]any // not sent yet
	sent    int
	tag     string
}

// extended deals with one message of the extended protocol that is not a Sync.
func (s *session) extended(msg pgproto3.FrontendMessage) error {
	var err error
	switch msg := msg.(type) {
	case *pgproto3.Parse:
		err = s.prepare(msg)
	case *pgproto3.Bind:
		err = s.bind(msg)
	case *pgproto3.Describe:
		err = s.describe(msg)
	case *pgproto3.Execute:
		err = s.execute(msg)
	case *pgproto3.Close:
		if msg.ObjectType == 'S' {
			delete(s.statements, msg.Name)
		} else {
			delete(s.portals, msg.Name)
		}
		err = s.send(&pgproto3.CloseComplete{})
	case *pgproto3.FunctionCall:
		if err := s.fail(refusal(wire.CodeFeatureNotSupported, "the console has no functions to call")); err != nil {
			return err
		}
		return s.ready()
	case *pgproto3.CopyData, *pgproto3.CopyDone, *pgproto3.CopyFail: // nothing outside of a COPY, as on a server
	default:
		return refusal(wire.CodeProtocolViolation, "unexpected message %T", msg)
	}
	if told, ok := errors.AsType[*wire.Error](err); ok {
		s.skipping = true
		return s.fail(told)
	}
	return err
}

func (s *session) prepare(msg *pgproto3.Parse) error {
	if _, taken := s.statements[msg.Name]; taken && msg.Name != "" {
		return refusal(wire.CodeDuplicateStatement, "prepared statement %q already exists", msg.Name)
	}
	if len(s.statements) >= maxStatements {
		return refusal(wire.CodeLimitExceeded, "the console keeps at most %d prepared statements", maxStatements)
	}
	if len(msg.ParameterOIDs) > 0 {
		return refusal(wire.CodeFeatureNotSupported, "the console takes no parameters")
	}
	p := &prepared{}
	switch commands := split(msg.Query); len(commands) {
	case 0:
	case 1:
		st, e := s.parse(commands[0])
		if e != nil {
			return e
		}
		p.st = st
	default:
		return refusal(wire.CodeSyntaxError, "cannot insert multiple commands into a prepared statement")
	}
	s.statements[msg.Name] = p
	return s.send(&pgproto3.ParseComplete{})
}

func (s *session) bind(msg *pgproto3.Bind) error {
	p, e := s.statement(msg.PreparedStatement)
	switch {
	case e != nil:
		return e
	case len(msg.Parameters) > 0:
		return refusal(wire.CodeProtocolViolation, "bind message supplies %d parameters, but prepared statement %q requires 0",
			len(msg.Parameters), msg.PreparedStatement)
	case len(s.portals) >= maxStatements:
		return refusal(wire.CodeLimitExceeded, "the console keeps at most %d portals", maxStatements)
	}
	made := &portal{st: p.st}
	if p.st != nil && p.st.columns != nil {
		if e := checkFormats(p.st.columns, msg.ResultFormatCodes); e != nil {
			return e
		}
		made.formats = append(made.formats, msg.ResultFormatCodes...)
	}
	s.portals[msg.DestinationPortal] = made
	return s.send(&pgproto3.BindComplete{})
}

func (s *session) statement(name string) (*prepared, *wire.Error) {
	if p := s.statements[name]; p != nil {
		return p, nil
	}
	if name == "" {
		return nil, refusal(wire.CodeInvalidStatementName, "unnamed prepared statement does not exist")
	}
	return nil, refusal(wire.CodeInvalidStatementName, "prepared statement %q does not exist", name)
}

func (s *session) portal(name string) (*portal, *wire.Error) {
	if p := s.portals[name]; p != nil {
		return p, nil
	}
	return nil, refusal(wire.CodeInvalidCursorName, "portal %q does not exist", name)
}

func (s *session) describe(msg *pgproto3.Describe) error {
	var st *statement
	var formats []int16
	if msg.ObjectType == 'S' {
		p, e := s.statement(msg.Name)
		if e != nil {
			return e
		}
		st = p.st
		if err := s.send(&pgproto3.ParameterDescription{}); err != nil {
			return err
		}
	} else {
		p, e := s.portal(msg.Name)
		if e != nil {
			return e
		}
		st, formats = p.st, p.formats
	}
	if st == nil || st.columns == nil {
		return s.send(&pgproto3.NoData{})
	}
	return s.send(description(st.columns, formats))
}

// execute runs a portal, or goes on with it where a limit of rows stopped it before.
func (s *session) execute(msg *pgproto3.Execute) error {
	p, e := s.portal(msg.Portal)
	switch {
	case e != nil:
		return e
	case p.st == nil:
		return s.send(&pgproto3.EmptyQueryResponse{})
	case !p.begun:
		r, e := s.run(p.st)
		if e != nil {
			return e
		}
		if err := s.notice(r.notice); err != nil {
			return err
		}
		p.begun, p.rows, p.tag = true, r.rows, r.tag
	}
	n := len(p.rows)
	if most := int(msg.MaxRows); most > 0 && most < n {
		n = most
	}
	if err := s.sendRows(p.st.columns, p.formats, p.rows[:n]); err != nil {
		return err
	}
	p.rows, p.sent = p.rows[n:], p.sent+n
	if len(p.rows) > 0 {
		return s.send(&pgproto3.PortalSuspended{})
	}
	return s.complete(p.tag, p.sent)
}
