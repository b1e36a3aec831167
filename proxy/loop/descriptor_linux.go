//go:build linux && !loop_std

package loop

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Descriptor duplicates the descriptor of an adopted connection. The caller closes it; the connection stays open as long
// as either is.
func (c *Conn) Descriptor() (int, error) {
	if c.sock != nil || c.fd < 0 {
		return -1, net.ErrClosed
	}
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
	return fd, os.NewSyscallError("fcntl", err)
}
