package admin_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// The exporter whose dashboards and alerts people bring along, built from the Go module proxy.
const (
	exporterModule  = "github.com/prometheus-community/pgbouncer_exporter"
	exporterVersion = "v0.12.1"
)

const patience = 30 * time.Second

// TestExporter runs pgbouncer_exporter against sarnic in front of a real server: a scrape has every metric that it has with
// PgBouncer itself (testdata/exporter.txt was made with 1.25.2), and a number in each.
func TestExporter(t *testing.T) {
	server := pgtest.New(t, pgtest.Options{Version: 18, Users: []pgtest.User{{Name: "app", Password: "secret"}}})
	sarnic := run(t, buildSarnic(t), regexp.MustCompile(`msg="?listening"? .*address=(\S+)`),
		"serve", "--upstream", server.DSN("app", "secret", "postgres"), "--listen", "127.0.0.1:0", "--log-format", "text")
	dsn := "postgres://app:secret@" + sarnic + "/%s?sslmode=disable"
	exporter := run(t, buildExporter(t), regexp.MustCompile(`Listening on" address=(\S+)`),
		"--web.listen-address=127.0.0.1:0", "--pgBouncer.connectionString="+fmt.Sprintf(dsn, "pgbouncer"))

	first := scrape(t, exporter)
	wantMetrics(t, first)
	client, err := pgconn.Connect(t.Context(), fmt.Sprintf(dsn, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(context.Background())
	for range 10 {
		if err := client.Exec(t.Context(), "SELECT pg_sleep(0.01)").Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Prepare(t.Context(), "named", "SELECT 1", nil); err != nil {
		t.Fatal(err)
	}
	if r := client.ExecPrepared(t.Context(), "named", nil, nil, nil).Read(); r.Err != nil {
		t.Fatal(r.Err)
	}
	if err := client.Exec(t.Context(), "BEGIN").Close(); err != nil {
		t.Fatal(err)
	}
	second := scrape(t, exporter)
	wantMetrics(t, second)
	for _, c := range []struct {
		metric string
		least  float64
	}{
		{"pgbouncer_up", 1},
		{"pgbouncer_config_max_client_connections", 10_000},
		{"pgbouncer_databases_pool_size", 20},
		{"pgbouncer_databases_current_connections", 1},
		{"pgbouncer_pools_client_active_connections", 1},
		{"pgbouncer_pools_server_active_connections", 1},
		{"pgbouncer_client_connections", 1},
		{"pgbouncer_stats_totals_queries_pooled_total", 10},
		{"pgbouncer_stats_totals_sql_transactions_pooled_total", 10},
		{"pgbouncer_stats_totals_server_assignments_total", 11},
		{"pgbouncer_stats_totals_server_in_transaction_seconds_total", 0.1},
		{"pgbouncer_stats_totals_received_bytes_total", 100},
		{"pgbouncer_stats_totals_sent_bytes_total", 100},
		{"pgbouncer_stats_totals_queries_duration_seconds_total", 0.1},
		{"pgbouncer_stats_totals_client_wait_seconds_total", 1e-6},
		{"pgbouncer_stats_totals_client_parses_total", 1},
		{"pgbouncer_stats_totals_server_parses_total", 1},
		{"pgbouncer_stats_totals_binds_total", 1},
		{"pgbouncer_version_info", 1},
	} {
		if got := slices.Max(second[c.metric]); got < c.least {
			t.Errorf("%s is %v, want at least %v", c.metric, got, c.least)
		}
	}
}

// wantMetrics wants every metric, and a number in each of its series.
func wantMetrics(t *testing.T, got map[string][]float64) {
	t.Helper()
	b, err := os.ReadFile("testdata/exporter.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(b))
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("metrics\n%q\nwant\n%q", names, want)
	}
	for name, values := range got {
		for _, v := range values {
			if v != v {
				t.Errorf("%s is not a number", name)
			}
		}
	}
}

// scrape reads the exporter's metrics about a pooler: their values by name.
func scrape(t *testing.T, address string) map[string][]float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v\n%s", response.Status, err, b)
	}
	found := make(map[string][]float64)
	for line := range strings.Lines(string(b)) {
		name, _, _ := strings.Cut(line, "{")
		fields := strings.Fields(line)
		if !strings.HasPrefix(line, "pgbouncer") {
			continue
		}
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		name = strings.Fields(name)[0]
		found[name] = append(found[name], value)
	}
	return found
}

// run starts a program for the time of the test and returns what the first group of ready matches in its output.
func run(t *testing.T, program string, ready *regexp.Regexp, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, args...)
	out, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := func() []byte {
		b, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		_ = out.Close()
		if b := said(); t.Failed() || bytes.Contains(b, []byte("level=WARN")) || bytes.Contains(b, []byte("error")) {
			t.Errorf("%s has said:\n%s", filepath.Base(program), b)
		}
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if m := ready.FindSubmatch(said()); m != nil {
			return strings.Trim(string(m[1]), `"`)
		}
	}
	t.Fatalf("%s is not ready:\n%s", filepath.Base(program), said())
	return ""
}

func buildSarnic(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sarnic")
	goBuild(t, "../..", path, "./cmd/sarnic")
	return path
}

// buildExporter builds the exporter once for all runs of the test.
func buildExporter(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "sarnic", "pgbouncer_exporter-"+exporterVersion)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	module := fmt.Sprintf("module exporter\n\ngo 1.25.0\n\nrequire %s %s\n", exporterModule, exporterVersion)
	if err := os.WriteFile(filepath.Join(scratch, "go.mod"), []byte(module), 0o600); err != nil {
		t.Fatal(err)
	}
	built := fmt.Sprintf("%s.%d", path, os.Getpid())
	goBuild(t, scratch, built, exporterModule)
	if err := os.Rename(built, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func goBuild(t *testing.T, folder, path, what string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", path, what)
	cmd.Dir = folder
	if folder != "../.." {
		cmd.Args = slices.Insert(cmd.Args, 2, "-mod=mod")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", what, err, out)
	}
}
