package login_test

import (
	"context"
	"crypto/md5"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

func wantCode(t testing.TB, err error, code, text string) {
	t.Helper()
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Severity != "FATAL" || e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("want FATAL %s %q, got %v", code, text, err)
	}
}

func md5Of(user, password string) string {
	sum := md5.Sum([]byte(password + user))
	return "md5" + hex.EncodeToString(sum[:])
}

// TestMethods logs in by every method, with every kind of secret, with the right and a wrong password.
func TestMethods(t *testing.T) {
	ca := newAuthority(t)
	lookup := users(t, map[string]string{
		"plain": "secret", "md5": md5Of("md5", "secret"), "scram": storedVerifier, "ﬁne": "ﬁne Ⅸ\u00a0π",
	})
	for _, c := range []struct {
		method login.Method
		user   string
		pass   string
		ok     bool
	}{
		{login.SCRAM, "plain", "secret", true},
		{login.SCRAM, "scram", "secret", true},
		{login.SCRAM, "md5", "secret", false}, // no SCRAM proof can be checked against it
		{login.MD5, "plain", "secret", true},
		{login.MD5, "md5", "secret", true},
		{login.MD5, "scram", "secret", true}, // by SCRAM
		{login.Password, "plain", "secret", true},
		{login.Password, "md5", "secret", true},
		{login.Password, "scram", "secret", true},
		{login.Password, "ﬁne", "ﬁne Ⅸ\u00a0π", true},
		{login.Trust, "plain", "", true},
	} {
		ours := listen(t, login.Config{Method: c.method, Lookup: lookup, TLS: ca.serverTLS()})
		dsn := fmt.Sprintf("host=127.0.0.1 port=%s user=%s sslmode=require password=", port(ours.addr), c.user)
		name := fmt.Sprintf("%s with %s", c.method, c.user)
		err := tryConnect(t, dsn+"'"+c.pass+"'")
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if !c.ok {
			wantCode(t, err, "28P01", "password authentication failed for user \""+c.user+"\"")
		}
		if c.method == login.Trust {
			wantCode(t, tryConnect(t, strings.Replace(dsn, c.user, "nobody", 1)), "28000", `role "nobody" does not exist`)
			continue
		}
		for _, dsn := range []string{dsn + "wrong", strings.Replace(dsn, "user="+c.user, "user=nobody", 1) + "secret"} {
			wantCode(t, tryConnect(t, dsn), "28P01", "password authentication failed for user")
		}
	}
}

func TestPasswordInPlainTextIsRefused(t *testing.T) {
	ours := listen(t, login.Config{Method: login.Password, Lookup: users(t, map[string]string{"alice": "secret"})})
	err := tryConnect(t, "host=127.0.0.1 user=alice password=secret sslmode=disable port="+port(ours.addr))
	wantCode(t, err, "28000", "no encryption")
	if r := ours.next(t); strings.Contains(r.err.Error(), "secret") {
		t.Errorf("secret in %v", r.err)
	}
}

