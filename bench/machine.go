package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// machine is what a figure is worth nothing without.
type machine struct {
	Date       string            `json:"date"`
	CPU        string            `json:"cpu"`
	Cores      int               `json:"cores"`
	Kernel     string            `json:"kernel"`
	PostgreSQL string            `json:"postgresql"`
	Pgbench    string            `json:"pgbench"`
	PgBouncer  string            `json:"pgbouncer,omitempty"`
	Builds     map[string]string `json:"builds,omitempty"` // every other proxy: what the binary says about itself
	Settings   string            `json:"settings"`
}

// survey finds the programs of this run, and fails by name when one is missing or cannot do what the cells need.
func survey(ctx context.Context, o *options) (machine, error) {
	m := machine{
		Date: time.Now().UTC().Format("2006-01-02 15:04 MST"), CPU: cpuModel(), Cores: runtime.NumCPU(), Kernel: kernel(),
		Builds: map[string]string{},
	}
	var err error
	if m.PostgreSQL, err = surveyPostgres(ctx, o); err != nil {
		return m, err
	}
	if m.Pgbench, err = programVersion(ctx, o.pgbench); err != nil {
		return m, err
	}
	if o.ab == nil && slices.Contains(o.targets, targetPgBouncer) {
		if m.PgBouncer, err = surveyPgbouncer(ctx, o); err != nil {
			return m, err
		}
	}
	for _, p := range o.proxies() {
		if p.name == targetPgBouncer {
			continue
		}
		if m.Builds[p.name], err = describeBuild(ctx, p); err != nil {
			return m, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	m.Settings = fmt.Sprintf("%d rounds of %d s, pool %d, pgbench scale %d, login %s", o.rounds, o.seconds, o.pool, o.scale, o.auth)
	return m, nil
}

// surveyPostgres finds the server and pgbench. A directory named by -pg is passed on as pgtest wants it.
func surveyPostgres(ctx context.Context, o *options) (string, error) {
	if o.pgBin != "" {
		line, err := programVersion(ctx, filepath.Join(o.pgBin, "postgres"))
		if err != nil {
			return "", err
		}
		m := regexp.MustCompile(`\(PostgreSQL\) (\d+)`).FindStringSubmatch(line)
		if m == nil {
			return "", fmt.Errorf("-pg: %q is no version of PostgreSQL", line)
		}
		if o.pgMajor, err = strconv.Atoi(m[1]); err != nil {
			return "", err
		}
		if err := os.Setenv("SARNIC_PG"+m[1], o.pgBin); err != nil {
			return "", err
		}
	}
	install, err := pgtest.Find(ctx, o.pgMajor, nil)
	if err != nil {
		return "", err
	}
	if o.pgbench == "" {
		path, ok := install.Tool("pgbench")
		if !ok {
			return "", fmt.Errorf("pgbench is missing: it is neither in %s nor in PATH (Debian's package postgresql-contrib or postgresql), and -pgbench does not name it", install.Bin)
		}
		o.pgbench = path
	}
	return install.Version, nil
}

func surveyPgbouncer(ctx context.Context, o *options) (string, error) {
	if o.pgbouncer == "" {
		path, err := exec.LookPath("pgbouncer")
		if err != nil {
			path, err = exec.LookPath("/usr/sbin/pgbouncer")
		}
		if err != nil {
			return "", errors.New("PgBouncer is missing: it is not in PATH (Debian's package pgbouncer), and PGBOUNCER does not name it")
		}
		o.pgbouncer = path
	}
	line, err := programVersion(ctx, o.pgbouncer)
	if err != nil {
		return "", err
	}
	return line, checkPgbouncer(line, o.modes)
}

// describeBuild reads the commit that Go stamped into a binary; other programs are asked for their version where a
// placeholder shows that they are PgBouncer.
func describeBuild(ctx context.Context, p program) (string, error) {
	path, err := exec.LookPath(p.path())
	if err != nil {
		return "", fmt.Errorf("%w (make build)", err)
	}
	if strings.Contains(p.command, "{ini}") {
		return programVersion(ctx, path)
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return path + ", not written in Go", nil //nolint:nilerr // that is an answer, not a failure
	}
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	if set["vcs.revision"] == "" {
		return fmt.Sprintf("%s, %s, no commit stamped", path, info.GoVersion), nil
	}
	text := fmt.Sprintf("commit %.12s of %s, %s", set["vcs.revision"], set["vcs.time"], info.GoVersion)
	if set["vcs.modified"] == "true" {
		text += ", with uncommitted changes"
	}
	return text, nil
}

// String is the head of the printed report.
func (m machine) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s, %d cores, %s\nPostgreSQL %s, %s\n", m.Date, m.CPU, m.Cores, m.Kernel, m.PostgreSQL, m.Pgbench)
	if m.PgBouncer != "" {
		fmt.Fprintln(&b, m.PgBouncer)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Builds)) {
		fmt.Fprintf(&b, "%s: %s\n", name, m.Builds[name])
	}
	fmt.Fprintln(&b, m.Settings)
	return b.String()
}
