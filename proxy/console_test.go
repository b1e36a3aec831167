package proxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/admin"
	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// inBackground runs sql without waiting for its end.
func inBackground(conn *pgconn.PgConn, sql string) chan error {
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		_, err := conn.Exec(ctx, sql).ReadAll()
		done <- err
	}()
	return done
}

// outcome waits for the end of what runs in the background.
func (r *rig) outcome(done chan error) error {
	r.t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		r.t.Fatalf("waited in vain for a command\n%s", r.log)
		return nil
	}
}

// open fails if what runs in the background has ended.
func (r *rig) open(done chan error) {
	r.t.Helper()
	if err := r.srv.settle(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	select {
	case err := <-done:
		r.t.Fatalf("it has ended: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
}

// rows runs a SHOW and returns each row by the names of its columns.
func (r *rig) rows(console *pgconn.PgConn, sql string) []map[string]string {
	r.t.Helper()
	var all []map[string]string
	rr := console.ExecParams(context.Background(), sql, nil, nil, nil, nil)
	for rr.NextRow() {
		row := make(map[string]string)
		for i, v := range rr.Values() {
			row[rr.FieldDescriptions()[i].Name] = string(v)
		}
		all = append(all, row)
	}
	if _, err := rr.Close(); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
	return all
}

// row is the one row of which all of want, name and value by turns, is true.
func (r *rig) row(console *pgconn.PgConn, sql string, want ...string) map[string]string {
	r.t.Helper()
	var found map[string]string
	all := r.rows(console, sql)
next:
	for _, row := range all {
		for i := 0; i < len(want); i += 2 {
			if row[want[i]] != want[i+1] {
				continue next
			}
		}
		if found != nil {
			r.t.Fatalf("%s: two rows with %q", sql, want)
		}
		found = row
	}
	if found == nil {
		r.t.Fatalf("%s: no row with %q in %v", sql, want, all)
	}
	return found
}

// processOf is SQL for the server process of the one client of that name: what pg_backend_pid says is the client's own.
func processOf(application string) string {
	return "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND application_name = '" + application + "'"
}

func TestConsoleAccess(t *testing.T) {
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1} }
	lists := Config{AdminUsers: []string{"op"}, StatsUsers: []string{"stats"}, Auth: login.Trust}
	for _, c := range []struct {
		cfg  Config
		user string
		from net.Addr
		want admin.Access
	}{
		{lists, "op", tcp("10.0.0.1"), admin.Operate},
		{lists, "stats", tcp("10.0.0.1"), admin.Look},
		{lists, "app", tcp("127.0.0.1"), admin.Nothing},
		{Config{Auth: login.Trust}, "anybody", tcp("127.0.0.1"), admin.Operate},
		{Config{Auth: login.Trust}, "anybody", tcp("::1"), admin.Operate},
		{Config{Auth: login.Trust}, "anybody", &net.UnixAddr{}, admin.Operate},
		{Config{Auth: login.Trust}, "anybody", tcp("10.0.0.1"), admin.Nothing},
		{Config{Auth: login.Trust, Users: []User{{Name: "app"}}}, "app", &net.UnixAddr{}, admin.Nothing},
		{Config{Auth: login.SCRAM}, "anybody", &net.UnixAddr{}, admin.Nothing},
	} {
		if got := c.cfg.consoleAccess(c.user, c.from); got != c.want {
			t.Errorf("%+v, %s from %v: %d, want %d", c.cfg, c.user, c.from, got, c.want)
		}
	}
}

func TestConsoleLetsInOnlyItsUsers(t *testing.T) {
	r := start(t, func() Config {
		c := config(t, "postgres://app@127.0.0.1:1/app?sslmode=disable")
		c.Auth = login.SCRAM
		for _, name := range []string{"op", "stats", "app"} {
			c.Users = append(c.Users, User{Name: name, Secret: "pw-" + name})
		}
		c.AdminUsers, c.StatsUsers = []string{"op"}, []string{"stats"}
		return c
	}())
	connect := func(user, password, database string) (*pgconn.PgConn, error) {
		conn, err := pgconn.Connect(context.Background(), fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", user, password, r.addr(), database))
		if err == nil {
			t.Cleanup(func() { _ = conn.Close(context.Background()) })
		}
		return conn, err
	}
	for _, database := range admin.Databases() {
		op, err := connect("op", "pw-op", database)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := op.Exec(t.Context(), "RECONNECT; SHOW FDS").ReadAll(); err != nil {
			t.Error(err)
		}
		stats, err := connect("stats", "pw-stats", database)
		if err != nil {
			t.Fatal(err)
		}
		ask(t, stats, "SHOW CLIENTS")
		_, err = stats.Exec(t.Context(), "PAUSE").ReadAll()
		fails(t, err, "42501")
		_, err = connect("app", "pw-app", database)
		fails(t, err, "42501")
		_, err = connect("op", "wrong", database)
		fails(t, err, "28P01")
		_, err = connect("nobody", "pw", database)
		fails(t, err, "28P01")
	}
}

// A database of the console's name goes first, and its clients never see the console.
func TestConsoleGivesWayToADatabaseOfItsName(t *testing.T) {
	pg := pgtest.Server(t, 18)
	r, _ := real(t, pg, func(c *Config) { c.Databases[0].Name = "sarnic" })
	if got := ask(t, r.mustLogin("sarnic"), "SELECT 6 * 7"); got != "42" {
		t.Error(got)
	}
	if got := ask(t, r.mustLogin("pgbouncer"), "SHOW VERSION"); !strings.HasPrefix(got, "PgBouncer 1.") {
		t.Error(got)
	}
}

func TestPauseWaitsForTransactions(t *testing.T) {
	pgtest.Each(t, func(t *testing.T, pg *pgtest.Postgres) {
		r := two(t, pg, nil)
		console, busy, idle, other := r.mustLogin("sarnic"), r.mustLogin("one"), r.mustLogin("one"), r.mustLogin("two")
		ask(t, busy, "BEGIN")
		ask(t, idle, "SELECT 1")
		ask(t, other, "SELECT 1")
		pause := inBackground(console, "PAUSE one")
		r.eventually("it is paused", func() bool { _, _, db := r.srv.pools.Halted(); return db["one"] })
		waiting := inBackground(idle, "SELECT 2")
		r.open(pause)
		ask(t, other, "SELECT 3")
		ask(t, busy, "SELECT 4; COMMIT")
		if err := r.outcome(pause); err != nil {
			t.Fatal(err)
		}
		if p, _ := r.stats("one"); p.Idle+p.Busy+p.Resetting+p.Connecting != 0 {
			t.Errorf("%+v", p)
		}
		second := r.mustLogin("sarnic")
		if d := r.row(second, "SHOW DATABASES", "name", "one"); d["paused"] != "1" || d["current_connections"] != "0" || d["current_client_connections"] != "2" {
			t.Errorf("%v", d)
		}
		r.open(waiting)
		ask(t, second, "RESUME one")
		if err := r.outcome(waiting); err != nil {
			t.Error(err)
		}
		_, err := second.Exec(t.Context(), "RESUME one").ReadAll()
		fails(t, err, "55000")
		for _, sql := range []string{"PAUSE nothing", "RESUME nothing", "KILL nothing", "RECONNECT nothing", "DISABLE nothing", "WAIT_CLOSE nothing"} {
			_, err = second.Exec(t.Context(), sql).ReadAll()
			fails(t, err, "3D000")
		}
		_, err = second.Exec(t.Context(), "PAUSE pgbouncer").ReadAll()
		fails(t, err, "55000")
	})
}

// Who waits for a paused pool waits no longer than for a full one.
func TestPausedClientsTimeOut(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), func(c *Config) { c.Databases[0].Pool.WaitTimeout = 50 * time.Millisecond })
	console, client := r.mustLogin("sarnic"), r.mustLogin("one")
	ask(t, client, "SELECT 1")
	ask(t, console, "PAUSE")
	if got := ask(t, console, "SHOW STATE"); got != "active,no paused,yes suspended,no" {
		t.Error(got)
	}
	_, err := client.Exec(t.Context(), "SELECT 1").ReadAll()
	fails(t, err, "53300")
	_, err = console.Exec(t.Context(), "PAUSE").ReadAll()
	fails(t, err, "55000")
	ask(t, console, "RESUME")
	ask(t, client, "SELECT 1")
}

