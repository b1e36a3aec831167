package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/loop/sim"
	"github.com/sarnicdb/sarnic/proxy/simtest/model"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// simClient holds one conversation and compares every frame it is answered with what a server of its own would have
// answered. Permitted differences, all of them:
//   - BackendKeyData, which is virtual;
//   - a NOTICE that it waits for a connection;
//   - after it has sent a cancel request: 57014 wherever one can hit, once per request;
//   - in a failed transaction, 25P02 for the Describe of a statement without rows, for a Bind with the wrong number of
//     parameters and for the Parse of a name in use: where the statement is not prepared yet it would have to be prepared first;
//     The other way round, its unnamed statement may be gone then: 26000 instead of 25P02;
//   - the type of the message that broke a COPY down;
//   - where server connections break or waits are bounded: 08006 and 53300 in the same places, or the end;
//   - where its own connection breaks: the end.
type simClient struct {
	s     *simScene
	id    int
	end   *sim.End
	tag   string // in every text it sends; nobody else may see it
	app   string
	talk  []simBurst
	quits int // the burst in which it leaves without a word; -1: none
	slow  bool

	greeted  bool
	pid      uint32
	key      []byte
	next     int    // of talk
	out      []byte // of the burst under way
	in       []byte
	maybe    []*model.Reference // what the answer can be, as far as seen
	got      int                // frames
	cancels  int                // requests sent
	hits     int
	mayBreak bool
	napping  bool
	failures int // answers that a world with failures permits
	told     bool
	done     bool
	heardAll bool
	err      error
}

// simBurst is frames sent together.
type simBurst struct {
	b     []byte
	waits bool // for everything that is answered before
	nags  bool // a cancel request follows
}

func newSimClient(s *simScene, id int, end *sim.End) *simClient {
	r := s.Rand()
	c := &simClient{s: s, id: id, end: end, tag: fmt.Sprintf("T%dq%x", id, r.Uint32()), quits: -1, slow: r.IntN(8) == 0}
	switch r.IntN(3) {
	case 0:
		c.app = "app" + c.tag
	case 1:
		c.app = "shared"
	}
	t := &simTalk{r: r, tag: c.tag, ref: model.NewReference(c.app), params: map[string]int{}, resets: c.app == ""}
	t.nags = s.nagging
	c.talk = t.hold()
	c.maybe = []*model.Reference{t.ref}
	if r.IntN(6) == 0 {
		c.quits = r.IntN(len(c.talk))
	}
	return c
}

func (c *simClient) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
	c.finish()
}

func (c *simClient) finish() {
	c.done = true
	_ = c.end.Close()
}

func (c *simClient) step() {
	if c.done || c.napping {
		return
	}
	if c.slow && c.s.Rand().IntN(3) == 0 {
		c.napping = true
		c.s.After(time.Duration(c.s.Rand().IntN(5000))*time.Microsecond, 200+c.id, func() {
			c.napping = false
			c.listen()
		})
		return
	}
	c.listen()
}

func (c *simClient) listen() {
	if c.done || !c.read() || !c.greeted {
		return
	}
	for !c.done && c.write() {
	}
	if !c.done && c.next == len(c.talk) && len(c.out) == 0 && c.complete() {
		c.heardAll = true
		if c.s.Rand().IntN(2) == 0 {
			_, _ = c.end.TryWrite(wire.AppendTerminate(nil))
		}
		c.finish()
	}
}

func (c *simClient) complete() bool {
	for _, r := range c.maybe {
		if len(r.Reply) != c.got {
			return false
		}
	}
	return true
}

func (c *simClient) read() bool {
	var buf [500]byte
	for {
		n, err := c.end.TryRead(buf[:])
		c.in = append(c.in, buf[:n]...)
		for !c.done && len(c.in) >= wire.HeaderLen {
			_, size, ok := wire.Header(c.in)
			if !ok {
				c.fail("got what is not the protocol: %q", c.in)
			}
			if !ok || size > len(c.in) {
				break
			}
			frame := c.in[:size]
			c.in = c.in[size:]
			c.frame(frame)
		}
		switch {
		case c.done:
			return false
		case err == nil:
		case err == loop.ErrWouldBlock:
			return true
		case c.told || c.mayBreak || c.s.lossy || c.byeNow():
			c.finish()
			return false
		default:
			c.fail("lost its connection (%v) after %d of %d answers, although nothing broke", err, c.got, len(c.maybe[0].Reply))
			return false
		}
	}
}

