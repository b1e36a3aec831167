package hba

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

// oddLines are read as PostgreSQL reads them, the valid and the invalid.
func oddLines() []string {
	return []string{
		`local all all trust`,
		`  local	all  all trust  `,
		`local "all" "all" trust`,
		`local a,b, c x ,y trust`,
		`local a,,b x trust`,
		`local ,a x trust`,
		`local a"b c"d "x ""y"" z" trust`,
		`local "a""b" "" trust`,
		`local a#b x trust`,
		`local "a#b" x trust # comment`,
		`local a x trust# comment`,
		`local sameuser,samerole,replication +x,"+x",/^y,"/^y,z$" reject`,
		`host all all all md5`,
		`host all all samehost md5`,
		`host all all samenet md5`,
		`host all all 10.0.0.0/8 scram-sha-256`,
		`host all all 10.1.2.3 255.255.0.0 scram-sha-256`,
		`host all all 10.0.0.0/33 scram-sha-256`,
		`host all all 10.0.0.0/x scram-sha-256`,
		`host all all ::1/128 password`,
		`host all all 2001:db8::/32 password`,
		`host all all ::1 ffff:: password`,
		`host all all ::1 255.0.0.0 password`,
		`hostnossl all all all trust`,
		`hostnogssenc all all all trust`,
		`local all all md5 x=y`,
		`local all all`,
		`local all`,
		`local`,
		`host all all`,
		`host all all all`,
		`host all all 10.0.0.0`,
		`hosts all all all trust`,
		`local all all hush`,
		`local,host all all trust`,
		`local all all trust,md5`,
		`host all all 10.0.0.0/8,10.1.0.0/16 md5`,
		`local all /( trust`,
		`local all /^(a|b)$ trust`,
		"local all \\\n all trust",
		"local all al\\\nl trust",
		"local all a\\l trust",
		`include`,
		`include gone.conf`,
		`include_if_exists gone.conf`,
		`include_dir gone`,
		`local @gone all trust`,
		`local all é trust`,
	}
}

// TestReadAsPostgreSQL holds every line against the view pg_hba_file_rules.
func TestReadAsPostgreSQL(t *testing.T) {
	p := pgtest.New(t, pgtest.Options{Version: 18})
	path := filepath.Join(p.DataDir(), "pg_hba.conf")
	for _, text := range oddLines() {
		if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		want := theirs(t.Context(), t, p)
		if got := ours(path); got != want {
			t.Errorf("%s\nPostgreSQL: %s\nours:       %s", text, want, got)
		}
	}
}

// theirs is what PostgreSQL makes of its file: a line per rule, or that it has mistakes.
func theirs(ctx context.Context, t *testing.T, p *pgtest.Postgres) string {
	t.Helper()
	text, err := p.Value(ctx, "postgres", `SELECT coalesce(json_agg(json_build_array(type, database, user_name, auth_method, error IS NOT NULL)), '[]')
		FROM pg_hba_file_rules`)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]any
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range rows {
		if r[4] == true {
			return "mistakes"
		}
		kind := strings.Replace(fmt.Sprint(r[0]), "hostnogssenc", "host", 1)
		fmt.Fprintf(&b, "%s %q %q %s;", kind, r[1], r[2], r[3])
	}
	return b.String()
}

func ours(path string) string {
	rules, mistakes, err := ReadRules(path, Files{
		Read: func(path string) (string, error) { b, err := os.ReadFile(path); return string(b), err },
	})
	if err != nil || len(mistakes) > 0 {
		return "mistakes"
	}
	var b strings.Builder
	for _, r := range rules {
		fmt.Fprintf(&b, "%s %q %q %s;", r.Type, texts(r.Databases), texts(r.Users), r.Method)
	}
	return b.String()
}

func texts(names []Name) []string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = n.text
		switch n.kind {
		case memberOf:
			all[i] = "+" + n.text
		case sameUser:
			all[i] = "sameuser"
		case sameRole:
			all[i] = "samerole"
		case replication:
			all[i] = "replication"
		default:
			if n.kind == 1 {
				all[i] = "all"
			}
		}
	}
	return all
}
