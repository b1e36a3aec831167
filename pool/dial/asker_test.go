package dial_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

func asker(t testing.TB, c dial.Config, rest time.Duration, settings ...wire.Param) *dial.Asker {
	t.Helper()
	a := c.NewAsker(settings, rest)
	t.Cleanup(a.Close)
	return a
}

// one is the only value of the answer.
func one(t testing.TB, a *dial.Asker, sql string, args ...string) string {
	t.Helper()
	rows, err := a.Ask(soon(t), sql, args...)
	if err != nil || len(rows) != 1 || len(rows[0]) != 1 {
		t.Fatalf("%s: %q, %v", sql, rows, err)
	}
	return string(rows[0][0])
}

func TestAsker(t *testing.T) {
	p := pgtest.Server(t, 15)
	config := parse(t, p.AdminDSN("postgres"))
	a := asker(t, config, time.Hour, wire.Param{Name: "search_path", Value: "pg_catalog"}, wire.Param{Name: "application_name", Value: "asks"})
	if got := one(t, a, "select current_setting('search_path') || current_setting('application_name') || $1", "x"); got != "pg_catalogasksx" {
		t.Error(got)
	}
	pid := one(t, a, "select pg_backend_pid()::text")
	rows, err := a.Ask(soon(t), "select null::text, '' from generate_series(1, 1000)")
	if err != nil || len(rows) != 64 || rows[0][0] != nil || rows[0][1] == nil {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	_, err = a.Ask(soon(t), "select 1/0")
	wantError(t, err, dial.Rejected, "22012", "division by zero")
	if again := one(t, a, "select pg_backend_pid()::text"); again != pid {
		t.Error("an error of SQL costs the connection")
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { one(t, a, "select $1", "x") })
	}
	wg.Wait()
	if err := p.Exec(t.Context(), "postgres", "select pg_terminate_backend("+pid+")"); err != nil {
		t.Fatal(err)
	}
	if again := one(t, a, "select pg_backend_pid()::text"); again == pid {
		t.Error("the connection that was terminated answers")
	}
	a.Close()
	_, err = a.Ask(soon(t), "select 1")
	wantError(t, err, dial.Failed, "08006", "connection failed")
}

func TestAskerSleeps(t *testing.T) {
	p := pgtest.Server(t, 15)
	a := asker(t, parse(t, p.AdminDSN("postgres")), 10*time.Millisecond, wire.Param{Name: "application_name", Value: "sleeps"})
	pid := one(t, a, "select pg_backend_pid()::text")
	deadline := time.Now().Add(20 * time.Second)
	for {
		n, err := p.Value(t.Context(), "postgres", "select count(*) from pg_stat_activity where application_name = 'sleeps'")
		if err != nil {
			t.Fatal(err)
		}
		if n == "0" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the connection stays")
		}
	}
	if again := one(t, a, "select pg_backend_pid()::text"); again == pid {
		t.Error("the same connection")
	}
}

func TestAskerIsBounded(t *testing.T) {
	p := pgtest.Server(t, 15)
	a := asker(t, parse(t, p.AdminDSN("postgres")), time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := a.Ask(ctx, "select pg_sleep(60)")
	wantError(t, err, dial.Timeout, "08006", "timeout expired")
	one(t, a, "select 1::text")

	silent := asker(t, parse(t, fake(t, func(conn net.Conn) {
		startupPacket(conn)
		_, _ = conn.Read(make([]byte, 1))
	})), time.Hour)
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			var e *dial.Error
			if _, err := silent.Ask(ctx, "select 1"); !errors.As(err, &e) || e.Kind != dial.Timeout {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	_, err = asker(t, parse(t, p.DSN("nobody", "hush", "postgres")), time.Hour).Ask(soon(t), "select 1")
	if err == nil || strings.Contains(err.Error(), "hush") {
		t.Error(err)
	}
}
