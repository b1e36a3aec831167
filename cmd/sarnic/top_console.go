package main

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/admin"
)

// topPatience bounds a connection to the console, and each question to it.
const topPatience = 5 * time.Second

// consoleClient is a connection to the console of a sarnic, or of a PgBouncer. It is made when it is first needed, and again
// after a failure. One goroutine uses it at a time.
type consoleClient struct {
	config  *pgconn.Config
	conn    *pgconn.PgConn
	version string
}

// newConsoleClient reads a DSN. Without a database in it the console's own is meant.
func newConsoleClient(dsn string) (*consoleClient, error) {
	if _, err := dial.Parse(dsn); err != nil {
		return nil, &usageError{"top", err.Error()} // it shows nothing of the DSN, which may hold a password
	}
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	if config.Database == "" {
		config.Database = admin.Databases()[0]
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "sarnic top"
	}
	return &consoleClient{config: config}, nil
}

// address is where the console is.
func (c *consoleClient) address() string {
	network, address := pgconn.NetworkAddress(c.config.Host, c.config.Port)
	if network == "unix" {
		return address
	}
	return net.JoinHostPort(c.config.Host, strconv.Itoa(int(c.config.Port)))
}

func (c *consoleClient) close(ctx context.Context) {
	if c.conn != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.conn.Close(ctx)
		c.conn = nil
	}
}

// show runs one SHOW. A console that does not know it has nothing to show; a failure of the connection ends it.
func (c *consoleClient) show(ctx context.Context, what string) (listing, error) {
	ctx, cancel := context.WithTimeout(ctx, topPatience)
	defer cancel()
	if c.conn == nil {
		conn, err := pgconn.ConnectConfig(ctx, c.config)
		if err != nil {
			return listing{}, plainConnectError(err)
		}
		c.conn = conn
	}
	results, err := c.conn.Exec(ctx, "SHOW "+what).ReadAll()
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && !c.conn.IsClosed():
		return listing{refused: refused.Message}, nil
	case err != nil:
		c.close(ctx)
		return listing{}, err
	case len(results) == 0:
		return listing{}, nil
	}
	return newListing(results[0]), nil
}

// plainConnectError is what the console or the network said, without pgconn's list of what was tried.
func plainConnectError(err error) error {
	var refused *pgconn.PgError
	var network *net.OpError
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &network):
		return network
	}
	return err
}

// listing is the result of a SHOW. Its columns are known by name: a console may have more of them, or fewer.
type listing struct {
	columns map[string]int
	rows    [][]string
	refused string // why there is nothing
}

func newListing(r *pgconn.Result) listing {
	l := listing{columns: make(map[string]int)}
	for i, f := range r.FieldDescriptions {
		l.columns[f.Name] = i
	}
	for _, values := range r.Rows {
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = string(v)
		}
		l.rows = append(l.rows, row)
	}
	return l
}

// text is a value of a row, "" if the column is not there.
func (l listing) text(row []string, column string) string {
	if i, ok := l.columns[column]; ok && i < len(row) {
		return row[i]
	}
	return ""
}

// number is a value of a row, 0 if it is none.
func (l listing) number(row []string, columns ...string) int64 {
	var sum int64
	for _, column := range columns {
		n, err := strconv.ParseInt(l.text(row, column), 10, 64)
		if err == nil {
			sum += n
		}
	}
	return sum
}

// time is how long something has lasted that is in seconds and microseconds beyond them.
func (l listing) time(row []string, whole, micros string) time.Duration {
	return time.Duration(l.number(row, whole))*time.Second + time.Duration(l.number(row, micros))*time.Microsecond
}

// sample is what the console showed at one time.
type sample struct {
	at         time.Time
	version    string
	paused     bool
	pools      listing
	stats      listing
	clients    listing
	pins       listing
	statements listing
}

// look takes a sample. What no view needs is not asked for: of many clients there is much to tell.
func (c *consoleClient) look(ctx context.Context, v view) (sample, error) {
	s := sample{at: time.Now(), version: c.version}
	var state, version listing
	questions := []struct {
		what string
		to   *listing
		ask  bool
	}{
		{"VERSION", &version, s.version == ""},
		{"STATE", &state, true},
		{"POOLS", &s.pools, true},
		{"STATS", &s.stats, true},
		{"PINS", &s.pins, true},
		{"CLIENTS", &s.clients, v == clientsView},
		{"STATEMENTS", &s.statements, v == statementsView},
	}
	for _, q := range questions {
		if !q.ask {
			continue
		}
		var err error
		if *q.to, err = c.show(ctx, q.what); err != nil {
			return sample{}, err
		}
	}
	for _, row := range version.rows {
		s.version = version.text(row, "version")
		if _, ours, found := strings.Cut(s.version, "(sarnic "); found {
			s.version = "sarnic " + strings.TrimSuffix(ours, ")")
		}
		c.version = s.version
	}
	for _, row := range state.rows {
		if key := state.text(row, "key"); key == "paused" || key == "suspended" {
			s.paused = s.paused || state.text(row, "value") == "yes"
		}
	}
	for _, l := range []*listing{&s.pools, &s.stats, &s.clients} {
		l.withoutConsole()
	}
	return s, nil
}

// withoutConsole drops the rows of the console itself, which has the same name in every view.
func (l *listing) withoutConsole() {
	kept := l.rows[:0]
	for _, row := range l.rows {
		if l.text(row, "database") != admin.Database {
			kept = append(kept, row)
		}
	}
	l.rows = kept
}
