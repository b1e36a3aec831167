package login_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// opaqueConn is a connection whose type the package cannot know.
type opaqueConn struct{ net.Conn }

// foreignConn is one that comes from another machine.
type foreignConn struct{ net.Conn }

// RemoteAddr is somewhere else.
func (foreignConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711} }

// outcome is what Login returned.
type outcome struct {
	client *login.Client
	cancel *login.CancelRequest
	err    error
}

// listener logs in whoever connects, and then plays a server that knows no rows.
type listener struct {
	addr    string
	results chan outcome
	ln      net.Listener
	srv     *login.Server
	foreign bool // clients look as if they came from another machine
	wg      sync.WaitGroup
}

func listen(t testing.TB, c login.Config) *listener {
	t.Helper()
	return listenOn(t, c, "tcp", "127.0.0.1:0")
}

func listenOn(t testing.TB, c login.Config, network, addr string) *listener {
	t.Helper()
	return listenTo(t, &listener{}, c, network, addr)
}

// listenFar is listen to clients from another machine.
func listenFar(t testing.TB, c login.Config) *listener {
	t.Helper()
	return listenTo(t, &listener{foreign: true}, c, "tcp", "127.0.0.1:0")
}

func listenTo(t testing.TB, l *listener, c login.Config, network, addr string) *listener {
	t.Helper()
	srv, err := login.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	l.addr, l.results, l.ln, l.srv = ln.Addr().String(), make(chan outcome, 1000), ln, srv
	l.wg.Go(func() { l.run(t) })
	t.Cleanup(func() { _ = ln.Close(); l.wg.Wait() })
	return l
}

func (l *listener) run(t testing.TB) {
	for {
		conn, err := l.ln.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() {
			defer conn.Close()
			if l.foreign {
				conn = foreignConn{conn}
			}
			l.serve(t, opaqueConn{conn})
		})
	}
}

func (l *listener) serve(t testing.TB, conn net.Conn) {
	c, cancel, err := l.srv.Login(t.Context(), conn)
	l.results <- outcome{c, cancel, err}
	if c == nil {
		return
	}
	rw := c.Conn
	if c.TLS != nil {
		rw = c.TLS
	}
	out := c.Unsent
	for _, name := range []string{"server_version", "client_encoding", "standard_conforming_strings"} {
		out = wire.AppendParameterStatus(out, name, map[string]string{
			"server_version": "18.4", "client_encoding": "UTF8", "standard_conforming_strings": "on",
		}[name])
	}
	secret := []byte("abcd")
	if c.Version >= wire.Version32 {
		secret = []byte(strings.Repeat("abcd", 8))
	}
	out = wire.AppendBackendKeyData(out, 4711, secret)
	_, _ = rw.Write(wire.AppendReadyForQuery(out, 'I'))
	answerQueries(rw, c.Buffered)
}

// answerQueries says SELECT 0 to everything until the client leaves.
func answerQueries(rw net.Conn, have []byte) {
	buf := make([]byte, 4096)
	for {
		typ, _, rest, ok := wire.Next(have)
		if !ok {
			n, err := rw.Read(buf)
			if err != nil {
				return
			}
			have = append(have, buf[:n]...)
			continue
		}
		have = rest
		switch typ {
		case 'X':
			return
		case 'Q':
			_, _ = rw.Write(wire.AppendReadyForQuery(wire.AppendCommandComplete(nil, "SELECT 0"), 'I'))
		}
	}
}

// next is the next result of a login.
func (l *listener) next(t testing.TB) outcome {
	t.Helper()
	select {
	case r := <-l.results:
		return r
	case <-time.After(20 * time.Second):
		t.Fatal("no login ended")
		return outcome{}
	}
}

// users are those that lookup knows.
func users(t testing.TB, secrets map[string]string) login.Lookup {
	t.Helper()
	parsed := map[string]login.Secret{}
	for user, s := range secrets {
		secret, err := login.ParseSecret(user, s)
		if err != nil {
			t.Fatal(err)
		}
		parsed[user] = secret
	}
	return func(_ context.Context, user, _ string) (login.Secret, bool, error) {
		s, ok := parsed[user]
		return s, ok, nil
	}
}

// authority signs the certificates of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	file string // the certificate as PEM
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	a := &authority{t: t, key: key, pool: x509.NewCertPool(), file: filepath.Join(t.TempDir(), "ca.crt")}
	tmpl := template("test CA")
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	must(t, err)
	a.cert, err = x509.ParseCertificate(der)
	must(t, err)
	a.pool.AddCert(a.cert)
	must(t, os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return a
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
}

// issue makes a certificate for server or client.
func (a *authority) issue(name string) tls.Certificate {
	a.t.Helper()
	return a.issueFor(template(name))
}

// issueFor is issue with a template.
func (a *authority) issueFor(tmpl *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	must(a.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// write puts a certificate and its key into files.
func (a *authority) write(c tls.Certificate) (certFile, keyFile string) {
	a.t.Helper()
	dir := a.t.TempDir()
	certFile, keyFile = filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	must(a.t, err)
	must(a.t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o600))
	must(a.t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	return certFile, keyFile
}

// serverTLS is a configuration with one certificate.
func (a *authority) serverTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.issue("localhost")}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
