package pool

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// maxDials is how many connections one pool dials at the same time.
const maxDials = 4

// Pool is the server connections of one (database, user) pair.
type Pool struct {
	set            *Set
	database, user string
	cfg            Config
	dial           Dialer
	cancel         Canceler
	limits         [2]*Limit // of the database and of the user
	Counters       Counters

	// guarded by set.mu
	lists      [states]list
	connecting int
	waiters    waiters
	params     []wire.Param // what the last dialled server reported
	failedAt   int64        // loop time of the last failed dial, 0 when the last one went well
	failure    error
}

// Counters are a pool's totals since the start. Sessions add, scrapes read.
type Counters struct {
	Queries      atomic.Int64 // requests answered by a ReadyForQuery
	Transactions atomic.Int64 // times a connection was given back
	Received     atomic.Int64 // bytes from clients
	Sent         atomic.Int64 // bytes to clients
	Waits        atomic.Int64 // acquisitions that had to wait
	WaitTime     atomic.Int64 // nanoseconds spent waiting
	Dials        atomic.Int64
	DialFailures atomic.Int64
	Errors       atomic.Int64 // ErrorResponses passed on from the server
}

var errShutdown = errors.New("pool: shutting down")

// Name is database/user, for logs.
func (p *Pool) Name() string { return p.database + "/" + p.user }

// Database is the name clients connect to.
func (p *Pool) Database() string { return p.database }

// User is whom clients log in as.
func (p *Pool) User() string { return p.user }

// Config is what the pool was made with.
func (p *Pool) Config() Config { return p.cfg }

// Params is what the server reported about itself when it was last dialled; nil before the first time.
func (p *Pool) Params() []wire.Param {
	p.set.mu.Lock()
	defer p.set.mu.Unlock()
	return p.params
}

// Stats is a snapshot of a pool.
type Stats struct {
	Database, User                             string
	Mode                                       Mode
	Connecting, Idle, Busy, Resetting, Waiting int
	OldestWait                                 time.Duration
	Counters                                   *Counters
}

// Stats returns the pool's numbers. now is the time of any loop.
func (p *Pool) Stats(now int64) Stats {
	p.set.mu.Lock()
	defer p.set.mu.Unlock()
	s := Stats{
		Database: p.database, User: p.user, Mode: p.cfg.Mode,
		Connecting: p.connecting, Idle: p.lists[Idle].n, Busy: p.lists[Busy].n, Resetting: p.lists[Resetting].n,
		Waiting: p.waiters.n, Counters: &p.Counters,
	}
	if w := p.waiters.head; w != nil {
		s.OldestWait = time.Duration(now - w.since)
	}
	return s
}

// total is every connection that exists or is being made. The caller holds mu.
func (p *Pool) total() int {
	return p.connecting + p.lists[Idle].n + p.lists[Busy].n + p.lists[Resetting].n
}

// mayGrow reports whether one more connection is within the limits. For a client that waits (needed) room is made under
// a shared limit. The caller holds mu.
func (p *Pool) mayGrow(now int64, needed bool) bool {
	size := p.cfg.Size
	if w := p.waiters.head; p.cfg.Reserve > 0 && w != nil && now-w.since >= int64(p.cfg.ReserveAfter) {
		size += p.cfg.Reserve
	}
	if p.set.closed || p.connecting >= maxDials || p.total() >= size {
		return false
	}
	for i, l := range p.limits {
		if l.full() && (!needed || !p.set.evict(i, l)) {
			return false
		}
	}
	return true
}

// evict makes room under a shared limit by closing another pool's longest idle connection. The caller holds mu.
func (s *Set) evict(which int, l *Limit) bool {
	var oldest *Conn
	for _, p := range s.pools {
		c := p.lists[Idle].head
		if p.limits[which] == l && c != nil && p.waiters.n == 0 && (oldest == nil || c.idleSince < oldest.idleSince) {
			oldest = c
		}
	}
	if oldest == nil {
		return false
	}
	s.move(oldest, Closed)
	oldest.closeOnLoop()
	return true
}

// grow dials as many connections as clients wait for and limits allow. The caller holds mu.
func (p *Pool) grow(l *loop.Loop) {
	for p.connecting < p.waiters.n && p.mayGrow(l.Now(), true) {
		p.startDial(l)
	}
}
