package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/alicebob/miniredis/v2"
)

// Redis is a throwaway Redis: a real one where the machine has it, else one inside this process.
type Redis struct {
	Addr   string // host:port
	Source string // which it is, for people
	Real   bool   // a server process, not miniredis

	closeOnce sync.Once
	closeErr  error
	stop      func() error
}

// StartRedis starts redis-server (or valkey-server) when it is found, else miniredis. The end of ctx closes it.
func StartRedis(ctx context.Context) (*Redis, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return startRedisServer(ctx, path)
		}
	}
	return StartMiniredis(ctx)
}

// StartMiniredis starts the Redis inside this process, whatever the machine has.
func StartMiniredis(ctx context.Context) (*Redis, error) {
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("miniredis: %w", err)
	}
	return newRedis(ctx, &Redis{
		Addr: server.Addr(), Source: "miniredis, in this process (redis-server was not found)",
		stop: func() error { server.Close(); return nil },
	}), nil
}

func newRedis(ctx context.Context, r *Redis) *Redis {
	stop := r.stop
	unwatch := context.AfterFunc(ctx, func() { _ = r.Close() })
	r.stop = func() error { unwatch(); return stop() }
	return r
}

// Close stops the server. Calling it again does nothing.
func (r *Redis) Close() error {
	r.closeOnce.Do(func() { r.closeErr = r.stop() })
	return r.closeErr
}

// startRedisServer runs a server that keeps nothing on disk. A port that turns out to be taken is replaced.
func startRedisServer(ctx context.Context, path string) (*Redis, error) {
	version, err := redisVersion(ctx, path)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		process, err := runRedis(ctx, path, port)
		if errors.Is(err, ErrPortTaken) && attempt < portAttempts {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return newRedis(ctx, &Redis{
			Addr: redisAddr(port), Source: fmt.Sprintf("%s %s", path, version), Real: true, stop: process.Kill,
		}), nil
	}
}

func redisAddr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// redisVersion reads the version from "Redis server v=7.0.15 sha=…".
func redisVersion(ctx context.Context, path string) (string, error) {
	cmd := &exec.Cmd{Path: path, Args: []string{path, "--version"}, Env: os.Environ()}
	out, err := output(ctx, cmd)
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(out, "v=")
	version, _, _ := strings.Cut(rest, " ")
	return version, nil
}

func runRedis(ctx context.Context, path string, port int) (*Process, error) {
	log := new(strings.Builder) // read only after the process has ended
	cmd := &exec.Cmd{
		Path: path, Dir: os.TempDir(), Env: os.Environ(), Stdout: log,
		Args: []string{
			filepath.Base(path), "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no",
			"--loglevel", "warning",
		},
	}
	process, err := StartProcess(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "tcp", redisAddr(port))
		if err == nil {
			return process, conn.Close()
		}
		select {
		case <-process.Done():
			return nil, redisEnd(process, log.String())
		default:
		}
		if pause(ctx, startPoll) != nil {
			return nil, errors.Join(err, process.Kill())
		}
	}
}

func redisEnd(process *Process, log string) error {
	err := fmt.Errorf("it ended while starting: %w\n%s", process.Err(), log)
	if strings.Contains(log, "Address already in use") {
		return fmt.Errorf("%w: %w", ErrPortTaken, err)
	}
	return err
}
