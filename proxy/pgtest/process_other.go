//go:build !linux

package pgtest

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
)

// startTied starts cmd and beside it a shell that reads from a pipe of ours: the pipe ends with us, and then the shell sends
// the signal. release ends the shell.
func startTied(cmd *exec.Cmd, orphaned syscall.Signal) (release func(), err error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	const shell = "/bin/sh"
	watcher := &exec.Cmd{
		Path: shell, SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		Args: []string{shell, "-c", `read _; kill -"$1" "$2"`, shell, strconv.Itoa(int(orphaned)), strconv.Itoa(cmd.Process.Pid)},
	}
	pipe, err := watcher.StdinPipe()
	if err == nil {
		err = watcher.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watcher: %w", err), cmd.Process.Kill(), cmd.Wait())
	}
	return func() {
		_ = watcher.Process.Kill() // before its pipe ends, so that it never signals a stranger
		_ = pipe.Close()
		_ = watcher.Wait()
	}, nil
}
