package pgtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Ports are taken below the range from which systems take those of outgoing connections: a stopped server will find its
// own free again.
const lowPort, highPort = 20000, 32000

// FreePort finds a TCP port nobody listens on. Neither this process nor another one that asks here gets it again while this
// one lives: between the question and the server that is to listen there may be seconds.
func FreePort() (int, error) {
	const attempts = 100
	for range attempts {
		port := lowPort + rand.IntN(highPort-lowPort)
		mine, err := ports.take(port)
		if err != nil {
			return 0, err
		}
		if mine && PortFree(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port between %d and %d", lowPort, highPort)
}

// PortFree tells whether a loopback port can be listened on.
func PortFree(port int) bool {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

var ports portBook //nolint:gochecknoglobals // what the process holds

// portBook is the ports of this process. Each is also a locked byte of a file that all processes of the user share; the
// kernel unlocks it when the process ends, however it ends.
type portBook struct {
	mu    sync.Mutex
	file  *os.File
	taken map[int]bool
}

// take reports whether the port is this process's from now on, and was nobody's.
func (b *portBook) take(port int) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		name := filepath.Join(os.TempDir(), "sarnic-test-ports-"+strconv.Itoa(os.Getuid()))
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return false, fmt.Errorf("the book of ports: %w", err)
		}
		b.file, b.taken = file, map[int]bool{}
	}
	if b.taken[port] {
		return false, nil
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(port), Len: 1}
	if err := unix.FcntlFlock(b.file.Fd(), unix.F_SETLK, &lock); err != nil {
		return false, nil // another process has it
	}
	b.taken[port] = true
	return true, nil
}
