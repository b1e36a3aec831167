//go:build unix

package main

import (
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is one taken over for a screen of our own. close gives it back as it was.
type terminal struct {
	in, out *os.File
	before  unix.Termios
	keys    chan byte      // what is typed; closed when nothing more can be
	resized chan os.Signal // after each change of the size
	wake    [2]*os.File    // a pipe: its end ends the reader of keys
	reading sync.WaitGroup
}

// What the screen is entered and left with: the other screen, without a cursor.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
)

// isScreen reports whether f is a terminal.
func isScreen(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), getTermios)
	return err == nil
}

// openTerminal has keys come at once, unseen, and draws on a screen of its own.
func openTerminal(in, out *os.File) (*terminal, error) {
	now, err := unix.IoctlGetTermios(int(in.Fd()), getTermios)
	if err != nil {
		return nil, &os.SyscallError{Syscall: "reading the terminal's mode", Err: err}
	}
	t := &terminal{in: in, out: out, before: *now, keys: make(chan byte, 16), resized: make(chan os.Signal, 1)}
	if t.wake[0], t.wake[1], err = os.Pipe(); err != nil {
		return nil, err
	}
	raw := *now
	raw.Iflag &^= unix.ICRNL | unix.IXON
	raw.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(in.Fd()), setTermios, &raw); err != nil {
		return nil, errors.Join(err, t.wake[0].Close(), t.wake[1].Close())
	}
	signal.Notify(t.resized, syscall.SIGWINCH)
	t.reading.Go(t.read)
	_, err = out.WriteString(enterScreen)
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// close may be called once.
func (t *terminal) close() error {
	signal.Stop(t.resized)
	err := t.wake[1].Close()
	t.reading.Wait()
	_, shown := t.out.WriteString(leaveScreen)
	return errors.Join(err, t.wake[0].Close(), shown, unix.IoctlSetTermios(int(t.in.Fd()), setTermios, &t.before))
}

// size is how many columns and lines there are. A terminal that does not say has the usual number.
func (t *terminal) size() (width, height int) {
	size, err := unix.IoctlGetWinsize(int(t.out.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 || size.Row == 0 {
		return 80, 24
	}
	return int(size.Col), int(size.Row)
}

// read passes keys on until the terminal or the pipe ends.
func (t *terminal) read() {
	defer close(t.keys)
	buf := make([]byte, 64)
	for {
		polled := []unix.PollFd{
			{Fd: int32(t.in.Fd()), Events: unix.POLLIN},
			{Fd: int32(t.wake[0].Fd()), Events: unix.POLLIN},
		}
		_, err := unix.Poll(polled, -1)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || polled[1].Revents != 0:
			return
		}
		n, err := t.in.Read(buf)
		if err != nil {
			return
		}
		for _, key := range typed(buf[:n]) {
			select {
			case t.keys <- key:
			default: // nobody types that fast
			}
		}
	}
}
