package pool

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/loop"
)

// startDial begins one connection in the background. The caller holds mu.
func (p *Pool) startDial(l *loop.Loop) {
	p.connecting++
	p.source.dials++
	for _, limit := range p.limits {
		limit.add(1)
	}
	p.Counters.Dials.Add(1)
	var srv *dial.Server
	var err error
	from, timeout := p.source, p.Config().ConnectTimeout
	l.Offload(func() {
		ctx, stop := p.set.ctx, context.CancelFunc(func() {})
		if timeout > 0 {
			ctx, stop = context.WithTimeout(ctx, timeout)
		}
		defer stop()
		srv, err = from.dial(ctx)
	}, func() { p.dialled(l, from, srv, err) })
}

// dialled takes a finished dial on its loop.
func (p *Pool) dialled(l *loop.Loop, from *source, srv *dial.Server, err error) {
	var nc *loop.Conn
	var local, remote netip.AddrPort
	if err == nil {
		nc, err = adopt(srv)
	}
	if err != nil {
		p.dialFailed(l, from, err)
		return
	}
	local, remote = addrPort(nc.LocalAddr()), addrPort(nc.RemoteAddr())
	p.set.mu.Lock()
	p.connecting--
	from.dials--
	if from == p.source {
		p.failedAt, p.failure = 0, nil
		p.params = srv.Params
	}
	c := p.set.newConn(p, from, srv, nc, l.Now())
	c.local, c.remote = local, remote
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

// addrPort is the address of an end of a TCP connection; of another it is invalid.
func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}

// dialFailed tells the waiters, unless the pool has other connections that will come free: then they go on waiting,
// and the next release or the janitor tries again.
func (p *Pool) dialFailed(l *loop.Loop, from *source, err error) {
	p.Counters.DialFailures.Add(1)
	p.set.log.Warn("cannot connect to the server", "pool", p.Name(), "error", err)
	p.set.mu.Lock()
	defer p.set.mu.Unlock()
	p.connecting--
	from.dials--
	defer p.set.tell()
	for _, limit := range p.limits {
		limit.add(-1)
	}
	if from != p.source { // it says nothing of where the pool dials by now
		p.grow(l)
		return
	}
	p.failedAt, p.failure = l.Now(), err
	if p.total() == 0 && p.halt == running {
		p.failWaiters(err)
	}
}
