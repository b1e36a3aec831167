// Package pgtest runs real, throwaway servers: PostgreSQL with or without a streaming replica, and Redis. Tests and the
// demo share it, so its core takes a context and returns errors; shared.go is the thin layer that tests call.
//
// Invariants:
//   - A server never outlives the process that started it: the kernel kills it with its parent (Process), the end of the
//     context given to Start closes it, and Close may be called any number of times.
//   - A server is its own directory under the system's temporary directory. Close removes it; what a killed process left
//     behind is removed by the next Start of anyone (workdir.go).
//   - PostgreSQL refuses to run as root. Started by root, everything that belongs to the server runs as, and is owned by,
//     another OS user (account.go).
//   - Downloaded binaries and initialised clusters are kept in the user's cache directory and appear there only whole, by
//     rename, under a lock (cache.go).
//
// The environment decides where programs come from: SARNIC_PG15, SARNIC_PG18 and so on name directories that hold postgres and
// initdb, SARNIC_MAVEN a mirror of Maven Central for the embedded binaries.
//
// Reading order: install.go and embedded.go find the binaries, template.go initialises a cluster once, postgres.go starts
// and stops a server, replica.go copies a running one, redis.go is the same for Redis.
package pgtest
