package proxy

import (
	"crypto/tls"
	"errors"
	"io"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// session is one logged-in client. It has no mutex: everything in it belongs to its loop. While the client is idle
// this struct, the loop.Conn and a place in the registry are all there is of it.
type session struct {
	srv      *Server
	w        *worker
	conn     *loop.Conn
	tls      *tls.Conn // nil: plain
	pool     *pool.Pool
	startup  *settings // what the client asked for at start; nil: nothing
	settings *settings // what it has now
	x        *exchange // nil while idle
	stmts    map[string]*clientStatement
	unnamed  *unnamedStatement
	in       []byte // the start of a request whose rest has not come; nil mostly
	pid      uint32 // what the client believes to be its server process
	newKeys  bool   // protocol 3.2: a long cancel key
	skipping bool   // after an error of ours or the server's: frames are dropped up to Sync
	ended    bool
	killed   bool
	leaving  bool   // drain: end as soon as no transaction is open
	owned    uint64 // its number over all times
	changes  uint32 // of its unnamed statement
}

// exchange is what a session needs only while it is being served. The worker lends it.
type exchange struct {
	f      *loop.Fiber
	server *pool.Conn
	led    ledger
	out    outgoing

	waiter   *pool.Waiter // in the pool's queue; nil: not waiting
	deadline int64        // of that wait
	noticeAt int64        // when the client is told that it waits

	asked     int64 // when the server was asked for what it owes; 0: it owes nothing
	status    byte  // of the server's last ReadyForQuery
	open      bool  // frames were sent that only a Sync ends: the server is inside an implicit transaction
	terminate bool  // the session ends, for reason, when what was asked before is answered
	reason    error
	hold      int64  // until when an unfinished request is held back; 0: none is
	stalled   bool   // no request is read until the ledger is settled
	again     bool   // input that was left is to be looked at before waiting
	settle    bool   // the next frame waits until every reply has come: a DEALLOCATE or RESET is under way
	settles   bool   // a statement was bound whose Execute makes the frame behind it wait like that
	resets    bool   // a RESET by the extended protocol was sent: the server may report its own values
	canceled  bool   // while waiting for a connection
	apply     bool   // the connection just acquired has other settings than the client
	lost      int    // connections in a row that ended while settings were applied
	segment   uint32 // frames between two Syncs have the same

	pins        pins                // why the connection is kept between transactions
	pinnedAt    int64               // when the first of them came
	pinnedSince [pool.MaxPins]int64 // when each of them came
	look        bool                // one of them may be gone
	stale       bool                // something ran since they were looked at
	lookAgain   int64               // when to do so in any case
	touched     []touched
	ended       bool         // the sessions that the frame at hand means have been ended
	endings     []ending     // these, by its parameters
	errand      func() error // to be run where the session may wait; the client's next frame waits for it
	typesOf     string       // the list of types that was resolved last
	types       []byte       // to these, in the form of a Parse's tail; nil: they are not known
	keep        bool         // the frame at hand needs what has just been prepared on this connection
	dropQuery   bool         // the frame at hand has been answered

	stock      bool // a round trip is due that learns what became of those, and of the pins
	stockTries int
	statement  int  // of the simple Query whose answer is coming, where some are ours
	hush       bool // that one is
	failed     bool // the simple Query whose answer is coming has failed
	syntax     bool // with a syntax error

	scan     scanner // over the text of a large Query
	scanning bool

	passIn      int // bytes of a large client frame still to be passed on
	passInDrop  bool
	passOut     int // bytes of a large server frame still to be passed on
	passOutDrop bool
	rest        []byte // the start of a server frame whose rest has not come

	copyIn     bool // the server reads CopyData; Sync and Flush are nothing to it
	copySyncs  int  // Syncs that a COPY consumed, if it lived long enough to read them
	copyMess   bool // a frame that has no place in a COPY was sent into it
	seen       bool // something of the first entry's reply has come
	slack      int  // after a COPY that failed among Syncs: ReadyForQuery that may come beyond those owed
	slackAfter bool // those come after the first entry's own
	fence      bool // after a COPY that failed among Syncs: counting ReadyForQuery up to a fence
	fenceDue   bool // as soon as the frame that is passed on has ended
	fenceSeen  int
	fenceSkips bool

	fresh        *pool.Statement // prepared for the frame at hand just now
	checkShape   bool
	unnamedShape uint64
	instead      []byte // goes to the client in the place of a frame just dropped
	fatal        bool   // the server said that it goes away

	spareU  []*unnamedStatement
	effects *effect
	owed    [opClose + 1]int // effects that wait for their replies, by op
	next    *exchange
}

// Bounds on what a session holds for a peer that does not read or has not finished a frame.
const (
	maxPending   = 64 << 10 // written and not taken: the other side is not read meanwhile
	maxFrame     = 1 << 20  // a request frame up to this is read whole; a larger one is streamed
	maxStatement = 32 << 20 // the text of a Parse, which is kept to be prepared on other connections
	maxRequest   = 256 << 10
	maxTurns     = 16 // reads of one session before the loop's others get their turn
	maxTailKept  = 64 << 10
)

// errTerminated ends a session that nobody need be told about.
var errTerminated = errors.New("client terminated")

// owner identifies the session and its unnamed statement of now on a server connection, over all times: a connection
// that it used before may hold an older one.
func (s *session) owner() uint64 { return s.owned<<32 | uint64(s.changes) }

// read reads from the client, or returns loop.ErrWouldBlock.
func (s *session) read(b []byte) (int, error) {
	if s.tls != nil {
		return s.tls.Read(b)
	}
	return s.conn.Read(b)
}

// write sends to the client without waiting.
func (s *session) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	s.pool.Counters.Sent.Add(int64(len(b)))
	var err error
	if s.tls != nil {
		_, err = s.tls.Write(b)
	} else {
		_, err = s.conn.Write(b)
	}
	return err
}

