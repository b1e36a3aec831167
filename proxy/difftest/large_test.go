package difftest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	megabyte = 1 << 20
	// largeClients send and receive messages of largeSize at the same time: held whole, they would need 100 MB.
	largeClients = 5
	largeSize    = 20 * megabyte
	// boundedMemory is what they may need: buffers of all sessions and the heap's slack.
	boundedMemory = 40 * megabyte
)

// TestLargeMessagesInBoundedMemory sends query texts, parameters and rows of 20 MB through the proxy, several at a time.
func TestLargeMessagesInBoundedMemory(t *testing.T) {
	text := strings.Repeat("x", largeSize)
	sizes := `RowDescription length:23 | DataRow 20971520 | CommandComplete "SELECT 1" | ReadyForQuery I`
	cases := []struct {
		name, want string
		message    []byte
	}{
		{"query text", sizes, encoded(&pgproto3.Query{String: "SELECT length('" + text + "')"})},
		{
			"parameter", `ParseComplete | BindComplete | DataRow 20971520 | CommandComplete "SELECT 1" | ReadyForQuery I`,
			encoded(&pgproto3.Parse{Query: "SELECT length($1::text)"}, &pgproto3.Bind{Parameters: [][]byte{[]byte(text)}},
				&pgproto3.Execute{}, &pgproto3.Sync{}),
		},
		{
			"row", `RowDescription repeat:25 | DataRow "` + text[:30] + `… 20971520 bytes" | CommandComplete "SELECT 1" | ReadyForQuery I`,
			encoded(&pgproto3.Query{String: "SELECT repeat('x', 20971520)"}),
		},
	}
	onEachServer(t, 2, func(t *testing.T, r *room, p *proxy) {
		var clients []*client
		for i := range largeClients {
			c := r.join(t, p.addr, fmt.Sprint("client ", i))
			c.answers(t, "warm")
			clients = append(clients, c)
		}
		before := p.peakMemory(t)
		for _, test := range cases {
			if err := allAsk(clients, test.message, test.want); err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
		}
		p.grewAtMost(t, before, boundedMemory)
	})
}

// encoded is what a client sends for the messages.
func encoded(messages ...pgproto3.FrontendMessage) []byte {
	var out []byte
	for _, m := range messages {
		out, _ = m.Encode(out)
	}
	return out
}

// allAsk lets all clients send the same at once, and compares what each of them gets.
func allAsk(clients []*client, message []byte, want string) error {
	errs := make([]error, len(clients))
	var all sync.WaitGroup
	for i, c := range clients {
		c.wait = 5 * patience // the others come first
		all.Go(func() {
			if errs[i] = c.write(message); errs[i] != nil {
				return
			}
			frames, err := c.until('Z', 1)
			// Who waits long for a server connection may be told so.
			frames = slices.DeleteFunc(frames, func(f frame) bool { return f.typ == 'N' })
			if got := foldFrames(frames); err == nil && got != want {
				err = fmt.Errorf("came %s", got)
			}
			errs[i] = err
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// TestLargeResultInBoundedMemory reads 100 MB of rows through the proxy while another client works.
func TestLargeResultInBoundedMemory(t *testing.T) {
	onEachServer(t, 2, func(t *testing.T, r *room, p *proxy) {
		a, b := r.join(t, p.addr, "A"), r.join(t, p.addr, "B")
		a.answers(t, "warm")
		b.answers(t, "warm")
		before := p.peakMemory(t)
		a.send(t, `Query "SELECT n, repeat('x', 1000) FROM generate_series(1, 100000) n"`)
		rows := 0
		for {
			f, err := a.next()
			if err != nil {
				t.Fatalf("after %d rows: %v", rows, err)
			}
			if f.typ == 'D' {
				if rows++; rows%20000 == 0 {
					b.answers(t, "meanwhile")
				}
			}
			if f.typ == 'Z' {
				break
			}
		}
		if rows != 100000 {
			t.Errorf("%d rows came", rows)
		}
		a.answers(t, "after")
		p.grewAtMost(t, before, boundedMemory)
	})
}
