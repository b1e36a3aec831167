package pgtest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Superuser and SuperPassword belong to the role every server has. It may always log in over the unix socket.
const (
	Superuser     = "postgres"
	SuperPassword = "postgres"
)

// settingsFile is included at the end of the cluster's postgresql.conf, so that initdb's choices stay below ours.
const settingsFile = "pgtest.conf"

// defaults are fast rather than durable, and let replicas, logical decoding and two-phase commit be tried everywhere.
func defaults(socketDir string, port int) map[string]string {
	return map[string]string{
		"listen_addresses":          "127.0.0.1",
		"port":                      strconv.Itoa(port),
		"unix_socket_directories":   socketDir,
		"fsync":                     "off",
		"full_page_writes":          "off", // torn pages need a crash of the machine, and then nobody misses the data
		"shared_buffers":            "32MB",
		"max_connections":           "200",
		"wal_level":                 "logical",
		"max_wal_senders":           "10",
		"max_replication_slots":     "10",
		"max_slot_wal_keep_size":    "2GB", // a replica that died must not fill the disk
		"max_prepared_transactions": "20",
		"logging_collector":         "off",
	}
}

// writeSettings puts the server's settings, those given over those by default, into its data directory.
func (p *Postgres) writeSettings(extra map[string]string) error {
	merged := defaults(p.work.path, p.port)
	if p.options.TLS {
		merged["ssl"] = "on"
		merged["ssl_ca_file"] = caFile
	}
	maps.Copy(merged, p.options.Settings)
	maps.Copy(merged, extra)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(merged)) {
		fmt.Fprintf(&text, "%s = '%s'\n", name, strings.ReplaceAll(merged[name], "'", "''"))
	}
	return p.writeData(settingsFile, text.String())
}

// includeSettings makes the cluster read settingsFile.
func (p *Postgres) includeSettings() error {
	file, err := os.OpenFile(filepath.Join(p.DataDir(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = fmt.Fprintf(file, "\ninclude '%s'\n", settingsFile)
	return err
}

// writeHBA says who may log in: the superuser over the socket always, then the lines of the options. Without any, every role
// may log in with its password from this machine.
func (p *Postgres) writeHBA() error {
	lines := []string{
		"local all         " + Superuser + " trust",
		"local replication " + Superuser + " trust",
	}
	if len(p.options.HBA) > 0 {
		lines = append(lines, p.options.HBA...)
	} else {
		lines = append(lines,
			"local all         all              scram-sha-256",
			"host  all         all 127.0.0.1/32 scram-sha-256",
			"host  replication all 127.0.0.1/32 scram-sha-256",
		)
	}
	return p.writeData("pg_hba.conf", strings.Join(lines, "\n")+"\n")
}

// writeData replaces a file of the data directory.
func (p *Postgres) writeData(name, text string) error {
	path := filepath.Join(p.DataDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return p.acct.give(path)
}
