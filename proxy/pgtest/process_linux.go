package pgtest

import (
	"os/exec"
	"syscall"
)

// startTied starts cmd with the kernel's promise to send it the signal when the calling thread, and so the process, ends.
func startTied(cmd *exec.Cmd, orphaned syscall.Signal) (release func(), err error) {
	cmd.SysProcAttr.Pdeathsig = orphaned
	return func() {}, cmd.Start()
}
