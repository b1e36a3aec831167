package difftest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

var (
	rewrite = flag.Bool("rewrite", false, "write what PostgreSQL answers into the transcripts")

	servers []*server // one of each version
	scratch string    // a directory that lives as long as the tests

	// program is the path of the proxy under test, found or built by the first test that asks.
	program = sync.OnceValues(findProgram)
)

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// runAll builds the proxy, starts the servers, runs the tests and stops all.
func runAll(m *testing.M) (code int, err error) {
	if scratch, err = os.MkdirTemp("", "difftest-"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if err := writeCertificate(); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, stopServers()) }()
	if err := startServers(context.Background()); err != nil {
		return 1, err
	}
	// Most tests wait for processes to start and for timers, so more of them run at a time than there are cores.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		return 1, err
	}
	code = m.Run()
	if code == 0 {
		err = errors.Join(stopServers(), goleak.Find())
	}
	return code, err
}

// startServers starts one server of each version tests run against.
func startServers(ctx context.Context) error {
	for _, version := range pgtest.Versions() {
		pg, err := pgtest.Start(ctx, pgtest.Options{
			Version:  version,
			Settings: map[string]string{"autovacuum": "off", "timezone": "UTC"},
			Users:    []pgtest.User{{Name: appUser, Password: appPassword}},
		})
		if err != nil {
			return fmt.Errorf("start PostgreSQL %d: %w", version, err)
		}
		servers = append(servers, newServer(pg, version))
	}
	return nil
}

func stopServers() error {
	var errs []error
	for _, s := range servers {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// findProgram is the program SARNIC_BIN names, or cmd/sarnic, built as the tests are.
func findProgram() (string, error) {
	if path := os.Getenv("SARNIC_BIN"); path != "" {
		return path, nil
	}
	if err := touchSources("../.."); err != nil {
		return "", err
	}
	path := filepath.Join(scratch, "sarnic")
	args := append(append([]string{"build", "-o", path}, buildArgs...), "../../cmd/sarnic")
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return path, nil
}

// touchSources looks into every directory of the module, so that the go command does not take a cached result of these
// tests for the truth after the proxy's code has changed: it does not know that they build it.
func touchSources(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != root {
			return fs.SkipDir
		}
		return err
	})
}
