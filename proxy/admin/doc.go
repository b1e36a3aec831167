// Package admin is the console: what a client is answered that connects to the database sarnic, or pgbouncer, instead of
// one of its own. Operators look there at pools, clients and servers, and pause, reconnect or end them; the commands, the
// columns and their order are PgBouncer's, so that scripts, dashboards and exporters go on working.
//
// Serve talks to one client on an ordinary goroutine: the console is off the hot path. It speaks the simple and the
// extended protocol, in text and binary, and takes drivers' start-up chatter (SET, BEGIN, SHOW of server settings) for
// what it is. The package knows nothing of sessions and pools: a Console brings values and functions.
//
// Invariants:
//   - nothing that a client sends takes more memory than the bounds in session.go allow;
//   - no secret is ever part of a State, so none can be shown;
//   - a command that waits ends when its client has gone, cancels it, or the server ends.
//
// Reading order: console.go state.go, view.go views.go stats.go, lex.go parse.go chatter.go, session.go extended.go
// encode.go line.go.
package admin
