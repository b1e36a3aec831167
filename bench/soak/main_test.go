package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// program builds sarnic as the tests are built.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sarnic")
	args := append(append([]string{"build", "-o", path}, raceArgs...), "../../cmd/sarnic")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
	return path
}

// TestSoak is the soak for as long as a test may take.
func TestSoak(t *testing.T) {
	sarnic := program(t)
	for _, version := range pgtest.Versions() {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			var out, status strings.Builder
			err := run(t.Context(), []string{
				"-sarnic", sarnic, "-pg", fmt.Sprint(version), "-seed", "1",
				"-warmup", "1s", "-duration", "4s", "-every", "1s", "-settle", "500ms",
				"-clients", "16", "-vandals", "3", "-pool", "4", "-memory", "3",
			}, &out, &status)
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, status.String(), out.String())
			}
			t.Log(out.String())
			for _, must := range []string{"transactions acknowledged", "0 failures"} {
				if !strings.Contains(out.String(), must) {
					t.Errorf("the report has no %q", must)
				}
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-duration 0s", "times must be more than 0"},
		{"-clients 0", "needs a client"},
		{"-cut -1", "must not be negative"},
		{"more", "unexpected arguments"},
	} {
		_, err := parseOptions(strings.Fields(c.args), &strings.Builder{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.args, err)
		}
	}
	o, err := parseOptions([]string{"-seed", "7"}, &strings.Builder{})
	if err != nil || o.seed != 7 || !filepath.IsAbs(o.sarnic) {
		t.Errorf("got %+v, %v", o, err)
	}
	if a, b := o.random(1, 2).Uint64(), o.random(1, 2).Uint64(); a != b {
		t.Error("the same part of the run does not get the same random numbers")
	}
	if a, b := o.random(1, 2).Uint64(), o.random(2, 1).Uint64(); a == b {
		t.Error("different parts of the run get the same random numbers")
	}
}
