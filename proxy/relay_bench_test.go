package proxy

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// shape is a way to ask: what is sent once, and what is sent again and again.
type shape struct {
	name          string
	prepare, each []byte
}

func shapes() []shape {
	const sql = "SELECT v FROM t WHERE id = $1"
	bind := func(statement string) []byte {
		b := wire.AppendBind(nil, "", statement, nil, [][]byte{[]byte("42")}, nil)
		b = wire.AppendDescribe(b, 'P', "")
		b = wire.AppendExecute(b, "", 0)
		return wire.AppendSync(b)
	}
	return []shape{
		{"simple", nil, wire.AppendQuery(nil, "SELECT v FROM t WHERE id = 42")},
		{"extended", nil, append(wire.AppendParse(nil, "", sql, nil), bind("")...)},
		{
			"prepared",
			wire.AppendSync(wire.AppendDescribe(wire.AppendParse(nil, "s1", sql, nil), 'S', "s1")),
			bind("s1"),
		},
	}
}

// BenchmarkRelay is one request and its answer through real sockets, the client, the proxy and the server in one
// process. It must not allocate.
func BenchmarkRelay(b *testing.B) {
	for _, rows := range []int{1, 1000} {
		for _, s := range shapes() {
			b.Run(fmt.Sprintf("%s/rows=%d", s.name, rows), func(b *testing.B) {
				r := start(b, config(b, startCanned(b, rows).dsn()))
				c := r.join()
				if s.prepare != nil {
					c.ask(s.prepare, 1)
				}
				for range 100 {
					c.ask(s.each, 1)
				}
				b.ReportAllocs()
				bytes := 0
				for b.Loop() {
					bytes += c.ask(s.each, 1)
				}
				b.SetBytes(int64(bytes / b.N))
			})
		}
	}
}

// BenchmarkRelayContended has four clients for each server connection.
func BenchmarkRelayContended(b *testing.B) {
	for _, s := range shapes() {
		b.Run(s.name, func(b *testing.B) {
			cfg := config(b, startCanned(b, 1).dsn())
			cfg.Databases[0].Pool.Size = 4
			clients := newCrowd(start(b, cfg), 16, s)
			clients.ask(100)
			b.ReportAllocs()
			b.ResetTimer()
			clients.ask((b.N + 15) / 16)
		})
	}
}

// crowd is clients that ask at the same time.
type crowd struct {
	clients []*cannedClient
	each    []byte
	batches chan int // capacity of all clients
	done    sync.WaitGroup
	over    sync.WaitGroup
}

func newCrowd(r *rig, n int, s shape) *crowd {
	w := &crowd{each: s.each, batches: make(chan int, n)}
	for range n {
		c := r.join()
		if s.prepare != nil {
			c.ask(s.prepare, 1)
		}
		w.clients = append(w.clients, c)
		w.over.Go(func() {
			for n := range w.batches {
				for range n {
					c.ask(w.each, 1)
				}
				w.done.Done()
			}
		})
	}
	r.t.Cleanup(func() { close(w.batches); w.over.Wait() })
	return w
}

// ask has every client ask n times.
func (w *crowd) ask(n int) {
	w.done.Add(len(w.clients))
	for range w.clients {
		w.batches <- n
	}
	w.done.Wait()
}

// The relay does not allocate in the steady state: not for one client, and not where clients wait for connections.
func TestRelayDoesNotAllocate(t *testing.T) {
	if raceDetector {
		t.Log("the race detector allocates for every event; what is counted here says nothing then")
	}
	const queries = 20000
	for _, clients := range []int{1, 16} {
		for _, rows := range []int{1, 1000} {
			for _, s := range shapes() {
				t.Run(fmt.Sprintf("%s/clients=%d/rows=%d", s.name, clients, rows), func(t *testing.T) {
					cfg := config(t, startCanned(t, rows).dsn())
					cfg.Databases[0].Pool.Size = max(clients/4, 1)
					w := newCrowd(start(t, cfg), clients, s)
					n := queries / clients
					if rows > 1 || raceDetector {
						n /= 10
					}
					w.ask(max(n/10, 100)) // what is lent and kept from here on
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					w.ask(n)
					runtime.ReadMemStats(&after)
					each := float64(after.Mallocs-before.Mallocs) / float64(n*clients)
					t.Logf("%.4f allocations, %.1f bytes per query", each, float64(after.TotalAlloc-before.TotalAlloc)/float64(n*clients))
					limit := 0.01
					if n*clients < queries {
						limit *= 10 // what happens once a second counts for more
					}
					if each >= limit && !raceDetector {
						t.Errorf("%.4f allocations per query", each)
					}
				})
			}
		}
	}
}

// BenchmarkScan is what the look for words that pin costs a simple Query.
func BenchmarkScan(b *testing.B) {
	sql := []byte("SELECT abalance FROM pgbench_accounts WHERE aid = 12345")
	b.ReportAllocs()
	for b.Loop() {
		if suspicious(sql) {
			b.Fatal("suspicious")
		}
	}
}
