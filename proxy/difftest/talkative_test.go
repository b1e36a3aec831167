package difftest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// extras are what a server says without being asked, behind a whole answer. Where the connection is no longer in step, or
// not proven clean, it must not serve the next client.
var extras = []struct {
	name     string
	messages []pgproto3.BackendMessage
	reusable bool   // a connection that said this may, and should, be used again
	mayReach string // types of message that may be forwarded
}{
	{"a second ReadyForQuery", []pgproto3.BackendMessage{&pgproto3.ReadyForQuery{TxStatus: 'I'}}, false, ""},
	{"a second answer", append(row("stray"), &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'}), false, ""},
	{"a row", []pgproto3.BackendMessage{&pgproto3.DataRow{Values: [][]byte{[]byte("stray")}}}, false, ""},
	{"an error", []pgproto3.BackendMessage{&pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "XX000", Message: "stray"}}, false, ""},
	{"the notification of a LISTEN", []pgproto3.BackendMessage{&pgproto3.NotificationResponse{PID: 7, Channel: "stray", Payload: "stray"}}, false, ""},
	{"a FATAL", []pgproto3.BackendMessage{&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P01", Message: "stray"}}, false, ""},
	{"a notice", []pgproto3.BackendMessage{&pgproto3.NoticeResponse{Severity: "NOTICE", SeverityUnlocalized: "NOTICE", Code: "00000", Message: "stray"}}, true, "SN"},
	{"a report", []pgproto3.BackendMessage{&pgproto3.ParameterStatus{Name: "TimeZone", Value: "Asia/Tokyo"}}, true, "SN"},
}

// TestServerThatSaysMore: with its answer, and later, when its connection is idle.
func TestServerThatSaysMore(t *testing.T) {
	for _, extra := range extras {
		for _, later := range []bool{false, true} {
			name := extra.name + " at once"
			if later {
				name = extra.name + " later"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				goOn, said := make(chan struct{}), make(chan struct{})
				f := startFakeServer(t, func(s *fakeSession) {
					if s.number > 1 {
						s.serveHonestly()
					}
					first := told(append(row(s.hearQuery("SELECT")), &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})...)
					if later {
						s.say(first)
						s.waitFor(goOn)
						first = nil
					}
					s.say(append(first, told(extra.messages...)...))
					close(said)
					s.serveHonestly()
				})
				p := startProxy(t, f.dsn(), 1)
				a, b := f.join(t, p, "A"), f.join(t, p, "B")
				a.isServed(t, "first")
				close(goOn)
				select {
				case <-said:
				case <-time.After(patience):
					t.Fatal("the server could not say it")
				}
				for i := range 3 {
					b.quietly(t, fmt.Sprint("b", i), extra.mayReach)
					a.quietly(t, fmt.Sprint("a", i), extra.mayReach+"A") // a function may have said LISTEN for it
				}
				f.mu.Lock()
				logins := f.logins
				f.mu.Unlock()
				if extra.reusable && logins != 1 {
					t.Errorf("the connection was given up for it: %d logins", logins)
				}
				if !extra.reusable && logins < 2 {
					t.Error("the connection was used again")
				}
			})
		}
	}
}

// quietly asks and must be answered, with nothing stray in it but the types of message that may reach a client.
func (c *client) quietly(t *testing.T, text, mayReach string) {
	t.Helper()
	c.send(t, fmt.Sprintf("Query %q", "SELECT "+text))
	frames, err := c.until('Z', 1)
	frames = slices.DeleteFunc(frames, func(f frame) bool { return f.typ != endOfStream && strings.IndexByte(mayReach, f.typ) >= 0 })
	want := fmt.Sprintf(`RowDescription v:25 | DataRow "SELECT %s" | CommandComplete "SELECT 1" | ReadyForQuery I`, text)
	if got := foldFrames(frames); err != nil || got != want {
		t.Fatalf("%s got %s %v", c.name, got, err)
	}
}

// TestServerThatGreetsBadly: the login to the server fails in many ways, and each time the client hears of it in time.
func TestServerThatGreetsBadly(t *testing.T) {
	greetings := map[string][]byte{
		"nothing and the end":    {},
		"another protocol":       []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"too many connections":   told(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "53300", Message: "sorry, too many clients already"}),
		"starting up":            told(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P03", Message: "the database system is starting up"}),
		"half a greeting":        told(&pgproto3.AuthenticationOk{}, &pgproto3.ParameterStatus{Name: "server_version", Value: "18.0"}),
		"a length of a gigabyte": append(told(&pgproto3.AuthenticationOk{}), 'S', 0x3f, 0xff, 0xff, 0xff),
	}
	codes := append([]string{"53300"}, toldOf...)
	for name, greeting := range greetings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFakeServer(t, func(s *fakeSession) { s.serveHonestly() })
			f.notYet = greeting
			p := startProxy(t, f.dsn(), 1)
			before := p.peakMemory(t)
			refusedWith(t, f.account(), p, codes)
			f.mu.Lock()
			f.notYet = nil
			f.mu.Unlock()
			c := joinAgain(t, f.account(), p, "SELECT 'b'")
			c.isServed(t, "after")
			p.grewAtMost(t, before, boundedMemory)
		})
	}
}

