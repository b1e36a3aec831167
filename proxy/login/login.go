package login

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/sarnicdb/sarnic/proxy/scram"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Client is one that has proved who it is.
type Client struct {
	Conn        net.Conn     // the connection Login was given
	TLS         *tls.Conn    // over Conn; nil if plain
	User        string       // at most 63 bytes, as PostgreSQL cuts them
	Database    string       // likewise; the user's name if none was given
	Version     uint32       // wire.Version30 or wire.Version32
	Params      []wire.Param // settings of the startup packet, those of its options first; a later one wins
	Replication string       // "", "true" or "database"
	ServerName  string       // the name the client asked for in TLS (SNI)
	Secret      Secret       // what it was checked against
	Key         *scram.Key   // what its proof revealed, where the secret is a SCRAM verifier or plain text; else nil
	Unsent      []byte       // with Config.HoldOK: what must be sent before anything else
	Buffered    []byte       // what the client sent beyond its login, not yet looked at; nil usually
}

// CancelRequest is the only packet of its connection; nothing is ever answered to it.
type CancelRequest struct {
	PID    uint32
	Secret []byte
}

// attempt is one login under way. It belongs to the goroutine of its Login and then goes back to the Server.
type attempt struct {
	srv  *Server
	conn net.Conn  // as given
	rw   net.Conn  // conn, or tls over it
	tls  *tls.Conn // nil while plain
	bind []byte    // tls-server-end-point of the certificate shown here; nil: no channel binding

	in   []byte // read, unread from r to w
	r, w int
	out  []byte // appended, not yet written

	user, database string
	replication    string
	place          string     // where the rule stands that was applied
	secret         Secret     // what it is checked against
	key            *scram.Key // what the proof revealed, if it was one of SCRAM
	deadline       time.Time
	nonce          [nonceLen]byte
	proof          []byte // the messages of a SCRAM exchange that are signed
}

// past is a deadline that has certainly passed.
func past() time.Time { return time.Unix(1, 0) }

// Login reads startup packets until the client is authenticated or has asked to cancel something: one of the first two
// results is set, or the error is an *Error. The client has then been sent AuthenticationOk (see Config.HoldOK) and
// waits for its ParameterStatus; or it has been told what is wrong, and the connection is to be closed.
func (s *Server) Login(ctx context.Context, conn net.Conn) (*Client, *CancelRequest, error) {
	a := s.begin(conn)
	defer s.end(a)
	if err := conn.SetDeadline(a.deadline); err != nil {
		return nil, nil, a.failed(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past()) })
	client, cancel, err := a.run(ctx)
	if !stop() && err == nil {
		err = ctx.Err() // the deadline is being moved behind our back: this connection cannot be used
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		return nil, nil, a.failed(ctx, err)
	}
	return client, cancel, nil
}

func (s *Server) begin(conn net.Conn) *attempt {
	a, _ := s.attempts.Get().(*attempt)
	if a == nil {
		a = &attempt{in: make([]byte, inSize), out: make([]byte, 0, inSize/2)}
	}
	a.srv, a.conn, a.rw, a.deadline = s, conn, conn, time.Now().Add(s.cfg.Timeout)
	return a
}

// end wipes what the client sent, which may be a password, and keeps the buffers unless they have grown.
func (s *Server) end(a *attempt) {
	clear(a.in)
	clear(a.out[:cap(a.out)])
	clear(a.proof[:cap(a.proof)])
	if len(a.in) > inSize || cap(a.out) > inSize {
		return
	}
	*a = attempt{in: a.in, out: a.out[:0], proof: a.proof[:0]}
	s.attempts.Put(a)
}

func (a *attempt) run(ctx context.Context) (*Client, *CancelRequest, error) {
	pkt, err := a.startup(ctx)
	if err != nil {
		return nil, nil, err
	}
	if pkt.Kind == wire.CancelRequest {
		return nil, &CancelRequest{pkt.PID, pkt.Secret}, nil
	}
	client, err := a.client(&pkt)
	if err != nil {
		return nil, nil, err
	}
	if err := a.authenticate(ctx); err != nil {
		return nil, nil, err
	}
	if err := a.settings(client, &pkt); err != nil {
		return nil, nil, err
	}
	client.Secret, client.Key = a.secret, a.key
	return client, nil, a.welcome(client)
}

// welcome sends AuthenticationOk, or leaves it to the caller, and gives away what was read too far.
func (a *attempt) welcome(c *Client) error {
	a.out = wire.AppendAuthOK(a.out)
	if a.early() {
		c.Buffered = bytes.Clone(a.in[a.r:a.w])
	}
	if a.srv.cfg.HoldOK {
		c.Unsent = bytes.Clone(a.out)
		return nil
	}
	return a.flush()
}

// refuse tells the client what is wrong, behind whatever is still unsent.
func (a *attempt) refuse(e *wire.Error) error { return a.refuseFor(e, nil) }

// refuseFor is refuse with what only the log is told. It is the only place that tells a client anything wrong.
func (a *attempt) refuseFor(e *wire.Error, cause error) error {
	a.out = wire.AppendError(a.out, e)
	a.goodbye()
	return &Error{User: a.user, Database: a.database, Rule: a.place, Told: e, Cause: cause}
}

// goodbye sends the last words. Whether they arrive changes nothing: the login has failed already.
func (a *attempt) goodbye() {
	if a.flush() == nil && a.tls != nil {
		_ = a.tls.CloseWrite() // so that the client does not take the end for a cut
	}
}

// silent ends the login without a word, where PostgreSQL writes only to its log.
func (a *attempt) silent(cause error) error {
	return &Error{User: a.user, Database: a.database, Cause: cause}
}

// failed makes an *Error of whatever ended the login.
func (a *attempt) failed(ctx context.Context, err error) error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case ctx.Err() != nil:
		return a.silent(ctx.Err())
	case errors.Is(err, os.ErrDeadlineExceeded):
		return a.silent(fmt.Errorf("%w: %w", errTimeout, err))
	case errors.Is(err, io.EOF) && a.user == "":
		return a.silent(ErrLeft)
	case errors.Is(err, io.ErrUnexpectedEOF) && a.user == "":
		return a.silent(fatal(wire.CodeProtocolViolation, "incomplete startup packet"))
	}
	return a.silent(err)
}
