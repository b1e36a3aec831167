// Package loop runs fibers on event loops: straight-line session code that waits without holding a thread.
//
// A Loop is one goroutine with one poller. A Fiber is an iter.Pull coroutine that only its loop resumes, from a run
// queue, never another fiber. A Conn is a non-blocking socket that belongs to one loop at a time: its Read returns
// ErrWouldBlock instead of waiting, its Write never waits either, because what the peer does not take yet is kept and
// sent by the loop itself. The only place where a fiber waits is Fiber.Wait, and it waits for both ends of a session
// at once: `a` ready, `b` ready, a deadline, or Wake.
//
// Invariants:
//   - everything but Post, Wake's posted form and the methods that say so is called on the loop's own goroutine;
//   - a readiness edge is never lost: ready bits are sticky until a read or write finds the socket empty or full;
//   - all events of one poll are recorded before any fiber runs, so a fiber sees what had happened by then;
//   - an event names a slot and a generation, so one for a closed descriptor cannot reach its successor;
//   - a conn without a fiber costs its struct and its descriptor: no stack, no buffer;
//   - nothing here blocks: what can block runs in Fiber.Await, on an ordinary goroutine.
//
// Three drivers sit behind Poller: epoll (Linux), goroutines on the runtime's poller (other systems, or the build tag
// loop_std), and the simulator in package sim, whose clock, sockets and scheduling are made of one seed.
//
// Reading order: loop.go fiber.go conn.go timer.go group.go watchdog.go epoll_linux.go poll_std.go.
package loop
