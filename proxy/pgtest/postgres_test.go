package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// fastStart is what starting a server in a test may cost. The limit leaves room for a loaded machine and the race detector.
const fastStart = 5 * time.Second

func eachVersion(t *testing.T, test func(t *testing.T, version int)) {
	for _, version := range Versions() {
		t.Run(fmt.Sprintf("pg%d", version), func(t *testing.T) { test(t, version) })
	}
}

func value(t *testing.T, dsn, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var got string
	if err := conn.QueryRow(t.Context(), sql).Scan(&got); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return got
}

func execute(t *testing.T, p *Postgres, database, sql string) {
	t.Helper()
	if err := p.Exec(t.Context(), database, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestLifeOfAServer(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		Server(t, version) // downloads and initialises, outside the time that is measured
		started := time.Now()
		p := New(t, Options{Version: version, Users: []User{{Name: "anna", Password: "it's", Attributes: "CREATEDB"}}})
		took := time.Since(started)
		t.Logf("PostgreSQL %s started in %s", p.Install.Version, took)
		if took > fastStart {
			t.Errorf("starting took %s, want less than %s", took, fastStart)
		}

		dsn := p.DSN("anna", "it's", "postgres")
		if got := value(t, dsn, "SELECT current_user::text"); got != "anna" {
			t.Errorf("current_user is %s", got)
		}
		if got := value(t, dsn, "SHOW server_version_num"); !strings.HasPrefix(got, fmt.Sprint(version)) {
			t.Errorf("server_version_num is %s", got)
		}
		if _, err := pgx.Connect(t.Context(), p.DSN("anna", "wrong", "postgres")); sqlState(err) != "28P01" {
			t.Errorf("wrong password: %v", err)
		}

		admin := p.AdminDSN("postgres")
		execute(t, p, "postgres", "CREATE TABLE kept AS SELECT 7 AS n")
		port, pid := p.Port(), p.PID()
		if err := p.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p.Port() != port || p.PID() == pid {
			t.Errorf("after a restart: port %d → %d, pid %d → %d", port, p.Port(), pid, p.PID())
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		if alive(pid) || p.PID() != 0 {
			t.Error("killed and still there")
		}
		if _, err := pgx.Connect(t.Context(), dsn); err == nil {
			t.Error("a killed server answers")
		}
		if err := p.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := value(t, admin, "SELECT n::text FROM kept"); got != "7" {
			t.Errorf("after a crash: %s", got)
		}
		log, err := os.ReadFile(p.LogFile())
		if err != nil || !strings.Contains(string(log), "automatic recovery in progress") {
			t.Errorf("the log shows no recovery after Kill: %v", err)
		}
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := p.Stop(); err != nil {
			t.Errorf("stopping twice: %v", err)
		}
		dir := p.work.path
		for range 2 {
			if err := p.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		if exists(dir) {
			t.Errorf("%s is left behind", dir)
		}
		if err := p.Restart(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("restart after close: %v", err)
		}
	})
}

func TestSettingsAndHBA(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		p := New(t, Options{
			Version:  version,
			Settings: map[string]string{"work_mem": "7MB", "application_name": "it's"},
			HBA:      []string{"host all legacy 127.0.0.1/32 md5", "host all open 127.0.0.1/32 trust", "host all all 127.0.0.1/32 reject"},
			Users: []User{
				{Name: "legacy", Password: "old", Encryption: "md5"},
				{Name: "open", Password: "x"},
				{Name: "other", Password: "x"},
			},
		})
		if got := value(t, p.AdminDSN("postgres"), "SHOW work_mem"); got != "7MB" {
			t.Errorf("work_mem is %s", got)
		}
		if got := value(t, p.AdminDSN("postgres"), "SELECT rolpassword FROM pg_authid WHERE rolname = 'legacy'"); !strings.HasPrefix(got, "md5") {
			t.Errorf("the md5 user has %.8s…", got)
		}
		if got := value(t, p.AdminDSN("postgres"), "SELECT rolpassword FROM pg_authid WHERE rolname = 'open'"); !strings.HasPrefix(got, "SCRAM-SHA-256") {
			t.Errorf("the default user has %.8s…", got)
		}
		value(t, p.DSN("legacy", "old", "postgres"), "SELECT 'x'")
		value(t, p.DSN("open", "whatever", "postgres"), "SELECT 'x'")
		if _, err := pgx.Connect(t.Context(), p.DSN("other", "x", "postgres")); sqlState(err) != "28000" {
			t.Errorf("rejected user: %v", err)
		}
	})
}

