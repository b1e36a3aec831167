package main

import (
	"context"
	"net/http"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// serveWithTransaction runs serve in front of a real server, with a client in the middle of a transaction.
func serveWithTransaction(t *testing.T, args ...string) (*running, *pgconn.PgConn) {
	t.Helper()
	server := pgtest.New(t, pgtest.Options{Version: 15, Users: []pgtest.User{{Name: "app", Password: "secret"}}})
	r := startServe(t.Context(), t, append([]string{"--upstream", server.DSN("app", "secret", "postgres")}, args...)...)
	r.ready()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client, err := pgconn.Connect(ctx, "postgres://app:secret@"+r.log.address("listening")+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatalf("%v\n%s", err, r.log)
	}
	t.Cleanup(func() { _ = client.Close(context.WithoutCancel(t.Context())) })
	if err := client.Exec(ctx, "BEGIN").Close(); err != nil {
		t.Fatal(err)
	}
	return r, client
}

func (r *running) signal() {
	r.t.Helper()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
}

// drains waits until the probe says that nobody should come any more.
func (r *running) drains() {
	r.t.Helper()
	address := r.log.address("listening for http")
	r.eventually("not ready", func() bool { return r.probe(address) == http.StatusServiceUnavailable })
}

func TestDrainLetsATransactionFinish(t *testing.T) {
	r, client := serveWithTransaction(t)
	r.signal()
	r.drains()
	for _, sql := range []string{"SELECT 1", "COMMIT"} {
		if err := client.Exec(t.Context(), sql).Close(); err != nil {
			t.Errorf("%s while draining: %v", sql, err)
		}
	}
	if err := r.ends(); err != nil {
		t.Errorf("%v\n%s", err, r.log)
	}
}

func TestSecondSignalEndsNow(t *testing.T) {
	r, client := serveWithTransaction(t, "--drain-timeout", "0")
	r.signal()
	r.drains()
	r.signal()
	if err := r.ends(); err != nil {
		t.Errorf("%v\n%s", err, r.log)
	}
	if err := client.Exec(t.Context(), "COMMIT").Close(); err == nil {
		t.Error("the transaction went on")
	}
}

func TestDrainTimeoutEndsWhatIsLeft(t *testing.T) {
	r, client := serveWithTransaction(t, "--drain-timeout", "100ms")
	r.signal()
	if err := r.ends(); err != nil {
		t.Errorf("%v\n%s", err, r.log)
	}
	if err := client.Exec(t.Context(), "COMMIT").Close(); err == nil {
		t.Error("the transaction went on")
	}
}
