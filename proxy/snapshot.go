package proxy

import (
	"context"
	"net"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// snapshot is a configuration and what was made of it. It is never changed: a reload puts another in its place.
type snapshot struct {
	cfg       Config
	auth      *auth
	databases map[string]*Database
	others    *Database // takes the names that are not in databases; nil: none does
	users     map[string]*User
}

// newSnapshot checks cfg.
func (srv *Server) newSnapshot(cfg Config) (*snapshot, error) {
	sn := &snapshot{cfg: cfg, databases: make(map[string]*Database), users: make(map[string]*User)}
	for i := range cfg.Databases {
		db := &cfg.Databases[i]
		sn.databases[db.Name] = db
	}
	sn.others = sn.databases["*"]
	for i := range cfg.Users {
		u := &cfg.Users[i]
		sn.users[u.Name] = u
	}
	var err error
	if sn.auth, err = srv.newAuth(&sn.cfg); err != nil {
		return nil, err
	}
	return sn, nil
}

// admits reports whether user may have a pool. Who may log in is for the login to say; this is about those who were
// there when the configuration changed.
func (sn *snapshot) admits(user string) bool {
	return len(sn.users) == 0 || sn.users[user] != nil || sn.auth.asks
}

func (sn *snapshot) database(name string) *Database {
	if db := sn.databases[name]; db != nil {
		return db
	}
	return sn.others
}

// plan is what the pool of one (database, user) is to be.
type plan struct {
	server dial.Config
	pool   pool.Config
}

// plan returns the plan for a pool, or why there is to be none.
func (sn *snapshot) plan(key poolKey) (plan, *wire.Error) {
	db := sn.database(key.database)
	if db == nil {
		return plan{}, &wire.Error{
			Severity: "FATAL", Code: wire.CodeInvalidCatalogName,
			Message: "database \"" + key.database + "\" does not exist",
		}
	}
	if !sn.admits(key.user) {
		return plan{}, &wire.Error{
			Severity: "FATAL", Code: wire.CodeInvalidAuthorization, Message: "role \"" + key.user + "\" does not exist",
		}
	}
	p := plan{server: sn.server(db, key), pool: db.Pool}
	p.server.Wrap = func(nc net.Conn) net.Conn { return loop.Wrap(nc) }
	return p, nil
}

// most is the limit of server connections of a database or a user, 0 without.
func (sn *snapshot) most(key limitKey) int {
	if u := sn.users[key.user]; u != nil {
		return u.MaxConnections
	}
	if db := sn.database(key.database); db != nil && key.user == "" {
		return db.MaxConnections
	}
	return 0
}

// cancel sends a cancel request to the server behind a connection made with this plan.
func (p plan) cancel(ctx context.Context, s *dial.Server) error {
	return p.server.Cancel(ctx, s.Addr, s.PID, s.Secret)
}
