package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// paper collects what is printed.
type paper struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// TestChecksHoldAgainstPostgreSQL proves the checks: what fails without a proxy says nothing about one.
func TestChecksHoldAgainstPostgreSQL(t *testing.T) {
	for _, version := range pgtest.Versions() {
		t.Run(fmt.Sprintf("pg%d", version), func(t *testing.T) {
			var out paper
			err := demonstrate(t.Context(), options{version: version, poolSize: 5, once: true, direct: true}, newScreen(&out))
			t.Log(out.String())
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range checks() {
				if !regexp.MustCompile(`(?m)^  (PASS|----)  ` + regexp.QuoteMeta(one.name) + ` `).MatchString(out.String()) {
					t.Errorf("no line says that %q passed", one.name)
				}
			}
		})
	}
}

// sarnic builds the proxy.
func sarnic(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sarnic")
	if out, err := exec.Command("go", "build", "-o", path, "../sarnic").CombinedOutput(); err != nil {
		t.Fatalf("go build ../sarnic: %v\n%s", err, out)
	}
	return path
}

func TestOnceThroughSarnic(t *testing.T) {
	var out paper
	err := run(t.Context(), []string{"--once", "--pool-size", "5", "--sarnic", sarnic(t)}, newScreen(&out))
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "every check passed") {
		t.Error("it does not say that every check passed")
	}
}

// TestServeUntilTheSignal also takes the port it would like.
func TestServeUntilTheSignal(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	ctx, signal := context.WithCancel(t.Context())
	defer signal()
	var out paper
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"--listen", taken.Addr().String(), "--http", "127.0.0.1:0", "--sarnic", sarnic(t)}, newScreen(&out))
	}()

	dsn := regexp.MustCompile(`psql (postgres://\S+)\n`)
	deadline := time.After(time.Minute)
	for !strings.Contains(out.String(), "Ctrl-C") {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v\n%s", err, out.String())
		case <-deadline:
			t.Fatalf("it does not serve\n%s", out.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	printed := dsn.FindAllStringSubmatch(out.String(), -1)
	if len(printed) != 2 {
		t.Fatalf("want two DSNs, through the proxy and direct:\n%s", out.String())
	}
	for _, one := range printed {
		if err := answers(t.Context(), one[1]); err != nil {
			t.Errorf("%s: %v", one[1], err)
		}
	}
	if !regexp.MustCompile(`port \d+ is taken, using \d+ instead`).MatchString(out.String()) {
		t.Errorf("it does not say that it took another port:\n%s", out.String())
	}
	signal()
	if err := <-ended; err != nil {
		t.Errorf("after the signal: %v", err)
	}
	for _, one := range printed {
		if err := answers(t.Context(), one[1]); err == nil {
			t.Errorf("%s still answers", one[1])
		}
	}
	t.Log(out.String())
}

func TestSignalWhileStarting(t *testing.T) {
	ctx, signal := context.WithCancel(t.Context())
	signal()
	var out paper
	err := demonstrate(ctx, options{direct: true, poolSize: 1}, newScreen(&out))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestBrokenSarnic(t *testing.T) {
	script := filepath.Join(t.TempDir(), "sarnic")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho no such thing >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	var out paper
	err := run(t.Context(), []string{"--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--sarnic", script}, newScreen(&out))
	if err == nil || !strings.Contains(err.Error(), "ended while starting") || !strings.Contains(err.Error(), "no such thing") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
	err = run(t.Context(), []string{"--sarnic", "/does/not/exist"}, newScreen(&out))
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("without a binary: %v", err)
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{{"--nonsense"}, {"more"}, {"--pool-size", "0"}, {"--pg", "new"}} {
		var out paper
		if code := report(run(t.Context(), args, newScreen(&out)), newScreen(&out)); code != 2 {
			t.Errorf("%v: exit status %d, want 2\n%s", args, code, out.String())
		}
	}
	var out paper
	if code := report(run(t.Context(), []string{"--help"}, newScreen(&out)), newScreen(&out)); code != 0 {
		t.Errorf("--help: exit status %d", code)
	}
	// The help is written by hand: it must name every flag.
	for _, name := range []string{"once", "pg", "pool-size", "listen", "http", "sarnic"} {
		if !strings.Contains(out.String(), "--"+name+" ") {
			t.Errorf("--help does not name --%s", name)
		}
	}
	if strings.Contains(out.String(), "\x1b[") {
		t.Error("colours without a terminal")
	}
	if code := report(&smokeError{1, 2}, newScreen(&out)); code != 1 {
		t.Errorf("a failed check: exit status %d", code)
	}
	if code := report(context.Canceled, newScreen(&out)); code != 130 {
		t.Errorf("interrupted: exit status %d", code)
	}
}

func TestColours(t *testing.T) {
	var out paper
	s := newScreen(&out)
	s.colour = true
	s.result("name", time.Millisecond, "detail", nil)
	s.result("name", time.Millisecond, "", errNotFound)
	s.result("name", time.Millisecond, "", errors.New("wrong"))
	for _, part := range []string{"\x1b[32mPASS\x1b[0m", "\x1b[33m----\x1b[0m", "\x1b[31mFAIL\x1b[0m", "not found", "wrong"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %q in %q", part, out.String())
		}
	}
}
