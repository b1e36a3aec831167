// Package notify is LISTEN for clients that keep no server connection: one connection per database listens for all of
// them, and what it hears is queued for each.
//
// A Hub is that connection, with all its channels and listeners. It dials when the first channel is wanted, LISTENs once
// per channel however many listeners want it, UNLISTENs when the last has gone, and closes the connection when nobody has
// listened for a while. A Listener is one client session's place in it. NOTIFY is none of its business: clients say it on
// the connections of their pool, and the server brings it here, to its sender as well.
//
// How a session uses it, where "on its loop" means by posting there, for every callback comes from a goroutine of the hub
// and must not block:
//
//	l := hub.Join(wake)              // at the first LISTEN; wake: there is something to Read, post to the loop
//	l.Listen(names, done)            // at COMMIT; the client gets its ReadyForQuery in done, or the error
//	l.Unlisten(names)                // at COMMIT; nothing of these channels can be read afterwards
//	l.UnlistenAll()                  // UNLISTEN *, DISCARD ALL
//	n, err := l.Read(scratch)        // on its loop, while the client may be told: not inside its transaction
//	l.Sync(done)                     // before the ReadyForQuery of whatever may have committed a NOTIFY
//	l.Leave()                        // when the client is gone
//
// Read never blocks and gives at most len(scratch) notifications; wake is called when the queue was empty and no longer
// is, so a session reads until it gets fewer than it asked for, or stops before, and goes on when its client's socket is
// drained. What it does not read stays in the queue and counts towards its bounds. The PID of a Notification is the
// server process that said NOTIFY; the session makes of it the pid that clients know.
//
// The moments that make it the same as a connection of one's own:
//
//   - Listen is done when the server has confirmed every channel. From then on nothing is missed; nothing that was
//     committed before Listen was called is ever read, also on a channel that others listen to already. Of the channels
//     of one Listen all are entered or, with an error, none.
//   - A transaction that says both LISTEN and NOTIFY hears itself on a direct connection. Where that matters, Listen
//     before the COMMIT is sent on, wait for done, and Unlisten the new channels (Channels tells which are old) if the
//     COMMIT fails: the client cannot tell at which moment between its COMMIT and the answer the LISTEN took effect.
//   - Sync is done when everything that was committed before the call is in the queue; then Read, and only then send
//     the ReadyForQuery. It is an empty query on the hub's connection; all Syncs that come while one is under way share
//     the next one. A listener without channels has nothing to wait for, and is done at once.
//   - UNLISTEN outside a transaction delivers first what was committed before: Sync, Read, then Unlisten.
//   - Channel names are bytes in Options.Encoding, folded, unquoted and cut to 63 bytes as the server would. Payloads are
//     in the same encoding. Clients with another client_encoding need another Hub.
//
// What can go wrong, and who is told:
//
//   - The server refuses LISTEN (a standby does, 25006): done gets its *wire.Error. A LISTEN that waits while the server
//     cannot be reached gets the error of the next attempt to dial, a *dial.Error.
//   - The connection is lost, or silent for longer than Options.Answer: every listener with channels reads what is
//     queued and then, once, a *LostError: notifications may have been missed. A direct connection would have been lost
//     with it, so the session should end its client with LostError.Told (the server's own FATAL, or 08006) and Leave. One
//     that stays goes on: the hub dials again, with growing pauses, and LISTENs to all that is still wanted.
//   - A queue is full (Options.MaxQueued, MaxQueuedBytes): its listener is ended, the others go on. All queues together
//     are over Options.MaxHubBytes: the listeners with the longest queues are ended until they are not. The queue of an
//     ended listener is dropped; Read and Listen give ErrOverflow from then on. So no listener ever misses one
//     notification and reads the next.
//   - Close: Read gives ErrClosed behind what is queued.
//
// All errors have in their chain what the client may be told, for wire.ToldToClient. A Dial whose Config has no Wrap is
// what New wants: the connection stays on goroutines. The hub changes settings of its session only (time-outs that would
// end it, the encoding, application_name).
//
// Invariants:
//   - at most one round, a write with all that is wanted by then, is under way: its last ReadyForQuery is the barrier
//     behind which a Listen takes effect and a Sync is done;
//   - a channel is in Hub.channels as long as somebody wants it or the server has not been told that nobody does;
//   - Hub.mu is held for moments, never while something is written or called back; it comes before Listener.mu.
//
// Reading order: hub.go, listener.go (what sessions call), queue.go, channel.go (who wants what), round.go (what is sent
// and what the answer means), link.go (the connection), run.go (its life), error.go.
package notify
