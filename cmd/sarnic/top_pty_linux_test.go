package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// emulated is a terminal with a program on it. It knows the commands that sarnic top uses, and remembers any other.
type emulated struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	ended  chan error

	mu            sync.Mutex
	width, height int
	cells         [][]rune
	x, y          int
	other         bool // the screen beside the usual one
	hidden        bool // the cursor
	unknown       []string
	rest          []byte // of a command or letter that has not come as a whole
}

// startOnTerminal runs the program on a terminal of that size.
func startOnTerminal(t *testing.T, width, height int, env []string, args ...string) *emulated {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e := &emulated{t: t, master: master, cmd: exec.CommandContext(t.Context(), self, args...), ended: make(chan error, 1)}
	e.resize(width, height)
	e.cmd.Env = append(append(os.Environ(), asProgram+"=1"), env...)
	e.cmd.Stdin, e.cmd.Stdout, e.cmd.Stderr = slave, slave, slave
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return // EIO: nobody has the other end any more
			}
			e.write(buf[:n])
		}
	}()
	go func() { e.ended <- e.cmd.Wait() }()
	t.Cleanup(func() {
		_ = e.cmd.Process.Kill()
		<-done
		_ = master.Close()
	})
	return e
}

// resize changes the terminal's size, and clears it, as one does that lays its lines out anew.
func (e *emulated) resize(width, height int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.width, e.height, e.cells, e.x, e.y = width, height, make([][]rune, height), 0, 0
	for i := range e.cells {
		e.cells[i] = []rune(strings.Repeat(" ", width))
	}
	size := &unix.Winsize{Row: uint16(height), Col: uint16(width)}
	if err := unix.IoctlSetWinsize(int(e.master.Fd()), unix.TIOCSWINSZ, size); err != nil {
		e.t.Error(err)
	}
}

func (e *emulated) write(b []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b = append(e.rest, b...)
	for len(b) > 0 {
		n := e.next(b)
		if n == 0 {
			break
		}
		b = b[n:]
	}
	e.rest = bytes.Clone(b)
}

// next does what b begins with and returns how much of it that is; 0 if the end is missing.
func (e *emulated) next(b []byte) int {
	switch {
	case b[0] == '\r':
		e.x = 0
		return 1
	case b[0] == '\n':
		e.y = min(e.y+1, e.height-1)
		return 1
	case b[0] == 0x1b:
		end := bytes.IndexFunc(b[1:], func(r rune) bool { return r >= '@' && r <= 'z' && r != '[' })
		if end < 0 {
			return 0
		}
		e.command(string(b[1 : end+2]))
		return end + 2
	case !utf8.FullRune(b):
		return 0
	}
	r, n := utf8.DecodeRune(b)
	if e.x >= e.width {
		e.x, e.y = 0, min(e.y+1, e.height-1) // a line that is too long: the screen is spoilt
		e.unknown = append(e.unknown, "wrapped")
	}
	e.cells[e.y][e.x] = r
	e.x++
	return n
}

func (e *emulated) command(c string) {
	switch {
	case c == "[H":
		e.x, e.y = 0, 0
	case c == "[K":
		for x := min(e.x, e.width-1); x < e.width; x++ {
			e.cells[e.y][x] = ' '
		}
	case strings.HasSuffix(c, "m"):
	case c == "[?1049h", c == "[?1049l":
		e.other = strings.HasSuffix(c, "h")
	case c == "[?25l", c == "[?25h":
		e.hidden = strings.HasSuffix(c, "l")
	default:
		e.unknown = append(e.unknown, c)
	}
}

// screen is what is to be seen.
func (e *emulated) screen() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var b strings.Builder
	for _, line := range e.cells {
		b.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return b.String()
}

// shows waits until all of the texts are on the screen.
func (e *emulated) shows(texts ...string) {
	e.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for {
		screen, missing := e.screen(), ""
		for _, text := range texts {
			if !strings.Contains(screen, text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			e.t.Fatalf("never on the screen: %q\n%s", missing, screen)
		}
	}
}

func (e *emulated) types(keys string) {
	e.t.Helper()
	if _, err := e.master.WriteString(keys); err != nil {
		e.t.Fatal(err)
	}
}

// ends waits for the end of the program and looks at what it leaves behind.
func (e *emulated) ends() error {
	e.t.Helper()
	select {
	case err := <-e.ended:
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.other || e.hidden || len(e.unknown) > 0 {
			e.t.Errorf("other screen %t, hidden cursor %t, unknown %q", e.other, e.hidden, e.unknown)
		}
		return err
	case <-time.After(patience):
		e.t.Fatalf("still running\n%s", e.screen())
		return nil
	}
}

// serveForTop is a sarnic with a client in a transaction, one that waits behind it, and one that is pinned.
func serveForTop(t *testing.T) (r *running, stop func(), address string) {
	t.Helper()
	server := pgtest.New(t, pgtest.Options{Version: 18, Users: []pgtest.User{{Name: "app", Password: "app"}}})
	dsn := server.DSN("app", "app", "postgres")
	path := filepath.Join(t.TempDir(), "sarnic.yaml")
	text := fmt.Sprintf(`
listen: [127.0.0.1:0]
http: 127.0.0.1:0
auth: {method: trust}
admin: {stats_users: [watcher]}
databases:
  busy: {upstream: %q, pool: {size: 1}}
  pinned: {upstream: %q}
users: {app: {}, watcher: {}}
`, dsn, dsn)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r = &running{t: t, log: &lines{}, done: make(chan error, 1)}
	go func() { r.done <- run(ctx, []string{"serve", "--config", path}, environment(nil), io.Discard, r.log) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := r.ends(); err != nil {
			t.Errorf("%v\n%s", err, r.log)
		}
	})
	t.Cleanup(stop)
	r.ready()
	return r, stop, r.log.address("listening")
}

