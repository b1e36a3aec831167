package pgtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// oldestMajor is the oldest PostgreSQL this package can run: 15 gave the backup functions the names replica.go uses.
const oldestMajor = 15

// Install is one set of PostgreSQL programs.
type Install struct {
	Bin     string // directory that holds at least postgres and initdb
	Major   int    // 18
	Version string // "18.3"
	Source  string // where it comes from, for people
}

// Tool is the path of a client program (psql, pgbench): beside the server's own, else on PATH.
func (i Install) Tool(name string) (string, bool) {
	beside := filepath.Join(i.Bin, name)
	if executable(beside) {
		return beside, true
	}
	path, err := exec.LookPath(name)
	return path, err == nil
}

func (i Install) program(name string) string { return filepath.Join(i.Bin, name) }

// MissingError says that no PostgreSQL of the wanted version can be had, and what to do about it.
type MissingError struct {
	Major int // 0: any
	Err   error
}

func (e *MissingError) Error() string {
	name, variable := "PostgreSQL", "SARNIC_PG18"
	if e.Major != 0 {
		name, variable = fmt.Sprintf("PostgreSQL %d", e.Major), fmt.Sprintf("SARNIC_PG%d", e.Major)
	}
	return fmt.Sprintf("%s is missing: %v (install it, for example the package postgresql, "+
		"or set %s to the directory that holds its postgres and initdb)", name, e.Err, variable)
}

func (e *MissingError) Unwrap() error { return e.Err }

// Find looks for PostgreSQL of the major version (0: the newest found): in SARNIC_PG<major>, then on the machine, and at last
// among the embedded binaries, which it downloads once. progress, which may be nil, hears of what takes long.
func Find(ctx context.Context, major int, progress func(string)) (Install, error) {
	acct, err := serverAccount()
	if err != nil {
		return Install{}, err
	}
	return find(ctx, acct, major, progress)
}

func find(ctx context.Context, acct account, major int, progress func(string)) (Install, error) {
	if named, err := fromEnvironment(ctx, acct, major); err != nil || named.Bin != "" {
		return named, err
	}
	if local, ok := newest(ctx, acct, major, localDirs()); ok {
		return local, nil
	}
	if ctx.Err() != nil { // then nothing was found because nothing was asked
		return Install{}, context.Cause(ctx)
	}
	fetched, err := embedded(ctx, acct, cmp.Or(major, newestEmbedded), progress)
	if err != nil {
		return Install{}, &MissingError{Major: major, Err: err}
	}
	return fetched, nil
}

const envPrefix = "SARNIC_PG"

// fromEnvironment uses the directory the user named. A named directory that does not work is an error, not a reason to look
// elsewhere.
func fromEnvironment(ctx context.Context, acct account, major int) (Install, error) {
	var best Install
	for _, entry := range os.Environ() {
		name, dir, _ := strings.Cut(entry, "=")
		number, isOurs := strings.CutPrefix(name, envPrefix)
		wanted, err := strconv.Atoi(number)
		if !isOurs || err != nil || dir == "" || (major != 0 && wanted != major) {
			continue
		}
		found, err := inspect(ctx, acct, dir)
		if err == nil && found.Major != wanted {
			err = fmt.Errorf("holds PostgreSQL %s", found.Version)
		}
		if err != nil {
			return Install{}, &MissingError{Major: wanted, Err: fmt.Errorf("%s=%s: %w", name, dir, err)}
		}
		found.Source = name
		if found.Major > best.Major {
			best = found
		}
	}
	return best, nil
}

// newest inspects the directories and keeps the newest usable version that fits.
func newest(ctx context.Context, acct account, major int, dirs []string) (Install, bool) {
	var best Install
	for _, dir := range dirs {
		found, err := inspect(ctx, acct, dir)
		if err != nil || found.Major < oldestMajor || (major != 0 && found.Major != major) {
			continue
		}
		found.Source = "found in " + dir
		if found.Major > best.Major {
			best = found
		}
	}
	return best, best.Bin != ""
}

// localDirs lists the places where packages put the server's programs: Debian, Red Hat, Homebrew, Postgres.app, a build by
// hand, and whatever PATH leads to.
func localDirs() []string {
	var dirs []string
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin",
		"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin", "/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		if matches, err := filepath.Glob(pattern); err == nil {
			dirs = append(dirs, matches...)
		}
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// inspect asks the programs in dir for their version, as the account that will run them: a directory it may not enter is
// found out here and not at the first start.
func inspect(ctx context.Context, acct account, dir string) (Install, error) {
	for _, name := range []string{"initdb", "postgres"} {
		if !executable(filepath.Join(dir, name)) {
			return Install{}, fmt.Errorf("no program %s", name)
		}
	}
	out, err := output(ctx, acct.command("/", filepath.Join(dir, "postgres"), "--version"))
	if err != nil {
		return Install{}, err
	}
	version, major, err := parseVersion(out)
	return Install{Bin: dir, Major: major, Version: version}, err
}

// parseVersion reads "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)" and "postgres (PostgreSQL) 19beta1".
func parseVersion(out string) (version string, major int, err error) {
	match := regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`).FindStringSubmatch(out)
	if match == nil {
		return "", 0, fmt.Errorf("no version in %q", out)
	}
	major, err = strconv.Atoi(match[2])
	return match[1], major, err
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// output runs a short-lived program to its end and returns what it printed; an error carries what it complained of.
func output(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	process, err := StartProcess(cmd, syscall.SIGKILL)
	if err != nil {
		return "", err
	}
	select {
	case <-process.Done():
	case <-ctx.Done():
		return "", errors.Join(context.Cause(ctx), process.Kill())
	}
	if err := process.Err(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
