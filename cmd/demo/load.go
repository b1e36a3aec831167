package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// clientsPerConnection is how many more clients than server connections the checks use.
const clientsPerConnection = 3

func (t *trial) clients() int { return clientsPerConnection * t.options.poolSize }

// moreClientsThanPool runs transactions of many clients at once. Each keeps a value of its own in a setting that lasts for the
// transaction: a proxy that changes the server connection in the middle, or leaks the setting, is found out.
func moreClientsThanPool(ctx context.Context, t *trial) (string, error) {
	var (
		mu       sync.Mutex
		failures []error
		backends = make(map[int]bool)
		wg       sync.WaitGroup
	)
	for client := range t.clients() {
		wg.Go(func() {
			err := t.with(ctx, pgx.QueryExecModeCacheStatement, func(conn *pgx.Conn) error {
				for round := range rounds {
					pid, err := ownTransaction(ctx, conn, fmt.Sprintf("%d/%d", client, round))
					if err != nil {
						return err
					}
					mu.Lock()
					backends[pid] = true
					mu.Unlock()
				}
				return nil
			})
			if err != nil {
				mu.Lock()
				failures = append(failures, fmt.Errorf("client %d: %w", client, err))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(failures) > 0 {
		return "", fmt.Errorf("%d of %d clients failed, the first: %w", len(failures), t.clients(), failures[0])
	}
	if !t.options.direct && len(backends) >= t.clients() {
		return "", fmt.Errorf("%d clients used %d server connections: nothing was shared", t.clients(), len(backends))
	}
	return fmt.Sprintf("%d clients, %d transactions, %d server connections", t.clients(), t.clients()*rounds, len(backends)), nil
}

// ownTransaction returns the process id of the server connection it ran on.
func ownTransaction(ctx context.Context, conn *pgx.Conn, mark string) (pid int, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback(ctx))
		}
	}()
	before, err := ask[string](ctx, conn, "SELECT coalesce(current_setting('smoke.mark', true), '')")
	if err != nil {
		return 0, err
	}
	if before != "" {
		return 0, fmt.Errorf("a new transaction has the setting of another: %s", before)
	}
	if err := expect(ctx, conn, mark, "SELECT set_config('smoke.mark', $1, true)", mark); err != nil {
		return 0, err
	}
	if err := expect(ctx, conn, mark, "SELECT current_setting('smoke.mark')"); err != nil {
		return 0, err
	}
	if pid, err = ask[int](ctx, conn, "SELECT pid FROM pg_stat_activity WHERE pid = pg_backend_pid()"); err != nil {
		return 0, err
	}
	return pid, tx.Commit(ctx)
}

func replicaFollows(ctx context.Context, t *trial) (string, error) {
	err := t.with(ctx, pgx.QueryExecModeCacheStatement, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "INSERT INTO smoke VALUES ('replica', 42)")
		return err
	})
	if err != nil {
		return "", err
	}
	if err := t.servers.replica.CatchUp(ctx); err != nil {
		return "", err
	}
	got, err := t.servers.replica.Value(ctx, database, "SELECT n FROM smoke WHERE client = 'replica'")
	if err == nil && got != "42" {
		err = fmt.Errorf("the row on the replica is %q", got)
	}
	return "a row written through the proxy", err
}

func redisAnswers(ctx context.Context, t *trial) (string, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", t.servers.redis.Addr)
	if err != nil {
		return "", err
	}
	const question, answer = "*1\r\n$4\r\nPING\r\n", "+PONG\r\n"
	got := make([]byte, len(answer))
	if deadline, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(deadline)
	}
	if err == nil {
		_, err = conn.Write([]byte(question))
	}
	if err == nil {
		_, err = io.ReadFull(conn, got)
	}
	if err == nil && string(got) != answer {
		err = fmt.Errorf("it says %q", got)
	}
	return "", errors.Join(err, conn.Close())
}

func psqlCommand(ctx context.Context, t *trial) (string, error) {
	out, err := t.tool(ctx, "psql", "-X", "-A", "-t", t.dsn, "-c", "SELECT count(*) FROM pgbench_accounts")
	if err == nil && strings.TrimSpace(out) != strconv.Itoa(accounts) {
		err = fmt.Errorf("it prints %q", out)
	}
	return "", err
}

// pgbench runs select-only for two seconds with more clients than the pool has connections.
func pgbench(mode string) func(context.Context, *trial) (string, error) {
	tps := regexp.MustCompile(`(?m)^tps = (\d+)`)
	failed := regexp.MustCompile(`(?m)^number of failed transactions: ([1-9]\d*)`)
	return func(ctx context.Context, t *trial) (string, error) {
		clients := strconv.Itoa(t.clients())
		out, err := t.tool(ctx, "pgbench", "-n", "-S", "-T", "2", "-j", "2", "-c", clients, "-M", mode, t.dsn)
		if err != nil {
			return "", err
		}
		if match := failed.FindStringSubmatch(out); match != nil {
			return "", fmt.Errorf("%s transactions failed", match[1])
		}
		match := tps.FindStringSubmatch(out)
		if match == nil {
			return "", fmt.Errorf("it prints %q", out)
		}
		return fmt.Sprintf("%s transactions/s with %s clients", match[1], clients), nil
	}
}

// tool runs a client program of PostgreSQL and returns what it printed.
func (t *trial) tool(ctx context.Context, name string, args ...string) (string, error) {
	path, found := t.servers.primary.Install.Tool(name)
	if !found {
		return "", errNotFound
	}
	cmd := exec.CommandContext(ctx, path, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
