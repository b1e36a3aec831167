package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// TestMain makes the test binary a proxy when it is started as "forward TO LISTEN": the smallest thing to measure.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "forward" {
		fmt.Fprintln(os.Stderr, forward(os.Args[2], os.Args[3]))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(pgtest.OwnerGoroutine))
}

// forward passes bytes on until it is killed.
func forward(to, listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	for {
		client, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer client.Close()
			server, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer server.Close()
			go func() {
				_, _ = io.Copy(server, client)
				server.Close()
			}()
			_, _ = io.Copy(client, server)
		}()
	}
}

func forwarder(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self + " forward {pg} {listen}"
}

func noEnv(string) string { return "" }

// TestRun measures real servers: every phase a proxy without TLS can take part in.
func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.json")
	var out, status strings.Builder
	err := run(t.Context(), []string{
		"-quick", "-rounds", "1", "-targets", "direct", "-proxy", "fwd=" + forwarder(t), "-base", "fwd",
		"-modes", "prepared", "-clients", "2", "-pool", "1", "-idle", "5", "-settle", "10ms", "-json", file,
	}, noEnv, &out, &status)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, status.String(), out.String())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	got := map[string]cellResult{}
	for _, c := range doc.Cells {
		got[c.Name+" "+c.Target] = c
	}
	for _, name := range []string{
		"select/prepared/2 direct", "select/prepared/2 fwd", "tpcb/prepared/2 direct", "tpcb/prepared/2 fwd",
		"select/simple/2/reconnect direct", "select/simple/2/reconnect fwd", "select/prepared/2/tls direct",
	} {
		c, ok := got[name]
		if m := c.Median; !ok || m.TPS <= 0 || m.P50 <= 0 || m.P99 < m.P50 {
			t.Errorf("%s: %+v", name, m)
		}
		if isProxy := c.Target == "fwd"; isProxy != (c.Median.CPU > 0) || isProxy != (c.Median.RSS > 0) {
			t.Errorf("%s: CPU %v, RSS %v", name, c.Median.CPU, c.Median.RSS)
		}
		if c.Cell.Reconnect != (c.Median.Connect > 0) {
			t.Errorf("%s: connect %v", name, c.Median.Connect)
		}
	}
	if len(got) != 7 || len(doc.Missing) > 0 {
		t.Errorf("%d cells, missing %v", len(got), doc.Missing)
	}
	if len(doc.Idle) != 1 || doc.Idle[0].Base < 1e6 {
		t.Errorf("idle: %+v", doc.Idle)
	}
}

func TestRunComparesBuilds(t *testing.T) {
	var out, status strings.Builder
	err := run(t.Context(), []string{
		"-quick", "-ab", "old=" + forwarder(t) + ",new=" + forwarder(t), "-scripts", "select", "-modes", "simple", "-clients", "1",
	}, noEnv, &out, &status)
	if err != nil {
		t.Fatalf("%v\n%s", err, status.String())
	}
	if !strings.Contains(out.String(), "new/old") || !strings.Contains(out.String(), "geometric mean") {
		t.Error(out.String())
	}
}

// A proxy that serves at first and then goes must fail the run, and say what it said last.
func TestRunFailsWithTheProxy(t *testing.T) {
	dying := filepath.Join(t.TempDir(), "dying")
	script := "#!/bin/sh\necho out of cisterns\nexit 3\n"
	if err := os.WriteFile(dying, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	err := run(t.Context(), []string{"-quick", "-targets", "sarnic", "-sarnic", dying + " {listen}"}, noEnv, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "out of cisterns") {
		t.Fatal(err)
	}
}

func TestRunStops(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var out strings.Builder
	status := onWrite(func(b []byte) {
		if strings.HasPrefix(string(b), "[1/") {
			stop()
		}
	})
	err := run(ctx, []string{"-quick", "-targets", "direct", "-scripts", "select", "-modes", "simple"}, noEnv, &out, status)
	if err == nil || !strings.Contains(err.Error(), "stopped in round 1") {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "MISSING: select/simple/32 of direct") {
		t.Error(out.String())
	}
}

type onWrite func([]byte)

func (f onWrite) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}