// byeNow reports whether a server would have ended the connection too. What it said last may be lost then.
func (c *simClient) byeNow() bool {
	for _, r := range c.maybe {
		if _, _, dead, _ := r.State(); dead {
			return true
		}
	}
	return false
}

// write sends what may be sent now; false: nothing more for the moment.
func (c *simClient) write() bool {
	if len(c.out) == 0 {
		if c.next == len(c.talk) {
			return false
		}
		b := c.talk[c.next]
		if b.waits && c.next > 0 && !c.heard(c.next-1) {
			return false
		}
		c.out = b.b
		if c.next == c.quits {
			_, _ = c.end.TryWrite(c.out[:c.s.Rand().IntN(len(c.out)+1)])
			c.finish()
			return false
		}
		c.next++
		if b.nags {
			c.s.After(time.Duration(c.s.Rand().IntN(4000))*time.Microsecond, 300+c.id, c.nag)
		}
	}
	n, err := c.end.TryWrite(c.out)
	c.s.say("client %d sends %q", c.id, c.out[:n])
	c.out = c.out[n:]
	if err != nil {
		c.out, c.next = nil, len(c.talk) // the answers say why
	}
	return len(c.out) == 0
}

// heard reports whether everything due after burst i may have come.
func (c *simClient) heard(i int) bool {
	for _, r := range c.maybe {
		if c.got >= r.Due[i] {
			return true
		}
	}
	return false
}

// nag sends a cancel request.
func (c *simClient) nag() {
	if c.pid == 0 || c.done {
		return
	}
	if s := c.s.srv.named(&login.CancelRequest{PID: c.pid, Secret: c.key}); s != nil {
		c.cancels++
		c.s.say("client %d cancels", c.id)
		s.w.loop.Post(func() { s.cancel(func() {}) })
	}
}

// frame looks at one frame from the proxy.
func (c *simClient) frame(f []byte) {
	c.s.Note(400+c.id, int(f[0]))
	c.s.say("client %d gets %q", c.id, f)
	for _, other := range c.s.clients {
		if other != c && bytes.Contains(f, []byte(other.tag)) {
			c.fail("sees what is client %d's: %q", other.id, f)
			return
		}
	}
	typ, body := f[0], f[wire.HeaderLen:]
	if typ == 'N' && bytes.Contains(f, []byte("waiting for a server connection")) {
		return
	}
	if !c.greeted && !(typ == 'E') {
		c.greeting(typ, body)
		return
	}
	var all []*model.Reference
	for _, r := range c.maybe {
		if c.got < len(r.Reply) && c.same(f, r.Reply[c.got]) {
			all = append(all, r)
		}
	}
	if typ == 'E' {
		if e := c.permitted(body); e != nil && e.Severity == "FATAL" {
			c.told = true
			return
		} else if e != nil {
			for _, r := range c.maybe {
				for _, other := range r.Interrupted(c.got, e) {
					if c.got < len(other.Reply) && c.same(f, other.Reply[c.got]) {
						all = append(all, other)
					}
				}
			}
		}
	}
	if len(all) == 0 {
		c.fail("answer %d is %q, %s", c.got, f, c.expected())
		return
	}
	c.maybe = all
	c.got++
}

func (c *simClient) expected() (text string) {
	for _, r := range c.maybe {
		if c.got < len(r.Reply) {
			text += fmt.Sprintf("expected %q ", r.Reply[c.got])
		} else {
			text += "expected nothing "
		}
	}
	return text
}

