package login

import (
	"errors"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// ErrLeft is the cause when a client sent nothing at all: a port check, or a client that did not like our answer to
// its request for encryption. PostgreSQL does not log these, nor should we.
var ErrLeft = errors.New("client left before it sent a startup packet")

// errTimeout is the cause when a login takes longer than Config.Timeout.
var errTimeout = errors.New("login took too long")

// Error is a login that ended without a client.
type Error struct {
	User, Database string      // as far as they were known
	Rule           string      // where the rule stands that was applied; "" without
	Told           *wire.Error // what the client was told; nil when it was told nothing, as PostgreSQL does at this point
	Cause          error       // what happened, for the log; nil when Told says it all
}

// Error is one line for the log.
func (e *Error) Error() string {
	text := "login failed"
	if e.User != "" {
		text = "login of user " + e.User + " to database " + e.Database + " failed"
	}
	if e.Rule != "" {
		text += " by rule " + e.Rule
	}
	if e.Told != nil {
		text += ": " + e.Told.Error()
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap gives errors.Is and errors.As what the client was told and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Told != nil {
		errs = append(errs, e.Told)
	}
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	return errs
}

// fatal is what ends a login, in PostgreSQL's severity.
func fatal(code, message string) *wire.Error {
	return &wire.Error{Severity: "FATAL", Code: code, Message: message}
}

// withDetail is for errors whose message is shared by several faults.
func withDetail(e *wire.Error, detail string) *wire.Error {
	e.Detail = detail
	return e
}

func withHint(e *wire.Error, hint string) *wire.Error {
	e.Hint = hint
	return e
}
