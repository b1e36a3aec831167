package pool

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/loop"
)

// Set is every pool of the process. Its mutex guards the lists, the waiters and the counts of all of them.
type Set struct {
	ctx   context.Context // ends when the process does: dials and cancels under way end with it
	stop  context.CancelFunc
	log   *slog.Logger
	loops func() *loop.Loop // where a connection nobody waits for is put
	rand  *rand.Rand        // jitter; guarded by mu

	mu       sync.Mutex
	pools    []*Pool
	closed   bool
	lastConn uint64
	halts    halts
	watchers []*watcher
}

// NewSet makes an empty set. pick names the loop for a connection that nobody waits for; seed fixes the jitter.
func NewSet(ctx context.Context, log *slog.Logger, pick func() *loop.Loop, seed uint64) *Set {
	ctx, stop := context.WithCancel(ctx)
	return &Set{ctx: ctx, stop: stop, log: log, loops: pick, rand: rand.New(rand.NewPCG(seed, seed))}
}

// Limit is a number of server connections that several pools share: a database's or a user's maximum. A nil Limit
// has none.
type Limit struct {
	Max  int
	used int
}

func (l *Limit) full() bool { return l != nil && l.Max > 0 && l.used >= l.Max }

func (l *Limit) add(n int) {
	if l != nil {
		l.used += n
	}
}

// Options are what a pool is made of.
type Options struct {
	Database, User string
	Config         Config
	Dial           Dialer
	Cancel         Canceler
	ByDatabase     *Limit
	ByUser         *Limit
}

// NewPool adds a pool. Nothing is dialled until somebody asks, or the janitor fills it to its minimum.
func (s *Set) NewPool(o Options) *Pool {
	p := &Pool{
		set: s, database: o.Database, user: o.User, source: &source{dial: o.Dial, cancel: o.Cancel},
		limits: [2]*Limit{o.ByDatabase, o.ByUser},
	}
	p.cfg.Store(&o.Config)
	s.mu.Lock()
	p.halt = s.halts.of(p.database)
	s.pools = append(s.pools, p)
	s.mu.Unlock()
	return p
}

// Pools returns the pools as they are now.
func (s *Set) Pools() []*Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Pool(nil), s.pools...)
}

// Close ends every dial and has every connection closed that nobody owns; owned ones are closed when released.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	var idle []*Conn
	for _, p := range s.pools {
		p.failWaiters(errShutdown)
		for p.lists[Idle].tail != nil {
			c := p.lists[Idle].tail
			s.move(c, Closed)
			idle = append(idle, c)
		}
	}
	s.mu.Unlock()
	s.stop() // after the waiters have been told: a dial that ends by it would tell them something else
	for _, c := range idle {
		c.closeOnLoop()
	}
}

// move is the only function that changes a Conn's state. The caller holds mu.
func (s *Set) move(c *Conn, to State) {
	p := c.pool
	if c.state != Connecting {
		p.lists[c.state].remove(c)
	}
	c.state = to
	if to != Closed {
		p.lists[to].push(c)
	} else {
		for _, l := range p.limits {
			l.add(-1)
		}
	}
	if len(s.watchers) > 0 && (to == Closed || to == Idle) {
		s.tell()
	}
}

// lend passes c to a session. The caller holds mu.
func (s *Set) lend(c *Conn, now int64) {
	s.move(c, Busy)
	c.lent = now
	c.pool.lendings++
}

// jittered takes up to a tenth off d, so that connections made together do not end together.
func (s *Set) jittered(d int64) int64 { return d - s.rand.Int64N(d/10+1) }

// newConn makes a Conn of a dialled server. The caller holds mu; the count that connecting held passes to it.
func (s *Set) newConn(p *Pool, from *source, srv *dial.Server, nc *loop.Conn, now int64) *Conn {
	s.lastConn++
	return &Conn{
		id: s.lastConn, Net: nc, tls: srv.TLS, peer: srv, pool: p, source: from, born: now, expires: p.endOfLife(now), idleSince: now,
	}
}

// closeOnLoop closes an idle connection's socket where it lives. The state is Closed.
func (c *Conn) closeOnLoop() {
	c.Net.Loop().Post(func() {
		_ = c.Net.Close()
		c.Statements.Clear()
	})
}
