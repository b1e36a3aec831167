package simtest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Permits is how what a client is answered may differ from what a server process of its own would say: what can happen
// because somebody stands between, and nothing else.
type Permits struct {
	// Notice reports whether a NOTICE may come between two requests.
	Notice func(e *wire.Error) bool
	// Failure returns the moments at which e may have happened where due (nil: no error) is expected, 0 for none. canceled:
	// a cancel request of the client's is on its way, and e is what such a one brings.
	Failure func(e, due *wire.Error, canceled bool) Moment
	// End reports whether the FATAL e may end the session here.
	End func(e *wire.Error) bool
	// Lost reports whether the connection may end with err and without a word, in the middle of a frame or not.
	Lost func(err error, amidst bool) bool
}

func (p *Permits) lost(err error, amidst bool) bool { return p.Lost != nil && p.Lost(err, amidst) }

// frame looks at one frame.
func (c *Client) frame(f []byte) {
	c.w.Note(400+c.id, int(f[0]))
	if c.Tell != nil {
		c.Tell(fmt.Sprintf("gets %q", f))
	}
	for _, other := range c.Others {
		if bytes.Contains(f, []byte(other.Mark)) {
			c.fail("sees what is %s's: %q", other.Mark, f)
			return
		}
	}
	typ, body := f[0], f[wire.HeaderLen:]
	e, _ := wire.ParseError(body)
	switch {
	case c.told:
		c.fail("is told %q when it has been told that its session ends", f)
	case typ == 'N' && c.between() && c.Permits.Notice != nil && c.Permits.Notice(e):
	case typ == 'E' && e.Severity == "FATAL" && c.Permits.End != nil && c.Permits.End(e):
		c.told = true
		c.failures++
	case !c.greeted:
		c.greeting(typ, body)
	default:
		c.answer(f, e)
	}
}

// between reports whether nothing of an answer has come since the last whole one.
func (c *Client) between() bool { return !c.greeted || c.last == 'I' }

// answer compares a frame with what is due.
func (c *Client) answer(f []byte, e *wire.Error) {
	var all []*Reference
	for _, r := range c.maybe {
		if c.got < len(r.Reply) && same(f, r.Reply[c.got]) {
			all = append(all, r)
		}
	}
	if f[0] == 'E' {
		all = append(all, c.failed(f, e, len(all) > 0)...)
	}
	if len(all) == 0 {
		c.fail("answer %d is %q, %s", c.got, f, c.expected())
		return
	}
	c.maybe = all
	c.got++
	if c.last = 0; f[0] == 'Z' {
		c.last = f[wire.HeaderLen]
	}
}

// failed returns what the answers may be after an error that need not be due. fits: but it may be.
func (c *Client) failed(f []byte, e *wire.Error, fits bool) (all []*Reference) {
	own := c.hits < c.cancels && e.Code == wire.CodeQueryCanceled && e.Message == canceled().Message
	for _, r := range c.maybe {
		kinds := Moment(0)
		if own {
			kinds = Cancelable
		}
		if c.Permits.Failure != nil {
			var due *wire.Error
			if c.got < len(r.Reply) && r.Reply[c.got][0] == 'E' {
				due, _ = wire.ParseError(r.Reply[c.got][wire.HeaderLen:])
			}
			kinds |= c.Permits.Failure(e, due, own)
		}
		if kinds == 0 {
			continue
		}
		for _, other := range r.Interrupted(c.got, e, kinds) {
			if c.got < len(other.Reply) && same(f, other.Reply[c.got]) {
				all = append(all, other)
			}
		}
	}
	switch {
	case fits || len(all) == 0:
	case own:
		c.hits++
	default:
		c.failures++
	}
	return all
}

func (c *Client) expected() (text string) {
	for _, r := range c.maybe {
		if c.got < len(r.Reply) {
			text += fmt.Sprintf("expected %q ", r.Reply[c.got])
		} else {
			text += "expected nothing "
		}
	}
	return text
}

// same compares two frames. The process that notifies is another one for a Reference.
func same(got, expected []byte) bool {
	if got[0] == 'A' && expected[0] == 'A' {
		_, channel, payload, _ := wire.Notification(got[wire.HeaderLen:])
		_, otherChannel, otherPayload, _ := wire.Notification(expected[wire.HeaderLen:])
		return bytes.Equal(channel, otherChannel) && bytes.Equal(payload, otherPayload)
	}
	return bytes.Equal(got, expected)
}

// CheckRows compares what is committed under the client's mark with what it was told. What was sent and not answered may
// have happened or not, or was ended by a cancel request that is not heard of. anything: it may have failed, too.
func (c *Client) CheckRows(db *Database, anything bool) error {
	have := db.Rows(c.Mark + ".")
	if !c.heardAll && (anything || c.cancels > c.hits+1) && c.got < c.due() {
		return nil
	}
	for _, r := range c.maybe {
		all := []*Reference{r}
		if !c.heardAll && c.hits < c.cancels {
			all = append(all, r.withOneMore(c.got)...)
		}
		for _, r := range all {
			if c.fits(r.Commits(), have) {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: %s: what is committed is not what was asked for: %v", ErrWrong, c.Mark, have)
}

// due is how many frames at most are due to what was sent.
func (c *Client) due() (n int) {
	for _, r := range c.maybe {
		if c.next > 0 {
			n = max(n, r.Due[c.next-1])
		}
	}
	return n
}

// fits reports whether rows are a state that the client cannot tell from the last.
func (c *Client) fits(commits []Commit, rows map[string]int32) bool {
	for _, commit := range slices.Backward(commits) {
		if maps.Equal(commit.Rows, rows) {
			return true
		}
		if c.heardAll || c.got > commit.Frame {
			return false // the client knows that this one happened
		}
	}
	return false
}
