package dial_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// ownConn is what a caller of Dial wants to own.
type ownConn struct{ net.Conn }

func wrap(c net.Conn) net.Conn { return &ownConn{c} }

func parse(t testing.TB, dsn string) dial.Config {
	t.Helper()
	c, err := dial.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	c.Wrap = wrap
	return c
}

func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// mustDial dials with a context that ends right afterwards: nothing of it may be left on the connection.
func mustDial(t testing.TB, c dial.Config) *dial.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := c.Dial(ctx)
	if err != nil {
		t.Fatalf("%s: %v", c, err)
	}
	t.Cleanup(func() { _ = s.Conn.Close() })
	return s
}

// rw is where a server's bytes are read and written.
func rw(s *dial.Server) net.Conn {
	if s.TLS != nil {
		return s.TLS
	}
	return s.Conn
}

func send(t testing.TB, s *dial.Server, sql string) {
	t.Helper()
	if _, err := rw(s).Write(wire.AppendQuery(nil, sql)); err != nil {
		t.Fatal(err)
	}
}

// answer reads up to ReadyForQuery and returns the types of the frames, and the error or first row among them.
func answer(t testing.TB, s *dial.Server) (types, text string) {
	t.Helper()
	for {
		head := make([]byte, wire.HeaderLen)
		if _, err := io.ReadFull(rw(s), head); err != nil {
			t.Fatal(err)
		}
		typ, size, _ := wire.Header(head)
		body := make([]byte, size-wire.HeaderLen)
		if _, err := io.ReadFull(rw(s), body); err != nil {
			t.Fatal(err)
		}
		types += string(typ)
		switch typ {
		case 'E':
			e, _ := wire.ParseError(body)
			text = e.SQLState()
		case 'D':
			text = string(body[6:])
		case 'Z':
			return types, text
		}
	}
}

func ask(t testing.TB, s *dial.Server, sql string) string {
	t.Helper()
	send(t, s, sql)
	_, text := answer(t, s)
	return text
}

// server starts one with a role for each way to log in.
func server(t testing.TB, version int) *pgtest.Postgres {
	t.Helper()
	return pgtest.New(t, pgtest.Options{
		Version: version, TLS: true,
		HBA: []string{
			"hostssl   all cert   127.0.0.1/32 cert",
			"hostssl   all secure 127.0.0.1/32 scram-sha-256",
			"hostnossl all plain  127.0.0.1/32 scram-sha-256",
			"host      all md5    127.0.0.1/32 md5",
			"host      all word   127.0.0.1/32 password",
			"host      all free   127.0.0.1/32 trust",
			"host      all scram  127.0.0.1/32 scram-sha-256",
			"local     all scram  scram-sha-256",
		},
		Users: []pgtest.User{
			{Name: "cert"},
			{Name: "secure", Password: "pw"},
			{Name: "plain", Password: "pw"},
			{Name: "word", Password: "pw"},
			{Name: "free"},
			{Name: "scram", Password: "pw x'\\é"},
			{Name: "md5", Password: "pw", Encryption: "md5"},
		},
	})
}

const oddPassword = `password='pw x\'\\é'`

func base(p *pgtest.Postgres) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d dbname=postgres ", p.Port())
}

func TestEveryWay(t *testing.T) {
	for _, version := range pgtest.Versions() {
		t.Run(fmt.Sprintf("pg%d", version), func(t *testing.T) {
			p := server(t, version)
			certFile, keyFile, err := p.ClientCertificate("cert")
			if err != nil {
				t.Fatal(err)
			}
			ca := " sslrootcert=" + p.CAFile()
			socket := fmt.Sprintf("host=%s port=%d dbname=postgres ", p.SocketDir(), p.Port())
			for dsn, secure := range map[string]bool{
				base(p) + "user=scram sslmode=disable " + oddPassword:                                     false,
				base(p) + "user=scram sslmode=prefer " + oddPassword:                                      true,
				base(p) + "user=scram sslmode=allow " + oddPassword:                                       false,
				base(p) + "user=scram sslmode=require channel_binding=require " + oddPassword:             true,
				base(p) + "user=scram sslmode=verify-ca " + oddPassword + ca:                              true,
				base(p) + "user=scram sslmode=verify-full " + oddPassword + ca:                            true,
				base(p) + "user=secure sslmode=allow password=pw":                                         true,
				base(p) + "user=plain sslmode=prefer password=pw":                                         false,
				base(p) + "user=md5 sslmode=disable password=pw":                                          false,
				base(p) + "user=word sslmode=require password=pw":                                         true,
				base(p) + "user=free sslmode=disable":                                                     false,
				base(p) + "user=cert sslmode=verify-full sslcert=" + certFile + " sslkey=" + keyFile + ca: true,
				socket + "user=scram " + oddPassword:                                                      false,
				socket + "user=scram max_protocol_version=3.0 " + oddPassword:                             false,
			} {
				checkServer(t, p, dsn, secure)
			}
			if version >= 17 {
				checkServer(t, p, base(p)+"user=scram sslmode=require sslnegotiation=direct "+oddPassword, true)
			}
		})
	}
}

