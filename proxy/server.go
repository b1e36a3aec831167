package proxy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
	"github.com/sarnicdb/sarnic/router"
)

// Server is the proxy: listeners, sessions and pools.
type Server struct {
	current  atomic.Pointer[snapshot]
	log      *slog.Logger
	group    *loop.Group
	workers  map[*loop.Loop]*worker
	pools    *pool.Set
	texts    pool.Texts
	settings settingsTable
	proofs   proofs
	backoff  *login.Backoff
	counted  login.Counters
	impacts  impacts
	seed     maphash.Seed // of statement shapes
	key      [32]byte     // of cancel keys
	ready    chan struct{}
	done     chan struct{} // closed when Run ends
	stop     context.CancelFunc
	ctx      context.Context

	reloading sync.Mutex     // held for the length of a reload
	gate      *gate          // of logins under way
	accepting sync.WaitGroup // goroutines that accept
	logins    sync.WaitGroup // and those that log in; more come while there are any of the former
	console   console
	handover  handover

	mu        sync.Mutex
	listeners []*listener
	sessions  map[uint32]*session
	lastPID   uint32
	lastOwner uint64
	byName    map[poolKey]*pool.Pool // those that new clients get
	tenancies map[*pool.Pool]*tenancy
	limits    map[limitKey]*pool.Limit
	empty     chan struct{} // closed while draining, when the last session has ended
	draining  bool
}

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
		log: log, workers: make(map[*loop.Loop]*worker), seed: maphash.MakeSeed(),
		ready: make(chan struct{}), done: make(chan struct{}), sessions: make(map[uint32]*session),
		byName: make(map[poolKey]*pool.Pool), tenancies: make(map[*pool.Pool]*tenancy), limits: make(map[limitKey]*pool.Limit),
		gate: newGate(cfg.MaxLogins), console: newConsole(),
		backoff:  login.NewBackoff(cfg.MaxLogins / 4), // the others are for logins that need not wait
		handover: handover{over: make(chan struct{}), left: make(chan struct{})},
	}
	if _, err := rand.Read(srv.key[:]); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	srv.lastPID = binary.BigEndian.Uint32(srv.key[:]) >> 8
	srv.ctx, srv.stop = context.WithCancel(context.Background()) //nolint:forbidigo // the server's own life
	first, err := srv.newSnapshot(cfg)
	if err != nil {
		srv.stop()
		return nil, err
	}
	srv.current.Store(first)
	return srv, nil
}

// snapshot is the configuration of now. Whoever asks twice may get two different ones.
func (srv *Server) snapshot() *snapshot { return srv.current.Load() }

// mockSeed makes the salts of users who are unknown or have plain passwords. It outlives a reload: salts that change
// with it would tell the two apart from those of stored verifiers.
func (srv *Server) mockSeed() [32]byte { return sha256.Sum256(append([]byte("salts"), srv.key[:]...)) }

func (srv *Server) addLoop(l *loop.Loop) { srv.workers[l] = &worker{loop: l} }

// Run listens and serves until ctx ends, Close, or a listener fails.
func (srv *Server) Run(ctx context.Context) error {
	defer close(srv.done)
	defer srv.stop()
	context.AfterFunc(ctx, srv.stop)
	if err := srv.listenFirst(); err != nil {
		return err
	}
	router.Warm() // clients wait in the listen queue: what cannot be read would pin them
	loopsCtx, stopLoops := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLoops()
	var wg sync.WaitGroup
	wg.Go(func() { srv.group.Run(loopsCtx) })
	first := srv.group.Loops()[0]
	first.Post(func() {
		srv.pools.StartJanitor(first)
		srv.startAverages(first)
	})
	close(srv.ready)
	srv.startSucceeding()
	<-srv.ctx.Done()
	srv.mu.Lock()
	srv.closeAll()
	srv.mu.Unlock()
	srv.closeControl()
	srv.accepting.Wait()
	srv.killAll()
	srv.pools.Close()
	srv.console.serving.Wait()
	srv.handover.work.Wait()
	srv.snapshot().auth.close()
	stopLoops()
	wg.Wait()
	return nil
}

// closed reports whether the server takes no configuration any more. The caller holds mu.
func (srv *Server) closed() bool {
	return srv.draining || srv.handover.after != nil || srv.ctx.Err() != nil
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
	empty := srv.noneLeft()
	srv.mu.Lock()
	all := srv.all()
	srv.mu.Unlock()
	for _, s := range all {
		s.w.loop.Post(s.leave)
	}
	select {
	case <-empty:
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

// kill ends the session now. On its loop.
func (s *session) kill() {
	if s.ended {
		return
	}
	s.killed = true
	switch {
	case s.conn.Loop() == nil: // on its way here, or to another process: it ends where it arrives
	case s.x == nil:
		s.end(errAdminShutdown)
	default:
		s.x.f.Wake()
	}
}

// Stats is a snapshot of the server.
type Stats struct {
	Clients int
	Logins  login.Stats
	Pools   []pool.Stats
	Loops   []loop.Stats
}

// Stats returns the server's numbers.
func (srv *Server) Stats() Stats {
	srv.mu.Lock()
	st := Stats{Clients: len(srv.sessions), Logins: srv.counted.Stats()}
	srv.mu.Unlock()
	for _, l := range srv.group.Loops() {
		st.Loops = append(st.Loops, l.Stats())
	}
	now := srv.group.Loops()[0].Clock()
	for _, p := range srv.pools.Pools() {
		if s := p.Stats(now); !s.Retired { // another may have its name by now
			st.Pools = append(st.Pools, s)
		}
	}
	return st
}