// A cancel request takes a waiting PAUSE back; the end of its client does not.
func TestPauseIsCancelled(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), nil)
	console, busy := r.mustLogin("sarnic"), r.mustLogin("one")
	ask(t, busy, "BEGIN")
	for _, command := range []string{"PAUSE", "PAUSE one", "SUSPEND"} {
		pause := inBackground(console, command)
		r.eventually("it is halted", func() bool { all, suspended, db := r.srv.pools.Halted(); return all || suspended || db["one"] })
		if command != "PAUSE" {
			r.cancelRequest(console.PID(), []byte("no!!"))
			r.open(pause)
		}
		r.cancelRequest(console.PID(), console.SecretKey())
		fails(t, r.outcome(pause), "57014")
		if all, suspended, db := r.srv.pools.Halted(); all || suspended || len(db) > 0 {
			t.Errorf("%s stands", command)
		}
	}
	raw, err := r.mustLogin("sarnic").Hijack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Conn.Write(wire.AppendQuery(nil, "PAUSE")); err != nil {
		t.Fatal(err)
	}
	r.eventually("it is paused", func() bool { all, _, _ := r.srv.pools.Halted(); return all })
	_ = raw.Conn.Close()
	r.eventually("its place is free", func() bool {
		r.srv.mu.Lock()
		defer r.srv.mu.Unlock()
		return len(r.srv.console.clients) == 1
	})
	if all, _, _ := r.srv.pools.Halted(); !all {
		t.Error("the end of the client has resumed")
	}
	ask(t, console, "RESUME")
}

