// Package simtest is a model of PostgreSQL and of its clients, for the simulator of package loop/sim.
//
// A Backend is one server process as a deterministic machine: bytes in, bytes out. It speaks the whole protocol of a
// logged-in session (simple and extended queries, pipelines, implicit transactions, savepoints, portals with row
// limits, COPY both ways, skipping to Sync, notices, notifications, reported settings, cancel, termination) over a
// small SQL of fixed forms. Every form is also valid PostgreSQL, so that the model itself is tested against the real
// one: the same frames to both, the same frames back, on the oldest and the newest supported version. A Backend also
// looks at whose requests it is asked, and notices when those of two clients mingle.
//
// What a client says is made up beforehand: a Talk knows where the conversation stands and ends its bursts anywhere, a
// Script knows more of SQL. Both are asked of a Reference as they are made, a Backend with a Database of its own. A
// Client then says it to whatever is at the other end of its connection: what it sees through a pool must be, frame by
// frame, what it would see alone. Where something failed that need not have (a cancel request hit) the Reference is
// played again with that failure. What a pool may do that a server would not is for its test to say (Permits); Clients
// keep to rows of their own, so that the order in which a pool serves them is no part of any answer.
//
// Reading order: database.go session.go statement.go parse.go backend.go simple.go extended.go execute.go copy.go
// bind.go settings.go transaction.go reply.go audit.go moment.go reference.go talk.go script.go client.go compare.go peer.go.
package simtest
