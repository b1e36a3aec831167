package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// proxy is the running sarnic. With options.direct there is none, and clients are led to the primary.
type proxy struct {
	process *pgtest.Process // nil without a proxy
	log     *os.File        // what sarnic wrote, in the primary's directory; nil without a proxy
	dsn     string          // where clients connect
	http    string          // where probes and metrics are; "" without a proxy
	size    int             // of the pool
}

const (
	readyTimeout = 30 * time.Second
	readyPoll    = 20 * time.Millisecond
	drainTime    = 10 * time.Second // what sarnic may take to finish transactions before it is killed
)

func checkBinary(path string) error {
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return fmt.Errorf("%s is missing: build it with `make build`, or name it with --sarnic", path)
	}
	return nil
}

// startProxy starts sarnic in front of the servers and waits until a query goes through it.
func startProxy(ctx context.Context, o options, s *servers, out *screen) (*proxy, error) {
	if o.direct {
		return &proxy{dsn: s.upstream(), size: o.poolSize}, nil
	}
	listen, err := freeAddress(o.listen, out)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	http, err := freeAddress(o.http, out)
	if err != nil {
		return nil, fmt.Errorf("--http: %w", err)
	}
	log, err := os.Create(filepath.Join(s.primary.Dir(), "sarnic.log"))
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: o.sarnic, Env: os.Environ(), Stdout: log, Stderr: log,
		Args: []string{
			"sarnic", "serve", "--upstream", s.upstream(), "--replica", s.standby(), "--listen", listen, "--http", http,
			"--pool-size", strconv.Itoa(o.poolSize),
		},
	}
	process, err := pgtest.StartProcess(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	dsn := fmt.Sprintf("postgres://%s:%s@%s/%s", user, password, listen, database)
	p := &proxy{process: process, log: log, dsn: dsn, http: http, size: o.poolSize}
	if err := p.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	out.line("sarnic", "%s, pool of %d, process %d", listen, o.poolSize, process.PID())
	return p, nil
}

// freeAddress returns the address, with another port where its own is taken.
func freeAddress(address string, out *screen) (string, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	wanted, err := strconv.Atoi(service)
	if err != nil {
		return "", fmt.Errorf("port %q: %w", service, err)
	}
	if wanted != 0 && pgtest.PortFree(wanted) {
		return address, nil
	}
	port, err := pgtest.FreePort()
	if err != nil {
		return "", err
	}
	if wanted != 0 {
		out.note(fmt.Sprintf("port %d is taken, using %d instead", wanted, port))
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// awaitReady logs in through the proxy until that works.
func (p *proxy) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for {
		err := answers(ctx, p.dsn)
		if err == nil {
			return nil
		}
		select {
		case <-p.process.Done():
			return p.failure("sarnic ended while starting")
		case <-ctx.Done():
			return p.failure(fmt.Sprintf("sarnic does not answer: %v", err))
		case <-ticker.C:
		}
	}
}

func answers(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	return errors.Join(conn.Ping(ctx), conn.Close(ctx))
}

// ended is closed when the proxy has ended; without a proxy it never is.
func (p *proxy) ended() <-chan struct{} {
	if p.process == nil {
		return nil
	}
	return p.process.Done()
}

// stop lets sarnic finish what runs. Being killed, or ending with a status, is not a clean stop.
func (p *proxy) stop() error {
	if p.process == nil {
		return nil
	}
	inTime, err := p.process.Stop(syscall.SIGTERM, drainTime)
	switch {
	case err != nil:
	case !inTime:
		err = fmt.Errorf("sarnic did not stop within %s of SIGTERM and was killed", drainTime)
	case p.process.Err() != nil:
		err = fmt.Errorf("sarnic ended with %w", p.process.Err())
	}
	return errors.Join(err, p.log.Close())
}

// failure is an error with the end of sarnic's log.
func (p *proxy) failure(what string) error {
	const most = 4 << 10
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return errors.Join(errors.New(what), err)
	}
	text = bytes.TrimSpace(text[max(0, len(text)-most):])
	if len(text) == 0 {
		text = []byte("(its log is empty)")
	}
	return fmt.Errorf("%s\n%s", what, text)
}

// invite prints what to try.
func (p *proxy) invite(s *servers, out *screen) {
	tool := func(name, arguments string) {
		if _, found := s.primary.Install.Tool(name); !found {
			arguments += "   (" + name + " was not found on this machine)"
		}
		out.line(name, "%s", arguments)
	}
	out.heading("Try")
	tool("psql", "psql "+p.dsn)
	tool("pgbench", fmt.Sprintf("pgbench -S -M prepared -c %d -j 2 -T 10 %s", 3*p.size, p.dsn))
	tool("pgbench", fmt.Sprintf("pgbench -c %d -j 2 -T 10 %s", 3*p.size, p.dsn))
	out.line("any driver", "%s?sslmode=disable", p.dsn)
	if p.http != "" {
		out.line("metrics", "curl http://%s/metrics", p.http)
		out.line("log", "tail -f %s", p.log.Name())
	}
	out.line("direct", "psql %s", s.upstream())
	out.line("stop", "Ctrl-C")
	out.print("\n")
}
