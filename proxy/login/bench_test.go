package login_test

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"net"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// scripted is a client that takes no memory of its own while it logs in, so that what is counted is the server's.
type scripted struct {
	memory
	key    []byte // ClientKey
	mac    hash.Hash
	turn   int
	buf    []byte
	signed []byte
	last   []byte // what the server wrote last
}

func newScripted(b *testing.B, iterations int, salt []byte) *scripted {
	salted, err := pbkdf2.Key(sha256.New, "secret", salt, iterations, 32)
	must(b, err)
	m := hmac.New(sha256.New, salted)
	m.Write([]byte("Client Key"))
	key := m.Sum(nil)
	stored := sha256.Sum256(key)
	return &scripted{
		memory: memory{local: &net.TCPAddr{}}, key: key, mac: hmac.New(sha256.New, stored[:]),
		buf: make([]byte, 0, 512), signed: make([]byte, 0, 512),
	}
}

func (s *scripted) Write(b []byte) (int, error) {
	s.last = append(s.last[:0], b...)
	return len(b), nil
}

func (s *scripted) Read(b []byte) (int, error) {
	s.turn++
	switch s.turn {
	case 1:
		return copy(b, startupBytes), nil
	case 2:
		return copy(b, firstBytes), nil
	}
	return copy(b, s.final()), nil
}

// final answers the server-first-message.
func (s *scripted) final() []byte {
	first := s.last[9:]
	end := 2
	for first[end] != ',' {
		end++
	}
	s.buf = append(append(append(s.buf[:0], "p\x00\x00\x00\x00"...), "c=biws,"...), first[:end]...)
	s.signed = append(append(append(append(s.signed[:0], "n=,r=abc,"...), first...), ','), s.buf[5:]...)
	s.mac.Reset()
	s.mac.Write(s.signed)
	proof := s.mac.Sum(s.signed[len(s.signed):])
	for i := range proof {
		proof[i] ^= s.key[i]
	}
	s.buf = base64.StdEncoding.AppendEncode(append(s.buf, ",p="...), proof)
	s.buf[4] = byte(len(s.buf) - 1)
	return s.buf
}

var (
	startupBytes = startup(wire.Version30, "user", "alice", "database", "app", "application_name", "bench",
		"client_encoding", "UTF8")
	firstBytes = initial("SCRAM-SHA-256", "n,,n=,r=abc")
)

// BenchmarkLogin is the work of a login without the network: nothing but what the Client holds should be taken for long.
func BenchmarkLogin(b *testing.B) {
	salt, err := base64.StdEncoding.DecodeString("V38b7wOsjBDGe0fDtLR4aA==")
	must(b, err)
	for _, method := range []login.Method{login.Trust, login.SCRAM} {
		b.Run(string(method), func(b *testing.B) {
			srv, err := login.New(login.Config{Method: method, Lookup: users(b, map[string]string{"alice": storedVerifier})})
			must(b, err)
			client := newScripted(b, 4096, salt)
			b.ReportAllocs()
			for b.Loop() {
				client.turn = 0
				if _, _, err := srv.Login(b.Context(), client); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkConnect is a whole login over TCP, by a client that only knows the bytes.
func BenchmarkConnect(b *testing.B) {
	ours := listen(b, login.Config{Method: login.Trust, HoldOK: true})
	go func() {
		for {
			select {
			case <-ours.results:
			case <-b.Context().Done():
				return
			}
		}
	}()
	buf := make([]byte, 1024)
	for b.Loop() {
		conn, err := net.Dial("tcp", ours.addr)
		must(b, err)
		_, _ = conn.Write(startupBytes)
		if _, err := conn.Read(buf); err != nil {
			b.Fatal(err)
		}
		_, _ = conn.Write(wire.AppendTerminate(nil))
		_ = conn.Close()
	}
}
