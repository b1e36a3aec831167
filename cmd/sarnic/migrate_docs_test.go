package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestMigrationIsDocumented holds the tables of docs/migrating-from-pgbouncer.md against those of the program.
func TestMigrationIsDocumented(t *testing.T) {
	const path = "../../docs/migrating-from-pgbouncer.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| option | PgBouncer's default | here |\n|---|---|---|\n")
	for _, o := range options() {
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", o.name, inCode(o.standard), o.becomes())
	}
	doc := between(t, string(text), "options", table.String())
	doc = between(t, doc, "databases", keysTable(databaseKeys(), map[string]string{
		"auth_user": "auth.user", "auth_query": "auth.query", "auth_dbname": "auth.database", "pool_size": "databases.*.pool.size",
		"min_pool_size": "databases.*.pool.min_size", "reserve_pool_size": "databases.*.pool.reserve", "reserve_pool": "databases.*.pool.reserve",
		"pool_mode": "databases.*.pool.mode", "query_wait_timeout": "databases.*.pool.wait_timeout",
		"server_lifetime": "databases.*.pool.lifetime", "max_db_connections": "databases.*.max_connections",
	}))
	doc = between(t, doc, "users", keysTable(userKeys(), map[string]string{"max_user_connections": "users.*.max_connections"}))
	compare(t, path, doc)
}

func inCode(text string) string {
	if text == "" {
		return "none"
	}
	return "`" + strings.ReplaceAll(text, "|", "\\|") + "`"
}

// becomes is the last column of an option.
func (o option) becomes() string {
	switch o.fate {
	case mapped, composed:
		return "`" + o.key + "`"
	default:
		return string(o.fate) + ": " + o.why
	}
}

func keysTable(all []keyOfDatabase, keys map[string]string) string {
	var b strings.Builder
	b.WriteString("| key | here |\n|---|---|\n")
	for _, k := range all {
		switch {
		case k.why != "":
			fmt.Fprintf(&b, "| `%s` | missing: %s |\n", k.name, k.why)
		case keys[k.name] != "":
			fmt.Fprintf(&b, "| `%s` | `%s` |\n", k.name, keys[k.name])
		case k.name == "load_balance_hosts":
			fmt.Fprintf(&b, "| `%s` | hosts are tried in their order, as with `disable` |\n", k.name)
		case slices.Contains([]string{"dbname", "host", "port", "user", "password", "client_encoding", "datestyle", "timezone", "application_name"}, k.name):
		default:
			fmt.Fprintf(&b, "| `%s` | nothing is said of it |\n", k.name)
		}
	}
	return b.String()
}

// between is doc with text between the marks of that name.
func between(t *testing.T, doc, name, text string) string {
	t.Helper()
	before, rest, ok := strings.Cut(doc, "<!-- "+name+" -->\n")
	_, after, closed := strings.Cut(rest, "<!-- /"+name+" -->\n")
	if !ok || !closed {
		t.Fatalf("docs have no place for the table of %s", name)
	}
	return before + "<!-- " + name + " -->\n\n" + text + "\n<!-- /" + name + " -->\n" + after
}
