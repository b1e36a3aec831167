package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// patience is how long anything may take before it counts as stuck.
const patience = 60 * time.Second

// session is one client connection of a worker. The worker's goroutine owns it; chaos may only cancel it and cut it.
type session struct {
	conn     *pgconn.PgConn
	app      string            // its application_name: other clients must not see it
	prepared map[string]copyOf // its named statements
	asked    time.Time         // when the request under way was sent
	did      *recent
	random   *rand.Rand
	cut      atomic.Bool // chaos has closed the socket: what is lost is our own doing
	cancels  cancels
}

// copyOf is what a client knows of a named statement.
type copyOf uint8

const (
	notThere copyOf = iota
	there
	doubtful // a Close that failed: it may be there or not
)

// cancels tells whether a cancel request to the session was under way at some time.
type cancels struct {
	mu       sync.Mutex
	underWay int
	ended    time.Time // of the last one
}

func (c *cancels) begin() {
	c.mu.Lock()
	c.underWay++
	c.mu.Unlock()
}

func (c *cancels) end() {
	c.mu.Lock()
	c.underWay--
	c.ended = time.Now()
	c.mu.Unlock()
}

// since reports whether one was under way at t or after it, and when the last ended.
func (c *cancels) since(t time.Time) (was bool, ended time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.underWay > 0 || c.ended.After(t), c.ended
}

// clientConfig is how a client logs in to the proxy at addr.
func clientConfig(addr string) (*pgconn.Config, error) {
	return pgconn.ParseConfig(fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", user, password, addr, database))
}

// logIn makes a session. With an app it asks for settings of its own, which sarnic has to apply to server connections.
func logIn(
	ctx context.Context, base *pgconn.Config, app string, random *rand.Rand, did *recent, notice func(),
) (*session, error) {
	config := base.Copy()
	if app != "" {
		config.RuntimeParams["application_name"] = app
	}
	config.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) { notice() }
	did.add("log in, application_name %q", app)
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return &session{conn: conn, app: app, prepared: make(map[string]copyOf), did: did, random: random}, nil
}

// leave logs out, and waits until pgconn has let go of a connection that is lost.
func (s *session) leave(ctx context.Context) {
	s.did.add("leave")
	_ = s.conn.Close(ctx)
	select {
	case <-s.conn.CleanupDone():
	case <-ctx.Done():
	}
}

// cutOff closes the socket under the worker's hands: with a FIN, or with a RST and whatever is unsent or unread lost.
func (s *session) cutOff(reset bool) {
	s.cut.Store(true)
	nc := s.conn.Conn()
	if tcp, ok := nc.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = nc.Close()
}

// quiet returns an error when something has come, or the end, although nothing was asked.
func (s *session) quiet() error {
	switch n, err := peek(s.conn.Conn()); {
	case s.cut.Load():
		return nil
	case err != nil:
		return wrongf("between two requests the connection failed: %v", err)
	case n == 0:
		return wrongf("between two requests the connection was closed")
	case n > 0:
		return wrongf("between two requests something came")
	}
	return nil
}
