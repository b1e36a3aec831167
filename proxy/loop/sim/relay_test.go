package sim

import (
	"bytes"
	"fmt"
	"log/slog"
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
)

// scene is a world with clients, a relaying session for each, and servers that echo. Sessions wait for both sides at
// once, move between loops, do background work and have deadlines; connections break.
type scene struct {
	*World
	loops    []*loop.Loop
	clients  []*client
	sessions []*session
	log      bytes.Buffer
}

func newScene(seed uint64, clients int, cutChance float64) *scene {
	s := &scene{}
	s.World = New(seed, slog.New(slog.NewTextHandler(&s.log, nil)))
	for range 1 + s.Rand().IntN(3) {
		s.loops = append(s.loops, s.Loop())
	}
	for i := range clients {
		s.add(i, cutChance)
	}
	return s
}

func (s *scene) add(i int, cutChance float64) {
	ours, theirs := s.Pair(fmt.Sprintf("front %d", i), fmt.Sprintf("client %d", i))
	back, server := s.Pair(fmt.Sprintf("back %d", i), fmt.Sprintf("server %d", i))
	c := &client{s: s, end: theirs, left: 1 + s.Rand().IntN(8)}
	sess := &session{s: s, id: i, front: loop.NewConn(ours), back: loop.NewConn(back)}
	s.clients, s.sessions = append(s.clients, c), append(s.sessions, sess)
	sess.land(s.loops[s.Rand().IntN(len(s.loops))])
	ours.MaybeCut(cutChance, 2000)
	back.MaybeCut(cutChance, 2000)
	e := &echoServer{end: server}
	server.OnEvent(e.step)
	theirs.OnEvent(c.step)
}

// done reports whether every client has had its answers or has lost its connection, and nothing is left behind.
func (s *scene) done() bool {
	for i, c := range s.clients {
		if !c.done || !s.sessions[i].over {
			return false
		}
	}
	for _, l := range s.loops {
		if st := l.Stats(); st.Conns != 0 || st.Fibers != 0 {
			return false
		}
	}
	return true
}

// play runs the scene to its end.
func (s *scene) play() error {
	if err := s.Run(time.Hour, s.done); err != nil {
		return fmt.Errorf("%w%s%s", err, s.log.String(), s.state())
	}
	for i, c := range s.clients {
		if c.err != nil {
			return fmt.Errorf("seed %d: client %d: %w\n%s", s.Seed(), i, c.err, s.Trace())
		}
	}
	if s.log.Len() > 0 {
		return fmt.Errorf("seed %d: %s", s.Seed(), s.log.String())
	}
	return s.Close()
}

func (s *scene) state() (text string) {
	for i, c := range s.clients {
		x := s.sessions[i]
		text += fmt.Sprintf("client %d: done %v, %d left, %d unsent, %d owed; session over %v, pending %d and %d, ready %v %v\n", i, c.done,
			c.left, len(c.out), len(c.owed), x.over, x.front.Pending(), x.back.Pending(), x.front.Ready(loop.Readable),
			x.back.Ready(loop.Readable))
	}
	return text
}

// client sends messages and reads their echo. It does not wait for one before it sends the next.
type client struct {
	s     *scene
	end   *End
	left  int    // messages to be sent
	out   []byte // of the message under way
	owed  []byte // sent and not yet answered
	done  bool
	err   error
	total int
}

func (c *client) step() {
	if c.done {
		return
	}
	if c.read() && c.write() && c.left == 0 && len(c.out) == 0 && len(c.owed) == 0 {
		c.finish(nil)
	}
}

func (c *client) finish(err error) {
	c.done, c.err = true, err
	_ = c.end.Close()
}

func (c *client) read() bool {
	var buf [1000]byte
	for {
		n, err := c.end.TryRead(buf[:])
		if n > 0 {
			if !bytes.HasPrefix(c.owed, buf[:n]) {
				c.finish(fmt.Errorf("%d bytes after %d are not the echo of what was sent", n, c.total))
				return false
			}
			c.owed = c.owed[n:]
			c.total += n
			continue
		}
		if err != loop.ErrWouldBlock {
			c.finish(nil) // cut; nothing wrong has come before
			if c.s.Counts().AllCuts() == 0 {
				c.err = fmt.Errorf("after %d bytes: %w, although nothing was cut", c.total, err)
			}
			return false
		}
		return true
	}
}

