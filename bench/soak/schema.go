package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// The role and the database that clients and sarnic use. The superuser, who looks and terminates, is somebody else.
const (
	user     = "soak"
	password = "soak-only-on-loopback"
	database = "soak"
)

// Rows of TPC-B's tables. Few branches make clients wait for one another's row locks, which cancels and kills then hit.
const (
	branches = 10
	tellers  = 100
	accounts = 10_000
)

// workMem is what a client sees that has not changed it.
const workMem = "4MB"

// serverSettings keep the disk out of it: what is soaked is in front of the server.
func serverSettings() map[string]string {
	return map[string]string{
		"synchronous_commit": "off",
		"wal_level":          "replica",
		"max_wal_size":       "1GB",
		"shared_buffers":     "128MB",
		"max_connections":    "100",
		"work_mem":           workMem,
		"log_min_messages":   "panic", // thousands of terminated connections are of no interest
	}
}

// The token of a row in history and in copied says which transaction wrote it. It is not unique there: one that is
// written twice is to be seen.
const tables = `
CREATE TABLE branches (bid int PRIMARY KEY, bbalance bigint NOT NULL) WITH (fillfactor = 20);
CREATE TABLE tellers  (tid int PRIMARY KEY, tbalance bigint NOT NULL) WITH (fillfactor = 20);
CREATE TABLE accounts (aid int PRIMARY KEY, abalance bigint NOT NULL) WITH (fillfactor = 80);
CREATE TABLE history  (token bigint NOT NULL, tid int, bid int, aid int, delta bigint NOT NULL, at timestamptz DEFAULT now());
CREATE TABLE copied   (token bigint NOT NULL, line int NOT NULL, text text NOT NULL);
CREATE TABLE canaries (worker int PRIMARY KEY, secret text NOT NULL, n bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO branches SELECT n, 0 FROM generate_series(1, %d) n;
INSERT INTO tellers  SELECT n, 0 FROM generate_series(1, %d) n;
INSERT INTO accounts SELECT n, 0 FROM generate_series(1, %d) n;
`

// load creates the database and its tables, with a canary for each secret.
func load(ctx context.Context, pg *pgtest.Postgres, secrets []string) error {
	if err := pg.Exec(ctx, pgtest.Superuser, "CREATE DATABASE "+database+" OWNER "+user); err != nil {
		return err
	}
	var sql strings.Builder
	fmt.Fprintf(&sql, "SET ROLE %s;"+tables, user, branches, tellers, accounts)
	for i, secret := range secrets {
		fmt.Fprintf(&sql, "INSERT INTO canaries VALUES (%d, '%s', 0);\n", i, secret)
	}
	if err := pg.Exec(ctx, database, sql.String()); err != nil {
		return err
	}
	return pg.Exec(ctx, database, "VACUUM ANALYZE")
}

// newSecrets makes one secret per worker.
func newSecrets(random *rand.Rand, n int) []string {
	secrets := make([]string, n)
	for i := range secrets {
		secrets[i] = "w" + strconv.Itoa(i) + "-" + strconv.FormatUint(random.Uint64()|1<<63, 36)
	}
	return secrets
}
