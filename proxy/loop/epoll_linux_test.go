//go:build linux && !loop_std

package loop

import (
	"log/slog"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// still is a loop that nobody turns but the test.
func still(t *testing.T) (*Loop, *epoll) {
	t.Helper()
	drv, err := newDriver()
	if err != nil {
		t.Fatal(err)
	}
	p := drv.Poller.(*epoll)
	l := New(drv, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		l.Stop()
		l.RunUntilStop()
		_ = p.Close()
	})
	return l, p
}

func adopted(t *testing.T, network string) (*Conn, net.Conn) {
	t.Helper()
	nc, peer := pair(t, network)
	c := Wrap(nc)
	if err := c.Adopt(); err != nil {
		t.Fatal(err)
	}
	return c, peer
}

// One batch names a descriptor that was closed within it, whose slot a new connection has taken meanwhile.
func TestStaleEventOfAReusedSlot(t *testing.T) {
	l, p := still(t)
	old, _ := adopted(t, "unix")
	if err := l.Register(old, nil); err != nil {
		t.Fatal(err)
	}
	stale := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLHUP, Fd: old.slot, Pad: int32(old.gen)}
	slot, fd := old.slot, old.fd
	_ = old.Close()
	p.events[0] = stale
	p.deliver(1) // with the slot empty

	successor, _ := adopted(t, "unix")
	if successor.fd == fd {
		t.Error("the descriptor was reused within the batch")
	}
	served := false
	if err := l.Register(successor, serve(func(*Fiber) { served = true })); err != nil {
		t.Fatal(err)
	}
	if successor.slot != slot {
		t.Fatalf("slot %d was not reused; the test shows nothing", slot)
	}
	p.events[0] = stale
	p.deliver(1)
	if successor.ready&Readable != 0 || successor.hangup {
		t.Error("an event of a closed connection reached its successor")
	}
	l.Turn(0)
	if served {
		t.Error("the successor's handler was woken by it")
	}
}

// Descriptors closed in a turn live until the next poll, then they are gone.
func TestDescriptorsCloseAfterTheBatch(t *testing.T) {
	l, _ := still(t)
	c, peer := adopted(t, "tcp")
	if err := l.Register(c, nil); err != nil {
		t.Fatal(err)
	}
	fd := int(c.fd)
	_ = c.Close()
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		t.Errorf("the descriptor is gone before the batch ends: %v", err)
	}
	l.Turn(0)
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
		t.Errorf("the descriptor is still open: %v", err)
	}
	if n, err := peer.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("the peer does not see the end")
	}
}

// After adoption the loop has the only descriptor, it does not block, and the runtime has closed its own.
func TestAdoptedDescriptor(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		nc, peer := pair(t, network)
		var before uintptr
		rc, err := nc.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = rc.Control(func(fd uintptr) { before = fd })
		c := Wrap(nc)
		if err := c.Adopt(); err != nil {
			t.Fatal(err)
		}
		if rc.Control(func(uintptr) {}) == nil {
			t.Error("the runtime's descriptor is still open")
		}
		flags, err := unix.FcntlInt(uintptr(c.fd), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("descriptor %d (before: %d) has flags %#x, %v; want non-blocking", c.fd, before, flags, err)
		}
		if flags, _ := unix.FcntlInt(uintptr(c.fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
			t.Error("the descriptor would be inherited")
		}
		_ = c.Close()
		if n, err := peer.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Error("the peer does not see the end: a descriptor is left")
		}
	})
}

// After a busy round a loop polls before it sleeps. If that finds one event, it must not sleep on it.
func TestOneEventAfterABusyRound(t *testing.T) {
	l, p := still(t)
	c, peer := adopted(t, "unix")
	served := make(chan struct{})
	_ = l.Register(c, serve(func(*Fiber) { _, _ = readAll(c); close(served) }))
	l.Turn(0)
	mustWrite(t, peer, []byte("x"))
	l.events = 2 // as a busy round leaves it
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Turn(-1)
		l.Turn(0)
	}()
	select {
	case <-served:
	case <-time.After(patience):
		t.Error("the loop sleeps on a fiber that is ready")
		p.Wake()
	}
	<-done
}
