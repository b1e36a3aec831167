package difftest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	canceled = `RowDescription pg_sleep:2278 ?column?:25 | ErrorResponse 57014 | ReadyForQuery I`
	slept    = `RowDescription pg_sleep:2278 ?column?:25 | DataRow "" %s | CommandComplete "SELECT 1" | ReadyForQuery I`
)

// TestCancelNeverHitsTheOther races a cancel of one client against the end of its statement, with the other client's
// statement right behind it on the same server connection.
func TestCancelNeverHitsTheOther(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		a, b := r.join(t, p.addr, "A"), r.join(t, p.addr, "B")
		random := rand.New(rand.NewPCG(1, uint64(r.version)))
		hits := 0
		for i := range 400 {
			delay := time.Duration(random.IntN(3000)) * time.Microsecond
			a.send(t, `Query "SELECT pg_sleep(0.001), 'a'"`)
			b.send(t, `Query "SELECT pg_sleep(0.002), 'b'"`)
			done := make(chan error, 1)
			go func() {
				<-time.After(delay)
				done <- a.cancel(p.addr)
			}()
			got, err := a.read("ReadyForQuery")
			if err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
			if strings.Contains(got, "57014") {
				hits++
			} else if got != fmt.Sprintf(slept, "a") {
				t.Fatalf("round %d: A got %s", i, got)
			}
			b.expect(t, fmt.Sprintf(slept, "b"))
			if err := <-done; err != nil {
				t.Fatalf("round %d: cancel: %v", i, err)
			}
		}
		t.Logf("%d of 400 cancels hit their own statement", hits)
		if hits == 0 {
			t.Error("no cancel hit anything: the race was not run")
		}
	})
}

// TestCancelStorm cancels idle clients as fast as it can while another one works.
func TestCancelStorm(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		var idle []*client
		for i := range 10 {
			c := r.join(t, p.addr, fmt.Sprintf("idle %d", i))
			c.answers(t, "mine")
			idle = append(idle, c)
		}
		b := r.join(t, p.addr, "B")
		stop := make(chan struct{})
		var storm sync.WaitGroup
		for _, c := range idle {
			storm.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_ = c.cancel(p.addr) // a cancel may be refused; it may not hit
					}
				}
			})
		}
		for i := range 150 {
			b.send(t, `Query "SELECT pg_sleep(0.001), 'b'" | Parse "" "SELECT pg_sleep(0.0005), 'b'" | Bind "" "" [] | Execute "" | Sync`)
			got, err := b.read("ReadyForQuery | ReadyForQuery")
			if err != nil || strings.Contains(got, "Error") {
				t.Errorf("round %d: B got %s %v", i, got, err)
				break
			}
		}
		close(stop)
		storm.Wait()
		for _, c := range idle {
			c.answers(t, "still mine")
		}
	})
}

// cancelUntilAnswered repeats a cancel, because nobody can see when a request has been queued.
func cancelUntilAnswered(t *testing.T, c *client, addr string) {
	t.Helper()
	err := pollUntil(t.Context(), func() (bool, error) {
		if err := c.cancel(addr); err != nil {
			return false, err
		}
		return c.pending()
	})
	if err != nil {
		t.Fatalf("cancelling queued %s: %v", c.name, err)
	}
}

// TestCancelOfAQueuedClient takes a waiting request out of the queue, and neither the holder nor the rest of the pipeline.
func TestCancelOfAQueuedClient(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		a, b := r.join(t, p.addr, "A"), r.join(t, p.addr, "B")
		a.send(t, `Query "BEGIN"`)
		a.expect(t, "CommandComplete BEGIN | ReadyForQuery T")

		b.send(t, `Query "SELECT 'never'"`)
		cancelUntilAnswered(t, b, p.addr)
		b.expect(t, "ErrorResponse 57014 | ReadyForQuery I")

		b.send(t, `Parse s "SELECT 'never'" | Bind "" s [] | Execute "" | Sync`)
		cancelUntilAnswered(t, b, p.addr)
		b.expect(t, "ErrorResponse 57014 | ReadyForQuery I")

		a.send(t, `Query "SELECT 'a'" | Query "COMMIT"`)
		a.expect(t, `RowDescription ?column?:25 | DataRow a | CommandComplete "SELECT 1" | ReadyForQuery T | CommandComplete COMMIT | ReadyForQuery I`)
		b.answers(t, "b")
		b.send(t, `Bind "" s [] | Sync`)
		b.expect(t, "ErrorResponse 26000 | ReadyForQuery I")
		a.answers(t, "a")
		a.leave(t)
		b.leave(t)
	})
}

