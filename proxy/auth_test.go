package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// counted is a server of which a query counts how often it is asked, and a Config that asks it.
func counted(t *testing.T, cache time.Duration) (cfg Config, server *pgtest.Postgres, asked func() string) {
	t.Helper()
	server = pgtest.New(t, pgtest.Options{Version: 18, Users: []pgtest.User{
		{Name: "boss", Password: "boss", Attributes: "SUPERUSER"}, {Name: "shop", Password: "secret"},
	}})
	if err := server.Exec(t.Context(), "postgres", "CREATE SEQUENCE public.asked"); err != nil {
		t.Fatal(err)
	}
	cfg = config(t, server.DSN("boss", "boss", "postgres"))
	cfg.Auth = login.SCRAM
	cfg.Query = AuthQuery{Cache: cache, SQL: `SELECT rolname, rolpassword FROM pg_authid
		WHERE (SELECT nextval('public.asked')) > 0 AND rolname = $1`}
	return cfg, server, func() string {
		n, err := server.Value(t.Context(), "postgres", "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM public.asked")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}

// as logs in and asks who the server thinks it is.
func (r *rig) as(user, password string) (string, error) {
	conn, err := r.connectAs(user, password, nil)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.Background())
	return who(conn)
}

func who(conn *pgconn.PgConn) (string, error) {
	results, err := conn.Exec(context.Background(), "SELECT current_user").ReadAll()
	if err != nil {
		return "", err
	}
	return string(results[0].Rows[0][0]), nil
}

func (r *rig) connectAs(user, password string, change func(*pgconn.Config)) (*pgconn.PgConn, error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	cfg, err := pgconn.ParseConfig("postgres://" + r.addr() + "/postgres?sslmode=disable")
	if err != nil {
		r.t.Fatal(err)
	}
	cfg.User, cfg.Password = user, password
	if change != nil {
		change(cfg)
	}
	return pgconn.ConnectConfig(ctx, cfg)
}

func wantRefused(t *testing.T, err error, code string) {
	t.Helper()
	if pgErr, ok := err.(interface{ SQLState() string }); !ok && !strings.Contains(fmt.Sprint(err), code) || ok && pgErr.SQLState() != code {
		t.Errorf("want %s, got %v", code, err)
	}
}

// TestFindingsAreKept: a user is asked about once, whoever logs in how often at the same time, and one who is not there
// too.
func TestFindingsAreKept(t *testing.T) {
	cfg, _, asked := counted(t, time.Hour)
	r := start(t, cfg)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := r.as("shop", "secret"); got != "shop" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	wg.Wait()
	if n := asked(); n != "1" {
		t.Errorf("asked %s times", n)
	}
	for range 3 {
		_, err := r.as("nobody", "secret")
		wantRefused(t, err, "28P01")
	}
	if n := asked(); n != "2" { // failures right after the question are no reason to ask again
		t.Errorf("asked %s times", n)
	}
}

// TestNothingIsKept: without a cache every login asks.
func TestNothingIsKept(t *testing.T) {
	cfg, server, asked := counted(t, 0)
	r := start(t, cfg)
	for i := range 3 {
		password := fmt.Sprint("secret", i)
		if err := server.Exec(t.Context(), "postgres", "ALTER ROLE shop PASSWORD '"+password+"'"); err != nil {
			t.Fatal(err)
		}
		if got, err := r.as("shop", password); got != "shop" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if n := asked(); n != fmt.Sprint(i+1) {
			t.Errorf("asked %s times", n)
		}
	}
}

// TestDoubt: a failed login has the user asked about again, so that a new password is seen at once although the old one
// is still kept.
func TestDoubt(t *testing.T) {
	cfg, server, _ := counted(t, time.Hour)
	r := start(t, cfg)
	if _, err := r.as("shop", "secret"); err != nil {
		t.Fatal(err)
	}
	if err := server.Exec(t.Context(), "postgres", "ALTER ROLE shop PASSWORD 'new'"); err != nil {
		t.Fatal(err)
	}
	r.eventually("the new password is good", func() bool {
		got, err := r.as("shop", "new")
		return err == nil && got == "shop"
	})
	_, err := r.as("shop", "secret")
	wantRefused(t, err, "28P01")
}

