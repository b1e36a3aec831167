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
)

// proxy is a running program under test.
type proxy struct {
	addr string
	pid  int
	log  string // the file with all it printed
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and err is set
	err  error
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
	p := &proxy{addr: addr, log: filepath.Join(t.TempDir(), "sarnic.log"), done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	p.cmd = exec.Command(path, append([]string{"serve"}, args...)...)
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SARNIC_") })
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	p.pid = p.cmd.Process.Pid
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() { p.end(t) })
	if err := p.ready(t); err != nil {
		t.Fatalf("%s: %v\n%s", path, err, p.printed())
	}
	return p
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// ready waits until the program listens.
func (p *proxy) ready(t testing.TB) error {
	return pollUntil(t.Context(), func() (bool, error) {
		select {
		case <-p.done:
			return false, fmt.Errorf("it ended: %v", p.err)
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
	case <-p.done:
		t.Errorf("the proxy ended by itself: %v\n%s", p.err, p.printed())
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if !p.endsWithin(200 * time.Millisecond) {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	if !p.endsWithin(patience) {
		_ = p.cmd.Process.Kill()
		<-p.done
		t.Errorf("the proxy did not end after two SIGTERMs\n%s", p.printed())
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

func (p *proxy) endsWithin(limit time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(limit):
		return false
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
