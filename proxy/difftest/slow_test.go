package difftest

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// TestReaderThatStops asks for much and reads nothing for a while: the others are served, memory stays bounded, and in the
// end everything has arrived.
func TestReaderThatStops(t *testing.T) {
	onEachServer(t, 2, func(t *testing.T, r *room, p *proxy) {
		a, b := r.join(t, p.addr, "A"), r.join(t, p.addr, "B")
		a.answers(t, "warm")
		b.answers(t, "warm")
		before := p.peakMemory(t)
		a.send(t, `Query "SELECT repeat('x', 1000) FROM generate_series(1, 60000)" | Query "SELECT 'behind it'"`)
		for range 100 {
			b.answers(t, "b")
		}
		got, err := a.read("ReadyForQuery | ReadyForQuery")
		want := `RowDescription repeat:25 | 60000x(DataRow "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx… 1000 bytes") | CommandComplete "SELECT 60000" | ReadyForQuery I | ` +
			`RowDescription ?column?:25 | DataRow "behind it" | CommandComplete "SELECT 1" | ReadyForQuery I`
		if err != nil || got != want {
			t.Errorf("A got %s %v", got, err)
		}
		p.grewAtMost(t, before, boundedMemory)
	})
}

// TestReaderThatStopsAndGoes leaves a large answer unread for ever: its server connection must come free.
func TestReaderThatStopsAndGoes(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		b := r.join(t, p.addr, "B")
		for i, end := range []func(*client){(*client).close, (*client).reset} {
			a := r.join(t, p.addr, "A")
			a.send(t, `Query "SELECT repeat('x', 1000) FROM generate_series(1, 100000)"`)
			if f, err := a.next(); err != nil || f.typ != 'T' {
				t.Fatalf("A got %s %v", describe(f), err)
			}
			b.send(t, `Query "SELECT 'b'"`)
			end(a)
			b.expect(t, `RowDescription ?column?:25 | DataRow b | CommandComplete "SELECT 1" | ReadyForQuery I`)
			b.answers(t, fmt.Sprint("round ", i))
		}
		r.nothingLeft(t, 1)
	})
}

// TestPipelineNobodyReads writes a thousand queries in one write before it reads the first answer.
func TestPipelineNobodyReads(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		a, b := r.join(t, p.addr, "A"), r.join(t, p.addr, "B")
		a.send(t, `1000x Query "SELECT {i}"`)
		b.send(t, `Query "SELECT 'b'"`)
		a.expect(t, `1000x(RowDescription ?column?:23 | DataRow | CommandComplete "SELECT 1" | ReadyForQuery I)`)
		b.expect(t, `RowDescription ?column?:25 | DataRow b | CommandComplete "SELECT 1" | ReadyForQuery I`)
		a.send(t, `1000x(Parse "" "SELECT $1::int" | Bind "" "" [{i}] | Execute "" | Sync)`)
		a.expect(t, `1000x(ParseComplete | BindComplete | DataRow | CommandComplete "SELECT 1" | ReadyForQuery I)`)
	})
}

// TestPipelineLargerThanAllBuffers writes a pipeline whose requests and answers fill every buffer on the way, and reads
// nothing until the writing stands still: then the reading must set it going again.
func TestPipelineLargerThanAllBuffers(t *testing.T) {
	onEachServer(t, 2, func(t *testing.T, r *room, p *proxy) {
		a, b := r.join(t, p.addr, "A"), r.join(t, p.addr, "B")
		const queries = 1000
		request, err := encodeLine(`Query "SELECT '{pad 30000}'"`)
		if err != nil {
			t.Fatal(err)
		}
		before := p.peakMemory(t)
		var written atomic.Int64
		done := make(chan error, 1)
		go func() { done <- writeCounted(a, bytes.Repeat(request, queries), &written) }()
		standsStill(&written)
		for range 50 {
			b.answers(t, "b")
		}
		a.expect(t, fmt.Sprintf(`%dx(RowDescription ?column?:25 | DataRow "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx… 30000 bytes" | `+
			`CommandComplete "SELECT 1" | ReadyForQuery I)`, queries))
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		a.answers(t, "after")
		p.grewAtMost(t, before, boundedMemory)
	})
}

// writeCounted writes b in pieces and counts them as they go.
func writeCounted(c *client, b []byte, written *atomic.Int64) error {
	for len(b) > 0 {
		n := min(len(b), 64<<10)
		if err := c.write(b[:n]); err != nil {
			return err
		}
		written.Add(int64(n))
		b = b[n:]
	}
	return nil
}

// standsStill returns when nothing has been written for a while.
func standsStill(written *atomic.Int64) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for last := int64(-1); last != written.Load(); {
		last = written.Load()
		<-tick.C
	}
}
