package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// target is something that serves the bench database on a loopback port.
type target struct {
	name string
	port int
	tls  bool     // clients use TLS
	proc *process // the proxy's; nil for the server itself, whose backends are many processes
}

// sarnicCommand is how sarnic is started. This is the one place that knows its flags. Like PgBouncer here, it logs no logins.
const (
	sarnicCommand = "serve --upstream {dsn} --listen {listen} --pool-size {pool} --auth {auth} --max-clients 10000 --log-level warn {tls}"
	sarnicTLS     = "--tls-mode require --tls-cert {cert} --tls-key {key}"
	pgbouncerArgs = "{ini}"
)

// full is the command line with placeholders: a bare path is a build of sarnic.
func (p program) full() string {
	if strings.Contains(p.command, "{") {
		return p.command
	}
	return p.command + " " + sarnicCommand
}

// path is the executable.
func (p program) path() string { return strings.Fields(p.command)[0] }

// offersTLS tells whether the program can be told to show a certificate.
func (p program) offersTLS() bool {
	full := p.full()
	return strings.Contains(full, "{tls}") || strings.Contains(full, "{ini}") || strings.Contains(full, "{cert}")
}

// startProxy starts p before the server of b and waits until it serves.
func (b *bench) startProxy(ctx context.Context, p program, tls bool) (target, error) {
	port, err := pgtest.FreePort()
	if err != nil {
		return target{}, err
	}
	argv, err := b.expand(ctx, p, port, tls)
	if err != nil {
		return target{}, err
	}
	proc, err := start(p.name, b.dir, argv)
	if err != nil {
		return target{}, err
	}
	t := target{name: p.name, port: port, tls: tls, proc: proc}
	err = proc.poll(ctx, 15*time.Second, func(ctx context.Context) error {
		conn, err := t.connect(ctx)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "SELECT 1").ReadAll()
		return err
	})
	if err != nil {
		proc.stop()
		return target{}, err
	}
	return t, nil
}

// expand fills the placeholders. A value may hold blanks: words are split before.
func (b *bench) expand(ctx context.Context, p program, port int, tls bool) ([]string, error) {
	full := p.full()
	if tls {
		full = strings.ReplaceAll(full, "{tls}", sarnicTLS)
	} else {
		full = strings.ReplaceAll(full, "{tls}", "")
	}
	ini := ""
	if strings.Contains(full, "{ini}") {
		var err error
		if ini, err = b.writeIni(ctx, p, port, tls); err != nil {
			return nil, err
		}
	}
	fill := strings.NewReplacer(
		"{dsn}", b.pg.dsn(),
		"{listen}", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		"{host}", "127.0.0.1",
		"{port}", strconv.Itoa(port),
		"{pool}", strconv.Itoa(b.o.pool),
		"{pg}", b.pg.Addr(),
		"{cert}", b.cert.certFile,
		"{key}", b.cert.keyFile,
		"{ini}", ini,
		"{auth}", b.o.authMethod(),
	)
	argv := strings.Fields(full)
	for i := range argv {
		argv[i] = fill.Replace(argv[i])
	}
	return argv, nil
}

// dsn is the target as a client sees it.
func (t target) dsn() string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=%s", benchUser, benchPassword, t.port, benchUser, t.sslmode())
}

func (t target) sslmode() string {
	if t.tls {
		return "require"
	}
	return "disable"
}

func (t target) connect(ctx context.Context) (*pgconn.PgConn, error) {
	return pgconn.Connect(ctx, t.dsn())
}

func (t target) stop() {
	if t.proc != nil {
		t.proc.stop()
	}
}

// rss is 0 for the server itself.
func (t target) rss() (int64, error) {
	if t.proc == nil {
		return 0, nil
	}
	return rss(t.proc.PID())
}
