package login_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

var anyCertificate = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"postgresql"}} //nolint:gosec // a test's own server

// secure asks for TLS and goes on within it.
func (p *peer) secure(c *tls.Config) *tls.Conn {
	p.t.Helper()
	p.send([]byte(sslRequest))
	if s := p.octet(); s != "S\n" {
		p.t.Fatalf("SSLRequest answered with %q", s)
	}
	conn := tls.Client(p.conn, c)
	must(p.t, conn.Handshake())
	p.conn = conn
	return conn
}

// secureConversations are held within TLS; the argument is the channel binding data of the server's certificate.
func secureConversations() map[string]func(p *peer, bind string) string {
	all := map[string]func(*peer, string) string{
		"SSL within TLS": func(p *peer, _ string) string { p.send([]byte(sslRequest)); return p.rest() },
		"GSS within TLS": func(p *peer, _ string) string { p.send([]byte(gssRequest)); return p.rest() },
		"version 4":      func(p *peer, _ string) string { p.send(startup(4 << 16)); return p.rest() },
		"cancel": func(p *peer, _ string) string {
			p.send(wire.AppendCancelRequest(nil, 1<<30, []byte("none")))
			return p.rest()
		},
	}
	for name, msg := range map[string][]byte{
		"plain":                 initial("SCRAM-SHA-256", "n,,n=,r=abc"),
		"y":                     initial("SCRAM-SHA-256", "y,,n=,r=abc"),
		"binding, not PLUS":     initial("SCRAM-SHA-256", "p=tls-server-end-point,,n=,r=abc"),
		"PLUS":                  initial("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=abc"),
		"PLUS, n":               initial("SCRAM-SHA-256-PLUS", "n,,n=,r=abc"),
		"PLUS, y":               initial("SCRAM-SHA-256-PLUS", "y,,n=,r=abc"),
		"PLUS, tls-unique":      initial("SCRAM-SHA-256-PLUS", "p=tls-unique,,n=,r=abc"),
		"PLUS, odd type":        initial("SCRAM-SHA-256-PLUS", "p=\x01é"+strings.Repeat("long", 20)+",,n=,r=abc"),
		"PLUS, p":               initial("SCRAM-SHA-256-PLUS", "p"),
		"PLUS, p=":              initial("SCRAM-SHA-256-PLUS", "p=,,n=,r=abc"),
		"PLUS, identity":        initial("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,a=x,n=,r=abc"),
		"PLUS, end after type":  initial("SCRAM-SHA-256-PLUS", "p=tls-server-end-point"),
		"PLUS, other attribute": initial("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,x,n=,r=abc"),
	} {
		all["first "+name] = func(p *peer, _ string) string { p.send(alice(), msg); return p.rest() }
	}
	for name, binding := range map[string]func(bind string) string{
		"right":      func(bind string) string { return "p=tls-server-end-point,," + bind },
		"none":       func(string) string { return "p=tls-server-end-point,," },
		"other":      func(bind string) string { return "p=tls-server-end-point,," + strings.Repeat("x", len(bind)) },
		"header n":   func(string) string { return "n,," },
		"header odd": func(bind string) string { return "p=tls-server-end-point,a=x," + bind },
	} {
		all["final with binding "+name] = func(p *peer, bind string) string {
			p.send(alice(), initial("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=abc"))
			s, _ := p.frame()
			line, body := p.frame()
			if len(body) < 4 {
				return s + line
			}
			nonce, _, _ := strings.Cut(strings.TrimPrefix(string(body[4:]), "r="), ",")
			b64 := base64.StdEncoding.EncodeToString
			p.send(response("c=" + b64([]byte(binding(bind))) + ",r=" + nonce + ",p=" + b64(make([]byte, 32))))
			return s + line + p.rest()
		}
	}
	return all
}

func TestSecureConversationsAsPostgreSQL(t *testing.T) {
	pg := pgtest.New(t, pgtest.Options{Version: 18, TLS: true, Users: []pgtest.User{{Name: "alice", Password: "secret"}}})
	ours := listen(t, login.Config{
		Method: login.SCRAM, TLS: newAuthority(t).serverTLS(), Lookup: users(t, map[string]string{"alice": "secret"}),
	})
	hold := func(t *testing.T, addr string, talk func(*peer, string) string) string {
		p := dial(t, addr)
		state := p.secure(anyCertificate).ConnectionState()
		if state.NegotiatedProtocol != "postgresql" {
			t.Errorf("ALPN %q", state.NegotiatedProtocol)
		}
		bind := sha256.Sum256(state.PeerCertificates[0].Raw)
		return talk(p, string(bind[:]))
	}
	var wg sync.WaitGroup
	for name, talk := range secureConversations() {
		wg.Go(func() {
			t.Run(name, func(t *testing.T) {
				want, got := hold(t, pg.Addr(), talk), hold(t, ours.addr, talk)
				if got != want {
					t.Errorf("PostgreSQL:\n%s\nours:\n%s", want, got)
				}
			})
		})
	}
	wg.Wait()
}

