package pool

import (
	"context"
	"fmt"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/loop"
)

// startDial begins one connection in the background. The caller holds mu.
func (p *Pool) startDial(l *loop.Loop) {
	p.connecting++
	for _, limit := range p.limits {
		limit.add(1)
	}
	p.Counters.Dials.Add(1)
	var srv *dial.Server
	var err error
	l.Offload(func() {
		ctx, stop := p.set.ctx, context.CancelFunc(func() {})
		if p.cfg.ConnectTimeout > 0 {
			ctx, stop = context.WithTimeout(ctx, p.cfg.ConnectTimeout)
		}
		defer stop()
		srv, err = p.dial(ctx)
	}, func() { p.dialled(l, srv, err) })
}

// dialled takes a finished dial on its loop.
func (p *Pool) dialled(l *loop.Loop, srv *dial.Server, err error) {
	var nc *loop.Conn
	if err == nil {
		nc, err = adopt(srv)
	}
	if err != nil {
		p.dialFailed(l, err)
		return
	}
	p.set.mu.Lock()
	p.connecting--
	p.failedAt, p.failure = 0, nil
	p.params = srv.Params
	c := p.set.newConn(p, srv, nc, l.Now())
	p.set.move(c, Resetting) // counted until it is given away, or another loop would dial one too many
	closed := p.set.closed
	p.set.mu.Unlock()
	if err := l.Register(nc, c); err != nil || closed {
		p.set.mu.Lock()
		p.set.move(c, Closed)
		p.set.mu.Unlock()
		_ = nc.Close()
		return
	}
	p.give(c)
	p.set.mu.Lock()
	p.grow(l)
	p.set.mu.Unlock()
}

// adopt takes the socket of a dialled server from the runtime's poller.
func adopt(srv *dial.Server) (*loop.Conn, error) {
	nc, ok := srv.Conn.(*loop.Conn)
	if !ok {
		return nil, fmt.Errorf("pool: dialled a %T, not a loop.Conn", srv.Conn)
	}
	if err := nc.Adopt(); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return nc, nil
}

// dialFailed tells the waiters, unless the pool has other connections that will come free: then they go on waiting,
// and the next release or the janitor tries again.
func (p *Pool) dialFailed(l *loop.Loop, err error) {
	p.Counters.DialFailures.Add(1)
	p.set.log.Warn("cannot connect to the server", "pool", p.Name(), "error", err)
	p.set.mu.Lock()
	defer p.set.mu.Unlock()
	p.connecting--
	for _, limit := range p.limits {
		limit.add(-1)
	}
	p.failedAt, p.failure = l.Now(), err
	if p.total() == 0 {
		p.failWaiters(err)
	}
}
