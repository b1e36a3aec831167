package main

import (
	"errors"
	"runtime"
	"strings"
	"testing"
)

func TestExitCodesAndMessages(t *testing.T) {
	for _, c := range []struct {
		args   string
		code   int
		stdout string // part of it; empty: nothing may be there
		stderr string
	}{
		{"", exitUsage, "", "no command given"},
		{"help", exitOK, "Examples:", ""},
		{"--help", exitOK, "serve", ""},
		{"-h", exitOK, "serve", ""},
		{"help serve", exitOK, "--upstream DSN", ""},
		{"help nonsense", exitUsage, "", `no help on "nonsense"`},
		{"start", exitUsage, "", `unknown command "start"`},
		{"serve --help", exitOK, "Examples:", ""},
		{"serve -h", exitOK, "--pool-size N", ""},
		{"serve", exitUsage, "", "needs --upstream or --config"},
		{"serve --nonsense", exitUsage, "", "flag provided but not defined: --nonsense\nSee sarnic serve --help."},
		{"serve --pool-size many", exitUsage, "", `invalid value "many" for flag --pool-size`},
		{"serve --upstream postgres://app@db/app extra", exitUsage, "", `unexpected argument "extra"`},
		{"serve --config none.yaml", exitFailure, "", "open none.yaml: no such file"},
		{"serve --config testdata/smallest.good.yaml --pool-size 3", exitUsage, "", "--config and --pool-size exclude each other"},
		{"serve --config testdata/empty.bad.yaml", exitFailure, "", "testdata/empty.bad.yaml:1:1: databases: needs at least one database\n"},
		{"serve --upstream nonsense://", exitUsage, "", "--upstream: "},
		{"check", exitUsage, "", "needs a file"},
		{"check --help", exitOK, "Usage: sarnic check FILE", ""},
		{"check none.yaml", exitFailure, "", "open none.yaml: no such file"},
		{"check testdata", exitFailure, "", "not a regular file"},
		{"version", exitOK, runtime.Version(), ""},
		{"--version", exitOK, "commit ", ""},
		{"version --help", exitOK, "Examples:", ""},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, stdout, stderr := invoke(t, nil, strings.Fields(c.args)...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if !strings.Contains(stdout, c.stdout) || c.stdout == "" && stdout != "" {
				t.Errorf("stdout %q, want … %q …", stdout, c.stdout)
			}
			if !strings.Contains(stderr, c.stderr) || c.stderr == "" && stderr != "" {
				t.Errorf("stderr %q, want … %q …", stderr, c.stderr)
			}
		})
	}
}

func TestHelpShowsTwoDashes(t *testing.T) {
	_, stdout, _ := invoke(t, nil, "serve", "--help")
	for line := range strings.Lines(stdout) {
		if strings.HasPrefix(strings.TrimSpace(line), "-") && !strings.HasPrefix(line, "  --") {
			t.Errorf("a flag with one dash: %q", line)
		}
	}
}

func TestReportOfAnyOtherError(t *testing.T) {
	var errs strings.Builder
	if code := report(errors.New("address in use"), &errs); code != exitFailure || errs.String() != "sarnic: address in use\n" {
		t.Errorf("exit code %d, %q", code, errs.String())
	}
}