func TestClient(t *testing.T) {
	ours := listen(t, login.Config{Method: login.Trust})
	long := strings.Repeat("é", 40)
	for _, c := range []struct {
		packet []byte
		want   login.Client
	}{
		{startup(wire.Version30, "user", "alice"), login.Client{User: "alice", Database: "alice", Version: wire.Version30}},
		{
			startup(wire.Version32, "user", "alice", "database", ""),
			login.Client{User: "alice", Database: "alice", Version: wire.Version32},
		},
		{startup(3<<16|1, "user", "a"), login.Client{User: "a", Database: "a", Version: wire.Version30}},
		{startup(3<<16|7, "user", "a"), login.Client{User: "a", Database: "a", Version: wire.Version32}},
		{
			startup(wire.Version30, "user", "x", "user", long, "database", long),
			login.Client{User: long[:63], Database: long[:63], Version: wire.Version30},
		},
		{
			startup(wire.Version30, "user", "a", "replication", "ON"),
			login.Client{User: "a", Database: "a", Version: wire.Version30, Replication: "true"},
		},
		{
			startup(wire.Version30, "user", "a", "replication", "database"),
			login.Client{User: "a", Database: "a", Version: wire.Version30, Replication: "database"},
		},
		{
			startup(wire.Version30, "user", "a", "replication", "off"),
			login.Client{User: "a", Database: "a", Version: wire.Version30},
		},
		{
			startup(wire.Version30, "application_name", "app", "user", "a", "_pq_.x", "y",
				"options", `-c geqo=off --search-path=a\ b -cwork_mem=1MB`, "DateStyle", "ISO", "database", "d"),
			login.Client{User: "a", Database: "d", Version: wire.Version30, Params: []wire.Param{
				{Name: "geqo", Value: "off"},
				{Name: "search_path", Value: "a b"},
				{Name: "work_mem", Value: "1MB"},
				{Name: "application_name", Value: "app"},
				{Name: "DateStyle", Value: "ISO"},
			}},
		},
	} {
		p := dial(t, ours.addr)
		p.send(c.packet)
		r := ours.next(t)
		if r.client == nil {
			t.Errorf("%q: %v", c.packet, r.err)
			continue
		}
		got := *r.client
		if got.Conn == nil || got.TLS != nil {
			t.Errorf("connections: %+v", got)
		}
		got.Conn, got.Secret = nil, login.Secret{}
		if len(got.Params) == 0 {
			got.Params = nil
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q:\n got %+v\nwant %+v", c.packet, got, c.want)
		}
	}
}

func TestBadOptions(t *testing.T) {
	ours := listen(t, login.Config{Method: login.Trust})
	p := dial(t, ours.addr)
	p.send(alice("options", "-B 5000"))
	got := p.rest()
	if !strings.HasPrefix(got, "R \"\\x00\\x00\\x00\\x00\"\nE true FATAL") || !strings.HasSuffix(got, "end\n") {
		t.Error(got)
	}
}

func TestCancel(t *testing.T) {
	ours := listen(t, login.Config{
		Method: login.SCRAM, Lookup: users(t, nil), TLS: newAuthority(t).serverTLS(),
		TLSMode: login.TLSRequire,
	})
	for _, secret := range []string{"abcd", strings.Repeat("k", 32), strings.Repeat("k", 256)} {
		dial(t, ours.addr).send(wire.AppendCancelRequest(nil, 4711, []byte(secret)))
		if r := ours.next(t); r.cancel == nil || r.cancel.PID != 4711 || string(r.cancel.Secret) != secret {
			t.Errorf("%+v", r)
		}
		p := dial(t, ours.addr)
		p.secure(anyCertificate)
		p.send(wire.AppendCancelRequest(nil, 4711, []byte(secret)))
		if r := ours.next(t); r.cancel == nil || string(r.cancel.Secret) != secret {
			t.Errorf("over TLS: %+v", r)
		}
	}
}

// TestBuffered keeps what a client sends without waiting for the end of its login.
func TestBuffered(t *testing.T) {
	ours := listen(t, login.Config{Method: login.Trust})
	p := dial(t, ours.addr)
	p.send(alice(), wire.AppendQuery(nil, "select 1"))
	if c := ours.next(t).client; c == nil || string(c.Buffered) != string(wire.AppendQuery(nil, "select 1")) {
		t.Errorf("%+v", c)
	}
	if got := p.rest(); !strings.Contains(got, "SELECT 0") {
		t.Error(got)
	}
}

func TestHoldOK(t *testing.T) {
	ours := listen(t, login.Config{Method: login.SCRAM, Lookup: users(t, map[string]string{"alice": "secret"}), HoldOK: true})
	connect(t, "host=127.0.0.1 user=alice password=secret sslmode=disable port="+port(ours.addr))
	if c := ours.next(t).client; c == nil || len(c.Unsent) == 0 {
		t.Errorf("%+v", c)
	}
}

