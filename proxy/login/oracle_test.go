package login_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// peer is a client that speaks bytes.
type peer struct {
	t    testing.TB
	conn net.Conn
}

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	conn, err := net.Dial(network, addr)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return &peer{t, conn}
}

func (p *peer) send(parts ...[]byte) {
	p.t.Helper()
	if _, err := p.conn.Write(bytes.Join(parts, nil)); err != nil {
		p.t.Logf("send: %v", err) // the server may have closed already
	}
}

// octet reads the one byte that answers a request for encryption.
func (p *peer) octet() string {
	b := make([]byte, 1)
	if _, err := io.ReadFull(p.conn, b); err != nil {
		return "end\n"
	}
	return string(b) + "\n"
}

// frame reads one frame; "end" when the server closed, "waits" when it says nothing more.
func (p *peer) frame() (string, []byte) {
	head := make([]byte, wire.HeaderLen)
	_ = p.conn.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := io.ReadFull(p.conn, head[:1]); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return "waits\n", nil
		}
		return "end\n", nil
	}
	_ = p.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(p.conn, head[1:]); err != nil {
		return "cut\n", nil
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > 1<<20 {
		rest, _ := io.ReadAll(p.conn)
		return fmt.Sprintf("raw %q\n", append(head, rest...)), nil
	}
	body := make([]byte, n-4)
	if _, err := io.ReadFull(p.conn, body); err != nil {
		return "cut\n", nil
	}
	return show(head[0], body), body
}

var serverFirst = regexp.MustCompile(`^r=(abc)?[A-Za-z0-9+/]{24},s=[A-Za-z0-9+/]{22}==`)

// show is a frame without what differs between any two servers: nonce, salt, and the place in the source.
func show(typ byte, body []byte) string {
	switch typ {
	case 'E':
		e, ok := wire.ParseError(body)
		return fmt.Sprintf("E %v %s %s %q %q %q\n", ok, e.Severity, e.Code, e.Message, e.Detail, e.Hint)
	case 'R':
		if binary.BigEndian.Uint32(body) == 11 {
			return fmt.Sprintf("R 11 %q\n", serverFirst.ReplaceAll(body[4:], []byte("r=${1}…,s=…")))
		}
	}
	return fmt.Sprintf("%c %q\n", typ, body)
}

// rest reads frames to the end.
func (p *peer) rest() string {
	var b strings.Builder
	for {
		line, body := p.frame()
		b.WriteString(line)
		if body == nil && !strings.HasPrefix(line, "R") {
			return b.String()
		}
	}
}

func startup(version uint32, params ...string) []byte {
	var ps []wire.Param
	for i := 0; i+1 < len(params); i += 2 {
		ps = append(ps, wire.Param{Name: params[i], Value: params[i+1]})
	}
	return wire.AppendStartup(nil, version, ps)
}

func alice(extra ...string) []byte {
	return startup(wire.Version30, append([]string{"user", "alice", "database", "postgres"}, extra...)...)
}

func response(data string) []byte { return wire.AppendFrame(nil, 'p', []byte(data)) }

func initial(mechanism, data string) []byte {
	return wire.AppendSASLInitial(nil, mechanism, []byte(data))
}

const sslRequest, gssRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f", "\x00\x00\x00\x08\x04\xd2\x16\x30"

