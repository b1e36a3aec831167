package pool

import (
	"fmt"
	"time"
)

// Mode says how long a client keeps a server connection.
type Mode string

// The pool modes, PgBouncer's names and meaning.
const (
	TransactionMode Mode = "transaction" // until the transaction ends
	SessionMode     Mode = "session"     // until the client leaves
	StatementMode   Mode = "statement"   // until the statement ends; transaction blocks are refused
)

// PinPolicy says what becomes of a statement that ties its client to a server connection.
type PinPolicy string

// The policies.
const (
	PinAllow  PinPolicy = "pin"   // the client keeps its connection as long as it must
	PinWarn   PinPolicy = "warn"  // and is told by a WARNING, the operator by a line in the log
	PinRefuse PinPolicy = "error" // the statement fails
)

// Config is one pool's limits. The zero value of a duration means "no limit" unless its comment says otherwise.
type Config struct {
	Mode           Mode          // transaction by default
	Size           int           // server connections of one (database, user) pair, at least 1
	MinSize        int           // kept open even when idle
	Reserve        int           // extra connections when a client has waited ReserveAfter
	ReserveAfter   time.Duration // how long a client waits before the reserve is touched
	Lifetime       time.Duration // a connection older than this is closed when next idle; jittered by up to 10 %
	IdleTimeout    time.Duration // an idle connection above MinSize is closed after this
	WaitTimeout    time.Duration // a client that waits longer for a connection gets an error (53300)
	WaitNotice     time.Duration // a client that waits longer is told so by a NOTICE, once per wait
	ConnectTimeout time.Duration // dialling and logging in to the server
	Pins           PinPolicy     // what becomes of statements that tie a client to a connection; "" is PinAllow
	Statements     int           // prepared statements kept per server connection, least recently used go first
}

// DefaultConfig is what applies where the operator says nothing.
func DefaultConfig() Config {
	return Config{
		Mode:           TransactionMode,
		Size:           20,
		ReserveAfter:   5 * time.Second,
		Lifetime:       time.Hour,
		IdleTimeout:    10 * time.Minute,
		WaitTimeout:    2 * time.Minute,
		WaitNotice:     5 * time.Second,
		ConnectTimeout: 15 * time.Second,
		Pins:           PinAllow,
		Statements:     200,
	}
}

// Problem is one invalid setting: the key relative to the pool's own block, and what is wrong with it.
type Problem struct{ Key, Text string }

// Validate returns every problem of c, not only the first.
func (c Config) Validate() []Problem {
	var ps []Problem
	bad := func(key, format string, args ...any) {
		ps = append(ps, Problem{key, fmt.Sprintf(format, args...)})
	}
	switch c.Mode {
	case TransactionMode, SessionMode, StatementMode:
	default:
		bad("mode", "must be transaction, session or statement, got %q", c.Mode)
	}
	switch c.Pins {
	case "", PinAllow, PinWarn, PinRefuse:
	default:
		bad("pins", "must be pin, warn or error, got %q", c.Pins)
	}
	if c.Size < 1 {
		bad("size", "must be at least 1, got %d", c.Size)
	}
	if c.MinSize < 0 || c.MinSize > c.Size {
		bad("min_size", "must be between 0 and size (%d), got %d", c.Size, c.MinSize)
	}
	if c.Reserve < 0 {
		bad("reserve", "must not be negative, got %d", c.Reserve)
	}
	if c.Statements < 1 {
		bad("statements", "must be at least 1, got %d", c.Statements)
	}
	for _, d := range []struct {
		key string
		d   time.Duration
	}{
		{"reserve_after", c.ReserveAfter},
		{"lifetime", c.Lifetime},
		{"idle_timeout", c.IdleTimeout},
		{"wait_timeout", c.WaitTimeout},
		{"wait_notice", c.WaitNotice},
		{"connect_timeout", c.ConnectTimeout},
	} {
		if d.d < 0 {
			bad(d.key, "must not be negative, got %s", d.d)
		}
	}
	return ps
}
