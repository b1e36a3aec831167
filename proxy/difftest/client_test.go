package difftest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"time"
)

// patience is how long a step waits for the next byte before it reports what is missing.
const patience = 8 * time.Second

// endOfStream is the type of the frame that stands for the end of the connection. No message has the type 0.
const endOfStream = 0

// frame is one message as it came: its type byte and its body.
type frame struct {
	typ  byte
	body []byte
}

// client is one end of a connection, told byte by byte what to send. It belongs to one goroutine.
type client struct {
	name    string
	tcp     *net.TCPConn
	conn    net.Conn // tcp, or TLS over it
	in      *bufio.Reader
	unread  []frame // frames of the login that no step has read yet
	held    []byte  // the rest of a write that a step cut
	pid     uint32
	secret  []byte
	pieces  *rand.Rand // not nil: every write is cut into pieces
	scanner func(frame)
	wait    time.Duration // how long a read waits for the next byte, if not patience
}

// dial opens a connection without saying anything on it.
func dial(name, addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return &client{name: name, tcp: conn.(*net.TCPConn), conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}, nil
}

// write sends b, in one piece unless the client cuts its writes.
func (c *client) write(b []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(5 * patience)); err != nil {
		return err
	}
	for len(b) > 0 {
		n := c.pieceOf(len(b))
		if _, err := c.conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// pieceOf says how much of a write of n bytes goes out at once. Small writes are cut small, so that headers and
// names are cut too; large ones into a few hundred pieces.
func (c *client) pieceOf(n int) int {
	if c.pieces == nil {
		return n
	}
	most := max(9, n/100)
	return min(n, 1+c.pieces.IntN(most))
}

// next reads one frame. The end of the connection, however it came, is a frame of type endOfStream.
func (c *client) next() (frame, error) { return c.nextWithin(max(c.wait, patience)) }

func (c *client) nextWithin(limit time.Duration) (frame, error) {
	if len(c.unread) > 0 {
		f := c.unread[0]
		c.unread = c.unread[1:]
		return f, nil
	}
	var header [5]byte
	if err := c.fill(header[:], limit); err != nil {
		return endOr(err, limit)
	}
	size := binary.BigEndian.Uint32(header[1:])
	if size < 4 || size > 1<<30 {
		return frame{}, fmt.Errorf("frame %q with length %d", header[0], size)
	}
	body := make([]byte, size-4)
	if err := c.fill(body, limit); err != nil {
		return endOr(err, limit)
	}
	f := frame{header[0], body}
	if c.scanner != nil {
		c.scanner(f)
	}
	return f, nil
}

// fill reads len(b) bytes. The limit is that of a pause between two reads, so it moves with every piece that comes.
func (c *client) fill(b []byte, limit time.Duration) error {
	for got := 0; got < len(b); {
		if c.in.Buffered() == 0 {
			if err := c.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
				return err
			}
		}
		n, err := c.in.Read(b[got:])
		if err != nil {
			return err
		}
		got += n
	}
	return nil
}

// endOr turns the end of a connection into its frame and leaves a time-out an error.
func endOr(err error, limit time.Duration) (frame, error) {
	var netErr net.Error
	if errors.As(err, &netErr) && netErr.Timeout() {
		return frame{}, fmt.Errorf("nothing more came for %s", limit)
	}
	return frame{typ: endOfStream}, nil
}

// until reads frames up to and including the n-th one of type typ, or to the end of the connection.
func (c *client) until(typ byte, n int) ([]frame, error) {
	var got []frame
	for n > 0 {
		f, err := c.next()
		if err != nil {
			return got, err
		}
		got = append(got, f)
		if f.typ == typ {
			n--
		}
		if f.typ == endOfStream {
			break
		}
	}
	return got, nil
}

// rest reads everything up to the end of the connection.
func (c *client) rest() ([]frame, error) { return c.until(endOfStream, 1) }

// pending says whether a byte has come that no step has read.
func (c *client) pending() (bool, error) {
	if len(c.unread) > 0 || c.in.Buffered() > 0 {
		return true, nil
	}
	if c.conn != c.tcp {
		return c.pendingBehindTLS()
	}
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return false, err
	}
	// A deadline of an earlier read would refuse the look.
	if err := c.conn.SetReadDeadline(time.Time{}); err != nil {
		return false, err
	}
	var n int
	var peekErr error
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, peekErr = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	if err != nil {
		return false, err
	}
	return peekErr == nil && n > 0, nil
}

// pendingBehindTLS has to read: what has come may be a message of TLS.
func (c *client) pendingBehindTLS() (bool, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(2 * time.Millisecond)); err != nil {
		return false, err
	}
	_, err := c.in.Peek(1)
	var netErr net.Error
	if errors.As(err, &netErr) && netErr.Timeout() {
		return false, nil
	}
	return true, nil
}

// reset ends the connection with RST instead of FIN.
func (c *client) reset() {
	_ = c.tcp.SetLinger(0)
	_ = c.tcp.Close()
}

func (c *client) close() { _ = c.tcp.Close() }

// cancel sends a CancelRequest for the key given to c and waits until the other side has closed that connection.
func (c *client) cancel(addr string) error { return cancelKey(addr, c.pid, c.secret) }

func cancelKey(addr string, pid uint32, secret []byte) error {
	other, err := dial("cancel", addr)
	if err != nil {
		return err
	}
	defer other.close()
	if err := other.write(cancelRequest(pid, secret)); err != nil {
		return err
	}
	return other.expectEnd()
}

// expectEnd fails unless the connection ends without another byte.
func (c *client) expectEnd() error {
	f, err := c.next()
	if err == nil && f.typ != endOfStream {
		err = fmt.Errorf("an answer where only the end was due: %s", describe(f))
	}
	return err
}

func cancelRequest(pid uint32, secret []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(12+len(secret)))
	b = binary.BigEndian.AppendUint32(b, 1234<<16|5678)
	b = binary.BigEndian.AppendUint32(b, pid)
	return append(b, secret...)
}
