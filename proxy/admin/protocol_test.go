package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

func TestSimpleQueries(t *testing.T) {
	r := start(t, full())
	c := r.connect()
	r.tags(c, "show lists", "SHOW")
	r.tags(c, " /* a /* nested */ comment */ ShOw -- and another\n VERSION ; show state;;", "SHOW", "SHOW")
	r.tags(c, `SHOW "pools"`, "SHOW")
	r.tags(c, "SELECT pools", "SELECT 1")
	r.tags(c, "select * from stats", "SELECT 2")
	r.tags(c, " ; -- nothing", "")
	results, err := r.simple(c, "show state; nonsense; show lists")
	if err == nil || len(results) != 1 {
		t.Errorf("what comes before a mistake is answered, what comes behind is not: %d, %v", len(results), err)
	}
	r.tags(c, "show state", "SHOW")
}

func TestWhatIsNoCommandIsRefused(t *testing.T) {
	r := start(t, State{})
	c := r.connect()
	for _, sql := range []string{
		"nonsense", "SHOW", "SHOW nothing", "SHOW pools clients", "SHOW 'pools'", "SELECT", "SELECT * FROM pg_class", "SET", "SET x", "SET = 1",
		"PAUSE a b", "PAUSE 'a'", "RELOAD now", "SHUTDOWN later", "SHUTDOWN WAIT_FOR_SERVERS now", "'text'", "/* open", `SHOW "pools`, "PAUSE 'x",
		"; ; (", "START", "WAIT_CLOSE a,b",
		// psql's \d
		`SELECT n.nspname as "Schema", c.relname as "Name" FROM pg_catalog.pg_class c WHERE c.relkind IN ('r','p','') AND n.nspname !~ '^pg_toast' ORDER BY 1,2;`,
	} {
		if e := r.mustFail(c, sql, "42601"); !strings.Contains(e.Message, "SHOW HELP") {
			t.Errorf("%s: %s", sql, e.Message)
		}
	}
	r.mustFail(c, "SHOW $1", "0A000")
	r.mustFail(c, "KILL_CLIENT x", "42601")
	r.mustFail(c, "KILL_CLIENT -1", "42601")
	r.mustFail(c, "DISABLE", "42601")
	if got := r.done(); len(got) > 0 {
		t.Errorf("carried out: %+v", got)
	}
}

func TestCommands(t *testing.T) {
	r := start(t, State{})
	c := r.connect()
	for sql, want := range map[string]Command{
		"PAUSE":                               {Verb: Pause},
		"pause app;":                          {Verb: Pause, Database: "app"},
		`RESUME "My ""Db"""`:                  {Verb: Resume, Database: `My "Db"`},
		"Reconnect MyDb":                      {Verb: Reconnect, Database: "MyDb"},
		"RELOAD":                              {Verb: Reload},
		"KILL app":                            {Verb: Kill, Database: "app"},
		"KILL_CLIENT 4294967295":              {Verb: KillClient, Client: 1<<32 - 1},
		"DISABLE app":                         {Verb: Disable, Database: "app"},
		"ENABLE 1":                            {Verb: Enable, Database: "1"},
		"WAIT_CLOSE":                          {Verb: WaitClose},
		"SUSPEND":                             {Verb: Suspend},
		"SHUTDOWN":                            {Verb: Shutdown},
		"shutdown wait_for_clients":           {Verb: Shutdown, Wait: WaitForClients},
		"SHUTDOWN WAIT_FOR_SERVERS":           {Verb: Shutdown, Wait: WaitForServers},
		"SET pool.size = 5":                   {Verb: Set, Key: "pool.size", Value: "5"},
		"set Log_Level to 'de''bug'":          {Verb: Set, Key: "log_level", Value: "de'bug"},
		`SET "query_wait_timeout" = "x y"`:    {Verb: Set, Key: "query_wait_timeout", Value: "x y"},
		"PAUSE /* really */ app -- the whole": {Verb: Pause, Database: "app"},
	} {
		before := len(r.done())
		tag := string(want.Verb)
		if want.Verb == Set {
			tag = fmt.Sprintf("SET %s=%s", want.Key, want.Value)
		}
		r.tags(c, sql, tag)
		if got := r.done(); len(got) != before+1 || got[before] != want {
			t.Errorf("%s: carried out %+v, want %+v", sql, got[before:], want)
		}
	}
}

