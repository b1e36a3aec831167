package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// configured is a program that serves from a file.
type configured struct {
	*running
	path string
	pg   *pgtest.Postgres
	db   string
}

// serveFile runs serve with a file of one database, shop, and what more says, until the test ends.
func serveFile(t *testing.T, more string) *configured {
	t.Helper()
	pg := pgtest.Server(t, 18)
	c := &configured{path: filepath.Join(t.TempDir(), "sarnic.yaml"), pg: pg, db: pg.NewDatabase(t)}
	c.write(more)
	ctx, stop := context.WithCancel(t.Context())
	c.running = &running{t: t, log: &lines{}, done: make(chan error, 1)}
	go func() { c.done <- run(ctx, []string{"serve", "--config", c.path}, environment(nil), io.Discard, c.log) }()
	t.Cleanup(func() {
		stop()
		if err := c.ends(); err != nil {
			t.Error(err)
		}
	})
	c.ready()
	return c
}

// write replaces the file, as an editor does.
func (c *configured) write(more string) {
	text := fmt.Sprintf("listen: [127.0.0.1:0]\nhttp: 127.0.0.1:0\nauth: {method: trust}\ndatabases:\n  shop: {upstream: %q}\n%s\n", c.pg.AdminDSN(c.db), more)
	if err := os.WriteFile(c.path+"~", []byte(text), 0o600); err != nil {
		panic(err)
	}
	if err := os.Rename(c.path+"~", c.path); err != nil {
		panic(err)
	}
}

// reloads waits for the n-th line of the log that says message.
func (c *configured) reloads(n int, message string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("%d lines %q", n, message), func() bool { return strings.Count(c.log.String(), `"msg":"`+message+`"`) >= n })
}

const (
	reloaded    = "configuration reloaded"
	notReloaded = "configuration not reloaded, the old one stays"
)

