package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// User is a role that may log in.
type User struct {
	Name, Password string
	Encryption     string // password_encryption for its password: "scram-sha-256" (also when empty) or "md5"
	Attributes     string // further words for CREATE ROLE: "SUPERUSER", "REPLICATION CONNECTION LIMIT 3"
}

// Options describe a server; the zero value is a good one.
type Options struct {
	Version  int               // major version; 0 takes the newest found on the machine
	Port     int               // 0 takes a free one
	Settings map[string]string // for postgresql.conf, above this package's fast defaults
	HBA      []string          // lines of pg_hba.conf; without any, roles log in with their password from this machine
	TLS      bool              // certificates of a throwaway authority; see CAFile and ClientCertificate
	Users    []User
	Progress func(string) // hears of what takes long, such as a download; may be nil
}

// Postgres is one server with its data directory. Its methods may be called from any goroutine.
type Postgres struct {
	Install Install

	options Options
	acct    account
	work    *workdir
	port    int
	tls     *authority // nil without TLS
	primary *Postgres  // nil unless this is a replica
	slot    string     // the replication slot a replica uses on its primary
	leave   func()     // a replica's farewell to its primary; nil for others

	mu       sync.Mutex // guards what follows; held while starting and stopping
	process  *Process   // nil while stopped
	replicas []*Postgres
	closed   bool
	unwatch  func() bool // ends the watch over the context of Start
}

// Start starts a server on a fresh cluster and waits until it answers. The end of ctx closes it.
func Start(ctx context.Context, options Options) (*Postgres, error) {
	acct, err := serverAccount()
	if err != nil {
		return nil, err
	}
	install, err := find(ctx, acct, options.Version, options.Progress)
	if err != nil {
		return nil, err
	}
	cluster, err := template(ctx, acct, install, options.Progress)
	if err != nil {
		return nil, fmt.Errorf("initialise a cluster of PostgreSQL %s: %w", install.Version, err)
	}
	p := &Postgres{Install: install, options: options, acct: acct}
	if err := p.create(ctx, cluster); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// create copies the cluster, starts it for the first time and makes the users.
func (p *Postgres) create(ctx context.Context, cluster string) (err error) {
	if p.work, err = newWorkdir(p.acct); err != nil {
		return err
	}
	if err := copyTree(p.acct, cluster, p.DataDir(), everything); err != nil {
		return err
	}
	if p.options.TLS {
		if p.tls, err = newAuthority(p.work.path, p.acct); err != nil {
			return err
		}
		if err := p.installServerCertificate(); err != nil {
			return err
		}
	}
	if err := errors.Join(p.includeSettings(), p.writeHBA()); err != nil {
		return err
	}
	if err := p.firstStart(ctx, nil); err != nil {
		return err
	}
	p.options.Progress = nil // whoever listened may be gone by the next restart
	return p.createUsers(ctx)
}

func everything(string) bool { return true }

// portAttempts bounds how often a port that looked free turns out to be taken when the server binds it.
const portAttempts = 5

// firstStart chooses the port and starts the server on it.
func (p *Postgres) firstStart(ctx context.Context, extra map[string]string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	p.unwatch = context.AfterFunc(ctx, func() { _ = p.Close() })
	for attempt := 1; ; attempt++ {
		if p.port = p.options.Port; p.port == 0 {
			port, err := FreePort()
			if err != nil {
				return err
			}
			p.port = port
		}
		if err := p.writeSettings(extra); err != nil {
			return err
		}
		err := p.run(ctx)
		if !errors.Is(err, ErrPortTaken) || p.options.Port != 0 || attempt == portAttempts {
			return err
		}
	}
}

// Close kills the server and its replicas and removes their directories. Calling it again does nothing.
func (p *Postgres) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	unwatch := p.unwatch
	replicas := slices.Clone(p.replicas) // each takes itself out of the list
	err := p.halt(syscall.SIGQUIT)
	p.mu.Unlock()

	if unwatch != nil {
		unwatch()
	}
	for _, replica := range replicas {
		err = errors.Join(err, replica.Close())
	}
	if p.leave != nil {
		p.leave()
	}
	if p.work != nil {
		err = errors.Join(err, p.work.remove())
	}
	return err
}

// Stop shuts the server down in order, ending open sessions ("fast"). Restart brings it back.
func (p *Postgres) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.halt(syscall.SIGINT)
}

// Kill ends the server without a checkpoint ("immediate"), as a crash would. Restart recovers it.
func (p *Postgres) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.halt(syscall.SIGQUIT)
}

// Restart stops the server if it runs and starts it again on the same port.
func (p *Postgres) Restart(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	if err := p.halt(syscall.SIGINT); err != nil {
		return err
	}
	return p.run(ctx)
}

var errClosed = errors.New("the server is closed")

// stopGrace is how long an orderly stop may take before the server is killed.
const stopGrace = 10 * time.Second

// halt ends the running process, if any. The caller holds mu.
func (p *Postgres) halt(sig syscall.Signal) error {
	if p.process == nil {
		return nil
	}
	inTime, err := p.process.Stop(sig, stopGrace)
	p.process = nil
	if err == nil && !inTime {
		err = fmt.Errorf("PostgreSQL did not stop within %s and was killed", stopGrace)
	}
	return err
}

// Host is where the server listens; it is always the loopback address.
func (p *Postgres) Host() string { return "127.0.0.1" }

// Port is the TCP port; it also names the unix socket.
func (p *Postgres) Port() int { return p.port }

// Addr is host:port.
func (p *Postgres) Addr() string { return net.JoinHostPort(p.Host(), strconv.Itoa(p.port)) }

// Dir is the server's directory, which Close removes with all that others put there. It may be entered as SocketDir may.
func (p *Postgres) Dir() string { return p.work.path }

// SocketDir holds the unix socket. Only root and the server's own OS user may enter it.
func (p *Postgres) SocketDir() string { return p.work.path }

// DataDir is the cluster.
func (p *Postgres) DataDir() string { return p.work.join("data") }

// LogFile is what the server wrote to its standard error since it was created.
func (p *Postgres) LogFile() string { return p.work.join("postgresql.log") }

// PID is the postmaster's process id, 0 while it is stopped.
func (p *Postgres) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return 0
	}
	return p.process.PID()
}

// DSN is a URL to log in over TCP. A server without TLS says sslmode=disable, one with TLS leaves the choice to the driver.
func (p *Postgres) DSN(user, password, database string) string {
	dsn := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: p.Addr(), Path: "/" + database}
	if p.tls == nil {
		dsn.RawQuery = "sslmode=disable"
	}
	return dsn.String()
}

// AdminDSN logs the superuser in over the unix socket, whatever pg_hba.conf says.
func (p *Postgres) AdminDSN(database string) string {
	query := url.Values{"host": {p.SocketDir()}, "port": {strconv.Itoa(p.port)}}
	dsn := url.URL{Scheme: "postgres", User: url.User(Superuser), Path: "/" + database, RawQuery: query.Encode()}
	return dsn.String()
}