func checkServer(t *testing.T, p *pgtest.Postgres, dsn string, secure bool) {
	t.Helper()
	c := parse(t, dsn)
	s := mustDial(t, c)
	version := p.Install.Major
	if _, ok := s.Conn.(*ownConn); !ok {
		t.Errorf("%s: Conn is a %T", dsn, s.Conn)
	}
	keyLen := 4
	if version >= 18 && !strings.Contains(dsn, "max_protocol_version=3.0") {
		keyLen = 32
	}
	if (s.TLS != nil) != secure || s.PID == 0 || len(s.Secret) != keyLen || s.TxStatus != 'I' || s.Major != version {
		t.Errorf("%s: %+v", dsn, s)
	}
	names := make([]string, 0, len(s.Params))
	for _, p := range s.Params {
		names = append(names, p.Name)
	}
	if !slices.IsSorted(names) || !slices.Contains(names, "server_version") || !slices.Contains(names, "in_hot_standby") {
		t.Errorf("%s: %v", dsn, names)
	}
	if got := ask(t, s, "select pg_backend_pid()"); got != fmt.Sprint(s.PID) {
		t.Errorf("%s: pid %s, not %d", dsn, got, s.PID)
	}
	if got := ask(t, s, "show application_name"); got != "" {
		t.Errorf("%s: application_name %q", dsn, got)
	}
	send(t, s, "select pg_sleep(60)")
	waitActive(t, p, s.PID)
	if err := c.Cancel(soon(t), s.Addr, s.PID, s.Secret); err != nil {
		t.Errorf("%s: cancel: %v", dsn, err)
	}
	if _, code := answer(t, s); code != "57014" {
		t.Errorf("%s: after cancel: %s", dsn, code)
	}
}

// waitActive waits until the server runs what was sent to it.
func waitActive(t *testing.T, p *pgtest.Postgres, pid uint32) {
	t.Helper()
	sql := fmt.Sprintf("select state from pg_stat_activity where pid=%d", pid)
	for ctx := soon(t); ; {
		state, err := p.Value(ctx, pgtest.Superuser, sql)
		if err != nil {
			t.Fatal(err)
		}
		if state == "active" {
			return
		}
	}
}

// TestCancelWithWrongKey is no error, because the server gives no answer, and cancels nothing.
func TestCancelWithWrongKey(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, p *pgtest.Postgres) {
		c := parse(t, p.DSN(pgtest.Superuser, pgtest.SuperPassword, "postgres"))
		s := mustDial(t, c)
		wrong := slices.Clone(s.Secret)
		wrong[0]++
		send(t, s, "select pg_sleep(0.3), 'done'")
		waitActive(t, p, s.PID)
		if err := c.Cancel(soon(t), s.Addr, s.PID, wrong); err != nil {
			t.Error(err)
		}
		if types, _ := answer(t, s); types != "TDCZ" {
			t.Errorf("answer %s", types)
		}
		if err := c.Cancel(soon(t), s.Addr, 0, nil); err == nil {
			t.Error("a cancel without a key")
		}
	})
}

// TestSeveralHosts: the first host is dead, and the cancel goes where the connection went.
func TestSeveralHosts(t *testing.T) {
	p := pgtest.Server(t, 18)
	port, err := pgtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	c := parse(t, fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable",
		pgtest.Superuser, pgtest.SuperPassword, port, p.Port()))
	if want := []string{fmt.Sprintf("127.0.0.1:%d", port), p.Addr()}; !slices.Equal(c.Hosts(), want) {
		t.Errorf("hosts %v", c.Hosts())
	}
	s := mustDial(t, c)
	if s.Addr.String() != p.Addr() {
		t.Errorf("reached %s", s.Addr)
	}
	send(t, s, "select pg_sleep(60)")
	waitActive(t, p, s.PID)
	if err := c.Cancel(soon(t), s.Addr, s.PID, s.Secret); err != nil {
		t.Error(err)
	}
	if _, code := answer(t, s); code != "57014" {
		t.Errorf("after cancel: %s", code)
	}
}