func TestSuspendKeepsServerConnections(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), nil)
	console, client := r.mustLogin("sarnic"), r.mustLogin("one", "application_name", "keeper")
	pid := ask(t, client, "BEGIN; "+processOf("keeper"))
	suspend := inBackground(console, "SUSPEND")
	r.eventually("it is suspended", func() bool { _, suspended, _ := r.srv.pools.Halted(); return suspended })
	r.open(suspend)
	ask(t, client, "COMMIT")
	if err := r.outcome(suspend); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, console, "SHOW STATE"); got != "active,no paused,no suspended,yes" {
		t.Error(got)
	}
	waiting := inBackground(client, "SELECT 1")
	r.open(waiting)
	ask(t, console, "RESUME")
	if err := r.outcome(waiting); err != nil {
		t.Error(err)
	}
	if got := ask(t, client, processOf("keeper")); got != pid {
		t.Error("another server connection")
	}
}

func TestReconnectAndWaitClose(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), nil)
	console, busy, idle := r.mustLogin("sarnic"), r.mustLogin("one", "application_name", "mover"), r.mustLogin("one")
	before := ask(t, busy, "BEGIN; "+processOf("mover"))
	ask(t, idle, "SELECT 1")
	ask(t, console, "WAIT_CLOSE")
	ask(t, console, "RECONNECT one")
	if s := r.row(console, "SHOW SERVERS", "database", "one"); s["remote_pid"] != before || s["close_needed"] != "1" {
		t.Errorf("%v", s)
	}
	wait := inBackground(console, "WAIT_CLOSE one")
	if got := ask(t, busy, processOf("mover")); got != before {
		t.Error("a transaction changed its server")
	}
	r.open(wait)
	ask(t, busy, "COMMIT")
	if err := r.outcome(wait); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, busy, processOf("mover")); got == before {
		t.Error("the server connection was not replaced")
	}
}

func TestKill(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), nil)
	console, busy, idle, other := r.mustLogin("sarnic"), r.mustLogin("one"), r.mustLogin("one"), r.mustLogin("two")
	ask(t, busy, "BEGIN; SELECT 1")
	ask(t, idle, "SELECT 1")
	running := inBackground(r.mustLogin("one"), "SELECT pg_sleep(60)")
	r.eventually("it runs", func() bool { p, _ := r.stats("one"); return p.Busy == 2 })
	ask(t, other, "SELECT 1")
	ask(t, console, "KILL one")
	if p, _ := r.stats("one"); p.Idle+p.Busy+p.Resetting+p.Connecting+p.Waiting != 0 {
		t.Errorf("%+v", p)
	}
	fails(t, r.outcome(running), "57P01")
	for _, c := range []*pgconn.PgConn{busy, idle} {
		_, err := c.Exec(t.Context(), "SELECT 1").ReadAll()
		if err == nil {
			t.Error("a killed client goes on")
		}
	}
	ask(t, other, "SELECT 1")
	late := r.mustLogin("one")
	waiting := inBackground(late, "SELECT 1")
	r.open(waiting)
	ask(t, console, "RESUME one")
	if err := r.outcome(waiting); err != nil {
		t.Error(err)
	}
	ask(t, console, "KILL")
	if all, _, _ := r.srv.pools.Halted(); !all || r.srv.Stats().Clients != 0 {
		t.Errorf("%d clients are left", r.srv.Stats().Clients)
	}
	ask(t, console, "RESUME")
}