func TestStatsUsersOnlyLook(t *testing.T) {
	r := start(t, full())
	r.access = Look
	c := r.connect()
	r.tags(c, "SHOW CLIENTS; SELECT 1", "SHOW", "SELECT 1")
	for _, sql := range []string{
		"PAUSE", "RESUME", "RECONNECT app", "RELOAD", "KILL", "KILL_CLIENT 1", "KILL_CLIENT", "DISABLE app", "DISABLE", "ENABLE app", "WAIT_CLOSE",
		"SET pool.size = 1", "SHUTDOWN", "SUSPEND", "SHOW FDS", "SHOW STATEMENTS",
	} {
		r.mustFail(c, sql, "42501")
	}
	if got := r.done(); len(got) > 0 {
		t.Errorf("carried out: %+v", got)
	}
}

func TestChatterOfDrivers(t *testing.T) {
	r := start(t, State{})
	c := r.connect()
	for sql, tag := range map[string]string{
		"SET client_encoding = 'UTF8'":                         "SET",
		"SET extra_float_digits = 3":                           "SET",
		"SET application_name = 'PostgreSQL JDBC Driver'":      "SET",
		"SET SESSION datestyle TO ISO, MDY":                    "SET",
		"SET TIME ZONE 'UTC'":                                  "SET",
		"SET NAMES 'utf8'":                                     "SET",
		"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY": "SET",
		"SET LOCAL statement_timeout TO DEFAULT":               "SET",
		"SAVEPOINT a":                                          "SAVEPOINT",
		"RELEASE SAVEPOINT a":                                  "RELEASE",
		"RESET ALL":                                            "RESET",
		"UNLISTEN *":                                           "UNLISTEN",
		"CLOSE ALL":                                            "CLOSE CURSOR ALL",
		"DISCARD ALL":                                          "DISCARD ALL",
		"DEALLOCATE ALL":                                       "DEALLOCATE ALL",
		"SELECT 1":                                             "SELECT 1",
		"SELECT pg_advisory_unlock_all()":                      "SELECT 1",
		"select b.oid, b.typarray from pg_catalog.pg_type a":   "SELECT 0",
		"SELECT 1 AS one, 'x', NULL, pg_catalog.version(), current_database()": "SELECT 1",
	} {
		r.tags(c, sql, tag)
	}
	for sql, want := range map[string]string{
		"SHOW client_encoding":               "UTF8",
		"SHOW server_version":                "1.2.3/sarnic",
		"SHOW transaction_read_only":         "off",
		"SHOW TRANSACTION ISOLATION LEVEL":   "read committed",
		"SHOW standard_conforming_strings":   "on",
		"SHOW TimeZone":                      "GMT",
		"SHOW session_authorization":         "op",
		"SELECT version()":                   "PgBouncer 1.25.2 compatible (sarnic v1.2.3-4-gabcdef)",
		"SHOW VERSION":                       "PgBouncer 1.25.2 compatible (sarnic v1.2.3-4-gabcdef)",
		"select current_user":                "op",
		"SELECT pg_catalog.pg_backend_pid()": "77",
		"SELECT pg_is_in_recovery()":         "f",
	} {
		results, err := r.simple(c, sql)
		if err != nil || string(results[0].Rows[0][0]) != want {
			t.Errorf("%s: %v, want %q", sql, err, want)
		}
	}
	if got := r.done(); len(got) > 0 {
		t.Errorf("carried out: %+v", got)
	}
	for name, want := range map[string]string{
		"server_version": "1.2.3/sarnic", "client_encoding": "UTF8", "DateStyle": "ISO", "standard_conforming_strings": "on",
		"integer_datetimes": "on", "is_superuser": "off", "TimeZone": "GMT",
	} {
		if got := c.ParameterStatus(name); got != want {
			t.Errorf("ParameterStatus %s is %q, want %q", name, got, want)
		}
	}
}

// TestServerVersionCanBeRead: drivers read numbers at its start, and some fail without.
func TestServerVersionCanBeRead(t *testing.T) {
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3/sarnic", "0.4": "0.4/sarnic", "v2.0.0-rc1": "2.0.0/sarnic", "devel": "0.0.1/sarnic", "": "0.0.1/sarnic", "v": "0.0.1/sarnic",
		"v1.": "1/sarnic", "abcdef1": "0.0.1/sarnic",
	} {
		if got := serverVersion(version); got != want {
			t.Errorf("%q: %s, want %s", version, got, want)
		}
	}
}

