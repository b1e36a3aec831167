package loop

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
)

// half is one direction of a TLS 1.3 connection after the handshake, in AES-128-GCM with SHA-256, spoken by hand
// because crypto/tls offers no way to ask for a KeyUpdate.
type half struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

func expandLabel(t *testing.T, secret []byte, label string, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(info, "tls13 "+label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (h *half) rekey(t *testing.T, secret []byte) {
	block, err := aes.NewCipher(expandLabel(t, secret, "key", 16))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	*h = half{secret: secret, aead: aead, iv: expandLabel(t, secret, "iv", 12)}
}

func (h *half) update(t *testing.T) { h.rekey(t, expandLabel(t, h.secret, "traffic upd", 32)) }

func (h *half) nonce() []byte {
	n := bytes.Clone(h.iv)
	for i := range 8 {
		n[4+i] ^= byte(h.seq >> (56 - 8*i))
	}
	h.seq++
	return n
}

const (
	recordHandshake   = 22
	recordApplication = 23
)

func (h *half) seal(typ byte, body []byte) []byte {
	head := []byte{recordApplication, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(head[3:], uint16(len(body)+1+h.aead.Overhead()))
	return h.aead.Seal(head, h.nonce(), append(bytes.Clone(body), typ), head)
}

func (h *half) open(t *testing.T, r io.Reader) (typ byte, body []byte) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	sealed := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(r, sealed); err != nil {
		t.Fatal(err)
	}
	plain, err := h.aead.Open(nil, h.nonce(), sealed, head)
	if err != nil {
		t.Fatal(err)
	}
	plain = bytes.TrimRight(plain, "\x00")
	return plain[len(plain)-1], plain[:len(plain)-1]
}

// keyLog keeps the application secrets of a handshake.
type keyLog struct{ client, server []byte }

func (k *keyLog) Write(line []byte) (int, error) {
	fields := strings.Fields(string(line))
	secret, _ := hex.DecodeString(fields[2])
	switch fields[0] {
	case "CLIENT_TRAFFIC_SECRET_0":
		k.client = secret
	case "SERVER_TRAFFIC_SECRET_0":
		k.server = secret
	}
	return len(line), nil
}

// A KeyUpdate that asks for one in return makes the server's Read write. On a fiber, with the record arriving one byte
// at a time, that must work like everything else.
func TestTLSKeyUpdate(t *testing.T) {
	r := newRig(t, 1)
	server, client := tlsConfigs(t)
	server.SessionTicketsDisabled = true // else they come first
	var keys keyLog
	client.KeyLogWriter = &keys
	nc, peer := pair(t, "tcp")
	started := make(chan *tlsEcho, 1)
	go func() { started <- startTLS(tornAtTheEnd{t}, r.g.Loops()[0], nc, server) }()
	tc := tls.Client(peer, client)
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	if suite := tc.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Fatalf("negotiated %s; this test speaks TLS_AES_128_GCM_SHA256", tls.CipherSuiteName(suite))
	}
	var up, down half
	up.rekey(t, keys.client)
	down.rekey(t, keys.server)

	said := func(msg string) {
		t.Helper()
		sendSlowly(t, peer, up.seal(recordApplication, []byte(msg)))
		if typ, body := down.open(t, peer); typ != recordApplication || string(body) != msg {
			t.Fatalf("echo of %q: record %d %q", msg, typ, body)
		}
	}
	said("before")
	for range 3 {
		sendSlowly(t, peer, up.seal(recordHandshake, []byte{24, 0, 0, 1, 1})) // update_requested
		up.update(t)
		if typ, body := down.open(t, peer); typ != recordHandshake || !bytes.Equal(body, []byte{24, 0, 0, 1, 0}) {
			t.Fatalf("the server answered the KeyUpdate with record %d %x", typ, body)
		}
		down.update(t)
		said("after")
	}
	_ = peer.Close()
	r.wait((<-started).done, "the end of the session")
}

func sendSlowly(t *testing.T, nc net.Conn, b []byte) {
	for i := range b {
		mustWrite(t, nc, b[i:i+1])
	}
}

// tornAtTheEnd is a test whose session ends with an error on purpose.
type tornAtTheEnd struct{ testing.TB }

func (tornAtTheEnd) Errorf(string, ...any) {}
