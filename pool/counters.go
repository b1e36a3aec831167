package pool

import "sync/atomic"

// Counters are a pool's totals since the start. Sessions add, scrapes read. They share cache lines with nothing else: what
// stands beside them in a Pool is read at every query by all loops.
type Counters struct {
	_            [64]byte
	Queries      atomic.Int64 // requests answered by a ReadyForQuery
	Transactions atomic.Int64 // times a connection was given back
	Received     atomic.Int64 // bytes from clients
	Sent         atomic.Int64 // bytes to clients
	Waits        atomic.Int64 // acquisitions that had to wait
	WaitTime     atomic.Int64 // nanoseconds spent waiting
	LentTime     atomic.Int64 // nanoseconds that connections were in the hands of clients
	QueryTime    atomic.Int64 // nanoseconds that servers took to answer
	Dials        atomic.Int64
	DialFailures atomic.Int64
	Errors       atomic.Int64 // ErrorResponses passed on from the server
	Logins       atomic.Int64 // clients that logged in
	ClientParses atomic.Int64 // named statements that clients prepared
	ServerParses atomic.Int64 // named statements that were prepared on servers
	Binds        atomic.Int64 // of named statements
	Cancels      atomic.Int64 // cancel requests under way now
	Fenced       atomic.Int64 // connections given back that wait for such requests now
	Pins         [MaxPins]PinCounter
	_            [64]byte
}

// MaxPins bounds the reasons for which sessions keep a connection between transactions; the sessions know their names.
const MaxPins = 16

// PinCounter counts the pins of one reason.
type PinCounter struct {
	Times atomic.Int64 // how often a session was pinned for it
	Time  atomic.Int64 // nanoseconds that sessions were, of those that are no longer
	Now   atomic.Int64 // sessions that are
}
