package login_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// memory is a connection whose client has said all it will ever say, in pieces of some size.
type memory struct {
	in    []byte
	piece int
	out   bytes.Buffer
	local net.Addr
}

func (m *memory) Read(b []byte) (int, error) {
	if len(m.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, m.in[:min(len(m.in), m.piece)])
	m.in = m.in[n:]
	return n, nil
}

func (m *memory) Write(b []byte) (int, error)    { return m.out.Write(b) }
func (*memory) Close() error                     { return nil }
func (m *memory) LocalAddr() net.Addr            { return m.local }
func (*memory) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} }
func (*memory) SetDeadline(time.Time) error      { return nil }
func (*memory) SetReadDeadline(time.Time) error  { return nil }
func (*memory) SetWriteDeadline(time.Time) error { return nil }

// FuzzLogin feeds the whole login with anything. It must end, with a client, a request or an *Error, and what it wrote
// must be the bytes of the protocol.
func FuzzLogin(f *testing.F) {
	for _, packet := range startupPackets() {
		f.Add(packet, uint8(0), uint8(255))
		f.Add(packet, uint8(16), uint8(255))
		f.Add(append([]byte(sslRequest), packet...), uint8(1), uint8(8))
	}
	for _, msg := range firstMessages() {
		f.Add(append(alice(), msg...), uint8(3), uint8(255))
	}
	final := response("c=biws,r=abc,p=" + strings.Repeat("A", 43) + "=")
	f.Add(bytes.Join([][]byte{alice(), initial("SCRAM-SHA-256", "n,,n=,r=abc"), final}, nil), uint8(3), uint8(7))
	f.Add(append(alice(), response("secret\x00")...), uint8(1), uint8(1))
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"), uint8(0), uint8(255))
	// CVE-2026-6664: a length of data that overflows a sum, in a message that is not that long
	f.Add(append(alice(), response("SCRAM-SHA-256\x00\x7f\xff\xff\xffn,,n=,r=abc")...), uint8(3), uint8(255))
	f.Add(append(alice(), response("SCRAM-SHA-256\x00\xff\xff\xff\xf0n,,n=,r=abc")...), uint8(3), uint8(255))
	// CVE-2026-6665: a nonce of any length
	f.Add(append(alice(), initial("SCRAM-SHA-256", "n,,n=,r="+strings.Repeat("x", 900))...), uint8(3), uint8(255))

	ca := newAuthority(f)
	lookup := users(f, map[string]string{"alice": storedVerifier, "bob": "secret"})
	var servers []*login.Server
	for _, m := range []login.Method{login.Trust, login.Password, login.MD5, login.SCRAM} {
		for _, c := range []login.Config{{Method: m, Lookup: lookup}, {Method: m, Lookup: lookup, TLS: ca.serverTLS()}} {
			srv, err := login.New(c)
			must(f, err)
			servers = append(servers, srv)
		}
	}
	tlsConfig := ca.serverTLS()
	tlsConfig.ClientCAs = ca.pool
	ruled, err := login.New(login.Config{TLS: tlsConfig, Lookup: lookup, Rules: rules(f,
		"local all alice md5", "host all alice 192.0.2.0/24 scram-sha-256", "hostssl all bob all cert", "host /^d bob all reject",
		"host replication all all trust", "local sameuser all trust")})
	must(f, err)
	f.Fuzz(func(t *testing.T, in []byte, which, piece uint8) {
		srv := servers[which&7]
		if which&16 != 0 {
			srv = ruled
		}
		conn := &memory{in: in, piece: int(piece) + 1, local: &net.TCPAddr{}}
		if which&8 != 0 {
			conn.local = &net.UnixAddr{Net: "unix"}
		}
		client, cancel, err := srv.Login(t.Context(), conn)
		var e *login.Error
		switch {
		case client != nil && cancel == nil && err == nil, client == nil && cancel != nil && err == nil:
		case client == nil && cancel == nil && errors.As(err, &e) && e.Error() != "":
		default:
			t.Fatalf("client %v, cancel %v, error %v", client, cancel, err)
		}
		if e == nil || e.Told != nil {
			checkOutput(t, conn.out.Bytes())
		}
	})
}

// checkOutput walks what was written to a client in plain text.
func checkOutput(t *testing.T, out []byte) {
	for len(out) > 0 && (out[0] == 'N' || out[0] == 'S') { // answers to requests for encryption
		if out[0] == 'S' {
			return // TLS follows
		}
		out = out[1:]
	}
	if bytes.HasPrefix(out, []byte("EFATAL:  ")) {
		return // protocol 2
	}
	for len(out) > 0 {
		if out[0] == 0x15 {
			return // a TLS alert
		}
		typ, _, rest, ok := wire.Next(out)
		if !ok || !strings.ContainsRune("REv", rune(typ)) {
			t.Fatalf("not the protocol: %q", out)
		}
		out = rest
	}
}

func FuzzClientFirst(f *testing.F) {
	for _, msg := range firstMessages() {
		if len(msg) > 22 {
			f.Add(msg[22:], false, true)
		}
	}
	f.Add([]byte("p=tls-server-end-point,,n=,r=abc"), true, true)
	f.Add([]byte("y,,n=,r=abc"), false, false)
	f.Fuzz(func(t *testing.T, msg []byte, plus, offered bool) {
		gs2, bare, nonce, fault := login.ParseClientFirst(msg, plus, offered)
		if fault != nil {
			return
		}
		if gs2+string(bare) != string(msg) || !bytes.Contains(bare, append([]byte("r="), nonce...)) {
			t.Errorf("%q is cut into %q %q %q", msg, gs2, bare, nonce)
		}
		if (gs2[0] == 'p') != plus || (gs2[0] == 'y' && offered) {
			t.Errorf("%q is accepted", msg)
		}
	})
}

func FuzzClientFinal(f *testing.F) {
	for _, msg := range finalMessages() {
		f.Add([]byte(msg("abcdefghijklmnopqrstuvwxyz")), []byte("biws"), false)
	}
	f.Fuzz(func(t *testing.T, msg, binding []byte, plus bool) {
		signed, nonce, proof, fault := login.ParseClientFinal(msg, binding, plus)
		if fault != nil {
			return
		}
		if !bytes.HasPrefix(msg, append(bytes.Clone(signed), ",p="...)) || !bytes.Contains(signed, nonce) || len(proof) != 32 ||
			!bytes.HasPrefix(signed, append([]byte("c="), binding...)) {
			t.Errorf("%q is cut into %q %q", msg, signed, nonce)
		}
	})
}

func FuzzParseSecret(f *testing.F) {
	f.Add(storedVerifier)
	f.Add("md5" + strings.Repeat("a", 32))
	f.Add("SCRAM-SHA-256$1:AA==$:")
	f.Fuzz(func(_ *testing.T, s string) { _, _ = login.ParseSecret("alice", s) })
}
