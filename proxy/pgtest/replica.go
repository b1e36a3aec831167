package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Replica starts a streaming replica of this server and waits until it streams. It is made from the running server's data
// directory with PostgreSQL's backup functions, because not every installation has pg_basebackup. The end of ctx, its own
// Close and that of the primary close it.
func (p *Postgres) Replica(ctx context.Context) (*Postgres, error) {
	replica := &Postgres{Install: p.Install, options: p.options, acct: p.acct, tls: p.tls, primary: p}
	replica.options.Port, replica.options.Users = 0, nil
	if err := replica.follow(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("replica of port %d: %w", p.port, err), replica.Close())
	}
	return replica, nil
}

// follow copies the primary, starts the copy and waits until it streams.
func (p *Postgres) follow(ctx context.Context) (err error) {
	if p.work, err = newWorkdir(p.acct); err != nil {
		return err
	}
	p.slot = strings.ReplaceAll(filepath.Base(p.work.path), "-", "_")
	afterwards := context.WithoutCancel(ctx)
	p.leave = func() { p.primary.forget(afterwards, p) }
	if err := p.primary.adopt(p); err != nil { // from here on the primary may close it at any time
		return err
	}
	// The slot keeps the WAL from before the copy until the replica has it, also while the replica is stopped.
	sql := fmt.Sprintf("SELECT pg_create_physical_replication_slot(%s, true)", quoteLiteral(p.slot))
	if err := p.primary.Exec(ctx, Superuser, sql); err != nil {
		return err
	}
	if err := p.backUp(ctx); err != nil {
		return err
	}
	err = p.firstStart(ctx, map[string]string{
		"wal_retrieve_retry_interval": "200ms", // by default it looks for a primary that is back every five seconds
		"primary_slot_name":           p.slot,
		"primary_conninfo": fmt.Sprintf("host=%s port=%d user=%s application_name=%s",
			p.primary.SocketDir(), p.primary.port, Superuser, p.slot),
	})
	if err != nil {
		return err
	}
	return p.awaitStreaming(ctx)
}

// backUp copies the data directory between pg_backup_start and pg_backup_stop, which must share a session.
func (p *Postgres) backUp(ctx context.Context) (err error) {
	session, err := pgconn.Connect(ctx, p.primary.AdminDSN(Superuser))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(ctx)) }()
	if _, err := session.Exec(ctx, "SELECT pg_backup_start('pgtest', true)").ReadAll(); err != nil {
		return err
	}
	from, to := p.primary.DataDir(), p.DataDir()
	if err := copyTree(p.acct, from, to, inBackup); err != nil {
		return err
	}
	// pg_control last: it must not be older than any page of the copy.
	if err := copyFile(p.acct, filepath.Join(from, controlFile), filepath.Join(to, controlFile)); err != nil {
		return err
	}
	results, err := session.Exec(ctx, "SELECT labelfile FROM pg_backup_stop(false)").ReadAll()
	if err != nil {
		return err
	}
	return errors.Join(p.writeData("backup_label", firstValue(results[0])), p.writeData("standby.signal", ""))
}

const controlFile = "global/pg_control"

// inBackup leaves out what a copy must not have: files of the running postmaster, and directories that recovery fills.
func inBackup(rel string) bool {
	rel = filepath.ToSlash(rel)
	switch base := path.Base(rel); {
	case rel == controlFile, rel == "postmaster.pid", rel == "postmaster.opts":
		return false
	case base == "pg_internal.init", strings.HasPrefix(base, "pgsql_tmp"):
		return false
	}
	switch path.Dir(rel) {
	case "pg_wal":
		return rel == "pg_wal/archive_status" || rel == "pg_wal/summaries"
	case "pg_wal/archive_status", "pg_wal/summaries", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots",
		"pg_stat_tmp", "pg_subtrans":
		return false
	}
	return true
}

// awaitStreaming waits until the primary sees the replica stream.
func (p *Postgres) awaitStreaming(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	sql := "SELECT state FROM pg_stat_replication WHERE application_name = " + quoteLiteral(p.slot)
	for {
		state, err := p.primary.Value(ctx, Superuser, sql)
		if err == nil && state == "streaming" {
			return nil
		}
		if pause(ctx, startPoll) != nil {
			text, _ := os.ReadFile(p.LogFile())
			return fmt.Errorf("it does not stream: %w\n%s", errors.Join(context.Cause(ctx), err), text)
		}
	}
}

// CatchUp waits until the replica has replayed everything its primary had written when CatchUp was called.
func (p *Postgres) CatchUp(ctx context.Context) error {
	if p.primary == nil {
		return errors.New("not a replica")
	}
	target, err := p.primary.Value(ctx, Superuser, "SELECT pg_current_wal_insert_lsn()")
	if err != nil {
		return err
	}
	sql := fmt.Sprintf("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", quoteLiteral(target))
	for {
		reached, err := p.Value(ctx, Superuser, sql)
		if err != nil {
			return err
		}
		if reached == "t" {
			return nil
		}
		if err := pause(ctx, startPoll); err != nil {
			return err
		}
	}
}

// adopt notes a replica, so that it is closed with its primary.
func (p *Postgres) adopt(replica *Postgres) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	p.replicas = append(p.replicas, replica)
	return nil
}

// forgetTimeout bounds the attempt to drop a slot: a primary that is down keeps it, and loses it with its directory.
const forgetTimeout = 2 * time.Second

// forget drops a closed replica and its slot.
func (p *Postgres) forget(ctx context.Context, replica *Postgres) {
	p.mu.Lock()
	p.replicas = slices.DeleteFunc(p.replicas, func(r *Postgres) bool { return r == replica })
	running := p.process != nil
	p.mu.Unlock()
	if !running {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, forgetTimeout)
	defer cancel()
	// The server needs a moment to notice that the replica is gone; until then the slot is in use.
	sql := fmt.Sprintf("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", quoteLiteral(replica.slot))
	for p.Exec(ctx, Superuser, sql) != nil && pause(ctx, startPoll) == nil {
	}
}
