package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrPortTaken is a server's failure to bind its port.
var ErrPortTaken = errors.New("the port is taken")

const (
	startTimeout = 60 * time.Second // a loaded machine may take long to recover a killed cluster
	startPoll    = 10 * time.Millisecond
)

// run starts the postmaster and waits until it answers. The caller holds mu; on an error nothing runs.
func (p *Postgres) run(ctx context.Context) error {
	if p.closed {
		return errClosed
	}
	log, err := os.OpenFile(p.LogFile(), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the server holds its own copy
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	cmd := p.acct.command(p.work.path, p.Install.program("postgres"), "-D", p.DataDir())
	cmd.Stdout, cmd.Stderr = log, log
	process, err := StartProcess(cmd, syscall.SIGQUIT)
	if err != nil {
		return err
	}
	if err := p.awaitReady(ctx, process); err != nil {
		_, stopErr := process.Stop(syscall.SIGQUIT, stopGrace)
		return errors.Join(startError(err, log, before), stopErr)
	}
	p.process = process
	return nil
}

// awaitReady polls until the superuser can log in.
func (p *Postgres) awaitReady(ctx context.Context, process *Process) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	config, err := pgconn.ParseConfig(p.AdminDSN(Superuser))
	if err != nil {
		return err
	}
	for {
		err := ping(ctx, config)
		if err == nil {
			return nil
		}
		select {
		case <-process.Done():
			return fmt.Errorf("PostgreSQL ended while starting: %w", process.Err())
		default:
		}
		if pause(ctx, startPoll) != nil {
			return fmt.Errorf("PostgreSQL does not answer: %w", err)
		}
	}
}

// ping logs in and out. A socket that is not there yet costs next to nothing.
func ping(ctx context.Context, config *pgconn.Config) error {
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// startError adds what the server logged since the offset, and recognises a taken port in it.
func startError(err error, log *os.File, since int64) error {
	const most = 4 << 10
	text := make([]byte, most)
	n, _ := log.ReadAt(text, since)
	text = bytes.TrimSpace(text[:n])
	if bytes.Contains(text, []byte("Address already in use")) {
		err = fmt.Errorf("%w: %w", ErrPortTaken, err)
	}
	return fmt.Errorf("%w\n%s", err, text)
}

// createUsers makes the roles of the options.
func (p *Postgres) createUsers(ctx context.Context) error {
	if len(p.options.Users) == 0 {
		return nil
	}
	var sql strings.Builder
	for _, user := range p.options.Users {
		if user.Encryption != "" {
			fmt.Fprintf(&sql, "SET password_encryption = %s;\n", quoteLiteral(user.Encryption))
		} else {
			sql.WriteString("RESET password_encryption;\n")
		}
		fmt.Fprintf(&sql, "CREATE ROLE %s LOGIN PASSWORD %s %s;\n", quoteIdent(user.Name), quoteLiteral(user.Password), user.Attributes)
	}
	return p.Exec(ctx, Superuser, sql.String())
}

// Exec runs statements, separated by semicolons, as the superuser.
func (p *Postgres) Exec(ctx context.Context, database, sql string) error {
	_, err := p.Value(ctx, database, sql)
	return err
}

// Value runs statements as the superuser and returns the first column of the last one's first row, "" without a row.
func (p *Postgres) Value(ctx context.Context, database, sql string) (string, error) {
	conn, err := pgconn.Connect(ctx, p.AdminDSN(database))
	if err != nil {
		return "", err
	}
	results, err := conn.Exec(ctx, sql).ReadAll()
	err = errors.Join(err, conn.Close(ctx))
	if err != nil || len(results) == 0 {
		return "", err
	}
	return firstValue(results[len(results)-1]), nil
}

func firstValue(result *pgconn.Result) string {
	if len(result.Rows) == 0 || len(result.Rows[0]) == 0 {
		return ""
	}
	return string(result.Rows[0][0])
}

func quoteIdent(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func quoteLiteral(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
