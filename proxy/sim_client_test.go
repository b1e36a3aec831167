package proxy

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/loop/sim"
	"github.com/sarnicdb/sarnic/proxy/simtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// simClient is a client of a scene.
type simClient struct {
	*simtest.Client
	s       *simScene
	fragile bool // its own connection may break
}

// newSimClient makes a client that is about to log in over end, and all that it is going to say.
func newSimClient(s *simScene, id int, end *sim.End) *simClient {
	r := s.Rand()
	mark, app := fmt.Sprintf("T%dq%x", id, r.Uint32()), ""
	switch r.IntN(3) {
	case 0:
		app = "app" + mark
	case 1:
		app = "shared"
	}
	ref := simtest.NewReference(app, s.db.Major)
	talk := s.converse(mark, app, ref)
	c := &simClient{s: s}
	c.Client = simtest.NewClient(s.World, end, id, talk, ref)
	c.Mark, c.App, c.Slow = mark, app, r.IntN(8) == 0
	if r.IntN(6) == 0 {
		c.Quits = r.IntN(len(talk))
	}
	c.Cancel = c.cancel
	c.Permits = simtest.Permits{Notice: c.notice, Failure: c.failure, End: c.end, Lost: c.lost}
	if s.tell {
		c.Tell = func(what string) { s.say("client %d %s", id, what) }
	}
	return c
}

// converse makes up what a client says. RESET and the like return to what the server connection began with, so that only
// those may say it who asked for nothing else at login.
func (s *simScene) converse(mark, app string, ref *simtest.Reference) []simtest.Burst {
	r := s.Rand()
	mixed := s.db.Major < 17 // see simtest.Traits
	if app == "" && r.IntN(3) == 0 {
		traits := simtest.AllTraits()
		traits.Mixed = mixed
		return simtest.NewScript(r, mark+".", traits).Hold(5+r.IntN(15), ref, s.nagging)
	}
	t := simtest.NewTalk(r, mark, ref)
	t.Nags, t.Mixed, t.Resets = s.nagging, mixed, app == ""
	return t.Hold(3 + r.IntN(10))
}

func (c *simClient) cancel(pid uint32, secret []byte) {
	if s := c.s.srv.named(&login.CancelRequest{PID: pid, Secret: secret}); s != nil {
		s.w.loop.Post(func() { s.cancel(func() {}) })
	}
}

// What follows is all that a client of a pool may see and one with a server process of its own may not. Everything
// else, to the byte, is as the Reference says; but a client's process number and key, which are virtual.

// notice: between two requests it may be told that it waits for a connection, if that is configured.
func (c *simClient) notice(e *wire.Error) bool {
	return c.s.pool.Config().WaitNotice > 0 && e.Severity == "NOTICE" && e.Code == "00000" &&
		e.Message == "waiting for a server connection of pool "+c.s.pool.Name()
}

const strange = "unexpected message type 0x"

// failure: what follows may fail a request that a server process of its own would not fail so.
//   - A cancel request may also hit a request that waits for a connection, which is refused as it begins; or the Parse of
//     a statement that a message names and that this very connection has not prepared; or what ends a COPY for a message
//     that has no place there. It hits once.
//   - In a failed transaction a statement that this very connection has not prepared cannot be prepared, so that a
//     Describe of it, a Bind with the wrong number of parameters or another Parse of its name brings 25P02.
//   - A message that has no place in a COPY may be found out by what is put before it: a Parse or Close of a statement,
//     or a Flush has another type. Where it would have to wait for answers the COPY is ended for it, and the session lives.
//   - Where dials fail and connections break, a request that begins may find no server. Nothing of it happens.
//   - Where waits are bounded it may wait in vain.
func (c *simClient) failure(e, due *wire.Error, canceled bool) simtest.Moment {
	disrupted := due != nil && due.Code == wire.CodeProtocolViolation && strings.HasPrefix(due.Message, strange)
	switch {
	case e.Severity != "ERROR":
	case canceled:
		return simtest.Starting | simtest.Naming | simtest.Disrupted
	case e.Code == wire.CodeInFailedTransaction:
		return simtest.NamingInVain
	case disrupted && e.Code == wire.CodeQueryCanceled && e.Message == "COPY from stdin failed: "+due.Message,
		disrupted && e.Code == wire.CodeProtocolViolation && strings.HasPrefix(e.Message, strange):
		return simtest.Disrupted
	case c.s.lossy && e.Code == wire.CodeConnectionFailure,
		c.s.hasty && e.Code == wire.CodeTooManyConnections:
		return simtest.Starting
	}
	return 0
}

// end: a FATAL error may say
//   - that the server connection broke, anywhere, where such break; but never that its answers were not understood;
//   - the same where the server has ended the session by itself, but what it said last was lost;
//   - before the first request, that no server could be reached or waited for.
func (c *simClient) end(e *wire.Error) bool {
	switch e.Code {
	case wire.CodeConnectionFailure:
		return (c.s.lossy || c.Ended()) && e.Message != errOutOfStep.Message
	case wire.CodeTooManyConnections:
		return c.s.hasty && !c.Greeted()
	}
	return false
}

// lost: the connection may end without a word
//   - where it breaks itself;
//   - in the middle of a frame whose rest a server connection took along: nothing can be said there;
//   - where a server connection broke while more was on its way from the client: what was said last is lost when that comes
//     to a closed connection.
func (c *simClient) lost(err error, amidst bool) bool {
	return c.fragile || c.s.lossy && (amidst || errors.Is(err, syscall.ECONNRESET))
}

// join logs a client in.
func (s *simScene) join(i int) error {
	r := s.Rand()
	ours, theirs := s.Pair(fmt.Sprintf("front %d", i), fmt.Sprintf("client %d", i))
	c := newSimClient(s, i, theirs)
	for _, other := range s.clients {
		c.Others, other.Others = append(c.Others, other.Client), append(other.Others, c.Client)
	}
	s.clients = append(s.clients, c)
	in := &login.Client{Database: simDatabase, User: simUser, Version: wire.Version30, Unsent: wire.AppendAuthOK(nil)}
	if c.App != "" {
		in.Params = []wire.Param{{Name: "application_name", Value: c.App}}
	}
	l := s.loops[r.IntN(len(s.loops))]
	sess, refusal := s.srv.newSession(in, loop.NewConn(ours), s.srv.workers[l])
	if refusal != nil {
		return refusal
	}
	if r.IntN(10) == 0 {
		ours.MaybeCut(0.5, 2000)
		c.fragile = true
	}
	s.After(time.Duration(r.IntN(3000))*time.Microsecond, 100+i, func() {
		l.Post(func() { s.srv.start(sess, in.Unsent) })
		c.Start()
	})
	return nil
}