// permitted returns the error if it is one that this world may bring about.
func (c *simClient) permitted(body []byte) *wire.Error {
	e, ok := wire.ParseError(body)
	if !ok {
		return nil
	}
	switch {
	case e.Code == wire.CodeQueryCanceled && e.Message == "canceling statement due to user request" && c.hits < c.cancels:
		c.hits++
	case e.Code == wire.CodeInFailedTransaction && c.preparesNext():
	case e.Message == "unnamed prepared statement does not exist" && c.failed():
	case c.byeNow() && e.Severity == "FATAL" && e.Code == wire.CodeConnectionFailure:
	case c.s.lossy && e.Code == wire.CodeConnectionFailure:
		c.failures++
	case c.s.hasty && e.Code == wire.CodeTooManyConnections:
		c.failures++
	default:
		return nil
	}
	return e
}

// failed reports whether the answer due says that the transaction has failed.
func (c *simClient) failed() bool {
	for _, r := range c.maybe {
		if c.got < len(r.Reply) {
			if _, code := wire.ErrorCode(r.Reply[c.got][wire.HeaderLen:]); string(code) == wire.CodeInFailedTransaction {
				return true
			}
		}
	}
	return false
}

// preparesNext reports whether the answer due is one to a Describe of a statement, or about a Bind's parameters.
func (c *simClient) preparesNext() bool {
	for _, r := range c.maybe {
		if c.got >= len(r.Reply) {
			continue
		}
		f := r.Reply[c.got]
		if _, code := wire.ErrorCode(f[wire.HeaderLen:]); f[0] == 't' || f[0] == 'E' && (string(code) == wire.CodeProtocolViolation || string(code) == wire.CodeDuplicateStatement ||
			string(code) == wire.CodeSyntaxError || string(code) == wire.CodeInFailedTransaction) {
			return true
		}
	}
	return false
}

// same compares two frames. A COPY that breaks down by a message that has no place there may name one of ours, and how
// the session goes on is then between the two of us.
func (c *simClient) same(got, expected []byte) bool {
	const strange = "unexpected message type 0x"
	if bytes.Equal(got, expected) {
		return true
	}
	both := bytes.Contains(got, []byte(strange)) && bytes.Contains(expected, []byte(strange))
	if both {
		c.finish()
	}
	return both
}

func (c *simClient) greeting(typ byte, body []byte) {
	switch typ {
	case 'S':
		if name, value, _ := wire.ParameterStatus(body); string(name) == "application_name" && string(value) != c.app {
			c.fail("is told that application_name is %q", value)
		}
	case 'K':
		pid, key, _ := wire.BackendKey(body)
		c.pid, c.key = pid, bytes.Clone(key)
	case 'Z':
		c.greeted = true
	case 'R', 'N':
	default:
		c.fail("is greeted with %q", typ)
	}
}

var errStore = errors.New("what is committed is not what was asked for")

// auditStore compares what is committed under the client's keys with what can have been.
func (c *simClient) auditStore() error {
	if !c.heardAll && (c.cancels > 0 || c.s.lossy || c.s.hasty) {
		return nil // what failed unseen is not known
	}
	have := c.s.store.Of(c.tag)
	for _, r := range c.maybe {
		commits := r.Commits()
		for i, commit := range slices.Backward(commits) {
			if maps.Equal(commit.Store.Of(c.tag), have) {
				return nil
			}
			if c.heardAll || c.got > commit.Frame && i == len(commits)-1 {
				break // the client knows that this one happened
			}
			if c.got > commit.Frame {
				break
			}
		}
	}
	return fmt.Errorf("%w: %v", errStore, have)
}

func (c *simClient) state() string {
	left := 0
	if len(c.maybe) > 0 {
		left = len(c.maybe[0].Reply)
	}
	return fmt.Sprintf("tag %s, done %v, greeted %v, burst %d of %d, %d unsent, %d of %d answers, %d cancels, %d possibilities, mode %s",
		c.tag, c.done, c.greeted, c.next, len(c.talk), len(c.out), c.got, left, c.cancels, len(c.maybe), pool.TransactionMode)
}
