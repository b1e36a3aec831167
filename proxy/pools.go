package proxy

import (
	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// poolKey is what clients share a pool by.
type poolKey struct{ database, user string }

// tenancy is a pool and the clients it has. The server's mu guards it.
type tenancy struct {
	key     poolKey
	pool    *pool.Pool
	plan    plan
	clients int
	why     *wire.Error // the clients are to leave, for this reason; nil: they may stay
}

// poolFor is the pool of key, made when first asked for, or why there is none. The caller holds mu.
func (srv *Server) poolFor(key poolKey) (*pool.Pool, *wire.Error) {
	if p := srv.byName[key]; p != nil {
		return p, nil
	}
	pl, refusal := srv.snapshot().plan(key)
	if refusal != nil {
		return nil, refusal
	}
	p := srv.pools.NewPool(pool.Options{
		Database: key.database, User: key.user, Config: pl.pool, Dial: pl.server.Dial, Cancel: pl.cancel,
		ByDatabase: srv.limit(limitKey{database: key.database}), ByUser: srv.limit(limitKey{user: key.user}),
	})
	srv.byName[key] = p
	srv.tenancies[p] = &tenancy{key: key, pool: p, plan: pl}
	return p, nil
}

// limitKey is what pools share a limit by: one of the two is empty.
type limitKey struct{ database, user string }

// limit is the one that pools share. The caller holds mu.
func (srv *Server) limit(key limitKey) *pool.Limit {
	l := srv.limits[key]
	if l == nil {
		l = &pool.Limit{Max: srv.snapshot().most(key)}
		srv.limits[key] = l
	}
	return l
}

// moveIn and moveOut count a pool's clients. The last one of a pool that gets no new ones takes it along. The caller
// holds mu.
func (srv *Server) moveIn(p *pool.Pool) {
	if t := srv.tenancies[p]; t != nil {
		t.clients++
	}
}

func (srv *Server) moveOut(p *pool.Pool) {
	t := srv.tenancies[p]
	if t == nil {
		return
	}
	if t.clients--; t.clients == 0 && srv.byName[t.key] != p {
		srv.demolish(t)
	}
}

func (srv *Server) demolish(t *tenancy) {
	delete(srv.tenancies, t.pool)
	t.pool.Close()
	if srv.byName[t.key] == nil {
		srv.proofs.drop(t.key)
	}
}

// retire takes a pool off the name its clients know it by: who comes next gets another, or none. Those it has stay to the
// end of their transaction, or where why is nil for as long as they like. The caller holds mu.
func (srv *Server) retire(t *tenancy, why *wire.Error) {
	if srv.byName[t.key] == t.pool {
		delete(srv.byName, t.key)
	}
	t.why = why
	if t.clients == 0 {
		srv.demolish(t)
		return
	}
	t.pool.Retire()
}