func TestTargetSessionAttrs(t *testing.T) {
	p := pgtest.Server(t, 18)
	dsn := p.DSN(pgtest.Superuser, pgtest.SuperPassword, "postgres")
	s := mustDial(t, parse(t, with(dsn, "target_session_attrs=read-write")))
	if ask(t, s, "select 1") != "1" {
		t.Error("not in step after pgconn's own query")
	}
	if _, err := parse(t, with(dsn, "target_session_attrs=standby")).Dial(soon(t)); err == nil {
		t.Error("a primary for a standby")
	}
}

func with(dsn, option string) string {
	if strings.Contains(dsn, "?") {
		return dsn + "&" + option
	}
	return dsn + "?" + option
}

func TestWithUser(t *testing.T) {
	p := server(t, 15)
	c := parse(t, base(p)+"user=free sslmode=disable application_name=mine")
	other := c.WithUser("md5", "template1", "pw")
	if s := mustDial(t, other); ask(t, s, "select current_user||current_database()") != "md5template1" {
		t.Error("another user or database")
	}
	if c.User() != "free" || c.Database() != "postgres" || other.Password() != "pw" || other.User() != "md5" {
		t.Errorf("%s %s", c, other)
	}
	if s := mustDial(t, c); ask(t, s, "select current_user||current_setting('application_name')") != "freemine" {
		t.Error("the first has changed")
	}
	_, err := c.WithUser("md5", "", "").Dial(soon(t))
	wantError(t, err, dial.Auth, "28P01", "")
}

func wantError(t *testing.T, err error, kind dial.Kind, code, text string) {
	t.Helper()
	var e *dial.Error
	var told *wire.Error
	if !errors.As(err, &e) || !errors.As(err, &told) || e.Kind != kind || told.SQLState() != code ||
		!strings.Contains(told.Message, text) {
		t.Errorf("want %s %s %q, got %v (%+v)", kind, code, text, err, told)
	}
	if err != nil && strings.Contains(err.Error()+told.Error(), "hush") {
		t.Errorf("the password is in %v", err)
	}
}

func TestErrors(t *testing.T) {
	p := server(t, 18)
	q := pgtest.Server(t, 18) // without TLS
	dead, err := pgtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	silent := fake(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	for _, c := range []struct {
		dsn        string
		kind       dial.Kind
		code, text string
	}{
		{base(p) + "user=scram password=hush", dial.Auth, "28P01", `password authentication failed for user "scram"`},
		{base(p) + "user=scram", dial.Auth, "28P01", ""},
		{base(p) + "user=nobody password=hush", dial.Auth, "28000", "no pg_hba.conf entry"},
		{base(p) + "user=free dbname=missing", dial.Rejected, "3D000", `database "missing" does not exist`},
		{base(p) + "user=free options='-c nonsense=1'", dial.Rejected, "42704", "nonsense"},
		{fmt.Sprintf("host=127.0.0.1 port=%d user=x password=hush", dead), dial.Refused, "08006", "connection refused"},
		{"host=" + t.TempDir() + " user=x password=hush", dial.Refused, "08006", "connection refused"},
		{q.DSN("x", "hush", "x") + " sslmode=require", dial.TLS, "08006", "TLS failed"},
		{base(p) + "user=free sslmode=verify-full sslrootcert=" + otherCA(t), dial.TLS, "08006", "TLS failed"},
		{base(p) + "user=free sslmode=verify-ca sslrootcert=" + otherCA(t), dial.TLS, "08006", "TLS failed"},
		{silent + " connect_timeout=1", dial.Timeout, "08006", "timeout expired"},
	} {
		dsn := c.dsn
		if strings.HasPrefix(dsn, "postgres") {
			dsn = fmt.Sprintf("host=127.0.0.1 port=%d user=x password=hush sslmode=require", q.Port())
		}
		s, err := parse(t, dsn).Dial(soon(t))
		if err == nil {
			_ = s.Conn.Close()
		}
		wantError(t, err, c.kind, c.code, c.text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = parse(t, silent).Dial(ctx)
	wantError(t, err, dial.Canceled, "08006", "no longer wanted")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
