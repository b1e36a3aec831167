// Package pool owns the server connections: it dials them, lends them to sessions and takes them back.
//
// A Set holds every pool of the process behind one mutex, which is never held across a wait or a system call. A Pool
// is one (database, user) pair. A Conn is in exactly one list of its pool at any time; only Set.move changes that, so
// every count is a list's length. A session owns a Conn between Acquire and Release and nobody else touches it then.
//
// Invariants:
//   - a Conn whose state is not known (bytes pending, replies owed, a cancel under way) is closed, never lent again,
//     unless reset.go has brought it into a known state first;
//   - waiters are served in order of arrival, and a released Conn goes to the first of them without touching the idle
//     list; idle Conns are lent last in, first out, so that the surplus ages and is closed;
//   - a Conn belongs to one loop at a time. One that is lent to a waiter on another loop is handed over: dropped
//     here, posted there.
//
// Reading order: config.go conn.go set.go pool.go acquire.go release.go reset.go janitor.go statements.go.
package pool
