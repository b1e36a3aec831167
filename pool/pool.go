package pool

import (
	"errors"
	"slices"
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
	cfg            atomic.Pointer[Config] // never changed in place; Reconfigure puts another there
	limits         [2]*Limit              // of the database and of the user
	Counters       Counters

	// guarded by set.mu
	source     *source // of the connections dialled from now on
	retired    bool    // no new clients come
	deserted   bool    // and the last has gone
	halt       halt
	lendings   int64 // times a connection was lent
	lists      [states]list
	connecting int
	waiters    waiters
	params     []wire.Param // what the last dialled server reported
	failedAt   int64        // loop time of the last failed dial, 0 when the last one went well
	failure    error
}

var errShutdown = errors.New("pool: shutting down")

// Name is database/user, for logs.
func (p *Pool) Name() string { return p.database + "/" + p.user }

// Database is the name clients connect to.
func (p *Pool) Database() string { return p.database }

// User is whom clients log in as.
func (p *Pool) User() string { return p.user }

// Config is what applies now. It is asked for at every query and costs one load; the caller changes nothing in it.
func (p *Pool) Config() *Config { return p.cfg.Load() }

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
	Retired                                    bool // it serves the clients it has, and no new ones
	Lendings                                   int64
	Canceling                                  int // cancel requests under way
	Fenced                                     int // connections that wait for their end, of those resetting
	Counters                                   *Counters
}

// Stats returns the pool's numbers. now is the time of any loop.
func (p *Pool) Stats(now int64) Stats {
	p.set.mu.Lock()
	defer p.set.mu.Unlock()
	s := Stats{
		Database: p.database, User: p.user, Mode: p.Config().Mode,
		Connecting: p.connecting, Idle: p.lists[Idle].n, Busy: p.lists[Busy].n, Resetting: p.lists[Resetting].n,
		Waiting: p.waiters.n, Retired: p.retired, Lendings: p.lendings,
		Canceling: int(p.Counters.Cancels.Load()), Fenced: int(p.Counters.Fenced.Load()), Counters: &p.Counters,
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
	cfg := p.Config()
	size := cfg.Size
	if w := p.waiters.head; cfg.Reserve > 0 && w != nil && now-w.since >= int64(cfg.ReserveAfter) {
		size += cfg.Reserve
	}
	if p.set.closed || p.halt != running || p.connecting >= maxDials || p.total() >= size {
		return false
	}
	for _, l := range p.limits {
		if l.full() && (!needed || !p.set.evict(l)) {
			return false
		}
	}
	return true
}

// evict makes room under a shared limit by closing the longest idle connection of a pool where nobody waits. The caller
// holds mu.
func (s *Set) evict(l *Limit) bool {
	var oldest *Conn
	for _, p := range s.pools {
		c := p.lists[Idle].head
		if slices.Contains(p.limits[:], l) && c != nil && p.waiters.n == 0 && (oldest == nil || c.idleSince < oldest.idleSince) {
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
