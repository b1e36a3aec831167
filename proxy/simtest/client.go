package simtest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/loop/sim"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// ErrWrong is an answer that a direct connection would not have given.
var ErrWrong = errors.New("wrong answer")

// Client plays a script over its end of a connection and compares every frame it gets with its reference.
type Client struct {
	// Cancel sends a cancel request with the key the client was given; nil: this client never does.
	Cancel func(pid uint32, secret []byte)
	// Tell hears what the client sends and gets; nil: nobody does.
	Tell func(what string)
	// Impatient is the chance that a burst is sent before the last one is answered.
	Impatient float64

	w      *sim.World
	end    *sim.End
	rnd    *rand.Rand
	prefix string
	script *Script
	ref    *reference
	left   int    // bursts
	out    []byte // not taken yet
	in     []byte // before the greeting is over
	pid    uint32
	secret []byte

	asked int // cancel requests
	ready bool
	last  bool // the final burst is out
	done  bool
	lost  bool
	// unsure: a cancel that was asked for may have hit what was lost, so nothing is known of the rows.
	unsure  bool
	refused bool   // a request of its own was cancelled before it reached a server; nothing can be compared behind that
	fatal   string // the SQLSTATE of a FATAL error
	err     error
}

// NewClient begins a client that has just logged in, with so many bursts to send. id makes its keys its own.
func NewClient(w *sim.World, end *sim.End, id, bursts int, traits Traits, major int) *Client {
	prefix := fmt.Sprintf("c%d.", id)
	rnd := rand.New(rand.NewPCG(w.Seed(), uint64(id)))
	c := &Client{
		w: w, end: end, rnd: rnd, prefix: prefix, left: bursts,
		script: NewScript(rnd, prefix, traits), ref: newReference(prefix, major),
	}
	end.OnEvent(c.step)
	return c
}

// Done reports whether the client has ended: with everything answered, with its connection lost, or with Err.
func (c *Client) Done() bool { return c.done }

// Lost reports whether the connection ended before the script did, and the SQLSTATE of the FATAL error that said so,
// if one did.
func (c *Client) Lost() (lost bool, code string) { return c.lost, c.fatal }

// Refused reports whether the client left because a cancel of its own reached it while it waited for a server.
func (c *Client) Refused() bool { return c.refused }

// Err is the first thing that was wrong.
func (c *Client) Err() error { return c.err }

// Answered is the number of frames that were right.
func (c *Client) Answered() int { return c.ref.acked }

func (c *Client) step() {
	for !c.done {
		c.read()
		if c.done || !c.write() || !c.speak() {
			return
		}
	}
}

func (c *Client) read() {
	var buf [1500]byte
	for !c.done {
		n, err := c.end.TryRead(buf[:])
		if n > 0 {
			c.observe(buf[:n])
		}
		if err == loop.ErrWouldBlock { //nolint:errorlint // the loop's own sentinel
			return
		}
		if err != nil {
			c.finish(!c.last || !c.ref.settled())
		}
	}
}

// write reports whether everything has been taken.
func (c *Client) write() bool {
	n, err := c.end.TryWrite(c.out)
	c.out = c.out[n:]
	if err != nil {
		c.finish(true)
	}
	return len(c.out) == 0 && !c.done
}

// speak sends the next burst when its time has come, and reports whether it did.
func (c *Client) speak() bool {
	if !c.ready || !c.ref.settled() && (c.rnd.Float64() >= c.Impatient || c.last) {
		return false
	}
	switch {
	case c.last:
		c.finish(false)
		return false
	case c.left > 0:
		c.left--
		c.send(c.script.Next())
	default:
		c.last = true
		c.send(c.script.Last())
	}
	return true
}

func (c *Client) send(b []byte) {
	c.out = append(c.out, b...)
	if c.Tell != nil {
		c.Tell("sends" + show(b))
	}
	c.ref.feed(b)
	if c.Cancel != nil && c.rnd.IntN(3) == 0 {
		c.w.After(time.Duration(c.rnd.IntN(8_000_000)), int(c.pid), func() {
			if !c.done {
				c.asked++
				c.Cancel(c.pid, c.secret)
			}
		})
	}
}

func (c *Client) observe(b []byte) {
	if !c.ready {
		b = c.greeting(b)
	}
	if len(b) == 0 {
		return
	}
	if c.Tell != nil {
		c.Tell(fmt.Sprintf("gets %q", b))
	}
	err := c.ref.observe(b)
	switch {
	case err != nil:
		severity, code := c.ref.errorAtHand()
		switch {
		case severity == "FATAL":
			c.fatal = code
			c.finish(true)
		case code == wire.CodeQueryCanceled && c.asked > c.ref.cancels:
			// It was waiting for a server when its cancel came. The reference has gone on and cannot be turned back.
			c.refused = true
			c.finish(true)
			c.unsure = true
		default:
			c.wrong(err)
		}
	case c.ref.cancels > c.asked:
		c.wrong(errors.New("cancelled, and it was not this client that asked"))
	}
}

func (c *Client) wrong(err error) {
	c.err = fmt.Errorf("%w: %s: %w", ErrWrong, c.prefix, err)
	c.finish(true)
}

// greeting takes what comes before the first ReadyForQuery, and returns what comes behind it.
func (c *Client) greeting(b []byte) []byte {
	c.in = append(c.in, b...)
	for len(c.in) >= wire.HeaderLen {
		typ, body, rest, ok := wire.Next(c.in)
		if !ok {
			return nil
		}
		c.in = rest
		switch typ {
		case 'K':
			pid, secret, _ := wire.BackendKey(body)
			c.pid, c.secret = pid, append([]byte(nil), secret...)
		case 'E':
			_, code := wire.ErrorCode(body)
			c.fatal = string(code)
			c.finish(true)
			return nil
		case 'Z':
			c.ready = true
			return c.in
		}
	}
	return nil
}

func (c *Client) finish(lost bool) {
	if c.done {
		return
	}
	c.done, c.lost = true, lost
	c.unsure = c.ref.runOn() && c.asked > c.ref.cancels
	c.w.Note(int(c.pid), c.ref.acked)
	_ = c.end.Close()
}

// CheckRows compares the client's rows with what it was told. Where the connection was lost, what was sent and not
// answered may have happened or not.
func (c *Client) CheckRows(db *Database) error {
	if c.unsure {
		return nil
	}
	rows := db.Rows(c.prefix)
	certain := 0
	for i, v := range c.ref.history {
		if v.frames < c.ref.acked {
			certain = i
		}
	}
	last := len(c.ref.history) - 1
	if !c.lost {
		certain = last
	}
	for _, v := range c.ref.history[certain:] {
		if maps.Equal(v.rows, rows) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s: its rows are %v; certain was %v, sent %v", ErrWrong, c.prefix, rows,
		c.ref.history[certain].rows, c.ref.history[last].rows)
}

// State says how far the client is, for a failure's report.
func (c *Client) State() string {
	return fmt.Sprintf("%d bursts left, %d bytes unsent, %d frames answered, asleep %v, owed:%s", c.left, len(c.out),
		c.ref.acked, c.ref.b.Asleep(), show(c.ref.want))
}

// show writes frames down for a reader.
func show(b []byte) string {
	var s strings.Builder
	for len(b) >= wire.HeaderLen {
		typ, body, rest, ok := wire.Next(b)
		if !ok {
			break
		}
		fmt.Fprintf(&s, "  %c %q", typ, body)
		b = rest
	}
	return s.String()
}