// TestFindingsAreBounded: nobody fills the memory with names.
func TestFindingsAreBounded(t *testing.T) {
	r := &roles{found: make(map[string]finding)}
	now := time.Now()
	for i := range maxFound * 2 {
		r.keep(fmt.Sprint(i), finding{asked: now, until: now.Add(time.Hour)})
	}
	if len(r.found) > maxFound {
		t.Errorf("%d are kept", len(r.found))
	}
	late := finding{asked: now.Add(2 * time.Hour), until: now.Add(3 * time.Hour)}
	for i := 0; len(r.found) < maxFound; i++ {
		r.keep(fmt.Sprint("late", i), late)
	}
	r.keep("last", late)
	for name, f := range r.found {
		if f != late {
			t.Fatalf("%s is kept although it is no longer good", name)
		}
	}
}

// TestExpiry: the password expires while the finding is still good.
func TestExpiry(t *testing.T) {
	r := &roles{source: roleSource{cache: time.Hour}, found: make(map[string]finding)}
	row := func(seconds string) [][][]byte {
		return [][][]byte{{[]byte("shop"), []byte("secret"), []byte(seconds)}}
	}
	for seconds, want := range map[string]time.Duration{"0": 0, "-1": 0, "60": time.Minute, "1e300": maxSeconds * time.Second, "nonsense": 0} {
		f := r.read("shop", row(seconds), finding{asked: time.Unix(1000, 0)})
		if got := f.expires.Sub(f.asked); got != want {
			t.Errorf("%s: expires in %s", seconds, got)
		}
		if secret, known, err := f.result(f.expires.Add(-1)); !known || err != nil || secret == login.NoSecret("the password has expired") {
			t.Errorf("%s: expired before its time", seconds)
		}
		if secret, _, _ := f.result(f.expires); secret != login.NoSecret("the password has expired") {
			t.Errorf("%s: good after its time", seconds)
		}
	}
}

// TestServersThatSayOddThings about a user let nobody in.
func TestOddRows(t *testing.T) {
	log := &lockedBuffer{}
	r := &roles{found: make(map[string]finding), log: slog.New(slog.NewTextHandler(log, nil))}
	for name, rows := range map[string][][][]byte{
		"another user": {{[]byte("other"), []byte("secret")}},
		"two rows":     {{[]byte("shop"), []byte("secret")}, {[]byte("shop"), []byte("secret")}},
		"one column":   {{[]byte("shop")}},
		"no name":      {{nil, []byte("secret")}},
	} {
		if f := r.read("shop", rows, finding{}); f.known {
			t.Errorf("%s: known", name)
		}
	}
	for _, rows := range [][][][]byte{{{[]byte("shop"), nil}}, {{[]byte("shop"), []byte("")}}, {{[]byte("shop"), []byte("SCRAM-SHA-256$x")}}} {
		f := r.read("shop", rows, finding{})
		if _, ok := f.secret.Password(); !f.known || ok || f.secret.Verifier() != nil {
			t.Errorf("%q: %+v", rows, f)
		}
	}
}

