package login

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/sarnicdb/sarnic/proxy/scram"
)

// tlsHandshake is the first byte of a TLS connection: the record type. No startup packet begins with it.
const tlsHandshake = 0x16

// alpn is the name of this protocol, without which nobody may begin with TLS: it keeps other protocols' clients from
// being led here.
const alpn = "postgresql"

// ownTLS is c with our rules. Sessions are not resumed, as in PostgreSQL: a resumed one shows no certificate, and
// channel binding needs the one shown on this connection.
func (s *Server) ownTLS(c *tls.Config) *tls.Config {
	own := c.Clone()
	own.NextProtos = []string{alpn}
	own.SessionTicketsDisabled = true
	switch {
	case s.cfg.verifiesClients():
		own.ClientAuth = tls.RequireAndVerifyClientCert
	case c.ClientCAs != nil: // as in PostgreSQL: a certificate is asked for, and one that is shown must be good
		own.ClientAuth = tls.VerifyClientCertIfGiven
	}
	own.Certificates = nil // so that GetCertificate is always asked
	own.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := pickCertificate(c, hello)
		if a, ok := hello.Context().Value(attemptKey{}).(*attempt); ok && err == nil {
			a.bind = s.endPoint(cert)
		}
		return cert, err
	}
	return own
}

// pickCertificate chooses as crypto/tls does.
func pickCertificate(c *tls.Config, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.GetCertificate != nil && (len(c.Certificates) == 0 || hello.ServerName != "") {
		if cert, err := c.GetCertificate(hello); cert != nil || err != nil {
			return cert, err
		}
	}
	if len(c.Certificates) == 0 {
		return nil, errors.New("no TLS certificate")
	}
	if len(c.Certificates) > 1 {
		for i := range c.Certificates {
			if hello.SupportsCertificate(&c.Certificates[i]) == nil {
				return &c.Certificates[i], nil
			}
		}
	}
	return &c.Certificates[0], nil
}

// attemptKey finds the *attempt in the context of its handshake.
type attemptKey struct{}

// handshakeContext tells the handshake whose it is. It never ends: with a context that does, crypto/tls starts a
// goroutine for each handshake, and the connection's deadline does the same work.
type handshakeContext struct {
	context.Context
	a *attempt
}

func (handshakeContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (handshakeContext) Done() <-chan struct{}       { return nil }
func (handshakeContext) Err() error                  { return nil }

func (c handshakeContext) Value(key any) any {
	if key == (attemptKey{}) {
		return c.a
	}
	return c.Context.Value(key)
}

// offersTLS is as in PostgreSQL: not on unix sockets, and not twice.
func (a *attempt) offersTLS() bool { return a.srv.tls != nil && a.tls == nil && !a.local() }

// local reports whether the client came through a unix socket.
func (a *attempt) local() bool {
	addr := a.conn.LocalAddr()
	return addr != nil && addr.Network() == "unix"
}

// startTLS does the handshake over conn. Nothing may lie in the buffer.
func (a *attempt) startTLS(ctx context.Context, conn net.Conn) error {
	secure := tls.Server(conn, a.srv.tls)
	if err := secure.HandshakeContext(handshakeContext{ctx, a}); err != nil {
		err = fmt.Errorf("TLS handshake: %w", err)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		return a.silent(err) // crypto/tls has sent an alert
	}
	a.tls, a.rw = secure, secure
	a.r, a.w = 0, 0
	if c := a.certificate(); c != nil && !namesItself(c) {
		_ = secure.CloseWrite()
		return a.silent(errors.New("the subject of the client's certificate holds a NUL byte"))
	}
	return nil
}

// directTLS serves a client that begins with TLS (sslnegotiation=direct). Like PostgreSQL it closes without a word
// where that cannot be: the client waits for TLS, it would not understand any.
func (a *attempt) directTLS(ctx context.Context) error {
	if !a.offersTLS() {
		return a.silent(errors.New("received direct SSL connection request, but TLS is not offered"))
	}
	head := append([]byte(nil), a.take(a.w-a.r)...)
	if err := a.startTLS(ctx, &rereadConn{a.conn, head}); err != nil {
		return err
	}
	if a.tls.ConnectionState().NegotiatedProtocol != alpn {
		return a.silent(errors.New(
			"received direct SSL connection request without ALPN protocol negotiation extension"))
	}
	return nil
}

// rereadConn gives back what was read from Conn to find out what it is.
type rereadConn struct {
	net.Conn
	head []byte
}

func (c *rereadConn) Read(b []byte) (int, error) {
	if len(c.head) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.head)
	if c.head = c.head[n:]; len(c.head) == 0 {
		c.head = nil
	}
	return n, nil
}

// binding is the tls-server-end-point (RFC 5929) of one certificate. leaf also keeps the memory that identifies it.
type binding struct {
	leaf *byte
	hash []byte // nil where it is not defined
}

// endPoint is the channel binding of cert, nil if it has none. Usually the last one asked for is asked for again.
func (s *Server) endPoint(cert *tls.Certificate) []byte {
	if cert == nil || len(cert.Certificate) == 0 || len(cert.Certificate[0]) == 0 {
		return nil
	}
	der := cert.Certificate[0]
	if b := s.binding.Load(); b != nil && b.leaf == &der[0] {
		return b.hash
	}
	b := &binding{&der[0], hashLeaf(der)}
	s.binding.Store(b)
	return b.hash
}

// hashLeaf is the channel binding of a certificate.
func hashLeaf(der []byte) []byte {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	return scram.EndPoint(cert)
}
