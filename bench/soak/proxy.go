package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// proxy is the sarnic under test.
type proxy struct {
	*pgtest.Process
	addr    string
	metrics string // URL
	logFile string
}

// startProxy starts sarnic in front of pg and waits until it is ready.
func startProxy(ctx context.Context, o *options, pg *pgtest.Postgres, dir string) (*proxy, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	web, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p := &proxy{addr: addr, metrics: "http://" + web, logFile: cmp.Or(o.log, filepath.Join(dir, "sarnic.log"))}
	log, err := os.Create(p.logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own copy
	argv := []string{
		o.sarnic, "serve", "--upstream", pg.DSN(user, password, database), "--listen", addr, "--http", web,
		"--pool-size", strconv.Itoa(o.pool), "--loops", strconv.Itoa(o.loops),
		"--max-clients", strconv.Itoa(o.clients + 100), "--log-format", "text",
	}
	cmd := &exec.Cmd{Path: o.sarnic, Args: argv, Dir: dir, Stdout: log, Stderr: log}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GORACE=halt_on_error=1"}
	if p.Process, err = pgtest.StartProcess(cmd, syscall.SIGKILL); err != nil {
		return nil, err
	}
	if err := p.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	return p, nil
}

func freeAddr() (string, error) {
	port, err := pgtest.FreePort()
	return "127.0.0.1:" + strconv.Itoa(port), err
}

func (p *proxy) awaitReady(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, 15*time.Second)
	defer stop()
	for {
		_, err := get(ctx, p.metrics+"/readyz")
		if err == nil {
			return nil
		}
		if ended := p.ended(); ended != nil {
			return ended
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("sarnic does not become ready: %w", err)
		}
	}
}

// ended says that sarnic is gone, and the last it said.
func (p *proxy) ended() error {
	select {
	case <-p.Done():
		how := p.Err()
		if how == nil {
			how = errors.New("exit status 0")
		}
		return fmt.Errorf("sarnic has ended by itself: %w: %s", how, p.lastWords())
	default:
		return nil
	}
}

func (p *proxy) lastWords() string {
	const most = 4000
	b, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-most):])
}

// complaints are the lines of sarnic's log that must not be there: errors, and what is no line of a log at all.
func (p *proxy) complaints() ([]string, error) {
	f, err := os.Open(p.logFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var found []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if strings.Contains(line, "level=INFO") || strings.Contains(line, "level=WARN") {
			continue
		}
		if found = append(found, line); len(found) == 50 {
			break
		}
	}
	return found, lines.Err()
}
