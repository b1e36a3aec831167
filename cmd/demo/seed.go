package main

import (
	"context"
	"fmt"
	"time"
)

// accounts is the number of rows that one unit of pgbench's scale means.
const accounts = 100_000

// seedSQL makes the tables of `pgbench -i -s 1` with the names, types and options that pgbench expects, because pgbench is not
// on every machine.
const seedSQL = `
CREATE TABLE pgbench_branches (bid int NOT NULL, bbalance int, filler char(88)) WITH (fillfactor=100);
CREATE TABLE pgbench_tellers (tid int NOT NULL, bid int, tbalance int, filler char(84)) WITH (fillfactor=100);
CREATE TABLE pgbench_accounts (aid int NOT NULL, bid int, abalance int, filler char(84)) WITH (fillfactor=100);
CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
INSERT INTO pgbench_branches (bid, bbalance) VALUES (1, 0);
INSERT INTO pgbench_tellers (tid, bid, tbalance) SELECT n, 1, 0 FROM generate_series(1, 10) AS n;
INSERT INTO pgbench_accounts (aid, bid, abalance, filler) SELECT n, 1, 0, '' FROM generate_series(1, %d) AS n;
ALTER TABLE pgbench_branches ADD PRIMARY KEY (bid);
ALTER TABLE pgbench_tellers ADD PRIMARY KEY (tid);
ALTER TABLE pgbench_accounts ADD PRIMARY KEY (aid);
ANALYZE;`

// seed fills the primary, as the role that owns the database, and waits until the replica has it too.
func seed(ctx context.Context, s *servers, out *screen) error {
	started := time.Now()
	if err := s.primary.Exec(ctx, database, "SET ROLE "+user+";"+fmt.Sprintf(seedSQL, accounts)); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	if err := s.replica.CatchUp(ctx); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	out.line("tables", "pgbench's, scale 1, on both in %s", milliseconds(time.Since(started)))
	return nil
}
