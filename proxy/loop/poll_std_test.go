//go:build linux && loop_std

package loop

import (
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A signal that interrupts the question says nothing about the peer: the runtime signals threads all the time.
func TestSignalsAreNoHangUp(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	rc, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var (
		wg   sync.WaitGroup
		done = make(chan struct{})
		pid  = os.Getpid()
		tid  = unix.Gettid()
	)
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				_ = unix.Tgkill(pid, tid, unix.SIGURG)
			}
		}
	})
	wrong := 0
	if err := rc.Control(func(fd uintptr) {
		for range 100_000 {
			if hungUp(fd) || readyFD(fd, unix.POLLIN) {
				wrong++
			}
		}
	}); err != nil {
		t.Error(err)
	}
	close(done)
	wg.Wait()
	if wrong > 0 {
		t.Errorf("%d times something was there on a connection on which nothing happened", wrong)
	}
}
