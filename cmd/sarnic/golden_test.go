package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what check says into testdata, to be read as a diff")

const secret = "hunter2"

// environment is what the test configurations may refer to.
func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, found := vars[name]
		return value, found
	}
}

// invoke runs the program to its end and returns what an operator sees.
func invoke(t *testing.T, vars map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	err := run(t.Context(), args, environment(vars), &out, &errs)
	code = report(err, &errs)
	return code, out.String(), errs.String()
}

// TestCheckGoodFiles compares what check says of each good file with the text beside it.
func TestCheckGoodFiles(t *testing.T) {
	for _, path := range files(t, "testdata/*.good.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			code, stdout, stderr := invoke(t, map[string]string{"PGPASSWORD": secret}, "check", path)
			if code != exitOK || stderr != "" {
				t.Fatalf("exit code %d\n%s", code, stderr)
			}
			if strings.Contains(stdout, secret) {
				t.Errorf("the summary shows a secret:\n%s", stdout)
			}
			compare(t, strings.TrimSuffix(path, ".yaml")+".txt", stdout)
		})
	}
}

// TestCheckBadFiles compares the mistakes found in each bad file with the "# want:" lines at its end.
func TestCheckBadFiles(t *testing.T) {
	for _, path := range files(t, "testdata/*.bad.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			body, _, _ := strings.Cut(string(text), "# want: ")
			code, stdout, stderr := invoke(t, map[string]string{"PGPASSWORD": secret}, "check", path)
			if code != exitFailure || stdout != "" {
				t.Errorf("exit code %d, want %d; stdout %q", code, exitFailure, stdout)
			}
			if strings.Contains(stderr, secret) {
				t.Errorf("the errors show a secret:\n%s", stderr)
			}
			for line := range strings.Lines(stderr) {
				body += "# want: " + strings.ReplaceAll(line, path, filepath.Base(path))
			}
			compare(t, path, body)
		})
	}
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return paths
}

// compare holds got against the file at path, or writes it there.
func compare(t *testing.T, path, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}
