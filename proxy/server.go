package proxy

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
	"github.com/sarnicdb/sarnic/router"
)

// Server is the proxy: listeners, sessions and pools.
type Server struct {
	cfg      Config
	log      *slog.Logger
	login    *login.Server
	group    *loop.Group
	workers  map[*loop.Loop]*worker
	pools    *pool.Set
	texts    pool.Texts
	settings settingsTable
	impacts  impacts
	seed     maphash.Seed // of statement shapes
	key      [32]byte     // of cancel keys
	ready    chan struct{}
	done     chan struct{} // closed when Run ends
	stop     context.CancelFunc
	ctx      context.Context

	mu        sync.Mutex
	listeners []net.Listener
	sessions  map[uint32]*session
	lastPID   uint32
	lastOwner uint64
	byName    map[poolKey]*pool.Pool
	limits    map[string]*pool.Limit
	empty     chan struct{} // closed while draining, when the last session has ended
	draining  bool
}

type poolKey struct{ database, user string }

var errAdminShutdown = &wire.Error{
	Severity: "FATAL", Code: wire.CodeAdminShutdown, Message: "terminating connection due to administrator command",
}

// New checks cfg and makes a server. It opens nothing yet.
func New(cfg Config, log *slog.Logger) (*Server, error) {
	srv, err := newServer(cfg, log)
	if err != nil {
		return nil, err
	}
	srv.group, err = loop.NewGroup(cfg.MaxLoops, log)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	for _, l := range srv.group.Loops() {
		srv.addLoop(l)
	}
	srv.pools = pool.NewSet(srv.ctx, log, srv.group.Pick, uint64(time.Now().UnixNano()))
	return srv, nil
}

func newServer(cfg Config, log *slog.Logger) (*Server, error) {
	srv := &Server{
		cfg: cfg, log: log, workers: make(map[*loop.Loop]*worker), seed: maphash.MakeSeed(),
		ready: make(chan struct{}), done: make(chan struct{}), sessions: make(map[uint32]*session),
		byName: make(map[poolKey]*pool.Pool), limits: make(map[string]*pool.Limit),
	}
	if _, err := rand.Read(srv.key[:]); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	srv.lastPID = binary.BigEndian.Uint32(srv.key[:]) >> 8
	lookup, err := lookupOf(cfg.Users)
	if err != nil {
		return nil, err
	}
	srv.login, err = login.New(login.Config{
		TLS: cfg.TLS, TLSMode: cfg.TLSMode, Method: cfg.Auth, Timeout: cfg.LoginTime, HoldOK: true, Lookup: lookup,
	})
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	srv.ctx, srv.stop = context.WithCancel(context.Background()) //nolint:forbidigo // the server's own life
	return srv, nil
}

// lookupOf finds users' secrets. Without any user everybody is known, which only trust accepts.
func lookupOf(users []User) (login.Lookup, error) {
	if len(users) == 0 {
		return nil, nil //nolint:nilnil // a nil Lookup has a meaning
	}
	secrets := make(map[string]login.Secret)
	for _, u := range users {
		var secret login.Secret
		if u.Secret != "" {
			var err error
			if secret, err = login.ParseSecret(u.Name, u.Secret); err != nil {
				return nil, fmt.Errorf("proxy: user %s: %w", u.Name, err)
			}
		}
		secrets[u.Name] = secret
	}
	return func(user, _ string) (login.Secret, bool) {
		secret, ok := secrets[user]
		return secret, ok
	}, nil
}

func (srv *Server) addLoop(l *loop.Loop) { srv.workers[l] = &worker{loop: l} }

// poolFor is the pool of (database, user), made when first asked for. nil: no such database.
func (srv *Server) poolFor(database, user string) *pool.Pool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	key := poolKey{database, user}
	if p := srv.byName[key]; p != nil {
		return p
	}
	db := srv.database(database)
	if db == nil {
		return nil
	}
	server := db.Server
	server.Wrap = func(nc net.Conn) net.Conn { return loop.Wrap(nc) }
	if db.Name == "*" {
		server = server.WithUser(server.User(), database, server.Password())
	}
	maxUser := 0
	for _, u := range srv.cfg.Users {
		if u.Name == user {
			maxUser = u.MaxConnections
			if u.ServerUser != "" {
				server = server.WithUser(u.ServerUser, server.Database(), u.ServerPassword)
			}
		}
	}
	p := srv.pools.NewPool(pool.Options{
		Database: database, User: user, Config: db.Pool,
		Dial: server.Dial,
		Cancel: func(ctx context.Context, s *dial.Server) error {
			return server.Cancel(ctx, s.Addr, s.PID, s.Secret)
		},
		ByDatabase: srv.limit("database "+database, db.MaxConnections), ByUser: srv.limit("user "+user, maxUser),
	})
	srv.byName[key] = p
	return p
}

