package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Databases are the names under which a client reaches the console.
func Databases() []string { return []string{"sarnic", Database} }

// Database is the console's name in what it shows: dashboards leave it out under PgBouncer's.
const Database = "pgbouncer"

// Access says what a client may do.
type Access uint8

// What clients may do.
const (
	Nothing Access = iota
	Look           // SHOW
	Operate        // every command
)

// Who is the client at the other end.
type Who struct {
	User   string
	Access Access
	PID    uint32 // of its cancel key
	Secret []byte
	Unsent []byte          // goes out before anything else
	Early  []byte          // what it sent beyond its login
	Cancel <-chan struct{} // one value for each cancel request
}

// Console is what a Serve shows and does.
type Console struct {
	Version string // our own
	// Snapshot returns the parts of the state asked for. Others may be there too.
	Snapshot func(ctx context.Context, want Part) (State, error)
	// Do carries a command out and returns when it is done. A *wire.Error is told as it is.
	Do func(ctx context.Context, c Command) error
}

// Verb is what a Command does.
type Verb string

// The commands.
const (
	Pause      Verb = "PAUSE"
	Resume     Verb = "RESUME"
	Suspend    Verb = "SUSPEND"
	Reconnect  Verb = "RECONNECT"
	WaitClose  Verb = "WAIT_CLOSE"
	Reload     Verb = "RELOAD"
	Kill       Verb = "KILL"
	KillClient Verb = "KILL_CLIENT"
	Disable    Verb = "DISABLE"
	Enable     Verb = "ENABLE"
	Shutdown   Verb = "SHUTDOWN"
	Set        Verb = "SET"
)

// Command is one that changes something.
type Command struct {
	Verb     Verb
	Database string       // "": all
	Client   uint32       // of KillClient
	Key      string       // of Set
	Value    string       // of Set
	Wait     ShutdownWait // of Shutdown
}

// ShutdownWait says whom a shutdown waits for.
type ShutdownWait string

// The ways to shut down.
const (
	WaitForNobody  ShutdownWait = ""
	WaitForServers ShutdownWait = "WAIT_FOR_SERVERS" // until no server connection is in use
	WaitForClients ShutdownWait = "WAIT_FOR_CLIENTS" // until every client has left by itself
)

// The causes of a command's context ending before its time.
var (
	ErrCanceled = errors.New("canceled by a cancel request")
	ErrGone     = errors.New("the client has gone")
)

// Refused is the end of a login to the console by somebody who has no business there.
func Refused(user, database string) *wire.Error {
	return &wire.Error{
		Severity: "FATAL", Code: codeNotAllowed, Message: fmt.Sprintf("permission denied for database %q", database),
		Detail: fmt.Sprintf("User %q is not allowed on the console: neither admin.users nor admin.stats_users has it.", user),
	}
}

// codeNotAllowed is PostgreSQL's insufficient_privilege: the command, or the console, is for others.
const codeNotAllowed = "42501"

func refusal(code, format string, args ...any) *wire.Error {
	return &wire.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
