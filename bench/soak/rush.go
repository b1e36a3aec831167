package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// rushTime is within what the last loop must have got a connection.
const rushTime = 20 * time.Second

// rush keeps sarnic busy until it uses every loop it may have, so that clients and server connections are on different ones
// and have to be brought together. It never goes back to fewer.
func (s *soak) rush(ctx context.Context) error {
	if s.o.loops < 2 {
		return nil
	}
	ctx, stop := context.WithTimeout(ctx, rushTime)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	for {
		// Each newcomer is put on the loop with the fewest connections, of those that are open.
		conn, err := pgconn.ConnectConfig(ctx, s.config)
		if err != nil {
			return fmt.Errorf("rush: %w", err)
		}
		h, err := conn.Hijack()
		if err != nil {
			return fmt.Errorf("rush: %w", err)
		}
		all.Go(func() { hurry(ctx, h) })
		now, err := s.proxy.sample(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("rush: %w", err)
		case now.loops[s.o.loops-1] > 0:
			return nil
		}
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return fmt.Errorf("in a rush of %s sarnic has not come to use its %d loops", rushTime, s.o.loops)
		}
	}
}

// hurry sends Syncs, which sarnic answers by itself, until ctx ends.
func hurry(ctx context.Context, h *pgconn.HijackedConn) {
	defer h.Conn.Close()
	defer context.AfterFunc(ctx, func() { _ = h.Conn.SetDeadline(time.Now()) })()
	go func() { _, _ = io.Copy(io.Discard, h.Conn) }()
	many := bytes.Repeat(wire.AppendSync(nil), 1000)
	for {
		if _, err := h.Conn.Write(many); err != nil {
			return
		}
	}
}
