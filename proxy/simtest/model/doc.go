// Package model is a model of PostgreSQL for simulations: a deterministic step machine that takes the bytes of a
// client and gives the bytes of a server. It opens no socket, starts no goroutine and reads no clock.
//
// What it follows of the real one: the simple and the extended protocol, implicit and explicit transactions, statements
// of one Query as one transaction, named and unnamed statements and portals, row limits, the skipping of everything up
// to Sync after an error, when output is flushed and when it is held back, COPY in both directions, notices, changed
// parameters reported just before ReadyForQuery, and cancel requests, which hit what happens to run when they come.
//
// Its SQL is a handful of words (sql.go). Most carry a tag that names the client, so that a Backend can see that what
// belongs to one client is answered to another, or runs inside another's transaction (Backend.Violation).
//
// A second Backend, fed by one client alone, computes what that client must be answered (Reference).
package model