func TestHelpIsANotice(t *testing.T) {
	r := start(t, State{})
	f := r.raw()
	f.Send(&pgproto3.Query{String: "SHOW HELP"})
	got := r.answer(f, 'Z')
	notice, ok := got[0].(*pgproto3.NoticeResponse)
	if !ok || !strings.Contains(notice.Detail, "SHOW PINS|STATEMENTS") || len(got) != 3 {
		t.Errorf("got %+v", got)
	}
}

// Names are the clients' own, in whatever encoding; what is answered is in UTF-8.
func TestEveryTextCanBeRead(t *testing.T) {
	st := full()
	st.Clients[0].Application = "caf\xe9\xff"
	r := start(t, st)
	results, err := r.simple(r.connect(), "SHOW CLIENTS")
	if err != nil || string(results[0].Rows[0][18]) != "caf?" {
		t.Errorf("%q, %v", results[0].Rows[0], err)
	}
}

func TestTransactionStatus(t *testing.T) {
	r := start(t, State{})
	c := r.connect()
	status := func(want byte) {
		t.Helper()
		if got := c.TxStatus(); got != want {
			t.Fatalf("status %c, want %c", got, want)
		}
	}
	r.tags(c, "BEGIN", "BEGIN")
	status('T')
	r.mustFail(c, "nonsense", "42601")
	status('E')
	r.mustFail(c, "SHOW LISTS", "25P02")
	r.tags(c, "ROLLBACK TO SAVEPOINT a", "ROLLBACK")
	status('T')
	r.mustFail(c, "nonsense", "42601")
	r.tags(c, "COMMIT", "ROLLBACK")
	status('I')
	r.tags(c, "START TRANSACTION READ ONLY; SHOW LISTS; END", "START TRANSACTION", "SHOW", "COMMIT")
	status('I')
}

// raw is a client that speaks messages. It has read the greeting.
func (r *rig) raw() *pgproto3.Frontend {
	r.t.Helper()
	h, err := r.connect().Hijack()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = h.Conn.Close() })
	return h.Frontend
}

// answer sends what is queued and reads messages up to the first of type last. What it returns is copied.
func (r *rig) answer(f *pgproto3.Frontend, last byte) []pgproto3.BackendMessage {
	r.t.Helper()
	if err := f.Flush(); err != nil {
		r.t.Fatal(err)
	}
	var all []pgproto3.BackendMessage
	for {
		msg, err := f.Receive()
		if err != nil {
			r.t.Fatalf("behind %+v: %v", all, err)
		}
		b, err := msg.Encode(nil)
		if err != nil {
			r.t.Fatal(err)
		}
		switch m := msg.(type) {
		case *pgproto3.NoticeResponse:
			one := *m
			msg = &one
		case *pgproto3.ErrorResponse:
			one := *m
			msg = &one
		case *pgproto3.CommandComplete:
			msg = &pgproto3.CommandComplete{CommandTag: slices.Clone(m.CommandTag)}
		}
		all = append(all, msg)
		if b[0] == last {
			return all
		}
	}
}

// types are the types of the answer's messages.
func (r *rig) types(f *pgproto3.Frontend, last byte) string {
	r.t.Helper()
	var types []byte
	for _, msg := range r.answer(f, last) {
		b, err := msg.Encode(nil)
		if err != nil {
			r.t.Fatal(err)
		}
		types = append(types, b[0])
	}
	return string(types)
}

