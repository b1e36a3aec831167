package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/sarnicdb/sarnic/config"
)

// The exit codes of every command.
const (
	exitOK      = 0
	exitFailure = 1 // it was understood and did not work
	exitUsage   = 2 // the command line was not understood
)

// usageError is a command line that was not understood.
type usageError struct {
	command string // empty: not even the command was understood
	text    string
}

func (e *usageError) Error() string {
	help := "sarnic --help"
	if e.command != "" {
		help = "sarnic " + e.command + " --help"
	}
	return fmt.Sprintf("%s\nSee %s.", e.text, help)
}

// report prints err for the operator and returns the exit code it stands for.
func report(err error, stderr io.Writer) int {
	var mistakes config.Errors
	var usage *usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &mistakes):
		fmt.Fprintln(stderr, mistakes) // each line begins with its place, as editors expect
		return exitFailure
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "sarnic:", err)
		return exitUsage
	default:
		fmt.Fprintln(stderr, "sarnic:", err)
		return exitFailure
	}
}

// program is what a command may touch of the process around it.
type program struct {
	env            config.LookupEnv
	stdout, stderr io.Writer
}

type command struct {
	name, summary string
	run           func(ctx context.Context, args []string) error
}

func (p program) commands() []command {
	return []command{
		{"serve", "start the proxy", p.serve},
		{"check", "check a configuration file and show what it means", p.check},
		{"migrate", "turn a pgbouncer.ini into a sarnic.yaml", p.migrate},
		{"top", "show pools, waits and clients of a running sarnic live", p.top},
		{"version", "print the version", p.version},
		{"help", "explain a command", p.help},
	}
}

// run is the whole program. A nil error and flag.ErrHelp (help was asked for and given) are success.
func run(ctx context.Context, args []string, env config.LookupEnv, stdout, stderr io.Writer) error {
	p := program{env: env, stdout: stdout, stderr: stderr}
	if len(args) == 0 {
		p.overview(stderr)
		return &usageError{text: "no command given"}
	}
	name, args := args[0], args[1:]
	switch name {
	case "-h", "-help", "--help":
		name = "help"
	case "-version", "--version":
		name = "version"
	}
	for _, c := range p.commands() {
		if c.name == name {
			return c.run(ctx, args)
		}
	}
	return &usageError{text: fmt.Sprintf("unknown command %q", name)}
}

// help explains one command, or all of them in a line each.
func (p program) help(ctx context.Context, args []string) error {
	if len(args) == 0 {
		p.overview(p.stdout)
		return nil
	}
	for _, c := range p.commands() {
		if c.name == args[0] && c.name != "help" {
			return c.run(ctx, []string{"--help"})
		}
	}
	return &usageError{text: fmt.Sprintf("no help on %q", strings.Join(args, " "))}
}

func (p program) overview(w io.Writer) {
	fmt.Fprint(w, "Sarnıç is a Postgres sidecar: it pools connections per transaction.\n\nUsage: sarnic COMMAND [flags]\n\n")
	for _, c := range p.commands() {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, `
Examples:
  sarnic serve --upstream postgres://app:secret@db:5432/app
  sarnic serve --config sarnic.yaml
  sarnic help serve
`)
}
