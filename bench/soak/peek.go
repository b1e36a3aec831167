package main

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// peek looks whether something can be read, without waiting and without taking it: -1 says that nothing has come, 0 that
// the peer has closed.
func peek(nc net.Conn) (n int, err error) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return 0, fmt.Errorf("a %T", nc)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peekErr error
	err = raw.Control(func(fd uintptr) { // not Read: pgconn may have a reader parked in the background
		n, _, peekErr = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	if errors.Is(peekErr, unix.EAGAIN) {
		return -1, err
	}
	return n, errors.Join(err, peekErr)
}
