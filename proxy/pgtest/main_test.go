package pgtest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// orphanEnv makes this test binary the parent that TestServerDiesWithItsParent kills.
const orphanEnv = "PGTEST_ORPHAN"

func TestMain(m *testing.M) {
	if os.Getenv(orphanEnv) != "" {
		os.Exit(orphanParent())
	}
	goleak.VerifyTestMain(Main(m))
}

// orphanParent starts servers, tells their process ids and directories and waits to be killed.
func orphanParent() int {
	ctx := context.Background()
	p, err := Start(ctx, Options{Version: 15})
	if err == nil {
		var replica *Postgres
		if replica, err = p.Replica(ctx); err == nil {
			fmt.Fprintln(os.Stdout, p.PID(), p.work.path)
			fmt.Fprintln(os.Stdout, replica.PID(), replica.work.path)
			select {}
		}
	}
	fmt.Fprintln(os.Stdout, err)
	return 1
}

func TestServerDiesWithItsParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), orphanEnv+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var pids []int
	var dirs []string
	for len(pids) < 2 && lines.Scan() {
		number, dir, _ := strings.Cut(lines.Text(), " ")
		pid, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("the parent says: %s", lines.Text())
		}
		pids, dirs = append(pids, pid), append(dirs, dir)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	if len(pids) != 2 {
		t.Fatalf("the parent started %d servers, want 2", len(pids))
	}
	for i, pid := range pids {
		eventually(t, fmt.Sprintf("server %d ends", pid), func() bool { return !alive(pid) })
		if !exists(dirs[i]) {
			t.Errorf("%s is gone before anyone swept", dirs[i])
		}
	}
	sweep()
	for _, dir := range dirs {
		if exists(dir) {
			t.Errorf("%s is still there after a sweep", dir)
		}
	}
}

func TestSweepKeepsDirectoriesInUse(t *testing.T) {
	p := Server(t, 15)
	sweep()
	if !exists(filepath.Join(p.DataDir(), "PG_VERSION")) {
		t.Fatal("the directory of a running server was swept")
	}
}

func TestProcessStop(t *testing.T) {
	shell := func(script string) *Process {
		p, err := StartProcess(exec.Command("/bin/sh", "-c", script), syscall.SIGKILL)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if inTime, err := shell("exec sleep 60").Stop(syscall.SIGTERM, time.Minute); !inTime || err != nil {
		t.Errorf("obedient child: in time %v, %v", inTime, err)
	}
	stubborn := exec.Command("/bin/sh", "-c", `trap "" TERM; echo ready; while :; do sleep 0.05; done`)
	out, err := stubborn.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := StartProcess(stubborn, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if inTime, err := p.Stop(syscall.SIGTERM, 50*time.Millisecond); inTime || err != nil {
		t.Errorf("stubborn child: in time %v, %v", inTime, err)
	}
	ended := shell("exit 3")
	if err := ended.Err(); err == nil || err.Error() != "exit status 3" {
		t.Errorf("got %v, want exit status 3", err)
	}
	if _, err := ended.Stop(syscall.SIGTERM, time.Second); err != nil {
		t.Errorf("stop after the end: %v", err)
	}
	if _, err := StartProcess(exec.Command("/does/not/exist"), syscall.SIGKILL); err == nil {
		t.Error("a program that does not exist was started")
	}
}

func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	// Whoever adopted the orphan may be slow to collect it: a zombie has ended.
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

// eventually polls until ok or fails the test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		if err := pause(t.Context(), startPoll); err != nil {
			t.Fatal(err)
		}
	}
}
