package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Cancel asks the server at addr to cancel what its connection pid runs, in the same way as that connection was made,
// so that the key is not seen in plain text where the data is not. It returns when the server has closed the connection:
// from then on the signal is on its way. That says nothing about whether there was something to cancel. ctx bounds it.
func (c Config) Cancel(ctx context.Context, addr Addr, pid uint32, secret []byte) error {
	if pid == 0 || len(secret) == 0 {
		return newError(ctx, errNoKey)
	}
	if limit := c.pg.ConnectTimeout; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	conn, err := dialer().DialContext(ctx, addr.network, addr.address)
	if err != nil {
		return newError(ctx, err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := c.sendCancel(ctx, conn, addr, wire.AppendCancelRequest(nil, pid, secret)); err != nil {
		return newError(ctx, err)
	}
	return nil
}

var errNoKey = errors.New("the server gave no key to cancel with")

func (c Config) sendCancel(ctx context.Context, conn net.Conn, addr Addr, request []byte) error {
	if addr.tls != nil {
		secure, err := c.startTLS(ctx, conn, addr.tls)
		if err != nil {
			return &tlsError{err}
		}
		conn = secure
	}
	if _, err := conn.Write(request); err != nil {
		return fmt.Errorf("sending cancel request: %w", err)
	}
	_, err := io.Copy(io.Discard, conn)
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("waiting for the end of a cancel request: %w", err)
	}
	return nil // however the server closes it: it has read the request, or will never
}

func (c Config) startTLS(ctx context.Context, conn net.Conn, config *tls.Config) (*tls.Conn, error) {
	if c.pg.SSLNegotiation != "direct" {
		if _, err := conn.Write(wire.AppendSSLRequest(nil)); err != nil {
			return nil, err
		}
		var answer [1]byte
		if _, err := io.ReadFull(conn, answer[:]); err != nil {
			return nil, err
		}
		if answer[0] != 'S' {
			return nil, errors.New("server refused TLS connection")
		}
	}
	secure := tls.Client(conn, config)
	return secure, secure.HandshakeContext(ctx)
}
