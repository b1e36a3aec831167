package proxy

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// letter is what two processes tell each other during an online restart. Which fields count depends on the kind.
type letter struct {
	Kind    letterKind
	Number  uint64 // of a question, repeated in its answer
	Version int
	Parcels string // the form of parcels that the writer understands
	Text    string // why not
	Offer   *offer
	Parcel  *parcel
	PID     uint32 // of a cancel request
	Secret  []byte
}

type letterKind uint8

const (
	helloLetter   letterKind = iota + 1 // successor: here I am
	offerLetter                         // predecessor: take these listeners (descriptors)
	refusalLetter                       // either: no, because
	readyLetter                         // successor: I accept clients
	stoppedLetter                       // predecessor: I do not any more
	parcelLetter                        // predecessor: take this client (a descriptor)
	takenLetter                         // successor: it is mine
	cancelLetter                        // either: a cancel request for a client of yours
	doneLetter                          // either: it was passed on
)

// offer is all a successor needs to be to clients what its predecessor was.
type offer struct {
	Listeners []string // what the descriptors are, by key, in their order
	Key       [32]byte // of cancel keys
	LastPID   uint32
}

// linkVersion is that of the letters. Processes of different versions do not understand each other: the old one says no.
const linkVersion = 1

// Bounds on a link.
const (
	maxLetter    = 16 << 20
	maxRights    = 253 // descriptors in one letter: the kernel's own bound
	linkPatience = 10 * time.Second
)

// link is a connection between two processes of this program. Any goroutine may send, one receives.
type link struct {
	conn    *net.UnixConn
	parcels string // the form of them that the other side understands
	sending sync.Mutex
	in      []byte // received, not yet a whole letter
	rights  []int  // descriptors that came with it

	mu      sync.Mutex
	number  uint64
	waiting map[uint64]chan struct{} // for answers
}

// ask sends a cancel request and waits until the other side has passed it on, or has gone.
func (l *link) ask(pid uint32, secret []byte, patience <-chan time.Time) {
	l.mu.Lock()
	l.number++
	n, done := l.number, make(chan struct{})
	if l.waiting == nil {
		l.waiting = make(map[uint64]chan struct{})
	}
	l.waiting[n] = done
	l.mu.Unlock()
	defer l.answered(n)
	if err := l.send(&letter{Kind: cancelLetter, Number: n, PID: pid, Secret: secret}); err != nil {
		return
	}
	select {
	case <-done:
	case <-patience:
	}
}

// answered ends a wait for an answer.
func (l *link) answered(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if done := l.waiting[n]; done != nil {
		close(done)
		delete(l.waiting, n)
	}
}

// send writes one letter. The descriptors stay the caller's.
func (l *link) send(m *letter, descriptors ...int) error {
	var b bytes.Buffer
	b.Write(make([]byte, 5)) // length and number of descriptors
	if err := gob.NewEncoder(&b).Encode(m); err != nil {
		return fmt.Errorf("hand-over: %w", err)
	}
	frame := b.Bytes()
	if len(frame) > maxLetter || len(descriptors) > maxRights {
		return errTooLarge
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)))
	frame[4] = byte(len(descriptors))
	var rights []byte
	if len(descriptors) > 0 {
		rights = unix.UnixRights(descriptors...)
	}
	l.sending.Lock()
	defer l.sending.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(linkPatience)); err != nil {
		return err
	}
	n, _, err := l.conn.WriteMsgUnix(frame, rights, nil)
	if err != nil && n <= 0 {
		l.close()
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	if err == nil && n < len(frame) {
		_, err = l.conn.Write(frame[n:])
	}
	if err != nil {
		l.close() // half a letter was sent: nothing can follow it
	}
	return err
}

var (
	errNotSent  = errors.New("hand-over: nothing was sent")
	errTooLarge = fmt.Errorf("%w: too large", errNotSent)
)

// receive reads one letter. The descriptors are the caller's from then on.
func (l *link) receive() (*letter, []int, error) {
	for {
		if m, descriptors, err := l.next(); m != nil || err != nil {
			return m, descriptors, err
		}
		if err := l.read(); err != nil {
			return nil, nil, err
		}
	}
}

// next takes a letter out of what was read, if there is a whole one.
func (l *link) next() (*letter, []int, error) {
	const head = 5
	if len(l.in) < head {
		return nil, nil, nil
	}
	size, n := int(binary.BigEndian.Uint32(l.in)), int(l.in[4])
	if size < head || size > maxLetter {
		return nil, nil, errTooLarge
	}
	if len(l.in) < size {
		return nil, nil, nil
	}
	if n > len(l.rights) {
		return nil, nil, errors.New("hand-over: descriptors are missing")
	}
	m := new(letter)
	err := gob.NewDecoder(bytes.NewReader(l.in[head:size])).Decode(m)
	descriptors := l.rights[:n:n]
	l.rights = l.rights[n:]
	l.in = l.in[:copy(l.in, l.in[size:])]
	if err != nil {
		closeDescriptors(descriptors)
		return nil, nil, fmt.Errorf("hand-over: %w", err)
	}
	return m, descriptors, nil
}

func (l *link) read() error {
	var b [32 << 10]byte
	control := make([]byte, unix.CmsgSpace(4*maxRights))
	n, controlled, flags, _, err := l.conn.ReadMsgUnix(b[:], control)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(control[:controlled])
	if err != nil {
		return os.NewSyscallError("recvmsg", err)
	}
	for _, m := range messages {
		descriptors, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // the kernel may tell other things too
		}
		l.rights = append(l.rights, descriptors...)
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return errors.New("hand-over: descriptors were lost")
	}
	l.in = append(l.in, b[:n]...)
	return nil
}

// close ends the link. It may be called by any goroutine; drop is for the one that receives, when it does no more.
func (l *link) close() { _ = l.conn.Close() }

func (l *link) drop() {
	l.close()
	closeDescriptors(l.rights)
	l.rights = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, done := range l.waiting {
		close(done)
		delete(l.waiting, n)
	}
}

func closeDescriptors(all []int) {
	for _, fd := range all {
		_ = unix.Close(fd)
	}
}

// descriptor duplicates that of a listener. File is not used: what it returns makes the socket a blocking one, here and
// there.
func descriptor(ln net.Listener) (fd int, err error) {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("hand-over: %T has no descriptor", ln)
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	if cerr := rc.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return -1, cerr
	}
	return fd, os.NewSyscallError("fcntl", err)
}

// listenerOf and connOf take a descriptor over.
func listenerOf(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "listener")
	defer func() { _ = f.Close() }()
	return net.FileListener(f)
}

func connOf(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "client")
	defer func() { _ = f.Close() }()
	return net.FileConn(f)
}
