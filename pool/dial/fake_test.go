package dial_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// fake is a server that does with each connection what serve does, and a DSN for it.
func fake(t testing.TB, serve func(conn net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() { defer conn.Close(); serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	host, port, _ := net.SplitHostPort(ln.Addr().String())
	return fmt.Sprintf("host=%s port=%s user=x password=hush sslmode=disable", host, port)
}

// startupPacket reads the client's first packet.
func startupPacket(conn net.Conn) wire.Startup {
	head := make([]byte, 4)
	if _, err := io.ReadFull(conn, head); err != nil {
		return wire.Startup{}
	}
	n, _ := wire.StartupLen(head)
	body := make([]byte, n)
	_, _ = io.ReadFull(conn, body)
	pkt, _ := wire.DecodeStartup(body)
	return pkt
}

// saying is a server that says bytes to whoever logs in.
func saying(t testing.TB, says []byte) string {
	return fake(t, func(conn net.Conn) {
		startupPacket(conn)
		_, _ = conn.Write(says)
		_, _ = io.Copy(io.Discard, conn)
	})
}

func TestServerWithoutCancelKey(t *testing.T) {
	out := wire.AppendParameterStatus(wire.AppendAuthOK(nil), "server_version", "16devel (somebody's)")
	s := mustDial(t, parse(t, saying(t, wire.AppendReadyForQuery(out, 'I'))))
	if s.PID != 0 || len(s.Secret) != 0 || s.Major != 16 || len(s.Params) != 1 {
		t.Errorf("%+v", s)
	}
}

func TestServerWithLongestKey(t *testing.T) {
	out := wire.AppendBackendKeyData(wire.AppendAuthOK(nil), 7, []byte(strings.Repeat("k", 256)))
	s := mustDial(t, parse(t, saying(t, wire.AppendReadyForQuery(out, 'I'))))
	if s.PID != 7 || len(s.Secret) != 256 || s.Major != 0 {
		t.Errorf("%+v", s)
	}
}

// TestServersThatLie: none of them gives a connection.
func TestServersThatLie(t *testing.T) {
	ok := wire.AppendBackendKeyData(wire.AppendAuthOK(nil), 7, []byte("abcd"))
	ready := wire.AppendReadyForQuery(nil, 'I')
	join := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for name, says := range map[string][]byte{
		"in a transaction":       join(ok, wire.AppendReadyForQuery(nil, 'T')),
		"status of its own":      join(ok, wire.AppendReadyForQuery(nil, '?')),
		"no authentication":      ready,
		"more than it should":    join(ok, ready, wire.AppendParameterStatus(nil, "a", "b")),
		"half a message more":    join(ok, ready, []byte("S\x00\x00")),
		"longer than memory":     join(ok, []byte("S\x7f\xff\xff\xff")),
		"longer than sense":      join(ok, []byte("S\x00\xff\xff\xff")),
		"negative length":        join(ok, []byte("S\xff\xff\xff\xff")),
		"not the protocol":       []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"a row":                  join(ok, []byte("D\x00\x00\x00\x06\x00\x00"), ready),
		"authentication unknown": []byte("R\x00\x00\x00\x08\x00\x00\x00\x63"),
	} {
		s, err := parse(t, saying(t, says)+" connect_timeout=1").Dial(soon(t))
		if err == nil {
			_ = s.Conn.Close()
			t.Errorf("%s: a connection", name)
			continue
		}
		wantError(t, err, kindOf(err), "08006", "cannot connect to server")
	}
}

func kindOf(err error) dial.Kind {
	if e, ok := err.(*dial.Error); ok {
		return e.Kind
	}
	return ""
}

// TestSettingsChangeAtOnce: what a server says between its login and our taking over is neither lost nor left behind.
func TestSettingsChangeAtOnce(t *testing.T) {
	dsn := fake(t, func(conn net.Conn) {
		startupPacket(conn)
		out := wire.AppendReadyForQuery(wire.AppendParameterStatus(wire.AppendAuthOK(nil), "work_mem", "1MB"), 'I')
		_, _ = conn.Write(wire.AppendParameterStatus(out, "work_mem", "2MB"))
		head := make([]byte, wire.HeaderLen)
		for {
			if _, err := io.ReadFull(conn, head); err != nil {
				return
			}
			_, size, _ := wire.Header(head)
			_, _ = io.CopyN(io.Discard, conn, int64(size-wire.HeaderLen))
			_, _ = conn.Write(wire.AppendReadyForQuery(wire.AppendEmptyQuery(nil), 'I'))
		}
	})
	for range 20 {
		s := mustDial(t, parse(t, dsn))
		if s.Params[0].Value != "2MB" {
			t.Errorf("%v", s.Params)
		}
		send(t, s, "")
		if types, _ := answer(t, s); types != "IZ" {
			t.Errorf("answer %s", types)
		}
	}
}

// TestServerThatLeaves closes before, within and after the login.
func TestServerThatLeaves(t *testing.T) {
	for _, says := range []string{"", "R", "R\x00\x00\x00\x08\x00\x00\x00\x00S\x00"} {
		dsn := fake(t, func(conn net.Conn) {
			startupPacket(conn)
			_, _ = conn.Write([]byte(says))
		})
		_, err := parse(t, dsn).Dial(soon(t))
		wantError(t, err, dial.Failed, "08006", "connection failed")
	}
}

// TestServerOlderThanNegotiation knows 3.0 only and says so with an error.
func TestServerOlderThanNegotiation(t *testing.T) {
	dsn := fake(t, func(conn net.Conn) {
		pkt := startupPacket(conn)
		out := wire.AppendReadyForQuery(wire.AppendAuthOK(nil), 'I')
		if pkt.Version != wire.Version30 {
			out = wire.AppendError(nil, &wire.Error{Severity: "FATAL", Code: "08P01", Message: "unsupported protocol version 3.2"})
		}
		_, _ = conn.Write(out)
		_, _ = io.Copy(io.Discard, conn)
	})
	mustDial(t, parse(t, dsn))
	_, err := parse(t, dsn+" max_protocol_version=3.2").Dial(soon(t))
	wantError(t, err, dial.Rejected, "08P01", "unsupported protocol version 3.2")
}

// TestCancelWaitsForTheServer: not before it closed is the signal on its way.
func TestCancelWaitsForTheServer(t *testing.T) {
	got, closing := make(chan wire.Startup, 1), make(chan struct{})
	first := true
	dsn := fake(t, func(conn net.Conn) {
		pkt := startupPacket(conn)
		if first {
			first = false
			out := wire.AppendBackendKeyData(wire.AppendAuthOK(nil), 7, []byte("abcdefgh"))
			_, _ = conn.Write(wire.AppendReadyForQuery(out, 'I'))
			_, _ = io.Copy(io.Discard, conn)
			return
		}
		got <- pkt
		<-closing
	})
	c := parse(t, dsn)
	s := mustDial(t, c)
	done := make(chan error, 1)
	go func() { done <- c.Cancel(t.Context(), s.Addr, s.PID, s.Secret) }()
	if pkt := <-got; pkt.Kind != wire.CancelRequest || pkt.PID != 7 || string(pkt.Secret) != "abcdefgh" {
		t.Errorf("%+v", pkt)
	}
	select {
	case err := <-done:
		t.Errorf("returned before the server closed: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(closing)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestCancelEndsWithItsContext although the server never closes.
func TestCancelEndsWithItsContext(t *testing.T) {
	dsn := saying(t, wire.AppendReadyForQuery(wire.AppendBackendKeyData(wire.AppendAuthOK(nil), 7, []byte("abcd")), 'I'))
	c := parse(t, dsn+" connect_timeout=1")
	s := mustDial(t, c)
	wantError(t, c.Cancel(t.Context(), s.Addr, s.PID, s.Secret), dial.Timeout, "08006", "timeout expired")
}

// otherCA is the file of an authority that has signed nothing.
func otherCA(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "other.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
