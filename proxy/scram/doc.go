// Package scram is SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL does it: what a server stores of a password, what a
// client's proof reveals, and the client's side of an exchange.
//
// A server stores a Verifier, which checks a proof and cannot make one. A client that proves itself reveals its Key on
// the way, to whoever holds the verifier; with it one can log in as that client, without its password, wherever the very
// same verifier (password, salt and number of iterations) is stored. That is how a proxy logs in to a server as its
// client.
//
// Invariants: neither type prints what it holds; keys and proofs are compared in constant time; nothing here runs
// PBKDF2 but Derive, which bounds it.
//
// Reading order: verifier.go, key.go, exchange.go, binding.go, saslprep.go.
package scram
