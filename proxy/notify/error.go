package notify

import (
	"errors"
	"fmt"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// ErrOverflow ends a listener whose client does not take its notifications.
var ErrOverflow error = &wire.Error{
	Severity: "FATAL", Code: wire.CodeLimitExceeded,
	Message: "terminating connection because too many notifications are waiting for it",
	Hint:    "A client that listens must read its notifications, and must not stay in a transaction for long.",
}

// ErrClosed is the end of a Hub.
var ErrClosed error = &wire.Error{
	Severity: "FATAL", Code: wire.CodeAdminShutdown, Message: "terminating connection due to administrator command",
}

// errLeft answers a listener that has left.
var errLeft = errors.New("notify: the listener has left")

// LostError says that the connection that listened is gone: notifications may have been missed.
type LostError struct {
	Told *wire.Error // for clients: the server's own FATAL, or 08006
	Err  error       // for the log
}

// Error is the cause's text.
func (e *LostError) Error() string { return "the listening connection is lost: " + e.Err.Error() }

// Unwrap gives errors.Is and errors.As what a client is told and the cause.
func (e *LostError) Unwrap() []error { return []error{e.Told, e.Err} }

// newLost is err as what became of a connection.
func newLost(err error) *LostError {
	if lost, ok := errors.AsType[*LostError](err); ok {
		return lost
	}
	if said, ok := errors.AsType[*wire.Error](err); ok {
		told := *said
		told.Severity = "FATAL"
		return &LostError{&told, err}
	}
	return &LostError{&wire.Error{
		Severity: "FATAL", Code: wire.CodeConnectionFailure,
		Message: "terminating connection because the server connection that listens for it was lost",
	}, err}
}

// notConnected is why nobody can listen, as an error of the LISTEN rather than of the client's connection.
func notConnected(err error) error {
	if failed, ok := errors.AsType[*dial.Error](err); ok {
		told := *failed.Told
		told.Severity = ""
		return &dial.Error{Kind: failed.Kind, Told: &told, Err: failed.Err}
	}
	said := &wire.Error{Code: wire.CodeConnectionFailure, Message: "the server connection that listens cannot be made"}
	if own, ok := errors.AsType[*wire.Error](err); ok {
		said = &wire.Error{Code: own.Code, Message: own.Message, Detail: own.Detail, Hint: own.Hint}
	}
	return &dial.Error{Kind: dial.Failed, Told: said, Err: err}
}

// Reasons why a connection is given up.
var (
	errNoLink  = errors.New("not connected")
	errRested  = errors.New("nobody listens")
	errSilent  = errors.New("the server does not answer")
	errGarbled = errors.New("the server sent what is not the protocol")
)

// checkName refuses names that cannot be a channel's.
func checkName(name string) error {
	switch {
	case name == "":
		return &wire.Error{Code: wire.CodeSyntaxError, Message: "channel name cannot be empty"}
	case len(name) > maxName:
		return &wire.Error{Code: wire.CodeProgramLimitExceeded, Message: fmt.Sprintf("channel name is longer than %d bytes", maxName)}
	}
	for i := range len(name) {
		if name[i] == 0 {
			return &wire.Error{Code: wire.CodeSyntaxError, Message: "channel name holds a NUL"}
		}
	}
	return nil
}

// maxName is NAMEDATALEN-1: the server cuts longer names, and listens to another channel.
const maxName = 63

func tooMany(what string, most int) error {
	return &wire.Error{
		Code: wire.CodeLimitExceeded, Message: "too many channels",
		Detail: fmt.Sprintf("%s may listen to %d channels.", what, most),
	}
}
