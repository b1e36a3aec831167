package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/admin"
)

// chunk is how many sessions a loop looks at before its own work goes on: asking the kernel for their addresses takes a
// microsecond each.
const chunk = 128

// visit calls look for every session on its own loop, where its fields may be read. look of one loop is never called by two
// goroutines at once, look of two loops may be; where visit fails it may still be running, so what it collects is not to be
// used then.
func (srv *Server) visit(ctx context.Context, look func(w *worker, s *session)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, loopPatience, errBusy)
	defer cancel()
	srv.mu.Lock()
	byWorker := make(map[*worker][]*session)
	for _, s := range srv.sessions {
		byWorker[s.w] = append(byWorker[s.w], s)
	}
	srv.mu.Unlock()
	done := make(chan struct{}, len(byWorker))
	for w, sessions := range byWorker {
		v := &visitor{w: w, sessions: sessions, look: look, done: done, ctx: ctx}
		w.loop.Post(v.turn)
	}
	for range byWorker {
		select {
		case <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// visitor is a visit on one loop.
type visitor struct {
	w        *worker
	sessions []*session
	look     func(*worker, *session)
	done     chan<- struct{}
	ctx      context.Context // of the visit: nobody waits for what comes behind its end
}

// turn looks at one chunk and posts the next.
func (v *visitor) turn() {
	if v.ctx.Err() != nil {
		return
	}
	now := v.sessions[:min(chunk, len(v.sessions))]
	for _, s := range now {
		if !s.ended {
			v.look(v.w, s)
		}
	}
	if v.sessions = v.sessions[len(now):]; len(v.sessions) == 0 {
		v.done <- struct{}{}
		return
	}
	v.w.loop.Post(v.turn)
}

// clock turns loop time into the time of day.
type clock struct {
	loop int64
	wall time.Time
}

func (srv *Server) clock() clock { return clock{srv.group.Loops()[0].Clock(), time.Now()} }

func (c clock) time(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return c.wall.Add(time.Duration(at - c.loop))
}

// found is what the sessions of one loop show.
type found struct {
	clients []admin.Socket
	pins    []admin.Pin
	holders map[*pool.Conn]holder
}

// holder is what the session that holds a server connection shows of it.
type holder struct {
	client     uint64
	app        string
	statements int
	unsent     int
	remaining  int
}

// sockets fills Clients, Servers and Pins.
func (srv *Server) sockets(ctx context.Context, st *admin.State) error {
	c := srv.clock()
	srv.mu.Lock()
	logins := srv.console.logins.copied()
	srv.mu.Unlock()
	port := srv.port()
	all := make(map[*worker]*found)
	for _, w := range srv.workers {
		all[w] = &found{holders: make(map[*pool.Conn]holder)}
	}
	err := srv.visit(ctx, func(w *worker, s *session) {
		row := s.socket(c, port)
		row.ConnectTime = logins.of(s.owned)
		if row.RequestTime.IsZero() {
			row.RequestTime = row.ConnectTime
		}
		all[w].add(s, c, row)
	})
	if err != nil {
		return err
	}
	holders := make(map[*pool.Conn]holder)
	for _, f := range all {
		st.Clients = append(st.Clients, f.clients...)
		st.Pins = append(st.Pins, f.pins...)
		for conn, h := range f.holders {
			holders[conn] = h
		}
	}
	st.Clients = append(st.Clients, srv.consoleSockets(port)...)
	st.Servers = srv.serverSockets(c, holders)
	slices.SortFunc(st.Clients, func(a, b admin.Socket) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(st.Pins, func(a, b admin.Pin) int { return a.Since.Compare(b.Since) })
	return nil
}

// add takes a session's rows. On its loop.
func (f *found) add(s *session, c clock, row admin.Socket) {
	f.clients = append(f.clients, row)
	x := s.x
	if x == nil || x.server == nil {
		return
	}
	f.holders[x.server] = holder{
		client: row.ID, app: row.Application, statements: x.server.Statements.Len(), unsent: x.server.Net.Pending(),
		remaining: x.passOut,
	}
	if x.pins != 0 {
		f.pins = append(f.pins, admin.Pin{
			Database: row.Database, User: row.User, ClientPID: s.pid, ServerPID: x.server.PID(), Reason: x.pins.String(),
			Since: c.time(x.pinnedAt), Application: row.Application,
		})
	}
}

// socket is the session's row. On its loop.
func (s *session) socket(c clock, port int) admin.Socket {
	row := admin.Socket{
		User: s.pool.User(), Database: s.pool.Database(), State: "idle", ID: uint64(s.pid), Application: s.application(),
		Statements: len(s.stmts), Unparsed: len(s.in), Unsent: s.conn.Pending(),
	}
	row.Addr, row.Port = ends(s.conn.RemoteAddr(), port)
	row.LocalAddr, row.LocalPort = ends(s.conn.LocalAddr(), port)
	if s.tls != nil {
		state := s.tls.ConnectionState()
		row.TLS = tlsText(&state)
	}
	x := s.x
	if x == nil {
		return row
	}
	row.Remaining = x.passIn
	switch {
	case x.waiter != nil:
		row.State = "waiting"
		row.RequestTime, row.Wait = c.time(x.waiter.Since()), time.Duration(max(c.loop-x.waiter.Since(), 0))
	case x.server != nil:
		row.State = "active"
		row.RequestTime, row.Link = c.time(x.server.Lent()), x.server.ID()
	}
	return row
}

// application is the client's application_name. On its loop.
func (s *session) application() string {
	name, _ := valueOf(s.settings.list(), "application_name")
	return name
}

// ends are the columns of an address. PgBouncer writes unix for a unix socket, and the port that is in its name.
func ends(a net.Addr, port int) (string, int) {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.IP.String(), tcp.Port
	}
	return "unix", port
}

// tlsText says how a connection is encrypted; "" where it is not.
func tlsText(state *tls.ConnectionState) string {
	if state == nil {
		return ""
	}
	return tls.VersionName(state.Version) + "/" + tls.CipherSuiteName(state.CipherSuite)
}

// consoleSockets are the console's own clients.
func (srv *Server) consoleSockets(port int) []admin.Socket {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	var all []admin.Socket
	for pid, c := range srv.console.clients {
		row := admin.Socket{
			User: c.who.User, Database: admin.Database, State: "active", ID: uint64(pid), Application: c.app, ConnectTime: c.since, RequestTime: c.since,
		}
		row.Addr, row.Port = ends(c.conn.RemoteAddr(), port)
		row.LocalAddr, row.LocalPort = ends(c.conn.LocalAddr(), port)
		if c.tls != nil {
			state := c.tls.ConnectionState()
			row.TLS = tlsText(&state)
		}
		all = append(all, row)
	}
	return all
}

// serverSockets are the server connections, with what their holders know of them.
func (srv *Server) serverSockets(c clock, holders map[*pool.Conn]holder) []admin.Socket {
	var all []admin.Socket
	for _, p := range srv.pools.Pools() {
		user := srv.serverUser(p)
		for _, info := range p.Conns() {
			row := admin.Socket{
				Server: true, User: user, Database: p.Database(), State: serverState(info.State), ID: info.ID, RemotePID: info.PID,
				ConnectTime: c.time(info.Born), RequestTime: c.time(info.Lent), CloseNeeded: info.CloseNeeded, Statements: info.Statements,
				TLS: tlsText(info.TLS), Addr: info.Server,
			}
			if row.RequestTime.IsZero() {
				row.RequestTime = row.ConnectTime
			}
			row.Addr, row.Port = tcpEnd(info.Remote)
			row.LocalAddr, row.LocalPort = tcpEnd(info.Local)
			if h, ok := holders[info.Conn]; ok && info.State == pool.Busy {
				row.Link, row.Application, row.Statements, row.Unsent, row.Remaining = h.client, h.app, h.statements, h.unsent, h.remaining
			}
			all = append(all, row)
		}
	}
	slices.SortFunc(all, func(a, b admin.Socket) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func tcpEnd(a netip.AddrPort) (string, int) {
	if !a.IsValid() {
		return "unix", 0
	}
	return a.Addr().Unmap().String(), int(a.Port())
}

// serverUser is whom a pool's connections are logged in as.
func (srv *Server) serverUser(p *pool.Pool) string {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if t := srv.tenancies[p]; t != nil {
		return t.plan.server.User()
	}
	return p.User()
}

// serverState is PgBouncer's name for a state.
func serverState(s pool.State) string {
	switch s {
	case pool.Busy:
		return "active"
	case pool.Idle:
		return "idle"
	case pool.Resetting:
		return "tested"
	}
	return "new"
}

// knownStatement is a prepared statement in one pool.
type knownStatement struct {
	key  poolKey
	stmt *pool.Statement
}

// statements lists the prepared statements that clients or server connections have, those used most first.
func (srv *Server) statements(ctx context.Context) ([]admin.Statement, error) {
	perLoop := make(map[*worker]map[knownStatement]pool.StatementUse)
	for _, w := range srv.workers {
		perLoop[w] = make(map[knownStatement]pool.StatementUse)
	}
	err := srv.visit(ctx, func(w *worker, s *session) {
		key := poolKey{s.pool.Database(), s.pool.User()}
		for _, cs := range s.stmts {
			id := knownStatement{key, cs.stmt}
			perLoop[w][id] = perLoop[w][id].Plus(pool.StatementUse{})
		}
		if x := s.x; x != nil && x.server != nil {
			x.server.Statements.Count(func(st *pool.Statement, use pool.StatementUse) {
				id := knownStatement{key, st}
				perLoop[w][id] = perLoop[w][id].Plus(use)
			})
		}
	})
	if err != nil {
		return nil, err
	}
	all := make(map[knownStatement]pool.StatementUse)
	for _, some := range perLoop {
		for id, use := range some {
			all[id] = all[id].Plus(use)
		}
	}
	for _, p := range srv.pools.Pools() {
		key := poolKey{p.Database(), p.User()}
		p.CountIdle(func(st *pool.Statement, use pool.StatementUse) {
			id := knownStatement{key, st}
			all[id] = all[id].Plus(use)
		})
	}
	return srv.statementRows(all), nil
}

// maxShownText is how much of a statement's text is shown: one may have 32 MB.
const maxShownText = 4 << 10

// statementRows has a row for each. How often a statement was used is known of the whole process only.
func (srv *Server) statementRows(all map[knownStatement]pool.StatementUse) []admin.Statement {
	uses := make(map[*pool.Statement]int64)
	for id, use := range all {
		if _, met := uses[id.stmt]; !met {
			uses[id.stmt] = srv.texts.PastUses(id.stmt)
		}
		uses[id.stmt] += use.Uses
	}
	rows := make([]admin.Statement, 0, len(all))
	for id, use := range all {
		rows = append(rows, admin.Statement{
			Name: id.stmt.Name, Database: id.key.database, User: id.key.user, Uses: uses[id.stmt], Servers: use.Servers,
			Query: id.stmt.Text[:min(len(id.stmt.Text), maxShownText)],
		})
	}
	slices.SortFunc(rows, func(a, b admin.Statement) int {
		return cmp.Or(-cmp.Compare(a.Uses, b.Uses), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Database, b.Database), cmp.Compare(a.User, b.User))
	})
	return rows
}
