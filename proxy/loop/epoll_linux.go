//go:build linux && !loop_std

package loop

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxEvents is how many events one poll takes; the rest come in the next.
const maxEvents = 256

// maxSleep keeps the kernel's 32-bit count of milliseconds from overflowing.
const maxSleep = 24 * time.Hour

// epoll is the Linux driver. Descriptors are watched edge-triggered, for input always and for output only while
// something is waiting to be sent: a unix socket would report every read of its peer otherwise.
//
// System calls that cannot block go around the scheduler (RawSyscall): they cost a third of a tracked one, and the
// thread is ours anyway until the turn ends.
type epoll struct {
	fd     int
	wakeFD int
	events []unix.EpollEvent
	conns  []*Conn // by slot
	free   []int32
	closed []int // descriptors to close when the batch is done
	gen    uint32
}

// newDriver makes the driver of this build.
func newDriver() (Driver, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return Driver{}, os.NewSyscallError("epoll_create1", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(fd)
		return Driver{}, os.NewSyscallError("eventfd", err)
	}
	p := &epoll{fd: fd, wakeFD: wake, events: make([]unix.EpollEvent, maxEvents)}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: -1}
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, wake, &ev); err != nil {
		_ = p.Close()
		return Driver{}, os.NewSyscallError("epoll_ctl", err)
	}
	start := time.Now()
	return Driver{
		Poller: p,
		Go:     func(fn func()) { go fn() },
		Now:    func() int64 { return int64(time.Since(start)) },
		Yield:  runtime.Gosched,
	}, nil
}

// Watch registers c, or changes what it is watched for.
func (p *epoll) Watch(c *Conn, want Event) error {
	op := unix.EPOLL_CTL_MOD
	if c.slot == 0 {
		op = unix.EPOLL_CTL_ADD
		p.gen++
		c.gen = p.gen
		c.slot = p.take(c)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: c.slot, Pad: int32(c.gen)}
	if want&Writable != 0 {
		ev.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(p.fd, op, int(c.fd), &ev); err != nil {
		if op == unix.EPOLL_CTL_ADD {
			p.give(c)
		}
		return os.NewSyscallError("epoll_ctl", err)
	}
	return nil
}

func (p *epoll) take(c *Conn) int32 {
	if n := len(p.free); n > 0 {
		slot := p.free[n-1]
		p.free = p.free[:n-1]
		p.conns[slot-1] = c
		return slot
	}
	p.conns = append(p.conns, c)
	return int32(len(p.conns))
}

func (p *epoll) give(c *Conn) {
	p.conns[c.slot-1] = nil
	p.free = append(p.free, c.slot)
	c.slot = 0
}

// Drop takes c out of the set. Its descriptor is closed only after the batch being delivered: until then no new
// connection can get the same number.
func (p *epoll) Drop(c *Conn, keep bool) {
	if c.sock != nil {
		_ = c.sock.Close()
		return
	}
	if c.slot != 0 {
		_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, int(c.fd), nil)
		p.give(c)
	}
	if !keep && c.fd >= 0 {
		p.closed = append(p.closed, int(c.fd))
		c.fd = -1
	}
}

// Poll delivers one batch.
func (p *epoll) Poll(d time.Duration) int {
	p.closeDropped()
	n := p.wait(d)
	p.deliver(n)
	return n
}

func (p *epoll) deliver(n int) {
	for i := range n {
		ev := &p.events[i]
		if ev.Fd < 0 {
			var b [8]byte
			_, _ = unix.Read(p.wakeFD, b[:])
			continue
		}
		c := p.conns[ev.Fd-1]
		if c == nil || c.gen != uint32(ev.Pad) {
			continue // an event of a connection that ended within this batch
		}
		c.Notify(ev.Events&unix.EPOLLIN != 0, ev.Events&unix.EPOLLOUT != 0,
			ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0)
	}
}

func (p *epoll) wait(d time.Duration) int {
	var n uintptr
	var errno syscall.Errno
	if d == 0 {
		n, _, errno = syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])),
			maxEvents, 0, 0, 0)
	} else {
		ms := -1
		if d > 0 {
			ms = int((min(d, maxSleep) + time.Millisecond - 1) / time.Millisecond)
		}
		n, _, errno = syscall.Syscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])),
			maxEvents, uintptr(ms), 0, 0)
	}
	if errno != 0 {
		return 0 // EINTR; anything else cannot happen to a descriptor of our own
	}
	return int(n)
}

func (p *epoll) closeDropped() {
	for _, fd := range p.closed {
		_ = unix.Close(fd)
	}
	p.closed = p.closed[:0]
}

// Wake ends a wait from another goroutine.
func (p *epoll) Wake() {
	one := [8]byte{1}
	_, _ = unix.Write(p.wakeFD, one[:])
}

// Close closes what is still registered and the driver's own descriptors, after the loop has ended.
func (p *epoll) Close() error {
	for _, c := range p.conns {
		if c != nil {
			_ = c.Close()
		}
	}
	p.closeDropped()
	_ = unix.Close(p.wakeFD)
	return unix.Close(p.fd)
}

// Adopt takes the descriptor out of the runtime's poller: a duplicate, since File().Fd() would make the shared
// description blocking, and the original is closed. c must not be in use by anybody.
func (c *Conn) Adopt() error {
	if c.nc == nil {
		return nil
	}
	sc, ok := c.nc.(syscall.Conn)
	if !ok {
		return fmt.Errorf("adopt: %T has no descriptor", c.nc)
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	var dup int
	var dupErr error
	if err := rc.Control(func(fd uintptr) { dup, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	if dupErr != nil {
		return os.NewSyscallError("fcntl", dupErr)
	}
	_ = c.nc.Close()
	c.nc, c.fd = nil, int32(dup)
	return nil
}

func (c *Conn) tryRead(b []byte) (int, error) {
	if c.sock != nil {
		return c.sock.TryRead(b)
	}
	if len(b) == 0 {
		return 0, ErrWouldBlock
	}
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, ErrWouldBlock
		case unix.EINTR:
		default:
			return 0, os.NewSyscallError("read", errno)
		}
	}
}

func (c *Conn) tryWrite(b []byte) (int, error) {
	if c.sock != nil {
		return c.sock.TryWrite(b)
	}
	if len(b) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])),
			uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, os.NewSyscallError("write", errno)
		}
	}
}

// closeFD ends a descriptor that was adopted and never registered.
func (c *Conn) closeFD() {
	if c.fd >= 0 {
		_ = unix.Close(int(c.fd))
		c.fd = -1
	}
}