func TestTLS(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		p := New(t, Options{
			Version: version, TLS: true,
			HBA:   []string{"hostssl all anna 127.0.0.1/32 cert", "hostssl all all 127.0.0.1/32 scram-sha-256"},
			Users: []User{{Name: "anna"}, {Name: "berk", Password: "pw"}},
		})
		verified := func(user, password string, more ...string) string {
			query := url.Values{"sslmode": {"verify-full"}, "sslrootcert": {p.CAFile()}}
			for i := 0; i+1 < len(more); i += 2 {
				query.Set(more[i], more[i+1])
			}
			return p.DSN(user, password, "postgres") + "?" + query.Encode()
		}
		inTLS := "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
		if got := value(t, verified("berk", "pw"), inTLS); !strings.HasPrefix(got, "TLSv1.") {
			t.Errorf("TLS version %q", got)
		}
		if got := value(t, verified("berk", "pw", "channel_binding", "require"), inTLS); !strings.HasPrefix(got, "TLSv1.") {
			t.Errorf("with channel binding: TLS version %q", got)
		}
		cert, key, err := p.ClientCertificate("anna")
		if err != nil {
			t.Fatal(err)
		}
		if got := value(t, verified("anna", "", "sslcert", cert, "sslkey", key), "SELECT current_user::text"); got != "anna" {
			t.Errorf("by certificate: %s", got)
		}
		if _, err := pgx.Connect(t.Context(), verified("anna", "")); err == nil {
			t.Error("logged in without a certificate")
		}
		if _, err := pgx.Connect(t.Context(), p.DSN("berk", "pw", "postgres")+"?sslmode=disable"); sqlState(err) != "28000" {
			t.Errorf("without TLS: %v", err)
		}
	})
	plain := Server(t, 15)
	if _, _, err := plain.ClientCertificate("anna"); err == nil || plain.CAFile() != "" {
		t.Errorf("a server without TLS has certificates: %v", err)
	}
}

