package difftest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// proxy is a running program under test. It dies with the tests, however they end.
type proxy struct {
	*pgtest.Process
	addr string
	pid  int
	log  string // the file with all it printed
}

// startProxy starts the program in front of a database with a pool of size connections, and ends it with the test.
func startProxy(t testing.TB, upstream string, size int, more ...string) *proxy {
	t.Helper()
	addr := freeAddr(t)
	args := []string{"--upstream", upstream, "--listen", addr, "--pool-size", strconv.Itoa(size)}
	return startProgram(t, addr, append(args, more...)...)
}

// startProgram starts the program with arguments that let it listen on addr.
func startProgram(t testing.TB, addr string, args ...string) *proxy {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: addr, log: filepath.Join(t.TempDir(), "sarnic.log")}
	out, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(path, append([]string{"serve"}, args...)...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SARNIC_") })
	cmd.Stdout, cmd.Stderr = out, out
	if p.Process, err = pgtest.StartProcess(cmd, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.pid = p.PID()
	t.Cleanup(func() { p.end(t) })
	if err := p.ready(t); err != nil {
		t.Fatalf("%s: %v\n%s", path, err, p.printed())
	}
	return p
}

func freeAddr(t testing.TB) string {
	t.Helper()
	port, err := pgtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// ready waits until the program listens.
func (p *proxy) ready(t testing.TB) error {
	return pollUntil(t.Context(), func() (bool, error) {
		select {
		case <-p.Done():
			return false, fmt.Errorf("it ended: %w", p.Err())
		default:
		}
		conn, err := net.Dial("tcp", p.addr)
		if err == nil {
			err = conn.Close()
		}
		return err == nil, nil
	})
}

// end stops the program with two SIGTERMs (drain, then end now) and reports what it should not have printed.
func (p *proxy) end(t testing.TB) {
	t.Helper()
	select {
	case <-p.Done():
		t.Errorf("the proxy ended by itself: %v\n%s", p.Err(), p.printed())
		return
	default:
	}
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.Done():
	case <-time.After(200 * time.Millisecond):
	}
	if inTime, err := p.Stop(syscall.SIGTERM, patience); !inTime || err != nil {
		t.Errorf("the proxy did not end after two SIGTERMs: %v\n%s", err, p.printed())
	}
	printed := p.printed()
	for _, word := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if strings.Contains(printed, word) {
			t.Errorf("the proxy printed:\n%s", printed)
			return
		}
	}
	if t.Failed() && printed != "" {
		t.Logf("the proxy printed:\n%s", printed)
	}
}

// printed is the last part of the program's log.
func (p *proxy) printed() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const most = 8 << 10
	if at := bytes.Index(b, []byte("DATA RACE")); at >= 0 {
		b = b[at:min(len(b), at+most)]
	}
	return string(b[max(0, len(b)-most):])
}
