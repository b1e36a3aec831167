package proxy

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/sarnicdb/sarnic/proxy/admin"
	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Hooks are what the console needs of the program around the server. What is nil cannot be had there.
type Hooks struct {
	Version  string // of the program
	Reload   func(context.Context) error
	Shutdown func(admin.ShutdownWait)                           // begins it, and returns
	Settings func() []admin.Setting                             // for SHOW CONFIG; no secrets
	Set      func(ctx context.Context, key, value string) error // one of them
}

// SetHooks gives the console what it needs. It is called before Run.
func (srv *Server) SetHooks(h Hooks) { srv.console.hooks = h }

// console is the books of its clients, and what they have changed that no pool knows.
type console struct {
	hooks    Hooks
	serving  sync.WaitGroup
	viewing  chan struct{} // bounds the snapshots made at once
	averages averages
	logins   loginTimes

	// guarded by the server's mu
	clients  map[uint32]*consoleClient
	disabled map[string]bool // databases
}

// Bounds on the console.
const (
	maxConsoles     = 64
	keptForAdmins   = 4 // of them
	maxConsoleViews = 2
)

func newConsole() console {
	return console{
		viewing: make(chan struct{}, maxConsoleViews), clients: make(map[uint32]*consoleClient), disabled: make(map[string]bool),
	}
}

// consoleClient is one client of the console. It is served on a goroutine of its own and on no loop.
type consoleClient struct {
	who    admin.Who
	conn   net.Conn // over TLS, if there is any
	tls    *tls.Conn
	app    string // its application_name
	since  time.Time
	cancel chan struct{}
	end    context.CancelFunc
}

// isConsole reports whether clients of that database are the console's. A database of the same name in the configuration
// goes first.
func (srv *Server) isConsole(database string) bool {
	return slices.Contains(admin.Databases(), database) && srv.snapshot().databases[database] == nil
}

// consoleAccess is what a user may do on the console. Without any list, and without any user in the configuration, everybody
// at this machine may do everything: nothing is kept from them anyway.
func (cfg *Config) consoleAccess(user string, from net.Addr) admin.Access {
	switch {
	case slices.Contains(cfg.AdminUsers, user):
		return admin.Operate
	case slices.Contains(cfg.StatsUsers, user):
		return admin.Look
	case len(cfg.AdminUsers)+len(cfg.StatsUsers)+len(cfg.Users) == 0 && cfg.Auth == login.Trust && len(cfg.Rules) == 0 && local(from):
		return admin.Operate
	}
	return admin.Nothing
}

// local reports whether a client is on this machine.
func local(from net.Addr) bool {
	tcp, ok := from.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

// openConsole serves a logged-in client on the console, or refuses it. It does not wait for the client's end.
func (srv *Server) openConsole(client *login.Client, conn *loop.Conn) {
	access := srv.snapshot().cfg.consoleAccess(client.User, conn.RemoteAddr())
	if access == admin.Nothing {
		srv.refuseClient(client, conn, admin.Refused(client.User, client.Database))
		return
	}
	c := &consoleClient{conn: conn, tls: client.TLS, since: time.Now(), cancel: make(chan struct{}, 1)}
	if client.TLS != nil {
		c.conn = client.TLS
	}
	for _, p := range client.Params {
		if p.Name == "application_name" {
			c.app = p.Value
		}
	}
	c.who = admin.Who{User: client.User, Access: access, Unsent: client.Unsent, Early: client.Buffered, Cancel: c.cancel}
	ctx, end := context.WithCancel(srv.ctx)
	c.end = end
	if refusal := srv.enterConsole(c, client.Version >= wire.Version32); refusal != nil {
		end()
		srv.refuseClient(client, conn, refusal)
		return
	}
	srv.log.Info("console opened", "user", client.User, "address", addrOf(conn))
	srv.console.serving.Go(func() {
		defer end()
		srv.serveConsole(ctx, c)
	})
}

// enterConsole registers c under a process number of its own.
func (srv *Server) enterConsole(c *consoleClient, longKey bool) *wire.Error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.ctx.Err() != nil {
		return errAdminShutdown
	}
	most := maxConsoles
	if c.who.Access < admin.Operate {
		most -= keptForAdmins
	}
	if len(srv.console.clients) >= most {
		return &wire.Error{
			Severity: "FATAL", Code: wire.CodeTooManyConnections, Message: "sorry, too many clients on the console already",
		}
	}
	c.who.PID = srv.nextPID()
	c.who.Secret = srv.cancelKey(c.who.PID, longKey)
	srv.console.clients[c.who.PID] = c
	return nil
}

// nextPID is a process number that no client has. The caller holds mu.
func (srv *Server) nextPID() uint32 {
	for {
		srv.lastPID = srv.lastPID%(1<<31-1) + 1 // positive, as drivers expect
		if srv.sessions[srv.lastPID] == nil && srv.console.clients[srv.lastPID] == nil {
			return srv.lastPID
		}
	}
}

func (srv *Server) serveConsole(ctx context.Context, c *consoleClient) {
	err := admin.Serve(ctx, c.conn, c.who, admin.Console{
		Version:  srv.console.hooks.Version,
		Snapshot: srv.consoleState,
		Do: func(ctx context.Context, command admin.Command) error {
			return srv.operate(ctx, c.who.User, command)
		},
	})
	srv.mu.Lock()
	delete(srv.console.clients, c.who.PID)
	srv.mu.Unlock()
	_ = c.conn.Close()
	if err != nil && ctx.Err() == nil {
		srv.log.Info("console closed", "user", c.who.User, "error", err)
	}
}

// cancelConsole acts on a cancel request for a client of the console, and reports whether it was for one.
func (srv *Server) cancelConsole(r *login.CancelRequest) bool {
	srv.mu.Lock()
	c := srv.console.clients[r.PID]
	srv.mu.Unlock()
	if c == nil {
		return false
	}
	if subtle.ConstantTimeCompare(c.who.Secret, r.Secret) == 1 {
		select {
		case c.cancel <- struct{}{}:
		default: // one is on its way
		}
	}
	return true
}

// errDisabled is what new clients of a disabled database are told, in PostgreSQL's words for one without connections.
func errDisabled(database string) *wire.Error {
	return &wire.Error{
		Severity: "FATAL", Code: wire.CodeObjectNotInPrerequisiteState,
		Message: "database \"" + database + "\" is not currently accepting connections",
		Detail:  "It was disabled on the console.",
	}
}
