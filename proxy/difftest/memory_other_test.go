//go:build !linux

package difftest

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// peakMemory is the resident size of the proxy now, which is the nearest to a peak that every system tells.
func (p *proxy) peakMemory(t testing.TB) int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ps", "-o", "rss=", "-p", strconv.Itoa(p.pid)).Output()
	if err != nil {
		t.Fatalf("ps: %v", err)
	}
	kb, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// descriptors counts the open files of the proxy.
func (p *proxy) descriptors(t testing.TB) int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "lsof", "-n", "-P", "-F", "f", "-p", strconv.Itoa(p.pid)).Output()
	if err != nil {
		t.Fatalf("lsof: %v", err)
	}
	return strings.Count(string(out), "\nf")
}