func (srv *Server) limit(key string, most int) *pool.Limit {
	if most <= 0 {
		return nil
	}
	l := srv.limits[key]
	if l == nil {
		l = &pool.Limit{Max: most}
		srv.limits[key] = l
	}
	return l
}

func (srv *Server) database(name string) *Database {
	var fallback *Database
	for i := range srv.cfg.Databases {
		switch db := &srv.cfg.Databases[i]; db.Name {
		case name:
			return db
		case "*":
			fallback = db
		}
	}
	return fallback
}

// Run listens and serves until ctx ends, Close, or a listener fails.
func (srv *Server) Run(ctx context.Context) error {
	defer close(srv.done)
	defer srv.stop()
	context.AfterFunc(ctx, srv.stop)
	if err := srv.listen(); err != nil {
		return err
	}
	loopsCtx, stopLoops := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLoops()
	var wg sync.WaitGroup
	wg.Go(func() { srv.group.Run(loopsCtx) })
	wg.Go(router.Warm)
	first := srv.group.Loops()[0]
	first.Post(func() { srv.pools.StartJanitor(first) })
	for _, ln := range srv.listeners {
		wg.Go(func() { srv.accept(ln) })
	}
	close(srv.ready)
	<-srv.ctx.Done()
	srv.closeListeners()
	srv.killAll()
	srv.pools.Close()
	stopLoops()
	wg.Wait()
	return nil
}

// Ready is closed when the server listens.
func (srv *Server) Ready() <-chan struct{} { return srv.ready }

// Close ends Run at once: clients are told, transactions under way are rolled back.
func (srv *Server) Close() error {
	srv.stop()
	return nil
}

// Drain takes no new client and ends each of the others when its transaction ends. It returns when all are gone, or
// with ctx's error.
func (srv *Server) Drain(ctx context.Context) error {
	srv.mu.Lock()
	srv.closeAll()
	srv.draining = true
	srv.empty = make(chan struct{})
	if len(srv.sessions) == 0 {
		close(srv.empty)
	}
	all := srv.all()
	srv.mu.Unlock()
	for _, s := range all {
		s.w.loop.Post(s.leave)
	}
	select {
	case <-srv.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// all lists the sessions. The caller holds mu.
func (srv *Server) all() []*session {
	all := make([]*session, 0, len(srv.sessions))
	for _, s := range srv.sessions {
		all = append(all, s)
	}
	return all
}

func (srv *Server) killAll() {
	srv.mu.Lock()
	all := srv.all()
	srv.mu.Unlock()
	for _, s := range all {
		s.w.loop.Post(s.kill)
	}
}

// leave ends the session as soon as it holds no transaction. On its loop.
func (s *session) leave() {
	s.leaving = true
	if s.ended {
		return
	}
	if s.x == nil {
		s.end(errAdminShutdown)
		return
	}
	if x := s.x; x.server != nil && x.status == 'I' && x.led.settled() && !x.open {
		s.killed = true // pinned, or in session mode: nothing runs
		x.f.Wake()
	}
}

// kill ends the session now. On its loop.
func (s *session) kill() {
	if s.ended {
		return
	}
	s.killed = true
	if s.x == nil {
		s.end(errAdminShutdown)
		return
	}
	s.x.f.Wake()
}

// Stats is a snapshot of the server.
type Stats struct {
	Clients int
	Pools   []pool.Stats
	Loops   []loop.Stats
}

// Stats returns the server's numbers.
func (srv *Server) Stats() Stats {
	srv.mu.Lock()
	st := Stats{Clients: len(srv.sessions)}
	srv.mu.Unlock()
	for _, l := range srv.group.Loops() {
		st.Loops = append(st.Loops, l.Stats())
	}
	now := srv.group.Loops()[0].Clock()
	for _, p := range srv.pools.Pools() {
		st.Pools = append(st.Pools, p.Stats(now))
	}
	return st
}
