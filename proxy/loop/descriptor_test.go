package loop

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A connection goes on under the duplicate when the loop has closed its own, without a word to the peer.
func TestDescriptor(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := Wrap(nc)
	if _, err := c.Descriptor(); err == nil {
		t.Error("a connection that the runtime still has gave its descriptor away")
	}
	if err := c.Adopt(); err != nil {
		t.Fatal(err)
	}
	fd, err := c.Descriptor()
	if err != nil {
		t.Fatal(err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %x, %v", flags, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Descriptor(); err == nil {
		t.Error("a closed connection has a descriptor")
	}
	f := os.NewFile(uintptr(fd), "moved")
	moved, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer moved.Close()
	b := make([]byte, 5)
	for _, way := range [][2]net.Conn{{peer, moved}, {moved, peer}} {
		if _, err := way[0].Write([]byte("there")); err != nil {
			t.Fatal(err)
		}
		if n, err := way[1].Read(b); err != nil || string(b[:n]) != "there" {
			t.Errorf("%q, %v", b[:n], err)
		}
	}
}