func TestProtocolVersions(t *testing.T) {
	ours := listen(t, login.Config{Method: login.SCRAM, Lookup: users(t, map[string]string{"alice": "secret"})})
	for versions, want := range map[string]uint32{
		"max_protocol_version=3.0": wire.Version30, "max_protocol_version=3.2": wire.Version32,
		"min_protocol_version=3.2": wire.Version32, "max_protocol_version=latest": wire.Version32, "": wire.Version30,
	} {
		connect(t, "host=127.0.0.1 user=alice password=secret sslmode=disable port="+port(ours.addr)+" "+versions)
		if c := ours.next(t).client; c == nil || c.Version != want {
			t.Errorf("%s: %+v", versions, c)
		}
	}
}

// TestPsql logs in with libpq.
func TestPsql(t *testing.T) {
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Fatal("psql is needed (Debian: postgresql-client): ", err)
	}
	ca := newAuthority(t)
	lookup := users(t, map[string]string{"alice": "secret", "md5": md5Of("md5", "secret"), "scram": storedVerifier})
	for _, c := range []struct {
		method login.Method
		dsn    string
		env    string
		want   string // "" is success, else a part of the message
	}{
		{login.SCRAM, "user=alice sslmode=disable", "PGPASSWORD=secret", ""},
		{login.SCRAM, "user=alice sslmode=require", "PGPASSWORD=secret", ""},
		{login.SCRAM, "user=alice sslmode=require channel_binding=require", "PGPASSWORD=secret", ""},
		{login.SCRAM, "user=scram sslmode=verify-full channel_binding=require sslrootcert=" + ca.file, "PGPASSWORD=secret", ""},
		{login.SCRAM, "user=alice sslmode=require channel_binding=disable", "PGPASSWORD=secret", ""},
		{login.SCRAM, "user=alice sslmode=prefer gssencmode=prefer", "PGPASSWORD=secret", ""},
		{login.SCRAM, "user=alice", "PGPASSWORD=wrong", `FATAL:  password authentication failed for user "alice"`},
		{login.SCRAM, "user=bob", "PGPASSWORD=secret", `FATAL:  password authentication failed for user "bob"`},
		{login.MD5, "user=md5 sslmode=disable", "PGPASSWORD=secret", ""},
		{login.MD5, "user=md5 sslmode=disable", "PGPASSWORD=x", `FATAL:  password authentication failed for user "md5"`},
		{login.Password, "user=scram sslmode=require", "PGPASSWORD=secret", ""},
		{login.Password, "user=scram sslmode=disable", "PGPASSWORD=secret", `no pg_hba.conf entry for host "127.0.0.1"`},
		{login.Trust, "user=alice", "PGOPTIONS=-c geqo=off", ""},
	} {
		ours := listen(t, login.Config{Method: c.method, Lookup: lookup, TLS: ca.serverTLS()})
		cmd := exec.CommandContext(t.Context(), psql, "-X", "-w", "-c", "select",
			"host=localhost dbname=db port="+port(ours.addr)+" "+c.dsn)
		cmd.Env = append(os.Environ(), c.env)
		out, err := cmd.CombinedOutput()
		if (c.want == "") != (err == nil) || !strings.Contains(string(out), c.want) {
			t.Errorf("%s, %s: %v %s", c.method, c.dsn, err, out)
		}
	}
}

// TestMockLooksReal: an unknown user is shown the same salt each time, another than others are, and a known one's does
// not change when a stranger's would not.
func TestMockLooksReal(t *testing.T) {
	ours := listen(t, login.Config{Method: login.SCRAM, MockSeed: [32]byte{1}, Lookup: users(t, map[string]string{"alice": "secret"})})
	salt := func(user string) string {
		p := dial(t, ours.addr)
		p.send(startup(wire.Version30, "user", user), initial("SCRAM-SHA-256", "n,,n=,r=abc"))
		p.frame()
		_, body := p.frame()
		_, s, _ := strings.Cut(string(body), ",s=")
		return s
	}
	bob, alice, carol := salt("bob"), salt("alice"), salt("carol")
	if bob == carol || bob == alice {
		t.Errorf("%q, %q, %q", bob, alice, carol)
	}
	if again := salt("bob"); again != bob {
		t.Errorf("%q, then %q", bob, again)
	}
	if again := salt("alice"); again != alice {
		t.Errorf("%q, then %q", alice, again)
	}
	if len(bob) != len(alice) || !strings.HasSuffix(bob, "==,i=4096") {
		t.Errorf("%q, %q", bob, alice)
	}
}

