//go:build unix && (!linux || loop_std)

package loop

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Descriptor duplicates the descriptor of an adopted connection. The caller closes it; the connection stays open as long
// as either is.
func (c *Conn) Descriptor() (fd int, err error) {
	s, ok := c.sock.(*stdSocket)
	if !ok || c.closed {
		return -1, net.ErrClosed
	}
	if cerr := s.rc.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return -1, cerr
	}
	return fd, os.NewSyscallError("fcntl", err)
}
