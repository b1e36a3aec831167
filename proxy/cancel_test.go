package proxy

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

func TestCancelKeys(t *testing.T) {
	dsn := "postgres://app@127.0.0.1:1/app?sslmode=disable"
	one, err := newServer(config(t, dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	other, err := newServer(config(t, dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]uint32{}
	for pid := uint32(1); pid < 5000; pid++ {
		long, short := one.cancelKey(pid, true), one.cancelKey(pid, false)
		if len(long) != 32 || len(short) != 4 {
			t.Fatalf("keys of %d and %d bytes", len(long), len(short))
		}
		if !bytes.Equal(long, one.cancelKey(pid, true)) || !bytes.Equal(short, one.cancelKey(pid, false)) {
			t.Fatal("the key of a client changes")
		}
		if before, twice := seen[string(long)]; twice {
			t.Fatalf("%d and %d have the same key", before, pid)
		}
		seen[string(long)] = pid
		if bytes.Equal(long, other.cancelKey(pid, true)) || pid < 100 && bytes.Equal(short, other.cancelKey(pid, false)) {
			t.Fatal("two processes give the same key")
		}
	}
	one.stop()
	other.stop()
}

// Process numbers are positive, as drivers expect, and unique while in use.
func TestProcessNumbers(t *testing.T) {
	srv, err := newServer(config(t, "postgres://app@127.0.0.1:1/app?sslmode=disable"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer srv.stop()
	srv.lastPID = 1<<31 - 3
	taken := &session{pid: 1}
	srv.sessions[1] = taken
	seen := map[uint32]bool{1: true}
	for range 5 {
		s := &session{srv: srv}
		if refusal := srv.enter(s); refusal != nil {
			t.Fatal(refusal)
		}
		if seen[s.pid] || int32(s.pid) <= 0 {
			t.Errorf("process number %d", s.pid)
		}
		seen[s.pid] = true
		if s.owner() == 0 {
			t.Error("an owner that is nobody")
		}
	}
	if srv.sessions[1] != taken {
		t.Error("a session was replaced")
	}
}

// cancelRequest sends one and waits for the end of its connection.
func (r *rig) cancelRequest(pid uint32, secret []byte) {
	r.t.Helper()
	nc, err := net.Dial("tcp", r.addr())
	if err != nil {
		r.t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	_, _ = nc.Write(wire.AppendCancelRequest(nil, pid, secret))
	if b, err := io.ReadAll(nc); err != nil || len(b) > 0 {
		r.t.Errorf("the answer to a cancel request is %q, %v", b, err)
	}
}

// Only the whole key of that very client cancels, for keys of both lengths.
func TestCancelNeedsTheKey(t *testing.T) {
	pg := pgtest.Server(t, 18)
	r, db := real(t, pg, func(c *Config) { c.Databases[0].Pool.Size = 2 })
	for version, length := range map[string]int{"3.0": 4, "3.2": 32} {
		conn, err := r.login(db, "max_protocol_version", version)
		if err != nil {
			t.Fatal(err)
		}
		pid, secret := conn.PID(), conn.SecretKey()
		if len(secret) != length {
			t.Fatalf("%s: a key of %d bytes", version, len(secret))
		}
		done := make(chan error, 1)
		go func() { _, err := conn.Exec(context.Background(), "SELECT pg_sleep(30)").ReadAll(); done <- err }()
		r.eventually("it runs", func() bool {
			n, err := pg.Value(t.Context(), db, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(30)%' AND state = 'active'")
			return err == nil && n == "1"
		})
		wrong := bytes.Clone(secret)
		wrong[len(wrong)-1] ^= 1
		for _, attempt := range []struct {
			pid    uint32
			secret []byte
		}{
			{pid, wrong},
			{pid + 1, secret},
			{pid, secret[:len(secret)-1]},
			{pid, append(bytes.Clone(secret), 0)},
			{pid, r.srv.cancelKey(pid, length == 4)}, // the other length
			{0, secret},
		} {
			r.cancelRequest(attempt.pid, attempt.secret)
		}
		select {
		case err := <-done:
			t.Fatalf("%s: a wrong key has cancelled: %v", version, err)
		case <-time.After(50 * time.Millisecond):
		}
		r.cancelRequest(pid, secret)
		var pgErr *pgconn.PgError
		if err := <-done; !asPgError(err, &pgErr) || pgErr.Code != "57014" {
			t.Errorf("%s: %v", version, err)
		}
		r.cancelRequest(pid, secret) // nothing runs
		if got := ask(t, conn, "SELECT 1"); got != "1" {
			t.Error(got)
		}
		_ = conn.Close(t.Context())
		r.cancelRequest(pid, secret) // nobody is there
	}
}

// A client in the queue is taken out of it, and keeps its session; one behind it is not touched.
func TestCancelInTheQueue(t *testing.T) {
	r, db := real(t, pgtest.Server(t, 18), nil)
	owner, err := r.login(db)
	if err != nil {
		t.Fatal(err)
	}
	ask(t, owner, "BEGIN")
	type waiting struct {
		conn *pgconn.PgConn
		done chan error
	}
	var queue []waiting
	for i := range 3 {
		conn, err := r.login(db)
		if err != nil {
			t.Fatal(err)
		}
		w := waiting{conn, make(chan error, 1)}
		go func() { _, err := conn.Exec(context.Background(), "SELECT 1").ReadAll(); w.done <- err }()
		r.eventually("it waits", func() bool { return r.srv.Stats().Pools[0].Waiting == i+1 })
		queue = append(queue, w)
	}
	r.cancelRequest(queue[1].conn.PID(), queue[1].conn.SecretKey())
	var pgErr *pgconn.PgError
	if err := <-queue[1].done; !asPgError(err, &pgErr) || pgErr.Code != "57014" {
		t.Error(err)
	}
	if n := r.srv.Stats().Pools[0].Waiting; n != 2 {
		t.Errorf("%d wait", n)
	}
	ask(t, owner, "COMMIT")
	for _, i := range []int{0, 2} {
		if err := <-queue[i].done; err != nil {
			t.Error(err)
		}
	}
	for _, w := range queue {
		if got := ask(t, w.conn, "SELECT 2"); got != "2" {
			t.Error(got)
		}
	}
}
