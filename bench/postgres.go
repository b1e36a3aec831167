package main

import (
	"context"
	"fmt"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

const (
	benchUser     = "bench" // role and database
	benchPassword = "bench-only-on-loopback"
)

// postgres is the throwaway server behind all targets.
type postgres struct {
	*pgtest.Postgres
	secret string // bench's SCRAM secret as the server stores it
}

// startPostgres starts a server and loads pgbench's tables.
func startPostgres(ctx context.Context, o *options, load pgbench, say func(string)) (*postgres, error) {
	server, err := pgtest.Start(ctx, pgtest.Options{
		Version:  o.pgMajor,
		Settings: serverSettings(),
		HBA:      []string{"host all all 127.0.0.1/32 " + o.authMethod()},
		TLS:      true,
		Users:    []pgtest.User{{Name: benchUser, Password: benchPassword}},
		Progress: say,
	})
	if err != nil {
		return nil, err
	}
	pg := &postgres{Postgres: server}
	if err := pg.prepare(ctx, o.scale, load); err != nil {
		pg.Close()
		return nil, err
	}
	return pg, nil
}

// serverSettings keep the disk and background work out of the measurement: it is about what is in front of the server.
func serverSettings() map[string]string {
	return map[string]string{
		"max_connections":    "500",
		"shared_buffers":     "512MB",
		"synchronous_commit": "off",
		"wal_level":          "replica",
		"checkpoint_timeout": "1d",
		"max_wal_size":       "8GB",
		"autovacuum":         "off",
		"log_min_messages":   "fatal",
	}
}

func (pg *postgres) prepare(ctx context.Context, scale int, load pgbench) error {
	if err := pg.Exec(ctx, pgtest.Superuser, "CREATE DATABASE "+benchUser+" OWNER "+benchUser); err != nil {
		return err
	}
	if err := load.initialise(ctx, pg.direct(), scale); err != nil {
		return err
	}
	for _, sql := range []string{"VACUUM ANALYZE", "CHECKPOINT"} {
		if err := pg.Exec(ctx, benchUser, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	var err error
	pg.secret, err = pg.Value(ctx, benchUser, "SELECT rolpassword FROM pg_authid WHERE rolname = '"+benchUser+"'")
	return err
}

// tidy takes away what the last TPC-B run left, so that every run finds the same tables.
func (pg *postgres) tidy(ctx context.Context) error {
	for _, sql := range []string{"VACUUM pgbench_branches, pgbench_tellers", "TRUNCATE pgbench_history"} {
		if err := pg.Exec(ctx, benchUser, sql); err != nil {
			return fmt.Errorf("tidying pgbench's tables: %w", err)
		}
	}
	return nil
}

// dsn is for the proxies: between them and the server there is no TLS.
func (pg *postgres) dsn() string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", benchUser, benchPassword, pg.Addr(), benchUser)
}

// direct is the server itself as a target.
func (pg *postgres) direct() target { return target{name: targetDirect, port: pg.Port()} }
