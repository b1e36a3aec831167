package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// listener is one address clients connect to.
type listener struct {
	net.Listener
	key string // what the configuration says of it
}

// doors are the listeners of a configuration, and what opening them changed.
type doors struct {
	all     []*listener
	opened  []*listener
	surplus []*listener // no longer wanted
	before  *Predecessor
}

// open opens the addresses of cfg that are not open yet, or none.
func (srv *Server) open(cfg *Config, before *Predecessor) (*doors, error) {
	srv.mu.Lock()
	d := &doors{surplus: slices.Clone(srv.listeners), before: before}
	srv.mu.Unlock()
	for i, address := range cfg.Listen {
		if err := d.add(srv.ctx, "tcp", address, "tcp "+address); err != nil {
			d.abandon()
			return nil, &KeyError{"listen[" + strconv.Itoa(i) + "]", err}
		}
	}
	if cfg.UnixDir == "" {
		return d, nil
	}
	path := filepath.Join(cfg.UnixDir, ".s.PGSQL."+strconv.Itoa(d.port()))
	err := d.add(srv.ctx, "unix", path, "unix "+path)
	if err == nil && cfg.UnixMode != 0 {
		err = os.Chmod(path, os.FileMode(cfg.UnixMode))
	}
	if err != nil {
		d.abandon()
		return nil, &KeyError{"unix_socket.dir", err}
	}
	return d, nil
}

// add takes the listener for key over, or makes one.
func (d *doors) add(ctx context.Context, network, address, key string) error {
	if i := slices.IndexFunc(d.surplus, func(l *listener) bool { return l.key == key }); i >= 0 {
		d.all = append(d.all, d.surplus[i])
		d.surplus = slices.Delete(d.surplus, i, i+1)
		return nil
	}
	ln := d.before.Listener(key)
	if ln == nil {
		if network == "unix" {
			_ = os.Remove(address)
		}
		var err error
		if ln, err = new(net.ListenConfig).Listen(ctx, network, address); err != nil {
			return fmt.Errorf("listen on %s: %w", address, err)
		}
	}
	l := &listener{ln, key}
	d.all, d.opened = append(d.all, l), append(d.opened, l)
	return nil
}

// port is the one in the name of the unix socket: that of the first address.
func (d *doors) port() int {
	for _, l := range d.all {
		if addr, ok := l.Addr().(*net.TCPAddr); ok {
			return addr.Port
		}
	}
	return 6432
}

// abandon closes what was opened, and finish what is not wanted any more.
func (d *doors) abandon() { closeListeners(d.opened) }
func (d *doors) finish()  { closeListeners(d.surplus) }

func closeListeners(all []*listener) {
	for _, ln := range all {
		_ = ln.Close()
	}
}

// listen opens every address, or none, and takes clients in.
func (srv *Server) listen() error {
	d, err := srv.open(&srv.snapshot().cfg, srv.handover.before)
	if err != nil {
		return err
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.draining {
		d.abandon()
		return nil
	}
	srv.listeners = d.all
	for _, ln := range d.opened {
		srv.take(ln)
	}
	return nil
}

// take has clients accepted from ln until it is closed. The caller holds mu.
func (srv *Server) take(ln *listener) { srv.accepting.Go(func() { srv.accept(ln) }) }

// closeAll closes the listeners. The caller holds mu.
func (srv *Server) closeAll() { closeListeners(srv.listeners) }

// Addrs is where the server listens, once Ready.
func (srv *Server) Addrs() []net.Addr {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	addrs := make([]net.Addr, len(srv.listeners))
	for i, ln := range srv.listeners {
		addrs[i] = ln.Addr()
	}
	return addrs
}

// acceptPause is how long an error of accept, mostly a lack of descriptors, is given to pass.
const acceptPause = 5 * time.Millisecond

// accept takes clients in, a goroutine each until they are logged in. Their number is bounded over all listeners: of
// each one more is taken from its queue, the others wait in it.
func (srv *Server) accept(ln net.Listener) {
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil && srv.gate.enter(srv.ctx):
			srv.logins.Go(func() {
				defer srv.gate.leave()
				srv.welcome(nc)
			})
		case err == nil:
			_ = nc.Close()
			return
		case errors.Is(err, net.ErrClosed):
			return
		default:
			srv.log.Error("accept failed", "address", ln.Addr().String(), "error", err)
			select {
			case <-time.After(acceptPause):
			case <-srv.ctx.Done():
				return
			}
		}
	}
}

// welcome logs one client in and hands it to a loop. It runs on an ordinary goroutine.
func (srv *Server) welcome(nc net.Conn) {
	conn := loop.Wrap(nc)
	sn := srv.snapshot()
	client, cancel, err := sn.auth.login.Login(srv.ctx, conn)
	switch {
	case err != nil:
		_ = conn.Close()
		if !errors.Is(err, context.Canceled) && !errors.Is(err, login.ErrLeft) {
			srv.log.Info("login failed", "address", addrOf(nc), "error", err)
		}
		return
	case cancel != nil:
		if !srv.cancelConsole(cancel) {
			srv.cancel(cancel)
		}
		_ = conn.Close()
		return
	case srv.isConsole(client.Database):
		srv.openConsole(client, conn)
		return
	}
	sn.learn(client)
	if refusal := srv.admit(client, conn); refusal != nil {
		srv.refuseClient(client, conn, refusal)
	}
}

