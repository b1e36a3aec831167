package proxy

import (
	"cmp"
	"context"
	"maps"
	"net"
	"reflect"
	"runtime/metrics"
	"slices"
	"strings"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/admin"
)

// consoleState collects what the console is to show. Few do so at once: with many clients there is much of it.
func (srv *Server) consoleState(ctx context.Context, want admin.Part) (st admin.State, err error) {
	select {
	case srv.console.viewing <- struct{}{}:
		defer func() { <-srv.console.viewing }()
	case <-ctx.Done():
		return st, context.Cause(ctx)
	}
	if want&admin.Counts != 0 {
		srv.countAll(&st)
	}
	if want&admin.Totals != 0 {
		st.Stats = srv.consoleStats()
	}
	if want&admin.PauseStates != 0 {
		st.Paused, st.Suspended, _ = srv.pools.Halted()
	}
	if h := srv.console.hooks.Settings; want&admin.Settings != 0 && h != nil {
		st.Config = h()
	}
	if want&admin.MemoryUse != 0 {
		st.Memory = srv.memory()
	}
	if want&admin.Sockets != 0 {
		err = srv.sockets(ctx, &st)
	}
	if want&admin.Texts != 0 && err == nil {
		st.Statements, err = srv.statements(ctx)
	}
	return st, err
}

// head count of a pool's clients, for a (database, user) that may have an old pool beside the new one.
type headcount struct {
	clients int
	stats   pool.Stats
}

// countAll fills what is counted of databases, pools and users.
func (srv *Server) countAll(st *admin.State) {
	sn := srv.snapshot()
	now := srv.group.Loops()[0].Clock()
	srv.mu.Lock()
	pools := make(map[poolKey]headcount)
	for p, t := range srv.tenancies {
		h := pools[t.key]
		h.clients += t.clients
		h.stats = merged(h.stats, p.Stats(now))
		pools[t.key] = h
	}
	disabled := maps.Clone(srv.console.disabled)
	consoles := len(srv.console.clients)
	srv.mu.Unlock()
	st.LoginClients = srv.gate.inside()
	st.Pools = append(poolRows(pools), admin.Pool{
		Database: admin.Database, User: admin.Database, Active: consoles, Mode: string(pool.StatementMode),
	})
	st.Users = userRows(sn, pools)
	st.Databases = srv.databaseRows(sn, pools)
	for i := range st.Databases {
		st.Databases[i].Disabled = disabled[st.Databases[i].Name]
	}
	st.Databases = append(st.Databases, srv.consoleRow(consoles))
}

// merged adds up the pools that one (database, user) has after a reload.
func merged(a, b pool.Stats) pool.Stats {
	b.Connecting += a.Connecting
	b.Idle += a.Idle
	b.Busy += a.Busy
	b.Resetting += a.Resetting
	b.Waiting += a.Waiting
	b.Canceling += a.Canceling
	b.Fenced += a.Fenced
	b.OldestWait = max(a.OldestWait, b.OldestWait)
	if a.Counters != nil && b.Retired {
		b.Mode = a.Mode
	}
	return b
}

func byName(a, b poolKey) int {
	return cmp.Or(strings.Compare(a.database, b.database), strings.Compare(a.user, b.user))
}

func poolRows(pools map[poolKey]headcount) []admin.Pool {
	var all []admin.Pool
	for _, key := range slices.SortedFunc(maps.Keys(pools), byName) {
		h := pools[key]
		s := h.stats
		all = append(all, admin.Pool{
			Database: key.database, User: key.user, Active: max(h.clients-s.Waiting, 0), Waiting: s.Waiting,
			CancelsActive: s.Canceling, ServersCanceling: s.Canceling, ServersCanceled: s.Fenced,
			ServersActive: s.Busy, ServersIdle: s.Idle, ServersTested: max(s.Resetting-s.Fenced, 0), ServersLogin: s.Connecting,
			MaxWait: s.OldestWait, Mode: string(s.Mode),
		})
	}
	return all
}

