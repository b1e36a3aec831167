package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"
)

const patience = 10 * time.Second

// running is a program that serves, in this process.
type running struct {
	t    *testing.T
	log  *lines
	done chan error
}

// startServe runs serve in front of a server that nobody asks for anything.
func startServe(ctx context.Context, t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{t: t, log: &lines{}, done: make(chan error, 1)}
	args = append([]string{
		"serve", "--upstream", "postgres://app:x@127.0.0.1:1/app", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
	}, args...)
	go func() { r.done <- run(ctx, args, environment(nil), io.Discard, r.log) }()
	return r
}

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// address is what a line of the log says about where the program listens.
func (l *lines) address(message string) string {
	decoder := json.NewDecoder(bytes.NewBufferString(l.String()))
	for {
		var line struct{ Msg, Address string }
		if err := decoder.Decode(&line); err != nil {
			return ""
		}
		if line.Msg == message {
			return line.Address
		}
	}
}

// eventually polls until what is so, and fails the test with the log if it never is.
func (r *running) eventually(what string, is func() bool) {
	r.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !is() {
		select {
		case <-ticker.C:
		case <-deadline:
			r.t.Fatalf("never: %s\n%s", what, r.log)
		}
	}
}

func (r *running) ends() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(patience):
		r.t.Fatalf("still running\n%s", r.log)
		return nil
	}
}

// ready waits until the probe says so, and that clients can connect then.
func (r *running) ready() {
	r.t.Helper()
	r.eventually("ready", func() bool {
		address := r.log.address("listening for http")
		return address != "" && r.probe(address) == http.StatusOK
	})
	r.eventually("the address of clients in the log", func() bool { return r.log.address("listening") != "" })
	conn, err := new(net.Dialer).DialContext(r.t.Context(), "tcp", r.log.address("listening"))
	if err != nil {
		r.t.Fatal(err)
	}
	_ = conn.Close()
}

func (r *running) probe(address string) int {
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, fmt.Sprintf("http://%s/readyz", address), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func TestServeEndsWithItsContext(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	r := startServe(ctx, t)
	r.ready()
	stop()
	if err := r.ends(); err != nil {
		t.Errorf("%v\n%s", err, r.log)
	}
}

func TestServeDrainsOnSIGTERM(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		r := startServe(t.Context(), t)
		r.ready()
		if err := syscall.Kill(syscall.Getpid(), signal); err != nil {
			t.Fatal(err)
		}
		if err := r.ends(); err != nil {
			t.Errorf("%s: %v\n%s", signal, err, r.log)
		}
	}
}

func TestServeFailsWhereItCannotListen(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, name := range []string{"--listen", "--http"} {
		r := startServe(t.Context(), t, name, taken.Addr().String())
		if err := r.ends(); err == nil {
			t.Errorf("%s: want an error\n%s", name, r.log)
		}
	}
}
