package admin

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// line is the connection to the client, with a bound on every read and write. It belongs to the goroutine of Serve, but
// for the end of ctx.
type line struct {
	ctx   context.Context // the life of the connection, which every read and write ends with
	conn  net.Conn
	early []byte // read, not yet asked for
	cut   bool   // a write failed, so that nothing may follow it
}

// past is a deadline that has certainly passed.
func past() time.Time { return time.Unix(1, 0) }

// Read waits for the client at most idleTime.
func (l *line) Read(b []byte) (int, error) {
	if len(l.early) > 0 {
		n := copy(b, l.early)
		l.early = l.early[n:]
		return n, nil
	}
	if err := l.conn.SetReadDeadline(time.Now().Add(idleTime)); err != nil {
		return 0, err
	}
	if l.ctx.Err() != nil { // the end came before the deadline was set, and moved the one before
		return 0, context.Cause(l.ctx)
	}
	return l.conn.Read(b)
}

// Write gives the client writeTime to take b.
func (l *line) Write(b []byte) (int, error) {
	if err := l.conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	if l.ctx.Err() != nil {
		return 0, context.Cause(l.ctx)
	}
	return l.send(b)
}

func (l *line) send(b []byte) (int, error) {
	n, err := l.conn.Write(b)
	l.cut = l.cut || err != nil
	return n, err
}

// end cuts every read and write short. Any goroutine may call it.
func (l *line) end() { _ = l.conn.SetDeadline(past()) }

// watch calls gone when the client hangs up, until the function it returns is called. What the client sends meanwhile is
// kept, but ends the watch after one byte: it is for commands that wait, and their clients wait too.
func (l *line) watch(gone func()) (stop func()) {
	if len(l.early) > 0 || l.conn.SetReadDeadline(time.Time{}) != nil {
		return func() {}
	}
	done := make(chan struct{})
	var b [1]byte
	var n int
	go func() {
		defer close(done)
		var err error
		if n, err = l.conn.Read(b[:]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			gone()
		}
	}()
	return func() {
		_ = l.conn.SetReadDeadline(past())
		<-done
		l.early = append(l.early, b[:n]...)
	}
}

// farewell tells the client why its connection ends, where there is somebody to tell.
func (l *line) farewell(err error) {
	e := l.lastWords(err)
	if e == nil || l.cut || l.conn.SetWriteDeadline(time.Now().Add(farewellTime)) != nil {
		return
	}
	_, _ = l.send(wire.AppendError(nil, e))
}

func (l *line) lastWords(err error) *wire.Error {
	e := &wire.Error{}
	switch {
	case l.ctx.Err() != nil:
		e.Code, e.Message = wire.CodeAdminShutdown, "terminating connection due to administrator command"
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Code, e.Message = wire.CodeIdleSessionTimeout, "terminating connection due to idle-session timeout"
	case !errors.As(err, &e):
		return nil
	}
	last := *e
	last.Severity = "FATAL"
	return &last
}
