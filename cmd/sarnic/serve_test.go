package main

import (
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy"
	"github.com/sarnicdb/sarnic/proxy/login"
)

// parseServe reads a command line of serve without starting anything.
func parseServe(vars map[string]string, args ...string) (settings, logOptions, error) {
	p := program{env: environment(vars), stdout: io.Discard, stderr: io.Discard}
	return p.readServeFlags(args)
}

func mustParseServe(t *testing.T, vars map[string]string, args ...string) settings {
	t.Helper()
	s, _, err := parseServe(vars, args...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestServeFromADSN(t *testing.T) {
	s := mustParseServe(t, nil, "--upstream", "postgres://app:hunter2@db:5433/shop")
	c := s.proxy
	if want := []string{"127.0.0.1:6432"}; !slices.Equal(c.Listen, want) {
		t.Errorf("listen %q, want %q", c.Listen, want)
	}
	if len(c.Databases) != 1 || c.Databases[0].Name != "shop" || c.Databases[0].Pool != pool.DefaultConfig() {
		t.Errorf("databases %+v", c.Databases)
	}
	if want := []proxy.User{{Name: "app", Secret: "hunter2"}}; !slices.Equal(c.Users, want) {
		t.Errorf("users %+v", c.Users)
	}
	if c.Auth != login.SCRAM || c.TLS != nil || s.http != "" {
		t.Errorf("auth %s, tls %v, http %q", c.Auth, c.TLS, s.http)
	}
}

func TestServeTrustsWhereTheDSNHasNoPassword(t *testing.T) {
	vars := map[string]string{}
	if c := mustParseServe(t, vars, "--upstream", "postgres://app@db/shop").proxy; c.Auth != login.Trust {
		t.Errorf("auth %s", c.Auth)
	}
	if c := mustParseServe(t, vars, "--upstream", "postgres://app:x@db/shop", "--auth", "md5").proxy; c.Auth != login.MD5 {
		t.Errorf("auth %s", c.Auth)
	}
}

func TestServeFlags(t *testing.T) {
	s, log, err := parseServe(nil,
		"--upstream=postgres://app:x@db/shop", "--listen", "127.0.0.1:1,127.0.0.1:2", "--listen", "127.0.0.1:3",
		"--replica", "postgres://r1/shop", "--replica", "postgres://r2/shop", "-pool-size", "7", "--pool-mode", "session",
		"--http", "127.0.0.1:4", "--max-clients", "9", "--loops", "2", "--drain-timeout", "3s", "--log-level", "debug", "--log-format", "json")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}; !slices.Equal(s.proxy.Listen, want) {
		t.Errorf("listen %q, want %q", s.proxy.Listen, want)
	}
	d := s.proxy.Databases[0]
	if d.Pool.Size != 7 || d.Pool.Mode != pool.SessionMode || s.proxy.MaxClients != 9 || s.proxy.MaxLoops != 2 || s.proxy.DrainTime != 3*time.Second {
		t.Errorf("settings %+v", s.proxy)
	}
	if s.http != "127.0.0.1:4" || len(s.replicas) != 2 {
		t.Errorf("http %q, replicas %q", s.http, s.replicas)
	}
	if log.level != slog.LevelDebug || log.format != "json" {
		t.Errorf("log %+v", log)
	}
}

func TestServeFromTheEnvironment(t *testing.T) {
	vars := map[string]string{"SARNIC_UPSTREAM": "postgres://app:x@db/shop", "SARNIC_POOL_SIZE": "5", "SARNIC_LISTEN": "127.0.0.1:1"}
	c := mustParseServe(t, vars, "--listen", "127.0.0.1:2").proxy
	if c.Databases[0].Pool.Size != 5 || !slices.Equal(c.Listen, []string{"127.0.0.1:2"}) {
		t.Errorf("pool size %d, listen %q; a flag goes before its variable", c.Databases[0].Pool.Size, c.Listen)
	}
	vars["SARNIC_POOL_SIZE"] = "many"
	if _, _, err := parseServe(vars); err == nil || !strings.Contains(err.Error(), "SARNIC_POOL_SIZE") {
		t.Errorf("want the variable blamed, got %v", err)
	}
}

func TestServeFromAFile(t *testing.T) {
	vars := map[string]string{"SARNIC_CONFIG": "testdata/full.good.yaml", "PGPASSWORD": "hunter2", "SARNIC_LOG_LEVEL": "warn"}
	s, log, err := parseServe(vars)
	if err != nil || len(s.proxy.Databases) != 2 || log.level != slog.LevelWarn {
		t.Errorf("%v, databases %d, log %+v", err, len(s.proxy.Databases), log)
	}
	if s := mustParseServe(t, vars, "--upstream", "postgres://app:x@db/shop"); s.proxy.Databases[0].Name != "shop" {
		t.Errorf("a flag goes before SARNIC_CONFIG, got %+v", s.proxy.Databases)
	}
	vars["SARNIC_POOL_SIZE"] = "3"
	if s := mustParseServe(t, vars, "--config", "testdata/full.good.yaml"); s.proxy.Databases[0].Pool.Size != 10 {
		t.Errorf("a file says everything, got pool size %d", s.proxy.Databases[0].Pool.Size)
	}
}

func TestWrongFlagsAreAllReportedUnderTheirNames(t *testing.T) {
	_, _, err := parseServe(nil, "--upstream", "postgres://app:x@db/shop", "--listen", "x", "--http", "y", "--pool-size", "0",
		"--pool-mode", "z", "--auth", "ldap", "--tls-mode", "require", "--tls-client-ca", "ca", "--max-clients", "0", "--loops", "-1",
		"--drain-timeout", "-1s", "--replica", "nonsense://")
	var usage *usageError
	if !errors.As(err, &usage) {
		t.Fatalf("want a usage error, got %v", err)
	}
	for _, name := range []string{
		"listen", "http", "pool-size", "pool-mode", "auth", "tls-cert", "max-clients", "loops", "drain-timeout", "replica",
	} {
		if !strings.Contains(err.Error(), "--"+name+": ") {
			t.Errorf("nothing about --%s in\n%v", name, err)
		}
	}
}
