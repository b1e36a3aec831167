package loop

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The comparison of relays runs each in a process of its own, this test binary started again, so that its CPU time can
// be told from that of the clients and the servers.

// relayMode names the environment variable that makes the test binary a relay: "goroutine", or "loop" with the value
// of lookAbove. relayServer holds the address of the server.
const (
	relayMode   = "SARNIC_LOOP_RELAY"
	relayServer = "SARNIC_LOOP_RELAY_SERVER"
)

// relayMain prints its address, and its CPU time in nanoseconds for each line of its input.
func relayMain(mode string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	_, _ = fmt.Fprintln(os.Stdout, ln.Addr())
	if mode == "goroutine" {
		go acceptAll(ln, func(client, server net.Conn) { go relayBlocking(client, server) })
	} else {
		l := relayLoop(mode)
		go acceptAll(ln, func(client, server net.Conn) { relayOnLoop(l, client, server) })
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var used unix.Rusage
		_ = unix.Getrusage(unix.RUSAGE_SELF, &used)
		_, _ = fmt.Fprintln(os.Stdout, used.Utime.Nano()+used.Stime.Nano())
	}
}

func acceptAll(ln net.Listener, relay func(client, server net.Conn)) {
	for {
		client, err := ln.Accept()
		if err != nil {
			panic(err)
		}
		server, err := net.Dial("tcp", os.Getenv(relayServer))
		if err != nil {
			panic(err)
		}
		relay(client, server)
	}
}

// relayBlocking is the obvious design: a goroutine per client, blocking reads, answers as long as requests.
func relayBlocking(client, server net.Conn) {
	defer client.Close()
	defer server.Close()
	buf := make([]byte, 8192)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
		for got := 0; got < n; {
			m, err := server.Read(buf)
			if err != nil {
				return
			}
			got += m
			if _, err := client.Write(buf[:m]); err != nil {
				return
			}
		}
	}
}

func relayLoop(mode string) *Loop {
	drv, err := newDriver()
	if err != nil {
		panic(err)
	}
	l := New(drv, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if l.lookAbove, err = strconv.Atoi(strings.TrimPrefix(mode, "loop")); err != nil {
		panic(err)
	}
	go l.Run(context.Background())
	return l
}

func relayOnLoop(l *Loop, client, server net.Conn) {
	front, back := Wrap(client), Wrap(server)
	for _, c := range []*Conn{front, back} {
		if err := c.Adopt(); err != nil {
			panic(err)
		}
	}
	l.Post(func() {
		_ = l.Register(back, nil)
		_ = l.Register(front, &relay{front: front, back: back})
	})
}

// relayProcess is a relay under measurement.
type relayProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startRelay(b *testing.B, mode, server string) (p *relayProcess, addr string) {
	b.Helper()
	p = &relayProcess{cmd: exec.CommandContext(b.Context(), os.Args[0])}
	p.cmd.Env = append(os.Environ(), relayMode+"="+mode, relayServer+"="+server)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	return p, p.line(b)
}

func (p *relayProcess) line(b *testing.B) string {
	if !p.out.Scan() {
		b.Fatal("the relay ended")
	}
	return p.out.Text()
}

func (p *relayProcess) cpu(b *testing.B) time.Duration {
	_, _ = io.WriteString(p.in, "\n")
	ns, err := strconv.ParseInt(p.line(b), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(ns)
}

func (p *relayProcess) stop() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

// BenchmarkRelay compares a goroutine per client with a loop, and three ways for the loop to poll: sleep at once,
// look first when the last poll was busy (what New sets), look first always. It reports the relay's own CPU time.
func BenchmarkRelay(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer nc.Close(); echoForever(nc) }()
		}
	}()
	modes := []struct{ name, mode string }{
		{"goroutines", "goroutine"}, {"loop", "loop1"}, {"loop-sleeps-at-once", "loop1000000"}, {"loop-looks-first", "loop-1"},
	}
	for _, conns := range []int{1, 16, 64} {
		for _, m := range modes {
			b.Run(fmt.Sprintf("%s/%d", m.name, conns), func(b *testing.B) {
				p, addr := startRelay(b, m.mode, ln.Addr().String())
				defer p.stop()
				benchRelay(b, p, addr, conns)
			})
		}
	}
}

func benchRelay(b *testing.B, p *relayProcess, addr string, conns int) {
	clients := make([]net.Conn, conns)
	for i := range clients {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		clients[i] = nc
	}
	drive(b, clients, 20) // warm
	before := p.cpu(b)
	b.ResetTimer()
	drive(b, clients, b.N/conns+1)
	b.StopTimer()
	trips := (b.N/conns + 1) * conns
	b.ReportMetric(float64(p.cpu(b)-before)/float64(trips), "cpu-ns/op")
	b.ReportMetric(float64(trips)/b.Elapsed().Seconds(), "trips/s")
}

// drive has every client make n round trips of 64 bytes.
func drive(b *testing.B, clients []net.Conn, n int) {
	var wg sync.WaitGroup
	for _, nc := range clients {
		wg.Go(func() {
			msg, buf := make([]byte, 64), make([]byte, 64)
			for range n {
				if _, err := nc.Write(msg); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(nc, buf); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
