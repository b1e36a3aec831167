package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// stopTime is how long a proxy may take to end before it is killed.
const stopTime = 5 * time.Second

// process is one proxy that this run started. It ends with stop, or with this program.
type process struct {
	*pgtest.Process
	name    string
	logFile string // what it wrote to stdout and stderr
}

// start runs argv in dir until stop.
func start(name, dir string, argv []string) (*process, error) {
	log, err := os.CreateTemp(dir, name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own copy
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: path, Args: argv, Dir: dir, Stdout: log, Stderr: log}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + dir}
	child, err := pgtest.StartProcess(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	return &process{Process: child, name: name, logFile: log.Name()}, nil
}

// stop ends it; that one had to be killed is not this program's business to judge.
func (p *process) stop() { _, _ = p.Stop(syscall.SIGTERM, stopTime) }

// ended says that the proxy is gone, and the last it said.
func (p *process) ended() error {
	select {
	case <-p.Done():
		how := p.Err()
		if how == nil {
			how = errors.New("exit status 0")
		}
		return fmt.Errorf("%s ended: %w: %s", p.name, how, tail(p.logFile))
	default:
		return nil
	}
}

func tail(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	const most = 800
	return strings.TrimSpace(string(b[max(0, len(b)-most):]))
}

// poll calls try until it succeeds, the proxy has ended, or the time is over.
func (p *process) poll(ctx context.Context, limit time.Duration, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return p.ended()
		case <-ctx.Done():
			return fmt.Errorf("%s does not serve: %w; it said: %s", p.name, err, tail(p.logFile))
		case <-tick.C:
		}
	}
}

// programVersion is the first line that path --version prints.
func programVersion(ctx context.Context, path string) (string, error) {
	text, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", path, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line, nil
}
