//go:build unix && (!linux || loop_std)

package loop

import (
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// std is the driver for systems without epoll: a goroutine per watched direction waits on the runtime's poller and
// reports to the loop's channel-free mailbox. It is correct everywhere and fast nowhere.
type std struct {
	mu     sync.Mutex
	events []stdEvent
	taken  []stdEvent
	bell   chan struct{} // capacity 1: something is in events, or Wake was called
	timer  *time.Timer
	conns  map[*Conn]struct{} // registered
}

type stdEvent struct {
	s        *stdSocket
	readable bool
	writable bool
	gone     bool
	asked    bool // the goroutine that asked whether the peer is gone has ended
}

// stdSocket is one stay of a connection on a loop: the runtime keeps its descriptor, and its RawConn waits. A later
// stay has another stdSocket, so that an event of an earlier one finds nobody. Owned by the loop.
type stdSocket struct {
	net.Conn
	rc      syscall.RawConn
	c       *Conn // nil when the stay is over
	reading bool  // a goroutine waits for input
	writing bool
	leaving bool // a goroutine asks, now and then, whether the peer is gone
	over    atomic.Bool
}

// waitGone asks every 100 ms, for the runtime's poller has no such question. It ends with the stay.
func (s *stdSocket) waitGone() (gone bool) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !gone && !s.over.Load() {
		<-tick.C
		if err := s.rc.Control(func(fd uintptr) { gone = hungUp(fd) }); err != nil {
			return true
		}
	}
	return gone
}

func newDriver() (Driver, error) {
	p := &std{bell: make(chan struct{}, 1), timer: time.NewTimer(time.Hour), conns: map[*Conn]struct{}{}}
	start := time.Now()
	return Driver{
		Poller: p,
		Go:     func(fn func()) { go fn() },
		Now:    func() int64 { return int64(time.Since(start)) },
		Rearm:  true,
	}, nil
}

// Watch starts a goroutine for each wanted direction that has none.
func (p *std) Watch(c *Conn, want Event) error {
	s, ok := c.sock.(*stdSocket)
	if !ok {
		return fmt.Errorf("watch: %T is not adopted", c.sock)
	}
	s.c = c
	p.conns[c] = struct{}{}
	if want&Readable != 0 && !s.reading {
		s.reading = true
		go func() {
			_ = s.rc.Read(func(fd uintptr) bool { return readyFD(fd, unix.POLLIN) })
			p.report(stdEvent{s: s, readable: true})
		}()
	}
	if want&Gone != 0 && !s.leaving {
		s.leaving = true
		go func() {
			gone := s.waitGone()
			p.report(stdEvent{s: s, gone: gone, asked: true})
		}()
	}
	if want&Writable != 0 && !s.writing {
		s.writing = true
		go func() {
			_ = s.rc.Write(func(fd uintptr) bool { return readyFD(fd, unix.POLLOUT) })
			p.report(stdEvent{s: s, writable: true})
		}()
	}
	return nil
}

// readyFD asks without waiting. The runtime's own readiness is an edge that it forgets before it calls us.
func readyFD(fd uintptr, events int16) bool { return pollFD(fd, events) != 0 }

// pollFD says which of the events, or of the kernel's own, are there. A signal interrupts even a poll that does not wait,
// and the runtime sends many: that is no answer.
func pollFD(fd uintptr, events int16) (found int16) {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		_, err := unix.Poll(fds[:], 0)
		switch err { //nolint:errorlint // a bare errno
		case nil:
			return fds[0].Revents
		case unix.EINTR:
		default:
			return unix.POLLERR // reading will tell
		}
	}
}

// Stirs asks the descriptor itself.
func (s *stdSocket) Stirs() (stirs bool) {
	err := s.rc.Control(func(fd uintptr) { stirs = readyFD(fd, unix.POLLIN) })
	return err != nil || stirs
}

func (p *std) report(ev stdEvent) {
	p.mu.Lock()
	p.events = append(p.events, ev)
	p.mu.Unlock()
	p.Wake()
}

// Drop forgets c. Goroutines still waiting on a kept connection end with its next event, which is then stale.
func (p *std) Drop(c *Conn, keep bool) {
	delete(p.conns, c)
	s, ok := c.sock.(*stdSocket)
	if !ok {
		return
	}
	s.c = nil
	s.over.Store(true)
	if keep {
		c.sock = &stdSocket{Conn: s.Conn, rc: s.rc}
		return
	}
	_ = s.Close()
}

// Poll delivers what was reported.
func (p *std) Poll(d time.Duration) int {
	p.mu.Lock()
	empty := len(p.events) == 0
	p.mu.Unlock()
	if empty && d != 0 {
		p.wait(d)
	}
	select {
	case <-p.bell:
	default:
	}
	p.mu.Lock()
	p.taken, p.events = p.events, p.taken[:0]
	p.mu.Unlock()
	for i, ev := range p.taken {
		p.deliver(ev)
		p.taken[i] = stdEvent{}
	}
	return len(p.taken)
}

func (p *std) deliver(ev stdEvent) {
	s := ev.s
	if ev.readable {
		s.reading = false
	}
	if ev.writable {
		s.writing = false
	}
	if ev.asked {
		s.leaving = false
	}
	if s.c != nil {
		s.c.Notify(ev.readable, ev.writable, ev.gone)
	}
}

func (p *std) wait(d time.Duration) {
	if d < 0 {
		<-p.bell
		return
	}
	p.timer.Reset(d)
	select {
	case <-p.bell:
		p.timer.Stop()
	case <-p.timer.C:
	}
}

// Wake ends a wait.
func (p *std) Wake() {
	select {
	case p.bell <- struct{}{}:
	default:
	}
}

// Close closes what is still registered, which ends the goroutines that wait for it.
func (p *std) Close() error {
	for c := range p.conns {
		_ = c.Close()
	}
	return nil
}

// Adopt hands the connection to a loop. The runtime keeps the descriptor.
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
	c.sock, c.nc = &stdSocket{Conn: c.nc, rc: rc}, nil
	return nil
}

func (s *stdSocket) TryRead(b []byte) (n int, err error) {
	cerr := s.rc.Control(func(fd uintptr) { n, err = again(unix.Read(int(fd), b)) })
	if cerr != nil {
		return 0, cerr
	}
	if n < 0 {
		n = 0
	}
	return n, err
}

func (s *stdSocket) TryWrite(b []byte) (n int, err error) {
	cerr := s.rc.Control(func(fd uintptr) { n, err = again(unix.Write(int(fd), b)) })
	if cerr != nil {
		return 0, cerr
	}
	if err == ErrWouldBlock { //nolint:errorlint // made two lines above
		return 0, nil
	}
	return n, err
}

func again(n int, err error) (int, error) {
	switch err { //nolint:errorlint // a bare errno
	case nil:
		return n, nil
	case unix.EAGAIN, unix.EINTR:
		return 0, ErrWouldBlock
	}
	return 0, os.NewSyscallError("socket", err)
}

func (c *Conn) tryRead(b []byte) (int, error)  { return c.sock.TryRead(b) }
func (c *Conn) tryWrite(b []byte) (int, error) { return c.sock.TryWrite(b) }

func (c *Conn) closeFD() {}