func TestBadSettingIsToldWithTheLog(t *testing.T) {
	_, err := Start(t.Context(), Options{Version: 15, Settings: map[string]string{"shared_buffers": "much"}})
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "shared_buffers"`) {
		t.Errorf("got %v", err)
	}
	_, err = Start(t.Context(), Options{Version: 15, Users: []User{{Name: "x", Attributes: "NONSENSE"}}})
	if sqlState(err) != "42601" {
		t.Errorf("bad attributes: %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	taken := Server(t, 15).Port()
	if PortFree(taken) {
		t.Error("a port with a server on it looks free")
	}
	if _, err := Start(t.Context(), Options{Version: 15, Port: taken}); !errors.Is(err, ErrPortTaken) {
		t.Errorf("got %v", err)
	}
}

func TestEndOfContextClosesTheServer(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p, err := Start(ctx, Options{Version: version})
		if err != nil {
			t.Fatal(err)
		}
		pid, dir := p.PID(), p.work.path
		cancel()
		eventually(t, "the server ends with its context", func() bool { return !alive(pid) && !exists(dir) })
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Options{Version: 15}); !errors.Is(err, context.Canceled) {
		t.Errorf("start with a context that has ended: %v", err)
	}
}

func TestReplica(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		primary := New(t, Options{Version: version, TLS: true, Users: []User{{Name: "anna", Password: "pw"}}})
		admin := primary.AdminDSN("postgres")
		execute(t, primary, "postgres", "CREATE TABLE before AS SELECT generate_series(1, 1000) AS n")
		started := time.Now()
		replica, err := primary.Replica(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("replica of PostgreSQL %s in %s", primary.Install.Version, time.Since(started))

		execute(t, primary, "postgres", "CREATE TABLE after AS SELECT generate_series(1, 10) AS n")
		check := func() {
			t.Helper()
			if err := replica.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			dsn := replica.DSN("anna", "pw", "postgres")
			if got := value(t, dsn, "SELECT pg_is_in_recovery()::text"); got != "true" {
				t.Errorf("in recovery: %s", got)
			}
			sql := "SELECT (SELECT count(*) FROM before) || ' ' || (SELECT count(*) FROM after)"
			if got := value(t, replica.AdminDSN("postgres"), sql); got != "1000 10" {
				t.Errorf("rows on the replica: %s", got)
			}
		}
		check()
		conn, err := pgx.Connect(t.Context(), replica.AdminDSN("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "CREATE TABLE no ()"); sqlState(err) != "25006" {
			t.Errorf("write on the replica: %v", err)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}

		// A replica that was away catches up, also over a restart of its primary.
		if err := replica.Kill(); err != nil {
			t.Fatal(err)
		}
		execute(t, primary, "postgres", "DELETE FROM after; INSERT INTO after SELECT generate_series(1, 10)")
		if err := errors.Join(primary.Restart(t.Context()), replica.Restart(t.Context())); err != nil {
			t.Fatal(err)
		}
		check()

		pid := replica.PID()
		if err := replica.Close(); err != nil {
			t.Fatal(err)
		}
		if alive(pid) {
			t.Error("closed and still there")
		}
		if got := value(t, admin, "SELECT count(*)::text FROM pg_replication_slots"); got != "0" {
			t.Errorf("%s slots are left", got)
		}
		if err := primary.CatchUp(t.Context()); err == nil {
			t.Error("a primary caught up")
		}

		// The primary takes its replicas along.
		second, err := primary.Replica(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pid = second.PID()
		if err := primary.Close(); err != nil {
			t.Fatal(err)
		}
		if alive(pid) || exists(second.work.path) {
			t.Error("the replica outlived its primary")
		}
		if _, err := primary.Replica(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("replica of a closed server: %v", err)
		}
	})
}

func TestReplicaUnderLoad(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		primary := New(t, Options{Version: version})
		execute(t, primary, "postgres", "CREATE TABLE busy (n bigint)")
		ctx, cancel := context.WithCancel(t.Context())
		written := make(chan int)
		go func() {
			count := 0
			for ctx.Err() == nil {
				sql := fmt.Sprintf("INSERT INTO busy SELECT %d FROM generate_series(1, 500); CREATE TABLE t%d (); DROP TABLE t%[1]d", count, count)
				if err := primary.Exec(t.Context(), "postgres", sql); err != nil {
					t.Error(err)
					break
				}
				count++
			}
			written <- count
		}()
		replica, err := primary.Replica(t.Context())
		cancel()
		want := fmt.Sprint(500 * <-written)
		if err != nil {
			t.Fatal(err)
		}
		if err := replica.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := value(t, replica.AdminDSN("postgres"), "SELECT count(*)::text FROM busy"); got != want {
			t.Errorf("%s rows on the replica, %s on the primary", got, want)
		}
	})
}

func TestSharedServerAndDatabases(t *testing.T) {
	Each(t, func(t *testing.T, p *Postgres) {
		if again := Server(t, p.Install.Major); again != p {
			t.Error("two servers of one version")
		}
		var name string
		t.Run("database", func(t *testing.T) {
			name = p.NewDatabase(t)
			other := p.NewDatabase(t)
			execute(t, p, name, "CREATE TABLE only_here ()")
			if got := value(t, p.DSN(Superuser, SuperPassword, name), "SELECT current_database()::text"); got != name {
				t.Errorf("connected to %s", got)
			}
			if got := value(t, p.AdminDSN(other), "SELECT coalesce(to_regclass('only_here')::text, 'none')"); got != "none" {
				t.Errorf("a new database holds %s", got)
			}
			// A session left open must not keep the database.
			if _, err := pgx.Connect(context.WithoutCancel(t.Context()), p.AdminDSN(name)); err != nil {
				t.Fatal(err)
			}
		})
		if _, err := pgx.Connect(t.Context(), p.AdminDSN(name)); sqlState(err) != "3D000" {
			t.Errorf("the database of an ended test: %v", err)
		}
	})
}

func sqlState(err error) string {
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		return failure.Code
	}
	return ""
}