// TestDirectTLSAsPostgreSQL begins with TLS at once.
func TestDirectTLSAsPostgreSQL(t *testing.T) {
	pg := pgtest.New(t, pgtest.Options{Version: 18, TLS: true, Users: []pgtest.User{{Name: "alice", Password: "secret"}}})
	lookup := users(t, map[string]string{"alice": "secret"})
	ours := listen(t, login.Config{Method: login.SCRAM, TLS: newAuthority(t).serverTLS(), Lookup: lookup})
	plain := listen(t, login.Config{Method: login.SCRAM, Lookup: lookup})
	talk := func(addr string, protos []string, first []byte) string {
		p := dial(t, addr)
		conn := tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true, NextProtos: protos}) //nolint:gosec // as above
		if err := conn.Handshake(); err != nil {
			return "handshake fails"
		}
		p.conn = conn
		p.send(first)
		return p.rest()
	}
	for _, c := range []struct {
		name   string
		protos []string
		first  []byte
		want   string
	}{
		{"login", []string{"postgresql"}, alice(), "R"},
		{"several protocols", []string{"h2", "postgresql"}, alice(), "R"},
		{"no ALPN", nil, alice(), "end"},
		{"other ALPN", []string{"h2"}, alice(), "handshake fails"},
	} {
		want, got := talk(pg.Addr(), c.protos, c.first), talk(ours.addr, c.protos, c.first)
		if got != want || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: want %s, PostgreSQL %q, ours %q", c.name, c.want, want, got)
		}
	}
	if got := talk(plain.addr, []string{"postgresql"}, alice()); got != "handshake fails" {
		t.Errorf("without a certificate: %q", got)
	}
	p := dial(t, ours.addr)
	conn := tls.Client(p.conn, anyCertificate)
	must(t, conn.Handshake())
	p.conn = conn
	p.send([]byte(sslRequest))
	if got := p.octet(); got != "N\n" {
		t.Errorf("SSLRequest within direct TLS is answered with %q, by PostgreSQL with N", got)
	}
}

// TestBytesBehindSSLRequest: what came in plain text is not read as if it had come through TLS.
func TestBytesBehindSSLRequest(t *testing.T) {
	ours := listen(t, login.Config{Method: login.Trust, TLS: newAuthority(t).serverTLS()})
	p := dial(t, ours.addr)
	p.send([]byte(sslRequest), alice())
	if got := p.rest(); !strings.Contains(got, "08P01 \"received unencrypted data after SSL request\"") {
		t.Error(got)
	}
	if r := ours.next(t); r.client != nil || r.err == nil {
		t.Errorf("%+v", r)
	}
}

// TestBindingFollowsCertificate renews the certificate between logins: each login is bound to the one it was shown.
func TestBindingFollowsCertificate(t *testing.T) {
	ca := newAuthority(t)
	shown := make(chan *tls.Certificate, 1)
	ours := listen(t, login.Config{
		Method: login.SCRAM, Lookup: users(t, map[string]string{"alice": "secret"}),
		TLS: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c := <-shown
			shown <- c
			return c, nil
		}},
	})
	for range 3 {
		cert := ca.issue("localhost")
		shown <- &cert
		connect(t, "host=127.0.0.1 port="+port(ours.addr)+
			" user=alice password=secret sslmode=verify-full channel_binding=require sslrootcert="+ca.file)
		if c := ours.next(t).client; c == nil || c.TLS == nil {
			t.Error("no TLS client")
		}
		<-shown
	}
}

// TestSeveralCertificates chooses by the name the client asks for.
func TestSeveralCertificates(t *testing.T) {
	ca := newAuthority(t)
	other := template("other")
	other.DNSNames = []string{"other.example"}
	otherCert := ca.issueFor(other)
	ours := listen(t, login.Config{
		Method: login.SCRAM, Lookup: users(t, map[string]string{"alice": "secret"}),
		TLS: &tls.Config{Certificates: []tls.Certificate{otherCert, ca.issue("localhost")}},
	})
	connect(t, "host=localhost port="+port(ours.addr)+
		" user=alice password=secret sslmode=verify-full channel_binding=require sslrootcert="+ca.file)
	if c := ours.next(t).client; c == nil || c.ServerName != "localhost" {
		t.Errorf("%+v", c)
	}
}

