package login

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// inSize holds every message of an ordinary login; a longer startup packet takes a buffer of its own for its time.
const inSize = 2048

// Limits of messages before authentication. PostgreSQL takes passwords up to 65535 bytes; no secret is that long.
const (
	maxSASL     = 1024 // PostgreSQL's own limit
	maxPassword = 10000
)

var errTooLong = errors.New("invalid message length")

// fill reads until n unread bytes are buffered. One read takes whatever is there: that saves system calls, and shows
// what a client sent too early.
func (a *attempt) fill(n int) error {
	a.makeRoom(n)
	for a.w-a.r < n {
		k, err := a.rw.Read(a.in[a.w:])
		a.w += k
		if err != nil && a.w-a.r < n {
			if errors.Is(err, io.EOF) && a.w > a.r {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// makeRoom makes the buffer long enough for n unread bytes.
func (a *attempt) makeRoom(n int) {
	if a.r+n <= len(a.in) {
		return
	}
	to := a.in
	if n > len(to) {
		to = make([]byte, n)
	}
	a.w = copy(to, a.in[a.r:a.w])
	a.in, a.r = to, 0
}

// take returns the next n bytes, valid until the next fill.
func (a *attempt) take(n int) []byte {
	b := a.in[a.r : a.r+n]
	a.r += n
	return b
}

// early reports whether bytes lie in the buffer that nobody asked for yet.
func (a *attempt) early() bool { return a.w > a.r }

// packet reads one startup packet and returns its body, valid until the next fill.
func (a *attempt) packet() ([]byte, error) {
	if err := a.fill(4); err != nil {
		return nil, err
	}
	size, ok := wire.StartupLen(a.in[a.r:])
	if !ok {
		return nil, a.silent(fatal(wire.CodeProtocolViolation, "invalid length of startup packet"))
	}
	if err := a.fill(4 + size); err != nil {
		return nil, err
	}
	return a.take(4 + size)[4:], nil
}

// response reads the client's next answer to a request for proof: 'p' with at most limit bytes. errTooLong is for the
// caller to answer, because PostgreSQL does it in two ways.
func (a *attempt) response(kind string, limit int) ([]byte, error) {
	if err := a.fill(1); err != nil {
		return nil, err
	}
	if typ := a.in[a.r]; typ != 'p' {
		return nil, a.refuse(fatal(wire.CodeProtocolViolation,
			fmt.Sprintf("expected %s response, got message type %d", kind, typ)))
	}
	if err := a.fill(wire.HeaderLen); err != nil {
		return nil, err
	}
	size := int64(binary.BigEndian.Uint32(a.in[a.r+1:])) - 4
	if size < 0 || size > int64(limit) {
		return nil, errTooLong
	}
	if err := a.fill(wire.HeaderLen + int(size)); err != nil {
		return nil, err
	}
	return a.take(wire.HeaderLen + int(size))[wire.HeaderLen:], nil
}

// flush sends what was appended to out, in one write.
func (a *attempt) flush() error {
	_, err := a.rw.Write(a.out)
	a.out = a.out[:0]
	if err != nil {
		return fmt.Errorf("writing to client: %w", err)
	}
	return nil
}
