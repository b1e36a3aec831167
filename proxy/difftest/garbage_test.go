package difftest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// packet is a startup packet: a length and a body.
func packet(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)
}

// beforeLogin is what a client may say in place of a proper startup packet. Every one of them ends its connection, some
// with an error; the server does the same or says another SQLSTATE of its list.
func beforeLogin() map[string][]byte {
	random := rand.New(rand.NewPCG(3, 3))
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	noise[0] = 0x7f // a large length
	good := startupPacket(protocol30, []setting{{"user", appUser}})
	unterminated := startupPacket(protocol30, []setting{{"user", appUser}, {"application_name", "x"}})
	unterminated = unterminated[:len(unterminated)-3]
	binary.BigEndian.PutUint32(unterminated, uint32(len(unterminated)))
	return map[string][]byte{
		"noise":                      noise,
		"HTTP":                       []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"zero":                       make([]byte, 100),
		"a length of 0":              {0, 0, 0, 0},
		"a length of 7":              {0, 0, 0, 7, 0, 3, 0},
		"a length below zero":        {0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0},
		"a length of 10005":          packet(append(binary.BigEndian.AppendUint32(nil, protocol30), bytes.Repeat([]byte("x"), 9997)...)),
		"no terminator":              unterminated,
		"a name without value":       packet(append(binary.BigEndian.AppendUint32(nil, protocol30), "user\x00app\x00database\x00"...)),
		"bytes behind the end":       packet(append(good[4:], "more"...)),
		"no user":                    startupPacket(protocol30, []setting{{"database", "postgres"}}),
		"an empty user":              startupPacket(protocol30, []setting{{"user", ""}}),
		"a cancel that is too short": packet(binary.BigEndian.AppendUint32(nil, 1234<<16|5678)),
		"an unknown request code":    packet(binary.BigEndian.AppendUint32(nil, 1234<<16|5600)),
		"half a packet":              good[:10],
	}
}

// TestGarbageBeforeLogin: nothing of it disturbs a client that works.
func TestGarbageBeforeLogin(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		b := r.join(t, p.addr, "B")
		before := p.peakMemory(t)
		for name, garbage := range beforeLogin() {
			direct, proxied := r.lastWords(t, r.Addr(), garbage), r.lastWords(t, p.addr, garbage)
			// The server is silent about most; a proxy may say that it is not the protocol.
			if direct != proxied && proxied != "End" && proxied != "ErrorResponse FATAL 08P01 | End" {
				t.Errorf("%s: direct %s, proxy %s", name, direct, proxied)
			}
			b.answers(t, "b")
		}
		p.grewAtMost(t, before, boundedMemory/2)
	})
}

// lastWords is what comes back for bytes behind which the client says no more.
func (r *room) lastWords(t *testing.T, addr string, sent []byte) string {
	t.Helper()
	c, err := dial("garbage", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	_ = c.write(sent) // the other side may have closed in the middle of it
	_ = c.tcp.CloseWrite()
	frames, err := c.rest()
	if err != nil {
		t.Errorf("%q…: %v after %s", sent[:min(len(sent), 20)], err, foldFrames(frames))
	}
	return foldFrames(frames)
}

// TestLargestStartupPacket has 10,000 bytes, which is just allowed.
func TestLargestStartupPacket(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		fixed := len(startupPacket(protocol30, []setting{{"user", appUser}, {"database", r.database}, {"application_name", ""}}))
		for _, addr := range []string{r.Addr(), p.addr} {
			c := r.join(t, addr, "A", setting{"application_name", strings.Repeat("x", 10000-fixed)})
			c.send(t, `Query "SELECT length(current_setting('application_name'))"`)
			c.expect(t, `RowDescription length:23 | DataRow 63 | CommandComplete "SELECT 1" | ReadyForQuery I`)
			c.leave(t)
		}
	})
}

// TestGarbageAfterLogin: wrong lengths, unknown types and noise end the session, with the server's SQLSTATE or none.
func TestGarbageAfterLogin(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	cases := map[string][]byte{
		"a length of 0":              {'Q', 0, 0, 0, 0},
		"a length of 3":              {'Q', 0, 0, 0, 3},
		"a length below zero":        {'Q', 0xff, 0xff, 0xff, 0xff},
		"a length above 1 GB":        {'Q', 0x7f, 0xff, 0xff, 0xff},
		"a Sync of a gigabyte":       {'S', 0x40, 0, 0, 1},
		"a Terminate of a gigabyte":  {'X', 0x3f, 0xff, 0xff, 0xff},
		"an Execute of a gigabyte":   {'E', 0x3f, 0xff, 0xff, 0xff},
		"a password":                 encoded(&pgproto3.PasswordMessage{Password: "again"}),
		"a startup packet":           startupPacket(protocol30, []setting{{"user", appUser}}),
		"type 0":                     {0, 0, 0, 0, 4},
		"noise":                      noiseOf(random, 300),
		"noise behind a query":       append(encoded(&pgproto3.Query{String: "SELECT 1"}), noiseOf(random, 300)...),
		"noise in a transaction":     append(encoded(&pgproto3.Query{String: "BEGIN"}), noiseOf(random, 300)...),
		"noise in a pipeline":        append(encoded(&pgproto3.Parse{Query: "SELECT 1"}), noiseOf(random, 300)...),
		"noise in a copy":            append(encoded(&pgproto3.Query{String: "COPY t FROM STDIN"}), noiseOf(random, 300)...),
		"noise behind an unread row": append(encoded(&pgproto3.Query{String: "SELECT repeat('x', 1000000)"}), noiseOf(random, 300)...),
	}
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		r.mustExec(t, "CREATE TABLE t (v text); ALTER TABLE t OWNER TO app")
		b := r.join(t, p.addr, "B")
		b.answers(t, "b")
		before := p.peakMemory(t)
		for name, garbage := range cases {
			direct, proxied := r.answerToGarbage(t, r.Addr(), garbage), r.answerToGarbage(t, p.addr, garbage)
			if !startsWith(withoutViolations(direct), withoutViolations(proxied)) {
				t.Errorf("%s: direct %s\nproxy %s", name, foldFrames(direct), foldFrames(proxied))
			}
			b.send(t, `Query "SELECT count(*) FROM t"`)
			b.expect(t, `RowDescription count:20 | DataRow 0 | CommandComplete "SELECT 1" | ReadyForQuery I`)
		}
		r.nothingLeft(t, 1)
		p.grewAtMost(t, before, boundedMemory/2)
	})
}

