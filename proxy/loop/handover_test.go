package loop

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"
)

// A conn moves to and fro between two loops while bytes come and go. None may be lost, doubled or misplaced, also
// those that were written and not taken yet.
func TestHandOverUnderTraffic(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		r := newRig(t, 2)
		nc, peer := pair(t, network)
		c := Wrap(nc)
		if err := c.Adopt(); err != nil {
			t.Fatal(err)
		}
		m := &mover{t: t, r: r, c: c, rnd: rand.New(rand.NewPCG(1, 1)), done: make(chan struct{})}
		r.do(0, func(l *Loop) { m.land(l) })
		want := random(24 << 20)
		go func() {
			for rest := want; len(rest) > 0; {
				n := min(len(rest), 1+rand.IntN(100_000))
				mustWrite(t, peer, rest[:n])
				rest = rest[n:]
			}
		}()
		mustRead(t, peer, want)
		_ = peer.Close()
		r.wait(m.done, "the end of the stream")
		if m.moves < 50 {
			t.Errorf("only %d moves", m.moves)
		}
	})
}

// mover echoes what its conn brings and moves it to the other loop after a while.
type mover struct {
	t     *testing.T
	r     *rig
	c     *Conn
	rnd   *rand.Rand
	moves int
	done  chan struct{}
}

func (m *mover) land(l *Loop) {
	if err := l.Register(m.c, m); err != nil {
		m.t.Error(err)
	}
}

// Serve implements Handler.
func (m *mover) Serve(f *Fiber) {
	l := f.Loop()
	for range 1 + m.rnd.IntN(8) {
		n, err := m.c.Read(l.Buffer()[:1+m.rnd.IntN(BufferSize)])
		if err == ErrWouldBlock {
			return
		}
		if err != nil {
			_ = m.c.Close()
			close(m.done)
			return
		}
		_, _ = m.c.Write(l.Buffer()[:n])
	}
	for m.c.Pending() > 1<<20 {
		if f.Wait(m.c, Drained, nil, 0, Forever) != nil {
			return
		}
	}
	m.moves++
	other := m.r.g.Loops()[0]
	if other == l {
		other = m.r.g.Loops()[1]
	}
	m.c.Release()
	other.Post(func() { m.land(other) })
}

// What came before the move is seen after it, without another byte coming.
func TestHandOverKeepsWhatIsThere(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		r := newRig(t, 2)
		nc, peer := pair(t, network)
		c := r.adopt(0, nc, nil)
		mustWrite(t, peer, []byte("before"))
		_ = peer.Close()
		r.do(0, func(*Loop) {})
		r.do(0, func(*Loop) { c.Release() })
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a conn between two loops could be read")
		}
		got := make(chan []byte, 1)
		r.do(1, func(l *Loop) {
			_ = l.Register(c, serve(func(f *Fiber) {
				f.Attach(c)
				var all []byte
				for {
					more, err := readAll(c)
					all = append(all, more...)
					if err != nil {
						_ = c.Close()
						got <- all
						return
					}
					_ = f.Wait(c, Readable, nil, 0, Forever)
				}
			}))
		})
		if b := <-got; string(b) != "before" {
			t.Errorf("after the move: %q", b)
		}
		for i, l := range r.g.Loops() {
			if n := l.Stats().Conns; n != 0 {
				t.Errorf("loop %d counts %d conns", i, n)
			}
		}
	})
}

// A conn that failed on its old loop tells its new one.
func TestHandOverOfAFailedConn(t *testing.T) {
	r := newRig(t, 2)
	nc, peer := pair(t, "tcp")
	c := r.adopt(0, nc, nil)
	_ = peer.Close()
	var err error
	r.wait(r.fiber(0, func(f *Fiber) {
		f.Attach(c)
		for err == nil {
			_ = f.Wait(c, Readable, nil, 0, Forever)
			_, err = readAll(c)
		}
		c.Detach()
		c.Release()
	}), "the end on the first loop")
	told := make(chan error, 1)
	r.do(1, func(l *Loop) {
		_ = l.Register(c, serve(func(f *Fiber) {
			_, err := c.Read(f.Loop().Buffer())
			_ = c.Close()
			told <- err
		}))
	})
	if err := <-told; err != io.EOF {
		t.Errorf("the new loop was told %v", err)
	}
}

func TestRegisterTwice(t *testing.T) {
	r := newRig(t, 2)
	nc, _ := pair(t, "tcp")
	c := r.adopt(0, nc, nil)
	r.do(0, func(l *Loop) {
		if l.Register(c, nil) == nil {
			t.Error("registered twice")
		}
		_ = c.Close()
		if l.Register(c, nil) == nil {
			t.Error("registered after its end")
		}
	})
	if n := r.g.Loops()[0].Stats().Conns; n != 0 {
		t.Errorf("%d conns counted", n)
	}
}

// A conn that was adopted and never registered can be closed, and its peer notices.
func TestCloseWithoutALoop(t *testing.T) {
	for _, adopted := range []bool{false, true} {
		nc, peer := pair(t, "tcp")
		c := Wrap(nc)
		if adopted {
			if err := c.Adopt(); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("adopted %v: the peer sees %v", adopted, err)
		}
	}
}

// What a goroutine has read before adoption, and what it has not, is all there is.
func TestNothingIsLostOverAdoption(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		r := newRig(t, 1)
		nc, peer := pair(t, network)
		c := Wrap(nc)
		want := random(200_000)
		go mustWrite(t, peer, want)
		head := make([]byte, 1000)
		if _, err := io.ReadFull(c, head); err != nil {
			t.Fatal(err)
		}
		if err := c.Adopt(); err != nil {
			t.Fatal(err)
		}
		if err := c.Adopt(); err != nil {
			t.Errorf("a second time: %v", err)
		}
		got := head
		done := make(chan struct{})
		r.do(0, func(l *Loop) {
			_ = l.Register(c, serve(func(*Fiber) {
				more, err := readAll(c)
				if err != nil {
					_ = c.Close()
					return
				}
				if got = append(got, more...); len(got) == len(want) {
					close(done)
				}
			}))
		})
		r.wait(done, "the rest")
		if !bytes.Equal(got, want) {
			t.Error("the bytes differ")
		}
	})
}

func TestAdoptNeedsADescriptor(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := Wrap(a)
	if err := c.Adopt(); err == nil {
		t.Error("a pipe without a descriptor was adopted")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