func TestKillClient(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), nil)
	console, one, two := r.mustLogin("sarnic"), r.mustLogin("one", "application_name", "victim"), r.mustLogin("one")
	ask(t, one, "BEGIN; SELECT 1")
	ask(t, two, "SELECT 1")
	id := r.row(console, "SHOW CLIENTS", "application_name", "victim")["id"]
	ask(t, console, "KILL_CLIENT "+id)
	if _, err := one.Exec(t.Context(), "SELECT 1").ReadAll(); err == nil {
		t.Error("a killed client goes on")
	}
	ask(t, two, "SELECT 1")
	_, err := console.Exec(t.Context(), "KILL_CLIENT "+id).ReadAll()
	fails(t, err, "55000")
	second := r.mustLogin("pgbouncer", "application_name", "other")
	ask(t, console, "KILL_CLIENT "+r.row(console, "SHOW CLIENTS", "application_name", "other")["id"])
	if _, err := second.Exec(t.Context(), "SHOW LISTS").ReadAll(); err == nil {
		t.Error("a killed client of the console goes on")
	}
}

func TestDisable(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), nil)
	console, client := r.mustLogin("sarnic"), r.mustLogin("one")
	ask(t, console, "DISABLE one")
	_, err := r.login("one")
	fails(t, err, "55000")
	ask(t, client, "SELECT 1")
	r.mustLogin("two")
	if d := r.row(console, "SHOW DATABASES", "name", "one"); d["disabled"] != "1" {
		t.Errorf("%v", d)
	}
	ask(t, console, "ENABLE one")
	ask(t, r.mustLogin("one"), "SELECT 1")
}

func TestShowClientsAndServers(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), func(c *Config) { c.Databases[0].Pool.Size = 1 })
	console := r.mustLogin("sarnic", "application_name", "watcher")
	busy, idle := r.mustLogin("one", "application_name", "busy"), r.mustLogin("one", "application_name", "idle")
	waiter := r.mustLogin("one", "application_name", "waiter")
	ask(t, busy, "BEGIN")
	if _, err := busy.Prepare(t.Context(), "p", "SELECT 1", nil); err != nil {
		t.Fatal(err)
	}
	serverPID := ask(t, busy, processOf("busy"))
	waiting := inBackground(waiter, "SELECT 1")
	r.eventually("one waits", func() bool { p, _ := r.stats("one"); return p.Waiting == 1 })

	b := r.row(console, "SHOW CLIENTS", "application_name", "busy")
	host, port, _ := net.SplitHostPort(busy.Conn().LocalAddr().String())
	server := r.row(console, "SHOW SERVERS", "link", b["ptr"])
	if b["state"] != "active" || b["addr"] != host || b["port"] != port || b["prepared_statements"] != "1" || b["id"] != fmt.Sprint(busy.PID()) {
		t.Errorf("%v", b)
	}
	if server["ptr"] != b["link"] || server["application_name"] != "busy" || server["state"] != "active" || server["remote_pid"] != serverPID ||
		server["prepared_statements"] != "1" {
		t.Errorf("%v", server)
	}
	for _, row := range []map[string]string{b, server} {
		at, err := time.Parse("2006-01-02 15:04:05 MST", row["connect_time"])
		if err != nil || time.Since(at) > patience || time.Since(at) < -2*time.Second {
			t.Errorf("connect_time %q, %v", row["connect_time"], err)
		}
	}
	if w := r.row(console, "SHOW CLIENTS", "application_name", "waiter"); w["state"] != "waiting" || w["wait"]+w["wait_us"] == "00" {
		t.Errorf("%v", w)
	}
	if i := r.row(console, "SHOW CLIENTS", "application_name", "idle"); i["state"] != "idle" || i["link"] != "" || i["request_time"] == "" {
		t.Errorf("%v", i)
	}
	if c := r.row(console, "SHOW CLIENTS", "application_name", "watcher"); c["database"] != "pgbouncer" {
		t.Errorf("%v", c)
	}
	if p := r.row(console, "SHOW POOLS", "database", "one"); p["cl_active"] != "2" || p["cl_waiting"] != "1" || p["sv_active"] != "1" ||
		p["pool_mode"] != "transaction" {
		t.Errorf("%v", p)
	}
	if l := r.row(console, "SHOW LISTS", "list", "used_clients"); l["items"] != "4" {
		t.Errorf("%v", l)
	}
	if u := r.row(console, "SHOW USERS", "name", "app"); u["current_client_connections"] != "3" || u["current_connections"] != "1" {
		t.Errorf("%v", u)
	}
	ask(t, busy, "COMMIT")
	if err := r.outcome(waiting); err != nil {
		t.Error(err)
	}
	ask(t, idle, "SET application_name = 'renamed'")
	r.row(console, "SHOW CLIENTS", "application_name", "renamed")
	r.row(console, "SHOW SERVERS", "state", "idle", "database", "one", "prepared_statements", "1")
}