// Serve is woken when the client has sent something. It returns when nothing is owed and the client is between two
// transactions.
func (s *session) Serve(f *loop.Fiber) {
	if s.ended {
		return
	}
	defer s.crash()
	s.begin(f)
	err := s.pump()
	if err == nil && s.leaving {
		err = s.farewell()
	}
	if err != nil {
		s.end(err)
	}
	s.rest()
}

// crash does nothing for a session that rests. One that does not has panicked, and the panic goes on to its fiber, which
// logs it and closes the client's connection. What the session believed of its server connection may be wrong, so that
// one is not used again.
func (s *session) crash() {
	x := s.x
	if x == nil {
		return
	}
	s.ended = true
	s.leaveBooks()
	if x.waiter != nil {
		s.leaveQueue()
	}
	s.x = nil
	if x.server != nil {
		s.pool.Release(x.server, pool.Broken)
	}
}

func (s *session) begin(f *loop.Fiber) {
	x := s.w.borrow()
	x.f = f
	x.status = 'I'
	x.segment = 1
	s.x = x
}

// rest gives back what only a session at work needs.
func (s *session) rest() {
	x := s.x
	s.x = nil
	s.w.giveBack(x)
}

// pump moves bytes both ways until the client is idle (nil) or the session ends (the reason).
func (s *session) pump() error {
	for turn := 1; ; turn++ {
		if err := s.step(); err != nil {
			return err
		}
		x := s.x
		switch {
		case x.again:
			x.again = false
		case x.terminate && s.answered():
			return x.reason
		case s.idle():
			return nil
		default:
			if err := s.wait(); err != nil {
				return err
			}
		}
		if turn%maxTurns == 0 {
			x.f.Yield()
		}
	}
}

// step does what can be done without waiting, but for settings, which are waited for.
func (s *session) step() error {
	if s.x.apply {
		if err := s.applySettings(); err != nil {
			return err
		}
	}
	if errand := s.x.errand; errand != nil {
		s.x.errand, s.x.again = nil, true
		if err := errand(); err != nil {
			return err
		}
	}
	if s.x.stock {
		if err := s.takeStock(); err != nil {
			return err
		}
	}
	if err := s.fromClient(); err != nil {
		return err
	}
	return s.fromServer()
}

// idle reports whether the session can do without its fiber until the client sends more.
func (s *session) idle() bool {
	x := s.x
	return x.server == nil && x.waiter == nil && x.hold == 0 && x.passIn == 0 && !s.conn.Ready(loop.Readable) &&
		s.conn.Pending() <= maxPending
}

// answered reports whether no ReadyForQuery is owed any more. What a Sync never followed is not waited for.
func (s *session) answered() bool {
	x := s.x
	for i := x.led.head; i < len(x.led.q); i++ {
		switch x.led.q[i].kind {
		case kindQuery, kindSync, kindFunction:
			return x.copyIn
		}
	}
	return true
}