// conversations are held with a real server and with ours; what they return must be the same.
func conversations() map[string]func(*peer) string {
	all := map[string]func(*peer) string{
		"cancel": func(p *peer) string {
			p.send(wire.AppendCancelRequest(nil, 1<<30, []byte("none")))
			return p.rest()
		},
		"SSL, then login": func(p *peer) string {
			p.send([]byte(sslRequest))
			s := p.octet()
			p.send(alice())
			return s + p.rest()
		},
		"GSS, SSL, then login": func(p *peer) string {
			p.send([]byte(gssRequest))
			s := p.octet()
			p.send([]byte(sslRequest))
			s += p.octet()
			p.send(alice())
			return s + p.rest()
		},
		"SSL twice": func(p *peer) string {
			p.send([]byte(sslRequest))
			s := p.octet()
			p.send([]byte(sslRequest))
			return s + p.rest()
		},
		"SSL with a byte behind": func(p *peer) string {
			p.send([]byte(sslRequest), alice())
			return p.octet() + p.rest()
		},
		"SSL too long": func(p *peer) string { // PostgreSQL does not look at the length of this one
			p.send([]byte("\x00\x00\x00\x09\x04\xd2\x16\x2fx"))
			s := p.octet()
			if s != "N\n" {
				return s
			}
			p.send(alice())
			return s + p.rest()
		},
		"GSS with a byte behind": func(p *peer) string {
			p.send([]byte(gssRequest), alice())
			return p.octet() + p.rest()
		},
		"SSL, then cancel": func(p *peer) string {
			p.send([]byte(sslRequest))
			s := p.octet()
			p.send(wire.AppendCancelRequest(nil, 1<<30, []byte("none")))
			return s + p.rest()
		},
	}
	for name, packet := range startupPackets() {
		all["startup "+name] = func(p *peer) string { p.send(packet); return p.rest() }
	}
	for name, msg := range firstMessages() {
		all["first "+name] = func(p *peer) string { p.send(alice(), msg); return p.rest() }
	}
	for name, final := range finalMessages() {
		all["final "+name] = func(p *peer) string {
			p.send(alice(), initial("SCRAM-SHA-256", "n,,n=,r=abc"))
			s, _ := p.frame()
			line, body := p.frame()
			if len(body) < 4 {
				return s + line
			}
			nonce, _, _ := strings.Cut(strings.TrimPrefix(string(body[4:]), "r="), ",")
			p.send(response(final(nonce)))
			return s + line + p.rest()
		}
	}
	return all
}

func startupPackets() map[string][]byte {
	length := func(n uint32, rest string) []byte { return append(binary.BigEndian.AppendUint32(nil, n), rest...) }
	return map[string][]byte{
		"3.0":               alice(),
		"3.1":               startup(wire.Version30+1, "user", "alice"),
		"3.2":               startup(wire.Version32, "user", "alice"),
		"3.3":               startup(wire.Version32+1, "user", "alice"),
		"3.9999":            startup(3<<16|9999, "user", "alice"),
		"3.0 with options":  alice("_pq_.a", "b", "x", "y", "_pq_.zz", ""),
		"3.2 with options":  startup(wire.Version32, "user", "alice", "_pq_.a", "b"),
		"3.9999 and option": startup(3<<16|9999, "user", "alice", "_pq_.test_protocol_negotiation", ""),
		"1.0":               startup(1<<16, "user", "alice"),
		"2.0":               startup(2<<16, "user", "alice"),
		"4.0":               startup(4<<16, "user", "alice"),
		"1234.9":            length(8, "\x04\xd2\x00\x09"),
		"no user":           startup(wire.Version30, "database", "postgres"),
		"empty user":        startup(wire.Version30, "user", ""),
		"no parameters":     startup(wire.Version30),
		"no terminator":     length(12, "\x00\x03\x00\x00user"),
		"length 0":          length(0, "garbage"),
		"length 7":          length(7, "abc"),
		"length 10005":      length(10005, strings.Repeat("x", 200)),
		"longest":           startup(wire.Version30, "user", "alice", "x", strings.Repeat("y", 9978)),
		"length negative":   length(1<<31, "abc"),
		"GET":               []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"long names":        startup(wire.Version30, "user", strings.Repeat("u", 70), "database", strings.Repeat("d", 70)),
		"cancel too short":  length(8, "\x04\xd2\x16\x2e"),
		"replication maybe": alice("replication", "maybe"),
		"replication o":     alice("replication", "o"),
	}
}

