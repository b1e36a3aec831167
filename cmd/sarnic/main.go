// Command sarnic is a Postgres sidecar: a proxy beside an application that speaks plain Postgres to it and pools the
// connections to the server per transaction.
//
// main.go starts run.go, which finds the command; serve.go, check.go, migrate.go, top.go and version.go are the commands. The life of a
// configuration: flags.go or a file's schema.go, judged and composed into a proxy.Config by compose.go. service.go runs
// the proxy between its first line and its last; http.go answers probes and scrapes, log.go writes the log, and
// resources.go fits the process into its container.
package main

import (
	"context"
	"os"
)

func main() {
	stderr := ownStderr()
	err := run(context.Background(), os.Args[1:], os.LookupEnv, os.Stdout, stderr)
	os.Exit(report(err, stderr))
}