// wait suspends the session until one of its two sides can go on.
func (s *session) wait() error {
	x := s.x
	client, deadline := loop.Event(0), loop.Forever
	if s.acceptsInput() {
		client = loop.Readable
	} else {
		client = loop.Gone
	}
	if s.conn.Pending() > maxPending {
		client |= loop.Drained
	}
	var nc *loop.Conn
	server := loop.Event(0)
	if x.server != nil {
		nc = x.server.Net
		if s.conn.Pending() <= maxPending {
			server = loop.Readable
		}
		if nc.Pending() > maxPending {
			server |= loop.Drained
		}
	}
	switch {
	case x.waiter != nil:
		deadline = min(x.deadline, x.noticeAt)
	case x.hold != 0:
		deadline = x.hold
	case s.looksAgain():
		deadline = x.lookAgain
	}
	if err := x.f.Wait(s.conn, client, nc, server, deadline); err != nil {
		return errAdminShutdown
	}
	if s.killed {
		return errAdminShutdown
	}
	if client == loop.Gone && s.conn.Ready(loop.Gone) {
		return clientGone{io.EOF} // its requests wait for one another, and nobody waits for the answers
	}
	if x.waiter != nil {
		return s.waited()
	}
	if s.looksAgain() && s.w.loop.Now() >= x.lookAgain {
		return s.leaveServer()
	}
	return nil
}

// tied reports whether the session keeps its server connection between transactions.
func (s *session) tied() bool { return s.x.pins != 0 || s.pool.Config().Mode == pool.SessionMode }

// acceptsInput reports whether more of the client's requests may be read now.
func (s *session) acceptsInput() bool {
	x := s.x
	if x.terminate || x.stalled || x.fence || x.apply || x.stock || x.errand != nil || s.conn.Pending() > maxPending {
		return false
	}
	if x.waiter != nil {
		return len(s.in) < maxRequest
	}
	return x.server == nil || x.server.Net.Pending() <= maxPending
}

// end closes the session. What becomes of its server connection depends on what is known of it.
func (s *session) end(reason error) {
	if s.ended && s.conn.Closed() {
		return
	}
	x := s.x
	s.ended = true
	amidst := false
	if x != nil {
		amidst = x.passOut > 0 && !x.passOutDrop
		if x.waiter != nil {
			s.leaveQueue()
		}
		if x.server != nil {
			s.letGo(s.state())
		}
	}
	if !amidst { // half a row cannot be followed by anything
		s.sayGoodbye(reason)
	}
	s.leaveBooks()
	if s.tls != nil && s.conn.Err() == nil {
		_ = s.tls.Close()
	}
	s.w.linger(s.conn)
}

// leaveBooks takes the session off everything that names it or counts on it.
func (s *session) leaveBooks() {
	s.srv.forget(s)
	for _, cs := range s.stmts {
		s.srv.texts.Drop(cs.stmt)
	}
	s.stmts, s.unnamed, s.in = nil, nil, nil
	for _, st := range []*settings{s.settings, s.startup} {
		if st != nil {
			s.srv.settings.drop(st)
		}
	}
	s.settings, s.startup = nil, nil
}

// sayGoodbye tells the client why, where it is still there and the reason is one to tell.
func (s *session) sayGoodbye(reason error) {
	var told *wire.Error
	if errors.Is(reason, errTerminated) || errors.Is(reason, io.EOF) || !errors.As(reason, &told) {
		return
	}
	fatal := *told
	fatal.Severity = "FATAL"
	s.sendError(&fatal)
}

// state says in which state the session leaves its server connection.
func (s *session) state() pool.Clean {
	x := s.x
	if !s.inStep() || x.fatal {
		return pool.Broken
	}
	switch {
	case s.tied():
		return pool.Reset
	case x.status != 'I':
		return pool.Rollback
	}
	return pool.Ready
}

// letGo gives the server connection back to its pool.
func (s *session) letGo(how pool.Clean) {
	x := s.x
	c := x.server
	x.server = nil
	if how == pool.Broken && !x.led.settled() && !x.fatal {
		c.Abandon(s.w.loop)
	}
	for i := len(x.led.q) - 1; i >= x.led.head; i-- {
		s.abandon(x.led.q[i].effect)
		x.dropEffect(x.led.q[i].effect)
	}
	x.led.reset()
	x.open, x.copyIn, x.copySyncs, x.fence, x.fenceDue, x.copyMess = false, false, 0, false, false, false
	x.seen, x.slack = false, 0
	x.rest, x.passOut, x.fresh, x.checkShape = nil, 0, nil, false
	s.unpin(x.pins)
	x.touched, x.resets, x.settles = x.touched[:0], false, false
	s.pool.Counters.Transactions.Add(1)
	s.pool.Release(c, how)
}