func TestShowPinsAndStatements(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), nil)
	console, pinned := r.mustLogin("sarnic"), r.mustLogin("one", "application_name", "holder")
	if n := len(r.rows(console, "SHOW PINS")); n != 0 {
		t.Errorf("%d pins", n)
	}
	ask(t, pinned, "CREATE TEMP TABLE t (); SELECT 1")
	p := r.row(console, "SHOW PINS", "application_name", "holder")
	if p["reason"] != "temporary object" || p["client_pid"] != fmt.Sprint(pinned.PID()) || p["database"] != "one" || p["since"] == "" {
		t.Errorf("%v", p)
	}
	for range 3 {
		if res := pinned.ExecParams(t.Context(), "SELECT 1", nil, nil, nil, nil).Read(); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	users := []*pgconn.PgConn{r.mustLogin("one"), r.mustLogin("one")}
	for _, c := range users {
		if _, err := c.Prepare(t.Context(), "mine", "SELECT 'told'", nil); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if res := c.ExecPrepared(t.Context(), "mine", nil, nil, nil).Read(); res.Err != nil {
				t.Fatal(res.Err)
			}
		}
	}
	s := r.row(console, "SHOW STATEMENTS", "query", "SELECT 'told'")
	if s["database"] != "one" || s["user"] != "app" || s["servers"] == "0" || s["uses"] < "6" || !strings.HasPrefix(s["name"], "sarnic_") {
		t.Errorf("%v", s)
	}
}

func TestShowStats(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), nil)
	console, client := r.mustLogin("sarnic"), r.mustLogin("one")
	for range 5 {
		ask(t, client, "SELECT pg_sleep(0.01)")
	}
	counted := func(n int64) { // which comes behind the answer
		t.Helper()
		r.eventually("all are counted", func() bool { p, _ := r.stats("one"); return p.Counters.Transactions.Load() >= n })
	}
	counted(5)
	st := r.row(console, "SHOW STATS_TOTALS", "database", "one")
	if st["xact_count"] != "5" && st["xact_count"] != "6" || st["query_count"] != "5" || st["bytes_received"] == "0" || st["bytes_sent"] == "0" ||
		len(st["xact_time"]) < 5 || len(st["query_time"]) < 5 || st["server_assignment_count"] == "0" || st["client_login_count"] != "1" {
		t.Errorf("%v", st)
	}
	r.row(console, "SHOW STATS", "database", "pgbouncer", "total_query_count", "0")
	r.srv.console.averages.turn(reading{r.srv.group.Loops()[0].Clock(), r.srv.numbers()})
	r.srv.console.averages.turn(reading{r.srv.group.Loops()[0].Clock(), r.srv.numbers()})
	if avg := r.row(console, "SHOW STATS_AVERAGES", "database", "one"); avg["query_count"] != "0" || avg["xact_time"] != "0" {
		t.Errorf("%v", avg)
	}
	for range 3 {
		ask(t, client, "SELECT pg_sleep(0.01)")
	}
	counted(8)
	avg := r.row(console, "SHOW STATS_AVERAGES", "database", "one")
	if avg["xact_time"] < "10000" || len(avg["xact_time"]) < 5 || avg["bytes_received"] == "0" {
		t.Errorf("%v", avg)
	}
}

