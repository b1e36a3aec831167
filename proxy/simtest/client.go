package simtest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/loop/sim"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// ErrWrong is an answer that a connection of one's own would not have given.
var ErrWrong = errors.New("wrong answer")

// Client holds one conversation over its end of a connection and compares every frame it is answered with what a server
// process of its own would have answered.
type Client struct {
	Mark string // of its texts; nobody else may see it
	App  string // its application_name at login
	// Cancel sends a cancel request with the key the client was given.
	Cancel func(pid uint32, secret []byte)
	// Permits is how its answers may differ; the zero value permits nothing.
	Permits Permits
	// Others are clients whose marks it must not see.
	Others []*Client
	// Tell hears what it sends and gets; nil: nobody does.
	Tell func(what string)
	// Slow makes it take its time before it looks at what has come, now and then.
	Slow bool
	// Quits is the burst in which it leaves without a word; -1: none.
	Quits int

	w   *sim.World
	end *sim.End
	rnd *rand.Rand
	id  int

	talk     []Burst
	next     int    // of talk
	out      []byte // of the burst under way
	in       []byte
	maybe    []*Reference // what the answer can be, as far as seen
	got      int          // frames
	last     byte         // the status of the last ReadyForQuery; 0 since something else came
	pid      uint32
	secret   []byte
	cancels  int // requests sent
	hits     int
	failures int
	greeted  bool
	napping  bool
	told     bool // that its session ends
	done     bool
	heardAll bool
	err      error
}

// NewClient makes a client that has just logged in and is to hold a conversation whose answers are those of ref. Nothing
// happens before Start. id tells its steps from others in the trace.
func NewClient(w *sim.World, end *sim.End, id int, talk []Burst, ref *Reference) *Client {
	return &Client{w: w, end: end, id: id, rnd: w.Rand(), Quits: -1, talk: talk, maybe: []*Reference{ref}}
}

// Start has the client look at its connection.
func (c *Client) Start() { c.end.OnEvent(c.step) }

// Done reports whether the client has ended: with everything answered, with its connection lost, or with Err.
func (c *Client) Done() bool { return c.done }

// Greeted reports whether its login is over.
func (c *Client) Greeted() bool { return c.greeted }

// Err is the first thing that was wrong.
func (c *Client) Err() error { return c.err }

// Answered is the number of frames that were right.
func (c *Client) Answered() int { return c.got }

// Cancels is how many cancel requests it sent, and how many hit it.
func (c *Client) Cancels() (sent, hit int) { return c.cancels, c.hits }

// Failures is how many answers were failures that Permits explains.
func (c *Client) Failures() int { return c.failures }

func (c *Client) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s: "+format, append([]any{ErrWrong, c.Mark}, args...)...)
	}
	c.finish()
}

func (c *Client) finish() {
	c.done = true
	_ = c.end.Close()
}

func (c *Client) step() {
	if c.done || c.napping {
		return
	}
	if c.Slow && c.rnd.IntN(3) == 0 {
		c.napping = true
		c.w.After(time.Duration(c.rnd.IntN(5000))*time.Microsecond, 200+c.id, func() {
			c.napping = false
			c.listen()
		})
		return
	}
	c.listen()
}

func (c *Client) listen() {
	if c.done || !c.read() || !c.greeted {
		return
	}
	for !c.done && c.write() {
	}
	if !c.done && c.next == len(c.talk) && len(c.out) == 0 && c.complete() {
		c.heardAll = true
		if c.rnd.IntN(2) == 0 {
			_, _ = c.end.TryWrite(wire.AppendTerminate(nil))
		}
		c.finish()
	}
}

func (c *Client) complete() bool {
	for _, r := range c.maybe {
		if len(r.Reply) != c.got {
			return false
		}
	}
	return true
}

// read reports whether the client goes on.
func (c *Client) read() bool {
	var buf [500]byte
	for {
		n, err := c.end.TryRead(buf[:])
		c.in = append(c.in, buf[:n]...)
		c.frames()
		switch {
		case c.done:
			return false
		case err == nil:
		case err == loop.ErrWouldBlock: //nolint:errorlint // the loop's own sentinel
			return true
		case c.told || c.Ended() || c.Permits.lost(err, len(c.in) > 0):
			c.finish()
			return false
		default:
			c.fail("lost its connection (%v) after %d of %d answers, although nothing broke", err, c.got, len(c.maybe[0].Reply))
			return false
		}
	}
}

// frames looks at the whole frames that have come.
func (c *Client) frames() {
	for !c.done && len(c.in) >= wire.HeaderLen {
		_, size, ok := wire.Header(c.in)
		if !ok {
			c.fail("got what is not the protocol: %q", c.in)
		}
		if !ok || size > len(c.in) {
			return
		}
		frame := c.in[:size]
		c.in = c.in[size:]
		c.frame(frame)
	}
}

// Ended reports whether a server process would have ended the session by itself. What it said last may be lost then: who
// sends to a connection that is closed may be told of that first.
func (c *Client) Ended() bool {
	for _, r := range c.maybe {
		if r.Ended(c.next) {
			return true
		}
	}
	return false
}

// write sends what may be sent now; false: nothing more for the moment.
func (c *Client) write() bool {
	if len(c.out) == 0 {
		if c.next == len(c.talk) {
			return false
		}
		b := c.talk[c.next]
		if b.Waits && c.next > 0 && !c.heard(c.next-1) {
			return false
		}
		c.out = b.Frames
		if c.next == c.Quits {
			c.next++
			_, _ = c.end.TryWrite(c.out[:c.rnd.IntN(len(c.out)+1)])
			c.finish()
			return false
		}
		c.next++
		if b.Nags {
			c.w.After(time.Duration(c.rnd.IntN(4000))*time.Microsecond, 300+c.id, c.nag)
		}
	}
	n, err := c.end.TryWrite(c.out)
	if c.Tell != nil {
		c.Tell(fmt.Sprintf("sends %q", c.out[:n]))
	}
	c.out = c.out[n:]
	if err != nil {
		c.out, c.next = nil, len(c.talk) // the answers say why
	}
	return len(c.out) == 0
}

// heard reports whether everything due after burst i may have come.
func (c *Client) heard(i int) bool {
	for _, r := range c.maybe {
		if c.got >= r.Due[i] {
			return true
		}
	}
	return false
}

// nag sends a cancel request.
func (c *Client) nag() {
	if c.secret == nil || c.done {
		return
	}
	c.cancels++
	if c.Tell != nil {
		c.Tell("cancels")
	}
	c.Cancel(c.pid, c.secret)
}

// State says how far the client is, for a failure's report.
func (c *Client) State() string {
	return fmt.Sprintf("%s: done %v, greeted %v, burst %d of %d, %d unsent, %d of %d answers, %d cancels, %d possibilities",
		c.Mark, c.done, c.greeted, c.next, len(c.talk), len(c.out), c.got, len(c.maybe[0].Reply), c.cancels, len(c.maybe))
}

func (c *Client) greeting(typ byte, body []byte) {
	switch typ {
	case 'R', 'S':
		name, value, _ := wire.ParameterStatus(body)
		if typ == 'S' && string(name) == "application_name" && string(value) != c.App {
			c.fail("is told that application_name is %q", value)
		}
	case 'K':
		pid, secret, _ := wire.BackendKey(body)
		c.pid, c.secret = pid, bytes.Clone(secret)
	case 'Z':
		c.greeted, c.last = true, 'I'
	default:
		c.fail("is greeted with %q %q", typ, body)
	}
}
