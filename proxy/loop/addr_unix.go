package loop

import (
	"net"
	"strconv"

	"golang.org/x/sys/unix"
)

// sockAddr asks the kernel for an end's address. It is for log lines and console rows, never for the data path.
func sockAddr(c *Conn, remote bool) net.Addr {
	if a, ok := c.sock.(interface {
		LocalAddr() net.Addr
		RemoteAddr() net.Addr
	}); ok {
		if remote {
			return a.RemoteAddr()
		}
		return a.LocalAddr()
	}
	if c.fd < 0 {
		return &net.UnixAddr{Net: "unix"}
	}
	ask := unix.Getsockname
	if remote {
		ask = unix.Getpeername
	}
	sa, err := ask(int(c.fd))
	if err != nil {
		return &net.UnixAddr{Net: "unix"}
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: append(net.IP(nil), sa.Addr[:]...), Port: sa.Port}
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: append(net.IP(nil), sa.Addr[:]...), Port: sa.Port, Zone: zone(sa.ZoneId)}
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Name: sa.Name, Net: "unix"}
	}
	return &net.UnixAddr{Net: "unix"}
}

func zone(id uint32) string {
	if id == 0 {
		return ""
	}
	return strconv.Itoa(int(id))
}
