package difftest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// toldOf are the SQLSTATEs of a client whose server dies or lies in the middle of its statement.
var toldOf = append([]string{"08P01", "XX000", "58030"}, serverLost...)

// lies are what a server says to a statement. With each the client must come to an end it can understand, and the next
// client must get an honest answer, from another connection if need be.
var lies = []struct {
	name string
	lie  func(s *fakeSession)
}{
	{"dies before it answers", func(*fakeSession) {}},
	{"dies in the middle of a header", func(s *fakeSession) { s.say([]byte{'T', 0, 0}) }},
	{"dies in the middle of a row", func(s *fakeSession) {
		b := told(row("one", "two", "three")...)
		s.say(b[:len(b)-5])
	}},
	{"dies after the rows", func(s *fakeSession) { s.tell(row("one", "two")...) }},
	{"dies before ReadyForQuery", func(s *fakeSession) {
		s.tell(append(row("one"), &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})...)
	}},
	{"dies in the middle of ReadyForQuery", func(s *fakeSession) {
		b := told(append(row("one"), &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})...)
		s.say(b[:len(b)-1])
	}},
	{"dies with a FATAL", func(s *fakeSession) {
		s.tell(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P02", Message: "crash of another process"})
	}},
	{"says a length of 3", func(s *fakeSession) { s.say([]byte{'D', 0, 0, 0, 3}); s.serveHonestly() }},
	{"says a length below zero", func(s *fakeSession) { s.say([]byte{'D', 0xff, 0xff, 0xff, 0xff}); s.serveHonestly() }},
	{"says a length above all limits", func(s *fakeSession) { s.say([]byte{'T', 0x7f, 0xff, 0xff, 0xff}); s.serveHonestly() }},
	{"announces a gigabyte and dies", func(s *fakeSession) { s.tell(row()...); s.say([]byte{'D', 0x3f, 0xff, 0xff, 0xff, 0, 1}) }},
	{"announces a large ReadyForQuery", func(s *fakeSession) { s.say([]byte{'Z', 0x3f, 0xff, 0xff, 0xff, 'I'}); s.serveHonestly() }},
	{"says a status that does not exist", func(s *fakeSession) {
		s.tell(append(row("one"), &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})...)
		s.say([]byte{'Z', 0, 0, 0, 5, 'X'})
		s.serveHonestly()
	}},
	{"says a ReadyForQuery without status", func(s *fakeSession) { s.say([]byte{'Z', 0, 0, 0, 4}); s.serveHonestly() }},
	{"speaks another protocol", func(s *fakeSession) { s.say([]byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")) }},
	{"asks for a password", func(s *fakeSession) { s.tell(&pgproto3.AuthenticationCleartextPassword{}); s.serveHonestly() }},
}

func TestServerThatDiesOrLies(t *testing.T) {
	for _, test := range lies {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := startFakeServer(t, func(s *fakeSession) {
				if s.number > 1 {
					s.serveHonestly()
				}
				s.honest(s.hearQuery("SELECT"))
				s.hearQuery("LIE")
				test.lie(s)
			})
			p := startProxy(t, f.dsn(), 1)
			a, b := f.join(t, p, "A"), f.join(t, p, "B")
			b.isServed(t, "before")
			before := p.peakMemory(t)
			a.send(t, `Query "LIE"`)
			f.await(t, "LIE") // the order of two clients is nobody's promise
			b.send(t, `Query "SELECT meanwhile"`)
			a.endsUnderstandably(t)
			b.expect(t, `RowDescription v:25 | DataRow "SELECT meanwhile" | CommandComplete "SELECT 1" | ReadyForQuery I`)
			f.join(t, p, "C").isServed(t, "after")
			if n := f.howOften("LIE"); n != 1 {
				t.Errorf("the statement was sent %d times", n)
			}
			p.grewAtMost(t, before, boundedMemory)
		})
	}
}

// endsUnderstandably reads to the end of the connection or of the answer: a client may lose the connection, with or without
// a word, or hear an error; it may not wait for ever.
func (c *client) endsUnderstandably(t *testing.T) {
	t.Helper()
	var frames []frame
	for {
		f, err := c.next()
		if err != nil && strings.Contains(err.Error(), "nothing more came") {
			t.Fatalf("%s is left without an end: %v after %s", c.name, err, foldFrames(frames))
		}
		if err != nil {
			return // bytes that are no message: the lie went through, and the connection is of no more use
		}
		frames = append(frames, f)
		if f.typ == 'E' {
			if code := reportOf(f.body)['C']; !slices.Contains(toldOf, code) {
				t.Errorf("%s was told %s", c.name, explain(f))
			}
		}
		if f.typ == 'Z' || f.typ == endOfStream {
			return
		}
	}
}

// TestWritesAreNotRepeated: a connection that is lost behind a COMMIT or a write leaves its outcome unknown, and it is
// neither repeated nor called a success.
func TestWritesAreNotRepeated(t *testing.T) {
	for _, statement := range []string{"COMMIT", "INSERT INTO t VALUES (1)", "SELECT write()", "CREATE TABLE t (n int)"} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			f := startFakeServer(t, func(s *fakeSession) {
				if s.number > 1 {
					s.serveHonestly()
				}
				if statement == "COMMIT" {
					s.hearQuery("BEGIN")
					s.done("BEGIN", 'T')
				}
				s.hearQuery(statement)
			})
			p := startProxy(t, f.dsn(), 1)
			a := f.join(t, p, "A")
			if statement == "COMMIT" {
				a.send(t, `Query "BEGIN"`)
				a.expect(t, "CommandComplete BEGIN | ReadyForQuery T")
			}
			a.send(t, fmt.Sprintf("Query %q", statement))
			frames, err := a.rest()
			if err != nil || len(frames) != 2 || !slices.Contains([]string{"08006", "08007", "40003"}, reportOf(frames[0].body)['C']) {
				t.Errorf("A got %s %v", foldFrames(frames), err)
			}
			f.join(t, p, "B").isServed(t, "after")
			if n := f.howOften(statement); n != 1 {
				t.Errorf("%s was sent %d times", statement, n)
			}
		})
	}
}