// TestCancelOfAQueuedPipeline: one cancel ends one request, those behind it are answered.
func TestCancelOfAQueuedPipeline(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		a, b := r.join(t, p.addr, "A"), r.join(t, p.addr, "B")
		a.send(t, `Query "BEGIN"`)
		a.expect(t, "CommandComplete BEGIN | ReadyForQuery T")
		b.send(t, `Query "SELECT 'never'" | Query "SELECT 'second'"`)
		cancelUntilAnswered(t, b, p.addr)
		b.expect(t, "ErrorResponse 57014 | ReadyForQuery I")
		a.send(t, `Query "COMMIT"`)
		a.expect(t, "CommandComplete COMMIT | ReadyForQuery I")
		got, err := b.read("ReadyForQuery")
		second := `RowDescription ?column?:25 | DataRow second | CommandComplete "SELECT 1" | ReadyForQuery I`
		if err != nil || got != second && got != "ErrorResponse 57014 | ReadyForQuery I" {
			t.Fatalf("B got %s %v", got, err) // the repeated cancel may have met the second one too
		}
		b.answers(t, "b")
	})
}

// TestCancelWithUnknownKeys tries keys nobody has, of every length; all are closed in silence.
func TestCancelWithUnknownKeys(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		a := r.join(t, p.addr, "A")
		a.send(t, `Query "SELECT pg_sleep(0.5), 'a'"`)
		r.waitForSleep(t, 1)
		random := rand.New(rand.NewPCG(2, 2))
		for i := range 60 {
			secret := make([]byte, []int{4, 4, 4, 0, 1, 3, 5, 32, 256}[i%9])
			for j := range secret {
				secret[j] = byte(random.Uint32())
			}
			pid := a.pid
			if i%2 == 0 {
				pid = random.Uint32()
			}
			if err := cancelKey(p.addr, pid, secret); err != nil {
				t.Fatalf("cancel with an unknown key: %v", err)
			}
		}
		a.expect(t, fmt.Sprintf(slept, "a"))
	})
}

// TestCancelBehindSSLRequest: libpq asks for TLS first, and goes on without it when it is refused.
func TestCancelBehindSSLRequest(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		a := r.join(t, p.addr, "A")
		for range 3 {
			a.send(t, `Query "SELECT pg_sleep(60), 'a'"`)
			r.waitForSleep(t, 1)
			c, err := dial("cancel", p.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			if answer := c.requestEncryption(t, sslRequest); answer != 'N' {
				t.Fatalf("answer to SSLRequest %q", answer)
			}
			if err := c.write(cancelRequest(a.pid, a.secret)); err != nil {
				t.Fatal(err)
			}
			if err := c.expectEnd(); err != nil {
				t.Fatal(err)
			}
			a.expect(t, canceled)
		}
	})
}

const (
	sslRequest = 80877103
	gssRequest = 80877104
)

// requestEncryption sends an SSLRequest or GSSENCRequest and reads the one byte of its answer.
func (c *client) requestEncryption(t testing.TB, code uint32) byte {
	t.Helper()
	b := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, code)
	if err := c.write(b); err != nil {
		t.Fatal(err)
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	answer, err := c.in.ReadByte()
	if err != nil {
		t.Fatalf("answer to an encryption request: %v", err)
	}
	return answer
}

// TestCancelOfALongKeyClient: clients of protocol 3.2 are served by the proxy even where the server knows only 3.0.
func TestCancelOfALongKeyClient(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		c, err := dial("A", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		if err := c.login(r.account(), protocol32); err != nil {
			t.Fatal(err)
		}
		frames, err := c.until('Z', 1)
		if err != nil || frames[0].typ != 'R' {
			t.Fatalf("login with 3.2: %s %v", foldFrames(frames), err)
		}
		if len(c.secret) <= 4 || len(c.secret) > 256 {
			t.Errorf("secret of %d bytes for a client of 3.2", len(c.secret))
		}
		c.send(t, `Query "SELECT pg_sleep(60), 'a'"`)
		r.waitForSleep(t, 1)
		if err := cancelKey(p.addr, c.pid, c.secret[:4]); err != nil {
			t.Fatal(err)
		}
		if some, err := c.pending(); some || err != nil {
			t.Fatalf("a part of the secret was enough (%v)", err)
		}
		if err := c.cancel(p.addr); err != nil {
			t.Fatal(err)
		}
		c.expect(t, canceled)
	})
}
