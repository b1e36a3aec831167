package notify

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// link is one connection. Its reader owns the buffer.
type link struct {
	conn   net.Conn // to read and write: TLS, or the socket
	socket net.Conn
	pid    uint32
	in     []byte
	from   int          // what is read of in
	heard  atomic.Int64 // when something came last, in unix nanoseconds
	gone   chan struct{}
	err    error // why it is gone, once it is
}

// Bounds of what a server may say: a notification has at most 8,000 bytes, an error may be long.
const (
	inputSize  = 16 << 10
	maxMessage = 1 << 20
)

func newLink(srv *dial.Server) *link {
	k := &link{conn: srv.Conn, socket: srv.Conn, pid: srv.PID, in: make([]byte, 0, inputSize), gone: make(chan struct{})}
	if srv.TLS != nil {
		k.conn = srv.TLS
	}
	return k
}

// next is the next message; body is good until the call after.
func (k *link) next() (typ byte, body []byte, err error) {
	for {
		need := wire.HeaderLen
		if rest := k.in[k.from:]; len(rest) >= need {
			typ, size, ok := wire.Header(rest)
			if !ok || size > maxMessage {
				return 0, nil, errGarbled
			}
			if size <= len(rest) {
				k.from += size
				return typ, rest[wire.HeaderLen:size], nil
			}
			need = size
		}
		if err := k.fill(need); err != nil {
			return 0, nil, err
		}
	}
}

// whole reports whether next would not wait.
func (k *link) whole() bool {
	_, _, _, ok := wire.Next(k.in[k.from:])
	return ok
}

// fill reads once, with room for need bytes.
func (k *link) fill(need int) error {
	kept := copy(k.in, k.in[k.from:])
	k.in, k.from = k.in[:kept], 0
	if need > cap(k.in) {
		k.in = append(make([]byte, 0, need), k.in...)
	}
	n, err := k.conn.Read(k.in[kept:cap(k.in)])
	k.in = k.in[:kept+n]
	if n > 0 {
		k.heard.Store(time.Now().UnixNano())
		return nil
	}
	return err
}

// setUp makes the session one that may be idle for ever, and speaks the clients' encoding. Settings that this server does
// not have are left alone; nothing depends on its search_path.
func (k *link) setUp(ctx context.Context, encoding string, limit time.Duration) error {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	if strings.Trim(encoding, plain) != "" {
		return &wire.Error{Code: "22023", Message: "invalid client encoding"}
	}
	stop := context.AfterFunc(ctx, func() { _ = k.socket.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = k.socket.SetDeadline(time.Now().Add(limit))
	const timeouts = "{statement_timeout,lock_timeout,transaction_timeout,idle_session_timeout,idle_in_transaction_session_timeout}"
	_, err := k.conn.Write(wire.AppendQuery(nil, `SELECT pg_catalog.set_config('client_encoding', '`+encoding+`', false),
		pg_catalog.set_config('application_name', 'sarnic listener', false);
		SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
		WHERE name OPERATOR(pg_catalog.=) ANY ('`+timeouts+`'::pg_catalog.text[])`))
	for err == nil {
		var typ byte
		var body []byte
		if typ, body, err = k.next(); err != nil {
			break
		}
		switch typ {
		case 'E':
			return saidIn(body)
		case 'Z':
			return k.socket.SetDeadline(time.Time{})
		}
	}
	return err
}

// saidIn is the error in an ErrorResponse.
func saidIn(body []byte) error {
	said, ok := wire.ParseError(body)
	if !ok {
		return errGarbled
	}
	return said
}

// maxStretch is how many notifications are queued before others may have mu.
const maxStretch = 4096

// listen reads until the connection ends, and says why.
func (h *Hub) listen(k *link) error {
	var out calls
	for {
		typ, body, err := k.next()
		if err != nil {
			return err
		}
		h.mu.Lock()
		until := h.stats.Delivered + maxStretch
		for err = h.hear(k, typ, body, &out); err == nil && h.stats.Delivered < until && k.whole(); {
			if typ, body, err = k.next(); err == nil {
				err = h.hear(k, typ, body, &out)
			}
		}
		h.mu.Unlock()
		out.make()
		if err != nil {
			return err
		}
	}
}

// hear takes one message. The caller holds mu.
func (h *Hub) hear(k *link, typ byte, body []byte, out *calls) error {
	if h.link != k {
		return nil // nobody listens any more
	}
	switch typ {
	case 'A':
		pid, name, payload, ok := wire.Notification(body)
		if !ok {
			return errGarbled
		}
		h.deliver(pid, name, payload, out)
	case 'Z':
		if status, ok := wire.ReadyStatus(body); !ok || status != 'I' {
			return errGarbled
		}
		return h.ready(out)
	case 'E':
		said, ok := wire.ParseError(body)
		switch {
		case !ok:
			return errGarbled
		case said.Severity == "FATAL" || said.Severity == "PANIC":
			return said
		}
		return h.refusedBy(said)
	case 'C', 'I', 'N', 'S': // done, empty, notices, settings
	default:
		return errGarbled
	}
	return nil
}

// farewell is how long saying goodbye to a server may take.
const farewell = time.Second

// hangUp closes the connection; a server that listens is told so.
func (k *link) hangUp(politely bool) {
	if politely {
		_ = k.socket.SetWriteDeadline(time.Now().Add(farewell))
		_, _ = k.conn.Write(wire.AppendTerminate(nil))
	}
	_ = k.socket.Close()
}
