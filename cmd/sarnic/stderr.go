package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// ownStderr is standard error under a descriptor of its own: PostgreSQL's grammar, which reads the clients' SQL, takes
// descriptor 2 for itself while it parses, and a line of the log written then would be lost.
func ownStderr() *os.File {
	fd, err := unix.FcntlInt(os.Stderr.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return os.Stderr
	}
	return os.NewFile(uintptr(fd), os.Stderr.Name())
}
