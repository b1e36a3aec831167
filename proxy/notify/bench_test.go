package notify_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/notify"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// BenchmarkDelivery: notifications of a real server, from NOTIFY until every listener has read them.
func BenchmarkDelivery(b *testing.B) {
	for _, listeners := range []int{1, 1000} {
		b.Run(fmt.Sprint(listeners), func(b *testing.B) {
			r := newRig(b, pgtest.Server(b, 18), notify.Options{MaxQueued: 1 << 20, MaxHubBytes: 1 << 40, MaxQueuedBytes: 1 << 30})
			var missing atomic.Int64
			all := make(chan struct{}, 1)
			var scratch sync.Pool
			scratch.New = func() any { return new([64]notify.Notification) }
			answers := make(chan error, listeners)
			for range listeners {
				var l *notify.Listener
				l = r.Join(func() { // as a loop would, but at once
					into := scratch.Get().(*[64]notify.Notification)
					defer scratch.Put(into)
					for {
						n, err := l.Read(into[:])
						if err != nil {
							return
						}
						if n > 0 && missing.Add(-int64(n)) == 0 {
							all <- struct{}{}
						}
						if n < len(into) {
							return
						}
					}
				})
				b.Cleanup(l.Leave)
				l.Listen([]string{"x"}, func(err error) { answers <- err })
			}
			for range listeners {
				if err := <-answers; err != nil {
					b.Fatal(err)
				}
			}
			said := r.direct()
			b.ReportAllocs()
			b.ResetTimer()
			missing.Store(int64(b.N) * int64(listeners))
			const batch = 10_000
			for from := 0; from < b.N; from += batch {
				said.exec(fmt.Sprintf("select pg_notify('x', i::text) from generate_series(%d, %d) i", from+1, min(from+batch, b.N)))
			}
			<-all
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "notifications/s")
			b.ReportMetric(float64(b.N)*float64(listeners)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

// BenchmarkSync: what a commit of a listening client waits for.
func BenchmarkSync(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			r := newRig(b, pgtest.Server(b, 18), notify.Options{})
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			var joined []*client
			for range clients {
				c := r.join()
				c.listen("x")
				joined = append(joined, c)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for _, c := range joined {
				wg.Go(func() {
					done := make(chan error, 1)
					for left.Add(-1) >= 0 {
						c.Sync(func(err error) { done <- err })
						if err := <-done; err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			s := r.Stats()
			b.ReportMetric(float64(s.Syncs)/float64(s.Rounds), "syncs/round")
		})
	}
}

// BenchmarkListen: channels that the server does not have, in a storm.
func BenchmarkListen(b *testing.B) {
	r := newRig(b, pgtest.Server(b, 18), notify.Options{MaxChannels: 1 << 30, MaxHubChannels: 1 << 30})
	const each = 100
	for b.Loop() {
		answers := make(chan error, each)
		var clients []*notify.Listener
		for i := range each {
			l := r.Join(func() {})
			clients = append(clients, l)
			var names []string
			for k := range each {
				names = append(names, fmt.Sprintf("c%d_%d", i, k))
			}
			l.Listen(names, func(err error) { answers <- err })
		}
		for range each {
			if err := <-answers; err != nil {
				b.Fatal(err)
			}
		}
		for _, l := range clients {
			l.Leave()
		}
	}
	b.ReportMetric(float64(b.N)*each*each/b.Elapsed().Seconds(), "LISTENs/s")
}
