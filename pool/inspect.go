package pool

import (
	"crypto/tls"
	"net/netip"
)

// ConnInfo is what an operator may see of a server connection.
type ConnInfo struct {
	Conn        *Conn // to tell them apart
	ID          uint64
	State       State
	PID         uint32
	Server      string // host:port or the path of a socket, as dialled
	Local       netip.AddrPort
	Remote      netip.AddrPort // invalid over a unix socket
	TLS         *tls.ConnectionState
	Born        int64 // loop time
	Lent        int64 // loop time of when it was lent last; 0: never
	CloseNeeded bool
	Statements  int // prepared on it; only of idle ones: others belong to somebody
}

// Conns lists the connections of p. Those being made are none yet.
func (p *Pool) Conns() []ConnInfo {
	p.set.mu.Lock()
	var all []ConnInfo
	for state := range p.lists {
		for c := p.lists[state].head; c != nil; c = c.next {
			all = append(all, p.info(c))
		}
	}
	p.set.mu.Unlock()
	for i := range all {
		if secure := all[i].Conn.tls; secure != nil {
			state := secure.ConnectionState()
			all[i].TLS = &state
		}
	}
	return all
}

// info is one row. The caller holds mu.
func (p *Pool) info(c *Conn) ConnInfo {
	i := ConnInfo{
		Conn: c, ID: c.id, State: c.state, PID: c.peer.PID, Server: c.peer.Addr.String(), Local: c.local, Remote: c.remote,
		Born: c.born, Lent: c.lent, CloseNeeded: c.source != p.source || p.halt == paused,
	}
	if c.state == Idle {
		i.Statements = c.Statements.Len()
	}
	return i
}

// Since is the loop time at which w began to wait.
func (w *Waiter) Since() int64 { return w.since }

// ID tells the connection from every other one there was.
func (c *Conn) ID() uint64 { return c.id }

// Lent is the loop time at which its owner got it. Its owner only.
func (c *Conn) Lent() int64 { return c.lent }

// StatementUse is how many connections have a statement, and how often those were told to use it.
type StatementUse struct {
	Servers int
	Uses    int64
}

// Plus adds two up.
func (u StatementUse) Plus(o StatementUse) StatementUse {
	return StatementUse{u.Servers + o.Servers, u.Uses + o.Uses}
}

// Count calls each for every copy on the connection. Its owner only.
func (st *Statements) Count(each func(*Statement, StatementUse)) {
	for p := st.head; p != nil; p = p.next {
		each(p.Statement, StatementUse{1, p.uses})
	}
}

// CountIdle calls each for every copy on the idle connections of p. It does not call back into the pool.
func (p *Pool) CountIdle(each func(*Statement, StatementUse)) {
	p.set.mu.Lock()
	defer p.set.mu.Unlock()
	for c := p.lists[Idle].head; c != nil; c = c.next {
		c.Statements.Count(each)
	}
}

// PastUses is how often copies of s that are gone by now were used.
func (t *Texts) PastUses(s *Statement) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return s.past
}