// TestServerThatIsSilent accepts connections and says nothing; the DSN allows two seconds for the login.
func TestServerThatIsSilent(t *testing.T) {
	quiet := make(chan struct{})
	f := startFakeServer(t, func(s *fakeSession) { s.serveHonestly() })
	f.hold = quiet
	p := startProxy(t, f.dsn(), 1)
	refusedWith(t, f.account(), p, toldOf)
	close(quiet)
	joinAgain(t, f.account(), p, "SELECT 'b'").isServed(t, "after")
}

// TestServerWithoutCancelKey never sends BackendKeyData, as some proxies do.
func TestServerWithoutCancelKey(t *testing.T) {
	f := startFakeServer(t, func(s *fakeSession) { s.serveHonestly() })
	f.keyless = true
	p := startProxy(t, f.dsn(), 1)
	a := f.join(t, p, "A")
	a.isServed(t, "first")
	if a.secret != nil {
		if err := a.cancel(p.addr); err != nil {
			t.Error(err)
		}
	}
	a.isServed(t, "second")
}

// TestServerThatDribbles sends its answers a byte at a time.
func TestServerThatDribbles(t *testing.T) {
	f := startFakeServer(t, func(s *fakeSession) {
		for {
			text := s.hearQuery("SELECT")
			for _, b := range told(append(row(text), &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})...) {
				s.say([]byte{b})
			}
		}
	})
	p := startProxy(t, f.dsn(), 1)
	a, b := f.join(t, p, "A"), f.join(t, p, "B")
	for i := range 5 {
		a.isServed(t, fmt.Sprint("a", i))
		b.isServed(t, fmt.Sprint("b", i))
	}
}

// TestServerThatStopsReading: a large query jams, memory stays bounded, and when its client gives up the next one is served.
func TestServerThatStopsReading(t *testing.T) {
	jam := make(chan struct{}) // never closed: only the end of the test ends it
	f := startFakeServer(t, func(s *fakeSession) {
		if s.number == 1 {
			s.honest(s.hearQuery("SELECT"))
			s.waitFor(jam)
			return
		}
		s.serveHonestly()
	})
	p := startProxy(t, f.dsn(), 1)
	a, b := f.join(t, p, "A"), f.join(t, p, "B")
	a.isServed(t, "first")
	before := p.peakMemory(t)
	large := encoded(&pgproto3.Query{String: "SELECT " + strings.Repeat("x", 3*largeSize)})
	begun := 8 << 20 // enough that the proxy has taken a server connection for it, or the jam is complete
	_ = a.conn.SetWriteDeadline(time.Now().Add(3 * time.Second))
	_, err := a.conn.Write(large[:begun])
	_ = a.conn.SetWriteDeadline(time.Time{})
	done := make(chan error, 1)
	go func() {
		if err == nil {
			err = a.write(large[begun:])
		}
		done <- err
	}()
	b.send(t, `Query "SELECT b"`)
	a.reset()
	if err := <-done; err == nil {
		t.Log("the whole query fitted into buffers")
	}
	b.expect(t, `RowDescription v:25 | DataRow "SELECT b" | CommandComplete "SELECT 1" | ReadyForQuery I`)
	p.grewAtMost(t, before, boundedMemory)
}

// TestCopyBoth: a server that answers with CopyBothResponse keeps its client until both sides are done.
func TestCopyBoth(t *testing.T) {
	f := startFakeServer(t, func(s *fakeSession) {
		if s.number > 1 {
			s.serveHonestly()
		}
		s.hearQuery("START")
		s.tell(&pgproto3.CopyBothResponse{}, &pgproto3.CopyData{Data: []byte("from the server")})
		if f := s.hear(); f.typ != 'd' || string(f.body) != "from the client" {
			panic(fmt.Sprintf("the server heard %q %q", f.typ, f.body))
		}
		s.tell(&pgproto3.CopyData{Data: []byte("more")})
		if f := s.hear(); f.typ != 'c' {
			panic(fmt.Sprintf("the server heard %q", f.typ))
		}
		s.tell(&pgproto3.CopyDone{})
		s.done("START", 'I')
		s.serveHonestly()
	})
	p := startProxy(t, f.dsn(), 1)
	a, b := f.join(t, p, "A"), f.join(t, p, "B")
	a.send(t, `Query "START"`)
	a.expect(t, `CopyBothResponse | CopyData "from the server"`)
	b.send(t, `Query "SELECT b"`)
	a.send(t, `CopyData "from the client"`)
	a.expect(t, "CopyData more")
	if some, err := b.pending(); some || err != nil {
		t.Fatalf("B was answered in the middle of it (%v)", err)
	}
	a.send(t, "CopyDone")
	a.expect(t, "CopyDone | CommandComplete START | ReadyForQuery I")
	a.leave(t)
	b.expect(t, `RowDescription v:25 | DataRow "SELECT b" | CommandComplete "SELECT 1" | ReadyForQuery I`)
}
