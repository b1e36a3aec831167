//go:build !linux

package proxy

import "net"

// judgePeer leaves it to the permissions of the socket.
func judgePeer(*net.UnixConn) error { return nil }
