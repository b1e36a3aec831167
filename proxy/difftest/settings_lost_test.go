package difftest

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// TestConnectionEndsWhileSettingsAreApplied: what ends then has seen nothing of the client's, so another connection
// serves it. One that always ends is not tried for ever.
func TestConnectionEndsWhileSettingsAreApplied(t *testing.T) {
	for _, test := range []struct {
		name         string
		first, times int32 // which of the settings statements end their connection, counted from 1
		login        bool  // the login outlives them
		served       bool  // and a statement does
	}{
		{"never", 1, 0, true, true},
		{"at login", 1, 1, true, true},
		{"at login, three times", 1, 3, true, true},
		{"at login, always", 1, 100, false, false},
		{"before a statement", 3, 1, true, true},
		{"before a statement, three times", 3, 3, true, true},
		{"before a statement, always", 3, 100, true, false},
	} {
		for _, word := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, with a word %v", test.name, word), func(t *testing.T) {
				t.Parallel()
				var applied atomic.Int32
				f := startFakeServer(t, func(s *fakeSession) {
					for {
						text := s.hearQuery("SELECT")
						if !strings.Contains(text, "set_config") {
							s.honest(text)
							continue
						}
						if n := applied.Add(1); n >= test.first && n < test.first+test.times {
							if word {
								s.tell(&pgproto3.ErrorResponse{
									Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P01",
									Message: "terminating connection due to administrator command",
								})
							}
							return
						}
						s.honest(text)
					}
				})
				p := startProxy(t, f.dsn(), 1)
				frames, a := f.joinWith(t, p, setting{"application_name", "A"})
				if !test.login {
					if got := foldFrames(frames); got != "AuthenticationOk | ErrorResponse FATAL 08006 | End" {
						t.Errorf("A was told %s", got)
					}
					return
				}
				b := f.join(t, p, "B") // has no settings: A's are taken from the connection
				b.isServed(t, "b")
				a.send(t, `Query "SELECT a"`)
				if test.served {
					a.expect(t, `RowDescription v:25 | DataRow "SELECT a" | CommandComplete "SELECT 1" | ReadyForQuery I`)
				} else {
					frames, err := a.until('Z', 1)
					if err != nil || len(frames) != 2 || reportOf(frames[0].body)['C'] != "08006" {
						t.Errorf("A was told %s %v", foldFrames(frames), err)
					}
				}
				b.isServed(t, "b again")
				if n := f.howOften("SELECT a"); (n == 1) != test.served {
					t.Errorf("the statement was sent %d times", n)
				}
			})
		}
	}
}

// joinWith logs in with a setting and returns what the login was answered.
func (f *fakeServer) joinWith(t testing.TB, p *proxy, s setting) ([]frame, *client) {
	t.Helper()
	c, err := dial(s.value, p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	c.wait = 2 * patience
	if err := c.login(f.account(), protocol30, s); err != nil {
		t.Fatal(err)
	}
	frames, err := c.until('Z', 1)
	if err != nil {
		t.Fatalf("login: %s %v", foldFrames(frames), err)
	}
	return frames, c
}
