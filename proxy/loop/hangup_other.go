//go:build unix && !linux

package loop

import "golang.org/x/sys/unix"

// hungUp asks whether the peer has closed or reset its side, without waiting.
func hungUp(fd uintptr) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(fds[:], 0)
	return err != nil || (n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0)
}