func TestExtendedProtocol(t *testing.T) {
	r := start(t, full())
	f := r.raw()
	want := func(what, types string) {
		t.Helper()
		if got := r.types(f, types[len(types)-1]); got != types {
			t.Fatalf("%s: got %s, want %s", what, got, types)
		}
	}
	f.Send(&pgproto3.Parse{Name: "s", Query: "SHOW LISTS"})
	f.Send(&pgproto3.Describe{ObjectType: 'S', Name: "s"})
	f.Send(&pgproto3.Bind{PreparedStatement: "s"})
	f.Send(&pgproto3.Describe{ObjectType: 'P'})
	f.Send(&pgproto3.Execute{MaxRows: 10})
	f.Send(&pgproto3.Execute{})
	f.Send(&pgproto3.Sync{})
	want("a portal read in two parts", "1tT2TDDDDDDDDDDsDDDDCZ")

	f.Send(&pgproto3.Parse{})
	f.Send(&pgproto3.Bind{})
	f.Send(&pgproto3.Describe{ObjectType: 'P'})
	f.Send(&pgproto3.Execute{})
	f.Send(&pgproto3.Flush{})
	want("an empty statement", "12nI")
	f.Send(&pgproto3.Sync{})
	want("its Sync", "Z")

	f.Send(&pgproto3.Parse{Name: "s", Query: "SHOW LISTS"})
	f.Send(&pgproto3.Execute{Portal: "gone"})
	f.Send(&pgproto3.Sync{})
	want("a name in use, and what is skipped behind", "EZ")
	f.Send(&pgproto3.Execute{Portal: "gone"})
	f.Send(&pgproto3.Query{String: "SHOW LISTS"})
	f.Send(&pgproto3.Sync{})
	want("a simple query that is skipped too", "EZ")
	f.Send(&pgproto3.Close{ObjectType: 'S', Name: "s"})
	f.Send(&pgproto3.Bind{PreparedStatement: "s"})
	f.Send(&pgproto3.Sync{})
	want("a statement that was closed", "3EZ")
	f.Send(&pgproto3.Execute{Portal: "gone"})
	f.Send(&pgproto3.Sync{})
	want("a portal that is not there", "EZ")
	f.Send(&pgproto3.FunctionCall{Function: 1})
	want("a function call", "EZ")
	f.Send(&pgproto3.CopyData{Data: []byte("x")})
	f.Send(&pgproto3.Parse{Query: "SHOW LISTS; SHOW POOLS"})
	f.Send(&pgproto3.Sync{})
	want("two statements in one", "EZ")
	f.Send(&pgproto3.Parse{Query: "SHOW LISTS", ParameterOIDs: []uint32{23}})
	f.Send(&pgproto3.Sync{})
	want("parameters", "EZ")
	f.Send(&pgproto3.Parse{Query: "SHOW LISTS"})
	f.Send(&pgproto3.Bind{Parameters: [][]byte{nil}})
	f.Send(&pgproto3.Sync{})
	want("a value that nobody asked for", "1EZ")
	f.Send(&pgproto3.Parse{Query: "SHOW LISTS"})
	f.Send(&pgproto3.Bind{ResultFormatCodes: []int16{0, 1, 0}})
	f.Send(&pgproto3.Sync{})
	want("formats of three columns for two", "1EZ")
	f.Send(&pgproto3.Parse{Query: "PAUSE"})
	f.Send(&pgproto3.Bind{})
	f.Send(&pgproto3.Describe{ObjectType: 'P'})
	f.Send(&pgproto3.Execute{})
	f.Send(&pgproto3.Sync{})
	want("a command", "12nCZ")
	if got := r.done(); len(got) != 1 || got[0].Verb != Pause {
		t.Errorf("carried out %+v", got)
	}
}

// TestBinaryValues reads every type in both formats with a driver.
func TestBinaryValues(t *testing.T) {
	r := start(t, full())
	ctx := testContext(t)
	c, err := pgx.Connect(ctx, r.dsn())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		var database, user, query string
		var uses int64
		var servers int32
		err := c.QueryRow(ctx, "SHOW STATEMENTS", mode).Scan(nil, &database, &user, &uses, &servers, &query)
		if err != nil || database != "app" || user != "kärger" || uses != 1<<33 || servers != 2 || query != "SELECT 'ü'" {
			t.Errorf("%v: %q %q %d %d %q, %v", mode, database, user, uses, servers, query, err)
		}
		rows, err := c.Query(ctx, "SHOW TOTALS", mode)
		if err != nil {
			t.Fatal(err)
		}
		totals, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct {
			Name  string
			Value int64
		}])
		if err != nil || len(totals) != 24 || totals[2].Value != 1<<40+10_000 || totals[6].Value != 30_000_000 {
			t.Errorf("%v: %+v, %v", mode, totals, err)
		}
		var remote int32
		if err := c.QueryRow(ctx, "SHOW SERVERS", mode).Scan(nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, &remote,
			nil, nil, nil, nil); err != nil || remote != 1<<31-1 {
			t.Errorf("%v: what does not fit into an int4 is %d, %v", mode, remote, err)
		}
		var one int32
		var text string
		var recovering bool
		if err := c.QueryRow(ctx, "SELECT 1, 'x', pg_is_in_recovery()", mode).Scan(&one, &text, &recovering); err != nil || one != 1 || text != "x" || recovering {
			t.Errorf("%v: %d %q %v, %v", mode, one, text, recovering, err)
		}
	}
}
