package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// serveText runs serve with a configuration file of that text, in a folder of its own where files lie too.
func serveText(t *testing.T, text string, files map[string]string) *running {
	t.Helper()
	folder := t.TempDir()
	for name, contents := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(folder, "sarnic.yaml")
	if err := os.WriteFile(path, []byte("listen: [127.0.0.1:0]\nhttp: 127.0.0.1:0\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{t: t, log: &lines{}, done: make(chan error, 1)}
	go func() { r.done <- run(ctx, []string{"serve", "--config", path}, environment(nil), io.Discard, r.log) }()
	t.Cleanup(func() {
		stop()
		if err := r.ends(); err != nil {
			t.Errorf("%v\n%s", err, r.log)
		}
	})
	r.ready()
	return r
}

// psql logs in with libpq and says who the server thinks it is, or the last line of the error.
func (r *running) psql(dsn, password string, env ...string) (who string, ok bool) {
	r.t.Helper()
	program, err := exec.LookPath("psql")
	if err != nil {
		r.t.Fatal("psql is needed (Debian: postgresql-client): ", err)
	}
	host, port, _ := strings.Cut(r.log.address("listening"), ":")
	cmd := exec.CommandContext(r.t.Context(), program, "-X", "-w", "-At", "-c", "SELECT current_user || '@' || current_database()",
		fmt.Sprintf("host=%s port=%s connect_timeout=20 %s", host, port, dsn))
	cmd.Env = append(append(os.Environ(), "PGPASSWORD="+password), env...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err == nil
}

// wants logs in with psql as each of the users, with its password, and compares what comes of it.
func (r *running) wants(dsn, password, want string) {
	r.t.Helper()
	got, ok := r.psql(dsn, password)
	if fails := strings.HasPrefix(want, "FATAL"); ok == fails || !strings.Contains(got, want) {
		r.t.Errorf("%s: got %q, want %q\n%s", dsn, got, want, r.log)
	}
}

// stored is what the server keeps of a role's password.
func stored(t *testing.T, server *pgtest.Postgres, role string) string {
	t.Helper()
	secret, err := server.Value(t.Context(), pgtest.Superuser, "SELECT rolpassword FROM pg_authid WHERE rolname = '"+role+"'")
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func TestClientsOfAUserlist(t *testing.T) {
	server := pgtest.New(t, pgtest.Options{Version: 18, Users: []pgtest.User{
		{Name: "app", Password: "secret"}, {Name: "hashed", Password: "secret", Encryption: "md5"},
	}})
	text := `
auth: {method: md5, file: users.txt}
databases:
  postgres: {upstream: "` + server.DSN("app", "secret", "postgres") + `"}
users:
  own: {password: mine}
`
	r := serveText(t, text, map[string]string{"users.txt": `
; from PgBouncer
"plain" "a ""quoted"" word"
"scram" "` + stored(t, server, "app") + `"
"hashed" "` + stored(t, server, "hashed") + `"
"own" "theirs"
"nologin" ""
`})
	for _, c := range []struct{ user, password, want string }{
		{"plain", `a "quoted" word`, "app@postgres"},
		{"plain", `a ""quoted"" word`, `FATAL:  password authentication failed for user "plain"`},
		{"scram", "secret", "app@postgres"},
		{"hashed", "secret", "app@postgres"},
		{"own", "mine", "app@postgres"},
		{"own", "theirs", `FATAL:  password authentication failed for user "own"`},
		{"nologin", "x", `FATAL:  password authentication failed for user "nologin"`},
		{"nobody", "x", `FATAL:  password authentication failed for user "nobody"`},
	} {
		r.wants("dbname=postgres sslmode=disable user="+c.user, c.password, c.want)
	}
	for _, secret := range []string{"quoted", "mine", "theirs", stored(t, server, "app")} {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("the log holds %s", secret)
		}
	}
}

// TestUsersLogInToTheServerAsThemselves: with what their logins show, although no password is in the configuration.
func TestUsersLogInToTheServerAsThemselves(t *testing.T) {
	server := pgtest.New(t, pgtest.Options{Version: 18, Users: []pgtest.User{
		{Name: "dsn", Password: "dsn"},
		{Name: "scram", Password: "secret"},
		{Name: "hashed", Password: "secret", Encryption: "md5"},
		{Name: "plain", Password: "secret"},
	}, HBA: []string{
		"host all hashed all md5", "host all all all scram-sha-256",
	}})
	verifier := stored(t, server, "scram")
	r := serveText(t, `
auth: {method: md5, file: users.txt, server_role: own}
databases:
  postgres: {upstream: "`+server.DSN("dsn", "dsn", "postgres")+`"}
  "*": {upstream: "`+server.DSN("dsn", "dsn", "postgres")+`"}
users:
  dsn: {password: dsn, server_user: dsn, server_password: dsn}
  other: {password: secret} # not known to the server
`, map[string]string{"users.txt": `
"scram" "` + verifier + `"
"hashed" "` + stored(t, server, "hashed") + `"
"plain" "secret"
`})
	for _, c := range []struct{ user, database, password, want string }{
		{"scram", "postgres", "secret", "scram@postgres"},
		{"scram", "template1", "secret", "scram@template1"},
		{"scram", "postgres", "wrong", "FATAL:  password authentication failed"},
		{"hashed", "postgres", "secret", "hashed@postgres"},
		{"plain", "postgres", "secret", "plain@postgres"},
		{"dsn", "postgres", "dsn", "dsn@postgres"},
		{"other", "postgres", "secret", `FATAL:  password authentication failed for user "other"`},
	} {
		r.wants("sslmode=disable user="+c.user+" dbname="+c.database, c.password, c.want)
	}
	// a new password on the server: the old one still opens our door, but not the server's
	if err := server.Exec(t.Context(), pgtest.Superuser, "ALTER ROLE scram PASSWORD 'new'; SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'scram'"); err != nil {
		t.Fatal(err)
	}
	r.eventually("refused by the server", func() bool {
		got, _ := r.psql("sslmode=disable user=scram dbname=postgres", "secret")
		return strings.Contains(got, `password authentication failed for user "scram"`)
	})
	for _, secret := range append(strings.Split(verifier, "$")[1:], strings.Split(verifier, ":")...) {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("the log holds %s", secret)
		}
	}
}

// TestAnyRoleOfTheServer: with nothing but a DSN whose role may read pg_authid.
func TestAnyRoleOfTheServer(t *testing.T) {
	for _, version := range pgtest.Versions() {
		server := pgtest.New(t, pgtest.Options{Version: version, Users: []pgtest.User{
			{Name: "boss", Password: "boss", Attributes: "SUPERUSER"},
			{Name: "shop", Password: "secret"},
			{Name: "expired", Password: "secret", Attributes: "VALID UNTIL '2001-01-01'"},
			{Name: "later", Password: "secret", Attributes: "VALID UNTIL '2999-01-01'"},
			{Name: "forever", Password: "secret", Attributes: "VALID UNTIL 'infinity'"},
			{Name: "never", Password: "secret", Attributes: "VALID UNTIL '-infinity'"},
			{Name: "hashed", Password: "secret", Encryption: "md5"},
			{Name: "wörld \"x\"", Password: "secret"},
		}})
		if err := server.Exec(t.Context(), pgtest.Superuser, "CREATE ROLE nologin PASSWORD 'secret'; CREATE ROLE bare LOGIN"); err != nil {
			t.Fatal(err)
		}
		r := startServe(t.Context(), t, "--upstream", server.DSN("boss", "boss", "postgres"))
		r.ready()
		for _, c := range []struct{ user, password, want string }{
			{"boss", "boss", "boss@postgres"},
			{"shop", "secret", "shop@postgres"},
			{"later", "secret", "later@postgres"},
			{"forever", "secret", "forever@postgres"},
			{`'wörld "x"'`, "secret", `wörld "x"@postgres`},
			{"shop", "wrong", `FATAL:  password authentication failed for user "shop"`},
			{"expired", "secret", `FATAL:  password authentication failed for user "expired"`},
			{"never", "secret", `FATAL:  password authentication failed for user "never"`},
			{"hashed", "secret", `FATAL:  password authentication failed for user "hashed"`},
			{"nologin", "secret", `FATAL:  password authentication failed for user "nologin"`},
			{"bare", "secret", `FATAL:  password authentication failed for user "bare"`},
			{"nobody", "secret", `FATAL:  password authentication failed for user "nobody"`},
		} {
			r.wants("sslmode=disable dbname=postgres user="+c.user, c.password, c.want)
		}
		if got, _ := r.psql("sslmode=disable dbname=elsewhere user=shop", "secret"); !strings.Contains(got, "FATAL") {
			t.Errorf("another database: %q", got)
		}
		r.passwordChanges(server)
		for _, text := range []string{"expired", "no such user"} {
			if !strings.Contains(r.log.String(), text) {
				t.Errorf("the log does not say %q\n%s", text, r.log)
			}
		}
		if secret := stored(t, server, "later"); strings.Contains(r.log.String(), strings.Split(secret, "$")[1]) {
			t.Error("a verifier is in the log")
		}
		r.signal()
		if err := r.ends(); err != nil {
			t.Error(err)
		}
	}
}

// passwordChanges: the new one opens, the old one does not, from the moment on that an answer of the server is too old.
func (r *running) passwordChanges(server *pgtest.Postgres) {
	r.t.Helper()
	if err := server.Exec(r.t.Context(), pgtest.Superuser, "ALTER ROLE shop PASSWORD 'new'"); err != nil {
		r.t.Fatal(err)
	}
	r.eventually("the new password", func() bool {
		got, _ := r.psql("sslmode=disable dbname=postgres user=shop", "new")
		return got == "shop@postgres"
	})
	r.wants("sslmode=disable dbname=postgres user=shop", "secret", "FATAL:  password authentication failed")
	if err := server.Exec(r.t.Context(), pgtest.Superuser, "ALTER ROLE shop VALID UNTIL '2001-01-01'"); err != nil {
		r.t.Fatal(err)
	}
	r.eventually("the password to expire", func() bool {
		got, _ := r.psql("sslmode=disable dbname=postgres user=shop", "new")
		return strings.Contains(got, `password authentication failed for user "shop"`)
	})
}

// TestOnlyTheDSNsRole: where it may not read pg_authid, nobody else can log in.
func TestOnlyTheDSNsRole(t *testing.T) {
	server := pgtest.New(t, pgtest.Options{Version: 18, Users: []pgtest.User{{Name: "app", Password: "app"}, {Name: "shop", Password: "secret"}}})
	r := startServe(t.Context(), t, "--upstream", server.DSN("app", "app", "postgres"))
	r.ready()
	for range 3 {
		r.wants("sslmode=disable dbname=postgres user=app", "app", "app@postgres")
		r.wants("sslmode=disable dbname=postgres user=shop", "secret", `FATAL:  password authentication failed for user "shop"`)
	}
	if n := strings.Count(r.log.String(), "does not permit the auth query"); n != 1 {
		t.Errorf("told %d times\n%s", n, r.log)
	}
	r.signal()
	if err := r.ends(); err != nil {
		t.Error(err)
	}
}

// TestOwnQuery is PgBouncer's way: a function that only the role of the query may call.
func TestOwnQuery(t *testing.T) {
	server := pgtest.New(t, pgtest.Options{Version: 15, Users: []pgtest.User{
		{Name: "app", Password: "app"}, {Name: "asker", Password: "asks"}, {Name: "shop", Password: "secret"}, {Name: "poor", Password: "secret"},
	}})
	for _, name := range []string{"logins", "own"} {
		if err := server.Exec(t.Context(), pgtest.Superuser, "CREATE DATABASE "+name); err != nil {
			t.Fatal(err)
		}
	}
	const function = `
		CREATE SCHEMA sarnic AUTHORIZATION asker;
		CREATE FUNCTION sarnic.secret(name text) RETURNS TABLE (u name, p text) LANGUAGE sql SECURITY DEFINER AS
			$$ SELECT rolname, rolpassword FROM pg_authid WHERE rolname = name AND rolname <> 'poor' $$;
		REVOKE ALL ON FUNCTION sarnic.secret(text) FROM public;
		GRANT EXECUTE ON FUNCTION sarnic.secret(text) TO asker;`
	// what would be found first, if anything but pg_catalog were looked through
	const trap = `CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'shop' $$;
		ALTER ROLE asker SET search_path = public, pg_catalog;`
	if err := server.Exec(t.Context(), "logins", function+trap); err != nil {
		t.Fatal(err)
	}
	r := serveText(t, `
auth: {query: "SELECT u, p FROM sarnic.secret(lower($1))", user: asker, password: asks, database: logins, query_cache: 0}
databases:
  own: {upstream: "`+server.DSN("app", "app", "own")+`"}
  "*": {upstream: "`+server.DSN("app", "app", "postgres")+`"}
users:
  app: {password: app}
`, nil)
	for _, c := range []struct{ dsn, password, want string }{
		{"user=app dbname=own", "app", "app@own"},
		{"user=shop dbname=own", "secret", "shop@own"},
		{"user=shop dbname=template1", "secret", "shop@template1"},
		{"user=shop dbname=own options='-c search_path=public,pg_catalog'", "secret", "shop@own"},
		{"user=SHOP dbname=own", "secret", `FATAL:  password authentication failed for user "SHOP"`}, // another name comes back
		{"user=poor dbname=own", "secret", `FATAL:  password authentication failed for user "poor"`},
		{"user=shop dbname=sarnic", "secret", "FATAL"},
	} {
		r.wants("sslmode=disable "+c.dsn, c.password, c.want)
	}
}

// TestQueryThatCannotRun: users of the configuration do not notice.
func TestQueryThatCannotRun(t *testing.T) {
	server := pgtest.New(t, pgtest.Options{Version: 18, Users: []pgtest.User{{Name: "app", Password: "app"}}})
	text := `
auth: {query: QUERY, user: asker, password: hush}
databases:
  postgres: {upstream: "` + server.DSN("app", "app", "postgres") + `"}
users:
  app: {password: app}
`
	for query, want := range map[string]string{
		"SELECT $1, nonsense":                 "FATAL:  internal error",
		"SELECT $1::text, 'x', pg_sleep(600)": "FATAL:  internal error",
	} {
		if err := server.Exec(t.Context(), pgtest.Superuser, "DROP ROLE IF EXISTS asker"); err != nil {
			t.Fatal(err)
		}
		r := serveText(t, strings.Replace(text, "QUERY", `"`+query+`"`, 1), nil)
		r.wants("sslmode=disable dbname=postgres user=other", "x", "FATAL:  internal error") // the role is not there
		if err := server.Exec(t.Context(), pgtest.Superuser, "CREATE ROLE asker LOGIN PASSWORD 'hush'"); err != nil {
			t.Fatal(err)
		}
		r.eventually("the query's own error", func() bool {
			got, _ := r.psql("sslmode=disable dbname=postgres user=other", "x")
			return strings.Contains(got, want) && strings.Count(r.log.String(), "SQLSTATE") > 1
		})
		r.wants("sslmode=disable dbname=postgres user=app", "app", "app@postgres")
		if strings.Contains(r.log.String(), "hush") {
			t.Errorf("a password is in the log\n%s", r.log)
		}
	}
	r := serveText(t, strings.Replace(text, "QUERY", `"SELECT $1::text, 'secret'"`, 1), nil)
	r.wants("sslmode=disable dbname=postgres user=asker", "secret", "FATAL") // a secret that is not the server's
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	r.wants("sslmode=disable dbname=postgres user=other", "x", "FATAL:  cannot connect to server: connection refused")
}

// TestRules: certificates, roles, and those that nobody named.
func TestRules(t *testing.T) {
	server := pgtest.New(t, pgtest.Options{Version: 18, TLS: true, Users: []pgtest.User{
		{Name: "boss", Password: "boss", Attributes: "SUPERUSER"},
		{Name: "worker", Password: "secret"},
		{Name: "shop", Password: "secret"},
		{Name: "stranger", Password: "secret"},
	}})
	if err := server.Exec(t.Context(), pgtest.Superuser, "CREATE ROLE team; CREATE ROLE staff; GRANT staff TO team; GRANT team TO worker"); err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, err := server.ClientCertificate("certified")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	writeCertificate(t, folder)
	r := serveText(t, `
tls: {cert: `+folder+`/server.crt, key: `+folder+`/server.key, client_ca: `+server.CAFile()+`}
auth:
  query: pg_authid
  rules:
    - {type: hostssl, user: [certified], method: cert}
    - {type: hostssl, user: [mapped], method: cert, map: people}
    - {type: hostssl, user: [both], method: scram-sha-256, clientcert: verify-full, map: people}
    - {user: [+staff], method: scram-sha-256}
    - {user: [shop], method: reject}
  maps:
    people: [{certificate: /^cert, user: mapped}, {certificate: certified, user: both}]
databases:
  postgres: {upstream: "`+server.DSN("boss", "boss", "postgres")+`?sslmode=require"}
users:
  certified: {}
  mapped: {}
  both: {password: secret}
`, nil)
	certificate := " sslmode=require sslcert=" + certFile + " sslkey=" + keyFile
	for _, c := range []struct{ dsn, password, want string }{
		{"user=certified" + certificate, "", "boss@postgres"},
		{"user=certified sslmode=require sslcert=none", "", "FATAL:  connection requires a valid client certificate"},
		{"user=certified sslmode=disable", "", `FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "certified", database "postgres", no encryption`},
		{"user=mapped" + certificate, "", "boss@postgres"},
		{"user=both" + certificate, "secret", "boss@postgres"},
		{"user=both" + certificate, "wrong", `FATAL:  password authentication failed for user "both"`},
		{"user=both sslmode=require sslcert=none", "secret", "FATAL:  connection requires a valid client certificate"},
		{"user=worker sslmode=disable", "secret", "worker@postgres"},
		{"user=worker" + certificate, "secret", "worker@postgres"},
		{"user=worker sslmode=disable", "wrong", `FATAL:  password authentication failed for user "worker"`},
		{"user=shop sslmode=disable", "secret", `FATAL:  pg_hba.conf rejects connection for host "127.0.0.1", user "shop", database "postgres", no encryption`},
		{"user=stranger" + certificate, "secret", `FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "stranger", database "postgres", SSL encryption`},
	} {
		r.wants("dbname=postgres "+c.dsn, c.password, c.want)
	}
	if log := r.log.String(); !strings.Contains(log, "auth.rules[4]") {
		t.Errorf("the rule is not told\n%s", log)
	}
}

// TestRulesOfPostgreSQL reads the server's own file.
func TestRulesOfPostgreSQL(t *testing.T) {
	server := pgtest.New(t, pgtest.Options{Version: 15, Users: []pgtest.User{{Name: "app", Password: "app"}}, HBA: []string{
		"host all app 127.0.0.1/32 scram-sha-256",
	}})
	r := serveText(t, `
auth: {hba_file: "`+server.DataDir()+`/pg_hba.conf"}
databases:
  postgres: {upstream: "`+server.DSN("app", "app", "postgres")+`"}
users:
  app: {password: app}
  other: {password: app}
`, nil)
	r.wants("sslmode=disable user=app dbname=postgres", "app", "app@postgres")
	r.wants("sslmode=disable user=other dbname=postgres", "app", `FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "other"`)
}
