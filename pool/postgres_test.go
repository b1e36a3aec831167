package pool

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// database is a pool on a real server.
type database struct {
	*rig
	pg   *pgtest.Postgres
	name string
	p    *Pool
}

// eachServer runs a test on every version of PostgreSQL.
func eachServer(t *testing.T, loops, size int, test func(t *testing.T, d *database)) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		name := pg.NewDatabase(t)
		server, err := dial.Parse(pg.AdminDSN(name))
		if err != nil {
			t.Fatal(err)
		}
		server.Wrap = func(nc net.Conn) net.Conn { return loop.Wrap(nc) }
		r := newRig(t, loops)
		cfg := DefaultConfig()
		cfg.Size = size
		p := r.set.NewPool(Options{
			Database: name, User: "admin", Config: cfg, Dial: server.Dial,
			Cancel: func(ctx context.Context, s *dial.Server) error { return server.Cancel(ctx, s.Addr, s.PID, s.Secret) },
		})
		test(t, &database{rig: r, pg: pg, name: name, p: p})
	})
}

// value asks the server itself, beside the pool.
func (d *database) value(sql string) string {
	d.t.Helper()
	v, err := d.pg.Value(context.Background(), d.name, sql)
	if err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// query runs SQL on what c owns and returns the values of all rows, or the error's code, and the status at the end.
func (c *client) query(sql string) (out string, status byte) {
	c.r.t.Helper()
	conn := c.has()
	c.step(func(f *loop.Fiber) {
		if _, err := conn.Write(wire.AppendQuery(nil, sql)); err != nil {
			c.r.t.Errorf("%s: %v", sql, err)
			return
		}
		var got []byte
		deadline := f.Loop().After(patience)
		for status == 0 {
			n, err := conn.Read(f.Loop().Buffer())
			if err == loop.ErrWouldBlock {
				if f.Wait(conn.Net, loop.Readable, nil, 0, deadline) != nil || f.Loop().Now() >= deadline {
					c.r.t.Errorf("%s: no answer", sql)
					return
				}
				continue
			}
			if err != nil {
				out = err.Error()
				return
			}
			got = append(got, f.Loop().Buffer()[:n]...)
			for status == 0 {
				typ, body, rest, ok := wire.Next(got)
				if !ok {
					break
				}
				got = rest
				switch typ {
				case 'D':
					out += strings.TrimLeft(string(body[6:]), "\x00") + " "
				case 'E':
					_, code := wire.ErrorCode(body)
					out += string(code) + " "
				case 'Z':
					status = body[0]
				}
			}
		}
	})
	return strings.TrimSpace(out), status
}

// A server process that was ended while its connection was idle is never lent, neither at once nor later.
func TestLiveness(t *testing.T) {
	eachServer(t, 2, 3, func(t *testing.T, d *database) {
		for round := range 5 {
			conns := d.idle(d.p, 3)
			a := d.client(fmt.Sprint("a", round), 0, d.p)
			dead := map[uint32]bool{conns[0].PID(): true, conns[2].PID(): true}
			d.value(fmt.Sprintf("SELECT pg_terminate_backend(%d, 5000), pg_terminate_backend(%d, 5000)", conns[0].PID(), conns[2].PID()))
			if !noticesAtOnce {
				d.wantCounts(d.p, "c0 i1 b0 r0 w0")
			}
			for _, c := range append(d.crowd(d.p, 2), a.ask()) {
				if got := c.got(); dead[got.PID()] {
					t.Error("a dead connection was lent")
				}
				if out, status := c.query("SELECT 1"); out != "1" || status != 'I' {
					t.Errorf("answer %q %c", out, status)
				}
				c.release(Ready)
			}
			d.eventually("nothing is under way", func() bool { return d.p.Stats(0).Connecting == 0 })
		}
	})
}

// A transaction left open is rolled back before the next client gets the connection.
func TestRollback(t *testing.T) {
	eachServer(t, 1, 1, func(t *testing.T, d *database) {
		d.value("CREATE TABLE t (i int)")
		for _, mess := range []string{
			"BEGIN; INSERT INTO t VALUES (1)", "BEGIN; INSERT INTO t VALUES (1); SELECT nonsense",
			"BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; DECLARE c CURSOR FOR SELECT 1; SET LOCAL work_mem = '5MB'",
		} {
			a := d.client("a", 0, d.p).ask()
			conn := a.got()
			if _, status := a.query(mess); status == 'I' {
				t.Fatal("no transaction")
			}
			b := d.client("b", 0, d.p).ask()
			a.release(Rollback)
			if b.got() != conn {
				t.Error("the connection was not kept")
			}
			if out, status := b.query("SELECT count(*) FROM t; SHOW work_mem"); out != "0 4MB" || status != 'I' {
				t.Errorf("the next client sees %q %c", out, status)
			}
			b.release(Ready)
		}
	})
}

// Reset leaves nothing of a session: settings, temporary objects, statements, locks, LISTEN, sequences, role.
func TestReset(t *testing.T) {
	eachServer(t, 1, 1, func(t *testing.T, d *database) {
		d.value("CREATE ROLE somebody_" + d.name + "; CREATE SEQUENCE q")
		defer d.value("DROP ROLE somebody_" + d.name)
		a := d.client("a", 0, d.p).ask()
		conn := a.got()
		if out, status := a.query("SET work_mem = '5MB'; SET ROLE somebody_" + d.name + "; RESET ROLE; CREATE TEMP TABLE mine (i int);" +
			"PREPARE p AS SELECT 1; SELECT pg_advisory_lock(42); LISTEN news; SELECT nextval('q');" +
			"SET search_path = nowhere; SET SESSION AUTHORIZATION somebody_" + d.name); status != 'I' {
			t.Fatal(out)
		}
		if out, status := a.query("BEGIN"); status != 'T' {
			t.Fatal(out)
		}
		a.release(Reset)
		b := d.client("b", 0, d.p).ask()
		if b.got() != conn {
			t.Error("the connection was not kept")
		}
		d.value("NOTIFY news")
		if out, status := b.query("SHOW work_mem; SHOW search_path; SELECT session_user = current_user, session_user::text;" +
			"SELECT count(*) FROM pg_prepared_statements; SELECT count(*) FROM pg_locks WHERE locktype = 'advisory';" +
			"SELECT count(*) FROM pg_listening_channels(); SELECT to_regclass('mine') IS NULL;" +
			"SELECT currval('q')"); !strings.HasPrefix(out, `4MB "$user", public t`) || !strings.HasSuffix(out, "0 0 0 t 55000") || status != 'I' {
			t.Errorf("the next client sees %q %c", out, status)
		}
		b.release(Ready)
	})
}

// A cancel that comes too late for its statement hits the fence, or nothing, and never the next client.
func TestLateCancelHitsNobody(t *testing.T) {
	eachServer(t, 2, 1, func(t *testing.T, d *database) {
		for i := range 60 {
			a := d.client("a", i%2, d.p).ask()
			a.got()
			b := d.client("b", (i+1)%2, d.p).ask()
			done := make(chan struct{})
			conn := a.has()
			if i%3 == 0 {
				a.query("SELECT 1")
			}
			how := []Clean{Ready, Rollback, Reset}[i%3]
			if how == Rollback {
				a.query("BEGIN")
			}
			a.step(func(*loop.Fiber) {
				conn.Cancel(a.l, slog.New(slog.DiscardHandler), func() { close(done) })
				a.p.Release(a.take(), how)
			})
			b.got()
			if out, status := b.query("SELECT pg_sleep(0.01), 7"); !strings.Contains(out, "7") || status != 'I' {
				t.Fatalf("round %d: the next client sees %q %c", i, out, status)
			}
			d.wait(done, "the cancel")
			b.release(Ready)
			a.leave()
			b.leave()
		}
	})
}

// A cancel stops what runs, and the connection is as good as before.
func TestCancelStops(t *testing.T) {
	eachServer(t, 1, 1, func(t *testing.T, d *database) {
		a := d.client("a", 0, d.p).ask()
		conn := a.got()
		l := a.l
		l.Post(func() {
			var tm loop.Timer
			l.Schedule(&tm, l.Now()+50e6, func() { conn.Cancel(l, slog.New(slog.DiscardHandler), func() {}) })
		})
		if out, status := a.query("SELECT pg_sleep(60)"); out != "57014" || status != 'I' {
			t.Errorf("%q %c", out, status)
		}
		a.release(Ready)
		a.ask().got()
		if out, _ := a.query("SELECT 1"); out != "1" {
			t.Error(out)
		}
		a.release(Ready)
		if d.p.Counters.Dials.Load() != 1 {
			t.Error("the connection was lost")
		}
	})
}

// A reload reports parameters on idle connections; they are as good as before.
func TestReloadOfTheServer(t *testing.T) {
	pg := pgtest.New(t, pgtest.Options{Version: 18})
	server, err := dial.Parse(pg.AdminDSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	server.Wrap = func(nc net.Conn) net.Conn { return loop.Wrap(nc) }
	r := newRig(t, 1)
	cfg := DefaultConfig()
	cfg.Size = 2
	p := r.set.NewPool(Options{Database: "postgres", User: "admin", Config: cfg, Dial: server.Dial})
	d := &database{rig: r, pg: pg, name: "postgres", p: p}
	conns := d.idle(p, 2)
	d.value("ALTER SYSTEM SET DateStyle = 'German'")
	d.value("SELECT pg_reload_conf()")
	for _, c := range d.crowd(p, 2) {
		c.got()
		r.eventually("the new setting is seen", func() bool { out, _ := c.query("SHOW DateStyle"); return strings.HasPrefix(out, "German") })
		c.release(Ready)
	}
	d.value("ALTER SYSTEM SET DateStyle = 'SQL'")
	d.value("SELECT pg_reload_conf()")
	r.eventually("both have reported it", func() bool {
		n := 0
		r.do(0, func(*loop.Loop) {
			for _, c := range conns {
				if !c.Net.Ready(loop.Readable) {
					n++
				}
			}
		})
		return n == 2
	})
	r.wantCounts(p, "c0 i2 b0 r0 w0")
	if p.Counters.Dials.Load() != 2 {
		t.Error("a reload cost connections")
	}
}

// A server that goes away and comes back.
func TestServerRestarts(t *testing.T) {
	pg := pgtest.New(t, pgtest.Options{Version: 18})
	server, err := dial.Parse(pg.AdminDSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	server.Wrap = func(nc net.Conn) net.Conn { return loop.Wrap(nc) }
	r := newRig(t, 2)
	cfg := DefaultConfig()
	cfg.Size, cfg.MinSize = 3, 2
	p := r.set.NewPool(Options{Database: "postgres", User: "admin", Config: cfg, Dial: server.Dial})
	d := &database{rig: r, pg: pg, name: "postgres", p: p}
	d.idle(p, 3)
	if err := pg.Stop(); err != nil {
		t.Fatal(err)
	}
	r.wantCounts(p, "c0 i0 b0 r0 w0")
	if err := r.client("early", 0, p).ask().failed(); err == nil {
		t.Error("no error")
	}
	if err := pg.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.tidy(1)
	r.wantCounts(p, "c0 i2 b0 r0 w0")
	for _, c := range d.crowd(p, 3) {
		c.got()
		if out, _ := c.query("SELECT 1"); out != "1" {
			t.Error(out)
		}
	}
}
