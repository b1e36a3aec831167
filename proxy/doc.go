// Package proxy holds the sessions: what a client says, what its server says, and what ties the two together.
//
// The life of a request, in the order of the files:
//
//	listen.go    a client is accepted and logged in on a goroutine (package login), then put on a loop
//	auth.go      who it may be, and as whom the server is logged in to for it; authquery.go asks the server about its roles
//	greeting.go  it is told the server's parameters, its cancel key and that it may begin
//	session.go   a fiber is lent when it sends something; pump moves bytes both ways until it is idle again
//	request.go   frames are collected up to Query, Sync, Flush or FunctionCall, then a connection is acquired
//	execute.go   acquiring, waiting in the pool's queue, and errors of our own
//	settings.go  the connection is brought to the client's start-up parameters, in a round trip of its own
//	prepared.go  statements follow their client from connection to connection
//	pins.go      what cannot follow ties the client to its connection
//	ledger.go    every frame that draws a reply is entered when it is sent
//	relay.go     every reply is matched with its entry; what is the client's is written to it
//	copy.go      COPY, which consumes Syncs
//	cancel.go    a cancel request finds the session by its virtual process number
//
// What happens to all of them:
//
//	snapshot.go  a configuration and what was made of it, never changed
//	pools.go     which pools there are, and how many clients each has
//	reload.go    another snapshot takes its place, and pools and clients follow
//	handover.go  another process takes the listeners and, one by one, the clients that are idle
//
// Invariants: a session belongs to one loop and has no mutex; only sendError writes an ErrorResponse of our own, and
// poison has the server make one in the right place; a connection is given back only by letGo, which says in which
// state, and only inStep connections are lent again.
package proxy
