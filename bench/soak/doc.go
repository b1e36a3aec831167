// Command soak works a sarnic for minutes while everything around it goes wrong, and then counts.
//
// It starts a throwaway PostgreSQL and a sarnic in front of it, which a rush makes use all its loops. Workers run TPC-B
// and other requests over every part of the protocol; vandals log in and leave in the worst ways; chaos terminates
// server connections, cancels statements and cuts the workers' sockets. What is random comes from -seed. Afterwards
// everybody leaves, and the books are compared with the tables.
//
// What must hold:
//   - every answer carries the tag of the request it belongs to, so one that is another client's, or an earlier one, is seen;
//   - a transaction whose COMMIT was acknowledged is in the tables once, one that did not commit is not, one whose outcome
//     nobody was told is there once at most; the four sums of TPC-B agree; a COPY is there whole or not at all;
//   - a cancel request stops a statement of the client it names, while it is under way, and nobody else's;
//   - only a client with a request or a transaction under way notices that a server connection was terminated, and no
//     more clients than connections were;
//   - when it is quiet again, sarnic holds no client, no fiber and no server connection that is not idle, every place of
//     the pool can still be used, and goroutines, descriptors and memory are where they were after the warm-up;
//   - SIGTERM ends it with code 0.
//
// Reading order: main.go, options.go, soak.go (the phases), worker.go (what a worker does), session.go and ask.go (one
// client), tpcb.go, reads.go, copies.go, chaos.go, vandal.go, vanish.go; book.go and audit.go (what must be in the
// tables), calm.go (what must be gone), watch.go, report.go; schema.go, proxy.go, metrics.go and rush.go set the stage.
package main
