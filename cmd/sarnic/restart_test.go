package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// asProgram is the variable that makes the test binary the program.
const asProgram = "SARNIC_TEST_AS_PROGRAM"

// process is a sarnic of its own.
type process struct {
	*running
	cmd *exec.Cmd
}

// startProcess runs serve with the file in a process of its own, until the test ends.
func startProcess(t *testing.T, path string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{&running{t: t, log: &lines{}, done: make(chan error, 1)}, exec.Command(self, "serve", "--config", path)}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
		}
	})
	p.eventually("it listens", func() bool {
		select {
		case err := <-p.done:
			t.Fatalf("it ended: %v\n%s", err, p.log)
		default:
		}
		return p.log.address("listening") != ""
	})
	return p
}

// restartFile writes a file for processes that replace each other, with everything clients can connect to.
func restartFile(t *testing.T, pg *pgtest.Postgres, more string) (path, dir string) {
	t.Helper()
	dir = t.TempDir()
	writeCertificate(t, dir)
	port, err := pgtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	web, err := pgtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "sarnic.yaml")
	text := fmt.Sprintf(`listen: [127.0.0.1:%d]
http: 127.0.0.1:%d
unix_socket: {dir: %s}
tls: {cert: server.crt, key: server.key}
auth: {method: trust}
restart: {socket: restart.sock}
databases:
  shop: {upstream: %q, pool: {size: 6}}
%s
`, port, web, dir, pg.AdminDSN(pg.NewDatabase(t)), more)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, dir
}

// TestTwentyRestarts is the promise: processes replace each other under load, and no connection is refused or broken.
// SARNIC_PROVE=1 makes it twenty.
func TestTwentyRestarts(t *testing.T) {
	restarts := 2
	if os.Getenv("SARNIC_PROVE") != "" {
		restarts = 20
	}
	pg := pgtest.New(t, pgtest.Options{Version: 18, Settings: map[string]string{"max_connections": "200"}})
	path, dir := restartFile(t, pg, "")
	now := startProcess(t, path)
	address := now.log.address("listening")
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	tcp, unix := "postgres://app@"+address+"/shop?sslmode=disable", "postgres://app@/shop?host="+dir+"&port="+port
	ctx, stop := context.WithCancel(t.Context())
	l := &steadyLoad{}
	for i := range 6 {
		l.run(ctx, func() error { return l.stay(ctx, []string{tcp, tcp, unix}[i%3], i%2 == 0, 0) })
	}
	l.run(ctx, func() error { return l.stay(ctx, "postgres://app@"+address+"/shop?sslmode=require", true, 20) })
	for _, dsn := range []string{tcp, unix} {
		l.run(ctx, func() error { return l.stay(ctx, dsn, false, 1) })
	}
	slowest := time.Duration(0)
	for range restarts {
		due := l.queries.Load() + 200
		now.eventually("queries were answered since", func() bool { return l.queries.Load() >= due || l.failure() != nil })
		if err := l.failure(); err != nil {
			break
		}
		began := time.Now()
		next := startProcess(t, path)
		if err := now.ends(); err != nil {
			t.Errorf("the old process: %v\n%s", err, now.log)
		}
		slowest = max(slowest, time.Since(began))
		l.handed.Add(now.handed())
		now = next
	}
	due := l.queries.Load() + 200
	now.eventually("queries were answered since", func() bool { return l.queries.Load() >= due || l.failure() != nil })
	stop()
	l.wg.Wait()
	if err := l.failure(); err != nil {
		t.Errorf("%v\n%s", err, now.log)
	}
	_ = now.cmd.Process.Signal(syscall.SIGTERM)
	if err := now.ends(); err != nil {
		t.Errorf("%v\n%s", err, now.log)
	}
	t.Logf("%d online restarts, %d queries and %d logins under them, %d clients there at a restart: 0 refused, 0 broken; the old process ended after %.1f s at most",
		restarts, l.queries.Load(), l.logins.Load(), l.handed.Load(), slowest.Seconds())
}

// handed is how many clients there were when another process took over.
func (r *running) handed() (n int64) {
	_, after, _ := strings.Cut(r.log.String(), `"msg":"another process has taken over","clients":`)
	_, _ = fmt.Sscan(after, &n)
	return n
}

// steadyLoad is clients that never rest. The first thing that goes wrong for one of them is kept.
type steadyLoad struct {
	wg                      sync.WaitGroup
	queries, logins, handed atomic.Int64
	first                   atomic.Pointer[error]
}

func (l *steadyLoad) failure() error {
	if err := l.first.Load(); err != nil {
		return *err
	}
	return nil
}

