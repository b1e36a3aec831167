package simtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

// The model is worth what it shares with the real thing: the same bursts to both, the same frames back, on the oldest
// and the newest supported version.
func TestModelAgainstPostgres(t *testing.T) {
	for _, version := range pgtest.Versions() {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			server := pgtest.Server(t, version)
			dsn := server.AdminDSN(server.NewDatabase(t))
			admin := connect(t, dsn)
			defer admin.Close(context.Background())
			run(t, admin, "create table kv (k text primary key, v int4)")
			bursts := 0
			for seed := range uint64(schedules / 5) {
				run(t, admin, "truncate kv")
				n, err := compare(t, dsn, version, seed)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				bursts += n
			}
			t.Logf("%d bursts compared", bursts)
		})
	}
}

func connect(t *testing.T, dsn string) *pgconn.PgConn {
	t.Helper()
	c, err := pgconn.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func run(t *testing.T, c *pgconn.PgConn, sqls ...string) {
	t.Helper()
	for _, sql := range sqls {
		if _, err := c.Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
}

// compare plays one script to both.
func compare(t *testing.T, dsn string, major int, seed uint64) (bursts int, err error) {
	hijacked, err := connect(t, dsn).Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer hijacked.Conn.Close()
	ref := newReference("c.", major)
	script := NewScript(rand.New(rand.NewPCG(seed, 1)), "c.", AllTraits())
	var sent []string
	for range 25 {
		burst := script.Next()
		sent = append(sent, show(burst))
		ref.feed(burst)
		if _, err := hijacked.Conn.Write(burst); err != nil {
			return bursts, err
		}
		if err := settle(hijacked.Conn, ref); err != nil {
			return bursts, fmt.Errorf("%w\nafter:\n%s", err, strings.Join(sent, "\n"))
		}
		bursts++
	}
	return bursts, nil
}

// settle reads from the real server until everything the model has said has come, and a little longer.
func settle(nc net.Conn, ref *reference) error {
	buf := make([]byte, 4096)
	for !ref.settled() {
		_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := nc.Read(buf)
		if n > 0 {
			if err := ref.observe(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return fmt.Errorf("the server says no more (%w); the model goes on:\n%s", err, show(ref.owed()))
		}
	}
	return nil
}
