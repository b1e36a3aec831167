package proxy

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// cannedServer is a PostgreSQL that answers from prepared bytes and allocates nothing once a client has logged in:
// what is measured is the proxy.
type cannedServer struct {
	ln       net.Listener
	greeting []byte
	rows     []byte // the rows of every query and their CommandComplete
	columns  []byte // the RowDescription
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

// startCanned serves until the test ends.
func startCanned(t testing.TB, rows int) *cannedServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cannedServer{ln: ln, columns: rowDescription("v", 23)}
	for range rows {
		c.rows = append(c.rows, dataRow("12345678")...)
	}
	c.rows = wire.AppendCommandComplete(c.rows, "SELECT 1")
	c.greeting = wire.AppendAuthOK(nil)
	for _, p := range [][2]string{{"server_version", "18.0"}, {"client_encoding", "UTF8"}, {"TimeZone", "UTC"}} {
		c.greeting = wire.AppendParameterStatus(c.greeting, p[0], p[1])
	}
	c.greeting = wire.AppendBackendKeyData(c.greeting, 1, []byte("key!"))
	c.greeting = wire.AppendReadyForQuery(c.greeting, 'I')
	c.wg.Go(c.accept)
	t.Cleanup(c.close)
	return c
}

func (c *cannedServer) dsn() string {
	return "postgres://app@" + c.ln.Addr().String() + "/app?sslmode=disable"
}

func (c *cannedServer) accept() {
	for {
		nc, err := c.ln.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.conns = append(c.conns, nc)
		c.mu.Unlock()
		c.wg.Go(func() { c.serve(nc) })
	}
}

func (c *cannedServer) close() {
	_ = c.ln.Close()
	c.mu.Lock()
	for _, nc := range c.conns {
		_ = nc.Close()
	}
	c.mu.Unlock()
	c.wg.Wait()
}

// serve answers frame by frame, all that came in one read in one write.
func (c *cannedServer) serve(nc net.Conn) {
	defer nc.Close()
	var size [4]byte
	if _, err := io.ReadFull(nc, size[:]); err != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, nc, int64(binary.BigEndian.Uint32(size[:]))-4); err != nil {
		return
	}
	if _, err := nc.Write(c.greeting); err != nil {
		return
	}
	in, out := make([]byte, 0, 64<<10), make([]byte, 0, 256<<10)
	for {
		n, err := nc.Read(in[len(in):cap(in)])
		if err != nil {
			return
		}
		in = in[:len(in)+n]
		rest := in
		out = out[:0]
		for {
			typ, body, after, ok := wire.Next(rest)
			if !ok {
				break
			}
			rest = after
			if typ == 'X' {
				return
			}
			out = c.answer(out, typ, body)
		}
		in = in[:copy(in[:cap(in)], rest)]
		if len(out) == 0 {
			continue
		}
		if _, err := nc.Write(out); err != nil {
			return
		}
	}
}

func (c *cannedServer) answer(out []byte, typ byte, body []byte) []byte {
	switch typ {
	case 'Q':
		switch {
		case body[0] == 0:
			out = wire.AppendEmptyQuery(out)
		case bytes.HasPrefix(body, []byte("SELECT v")):
			out = append(append(out, c.columns...), c.rows...)
		default:
			out = wire.AppendCommandComplete(out, "SET")
		}
		out = wire.AppendReadyForQuery(out, 'I')
	case 'P':
		out = wire.AppendParseComplete(out)
	case 'B':
		out = wire.AppendBindComplete(out)
	case 'D':
		if body[0] == 'S' {
			out = append(out, 't', 0, 0, 0, 6, 0, 0)
		}
		out = append(out, c.columns...)
	case 'E':
		out = append(out, c.rows...)
	case 'C':
		out = wire.AppendCloseComplete(out)
	case 'S':
		out = wire.AppendReadyForQuery(out, 'I')
	}
	return out
}

// rowDescription is one column.
func rowDescription(name string, oid uint32) []byte {
	body := append([]byte{0, 1}, name...)
	body = append(body, 0, 0, 0, 0, 0, 0, 0)
	body = binary.BigEndian.AppendUint32(body, oid)
	body = append(body, 0, 4, 0xff, 0xff, 0xff, 0xff, 0, 0)
	return wire.AppendFrame(nil, 'T', body)
}

// dataRow is one value.
func dataRow(value string) []byte {
	body := binary.BigEndian.AppendUint32([]byte{0, 1}, uint32(len(value)))
	return wire.AppendFrame(nil, 'D', append(body, value...))
}

// cannedClient asks the same thing again and again with buffers of its own.
type cannedClient struct {
	t   testing.TB
	nc  net.Conn
	buf []byte
}

// join logs a client in.
func (r *rig) join(params ...wire.Param) *cannedClient {
	r.t.Helper()
	nc, err := net.Dial("tcp", r.addr())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = nc.Close() })
	c := &cannedClient{t: r.t, nc: nc, buf: make([]byte, 64<<10)}
	params = append([]wire.Param{{Name: "user", Value: "app"}, {Name: "database", Value: "app"}}, params...)
	c.ask(wire.AppendStartup(nil, wire.Version30, params), 1)
	return c
}

// ask sends a request and reads up to its nth ReadyForQuery. It returns how many bytes came.
func (c *cannedClient) ask(request []byte, ready int) (got int) {
	if _, err := c.nc.Write(request); err != nil {
		c.t.Errorf("write: %v", err)
		return 0
	}
	have, skip := 0, 0 // bytes at the start of buf; bytes of the frame at hand that are still to come
	for ready > 0 {
		n, err := c.nc.Read(c.buf[have:])
		if err != nil {
			c.t.Errorf("read: %v", err)
			return got
		}
		got += n
		b := c.buf[:have+n]
		for {
			if skip >= len(b) {
				skip -= len(b)
				b = nil
				break
			}
			b = b[skip:]
			skip = 0
			if len(b) < wire.HeaderLen {
				break
			}
			typ, size, ok := wire.Header(b)
			if !ok || typ == 'E' {
				c.t.Errorf("an error, or not the protocol: %q", b)
				return got
			}
			if typ == 'Z' {
				ready--
			}
			skip = size
		}
		have = copy(c.buf, b)
	}
	return got
}
