package dial

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/scram"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Kind is why a server cannot be had, for decisions and counters.
type Kind string

// The kinds, from the first that applies.
const (
	Auth     Kind = "auth"     // the server does not let us in: a wrong password, no such role, no line in pg_hba.conf
	Rejected Kind = "rejected" // the server answered with another error: no such database, too many connections, starting up
	Canceled Kind = "canceled" // the caller's context was cancelled
	TLS      Kind = "tls"      // no TLS, or a certificate that cannot be trusted
	Timeout  Kind = "timeout"
	Refused  Kind = "refused" // nobody listens there
	Lookup   Kind = "lookup"  // the host's name cannot be resolved
	Failed   Kind = "failed"  // anything else: the connection broke, or what came was not the protocol
)

// RefusesProof reports whether err is a server's answer, or the sign of it, that the role's password or key is not, or no
// longer, the one that was used.
func RefusesProof(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == Auth && e.Told.Code == wire.CodeInvalidPassword
}

// Error is a connection that could not be made. Its text is for the log: it names hosts and roles, no passwords.
type Error struct {
	Kind Kind
	Told *wire.Error // for clients: the server's own error, or 08006 with what may be known outside
	Err  error
}

// Error is the cause's text.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives errors.Is and errors.As what a client is told and the cause.
func (e *Error) Unwrap() []error { return []error{e.Told, e.Err} }

// tlsError marks what went wrong within TLS.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// newError finds the kind of err. Of several hosts' errors that of a server that answered counts most.
func newError(ctx context.Context, err error) *Error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		kind := Rejected
		if strings.HasPrefix(pgErr.Code, "28") {
			kind = Auth
		}
		return &Error{kind, told(pgErr), err}
	}
	var proofErr *ProofError
	if errors.As(err, &proofErr) {
		return &Error{Auth, proofErr.told(), err}
	}
	kind := networkKind(ctx, err)
	return &Error{kind, &wire.Error{Code: wire.CodeConnectionFailure, Message: "cannot connect to server: " + kind.words()}, err}
}

// told says of a changed password what the server would have said.
func (e *ProofError) told() *wire.Error {
	if errors.Is(e, scram.ErrOtherVerifier) {
		return &wire.Error{
			Code: wire.CodeInvalidPassword, Message: "password authentication failed for user \"" + e.User + "\"",
		}
	}
	return &wire.Error{
		Code: wire.CodeInvalidAuthorization, Message: "cannot log in to server as user \"" + e.User + "\" without the password",
		Hint: "Connect again with the password of that user on the server.",
	}
}

func networkKind(ctx context.Context, err error) Kind {
	var tlsErr *tlsError
	var dnsErr *net.DNSError
	var netErr net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), ctx.Err() != nil:
		return Timeout
	case errors.As(err, &tlsErr), refusesTLS(err):
		return TLS
	case errors.As(err, &dnsErr):
		return Lookup
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		return Refused
	case errors.As(err, &netErr) && netErr.Timeout():
		return Timeout
	}
	return Failed
}

// refusesTLS: pgconn has only words for it.
func refusesTLS(err error) bool {
	return strings.Contains(err.Error(), "server refused TLS connection")
}

func (k Kind) words() string {
	switch k {
	case Canceled:
		return "no longer wanted"
	case TLS:
		return "TLS failed"
	case Timeout:
		return "timeout expired"
	case Refused:
		return "connection refused"
	case Lookup:
		return "host name cannot be resolved"
	default:
		return "connection failed"
	}
}

// told is a server's error with its own code and words.
func told(e *pgconn.PgError) *wire.Error {
	severity := e.SeverityUnlocalized // PostgreSQL before 9.6 has only the other
	if severity == "" {
		severity = e.Severity
	}
	return &wire.Error{Severity: severity, Code: e.Code, Message: e.Message, Detail: e.Detail, Hint: e.Hint}
}