func addrOf(nc net.Conn) string {
	if a := nc.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// admit makes a session of a logged-in client and puts it on a loop, or says why not.
func (srv *Server) admit(client *login.Client, conn *loop.Conn) *wire.Error {
	l := srv.group.Pick()
	s, refusal := srv.newSession(client, conn, srv.workers[l])
	if refusal != nil {
		return refusal
	}
	if err := conn.Adopt(); err != nil {
		s.leaveBooks()
		return &wire.Error{Severity: "FATAL", Code: wire.CodeInternalError, Message: err.Error()}
	}
	unsent := client.Unsent
	l.Post(func() { srv.start(s, unsent) })
	return nil
}

// newSession enters a logged-in client in the books, where others find it at once, or says why not.
func (srv *Server) newSession(client *login.Client, conn *loop.Conn, w *worker) (*session, *wire.Error) {
	if client.Replication != "" {
		return nil, &wire.Error{
			Severity: "FATAL", Code: wire.CodeFeatureNotSupported, Message: "replication connections cannot be pooled",
			Hint: "Connect to the server directly.",
		}
	}
	s := &session{srv: srv, w: w, conn: conn, tls: client.TLS, newKeys: client.Version >= wire.Version32}
	if len(client.Buffered) > 0 {
		s.in = client.Buffered
	}
	if refusal := srv.register(s, poolKey{client.Database, client.User}); refusal != nil {
		return nil, refusal
	}
	s.startup = srv.settings.intern(s.pool.Name(), client.Params)
	s.settings = srv.settings.hold(s.startup)
	return s, nil
}

// start puts an admitted session on its loop, and runs there.
func (srv *Server) start(s *session, unsent []byte) {
	if err := s.w.loop.Register(s.conn, nil); err != nil {
		srv.log.Error("cannot watch a client's socket", "error", err)
		s.leaveBooks()
		_ = s.conn.Close()
		return
	}
	if s.killed {
		s.end(errAdminShutdown)
		return
	}
	s.w.loop.Go(&greeting{s: s, unsent: unsent})
}

// register enters s in the books, as a client of the pool of key. Between the two no reload comes.
func (srv *Server) register(s *session, key poolKey) (refusal *wire.Error) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.console.disabled[key.database] {
		return errDisabled(key.database)
	}
	if s.pool, refusal = srv.poolFor(key); refusal != nil {
		return refusal
	}
	if refusal = srv.enter(s); refusal == nil {
		srv.moveIn(s.pool)
		s.pool.Counters.Logins.Add(1)
	}
	return refusal
}

// enter registers s under a process number of its own. The caller holds mu.
func (srv *Server) enter(s *session) *wire.Error {
	if refusal := srv.mayEnter(); refusal != nil {
		return refusal
	}
	s.pid = srv.nextPID()
	srv.enroll(s)
	return nil
}

// enroll puts s in the books under the process number that it has. The caller holds mu.
func (srv *Server) enroll(s *session) {
	srv.lastOwner++
	s.owned = srv.lastOwner
	srv.console.logins.note(s.owned, time.Now())
	srv.sessions[s.pid] = s
}

// mayEnter says why no client may come in. The caller holds mu.
func (srv *Server) mayEnter() *wire.Error {
	if srv.draining {
		return &wire.Error{
			Severity: "FATAL", Code: wire.CodeCannotConnectNow, Message: "the database system is shutting down",
		}
	}
	if most := srv.snapshot().cfg.MaxClients; most > 0 && len(srv.sessions) >= most {
		return &wire.Error{
			Severity: "FATAL", Code: wire.CodeTooManyConnections, Message: "sorry, too many clients already",
			Hint: "Raise limits.max_clients.",
		}
	}
	return nil
}

// forget takes a session that has ended off the books.
func (srv *Server) forget(s *session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.sessions[s.pid] != s {
		return
	}
	delete(srv.sessions, s.pid)
	srv.moveOut(s.pool)
	if srv.draining && len(srv.sessions) == 0 {
		select {
		case <-srv.empty:
		default:
			close(srv.empty)
		}
	}
}

// refuseClient tells a client that passed authentication why it may not stay.
func (srv *Server) refuseClient(client *login.Client, conn *loop.Conn, e *wire.Error) {
	b := wire.AppendError(append([]byte(nil), client.Unsent...), e)
	var w net.Conn = conn
	if client.TLS != nil {
		w = client.TLS
	}
	_ = conn.SetWriteDeadline(time.Now().Add(lingerTime))
	_, _ = w.Write(b)
	_ = w.Close()
	srv.log.Info("client refused", "user", client.User, "database", client.Database, "code", e.Code, "reason", e.Message)
}