// TestNoBindingForEd25519: the hash of such certificates is not defined, so -PLUS is not offered, and a client that
// says so is right.
func TestNoBindingForEd25519(t *testing.T) {
	ca := newAuthority(t)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, template("localhost"), template("localhost"), public, private)
	must(t, err)
	ours := listen(t, login.Config{
		Method: login.SCRAM, Lookup: users(t, map[string]string{"alice": "secret"}),
		TLS: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}},
	})
	p := dial(t, ours.addr)
	p.secure(anyCertificate)
	p.send(alice(), initial("SCRAM-SHA-256", "y,,n=,r=abc"))
	if got := p.rest(); strings.Contains(got, "PLUS") || !strings.Contains(got, "R 11") {
		t.Error(got)
	}
	_ = ca
}

func TestTLSModes(t *testing.T) {
	ca := newAuthority(t)
	conf := func(mode login.TLSMode) login.Config {
		c := login.Config{Method: login.Trust, TLS: ca.serverTLS(), TLSMode: mode}
		c.TLS.ClientCAs = ca.pool
		return c
	}
	for mode, want := range map[login.TLSMode][3]bool{ // plain, TLS, TLS with a certificate
		login.TLSDisable:    {true, false, false},
		login.TLSAllow:      {true, true, true},
		login.TLSPrefer:     {true, true, true},
		"":                  {true, true, true},
		login.TLSRequire:    {false, true, true},
		login.TLSVerifyCA:   {false, false, true},
		login.TLSVerifyFull: {false, false, true},
	} {
		ours := listen(t, conf(mode))
		certFile, keyFile := ca.write(ca.issue("alice"))
		for i, sslmode := range []string{"disable", "require", "require sslcert=" + certFile + " sslkey=" + keyFile} {
			err := tryConnect(t, "host=127.0.0.1 user=alice port="+port(ours.addr)+" sslmode="+sslmode)
			if (err == nil) != want[i] {
				t.Errorf("TLS mode %q, client %s: %v", mode, sslmode, err)
			}
			if i == 0 && !want[0] {
				wantCode(t, err, "28000", "no pg_hba.conf entry for host \"127.0.0.1\", user \"alice\"")
			}
		}
	}
}

// TestUnixSocketNeedsNoTLS: there SSLRequest is refused, direct TLS is cut, and passwords may be sent.
func TestUnixSocketNeedsNoTLS(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".s.PGSQL.5432")
	c := login.Config{
		Method: login.Password, TLS: newAuthority(t).serverTLS(), TLSMode: login.TLSRequire,
		Lookup: users(t, map[string]string{"alice": "secret"}),
	}
	ours := listenOn(t, c, "unix", path)
	connect(t, "host="+filepath.Dir(path)+" user=alice password=secret")
	if c := ours.next(t).client; c == nil || c.TLS != nil {
		t.Errorf("%+v", c)
	}
	p := dial(t, path)
	p.send([]byte(sslRequest))
	if got := p.octet(); got != "N\n" {
		t.Errorf("SSLRequest: %q", got)
	}
	direct := tls.Client(dial(t, path).conn, anyCertificate)
	if err := direct.Handshake(); err == nil {
		t.Error("direct TLS over a unix socket")
	}
}

// TestHandshakeCut leaves in the middle of a handshake.
func TestHandshakeCut(t *testing.T) {
	ours := listen(t, login.Config{Method: login.Trust, TLS: newAuthority(t).serverTLS()})
	p := dial(t, ours.addr)
	p.send([]byte(sslRequest))
	p.octet()
	p.send([]byte{0x16, 3, 1, 0, 200, 1})
	_ = p.conn.Close()
	if r := ours.next(t); r.err == nil || !strings.Contains(r.err.Error(), "TLS handshake") {
		t.Errorf("%v", r.err)
	}
}

// TestDirectTLSInPieces sends the first record byte by byte.
func TestDirectTLSInPieces(t *testing.T) {
	ours := listen(t, login.Config{Method: login.Trust, TLS: newAuthority(t).serverTLS()})
	p := dial(t, ours.addr)
	conn := tls.Client(&bytewise{Conn: p.conn}, anyCertificate)
	must(t, conn.Handshake())
	p.conn = conn
	p.send(alice())
	if got, _ := p.frame(); got != "R \"\\x00\\x00\\x00\\x00\"\n" {
		t.Error(got)
	}
}

// bytewise writes one byte at a time.
type bytewise struct{ net.Conn }

func (c *bytewise) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := c.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

func connect(t testing.TB, dsn string) {
	t.Helper()
	must(t, tryConnect(t, dsn))
}

// tryConnect logs in with pgconn and asks something.
func tryConnect(t testing.TB, dsn string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "select").ReadAll()
	return err
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

func withConfigForClient(c *tls.Config) *tls.Config {
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c, nil }
	return c
}