func (r *running) client(t *testing.T, address, database, application string) func(sql string) error {
	t.Helper()
	c, err := newConsoleClient("postgres://app@" + address + "/" + database + "?sslmode=disable&application_name=" + application)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.show(t.Context(), "timezone"); err != nil { // connects
		t.Fatal(err)
	}
	t.Cleanup(func() { c.close(t.Context()) })
	return func(sql string) error { return c.conn.Exec(context.WithoutCancel(t.Context()), sql).Close() }
}

func TestTopOnATerminal(t *testing.T) {
	r, stop, address := serveForTop(t)
	busy := r.client(t, address, "busy", "at_work")
	if err := busy("BEGIN"); err != nil {
		t.Fatal(err)
	}
	pinned := r.client(t, address, "pinned", "kept")
	if err := pinned("CREATE TEMP TABLE kept ()"); err != nil {
		t.Fatal(err)
	}
	waits := make(chan error, 1)
	e := startOnTerminal(t, 80, 24, nil, "top", "postgres://watcher@"+address+"?sslmode=disable", "--interval", "100ms")
	e.shows("sarnic ", address, "DATABASE", "busy", "pinned", "at_work", "kept", "1 pins", "q quit")
	go func() {
		second, err := newConsoleClient("postgres://app@" + address + "/busy?sslmode=disable&application_name=in_the_queue")
		if err == nil {
			defer second.close(context.WithoutCancel(t.Context()))
			_, err = second.show(context.WithoutCancel(t.Context()), "timezone")
		}
		waits <- err
	}()
	e.shows("1 wait (", "waiting", "in_the_queue")
	e.types("v")
	e.shows("PINNED BY", "temporary object", "v view: pins")
	e.types("s")
	e.shows("s sort: use")
	e.types("\x1b[A") // an arrow
	e.resize(120, 10)
	e.shows("sarnic ", "q quit   s sort: use   v view: pins")
	e.resize(50, 30)
	e.shows("sarnic ", "DATABASE", "tempora…")
	e.resize(80, 24)
	e.types("vv")
	e.shows("v view: clients", "in_the_queue")
	if err := busy("COMMIT"); err != nil {
		t.Error(err)
	}
	if err := <-waits; err != nil {
		t.Error(err)
	}
	e.shows("0 wait")
	stop()
	e.shows("no answer: ", "busy")
	e.types("q")
	if err := e.ends(); err != nil {
		t.Error(err)
	}
}

func TestTopEndsByASignal(t *testing.T) {
	_, _, address := serveForTop(t)
	dsn := "postgres://watcher@" + address + "/sarnic?sslmode=disable"
	for name, end := range map[string]func(*emulated){
		"SIGTERM": func(e *emulated) { _ = e.cmd.Process.Signal(syscall.SIGTERM) },
		"Ctrl-C":  func(e *emulated) { e.types("\x03") },
	} {
		t.Run(name, func(t *testing.T) {
			e := startOnTerminal(t, 80, 24, []string{"NO_COLOR=1"}, "top", dsn)
			e.shows("q quit")
			e.mu.Lock()
			if !e.other || !e.hidden {
				t.Error("it draws over what was there before")
			}
			e.mu.Unlock()
			end(e)
			if err := e.ends(); err != nil {
				t.Error(err)
			}
		})
	}
	e := startOnTerminal(t, 80, 24, nil, "top", "postgres://app@"+address+"/sarnic?sslmode=disable")
	e.shows("sarnic: FATAL: ", "42501")
	if err := e.ends(); err == nil {
		t.Error("it ended well")
	}
}

// TestTopOnce: for scripts, one table without anything for a terminal in it.
func TestTopOnce(t *testing.T) {
	r, _, address := serveForTop(t)
	if err := r.client(t, address, "pinned", "kept")("CREATE TEMP TABLE kept ()"); err != nil {
		t.Fatal(err)
	}
	for view, wants := range map[string][]string{
		"":           {"DATABASE", "pinned    app   trans"},
		"pools":      {"DATABASE", "pinned    app   trans"},
		"databases":  {"XACT/S", "pinned"},
		"clients":    {"APPLICATION", "kept"},
		"pins":       {"PINNED BY", "temporary object"},
		"statements": {"STATEMENT"},
	} {
		args := []string{"top", "--once", "postgres://watcher@" + address + "/pgbouncer?sslmode=disable"}
		if view != "" {
			args = append(args, "--view", view)
		}
		code, stdout, stderr := invoke(t, nil, args...)
		if code != exitOK || stderr != "" || strings.Contains(stdout, "\x1b") {
			t.Errorf("%s: exit code %d, %q\n%s", view, code, stdout, stderr)
		}
		for _, want := range wants {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s: no %q in\n%s", view, want, stdout)
			}
		}
	}
}
