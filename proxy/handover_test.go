package proxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// restartable is a proxy that another can take over from.
func restartable(t *testing.T, pg *pgtest.Postgres, change func(*Config)) *rig {
	t.Helper()
	dir := t.TempDir()
	return two(t, pg, func(c *Config) {
		c.RestartSocket = filepath.Join(dir, "restart")
		if change != nil {
			change(c)
		}
	})
}

// successor starts another server in the place of r, with the same configuration but for what change does.
func (r *rig) successor(change func(*Config)) *rig {
	r.t.Helper()
	cfg := r.srv.snapshot().cfg
	if change != nil {
		change(&cfg)
	}
	var p *Predecessor
	var err error
	r.eventually("it can be taken over from", func() bool {
		if p, err = TakeOver(r.t.Context(), cfg.RestartSocket); err != nil {
			r.t.Fatalf("%v\n%s", err, r.log)
		}
		return p != nil // one that has just taken over itself may not have put its name up yet
	})
	log := &lockedBuffer{}
	next := &rig{t: r.t, log: log, done: make(chan struct{})}
	if next.srv, err = Succeed(cfg, p, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		defer close(next.done)
		next.err = next.srv.Run(context.Background())
	}()
	r.t.Cleanup(next.close)
	next.wait(next.srv.Ready(), "the successor to listen")
	r.wait(r.srv.HandedOver(), "the hand-over")
	return next
}

func (r *rig) clients() int { return r.srv.Stats().Clients }

// A restart that nobody notices: idle clients are the new process's with all they had, one in a transaction ends it where
// it began, new ones come in by the same doors, and the old process is empty then.
func TestHandOver(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		dir := t.TempDir()
		old := restartable(t, pg, func(c *Config) { c.UnixDir = dir })
		address := old.addr()
		idle := old.mustLogin("one", "application_name", "idle%20one")
		ask(t, idle, "SET work_mem = '5MB'")
		if _, err := idle.Prepare(t.Context(), "add", "SELECT $1::int + 1", nil); err != nil {
			t.Fatal(err)
		}
		in, waits := old.mustLogin("one"), old.mustLogin("two")
		inPID := backendIn(t, in)
		_, port, _ := net.SplitHostPort(address)
		local, err := pgconn.Connect(t.Context(), "postgres://app@/one?host="+dir+"&port="+port)
		if err != nil {
			t.Fatal(err)
		}
		defer local.Close(context.Background())

		fresh := old.successor(nil)
		if fresh.addr() != address {
			t.Errorf("the successor listens at %s, not at %s", fresh.addr(), address)
		}
		old.eventually("idle clients are handed over", func() bool { return old.clients() == 1 && fresh.clients() == 3 })
		if got := ask(t, idle, "SHOW work_mem") + ", " + ask(t, idle, "SHOW application_name"); got != "5MB, idle one" {
			t.Error(got)
		}
		result := idle.ExecPrepared(t.Context(), "add", [][]byte{[]byte("41")}, nil, nil).Read()
		if result.Err != nil || string(result.Rows[0][0]) != "42" {
			t.Errorf("a prepared statement: %v", result.Err)
		}
		for _, conn := range []*pgconn.PgConn{waits, local} {
			if got := ask(t, conn, "SELECT 'here'"); got != "here" {
				t.Error(got)
			}
		}
		if got := backend(t, in); got != inPID {
			t.Error("a transaction went on elsewhere")
		}
		newcomer := fresh.mustLogin("two")
		if newcomer.PID() == in.PID() || newcomer.PID() == idle.PID() {
			t.Error("two clients have one process number")
		}
		ask(t, in, "COMMIT")
		old.wait(old.srv.Vacant(), "the old process to be empty")
		if got := backend(t, in); got == inPID || fresh.clients() != 5 {
			t.Errorf("server process %s, %d clients", got, fresh.clients())
		}
		old.close()
		if c, err := pgconn.Connect(t.Context(), "postgres://app@/one?host="+dir+"&port="+port); err != nil {
			t.Errorf("the unix socket is gone with the old process: %v", err)
		} else {
			_ = c.Close(t.Context())
		}
		if err := fresh.reload(func(*Config) {}); err != nil {
			t.Errorf("the successor cannot reload: %v", err)
		}
		if got := ask(t, idle, "SELECT 1"); got != "1" {
			t.Error(got)
		}
	})
}