// noiseOf begins with no message type there is.
func noiseOf(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	b[0] = 'z'
	return b
}

// withoutViolations leaves out the complaints about the garbage and the end: the server is silent about wrong lengths, and
// a proxy may find the garbage before the answer to what was said before it.
func withoutViolations(frames []frame) []frame {
	return slices.DeleteFunc(slices.Clone(frames), func(f frame) bool {
		return f.typ == endOfStream || f.typ == 'E' && reportOf(f.body)['C'] == "08P01"
	})
}

func startsWith(all, first []frame) bool {
	return len(first) <= len(all) && foldFrames(all[:len(first)]) == foldFrames(first)
}

// answerToGarbage logs in, sends bytes and returns what came up to the end.
func (r *room) answerToGarbage(t *testing.T, addr string, sent []byte) []frame {
	t.Helper()
	c := r.join(t, addr, "garbage")
	defer c.close()
	_ = c.write(sent)
	_ = c.tcp.CloseWrite()
	frames, err := c.rest()
	if err != nil {
		t.Errorf("%q…: %v after %s", sent[:min(len(sent), 20)], err, foldFrames(frames))
	}
	return frames
}

// TestLargeMessagesBeforeLogin: who has not logged in may not make the proxy hold much.
func TestLargeMessagesBeforeLogin(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		b := r.join(t, p.addr, "B")
		b.answers(t, "b")
		before := p.peakMemory(t)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				c, err := dial("large", p.addr)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.close()
				_ = c.write(startupPacket(protocol30, []setting{{"user", appUser}, {"database", r.database}}))
				if f, err := c.next(); err != nil || f.typ != 'R' {
					t.Errorf("login got %s %v", describe(f), err)
				}
				_ = c.write(append([]byte{'p', 0x3f, 0xff, 0xff, 0xff}, bytes.Repeat([]byte("x"), largeSize)...))
				if f, err := c.next(); err != nil || f.typ != 'E' && f.typ != endOfStream {
					t.Errorf("a password of a gigabyte got %s %v", describe(f), err)
				}
			})
		}
		all.Wait()
		b.answers(t, "b")
		p.grewAtMost(t, before, boundedMemory/2)
	})
}

// TestBytesBehindAnEncryptionRequest may have been put there by somebody in between: the server refuses them (T).
func TestBytesBehindAnEncryptionRequest(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		cases := []struct {
			addr string
			code uint32
		}{{r.Addr(), sslRequest}, {p.addr, sslRequest}, {p.addr, gssRequest}}
		for _, test := range cases {
			c, err := dial("A", test.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			behind := startupPacket(protocol30, []setting{{"user", appUser}, {"database", r.database}})
			if err := c.write(append(packet(binary.BigEndian.AppendUint32(nil, test.code)), behind...)); err != nil {
				t.Fatal(err)
			}
			if answer, err := c.in.Peek(1); err == nil && answer[0] == 'N' {
				_, _ = c.in.Discard(1)
			}
			frames, err := c.rest()
			if got := foldFrames(frames); err != nil || got != "End" && got != "ErrorResponse FATAL 08P01 | End" {
				t.Errorf("bytes behind request %d got %s %v", test.code, got, err)
			}
		}
	})
}

// TestEncryptionRequests are refused where there is no encryption, twice at most in a row, and the login goes on.
func TestEncryptionRequests(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		for _, codes := range [][]uint32{{sslRequest}, {gssRequest}, {gssRequest, sslRequest}, {sslRequest, gssRequest}} {
			c, err := dial(fmt.Sprint(codes), p.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			for _, code := range codes {
				if answer := c.requestEncryption(t, code); answer != 'N' {
					t.Fatalf("answer to request %d: %q", code, answer)
				}
			}
			if err := c.login(r.account(), protocol30); err != nil {
				t.Fatal(err)
			}
			if got, err := c.read("ReadyForQuery"); err != nil || !strings.HasSuffix(got, "ReadyForQuery I") {
				t.Fatalf("login behind %v: %s %v", codes, got, err)
			}
			c.answers(t, "a")
		}
	})
}