func (h headcount) connections() int {
	return h.stats.Connecting + h.stats.Idle + h.stats.Busy + h.stats.Resetting
}

// userRows has a row for each user of the configuration, and for each that has a pool.
func userRows(sn *snapshot, pools map[poolKey]headcount) []admin.User {
	users := make(map[string]admin.User)
	for name, u := range sn.users {
		users[name] = admin.User{Name: name, MaxConnections: u.MaxConnections}
	}
	for key, h := range pools {
		u := users[key.user]
		u.Name = key.user
		u.Clients += h.clients
		u.Connections += h.connections()
		users[key.user] = u
	}
	return slices.SortedFunc(maps.Values(users), func(a, b admin.User) int { return strings.Compare(a.Name, b.Name) })
}

// databaseRows has a row for each database of the configuration, and for each that "*" let somebody into.
func (srv *Server) databaseRows(sn *snapshot, pools map[poolKey]headcount) []admin.Pooled {
	_, _, paused := srv.pools.Halted()
	rows := make(map[string]admin.Pooled)
	row := func(name string, db *Database) {
		host, port := db.Server.Endpoint()
		rows[name] = admin.Pooled{
			Name: name, Host: host, Port: port, Database: cmp.Or(db.Server.Database(), db.Server.User()), ForceUser: db.Server.User(),
			PoolSize: db.Pool.Size, MinPoolSize: db.Pool.MinSize, Reserve: db.Pool.Reserve, Lifetime: db.Pool.Lifetime,
			Mode: string(db.Pool.Mode), MaxConnections: db.MaxConnections, Paused: paused[name],
		}
	}
	for name, db := range sn.databases {
		if name != "*" {
			row(name, db)
		}
	}
	for key, h := range pools {
		if _, known := rows[key.database]; !known && sn.others != nil {
			row(key.database, sn.others)
			r := rows[key.database]
			r.Database = key.database
			rows[key.database] = r
		}
		r := rows[key.database]
		r.Name = key.database
		r.Clients += h.clients
		r.Connections += h.connections()
		rows[key.database] = r
	}
	return slices.SortedFunc(maps.Values(rows), func(a, b admin.Pooled) int { return strings.Compare(a.Name, b.Name) })
}

// consoleRow is the console itself, as PgBouncer lists it.
func (srv *Server) consoleRow(clients int) admin.Pooled {
	return admin.Pooled{
		Name: admin.Database, Port: srv.port(), Database: admin.Database, ForceUser: admin.Database, Mode: string(pool.StatementMode),
		MaxClients: maxConsoles, Clients: clients,
	}
}

// port is the one that clients connect to, of several the first.
func (srv *Server) port() int {
	for _, addr := range srv.Addrs() {
		if tcp, ok := addr.(*net.TCPAddr); ok {
			return tcp.Port
		}
	}
	return 0
}

// memory is what takes it, in kilobytes where it is not counted by pieces.
func (srv *Server) memory() []admin.Memory {
	srv.mu.Lock()
	clients, pools := len(srv.sessions), len(srv.tenancies)
	srv.mu.Unlock()
	servers := 0
	for _, p := range srv.pools.Pools() {
		s := p.Stats(0)
		servers += s.Idle + s.Busy + s.Resetting
	}
	of := func(v any) int { return int(reflect.TypeOf(v).Size()) }
	const kilo = 1 << 10
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(samples)
	in := func(i int) int { return int(samples[i].Value.Uint64() / kilo) }
	return []admin.Memory{
		{Name: "client", Size: of(session{}), Used: clients},
		{Name: "server_connection", Size: of(pool.Conn{}), Used: servers},
		{Name: "pool", Size: of(pool.Pool{}), Used: pools},
		{Name: "statement_text", Size: of(pool.Statement{}), Used: srv.texts.Len()},
		{Name: "heap_kilobytes", Size: kilo, Used: in(0), Free: in(1) + in(2)},
		{Name: "stack_kilobytes", Size: kilo, Used: in(3)},
		{Name: "total_kilobytes", Size: kilo, Used: in(4) - in(5)},
	}
}