// run repeats a client's life until ctx ends.
func (l *steadyLoad) run(ctx context.Context, live func() error) {
	l.wg.Go(func() {
		for ctx.Err() == nil && l.failure() == nil {
			if err := live(); err != nil {
				l.first.CompareAndSwap(nil, &err)
			}
		}
	})
}

// stay logs in, works for so many rounds (0: to the end) and leaves. Its settings, statements and process number are looked
// at in each round.
func (l *steadyLoad) stay(ctx context.Context, dsn string, transactions bool, rounds int) error {
	bg := context.WithoutCancel(ctx)
	name := fmt.Sprint("client ", l.logins.Add(1))
	conn, err := pgconn.Connect(bg, dsn+"&connect_timeout=20&application_name="+strings.ReplaceAll(name, " ", "%20"))
	if err != nil {
		return fmt.Errorf("login: %w", err)
	}
	defer conn.Close(bg)
	ask := func(sql, want string) error {
		bg, done := context.WithTimeout(bg, 2*patience)
		defer done()
		results, err := conn.Exec(bg, sql).ReadAll()
		if err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
		l.queries.Add(1)
		if last := results[len(results)-1]; want != "" && string(last.Rows[0][0]) != want {
			return fmt.Errorf("%s: %q, want %q", sql, last.Rows[0][0], want)
		}
		return nil
	}
	if _, err := conn.Prepare(bg, "add", "SELECT $1::int + 1", nil); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	for i := 0; ctx.Err() == nil && (rounds == 0 || i < rounds); i++ {
		if transactions {
			err = errors.Join(err, ask("BEGIN", ""), ask("SELECT 1", "1"))
		}
		soon, done := context.WithTimeout(bg, 2*patience)
		result := conn.ExecPrepared(soon, "add", [][]byte{[]byte("41")}, nil, nil).Read()
		done()
		if result.Err != nil || !bytes.Equal(result.Rows[0][0], []byte("42")) {
			err = errors.Join(err, fmt.Errorf("prepared statement: %w", result.Err))
		}
		err = errors.Join(err, ask("SHOW application_name", name))
		if transactions {
			err = errors.Join(err, ask("COMMIT", ""))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A process that cannot start leaves the running one alone; so does one whose file is wrong.
func TestRestartThatFails(t *testing.T) {
	path, _ := restartFile(t, pgtest.Server(t, 18), "")
	now := startProcess(t, path)
	dsn := "postgres://app@" + now.log.address("listening") + "/shop?sslmode=disable"
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, more := range map[string]string{"a mistake": "limits: {max_clients: 0}", "an address that is taken": "x"} {
		other := filepath.Join(filepath.Dir(path), "other.yaml")
		changed := string(text) + more
		if more == "x" {
			changed = strings.Replace(string(text), "listen: [", "listen: ["+taken.Addr().String()+", ", 1)
		}
		if err := os.WriteFile(other, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run(t.Context(), []string{"serve", "--config", other}, environment(nil), &bytes.Buffer{}, &lines{}); err == nil {
			t.Errorf("%s: it starts", name)
		}
		if _, err := now.connect(dsn); err != nil {
			t.Errorf("%s: %v\n%s", name, err, now.log)
		}
	}
	_ = now.cmd.Process.Signal(syscall.SIGTERM)
	if err := now.ends(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), "restart.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket of the last process: %v", err)
	}
}

// Clients that cannot be handed over may stay for restart.drain_timeout; then their transactions end.
func TestRestartDrainTimeout(t *testing.T) {
	path, _ := restartFile(t, pgtest.Server(t, 18), "drain_timeout: 100ms")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("restart.sock}"), []byte("restart.sock, drain_timeout: 300ms}"), 1)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	old := startProcess(t, path)
	conn, err := pgconn.Connect(t.Context(), "postgres://app@"+old.log.address("listening")+"/shop?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	fresh := startProcess(t, path)
	if got := fresh.probe(fresh.log.address("listening for http")); got != 200 {
		t.Errorf("the probe says %d", got)
	}
	if err := conn.Exec(t.Context(), "SELECT 1").Close(); err != nil {
		t.Errorf("before its time: %v", err)
	}
	if err := old.ends(); err != nil {
		t.Errorf("%v\n%s", err, old.log)
	}
	var told *pgconn.PgError
	if err := conn.Exec(t.Context(), "SELECT 1").Close(); !errors.As(err, &told) || told.Code != "57P01" {
		t.Errorf("after it: %v", err)
	}
	if !strings.Contains(old.log.String(), "some clients have not left in time") {
		t.Errorf("the log:\n%s", old.log)
	}
	_ = fresh.cmd.Process.Signal(syscall.SIGTERM)
	if err := fresh.ends(); err != nil {
		t.Error(err)
	}
}
