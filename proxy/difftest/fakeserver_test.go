package difftest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// fakeServer listens where the proxy looks for PostgreSQL and says what its script tells it to, byte by byte.
type fakeServer struct {
	addr     string
	listener net.Listener
	script   func(*fakeSession)
	sessions sync.WaitGroup
	ended    chan struct{} // closed when the test is over

	mu       sync.Mutex
	open     []net.Conn
	heard    []string // the text of every Query and Parse, over all sessions
	logins   int
	cancels  int
	notYet   []byte        // what a session says in place of its greeting, if not nil
	hold     chan struct{} // if not nil: greetings wait for its end
	keyless  bool          // greetings lack BackendKeyData
	finished bool
}

// fakeSession is one connection to a fakeServer behind its login. Its methods end the session by panic(endOfSession{}).
type fakeSession struct {
	server *fakeServer
	number int // counts the logins from 1
	conn   net.Conn
}

type endOfSession struct{}

// startFakeServer serves every connection with the script, until the test ends.
func startFakeServer(t testing.TB, script func(*fakeSession)) *fakeServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeServer{addr: l.Addr().String(), listener: l, script: script, ended: make(chan struct{})}
	f.sessions.Go(f.accept)
	t.Cleanup(f.stop)
	return f
}

func (f *fakeServer) dsn() string {
	return "postgres://app:secret@" + f.addr + "/fake?sslmode=disable&connect_timeout=2"
}

func (f *fakeServer) account() account { return account{"app", "secret", "fake"} }

func (f *fakeServer) accept() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.open = append(f.open, conn)
		if f.finished {
			_ = conn.Close()
		}
		f.mu.Unlock()
		f.sessions.Go(func() { f.serve(conn) })
	}
}

func (f *fakeServer) stop() {
	_ = f.listener.Close()
	close(f.ended)
	f.mu.Lock()
	f.finished = true
	for _, conn := range f.open {
		_ = conn.Close()
	}
	f.mu.Unlock()
	f.sessions.Wait()
}

// serve greets a client and plays the script.
func (f *fakeServer) serve(conn net.Conn) {
	s := &fakeSession{server: f, conn: conn}
	defer func() {
		_ = conn.Close()
		if r := recover(); r != nil {
			if _, ended := r.(endOfSession); !ended {
				panic(r)
			}
		}
	}()
	var size [4]byte
	for {
		s.must(io.ReadFull(conn, size[:]))
		packet := make([]byte, binary.BigEndian.Uint32(size[:])-4)
		s.must(io.ReadFull(conn, packet))
		switch binary.BigEndian.Uint32(packet) {
		case sslRequest, gssRequest:
			s.say([]byte("N"))
			continue
		case 1234<<16 | 5678:
			f.mu.Lock()
			f.cancels++
			f.mu.Unlock()
			return
		}
		break
	}
	f.mu.Lock()
	f.logins++
	s.number = f.logins
	greeting, hold := f.notYet, f.hold
	f.mu.Unlock()
	if hold != nil {
		s.waitFor(hold)
	}
	if greeting != nil {
		s.say(greeting)
		return
	}
	s.greet()
	f.script(s)
}

func (s *fakeSession) must(_ int, err error) {
	if err != nil {
		panic(endOfSession{})
	}
}

// waitFor stops the script until the test closes ch, or is over.
func (s *fakeSession) waitFor(ch <-chan struct{}) {
	select {
	case <-ch:
	case <-s.server.ended:
		panic(endOfSession{})
	}
}

// say writes bytes as they are.
func (s *fakeSession) say(b []byte) { s.must(s.conn.Write(b)) }

// tell writes messages.
func (s *fakeSession) tell(messages ...pgproto3.BackendMessage) { s.say(told(messages...)) }

func told(messages ...pgproto3.BackendMessage) []byte {
	var out []byte
	for _, m := range messages {
		out, _ = m.Encode(out)
	}
	return out
}

