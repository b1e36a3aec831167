//go:build linux && loop_std

package loop

import "golang.org/x/sys/unix"

// hungUp asks whether the peer has closed or reset its side, without waiting.
func hungUp(fd uintptr) bool { return pollFD(fd, unix.POLLRDHUP) != 0 }
