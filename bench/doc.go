// Command bench measures Sarnıç against direct PostgreSQL and PgBouncer with pgbench, all three in one run.
//
// It starts its own PostgreSQL, PgBouncer and sarnic on loopback, then goes round after round over all cells. A cell is one
// script, protocol mode and number of clients; within a cell the targets are measured directly after one another, in
// an order that moves on by one every time, so that a slow minute of the machine hits all of them. What is printed
// is the median of the rounds, absolute and as a ratio to PgBouncer.
//
// Where the figures come from:
//   - TPS is pgbench's own, without the time to connect (with it in the reconnect cells).
//   - p50 and p99 come from pgbench's log of single transactions, sampled at the same rate for every target.
//   - CPU is the process's CPU clock between the first transaction's start and the last one's end, over the transactions;
//     logging in is outside that window, except in the reconnect cells.
//   - Connect is pgbench's mean time to connect and log in, in the reconnect cells; p50 and p99 leave it out.
//   - RSS is VmRSS at the end of a round; idle clients are measured on freshly started processes.
//
// A cell that is missing in any round fails the run. No figure ever does: a timing is judged by people, over several runs.
//
// Reading order: main.go, options.go, cell.go, suite.go (rounds), pgbench.go (one measurement), cputrack.go, idle.go, ab.go (two
// builds against each other), report.go; postgres.go, proxy.go and pgbouncer.go start the servers.
package main