// TestProofsOutliveReloads: who logged in before is still logged in to the server as itself afterwards, and the same
// server is asked on the same connection.
func TestProofsOutliveReloads(t *testing.T) {
	cfg, server, asked := counted(t, time.Hour)
	r := start(t, cfg)
	conn, err := r.connectAs("shop", "secret", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for i := range 3 {
		cfg.LoginTime += time.Second
		if err := r.srv.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		if err := server.Exec(t.Context(), "postgres", "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'shop'"); err != nil {
			t.Fatal(err)
		}
		r.eventually("a new connection as the same user", func() bool {
			got, err := who(conn)
			return err == nil && got == "shop"
		})
		if got, err := r.as("shop", "secret"); got != "shop" || err != nil {
			t.Errorf("after reload %d: %q, %v", i, got, err)
		}
	}
	if n := asked(); n != "1" {
		t.Errorf("asked %s times", n)
	}
	cfg.Query.Cache = time.Minute // another way to ask
	if err := r.srv.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := r.as("shop", "secret"); err != nil {
		t.Error(err)
	}
	if n := asked(); n != "2" {
		t.Errorf("asked %s times", n)
	}
	cfg.Query = AuthQuery{} // nobody but the users of the configuration
	cfg.Users = []User{{Name: "boss", Secret: "boss"}}
	if err := r.srv.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	_, err = r.as("shop", "secret")
	wantRefused(t, err, "28P01")
	r.eventually("the client that may not stay leaves", func() bool {
		_, err := who(conn)
		return err != nil
	})
}

// TestBindingOutlivesReload: a login that saw the old certificate is bound to the old one, although there is a new one by
// the time of its proof.
func TestBindingOutlivesReload(t *testing.T) {
	cfg, _, _ := counted(t, time.Hour)
	first, second := selfSigned(t), selfSigned(t)
	cfg.TLS = &tls.Config{Certificates: []tls.Certificate{first}}
	r := start(t, cfg)
	next := cfg
	next.TLS = &tls.Config{Certificates: []tls.Certificate{second}}
	for _, c := range []Config{next, cfg, next} {
		conn, err := r.connectAs("shop", "secret", func(pg *pgconn.Config) {
			pg.TLSConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // a test's own server
			pg.ChannelBinding = "require"
			pg.AfterNetConnect = func(ctx context.Context, _ *pgconn.Config, nc net.Conn) (net.Conn, error) {
				if err := nc.(*tls.Conn).HandshakeContext(ctx); err != nil {
					return nc, err
				}
				return nc, r.srv.Reload(c)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		shown := conn.Conn().(*tls.Conn).ConnectionState().PeerCertificates[0].Raw
		if want := second.Certificate[0]; (string(shown) == string(want)) != (c.TLS == cfg.TLS) {
			t.Error("the wrong certificate was shown")
		}
		conn.Close(context.Background())
	}
}

// TestUnknownUsersLookKnown also where the server is asked: the same messages, and the same salt each time.
func TestUnknownUsersLookKnown(t *testing.T) {
	cfg, server, _ := counted(t, time.Hour)
	cfg.Users = []User{{Name: "own", Secret: "x"}}
	r := start(t, cfg)
	for _, user := range []string{"nobody", "shop", "own"} {
		_, err := r.as(user, "wrong")
		want := fmt.Sprintf("password authentication failed for user %q", user)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	_, err := r.as("own", "wrong")
	wantRefused(t, err, "28P01")
	_, err = r.as("another", "wrong")
	wantRefused(t, err, "08006")
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.eventually("the server is asked again", func() bool {
		got, err := r.as("shop", "secret")
		return err == nil && got == "shop"
	})
}

// TestQueryServer: a client's choice of a database opens no connection of its own.
func TestQueryServer(t *testing.T) {
	for _, c := range []struct {
		name, dsn string
		query     AuthQuery
		want      string
	}{
		{"app", "postgres://u:p@h:1/d", AuthQuery{}, "u@h:1/d"},
		{"*", "postgres://u:p@h:1/d", AuthQuery{}, "u@h:1/d"},
		{"*", "postgres://u:p@h:1/", AuthQuery{}, "u@h:1/postgres"},
		{"app", "postgres://u:p@h:1/d", AuthQuery{User: "asker", Database: "logins"}, "asker@h:1/logins"},
	} {
		server, err := dial.Parse(c.dsn)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.query.server(&Database{Name: c.name, Server: server}).String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.dsn, got, c.want)
		}
	}
}