// The console is served over TLS too, and cancelled there.
func TestConsoleOverTLS(t *testing.T) {
	cfg := config(t, pgtest.Server(t, 18).AdminDSN("postgres"))
	cfg.TLS, cfg.TLSMode = &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}, login.TLSRequire
	r := start(t, cfg)
	conn, err := pgconn.Connect(t.Context(), "postgres://app@"+r.addr()+"/sarnic?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if c := r.row(conn, "SHOW CLIENTS"); !strings.HasPrefix(c["tls"], "TLS 1.3/") {
		t.Errorf("%v", c)
	}
	client, err := pgconn.Connect(t.Context(), "postgres://app@"+r.addr()+"/postgres?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(context.Background())
	ask(t, client, "BEGIN")
	pause := inBackground(conn, "PAUSE")
	r.eventually("it is paused", func() bool { all, _, _ := r.srv.pools.Halted(); return all })
	if err := conn.CancelRequest(t.Context()); err != nil {
		t.Fatal(err)
	}
	fails(t, r.outcome(pause), "57014")
	r.rows(conn, "SHOW LISTS") // in step still
}

// selfSigned is a certificate for the time of the test.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// The console has a bound of its own, lets operators in to the end, and is not counted among the clients.
func TestConsoleIsBounded(t *testing.T) {
	cfg := config(t, "postgres://app@127.0.0.1:1/app?sslmode=disable")
	cfg.MaxClients = 1
	cfg.StatsUsers, cfg.AdminUsers = []string{"app"}, []string{"op"}
	r := start(t, cfg)
	for i := range maxConsoles - keptForAdmins {
		if _, err := r.login("sarnic"); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	_, err := r.login("sarnic")
	fails(t, err, "53300")
	op, err := pgconn.Connect(t.Context(), "postgres://op@"+r.addr()+"/sarnic?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close(context.Background())
	if n := len(r.rows(op, "SHOW CLIENTS")); n != maxConsoles-keptForAdmins+1 {
		t.Errorf("%d clients", n)
	}
}

// The end of the server ends the console's clients, whatever they wait for, and tells them.
func TestConsoleEndsWithTheServer(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), nil)
	console, idle, busy := r.mustLogin("sarnic"), r.mustLogin("sarnic"), r.mustLogin("one")
	ask(t, busy, "BEGIN")
	pause := inBackground(console, "PAUSE")
	r.eventually("it is paused", func() bool { all, _, _ := r.srv.pools.Halted(); return all })
	if err := r.srv.Close(); err != nil {
		t.Fatal(err)
	}
	r.wait(r.done, "the server to end")
	if err := r.outcome(pause); err == nil {
		t.Error("PAUSE succeeded")
	}
	_, err := idle.Exec(t.Context(), "SHOW LISTS").ReadAll()
	var e *pgconn.PgError
	if err == nil || errors.As(err, &e) && e.Code != "57P01" {
		t.Errorf("%v", err)
	}
}

// A drain takes no clients in, does not wait for the console's, and leaves them.
func TestConsoleDuringADrain(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), nil)
	console, client := r.mustLogin("sarnic"), r.mustLogin("one")
	ask(t, client, "BEGIN")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	waited := make(chan error, 1)
	go func() { waited <- r.srv.WaitForClients(ctx) }()
	r.eventually("it drains", func() bool { r.srv.mu.Lock(); defer r.srv.mu.Unlock(); return r.srv.draining })
	ask(t, client, "SELECT 1; COMMIT; SELECT 2")
	r.open(waited)
	r.rows(console, "SHOW CLIENTS")
	_ = client.Close(t.Context())
	if err := r.outcome(waited); err != nil {
		t.Error(err)
	}
	r.rows(console, "SHOW CLIENTS")
}

