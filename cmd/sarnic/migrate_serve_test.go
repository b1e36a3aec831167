package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// serveMigrated migrates a pgbouncer.ini beside which the files lie, and serves what comes of it. In text and files, PORT is a
// free port.
func serveMigrated(t *testing.T, text string, files map[string]string, vars map[string]string) *running {
	t.Helper()
	port, err := pgtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	ini, out := filepath.Join(folder, "pgbouncer.ini"), filepath.Join(folder, "sarnic.yaml")
	for name, contents := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(ini, []byte(strings.ReplaceAll(text, "PORT", fmt.Sprint(port))), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, remarks := invoke(t, nil, "migrate", ini, "--out", out)
	if code != exitOK || strings.Contains(remarks, "sarnic check would say") {
		t.Fatalf("exit code %d\n%s", code, remarks)
	}
	t.Log(remarks)
	made, err := os.OpenFile(out, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = made.WriteString("http: 127.0.0.1:0\n") // the tests ask it whether sarnic is ready
	if err != nil || made.Close() != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{t: t, log: &lines{}, done: make(chan error, 1)}
	go func() { r.done <- run(ctx, []string{"serve", "--config", out}, environment(vars), io.Discard, r.log) }()
	t.Cleanup(func() {
		stop()
		if err := r.ends(); err != nil {
			t.Errorf("%v\n%s", err, r.log)
		}
	})
	r.ready()
	return r
}

// TestMigratedRolesLogInAsThemselves: without user= in [databases], with secrets of each kind in userlist.txt and others that
// the server is asked for.
func TestMigratedRolesLogInAsThemselves(t *testing.T) {
	server := pgtest.New(t, pgtest.Options{Version: 18, Users: []pgtest.User{
		{Name: "plain", Password: "secret"},
		{Name: "scram", Password: "secret"},
		{Name: "asker", Password: "it's", Attributes: "SUPERUSER"},
		{Name: "asked", Password: "secret"},
	}})
	r := serveMigrated(t, fmt.Sprintf(`
[databases]
known = host=%[1]s port=%[2]d dbname=postgres pool_size=3 timezone='Asia/Tokyo' application_name='by default'
* = host=%[1]s port=%[2]d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = PORT
unix_socket_dir =
auth_file = userlist.txt
auth_user = asker
admin_users = plain
pool_mode = transaction
max_user_connections = 5
`, server.Host(), server.Port()), map[string]string{"userlist.txt": `
"plain" "secret"
"asker" "it's"
"scram" "` + stored(t, server, "scram") + `"
`}, map[string]string{"ASKER_PASSWORD": "it's"})
	for _, c := range []struct{ user, database, password, want string }{
		{"plain", "known", "secret", "plain@postgres"},
		{"scram", "known", "secret", "scram@postgres"},
		{"scram", "template1", "secret", "scram@template1"},
		{"asked", "known", "secret", "asked@postgres"},
		{"asked", "known", "wrong", "FATAL:  password authentication failed"},
		{"nobody", "known", "secret", "FATAL:  password authentication failed"},
		{"scram", "nowhere", "secret", `FATAL:  database "nowhere" does not exist`},
	} {
		r.wants("sslmode=disable user="+c.user+" dbname="+c.database, c.password, c.want)
	}
	pools := r.asks("plain:secret", "sarnic", "SHOW DATABASES")
	for _, want := range []string{"known 3 transaction", "template1 20 transaction"} {
		if !strings.Contains(pools, want) {
			t.Errorf("no %q in\n%s", want, pools)
		}
	}
	sql := "SELECT current_setting('timezone'), current_setting('application_name')"
	if got := r.asks("plain:secret", "known", sql); got != "Asia/Tokyo by default" {
		t.Errorf("settings of the database: %s", got)
	}
}

// asks runs a command and returns the result: of SHOW DATABASES the columns that matter here.
func (r *running) asks(user, database, command string) string {
	r.t.Helper()
	results := r.query(user, database, command)
	var rows []string
	for _, row := range results.Rows {
		var values []string
		for i, f := range results.FieldDescriptions {
			if command != "SHOW DATABASES" || slices.Contains([]string{"name", "pool_size", "pool_mode"}, f.Name) {
				values = append(values, string(row[i]))
			}
		}
		rows = append(rows, strings.Join(values, " "))
	}
	return strings.Join(rows, "\n")
}

// TestMigratedRolesAreForced: with user= in [databases] all clients of it are that role, within one pool's connections.
func TestMigratedRolesAreForced(t *testing.T) {
	server := pgtest.New(t, pgtest.Options{Version: 18, TLS: true, Users: []pgtest.User{
		{Name: "app", Password: `a '\ b`}, {Name: "night", Password: "secret"},
	}})
	r := serveMigrated(t, fmt.Sprintf(`
[databases]
day = host=%[1]s port=%[2]d dbname=postgres user=app password='a ''\ b' pool_size=2
night = host=%[1]s port=%[2]d dbname=postgres user=night
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = PORT
unix_socket_dir =
auth_type = trust
auth_file = userlist.txt
stats_users = night
server_tls_sslmode = verify-ca
server_tls_ca_file = %[3]s
`, server.Host(), server.Port(), server.CAFile()), map[string]string{"userlist.txt": `
"night" "secret"
"one" ""
"two" ""
`}, map[string]string{"APP_PASSWORD": `a \'\\ b`, "NIGHT_PASSWORD": "secret"})
	for _, c := range []struct{ user, database, want string }{
		{"one", "day", "app@postgres"},
		{"two", "day", "app@postgres"},
		{"two", "night", "night@postgres"},
		{"night", "day", "app@postgres"},
		{"three", "day", "FATAL"},
		{"one", "postgres", "FATAL"},
	} {
		r.wants("sslmode=disable user="+c.user+" dbname="+c.database, "", c.want)
	}
	if got := r.asks("night:", "sarnic", "SHOW DATABASES"); !strings.Contains(got, "day 2 session") {
		t.Error(got)
	}
	if got := r.asks("one:", "day", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"); got != "t" {
		t.Errorf("TLS towards the server: %s", got)
	}
	for _, secret := range []string{`a '\ b`, `a \'\\ b`} {
		if strings.Contains(r.log.String(), secret) {
			t.Error("a password is in the log")
		}
	}
}

// query runs one on a connection of its own. user is user:password.
func (r *running) query(user, database, sql string) *pgconn.Result {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	conn, err := pgconn.Connect(ctx, "postgres://"+user+"@"+r.log.address("listening")+"/"+database+"?sslmode=disable")
	if err != nil {
		r.t.Fatalf("%v\n%s", err, r.log)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", sql, err, r.log)
	}
	return results[0]
}
