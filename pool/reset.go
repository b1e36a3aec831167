package pool

import (
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// resetTimeout bounds the round trips that bring a connection into a known state.
const resetTimeout = 10 * time.Second

// resetJob runs SQL on a connection that the pool owns and lends it again when the server says that it is idle.
type resetJob struct {
	c   *Conn
	how Clean
}

// reset starts a round trip that undoes what a session left: an open transaction, or its settings and other state.
// The state is Resetting. Loop goroutine of c.
func (p *Pool) reset(c *Conn, how Clean) { c.Net.Loop().Go(&resetJob{c, how}) }

// fence starts the round trip after the last cancel request: an interrupt that was still pending hits it and not the
// next client. What the session left is undone in the same job.
func (p *Pool) fence(c *Conn) {
	c.fenced = false
	p.reset(c, c.abandoned)
}

// Serve is the job.
func (j *resetJob) Serve(f *loop.Fiber) {
	c, p := j.c, j.c.pool
	f.Attach(c.Net)
	deadline := f.Loop().After(resetTimeout)
	ok := c.roundTrip(f, "", deadline) // also where no cancel was sent: it costs little and proves the step
	if ok && j.how != Ready {
		ok = c.roundTrip(f, "ROLLBACK", deadline) // outside a transaction it is a warning
	}
	if ok && j.how == Reset {
		ok = c.roundTrip(f, "DISCARD ALL", deadline)
		c.Statements.Clear()
		c.Unnamed, c.Settings, c.Sequences = 0, nil, 0
	}
	c.Net.Detach()
	if !ok || c.doomed {
		p.discard(c, "reset failed")
		return
	}
	p.give(c)
}

// roundTrip runs one statement and waits for ReadyForQuery. A cancel that hits the empty one is what it is for; an
// error of any other statement means that the connection cannot be trusted.
func (c *Conn) roundTrip(f *loop.Fiber, sql string, deadline int64) bool {
	if _, err := c.Write(wire.AppendQuery(nil, sql)); err != nil {
		return false
	}
	c.Unnamed = 0
	var rest []byte
	for {
		n, err := c.Read(f.Loop().Buffer())
		if err == loop.ErrWouldBlock { //nolint:errorlint // our own sentinel
			if f.Loop().Now() >= deadline || f.Wait(c.Net, loop.Readable, nil, 0, deadline) != nil {
				return false
			}
			continue
		}
		if err != nil {
			return false
		}
		rest = append(rest, f.Loop().Buffer()[:n]...)
		var status byte
		var failed bool
		rest, status, failed = skim(rest)
		if failed && sql != "" {
			return false
		}
		if status != 0 {
			// A failed transaction's empty query is an error too, but its status stays E until ROLLBACK.
			return len(rest) == 0 && (status == 'I' || sql == "")
		}
	}
}

// skim walks whole frames and returns what is left, the status of a ReadyForQuery, and whether there was an error.
func skim(b []byte) (rest []byte, status byte, failed bool) {
	for len(b) >= wire.HeaderLen {
		typ, size, ok := wire.Header(b)
		if !ok {
			return b, 0, true
		}
		if size > len(b) {
			break
		}
		switch typ {
		case 'E':
			failed = true
		case 'Z':
			if status, ok = wire.ReadyStatus(b[wire.HeaderLen:size]); !ok {
				return b, 0, true
			}
		}
		b = b[size:]
	}
	return b, status, failed
}
