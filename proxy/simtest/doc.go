// Package simtest is a model of PostgreSQL and of its clients, for the simulator of package loop/sim.
//
// A Backend is one server process as a deterministic machine: bytes in, bytes out. It speaks the whole protocol of a
// logged-in session (simple and extended queries, pipelines, implicit transactions, savepoints, portals with row
// limits, COPY both ways, skipping to Sync, notices, notifications, reported settings, cancel, termination) over a
// small SQL of fixed forms. Every form is also valid PostgreSQL, so that the model itself is tested against the real
// one: the same frames to both, the same frames back, on every supported version.
//
// A Client plays a random script against whatever is at the other end of its connection, and at the same time against
// a Backend of its own with a Database of its own. That is its reference: what a client sees through a pool must be,
// frame by frame, what it would see alone on a direct connection. Clients keep to rows of their own, so the order in
// which the pool serves them is no part of any answer.
//
// Reading order: database.go session.go statement.go parse.go backend.go simple.go extended.go execute.go copy.go
// reply.go peer.go script.go reference.go client.go.
package simtest
