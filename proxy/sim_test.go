package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/loop/sim"
	"github.com/sarnicdb/sarnic/proxy/simtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// simScene is a world with the real Server in it: model clients on one side, model PostgreSQL processes on the other.
// Everything about it is drawn from the seed.
type simScene struct {
	*sim.World
	srv      *Server
	loops    []*loop.Loop
	db       *simtest.Database
	pool     *pool.Pool
	backends []*simtest.Backend
	clients  []*simClient
	log      bytes.Buffer
	lossy    bool // server connections break, dials fail
	hasty    bool // clients wait for a connection only so long
	nagging  bool // cancel requests are sent
	tell     bool // keep a story
	story    strings.Builder
}

// say adds to the story, which a schedule that is played alone keeps.
func (s *simScene) say(format string, args ...any) {
	if s.tell {
		fmt.Fprintf(&s.story, "%12v ", time.Duration(s.Now()))
		fmt.Fprintf(&s.story, format+"\n", args...)
	}
}

const simDatabase, simUser = "db", "u"

func newSimScene(seed uint64, tell bool) (*simScene, error) {
	s := &simScene{tell: tell}
	log := slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelError}))
	s.World = sim.New(seed, log)
	r := s.Rand()
	s.db = simtest.NewDatabase(func(d time.Duration, wake func()) { s.After(d, 1000, wake) })
	s.db.Major = []int{15, 18}[r.IntN(2)]
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
	ours, b := simtest.Dial(s.World, s.db, fmt.Sprint("connection ", len(s.backends)))
	s.backends = append(s.backends, b)
	if s.tell {
		b.Tell = func(what string) { s.say("server %d %s", b.PID(), what) }
	}
	if s.lossy {
		ours.MaybeCut(0.3, 3000)
	}
	return &dial.Server{
		Conn: loop.NewConn(ours), PID: b.PID(), Secret: b.Secret(), TxStatus: 'I',
		Params: []wire.Param{{Name: "application_name"}, {Name: "server_version", Value: fmt.Sprint(s.db.Major, ".0")}},
	}, nil
}

// cancel is the pool's Canceler. The signal may come at once or as late as it can hit something.
func (s *simScene) cancel(_ context.Context, to *dial.Server) error {
	b := s.db.Backend(to.PID)
	if b == nil || !bytes.Equal(b.Secret(), to.Secret) {
		return errSimDial
	}
	s.say("server %d is signalled", b.PID())
	b.Cancel(s.Rand().IntN(2) == 0)
	return nil
}

// over reports whether every client is through and nothing is left of it.
func (s *simScene) over() bool {
	for _, c := range s.clients {
		if c.Err() != nil {
			return true
		}
	}
	for _, b := range s.backends {
		if b.Violation() != nil {
			return true
		}
	}
	for _, c := range s.clients {
		if !c.Done() {
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
	return s.db.Backends() == 0
}

// play runs the scene to its end and looks at what is left.
func (s *simScene) play() error {
	err := s.Run(time.Hour, s.over)
	for i, b := range s.backends {
		if v := b.Violation(); v != nil {
			return fmt.Errorf("seed %d: server %d: %w\n%s", s.Seed(), i, v, s.Trace())
		}
	}
	for i, c := range s.clients {
		if c.Err() != nil {
			return fmt.Errorf("seed %d: client %d: %w\n%s", s.Seed(), i, c.Err(), s.Trace())
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
		if err := c.CheckRows(s.db, s.lossy || s.hasty); err != nil {
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
		text += fmt.Sprintf("client %d: %s\n", i, c.State())
	}
	for i, b := range s.backends {
		text += fmt.Sprintf("server %d: ended %v, quiet %v, asleep %v\n", i, b.Ended(), b.Quiet(), b.Asleep())
	}
	return text
}
