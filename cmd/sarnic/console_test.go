package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/config"
)

// console connects to the console of a running program.
func (r *running) console(user string) *pgconn.PgConn {
	r.t.Helper()
	conn, err := pgconn.Connect(r.t.Context(), "postgres://"+user+"@"+r.log.address("listening")+"/sarnic?sslmode=disable")
	if err != nil {
		r.t.Fatalf("%v\n%s", err, r.log)
	}
	r.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(r.t.Context())) })
	return conn
}

// say runs a command and returns the error's code, "" for none.
func (r *running) say(console *pgconn.PgConn, command string) string {
	r.t.Helper()
	_, err := console.Exec(r.t.Context(), command).ReadAll()
	var e *pgconn.PgError
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &e):
		r.t.Fatalf("%s: %v\n%s", command, err, r.log)
	}
	return e.Code
}

// settings is SHOW CONFIG: values and, behind a slash, defaults.
func (r *running) settings(console *pgconn.PgConn) map[string]string {
	r.t.Helper()
	all := make(map[string]string)
	results, err := console.Exec(r.t.Context(), "SHOW CONFIG").ReadAll()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, row := range results[0].Rows {
		if _, twice := all[string(row[0])]; twice {
			r.t.Errorf("%s is there twice", row[0])
		}
		all[string(row[0])] = string(row[1]) + " / " + string(row[2])
	}
	return all
}

func TestShowConfigHasEveryKeyAndNoSecret(t *testing.T) {
	f := defaults()
	f.Auth.Password, f.Auth.Query = "hunter2", "postgres://u:hunter2@h/db"
	f.TLS.Key = "password=hunter2"
	f.Users = map[string]user{"app": {Password: "hunter2"}}
	f.Databases = map[string]database{"app": {Upstream: "postgres://app:hunter2@db/app"}}
	f.Listen = []string{"10.0.0.1:5432", "10.0.0.2:5433"}
	shown := make(map[string]string)
	for _, s := range f.show() {
		shown[s.Key] = s.Value
		if strings.Contains(s.Value+s.Default, "hunter2") {
			t.Errorf("%s shows a secret: %s", s.Key, s.Value)
		}
	}
	for _, key := range config.Keys(f) {
		if _, ok := shown[key]; !ok && !strings.Contains(key, "*") {
			t.Errorf("%s is not shown", key)
		}
	}
	for key, want := range map[string]string{
		"pool.size": "20", "pool.lifetime": "1h", "pool.min_size": "0", "unix_socket.mode": "0777", "listen": "10.0.0.1:5432, 10.0.0.2:5433",
		"max_client_conn": "10000", "max_user_connections": "0", "default_pool_size": "20", "query_wait_timeout": "120", "listen_port": "5432",
		"auth.password": "(hidden)", "auth.query": "(hidden)",
	} {
		if shown[key] != want {
			t.Errorf("%s: %q, want %q", key, shown[key], want)
		}
	}
}

func TestAliasesNameKeysThatAreThere(t *testing.T) {
	f := defaults()
	own := make(map[string]bool)
	for _, s := range f.plain() {
		own[s.key] = true
	}
	for _, a := range aliases() {
		if a.key != "" && !own[a.key] {
			t.Errorf("%s is to be %s, which there is not", a.name, a.key)
		}
		if own[a.name] {
			t.Errorf("%s is a key of the file too", a.name)
		}
	}
}

func TestSettingOneKey(t *testing.T) {
	s := mustParseServe(t, nil, "--upstream", "postgres://app:x@db/shop", "--pool-size", "7")
	for _, c := range []struct{ key, value, want string }{
		{"pool.size", "9", ""},
		{"default_pool_size", "9", ""},
		{"query_wait_timeout", "1.5", ""},
		{"pool.wait_timeout", "90s", ""},
		{"drain_timeout", "0", ""},
		{"auth.method", "md5", ""},
		{"pool.size", "0", "22023"},
		{"pool.size", "many", "22023"},
		{"query_wait_timeout", "90s", "22023"},
		{"pool.wait_timeout", "90", "22023"},
		{"pool.size", "9}, users: {x: {password: y}", "22023"},
		{"pool.mode", "none", "22023"},
		{"listen", "127.0.0.1:1", "22023"},
		{"nothing", "1", "42704"},
		{"users", "1", "42704"},
		{"databases.shop.max_connections", "1", "42704"},
		{"max_db_connections", "1", "42704"},
	} {
		next, err := s.with(c.key, c.value)
		if err != nil {
			err = notSet(err)
		}
		var told interface{ SQLState() string }
		if code := ""; errors.As(err, &told) {
			if code = told.SQLState(); code != c.want {
				t.Errorf("SET %s = %s: %v, want %s", c.key, c.value, err, c.want)
			}
			continue
		}
		if err != nil || c.want != "" {
			t.Errorf("SET %s = %s: %v, want %q", c.key, c.value, err, c.want)
		}
		if len(next.proxy.Users) != 1 || len(next.proxy.Databases) != 1 || next.again == nil {
			t.Errorf("SET %s = %s: %+v", c.key, c.value, next.proxy)
		}
	}
	next, err := s.with("default_pool_size", "9")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := next.with("query_wait_timeout", "5"); err != nil || again.proxy.Databases[0].Pool.Size != 9 || again.proxy.Databases[0].Pool.WaitTimeout.Seconds() != 5 {
		t.Errorf("%+v, %v", again.proxy.Databases, err)
	}
	if s.proxy.Databases[0].Pool.Size != 7 || s.source.Pool.Size != 7 {
		t.Error("the settings before have changed")
	}
}