// client logs in.
func (c *configured) client(parameters string) *pgconn.PgConn {
	c.t.Helper()
	conn, err := pgconn.Connect(c.t.Context(), "postgres://app@"+c.log.address("listening")+"/shop?"+parameters)
	if err != nil {
		c.t.Fatalf("%v\n%s", err, c.log)
	}
	c.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (c *configured) backend(conn *pgconn.PgConn) string {
	c.t.Helper()
	results, err := conn.Exec(c.t.Context(), "SELECT pid FROM pg_stat_activity WHERE pid = (SELECT max(pid) FROM pg_stat_activity WHERE datname = current_database())").ReadAll()
	if err != nil {
		c.t.Fatal(err)
	}
	return string(results[0].Rows[0][0])
}

func (c *configured) get(path string) string {
	c.t.Helper()
	response, err := http.Get("http://" + c.log.address("listening for http") + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(body)
}

func (c *configured) hangUp() {
	c.t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		c.t.Fatal(err)
	}
}

func TestReloadOnSIGHUP(t *testing.T) {
	c := serveFile(t, "")
	conn := c.client("sslmode=disable")
	pid := c.backend(conn)
	c.hangUp()
	c.reloads(1, reloaded)
	if got := c.backend(conn); got != pid {
		t.Errorf("server process %s, was %s", got, pid)
	}
	if body := c.get("/metrics"); !strings.Contains(body, "sarnic_config_reload_success 1\n") {
		t.Error(body)
	}
}

// A mistake is reported with its place, once, and changes nothing; the next good file applies.
func TestReloadOfAMistake(t *testing.T) {
	c := serveFile(t, "pool: {size: 3}")
	conn := c.client("sslmode=disable")
	pid := c.backend(conn)
	c.write("pool: {size: 0, colour: red}\nlimits: {loops: 3}")
	c.reloads(2, notReloaded)
	for _, want := range []string{c.path + ":6:14: pool.size: must be at least 1, got 0", c.path + ":6:17: pool.colour: unknown key"} {
		if !strings.Contains(c.log.String(), want) {
			t.Errorf("nothing of %q in\n%s", want, c.log)
		}
	}
	if body := c.get("/readyz"); body != "ok\n" {
		t.Error(body)
	}
	if body := c.get("/metrics"); !strings.Contains(body, "sarnic_config_reload_success 0\n") {
		t.Error(body)
	}
	c.write("limits: {loops: 3}")
	c.reloads(3, notReloaded)
	if want := c.path + ":6:17: limits.loops: cannot be changed"; !strings.Contains(c.log.String(), want) {
		t.Errorf("nothing of %q in\n%s", want, c.log)
	}
	if got := c.backend(conn); got != pid {
		t.Errorf("server process %s, was %s", got, pid)
	}
	c.write("limits: {max_clients: 7}")
	c.reloads(1, reloaded)
	if body := c.get("/metrics"); !strings.Contains(body, "sarnic_config_reload_success 1\n") {
		t.Error(body)
	}
	if strings.Count(c.log.String(), notReloaded) != 3 {
		t.Errorf("mistakes are told more than once\n%s", c.log)
	}
}

// The swap of a link, as Kubernetes does it with a ConfigMap, is a change; so is one of a secret or of a certificate.
func TestReloadOfWhatTheFileNames(t *testing.T) {
	c := serveFile(t, "")
	dir := filepath.Dir(c.path)
	version := func(n, size string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, n), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, n, "size"), []byte(size+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(n, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", "1")
	c.write("limits: {max_clients: '${file:..data/size}'}")
	c.reloads(1, reloaded)
	c.client("sslmode=disable")
	if _, err := pgconn.Connect(t.Context(), "postgres://app@"+c.log.address("listening")+"/shop?sslmode=disable"); err == nil {
		t.Fatal("max_clients is not 1")
	}
	version("..2", "2")
	c.reloads(2, reloaded)
	c.client("sslmode=disable")
	version("..3", "two")
	c.reloads(1, notReloaded)
}

// A certificate that cannot be used leaves the old one in place. A good one is shown to whoever comes next.
func TestReloadOfACertificate(t *testing.T) {
	dir, fresh := t.TempDir(), t.TempDir()
	writeCertificate(t, dir)
	writeCertificate(t, fresh)
	install := func(name string) {
		t.Helper()
		if err := os.Rename(filepath.Join(fresh, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	c := serveFile(t, "tls: {mode: require, cert: "+dir+"/server.crt, key: "+dir+"/server.key}")
	shown := func() string {
		t.Helper()
		conn := c.client("sslmode=require")
		return string(conn.Conn().(*tls.Conn).ConnectionState().PeerCertificates[0].Raw)
	}
	first := shown()
	kept := c.client("sslmode=require")
	if err := os.WriteFile(filepath.Join(dir, "server.crt"), []byte("-----BEGIN CERTIFICATE-----\nrubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.reloads(1, notReloaded)
	if !strings.Contains(c.log.String(), c.path+":6:28: tls.cert: cannot be used with its key") {
		t.Errorf("the log:\n%s", c.log)
	}
	if shown() != first {
		t.Error("another certificate is shown")
	}
	install("server.crt") // without its key
	c.reloads(2, notReloaded)
	install("server.key")
	c.reloads(1, reloaded)
	if shown() == first {
		t.Error("the old certificate is shown")
	}
	c.backend(kept)
}

// Started without a file, a process reads its certificate again.
func TestReloadWithoutAFile(t *testing.T) {
	r := startServe(t.Context(), t)
	r.ready()
	c := &configured{running: r}
	c.hangUp()
	c.reloads(1, reloaded)
	r.signal()
	if err := r.ends(); err != nil {
		t.Error(err)
	}
}

// What a service manager is told.
func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	args := []string{"serve", "--upstream", "postgres://app:x@127.0.0.1:1/app", "--listen", "127.0.0.1:0"}
	r := &running{t: t, log: &lines{}, done: make(chan error, 1)}
	env := environment(map[string]string{"NOTIFY_SOCKET": path})
	go func() { r.done <- run(t.Context(), args, env, io.Discard, r.log) }()
	hear := func(want string) {
		t.Helper()
		b := make([]byte, 256)
		n, err := manager.Read(b)
		if got := string(b[:n]); err != nil || !strings.HasPrefix(got, want) {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	hear(fmt.Sprintf("MAINPID=%d\nREADY=1", os.Getpid()))
	(&configured{running: r}).hangUp()
	hear("RELOADING=1\nMONOTONIC_USEC=")
	hear("READY=1")
	r.signal()
	hear("STOPPING=1")
	if err := r.ends(); err != nil {
		t.Error(err)
	}
	notifier(env)("nobody listens") // an error is nobody's
	_ = manager.Close()
	notifier(environment(map[string]string{"NOTIFY_SOCKET": "@nobody"}))("there")
}
