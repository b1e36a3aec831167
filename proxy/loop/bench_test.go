package loop

import (
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkFiberSwitch is one suspension and resumption, the loop's queue included, without any system call.
func BenchmarkFiberSwitch(b *testing.B) {
	now := int64(0)
	l := clockOnly(&now)
	l.Go(serve(func(f *Fiber) {
		for !l.Closing() {
			f.Yield()
		}
	}))
	b.ReportAllocs()
	for b.Loop() {
		l.Turn(0)
	}
	l.Stop()
	l.RunUntilStop()
}

// BenchmarkFiberStart is a job on a fiber from the free list: what a request costs before its first byte.
func BenchmarkFiberStart(b *testing.B) {
	now := int64(0)
	l := clockOnly(&now)
	job := serve(func(*Fiber) {})
	b.ReportAllocs()
	for b.Loop() {
		l.Go(job)
		l.Turn(0)
	}
	l.Stop()
	l.RunUntilStop()
}

// relayed is one client and one server connection with a relay on a loop between them, and an echoing server.
func relayed(b *testing.B, network string) (client net.Conn) {
	r := newRig(b, 1)
	cn, client := pair(b, network)
	sn, server := pair(b, network)
	go echoForever(server)
	_ = client.SetDeadline(time.Time{})
	_ = server.SetDeadline(time.Time{})
	front, back := Wrap(cn), Wrap(sn)
	for _, c := range []*Conn{front, back} {
		if err := c.Adopt(); err != nil {
			b.Fatal(err)
		}
	}
	r.do(0, func(l *Loop) {
		_ = l.Register(back, nil)
		_ = l.Register(front, &relay{front: front, back: back})
	})
	return client
}

func echoForever(nc net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := nc.Read(buf)
		if err != nil {
			return
		}
		if _, err := nc.Write(buf[:n]); err != nil {
			return
		}
	}
}

// relay is the smallest session: a request to the server, its answer to the client, and the fiber goes back.
type relay struct{ front, back *Conn }

func (s *relay) Serve(f *Fiber) {
	l := f.Loop()
	n, err := s.front.Read(l.Buffer())
	if err == ErrWouldBlock {
		return
	}
	if err != nil {
		s.end()
		return
	}
	f.Attach(s.back)
	_, _ = s.back.Write(l.Buffer()[:n])
	for got := 0; got < n; {
		m, err := s.back.Read(l.Buffer())
		if err == ErrWouldBlock {
			if f.Wait(s.back, Readable, s.front, Readable, Forever) != nil {
				return
			}
			if s.front.Ready(Readable) { // a pipelining client is not part of this
				s.end()
				return
			}
			continue
		}
		if err != nil {
			s.end()
			return
		}
		got += m
		_, _ = s.front.Write(l.Buffer()[:m])
	}
	s.back.Detach()
}

func (s *relay) end() {
	_ = s.front.Close()
	_ = s.back.Close()
}

func pingPong(b *testing.B, nc net.Conn) {
	msg, buf := make([]byte, 64), make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := nc.Write(msg); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(nc, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPingPong is a round trip of 64 bytes client, relay, server and back, over sockets.
func BenchmarkPingPong(b *testing.B) {
	for _, network := range networks {
		b.Run(network, func(b *testing.B) { pingPong(b, relayed(b, network)) })
	}
}

// BenchmarkPostWakeUp is a Post to a sleeping loop and its answer: what a hand-over between goroutines costs.
func BenchmarkPostWakeUp(b *testing.B) {
	r := newRig(b, 1)
	l := r.g.Loops()[0]
	done := make(chan struct{})
	fn := func() { done <- struct{}{} }
	b.ReportAllocs()
	for b.Loop() {
		l.Post(fn)
		<-done
	}
}

// BenchmarkPostBusy is a Post to a loop that is awake.
func BenchmarkPostBusy(b *testing.B) {
	now := int64(0)
	l := clockOnly(&now)
	fn := func() {}
	b.ReportAllocs()
	for b.Loop() {
		l.Post(fn)
		l.Turn(0)
	}
}

func BenchmarkTimers(b *testing.B) {
	for _, others := range []int{0, 1000, 100_000} {
		b.Run(strconv.Itoa(others), func(b *testing.B) {
			now := int64(0)
			l := clockOnly(&now)
			pending := make([]Timer, others)
			for i := range pending {
				l.Schedule(&pending[i], int64(1+i*7919%others), func() {})
			}
			var t Timer
			at := int64(0)
			b.ReportAllocs()
			for b.Loop() { // as a wait with a deadline does: add and remove, the deadline after most others
				at++
				l.Schedule(&t, int64(others/2)+at, nil)
				l.Unschedule(&t)
			}
		})
	}
}

// BenchmarkIdleConn reports the heap and stack bytes that an idle, registered connection costs, without a session of
// its own, after it has been used once. The other ends are bare descriptors, which cost nothing here.
func BenchmarkIdleConn(b *testing.B) {
	const n = 2000
	for b.Loop() {
		r := newRig(b, 1)
		conns, peers := make([]*Conn, n), make([]int, n)
		before := memory()
		for i := range n {
			var nc net.Conn
			nc, peers[i] = halfPair(b)
			c := Wrap(nc)
			if err := c.Adopt(); err != nil {
				b.Fatal(err)
			}
			conns[i] = c
			r.do(0, func(l *Loop) { _ = l.Register(c, (*echoOnce)(c)) })
			var buf [1]byte
			_, _ = unix.Write(peers[i], buf[:])
			if _, err := unix.Read(peers[i], buf[:]); err != nil {
				b.Fatal(err)
			}
		}
		r.eventually("no fiber is lent", func() bool { return r.g.Loops()[0].Stats().Fibers == 0 })
		b.ReportMetric(float64(int64(memory())-int64(before))/n, "B/conn")
		runtime.KeepAlive(conns)
		r.close()
		for _, fd := range peers {
			_ = unix.Close(fd)
		}
	}
}

// echoOnce is a session without any memory of its own.
type echoOnce Conn

func (s *echoOnce) Serve(f *Fiber) {
	c := (*Conn)(s)
	for {
		n, err := c.Read(f.Loop().Buffer())
		if err == ErrWouldBlock {
			return
		}
		if err != nil {
			_ = c.Close()
			return
		}
		_, _ = c.Write(f.Loop().Buffer()[:n])
	}
}

func halfPair(b *testing.B) (nc net.Conn, peer int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	file := os.NewFile(uintptr(fds[0]), "socket")
	defer file.Close()
	if nc, err = net.FileConn(file); err != nil {
		b.Fatal(err)
	}
	return nc, fds[1]
}

func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// BenchmarkTLS is a relay-less echo of 1 kB over crypto/tls on a loop.
func BenchmarkTLS(b *testing.B) {
	r := newRig(b, 1)
	server, client := tlsConfigs(b)
	nc, peer := pair(b, "tcp")
	_ = peer.SetDeadline(time.Time{})
	var wg sync.WaitGroup
	wg.Go(func() { startTLS(tornAtTheEnd{b}, r.g.Loops()[0], nc, server) })
	tc := clientTLS(b, peer, client)
	wg.Wait()
	msg, buf := make([]byte, 1024), make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = tc.Write(msg)
		if _, err := io.ReadFull(tc, buf); err != nil {
			b.Fatal(err)
		}
	}
}