// certificate makes one for localhost.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// What cannot be handed over is served where it is: a client under TLS, one that holds its server connection.
func TestHandOverLeavesOthersWhereTheyAre(t *testing.T) {
	old := restartable(t, pgtest.Server(t, 18), func(c *Config) { c.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t)}} })
	secure, err := pgconn.Connect(t.Context(), "postgres://app@"+old.addr()+"/one?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	pinned := old.mustLogin("one")
	ask(t, pinned, "CREATE TEMP TABLE mine (n int)")
	fresh := old.successor(nil)
	old.mustLogin("one")
	for range 3 {
		if got := ask(t, secure, "SELECT 1") + ask(t, pinned, "SELECT count(*) FROM mine"); got != "10" {
			t.Error(got)
		}
	}
	if old.clients() != 2 || fresh.clients() != 1 {
		t.Errorf("%d and %d clients", old.clients(), fresh.clients())
	}
	if again, err := pgconn.Connect(t.Context(), "postgres://app@"+old.addr()+"/one?sslmode=require"); err != nil {
		t.Error(err)
	} else {
		_ = again.Close(t.Context())
	}
	ask(t, pinned, "DISCARD ALL")
	ask(t, pinned, "SELECT 1")
	_ = secure.Close(t.Context())
	old.wait(old.srv.Vacant(), "the old process to be empty")
	if got := ask(t, pinned, "SELECT 1"); got != "1" {
		t.Error(got)
	}
}