func TestConsoleHooks(t *testing.T) {
	cfg := config(t, "postgres://app@127.0.0.1:1/app?sslmode=disable")
	r := start(t, cfg)
	console := r.mustLogin("sarnic")
	for _, sql := range []string{"RELOAD", "SHUTDOWN", "SET pool.size = 3"} {
		_, err := console.Exec(t.Context(), sql).ReadAll()
		fails(t, err, "0A000")
	}
	var asked []string
	r.srv.console.hooks = Hooks{
		Version: "v9.8.7",
		Reload: func(context.Context) error {
			return errors.New("sarnic.yaml:1:2: pool.size: must be at least 1, got 0")
		},
		Set: func(_ context.Context, key, value string) error { asked = append(asked, key+"="+value); return nil },
		Shutdown: func(wait admin.ShutdownWait) {
			asked = append(asked, "shutdown "+string(wait))
		},
		Settings: func() []admin.Setting { return []admin.Setting{{Key: "max_client_conn", Value: "5", Default: "6"}} },
	}
	console = r.mustLogin("sarnic")
	_, err := console.Exec(t.Context(), "RELOAD").ReadAll()
	if e := fails(t, err, "F0000"); !strings.Contains(e.Detail, "pool.size") {
		t.Errorf("%+v", e)
	}
	ask(t, console, "SET pool.size = 3; SHUTDOWN WAIT_FOR_CLIENTS; SHUTDOWN")
	if got := strings.Join(asked, ","); got != "pool.size=3,shutdown WAIT_FOR_CLIENTS,shutdown " {
		t.Error(got)
	}
	if got := ask(t, console, "SHOW CONFIG; SHOW server_version"); got != "max_client_conn,5,6,no 9.8.7/sarnic" {
		t.Error(got)
	}
}

// A snapshot of many clients on two loops is whole, and may be asked for by many at once while the clients work.
func TestShowClientsUnderLoad(t *testing.T) {
	r := two(t, pgtest.Server(t, 18), func(c *Config) { c.MaxLoops = 2 })
	const n = 300
	for i := range n {
		r.mustLogin([]string{"one", "two"}[i%2])
	}
	ctx, cancel := context.WithCancel(context.Background())
	var ends []chan error
	for range 4 {
		c, done := r.mustLogin("one"), make(chan error, 1)
		ends = append(ends, done)
		go func() {
			var err error
			for err == nil && ctx.Err() == nil {
				_, err = c.Exec(context.Background(), "BEGIN; SELECT 1; COMMIT").ReadAll()
			}
			done <- err
		}()
	}
	consoles := []*pgconn.PgConn{r.mustLogin("sarnic"), r.mustLogin("sarnic"), r.mustLogin("sarnic")}
	for _, sql := range []string{"SHOW CLIENTS", "SHOW SERVERS", "SHOW STATEMENTS", "SHOW POOLS", "SHOW SOCKETS"} {
		var asked []chan error
		for _, c := range consoles[1:] {
			asked = append(asked, inBackground(c, sql))
		}
		rows := r.rows(consoles[0], sql)
		if sql == "SHOW CLIENTS" && len(rows) != n+4+len(consoles) {
			t.Errorf("%d clients", len(rows))
		}
		for _, done := range asked {
			if err := r.outcome(done); err != nil {
				t.Error(err)
			}
		}
	}
	cancel()
	for _, done := range ends {
		if err := r.outcome(done); err != nil {
			t.Error(err)
		}
	}
}

func TestLoginTimes(t *testing.T) {
	var times loginTimes
	at := func(second int64) time.Time { return time.Unix(second, 0) }
	if !times.of(1).IsZero() {
		t.Error("a time of nothing")
	}
	times.note(1, at(100))
	times.note(2, at(100))
	times.note(3, at(105))
	times.note(9, at(104)) // the clock was set back
	for owned, want := range map[uint64]int64{1: 100, 2: 100, 3: 105, 9: 105, 1000: 105} {
		if got := times.of(owned); got.Unix() != want {
			t.Errorf("%d: %d, want %d", owned, got.Unix(), want)
		}
	}
	for i := range int64(100_000) {
		times.note(uint64(10+i), at(1000+i))
	}
	times = times.copied()
	if n := len(times.recent) + len(times.old); n > 2*maxLoginMarks {
		t.Errorf("%d marks", n)
	}
	for owned := uint64(10); owned < 100_010; owned++ {
		want := 990 + int64(owned)
		if got := times.of(owned).Unix(); got > want || got < want-32 || owned > 99_000 && got != want {
			t.Fatalf("login %d: %d, want %d", owned, got, want)
		}
	}
}
