package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// OwnerGoroutine names the one goroutine that each running Process has, for goleak.IgnoreAnyFunction in tests that look for
// leaks while a shared server runs.
const OwnerGoroutine = "github.com/sarnicdb/sarnic/proxy/pgtest.(*Process).own"

// Process is a child that dies with us. It is in a process group of its own, so that Ctrl-C in a terminal reaches only us
// and we decide in which order servers stop.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed by own after err is set
	err  error
}

// StartProcess starts cmd. When this process ends in whatever way, the child gets the signal orphaned.
func StartProcess(cmd *exec.Cmd, orphaned syscall.Signal) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go p.own(orphaned, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// own starts the child and waits for it, all on one locked thread: Linux takes the end of the thread that forked, not that
// of the process, for the death of the parent.
func (p *Process) own(orphaned syscall.Signal, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	release, err := startTied(p.cmd, orphaned)
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	release()
	close(p.done)
}

// PID is the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the child ended; nil is exit status 0. It waits for the end.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Signal sends a signal; a child that has ended already is no error.
func (p *Process) Signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Kill ends the child now and waits until it is gone.
func (p *Process) Kill() error {
	err := p.Signal(syscall.SIGKILL)
	if err == nil {
		<-p.done
	}
	return err
}

// Stop sends sig, gives the child some time to end, then kills it. It reports whether the child ended by itself.
func (p *Process) Stop(sig os.Signal, grace time.Duration) (inTime bool, err error) {
	if err := p.Signal(sig); err != nil {
		return false, err
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return true, nil
	case <-timer.C:
		return false, p.Kill()
	}
}