func (c *client) write() bool {
	for c.left > 0 || len(c.out) > 0 {
		if len(c.out) == 0 {
			c.left--
			c.out = make([]byte, 1+c.s.Rand().IntN(300))
			for i := range c.out {
				c.out[i] = byte(c.s.Rand().Uint32())
			}
		}
		n, err := c.end.TryWrite(c.out)
		if err != nil {
			c.finish(nil)
			return false
		}
		c.owed = append(c.owed, c.out[:n]...)
		c.out = c.out[n:]
		if len(c.out) > 0 {
			return true
		}
	}
	return true
}

// echoServer sends back what it reads.
type echoServer struct {
	end *End
	out []byte
}

func (e *echoServer) step() {
	var buf [700]byte
	for {
		n, err := e.end.TryRead(buf[:])
		e.out = append(e.out, buf[:n]...)
		if err != nil {
			if err != loop.ErrWouldBlock {
				_ = e.end.Close()
				return
			}
			break
		}
	}
	n, _ := e.end.TryWrite(e.out)
	e.out = e.out[n:]
}

// session relays between its two conns as long as there is something to do, then goes idle: its fiber returns.
type session struct {
	s           *scene
	id          int
	front, back *loop.Conn
	over        bool
	moves       int
}

func (x *session) land(l *loop.Loop) {
	l.Post(func() {
		if l.Register(x.back, backSide{x}) != nil || l.Register(x.front, x) != nil {
			x.end()
		}
	})
}

// backSide serves what the server says while the session is idle.
type backSide struct{ x *session }

func (b backSide) Serve(f *loop.Fiber) {
	f.Attach(b.x.front)
	b.x.relay(f)
}

// Serve implements loop.Handler.
func (x *session) Serve(f *loop.Fiber) {
	f.Attach(x.back)
	x.relay(f)
}

const bound = 500 // bytes that one side may owe before the other is read

func (x *session) relay(f *loop.Fiber) {
	if x.over {
		return
	}
	x.chores(f)
	for idle, enough := 0, x.s.Rand().IntN(3); ; {
		moved, err := x.pump(f.Loop())
		if err != nil {
			x.end()
			return
		}
		if moved {
			idle = 0
			continue
		}
		if idle >= enough {
			break
		}
		wf, wb := x.wants()
		deadline := f.Loop().Now() + int64(5*time.Millisecond)
		if err := f.Wait(x.front, wf, x.back, wb, deadline); err != nil {
			x.end()
			return
		}
		if f.Loop().Now() >= deadline {
			idle++
		}
	}
	if x.front.Pending() == 0 && x.back.Pending() == 0 {
		x.rest(f)
	} else {
		x.park(f)
	}
}

// rest gives the fiber back, sometimes after a move to another loop.
func (x *session) rest(f *loop.Fiber) {
	if x.s.Rand().IntN(3) == 0 {
		x.moves++
		x.front.Release()
		x.back.Release()
		x.land(x.s.loops[x.s.Rand().IntN(len(x.s.loops))])
		return
	}
	x.front.Detach()
	x.back.Detach()
	x.s.Note(x.id, int(f.Loop().Stats().Fibers))
}

// park waits without a deadline: a wake-up that is lost here is lost for good.
func (x *session) park(f *loop.Fiber) {
	wf, wb := x.wants()
	if f.Wait(x.front, wf, x.back, wb, loop.Forever) != nil {
		x.end()
		return
	}
	x.relay(f)
}

func (x *session) chores(f *loop.Fiber) {
	switch x.s.Rand().IntN(6) {
	case 0:
		done := false
		f.Await(func() { done = true })
		if !done {
			panic("Await came back before its function")
		}
	case 1:
		f.Yield()
	case 2:
		f.Wake()
	}
}

func (x *session) wants() (front, back loop.Event) {
	front, back = loop.Readable, loop.Readable
	if x.front.Pending() > bound {
		front, back = front|loop.Drained, 0
	}
	if x.back.Pending() > bound {
		front, back = front&^loop.Readable, back|loop.Drained
	}
	return front, back
}

func (x *session) pump(l *loop.Loop) (moved bool, err error) {
	for _, dir := range [2][2]*loop.Conn{{x.front, x.back}, {x.back, x.front}} {
		if dir[1].Pending() > bound {
			continue
		}
		n, err := dir[0].Read(l.Buffer()[:1+x.s.Rand().IntN(600)])
		if n > 0 {
			moved = true
			if _, err := dir[1].Write(l.Buffer()[:n]); err != nil {
				return moved, err
			}
		}
		if err != nil && err != loop.ErrWouldBlock {
			return moved, err
		}
	}
	return moved, nil
}

func (x *session) end() {
	x.over = true
	_ = x.front.Close()
	_ = x.back.Close()
}