func firstMessages() map[string][]byte {
	all := map[string][]byte{
		"of another type":   wire.AppendQuery(nil, "select 1"),
		"too long":          append([]byte("p\x00\x01\x00\x00"), "x"...),
		"with a bad length": []byte("p\x00\x00\x00\x03"),
		"bad mechanism":     initial("SCRAM-SHA-1", "n,,n=,r=abc"),
		"PLUS without TLS":  initial("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=abc"),
		"no data":           wire.AppendSASLInitial(nil, "SCRAM-SHA-256", nil),
		"no data, then it": append(wire.AppendSASLInitial(nil, "SCRAM-SHA-256", nil),
			response("n,,n=,r=abc")...),
	}
	for name, msg := range map[string]string{
		"plain": "n,,n=,r=abc", "y": "y,,n=,r=abc", "with a user": "n,,n=bob,r=abc", "with an extension": "n,,n=,r=abc,x=1",
		"binding without PLUS": "p=tls-server-end-point,,n=,r=abc", "identity": "n,a=bob,n=,r=abc", "m": "n,,m=1,n=,r=abc",
		"no nonce": "n,,n=", "empty nonce": "n,,n=,r=", "bad extension": "n,,n=,r=abc,1=1", "bad flag": "z,,n=,r=abc",
		"NUL": "n,,n=,r=a\x00bc", "nonce unprintable": "n,,n=,r=a\x01bc", "nonce not ASCII": "n,,n=,r=é", "n": "n", "nx": "nx",
		"n,x": "n,x,", "n,": "n,", "empty": "", "comma at the end": "n,,n=,r=abc,", "nn": "n,,nn,r=abc", "bare n": "n,,n",
		"flag not ASCII": "é,,n=,r=abc", "r before n": "n,,r=abc,n=",
	} {
		all[name] = initial("SCRAM-SHA-256", msg)
	}
	return all
}

func finalMessages() map[string]func(nonce string) string {
	proof := ",p=" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 32))
	return map[string]func(string) string{
		"wrong proof":       func(n string) string { return "c=biws,r=" + n + proof },
		"with extension":    func(n string) string { return "c=biws,r=" + n + ",y=1" + proof },
		"other binding":     func(n string) string { return "c=eSws,r=" + n + proof },
		"empty binding":     func(n string) string { return "c=,r=" + n + proof },
		"nonce short":       func(n string) string { return "c=biws,r=" + n[:len(n)-1] + proof },
		"nonce long":        func(n string) string { return "c=biws,r=" + n + "x" + proof },
		"nonce of client":   func(string) string { return "c=biws,r=abc" + proof },
		"nonce empty":       func(string) string { return "c=biws,r=" + proof },
		"no nonce":          func(string) string { return "c=biws" + proof },
		"no proof":          func(n string) string { return "c=biws,r=" + n },
		"proof short":       func(n string) string { return "c=biws,r=" + n + ",p=eHg=" },
		"proof long":        func(n string) string { return "c=biws,r=" + n + proof[:len(proof)-1] + strings.Repeat("A", 40) },
		"proof not base64":  func(n string) string { return "c=biws,r=" + n + ",p=####" },
		"proof empty":       func(n string) string { return "c=biws,r=" + n + ",p=" },
		"garbage behind":    func(n string) string { return "c=biws,r=" + n + proof + ",x=1" },
		"comma behind":      func(n string) string { return "c=biws,r=" + n + proof + "," },
		"too long":          func(n string) string { return "c=biws,r=" + n + ",x=" + strings.Repeat("y", 1000) + proof },
		"nearly too long":   func(n string) string { return "c=biws,r=" + n + ",x=" + strings.Repeat("y", 900) + proof },
		"empty":             func(string) string { return "" },
		"c":                 func(string) string { return "c" },
		"NUL":               func(n string) string { return "c=biws,r=" + n + "\x00" + proof },
		"attribute missing": func(n string) string { return "c=biws,r=" + n + ",," + proof },
	}
}

// TestConversationsAsPostgreSQL holds every conversation with PostgreSQL 18 and with a Server that knows the same user.
func TestConversationsAsPostgreSQL(t *testing.T) {
	pg := pgtest.New(t, pgtest.Options{Version: 18, Users: []pgtest.User{{Name: "alice", Password: "secret"}}})
	ours := listen(t, login.Config{Method: login.SCRAM, Lookup: users(t, map[string]string{"alice": "secret"})})
	var wg sync.WaitGroup
	for name, talk := range conversations() {
		wg.Go(func() { // t.Parallel would be too few at once: most of this is waiting
			t.Run(name, func(t *testing.T) {
				want, got := talk(dial(t, pg.Addr())), talk(dial(t, ours.addr))
				if got != want {
					t.Errorf("PostgreSQL:\n%s\nours:\n%s", want, got)
				}
			})
		})
	}
	wg.Wait()
}
