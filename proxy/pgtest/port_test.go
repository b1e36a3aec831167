package pgtest

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// A port that was given is given to nobody else: not within this process, and not to another one.
func TestFreePortIsGivenOnce(t *testing.T) {
	const ask = "PGTEST_ASK_FOR_PORT"
	if port := os.Getenv(ask); port != "" {
		n, _ := strconv.Atoi(port)
		mine, err := ports.take(n)
		t.Logf("taken: %v, %v", mine, err)
		return
	}
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ports.take(port); again || err != nil {
		t.Errorf("given twice: %v, %v", again, err)
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestFreePortIsGivenOnce$", "-test.v")
	cmd.Env = append(os.Environ(), ask+"="+strconv.Itoa(port))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "taken: false, <nil>") {
		t.Errorf("another process: %v\n%s", err, out)
	}
}
