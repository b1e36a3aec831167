//go:build unix && !linux

package loop

import "golang.org/x/sys/unix"

// hungUp asks whether the peer has closed or reset its side, without waiting.
func hungUp(fd uintptr) bool { return pollFD(fd, 0)&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 }
