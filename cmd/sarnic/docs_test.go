package main

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/config"
	"github.com/sarnicdb/sarnic/pool"
)

// TestEveryKeyIsDocumented holds the schema against the tables of docs/config.md: every key has one row, and no row
// speaks of a key that is not there.
func TestEveryKeyIsDocumented(t *testing.T) {
	documented := documentedDefaults(t)
	known := config.Keys(file{})
	for _, key := range known {
		if _, ok := documented[key]; !ok {
			t.Errorf("docs/config.md has no row for %s", key)
		}
	}
	for key := range documented {
		if !slices.Contains(known, key) {
			t.Errorf("docs/config.md explains %s, which does not exist", key)
		}
	}
}

// TestDocumentedDefaults compares the tables with what defaults returns. What is empty reads "none".
func TestDocumentedDefaults(t *testing.T) {
	documented := documentedDefaults(t)
	for key, want := range map[string]any{
		"listen": defaults().Listen, "unix_socket.dir": "", "unix_socket.mode": defaults().UnixSocket.Mode, "http": "",
		"drain_timeout": defaults().DrainTimeout, "restart.socket": "", "restart.drain_timeout": defaults().Restart.DrainTimeout,
		"tls.mode": defaults().TLS.Mode, "tls.cert": "", "tls.key": "", "tls.client_ca": "",
		"auth.method": defaults().Auth.Method, "auth.file": "", "auth.query": "",
		"auth.query_cache": defaults().Auth.QueryCache, "auth.user": "", "auth.password": "", "auth.database": "",
		"auth.hba_file": "", "auth.ident_file": "",
		"auth.server_role": defaults().Auth.ServerRole, "auth.login_timeout": defaults().Auth.LoginTimeout,
		"limits.max_clients": defaults().Limits.MaxClients, "limits.max_logins": defaults().Limits.MaxLogins,
		"limits.loops": defaults().Limits.Loops,
	} {
		if got := documented[key]; got != written(want) {
			t.Errorf("%s: documented as %q, is %q", key, got, written(want))
		}
	}
	p := reflect.ValueOf(pool.DefaultConfig())
	keys := config.Keys(pool.Config{})
	if len(keys) != p.NumField() {
		t.Fatalf("pool.Config has %d fields and %d keys", p.NumField(), len(keys))
	}
	for i, key := range keys {
		if got, want := documented["pool."+key], written(p.Field(i).Interface()); got != want {
			t.Errorf("pool.%s: documented as %q, is %q", key, got, want)
		}
	}
}

// documentedDefaults reads the rows | `key` | `default` | meaning |.
func documentedDefaults(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*?) \\| .+ \\|$").FindAllStringSubmatch(string(text), -1) {
		if _, again := rows[row[1]]; again {
			t.Errorf("%s has two rows", row[1])
		}
		rows[row[1]] = strings.Trim(row[2], "`")
	}
	return rows
}

// written is a value as the file has it.
func written(value any) string {
	switch v := value.(type) {
	case time.Duration:
		return duration(v)
	case permissions:
		return fmt.Sprintf("%04o", uint32(v))
	case []string:
		return "[" + strings.Join(v, ", ") + "]"
	case string:
		if v == "" {
			return "none"
		}
	}
	return fmt.Sprint(value)
}