func TestTimeout(t *testing.T) {
	ours := listen(t, login.Config{
		Method: login.SCRAM, Lookup: users(t, nil), TLS: newAuthority(t).serverTLS(),
		Timeout: 150 * time.Millisecond,
	})
	for name, begin := range map[string]func(p *peer){
		"nothing":       func(*peer) {},
		"half a packet": func(p *peer) { p.send(alice()[:9]) },
		"no proof":      func(p *peer) { p.send(alice()) },
		"no handshake":  func(p *peer) { p.send([]byte(sslRequest)) },
	} {
		p := dial(t, ours.addr)
		begin(p)
		r := ours.next(t)
		if !errors.Is(r.err, os.ErrDeadlineExceeded) || !strings.Contains(r.err.Error(), "took too long") {
			t.Errorf("%s: %v", name, r.err)
		}
	}
}

func TestEndOfContext(t *testing.T) {
	srv, err := login.New(login.Config{Method: login.Trust})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	near, far := net.Pipe()
	defer far.Close()
	defer near.Close()
	done := make(chan error, 1)
	go func() { _, _, err := srv.Login(ctx, near); done <- err }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestClientsThatLeave(t *testing.T) {
	ours := listen(t, login.Config{Method: login.SCRAM, Lookup: users(t, nil)})
	_ = dial(t, ours.addr).conn.Close()
	if r := ours.next(t); !errors.Is(r.err, login.ErrLeft) {
		t.Errorf("%v", r.err)
	}
	p := dial(t, ours.addr)
	p.send([]byte(sslRequest))
	p.octet()
	_ = p.conn.Close()
	if r := ours.next(t); !errors.Is(r.err, login.ErrLeft) {
		t.Errorf("%v", r.err)
	}
	p = dial(t, ours.addr)
	p.send(alice()[:9])
	_ = p.conn.Close()
	if r := ours.next(t); errors.Is(r.err, login.ErrLeft) || !strings.Contains(r.err.Error(), "incomplete startup packet") {
		t.Errorf("%v", r.err)
	}
	p = dial(t, ours.addr)
	p.send(alice())
	p.frame()
	_ = p.conn.Close()
	var e *login.Error
	if r := ours.next(t); !errors.As(r.err, &e) || e.User != "alice" || e.Told != nil {
		t.Errorf("%v", r.err)
	}
}

// TestNoDeadlineIsLeft: a logged-in client may be idle for ever.
func TestNoDeadlineIsLeft(t *testing.T) {
	ours := listen(t, login.Config{Method: login.Trust, Timeout: 100 * time.Millisecond})
	p := dial(t, ours.addr)
	p.send(alice())
	if c := ours.next(t).client; c == nil {
		t.Fatal("no client")
	}
	p.rest() // waits for more than the time-out
	p.send(wire.AppendQuery(nil, "select"))
	if got := p.rest(); !strings.Contains(got, "SELECT 0") {
		t.Error(got)
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	ca := newAuthority(t)
	nobody := users(t, nil)
	for want, c := range map[string]login.Config{
		`unknown authentication method ""`:       {},
		"scram-sha-256 needs users":              {Method: login.SCRAM},
		`unknown TLS mode "maybe"`:               {Method: login.Trust, TLSMode: "maybe"},
		"TLS mode require needs a certificate":   {Method: login.Trust, TLSMode: login.TLSRequire},
		"TLS needs a certificate":                {Method: login.Trust, TLS: &tls.Config{}},
		"TLS mode verify-ca needs the CA":        {Method: login.MD5, Lookup: nobody, TLS: ca.serverTLS(), TLSMode: login.TLSVerifyCA},
		"login time-out must not be negative":    {Method: login.Trust, Timeout: -1},
		"GetConfigForClient is not supported":    {Method: login.Trust, TLS: withConfigForClient(ca.serverTLS())},
		`unknown authentication method "ident"`:  {Method: "ident", Lookup: nobody},
		"authentication method md5 needs users":  {Method: login.MD5},
		"authentication method password needs u": {Method: login.Password},
	} {
		if _, err := login.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
