package loop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// tlsConfigs is a server's configuration and that of a client which trusts it.
func tlsConfigs(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return server, &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

// tlsEcho is a session whose bytes are encrypted: the handshake ran on a goroutine, the rest runs here.
type tlsEcho struct {
	t    testing.TB
	c    *Conn
	tls  *tls.Conn
	done chan struct{}
}

// Serve implements Handler. tls.Conn may hold decrypted bytes while the socket has none, so it is read until it would
// block.
func (s *tlsEcho) Serve(f *Fiber) {
	for {
		n, err := s.tls.Read(f.Loop().Buffer())
		if err == ErrWouldBlock {
			return
		}
		if err == nil {
			_, err = s.tls.Write(f.Loop().Buffer()[:n])
		}
		if err != nil {
			if err != io.EOF {
				s.t.Errorf("server: %v", err)
			}
			_ = s.c.Close()
			close(s.done)
			return
		}
		for s.c.Pending() > 256<<10 {
			if f.Wait(s.c, Drained, nil, 0, Forever) != nil {
				return
			}
		}
	}
}

// startTLS shakes hands on a goroutine, adopts, and puts the session on a loop. Bytes that came with the end of the
// handshake are inside the tls.Conn, so the first Serve is not left to an event.
func startTLS(t testing.TB, l *Loop, nc net.Conn, cfg *tls.Config) *tlsEcho {
	c := Wrap(nc)
	s := &tlsEcho{t: t, c: c, tls: tls.Server(c, cfg), done: make(chan struct{})}
	if err := s.tls.Handshake(); err != nil {
		t.Error(err)
		return s
	}
	if err := c.Adopt(); err != nil {
		t.Error(err)
		return s
	}
	l.Post(func() {
		if err := l.Register(c, s); err != nil {
			t.Error(err)
		}
		l.Go(serve(func(f *Fiber) { f.Attach(c); s.Serve(f); c.Detach() }))
	})
	return s
}

// 100 clients send 2 MB each and read them back, with writes of all sizes, over both versions of TLS.
func TestTLSEcho(t *testing.T) {
	r := newRig(t, 2)
	server, client := tlsConfigs(t)
	const clients, size = 100, 2 << 20
	want := random(size)
	var wg sync.WaitGroup
	for i := range clients {
		nc, peer := pair(t, networks[i%2])
		cfg := client.Clone()
		if i%3 == 0 {
			cfg.MaxVersion = tls.VersionTLS12
		}
		var s *tlsEcho
		wg.Go(func() { s = startTLS(t, r.g.Loops()[i%2], nc, server) })
		wg.Go(func() {
			tc := tls.Client(peer, cfg)
			go func() {
				for rest := want; len(rest) > 0; {
					n := min(len(rest), 1+(len(rest)*(i+7))%70_000)
					mustWrite(t, tc, rest[:n])
					rest = rest[n:]
				}
			}()
			mustRead(t, tc, want)
			_ = tc.Close()
		})
		t.Cleanup(func() { r.wait(s.done, "the end of a TLS session") })
	}
	wg.Wait()
}

// The client sends its first request together with the end of its handshake, one byte at a time after that.
func TestTLSBytesAreNotLostOverAdoption(t *testing.T) {
	r := newRig(t, 1)
	server, client := tlsConfigs(t)
	nc, peer := pair(t, "tcp")
	glued := &gluer{Conn: peer}
	tc := tls.Client(glued, client)
	started := make(chan *tlsEcho, 1)
	go func() { started <- startTLS(t, r.g.Loops()[0], nc, server) }()
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, tc, []byte("first"))
	glued.flush()
	mustRead(t, tc, []byte("first"))
	mustWrite(t, tc, []byte("second"))
	for _, b := range glued.take() {
		mustWrite(t, peer, []byte{b})
	}
	mustRead(t, tc, []byte("second"))
	mustWrite(t, tc, nil)
	glued.flush()
	_ = tc.Close()
	glued.flush()
	_ = peer.Close()
	r.wait((<-started).done, "the end of the session")
}

// gluer holds writes back once the handshake's first flight is out, so that they leave together.
type gluer struct {
	net.Conn
	writes int
	held   bytes.Buffer
}

func (g *gluer) Write(b []byte) (int, error) {
	if g.writes++; g.writes == 1 {
		return g.Conn.Write(b)
	}
	return g.held.Write(b)
}

func (g *gluer) take() []byte {
	defer g.held.Reset()
	return bytes.Clone(g.held.Bytes())
}

func (g *gluer) flush() { _, _ = g.Conn.Write(g.take()) }

// A Close of the client is an EOF, a torn connection is not.
func TestTLSEnd(t *testing.T) {
	r := newRig(t, 1)
	server, client := tlsConfigs(t)
	nc, peer := pair(t, "tcp")
	c := Wrap(nc)
	shaken := make(chan *tls.Conn, 1)
	go func() {
		tc := tls.Client(peer, client)
		if err := tc.Handshake(); err != nil {
			t.Error(err)
		}
		mustWrite(t, tc, []byte("x"))
		shaken <- tc
	}()
	ts := tls.Server(c, server)
	if err := ts.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := c.Adopt(); err != nil {
		t.Fatal(err)
	}
	<-shaken
	_ = peer.Close()
	var ended error
	r.do(0, func(l *Loop) { _ = l.Register(c, nil) })
	r.wait(r.fiber(0, func(f *Fiber) {
		f.Attach(c)
		for ended == nil {
			if _, err := ts.Read(f.Loop().Buffer()); err != nil && err != ErrWouldBlock {
				ended = err
			} else if err != nil {
				_ = f.Wait(c, Readable, nil, 0, Forever)
			}
		}
	}), "the end")
	if ended != io.ErrUnexpectedEOF && ended != io.EOF {
		t.Errorf("a torn TLS connection ends with %v", ended)
	}
}

func clientTLS(t testing.TB, nc net.Conn, cfg *tls.Config) *tls.Conn {
	t.Helper()
	tc := tls.Client(nc, cfg)
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	return tc
}
