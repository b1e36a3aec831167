package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// pgbouncerVersion is parsed from "PgBouncer 1.25.2".
type pgbouncerVersion struct{ major, minor int }

func parsePgbouncerVersion(line string) (pgbouncerVersion, error) {
	m := regexp.MustCompile(`^PgBouncer (\d+)\.(\d+)`).FindStringSubmatch(line)
	if m == nil {
		return pgbouncerVersion{}, fmt.Errorf("%q is no version of PgBouncer", line)
	}
	major, err := strconv.Atoi(m[1])
	if err != nil {
		return pgbouncerVersion{}, err
	}
	minor, err := strconv.Atoi(m[2])
	return pgbouncerVersion{major, minor}, err
}

// preparesStatements: 1.21 brought named statements in transaction mode.
func (v pgbouncerVersion) preparesStatements() bool { return v.major > 1 || v.minor >= 21 }

// checkPgbouncer fails before anything is measured when a cell could not be.
func checkPgbouncer(line string, modes []string) error {
	v, err := parsePgbouncerVersion(line)
	if err != nil {
		return err
	}
	if slices.Contains(modes, "prepared") && !v.preparesStatements() {
		return fmt.Errorf("%s has no prepared statements in transaction mode (1.21 brought them): "+
			"set PGBOUNCER to a newer one, or leave them out with -modes simple,extended", line)
	}
	return nil
}

// writeIni writes a configuration that does the same work as sarnic: transaction mode, the same pool, the same login, no
// logging. The user list holds the SCRAM secret, not the password, so that PgBouncer need not derive keys at every login.
func (b *bench) writeIni(ctx context.Context, p program, port int, tls bool) (string, error) {
	line, err := programVersion(ctx, p.path())
	if err != nil {
		return "", err
	}
	v, err := parsePgbouncerVersion(line)
	if err != nil {
		return "", err
	}
	base := filepath.Join(b.dir, fmt.Sprintf("%s-%d", p.name, port))
	lines := []string{
		"[databases]",
		fmt.Sprintf("%s = host=127.0.0.1 port=%d dbname=%s user=%s password=%s", benchUser, b.pg.Port(), benchUser, benchUser, benchPassword),
		"[pgbouncer]",
		"listen_addr = 127.0.0.1",
		fmt.Sprintf("listen_port = %d", port),
		"unix_socket_dir =",
		"listen_backlog = 1024",
		"auth_type = " + b.o.authMethod(),
		"auth_file = " + base + ".users",
		"pool_mode = transaction",
		fmt.Sprintf("default_pool_size = %d", b.o.pool),
		"max_client_conn = 10000",
		"server_tls_sslmode = disable",
		"log_connections = 0", "log_disconnections = 0", "log_pooler_errors = 0", "log_stats = 0",
	}
	if v.preparesStatements() {
		lines = append(lines, "max_prepared_statements = 200")
	}
	if tls {
		lines = append(lines, "client_tls_sslmode = require", "client_tls_cert_file = "+b.cert.certFile, "client_tls_key_file = "+b.cert.keyFile)
	}
	if os.Geteuid() == 0 {
		account, err := unprivileged()
		if err != nil {
			return "", err
		}
		lines = append(lines, "user = "+account)
	}
	files := map[string]string{
		base + ".ini":   strings.Join(lines, "\n") + "\n",
		base + ".users": fmt.Sprintf("%q %q\n", benchUser, b.pg.secret),
	}
	for file, text := range files {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	return base + ".ini", nil
}

// unprivileged is whom PgBouncer turns into when root starts it, which it refuses to stay.
func unprivileged() (string, error) {
	for _, name := range []string{"postgres", "nobody"} {
		if _, err := user.Lookup(name); err == nil {
			return name, nil
		}
	}
	return "", errors.New("PgBouncer refuses to run as root, and there is neither a user postgres nor nobody")
}
