package difftest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func certFile() string { return filepath.Join(scratch, "tls.crt") }

func keyFile() string { return filepath.Join(scratch, "tls.key") }

// tlsArgs let the proxy offer TLS.
func tlsArgs() []string { return []string{"--tls-cert", certFile(), "--tls-key", keyFile()} }

// writeCertificate makes the certificate of the proxies, signed by itself.
func writeCertificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(certFile(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(keyFile(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// secure asks for TLS and goes over to it.
func (c *client) secure() error {
	if err := c.write(packet(binary.BigEndian.AppendUint32(nil, sslRequest))); err != nil {
		return err
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if answer, err := c.in.ReadByte(); err != nil || answer != 'S' {
		return fmt.Errorf("answer to SSLRequest: %q %w", answer, err)
	}
	return c.handshake()
}

// handshake begins TLS at once.
func (c *client) handshake() error {
	//nolint:gosec // the certificate is not what these tests are about
	secured := tls.Client(c.tcp, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"postgresql"}})
	if err := secured.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := secured.Handshake(); err != nil {
		return err
	}
	c.conn, c.in = secured, bufio.NewReaderSize(secured, 64<<10)
	return nil
}

// TestCancelBehindTLS: libpq since 17 sends its CancelRequest as encrypted as the session.
func TestCancelBehindTLS(t *testing.T) {
	for _, s := range servers {
		t.Run(fmt.Sprint(s.version), func(t *testing.T) {
			t.Parallel()
			r := s.enter(t)
			p := startProxy(t, r.appDSN(), 1, tlsArgs()...)
			a := r.join(t, p.addr, "A")
			for _, begin := range []func(*client) error{(*client).secure, (*client).handshake} {
				a.send(t, `Query "SELECT pg_sleep(60), 'a'"`)
				r.waitForSleep(t, 1)
				c, err := dial("cancel", p.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.close()
				if err := begin(c); err != nil {
					t.Fatal(err)
				}
				if err := c.write(cancelRequest(a.pid, a.secret)); err != nil {
					t.Fatal(err)
				}
				if err := c.expectEnd(); err != nil {
					t.Fatal(err)
				}
				a.expect(t, canceled)
			}
		})
	}
}

// TestLargeMessagesBehindTLS sends messages of megabytes in both directions, from two clients at a time, one of them plain.
func TestLargeMessagesBehindTLS(t *testing.T) {
	for _, s := range servers {
		t.Run(fmt.Sprint(s.version), func(t *testing.T) {
			t.Parallel()
			r := s.enter(t)
			p := startProxy(t, r.appDSN(), 1, tlsArgs()...)
			a, err := dial("A", p.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer a.close()
			if err := errors.Join(a.secure(), a.login(r.account(), protocol30)); err != nil {
				t.Fatal(err)
			}
			if got, err := a.read("ReadyForQuery"); err != nil {
				t.Fatalf("login: %s %v", got, err)
			}
			b := r.join(t, p.addr, "B")
			for range 3 {
				a.send(t, `Parse "" "SELECT $1::text" | Bind "" "" ["{pad 3000000}"] | Execute "" | Sync`)
				b.send(t, `Parse "" "SELECT $1::text" | Bind "" "" ["{pad 3000000}"] | Execute "" | Sync`)
				want := `ParseComplete | BindComplete | DataRow "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx… 3000000 bytes" | CommandComplete "SELECT 1" | ReadyForQuery I`
				b.expect(t, want)
				a.expect(t, want)
			}
			a.leave(t)
		})
	}
}