// greet is the answer to a login that asks for no password.
func (s *fakeSession) greet() {
	messages := []pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}}
	for _, p := range []setting{
		{"server_version", "18.0"},
		{"server_encoding", "UTF8"},
		{"client_encoding", "UTF8"},
		{"DateStyle", "ISO, MDY"},
		{"TimeZone", "UTC"},
		{"integer_datetimes", "on"},
		{"standard_conforming_strings", "on"},
		{"application_name", ""},
		{"IntervalStyle", "postgres"},
		{"is_superuser", "off"},
		{"session_authorization", "app"},
		{"search_path", `"$user", public`},
		{"default_transaction_read_only", "off"},
		{"in_hot_standby", "off"},
		{"scram_iterations", "4096"},
	} {
		messages = append(messages, &pgproto3.ParameterStatus{Name: p.name, Value: p.value})
	}
	if !s.server.keyless {
		messages = append(messages, &pgproto3.BackendKeyData{ProcessID: uint32(1000 + s.number), SecretKey: []byte{1, 2, 3, 4}})
	}
	s.tell(append(messages, &pgproto3.ReadyForQuery{TxStatus: 'I'})...)
}

// hear reads one message.
func (s *fakeSession) hear() frame {
	var header [5]byte
	s.must(io.ReadFull(s.conn, header[:]))
	body := make([]byte, binary.BigEndian.Uint32(header[1:])-4)
	s.must(io.ReadFull(s.conn, body))
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	switch header[0] {
	case 'Q':
		s.server.heard = append(s.server.heard, string(body[:len(body)-1]))
	case 'X':
		panic(endOfSession{})
	}
	return frame{header[0], body}
}

// hearQuery reads up to a Query that the test made, answering the proxy's own housekeeping on the way.
func (s *fakeSession) hearQuery(prefix string) string {
	for {
		f := s.hear()
		switch f.typ {
		case 'Q':
			text := string(f.body[:len(f.body)-1])
			if len(text) >= len(prefix) && text[:len(prefix)] == prefix {
				return text
			}
			if text == "" {
				s.tell(&pgproto3.EmptyQueryResponse{}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
			} else {
				s.done("OK", 'I')
			}
		case 'S':
			s.tell(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		}
	}
}

// done ends the answer to a Query.
func (s *fakeSession) done(tag string, status byte) {
	s.tell(&pgproto3.CommandComplete{CommandTag: []byte(tag)}, &pgproto3.ReadyForQuery{TxStatus: status})
}

// row is the answer to a query with one text column, without its end.
func row(values ...string) []pgproto3.BackendMessage {
	out := []pgproto3.BackendMessage{&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{
		{Name: []byte("v"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1},
	}}}
	for _, v := range values {
		out = append(out, &pgproto3.DataRow{Values: [][]byte{[]byte(v)}})
	}
	return out
}

// serveHonestly answers every further query with its own text, as a server would.
func (s *fakeSession) serveHonestly() {
	for {
		s.honest(s.hearQuery("SELECT"))
	}
}

func (s *fakeSession) honest(text string) {
	s.tell(append(row(text), &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})...)
}

// howOften counts how often a query was heard.
func (f *fakeServer) howOften(text string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, heard := range f.heard {
		if heard == text {
			n++
		}
	}
	return n
}

// await waits until a query is heard.
func (f *fakeServer) await(t *testing.T, text string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); f.howOften(text) == 0; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s never came to the server", text)
		}
	}
}

// join logs a client in to a proxy in front of f.
func (f *fakeServer) join(t testing.TB, p *proxy, name string) *client {
	t.Helper()
	c, err := dial(name, p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	c.wait = 2 * patience
	if err := c.login(f.account(), protocol30); err != nil {
		t.Fatal(err)
	}
	frames, err := c.until('Z', 1)
	if err != nil || frames[len(frames)-1].typ != 'Z' {
		t.Fatalf("login of %s: %s %v", name, foldFrames(frames), err)
	}
	return c
}

// isServed fails unless the client gets an honest answer.
func (c *client) isServed(t testing.TB, text string) {
	t.Helper()
	c.send(t, fmt.Sprintf("Query %q", "SELECT "+text))
	c.expect(t, fmt.Sprintf(`RowDescription v:25 | DataRow "SELECT %s" | CommandComplete "SELECT 1" | ReadyForQuery I`, text))
}
