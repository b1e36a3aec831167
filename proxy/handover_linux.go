package proxy

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// judgePeer refuses whoever is not this user, or root. The socket's permissions say so already; what is handed over is
// worth a second look.
func judgePeer(conn *net.UnixConn) error {
	rc, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	if cerr := rc.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil {
		return cerr
	}
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		return fmt.Errorf("the process %d is of user %d", peer.Pid, peer.Uid)
	}
	return nil
}