// What the console sets and reloads is what applies.
func TestConsoleSetsAndReloads(t *testing.T) {
	c := serveFile(t, "admin: {users: [op], stats_users: [stats]}\npool: {size: 4}")
	op := c.console("op")
	if got := c.settings(op); got["pool.size"] != "4 / 20" || got["max_client_conn"] != "10000 / 10000" {
		t.Errorf("%v", got)
	}
	for command, code := range map[string]string{
		"SET default_pool_size = 6": "", "SET pool.size = 0": "22023", "SET limits.loops = 3": "22023", "SET http = '127.0.0.1:1'": "22023", "SET x = 1": "42704",
	} {
		if got := c.say(op, command); got != code {
			t.Errorf("%s: %q, want %q", command, got, code)
		}
	}
	if got := c.settings(op)["pool.size"]; got != "6 / 20" {
		t.Error(got)
	}
	if got := c.say(c.console("stats"), "SET default_pool_size = 7"); got != "42501" {
		t.Error(got)
	}
	if got := c.say(op, "RELOAD"); got != "" {
		t.Error(got)
	}
	if got := c.settings(op)["pool.size"]; got != "4 / 20" {
		t.Errorf("after a reload: %s", got)
	}
	c.write("pool: {size: 0}")
	if got := c.say(op, "RELOAD"); got != "F0000" {
		t.Error(got)
	}
}

func TestConsoleShutsDown(t *testing.T) {
	t.Run("at once", func(t *testing.T) {
		r, client := serveWithTransaction(t)
		r.say(r.secretConsole(), "SHUTDOWN")
		if err := r.ends(); err != nil {
			t.Errorf("%v\n%s", err, r.log)
		}
		if err := client.Exec(t.Context(), "COMMIT").Close(); err == nil {
			t.Error("the transaction went on")
		}
	})
	t.Run("behind transactions", func(t *testing.T) {
		r, client := serveWithTransaction(t)
		if got := r.say(r.secretConsole(), "SHUTDOWN WAIT_FOR_SERVERS"); got != "" {
			t.Error(got)
		}
		r.drains()
		if err := client.Exec(t.Context(), "SELECT 1; COMMIT").Close(); err != nil {
			t.Error(err)
		}
		if err := r.ends(); err != nil {
			t.Errorf("%v\n%s", err, r.log)
		}
	})
	t.Run("behind clients", func(t *testing.T) {
		r, client := serveWithTransaction(t, "--drain-timeout", "1ms")
		console := r.secretConsole()
		if got := r.say(console, "SHUTDOWN WAIT_FOR_CLIENTS"); got != "" {
			t.Error(got)
		}
		r.drains()
		for _, sql := range []string{"COMMIT", "SELECT 1", "BEGIN", "COMMIT"} {
			if err := client.Exec(t.Context(), sql).Close(); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
		if got := r.say(console, "SHOW CLIENTS"); got != "" {
			t.Error(got)
		}
		_ = client.Close(t.Context())
		if err := r.ends(); err != nil {
			t.Errorf("%v\n%s", err, r.log)
		}
	})
	t.Run("with a change of mind", func(t *testing.T) {
		r, client := serveWithTransaction(t, "--drain-timeout", "0")
		console := r.secretConsole()
		for _, command := range []string{"SHUTDOWN WAIT_FOR_CLIENTS", "SHUTDOWN WAIT_FOR_SERVERS"} {
			if got := r.say(console, command); got != "" {
				t.Error(got)
			}
			r.drains()
		}
		if err := client.Exec(t.Context(), "SELECT 1").Close(); err != nil {
			t.Error(err)
		}
		r.say(console, "SHUTDOWN")
		if err := r.ends(); err != nil {
			t.Errorf("%v\n%s", err, r.log)
		}
	})
}

// secretConsole is the console for the user of the DSN, who is the only one.
func (r *running) secretConsole() *pgconn.PgConn { return r.console("app:secret") }
