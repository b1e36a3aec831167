package simtest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
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
			for seed := range uint64(schedules / 3) {
				run(t, admin, "truncate kv")
				ref := NewReference("", version)
				talk := converse(seed, "c", ref, false)
				if err := compare(t, dsn, talk, ref); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				bursts += len(talk)
			}
			for i, talk := range rareTalks() {
				run(t, admin, "truncate kv")
				ref := NewReference("", version)
				for _, b := range talk {
					ref.Ask(b.Frames)
				}
				if err := compare(t, dsn, talk, ref); err != nil {
					t.Fatalf("rare %d: %v", i, err)
				}
			}
			t.Logf("%d bursts compared", bursts)
		})
	}
}

// converse makes up a conversation of either kind.
func converse(seed uint64, mark string, ref *Reference, nags bool) []Burst {
	rnd := rand.New(rand.NewPCG(seed, 1))
	if seed%2 == 0 {
		return NewScript(rnd, mark+".", AllTraits()).Hold(25, ref, nags)
	}
	talk := NewTalk(rnd, mark, ref)
	talk.Mixed, talk.Resets, talk.Nags = true, true, nags
	return talk.Hold(20)
}

// rareTalks is what is too rare, or too much the end of everything, to be met by chance.
func rareTalks() (all [][]Burst) {
	say := func(bursts ...[]byte) {
		var talk []Burst
		for _, b := range bursts {
			talk = append(talk, Burst{Frames: b})
		}
		all = append(all, talk)
	}
	const set = "SELECT pg_catalog.set_config(E'application_name', "
	say(wire.AppendQuery(nil, set+"E'x', false) IS NULL"), wire.AppendQuery(nil, "show application_name"),
		wire.AppendQuery(nil, set+"NULL, false) IS NULL"), wire.AppendQuery(nil, "show application_name"))
	say(wire.AppendQuery(nil, "begin"), wire.AppendQuery(nil, "ROLLBACK"), wire.AppendQuery(nil, "DISCARD ALL"))
	copyIn := wire.AppendQuery(nil, "copy kv from stdin")
	run := wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", "copy kv from stdin", nil), "", "", nil, nil, nil), "", 0)
	for _, into := range [][]byte{copyIn, append(run, wire.AppendFlush(nil)...)} {
		for _, odd := range [][]byte{
			wire.AppendQuery(nil, "select 1"), wire.AppendParse(nil, "", "select 1", nil), wire.AppendTerminate(nil),
			wire.AppendClose(nil, 'S', ""), callInt4pl(1, 2),
		} {
			say(into, wire.AppendCopyData(nil, []byte("c.1\t2\n")), odd)
			say(into, append(wire.AppendCopyData(nil, []byte("no tab\n")), odd...), wire.AppendSync(nil), wire.AppendQuery(nil, "select 1"))
		}
	}
	return all
}

func connect(t *testing.T, dsn string) *pgconn.PgConn {
	t.Helper()
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	c, err := pgconn.ConnectConfig(t.Context(), cfg)
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

// compare says the same to a real server.
func compare(t *testing.T, dsn string, talk []Burst, ref *Reference) error {
	hijacked, err := connect(t, dsn).Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer hijacked.Conn.Close()
	got, sent := 0, ""
	var in []byte
	for i, b := range talk {
		sent += "\n" + show(b.Frames)
		if _, err := hijacked.Conn.Write(b.Frames); err != nil && !ref.Ended(i+1) {
			return err
		}
		for got < ref.Due[i] {
			f, rest, err := nextFrame(hijacked.Conn, in)
			if err != nil {
				return fmt.Errorf("the server says no more (%w); the model goes on with %q\nafter:%s", err, ref.Reply[got], sent)
			}
			in = rest
			if !alike(f, ref.Reply[got]) {
				return fmt.Errorf("frame %d: %s instead of %s\nafter:%s", got, describe(f), describe(ref.Reply[got]), sent)
			}
			got++
		}
		if ref.Ended(i + 1) {
			if f, _, err := nextFrame(hijacked.Conn, in); err == nil {
				return fmt.Errorf("%s instead of the end\nafter:%s", describe(f), sent)
			}
			return nil
		}
	}
	return nil
}

// nextFrame reads until in holds a whole frame.
func nextFrame(nc net.Conn, in []byte) (frame, rest []byte, err error) {
	buf := make([]byte, 4096)
	for {
		if len(in) >= wire.HeaderLen {
			if _, size, ok := wire.Header(in); ok && len(in) >= size {
				return in[:size], in[size:], nil
			}
		}
		_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := nc.Read(buf)
		if in = append(in, buf[:n]...); n == 0 && err != nil {
			return nil, nil, err
		}
	}
}

// alike compares frames of the real server with those of the model. Texts of errors are the speaker's own, as are process
// numbers and the identity of a table.
func alike(got, expected []byte) bool {
	a, b := got[wire.HeaderLen:], expected[wire.HeaderLen:]
	switch {
	case got[0] != expected[0]:
		return false
	case got[0] == 'E', got[0] == 'N':
		severityA, codeA := wire.ErrorCode(a)
		severityB, codeB := wire.ErrorCode(b)
		return bytes.Equal(severityA, severityB) && bytes.Equal(codeA, codeB)
	case got[0] == 'T':
		return bytes.Equal(withoutTables(a), withoutTables(b))
	}
	return same(got, expected)
}

// withoutTables is a RowDescription whose columns come from nowhere.
func withoutTables(body []byte) []byte {
	b := bytes.Clone(body)
	for rest := b[min(2, len(b)):]; len(rest) > 0; {
		end := bytes.IndexByte(rest, 0) + 1
		if end == 0 || len(rest) < end+18 {
			break
		}
		clear(rest[end : end+6])
		rest = rest[end+18:]
	}
	return b
}

func describe(f []byte) string {
	if e, ok := wire.ParseError(f[wire.HeaderLen:]); ok && (f[0] == 'E' || f[0] == 'N') {
		return fmt.Sprintf("%c %s %s: %s", f[0], e.Severity, e.Code, e.Message)
	}
	return fmt.Sprintf("%q", f)
}