// A user whose password nobody knows is logged in to the server with what its login at the old process has shown.
func TestHandOverOfProofs(t *testing.T) {
	pg := pgtest.Server(t, 18)
	role := "role_" + pg.NewDatabase(t)
	if err := pg.Exec(t.Context(), pgtest.Superuser, "CREATE ROLE "+role+" LOGIN PASSWORD 'secret'"); err != nil {
		t.Fatal(err)
	}
	verifier, err := pg.Value(t.Context(), pgtest.Superuser, "SELECT rolpassword FROM pg_authid WHERE rolname = '"+role+"'")
	if err != nil {
		t.Fatal(err)
	}
	server, err := dial.Parse(pg.DSN("nobody", "x", pgtest.Superuser))
	if err != nil {
		t.Fatal(err)
	}
	old := restartable(t, pg, func(c *Config) {
		c.Auth, c.Users = login.SCRAM, []User{{Name: role, Secret: verifier, ServerUser: role}}
		c.Databases[0].Server = server
	})
	conn, err := pgconn.Connect(t.Context(), "postgres://"+role+":secret@"+old.addr()+"/one?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	fresh := old.successor(nil)
	old.wait(old.srv.Vacant(), "the old process to be empty")
	if got := ask(t, conn, "SELECT current_user"); got != role || fresh.clients() != 1 {
		t.Errorf("%q, %d clients", got, fresh.clients())
	}
}

// A cancel request comes to the process that listens, whoever has the client; also through a process in between.
func TestHandOverOfCancelRequests(t *testing.T) {
	pg := pgtest.Server(t, 18)
	first := restartable(t, pg, nil)
	conn, moves := first.mustLogin("one", "max_protocol_version", "3.2"), first.mustLogin("two")
	ask(t, conn, "BEGIN")
	second := first.successor(nil)
	third := second.successor(nil)
	third.eventually("the idle client is handed over twice", func() bool { return third.clients() == 1 })
	for _, c := range []*pgconn.PgConn{conn, moves} {
		done := make(chan error, 1)
		go func() { _, err := c.Exec(context.Background(), "SELECT pg_sleep(60)").ReadAll(); done <- err }()
		first.eventually("it runs", func() bool {
			n, err := pg.Value(t.Context(), pgtest.Superuser, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'")
			return err == nil && n == "1"
		})
		wrong := append([]byte(nil), c.SecretKey()...)
		wrong[0] ^= 1
		third.cancelRequest(c.PID(), wrong)
		third.cancelRequest(c.PID(), c.SecretKey())
		fails(t, <-done, "57014")
	}
	second.eventually("the process in between waits for the one before it", func() bool {
		select {
		case <-second.srv.Vacant():
			t.Fatal("it would end, and nobody could reach the first one")
		default:
		}
		return second.clients() == 0
	})
	ask(t, conn, "ROLLBACK")
	first.wait(first.srv.Vacant(), "the first process to be empty")
	third.eventually("its client is handed over twice", func() bool { return third.clients() == 2 })
	first.close()
	second.wait(second.srv.Vacant(), "the second process to be empty")
	second.close()
	if got := ask(t, conn, "SELECT 1") + ask(t, moves, "SELECT 2"); got != "12" {
		t.Error(got)
	}
}

// A successor that does not come up has changed nothing, and the next one may try.
func TestHandOverThatFails(t *testing.T) {
	old := restartable(t, pgtest.Server(t, 18), nil)
	conn := old.mustLogin("one")
	path := old.srv.snapshot().cfg.RestartSocket
	for range 3 {
		p, err := TakeOver(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if p.Listener("tcp 127.0.0.1:0") == nil {
			t.Error("no listener is offered")
		}
		p.Close()
		old.eventually("the offer has ended", func() bool {
			old.srv.mu.Lock()
			defer old.srv.mu.Unlock()
			return !old.srv.handover.offered
		})
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p, err := TakeOver(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.reload(func(*Config) {}); err == nil {
		t.Error("a reload while a successor starts")
	}
	cfg := old.srv.snapshot().cfg
	cfg.Listen = append(append([]string(nil), cfg.Listen...), taken.Addr().String())
	broken, err := Succeed(cfg, p, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := broken.Run(t.Context()); err == nil {
		t.Error("a successor runs without one of its addresses")
	}
	if got := ask(t, conn, "SELECT 1"); got != "1" || old.clients() != 1 {
		t.Error(got)
	}
	ask(t, old.mustLogin("two"), "SELECT 1")
	old.eventually("the old process may reload", func() bool { return old.reload(func(*Config) {}) == nil })
	fresh := old.successor(nil)
	fresh.eventually("clients are handed over", func() bool { return fresh.clients() == 2 })
}

// Two cannot take over at the same time, and nobody after the first.
func TestHandOverToOneOnly(t *testing.T) {
	old := restartable(t, pgtest.Server(t, 18), nil)
	path := old.srv.snapshot().cfg.RestartSocket
	one, err := TakeOver(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TakeOver(t.Context(), path); err == nil || !strings.Contains(err.Error(), "takes over already") {
		t.Errorf("a second one: %v", err)
	}
	one.Close()
	if p, err := TakeOver(t.Context(), path+"x"); p != nil || err != nil {
		t.Errorf("where nobody is: %v, %v", p, err)
	}
}

// A client that the new process does not want stays where it is.
func TestHandOverOfUnwantedClients(t *testing.T) {
	old := restartable(t, pgtest.Server(t, 18), nil)
	one, two := old.mustLogin("one"), old.mustLogin("two")
	fresh := old.successor(func(c *Config) { c.Databases = c.Databases[1:] })
	fresh.eventually("the other is taken", func() bool { return fresh.clients() == 1 })
	for range 3 {
		if got := ask(t, one, "SELECT 1") + ask(t, two, "SELECT 2"); got != "12" {
			t.Error(got)
		}
	}
	if old.clients() != 1 {
		t.Errorf("%d clients", old.clients())
	}
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := old.srv.Drain(ctx); err != nil {
		t.Error(err)
	}
	_, err := one.Exec(t.Context(), "SELECT 1").ReadAll()
	fails(t, err, "57P01")
	old.wait(old.srv.Vacant(), "the old process to be empty")
}

// When the new process ends at once, clients that the old one still has go on there.
func TestHandOverToAProcessThatDies(t *testing.T) {
	old := restartable(t, pgtest.Server(t, 18), nil)
	in := old.mustLogin("one")
	ask(t, in, "BEGIN")
	fresh := old.successor(nil)
	fresh.close()
	for range 3 {
		if got := ask(t, in, "SELECT 1; COMMIT; BEGIN"); got != "1" {
			t.Error(got)
		}
	}
	ask(t, in, "COMMIT")
	ask(t, in, "SELECT 1")
}

// Whoever is not a process of this kind gets nothing, and hurts nobody.
func TestHandOverToStrangers(t *testing.T) {
	old := restartable(t, pgtest.Server(t, 18), nil)
	path := old.srv.snapshot().cfg.RestartSocket
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	for _, bytes := range []string{"", "GET / HTTP/1.0\r\n\r\n", "\x00\x00\x00\x05\x00", "\xff\xff\xff\xff\xff", "\x00\x00\x00\x09\x01gob?"} {
		nc, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = nc.Write([]byte(bytes))
		_ = nc.(*net.UnixConn).CloseWrite()
		_ = nc.SetDeadline(time.Now().Add(patience))
		var b [512]byte
		if n, err := nc.Read(b[:]); err == nil && strings.Contains(string(b[:n]), "tcp ") {
			t.Errorf("%q gets an offer", bytes)
		}
		_ = nc.Close()
	}
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l := &link{conn: nc.(*net.UnixConn)}
	defer l.drop()
	if err := l.send(&letter{Kind: helloLetter, Version: linkVersion + 1}); err != nil {
		t.Fatal(err)
	}
	if m, _, err := l.receive(); err != nil || m.Kind != refusalLetter || !strings.Contains(m.Text, "version") {
		t.Errorf("another version: %+v, %v", m, err)
	}
	ask(t, old.mustLogin("one"), "SELECT 1")
}

// Letters arrive whole and in order with what belongs to them, however large they are.
func TestLink(t *testing.T) {
	a, b := linkPair(t)
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	descriptor := int(f.Fd())
	const letters = 200
	go func() {
		for i := range letters {
			m := &letter{Kind: parcelLetter, Number: uint64(i), Text: strings.Repeat("x", i*i*3)}
			if i%3 == 0 {
				_ = a.send(m)
			} else {
				_ = a.send(m, descriptor)
			}
		}
		a.close()
	}()
	for i := range letters {
		m, descriptors, err := b.receive()
		if err != nil {
			t.Fatal(err)
		}
		if m.Number != uint64(i) || len(m.Text) != i*i*3 || len(descriptors) != min(i%3, 1) {
			t.Fatalf("letter %d: number %d, %d bytes, %d descriptors", i, m.Number, len(m.Text), len(descriptors))
		}
		closeDescriptors(descriptors)
	}
	if _, _, err := b.receive(); err == nil {
		t.Error("a letter after the end")
	}
	if err := b.send(&letter{Text: strings.Repeat("x", maxLetter)}); err == nil {
		t.Error("a letter that is too large is sent")
	}
}

func linkPair(t testing.TB) (a, b *link) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "link"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	one, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := ln.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	a, b = &link{conn: one.(*net.UnixConn)}, &link{conn: other}
	t.Cleanup(a.drop)
	t.Cleanup(b.drop)
	return a, b
}

// FuzzLetter reads letters out of any bytes.
func FuzzLetter(f *testing.F) {
	a, b := linkPair(f)
	if err := a.send(&letter{Kind: parcelLetter, Parcel: &parcel{Database: "d", Startup: []wire.Param{{Name: "n", Value: "v"}}}}); err != nil {
		f.Fatal(err)
	}
	if err := b.read(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.in)
	f.Add([]byte("\x00\x00\x00\x05\x00"))
	f.Fuzz(func(_ *testing.T, in []byte) {
		l := &link{in: append([]byte(nil), in...)}
		for {
			if m, _, err := l.next(); m == nil || err != nil {
				return
			}
		}
	})
}

// Whoever adds a field decides whether a client that is handed over takes it along, and changes parcelForm.
func TestParcelsKnowEveryField(t *testing.T) {
	for of, want := range map[reflect.Type]string{
		reflect.TypeFor[session]():          "srv w conn tls pool startup settings x stmts unnamed in pid newKeys skipping ended killed leaving owned changes",
		reflect.TypeFor[clientStatement]():  "stmt shape types impact segment closing",
		reflect.TypeFor[unnamedStatement](): "frame shape impact segment",
	} {
		var names []string
		for i := range of.NumField() {
			names = append(names, of.Field(i).Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: look at pack, unpack and movable\nit has  %s\nit had  %s", of, got, want)
		}
	}
}

// Clients under load notice nothing of one restart after the other.
func TestHandOverUnderLoad(t *testing.T) {
	pg := pgtest.New(t, pgtest.Options{Version: 18, Settings: map[string]string{"max_connections": "300"}})
	r := restartable(t, pg, func(c *Config) {
		c.MaxLoops = 2
		for i := range c.Databases {
			c.Databases[i].Pool.Size = 4
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	load := startLoad(ctx, t, r, pg, 4)
	moved := 0
	for i := range 5 {
		due := load.queries.Load() + 100
		r.eventually("queries were answered since", func() bool { return load.queries.Load() >= due || load.failure.Load() != nil })
		next := r.successor(nil)
		r.wait(r.srv.Vacant(), fmt.Sprintf("the old process to be empty, restart %d", i))
		moved += next.clients()
		r.close()
		r = next
	}
	stop()
	load.wg.Wait()
	if err := load.failure.Load(); err != nil {
		t.Errorf("a query failed: %v", *err)
	}
	t.Logf("%d queries and %d logins over 5 restarts, %d clients handed over", load.queries.Load(), load.logins.Load(), moved)
}
