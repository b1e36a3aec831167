package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/loop/sim"
	"github.com/sarnicdb/sarnic/proxy/simtest/model"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// simScene is a world with the real Server in it: model clients on one side, model PostgreSQL processes on the other.
// Everything about it is drawn from the seed.
type simScene struct {
	*sim.World
	srv     *Server
	loops   []*loop.Loop
	store   *model.Store
	pool    *pool.Pool
	servers []*simServer
	clients []*simClient
	log     bytes.Buffer
	lossy   bool // server connections break, dials fail
	hasty   bool // clients wait for a connection only so long
	nagging bool // cancel requests are sent
	tell    bool // keep a story
	story   strings.Builder
}

// say adds to the story, which a schedule that is played alone keeps.
func (s *simScene) say(format string, args ...any) {
	if s.tell {
		fmt.Fprintf(&s.story, "%12v ", time.Duration(s.Now()))
		fmt.Fprintf(&s.story, format+"\n", args...)
	}
}

const simDatabase, simUser = "db", "u"

func newSimScene(seed uint64) (*simScene, error) {
	s := &simScene{store: model.NewStore()}
	log := slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelError}))
	s.World = sim.New(seed, log)
	r := s.Rand()
	s.lossy, s.hasty, s.nagging = r.IntN(5) == 0, r.IntN(8) == 0, r.IntN(3) == 0
	srv, err := newServer(Config{Auth: login.Trust}, log)
	if err != nil {
		return nil, err
	}
	srv.key, srv.lastPID = [32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}, uint32(seed%1000)
	s.srv = srv
	for range 1 + r.IntN(2) {
		l := s.Loop()
		s.loops = append(s.loops, l)
		srv.addLoop(l)
	}
	srv.pools = pool.NewSet(srv.ctx, log, func() *loop.Loop { return s.loops[0] }, seed)
	s.pool = srv.pools.NewPool(pool.Options{
		Database: simDatabase, User: simUser, Config: s.poolConfig(), Dial: s.dial, Cancel: s.cancel,
	})
	srv.byName[poolKey{simDatabase, simUser}] = s.pool
	s.loops[0].Post(func() { srv.pools.StartJanitor(s.loops[0]) })
	for i := range 2 + r.IntN(3) {
		if err := s.join(i); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// poolConfig draws limits small enough to be met.
func (s *simScene) poolConfig() pool.Config {
	r := s.Rand()
	c := pool.DefaultConfig()
	c.Size = 1 + r.IntN(2)
	c.MinSize = r.IntN(c.Size + 1)
	c.Statements = 1 + r.IntN(4)
	c.WaitTimeout = 0
	c.WaitNotice = []time.Duration{0, time.Millisecond, time.Second}[r.IntN(3)]
	if s.hasty {
		c.WaitTimeout = 20 * time.Millisecond
	}
	if r.IntN(4) == 0 {
		c.Lifetime, c.IdleTimeout = 2*time.Second, time.Second
	}
	if r.IntN(8) == 0 {
		c.Mode = pool.SessionMode
	}
	return c
}

var errSimDial = errors.New("no route in this world")

// dial is the pool's Dialer. It runs as a step of its own.
func (s *simScene) dial(ctx context.Context) (*dial.Server, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.lossy && s.Rand().IntN(10) == 0 {
		return nil, errSimDial
	}
	n := len(s.servers)
	ours, theirs := s.Pair(fmt.Sprintf("pool %d", n), fmt.Sprintf("postgres %d", n))
	b := model.NewBackend(s.store, uint32(5000+n), []byte{'k', byte(n), 0, 1}, "")
	sv := &simServer{s: s, end: theirs, b: b, rng: rand.New(rand.NewPCG(s.Seed(), uint64(n)))}
	s.servers = append(s.servers, sv)
	if s.lossy {
		ours.MaybeCut(0.3, 3000)
	}
	theirs.OnEvent(sv.step)
	return &dial.Server{Conn: loop.NewConn(ours), PID: b.PID, Secret: b.Secret, Params: b.Params(), TxStatus: 'I'}, nil
}

// cancel is the pool's Canceler.
func (s *simScene) cancel(_ context.Context, to *dial.Server) error {
	for _, sv := range s.servers {
		if sv.b.PID == to.PID && bytes.Equal(sv.b.Secret, to.Secret) {
			s.say("server %d is signalled", sv.b.PID)
			sv.b.Cancel(sv.rng.IntN(2) == 0)
			sv.step()
			return nil
		}
	}
	return errSimDial
}

// join logs a client in.
func (s *simScene) join(i int) error {
	r := s.Rand()
	ours, theirs := s.Pair(fmt.Sprintf("front %d", i), fmt.Sprintf("client %d", i))
	c := newSimClient(s, i, theirs)
	s.clients = append(s.clients, c)
	in := &login.Client{Database: simDatabase, User: simUser, Version: wire.Version30, Unsent: wire.AppendAuthOK(nil)}
	if c.app != "" {
		in.Params = []wire.Param{{Name: "application_name", Value: c.app}}
	}
	l := s.loops[r.IntN(len(s.loops))]
	sess, refusal := s.srv.newSession(in, loop.NewConn(ours), s.srv.workers[l])
	if refusal != nil {
		return refusal
	}
	if r.IntN(10) == 0 {
		ours.MaybeCut(0.5, 2000)
		c.mayBreak = true
	}
	s.After(time.Duration(r.IntN(3000))*time.Microsecond, 100+i, func() {
		l.Post(func() { s.srv.start(sess, in.Unsent) })
		theirs.OnEvent(c.step)
	})
	return nil
}

// over reports whether every client is through and nothing is left of it.
func (s *simScene) over() bool {
	for _, c := range s.clients {
		if c.err != nil {
			return true
		}
	}
	for _, sv := range s.servers {
		if sv.b.Violation() != nil {
			return true
		}
	}
	for _, c := range s.clients {
		if !c.done {
			return false
		}
	}
	st := s.pool.Stats(s.Now())
	return len(s.srv.sessions) == 0 && st.Busy == 0 && st.Resetting == 0 && st.Waiting == 0 && st.Connecting == 0
}

// gone reports whether the loops are empty and the servers have ended.
func (s *simScene) gone() bool {
	for _, l := range s.loops {
		if st := l.Stats(); st.Conns != 0 || st.Fibers != 0 {
			return false
		}
	}
	for _, sv := range s.servers {
		if !sv.b.Dead() {
			return false
		}
	}
	return true
}

// play runs the scene to its end and looks at what is left.
func (s *simScene) play() error {
	err := s.Run(time.Hour, s.over)
	for _, sv := range s.servers {
		if v := sv.b.Violation(); v != nil {
			return fmt.Errorf("seed %d: %w\n%s", s.Seed(), v, s.Trace())
		}
	}
	for i, c := range s.clients {
		if c.err != nil {
			return fmt.Errorf("seed %d: client %d: %w\n%s", s.Seed(), i, c.err, s.Trace())
		}
	}
	if err != nil {
		return fmt.Errorf("%w\n%s%s", err, s.state(), s.log.String())
	}
	s.srv.pools.Close()
	if err := s.Run(time.Hour, s.gone); err != nil {
		return fmt.Errorf("seed %d: closing: %w\n%s", s.Seed(), err, s.state())
	}
	s.srv.stop()
	if err := s.leftovers(); err != nil {
		return fmt.Errorf("seed %d: %w\n%s", s.Seed(), err, s.Trace())
	}
	return s.Close()
}

func (s *simScene) leftovers() error {
	if n := s.srv.texts.Len(); n != 0 {
		return fmt.Errorf("%d statements are still referred to", n)
	}
	for _, st := range s.srv.settings.all {
		if st.refs != 0 {
			return fmt.Errorf("settings %q have %d references", st.key, st.refs)
		}
	}
	if s.log.Len() > 0 {
		return fmt.Errorf("errors in the log: %s", s.log.String())
	}
	for i, c := range s.clients {
		if err := c.auditStore(); err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
	}
	return nil
}

func (s *simScene) state() string {
	st := s.pool.Stats(s.Now())
	text := fmt.Sprintf("%d sessions; pool: %d connecting, %d idle, %d busy, %d resetting, %d wait\n",
		len(s.srv.sessions), st.Connecting, st.Idle, st.Busy, st.Resetting, st.Waiting)
	for i, c := range s.clients {
		text += fmt.Sprintf("client %d: %s\n", i, c.state())
	}
	for i, sv := range s.servers {
		text += fmt.Sprintf("server %d: dead %v, idle %v, asleep %v, %d statements\n", i, sv.b.Dead(), sv.b.Idle(), sv.b.Asleep(), sv.b.Statements())
	}
	return text
}

// simServer moves bytes between a connection and the model behind it.
type simServer struct {
	s      *simScene
	end    *sim.End
	b      *model.Backend
	rng    *rand.Rand
	sleeps int // begun
	asleep bool
	closed bool
}

func (sv *simServer) step() {
	if sv.closed {
		return
	}
	if !sv.flush() {
		return // a server whose client does not read does not read either
	}
	var buf [2000]byte
	for {
		n, err := sv.end.TryRead(buf[:])
		sv.b.Feed(buf[:n])
		if n > 0 {
			sv.s.say("server %d reads %q", sv.b.PID, buf[:n])
		}
		if err == nil {
			continue
		}
		if err != loop.ErrWouldBlock {
			sv.b.Run()
			sv.b.End()
		}
		break
	}
	sv.b.Run()
	sv.flush()
	if d := sv.b.Asleep(); d == 0 {
		sv.asleep = false
	} else if !sv.asleep {
		sv.asleep = true
		sv.sleeps++
		n := sv.sleeps
		sv.s.After(d, 1000, func() {
			if sv.asleep && sv.sleeps == n {
				sv.asleep = false
				sv.b.Wake()
				sv.step()
			}
		})
	}
}

// flush reports whether everything that was to be sent is sent.
func (sv *simServer) flush() bool {
	if out := sv.b.Output(); len(out) > 0 {
		n, err := sv.end.TryWrite(out)
		sv.s.say("server %d writes %q", sv.b.PID, out[:n])
		sv.b.Sent(n)
		if err != nil {
			sv.b.End()
			sv.b.Sent(len(sv.b.Output()))
		}
	}
	if len(sv.b.Output()) > 0 {
		return false
	}
	if sv.b.Dead() {
		sv.closed = true
		_ = sv.end.Close()
	}
	return !sv.closed
}
