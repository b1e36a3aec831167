package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// listen opens every address, or none.
func (srv *Server) listen() error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.draining {
		return nil
	}
	var lc net.ListenConfig
	for _, addr := range srv.cfg.Listen {
		ln, err := lc.Listen(srv.ctx, "tcp", addr)
		if err != nil {
			srv.closeAll()
			return fmt.Errorf("listen on %s: %w", addr, err)
		}
		srv.listeners = append(srv.listeners, ln)
	}
	if srv.cfg.UnixDir == "" {
		return nil
	}
	if err := srv.listenUnix(); err != nil {
		srv.closeAll()
		return err
	}
	return nil
}

func (srv *Server) listenUnix() error {
	port := 6432
	if len(srv.listeners) > 0 {
		port = srv.listeners[0].Addr().(*net.TCPAddr).Port
	}
	path := filepath.Join(srv.cfg.UnixDir, ".s.PGSQL."+strconv.Itoa(port))
	_ = os.Remove(path)
	var lc net.ListenConfig
	ln, err := lc.Listen(srv.ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", path, err)
	}
	if srv.cfg.UnixMode != 0 {
		if err := os.Chmod(path, os.FileMode(srv.cfg.UnixMode)); err != nil {
			_ = ln.Close()
			return fmt.Errorf("listen on %s: %w", path, err)
		}
	}
	srv.listeners = append(srv.listeners, ln)
	return nil
}

func (srv *Server) closeListeners() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.closeAll()
}

// closeAll closes the listeners. The caller holds mu.
func (srv *Server) closeAll() {
	for _, ln := range srv.listeners {
		_ = ln.Close()
	}
}

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

// accept takes clients in, a goroutine each until they are logged in. Their number is bounded; more wait in the
// listen queue.
func (srv *Server) accept(ln net.Listener) {
	slots := make(chan struct{}, max(srv.cfg.MaxLogins, 1))
	pause := 5 * time.Millisecond
	for {
		select {
		case slots <- struct{}{}:
		case <-srv.ctx.Done():
			return
		}
		nc, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			srv.log.Error("accept failed", "address", ln.Addr().String(), "error", err)
			<-slots
			select {
			case <-time.After(pause):
			case <-srv.ctx.Done():
				return
			}
			continue
		}
		go func() {
			defer func() { <-slots }()
			srv.welcome(nc)
		}()
	}
}

// welcome logs one client in and hands it to a loop. It runs on an ordinary goroutine.
func (srv *Server) welcome(nc net.Conn) {
	conn := loop.Wrap(nc)
	client, cancel, err := srv.login.Login(srv.ctx, conn)
	switch {
	case err != nil:
		_ = conn.Close()
		if !errors.Is(err, context.Canceled) && !errors.Is(err, login.ErrLeft) {
			srv.log.Info("login failed", "address", addrOf(nc), "error", err)
		}
		return
	case cancel != nil:
		srv.cancel(cancel)
		_ = conn.Close()
		return
	}
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
	p := srv.poolFor(client.Database, client.User)
	if p == nil {
		return nil, &wire.Error{
			Severity: "FATAL", Code: wire.CodeInvalidCatalogName,
			Message: "database \"" + client.Database + "\" does not exist",
		}
	}
	s := &session{srv: srv, w: w, conn: conn, tls: client.TLS, pool: p, newKeys: client.Version >= wire.Version32}
	if len(client.Buffered) > 0 {
		s.in = client.Buffered
	}
	if refusal := srv.enter(s); refusal != nil {
		return nil, refusal
	}
	s.startup = srv.settings.intern(p.Name(), client.Params)
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
	s.w.loop.Go(&greeting{s: s, unsent: unsent})
}

// enter registers s under a process number of its own.
func (srv *Server) enter(s *session) *wire.Error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.draining {
		return &wire.Error{
			Severity: "FATAL", Code: wire.CodeCannotConnectNow, Message: "the database system is shutting down",
		}
	}
	if most := srv.cfg.MaxClients; most > 0 && len(srv.sessions) >= most {
		return &wire.Error{
			Severity: "FATAL", Code: wire.CodeTooManyConnections, Message: "sorry, too many clients already",
			Hint: "Raise limits.max_clients.",
		}
	}
	for {
		srv.lastPID = srv.lastPID%(1<<31-1) + 1 // positive, as drivers expect
		if srv.sessions[srv.lastPID] == nil {
			break
		}
	}
	srv.lastOwner++
	s.pid, s.owned = srv.lastPID, srv.lastOwner
	srv.sessions[s.pid] = s
	return nil
}

// forget takes a session that has ended off the books.
func (srv *Server) forget(s *session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.sessions, s.pid)
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
