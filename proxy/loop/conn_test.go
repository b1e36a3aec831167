package loop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestEcho(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		r := newRig(t, 1)
		nc, peer := pair(t, network)
		c := Wrap(nc)
		if err := c.Adopt(); err != nil {
			t.Fatal(err)
		}
		r.do(0, func(l *Loop) { _ = l.Register(c, echo(c)) })
		for n := 1; n < 1<<21; n = n*3 + 1 {
			msg := random(n)
			go mustWrite(t, peer, msg)
			mustRead(t, peer, msg)
		}
		r.eventually("no fiber is lent to an idle conn", func() bool {
			s := r.g.Loops()[0].Stats()
			return s.Fibers == 0 && s.Conns == 1
		})
	})
}

// An event for one conn while its fiber waits for the other must be found later, whatever the kind of event.
func TestEventWhileWaitingForTheOther(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		r := newRig(t, 1)
		an, apeer := pair(t, network)
		bn, bpeer := pair(t, network)
		a, b := r.adopt(0, an, nil), r.adopt(0, bn, nil)
		var fromA, fromB []byte
		var endA error
		done := r.fiber(0, func(f *Fiber) {
			f.Attach(a)
			f.Attach(b)
			for len(fromB) == 0 { // deaf to a
				if err := f.Wait(b, Readable, nil, 0, Forever); err != nil {
					t.Error(err)
				}
				fromB, _ = readAll(b)
			}
			if err := f.Wait(a, Readable, nil, 0, Forever); err != nil {
				t.Error(err)
			}
			for endA == nil {
				var more []byte
				more, endA = readAll(a)
				fromA = append(fromA, more...)
				if endA == nil {
					_ = f.Wait(a, Readable, b, Readable, Forever)
				}
			}
		})
		mustWrite(t, apeer, []byte("early"))
		_ = apeer.Close()
		r.do(0, func(*Loop) {}) // a poll or two passes
		r.do(0, func(*Loop) {})
		mustWrite(t, bpeer, []byte("late"))
		r.wait(done, "the fiber")
		if string(fromA) != "early" || string(fromB) != "late" || endA != io.EOF {
			t.Errorf("from a %q %v, from b %q", fromA, endA, fromB)
		}
	})
}

// Two conns get something in the same poll: a fiber that waits for both finds both.
func TestBothSidesInOneTurn(t *testing.T) {
	r := newRig(t, 1)
	an, apeer := pair(t, "unix")
	bn, bpeer := pair(t, "unix")
	a, b := r.adopt(0, an, nil), r.adopt(0, bn, nil)
	both := false
	done := r.fiber(0, func(f *Fiber) {
		f.Attach(a)
		f.Attach(b)
		_ = f.Wait(a, Readable, b, Readable, Forever)
		for !a.Ready(Readable) || !b.Ready(Readable) {
			f.Yield() // the goroutine driver may need another poll
		}
		both = true
	})
	r.do(0, func(*Loop) { // held here, the loop cannot poll between the two
		mustWrite(t, apeer, []byte("1"))
		mustWrite(t, bpeer, []byte("2"))
	})
	r.wait(done, "the fiber")
	if !both {
		t.Error("one of the two was lost")
	}
}

// Bytes and the end of the stream in one event: the bytes come first, then EOF for ever.
func TestEndTogetherWithData(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		r := newRig(t, 1)
		nc, peer := pair(t, network)
		var got []byte
		done := make(chan struct{})
		var c *Conn
		job := serve(func(*Fiber) {
			buf := make([]byte, 2) // shorter than what is there
			for {
				n, err := c.Read(buf)
				got = append(got, buf[:n]...)
				if err == ErrWouldBlock {
					return
				}
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Error(err)
				}
			}
			if _, err := c.Read(buf); err != io.EOF || !errors.Is(c.Err(), io.EOF) {
				t.Errorf("after the end: %v, Err %v", err, c.Err())
			}
			_ = c.Close()
			close(done)
		})
		mustWrite(t, peer, []byte("goodbye"))
		_ = peer.Close()
		c = Wrap(nc)
		if err := c.Adopt(); err != nil {
			t.Fatal(err)
		}
		r.do(0, func(l *Loop) { _ = l.Register(c, job) })
		r.wait(done, "the handler")
		if string(got) != "goodbye" {
			t.Errorf("got %q", got)
		}
	})
}

// A client that ends its own stream and still reads, as `nc` does, gets all of its answer.
func TestHalfClosedPeerIsStillAnswered(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		r := newRig(t, 1)
		nc, peer := pair(t, network)
		answer := random(4 << 20) // more than the kernel takes
		c := Wrap(nc)
		if err := c.Adopt(); err != nil {
			t.Fatal(err)
		}
		r.do(0, func(l *Loop) {
			_ = l.Register(c, serve(func(*Fiber) {
				question, err := readAll(c)
				if len(question) > 0 {
					if _, err := c.Write(answer[:3<<20]); err != nil {
						t.Error(err)
					}
				}
				if err != nil { // the end, with most of the answer still to be sent
					if _, err := c.Write(answer[3<<20:]); err != nil {
						t.Error(err)
					}
					c.CloseAfterFlush()
				}
			}))
		})
		mustWrite(t, peer, []byte("question"))
		_ = peer.(interface{ CloseWrite() error }).CloseWrite()
		mustRead(t, peer, answer)
		if n, err := peer.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after the answer: %d bytes, %v", n, err)
		}
		r.eventually("the conn is gone", func() bool { return r.g.Loops()[0].Stats().Conns == 0 })
	})
}

func TestReset(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		r := newRig(t, 1)
		nc, peer := pair(t, network)
		c := r.adopt(0, nc, nil)
		var rerr, werr error
		done := r.fiber(0, func(f *Fiber) {
			f.Attach(c)
			_, _ = c.Write([]byte("unread")) // a unix peer resets when it closes with unread bytes
			for rerr == nil {
				_ = f.Wait(c, Readable, nil, 0, Forever)
				_, rerr = readAll(c)
			}
			_, werr = c.Write([]byte("x"))
		})
		if tcp, ok := peer.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		} else {
			r.do(0, func(*Loop) {})
			r.do(0, func(*Loop) {})
		}
		_ = peer.Close()
		r.wait(done, "the reset")
		if !errors.Is(rerr, syscall.ECONNRESET) {
			t.Errorf("read: %v", rerr)
		}
		if werr == nil {
			t.Error("a write after the reset was accepted")
		}
	})
}

// A reset while a fiber waits for its bytes to be taken must end the wait.
func TestResetWhileDraining(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		r := newRig(t, 1)
		nc, peer := pair(t, network)
		c := r.adopt(0, nc, nil)
		written := make(chan struct{})
		var pending int
		done := r.fiber(0, func(f *Fiber) {
			f.Attach(c)
			_, _ = c.Write(random(8 << 20))
			close(written)
			for c.Pending() > 0 {
				_ = f.Wait(c, Drained, nil, 0, Forever)
			}
			pending = c.Pending()
			if c.Err() == nil {
				t.Error("drained without an error, and nobody read it")
			}
		})
		r.wait(written, "the write")
		if tcp, ok := peer.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = peer.Close()
		r.wait(done, "the end of the wait")
		if pending != 0 {
			t.Errorf("%d bytes pending on a dead conn", pending)
		}
	})
}

func TestShortReads(t *testing.T) {
	r := newRig(t, 1)
	nc, peer := pair(t, "unix")
	c := r.adopt(0, nc, nil)
	const rounds = 2000
	total := 0
	done := r.fiber(0, func(f *Fiber) {
		f.Attach(c)
		buf := make([]byte, 7)
		for total < 5*rounds {
			n, err := c.Read(buf)
			total += n
			if err == ErrWouldBlock {
				_ = f.Wait(c, Readable, nil, 0, Forever)
			} else if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range rounds { // 5 bytes against reads of 7: some reads are full, some short, some find nothing
		mustWrite(t, peer, []byte("12345"))
	}
	r.wait(done, "all bytes")
}

func TestEmptyReadKeepsTheEdge(t *testing.T) {
	r := newRig(t, 1)
	nc, peer := pair(t, "tcp")
	c := r.adopt(0, nc, nil)
	done := r.fiber(0, func(f *Fiber) {
		f.Attach(c)
		_ = f.Wait(c, Readable, nil, 0, Forever)
		if n, err := c.Read(nil); n != 0 || err != nil {
			t.Errorf("empty read: %d %v", n, err)
		}
		_ = f.Wait(c, Readable, nil, 0, Forever)
	})
	mustWrite(t, peer, []byte("x"))
	r.wait(done, "the second wait")
}

// A peer that does not read: Write never waits, Pending tells, Drained comes when it has read, the bytes are right.
func TestPartialWrites(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		r := newRig(t, 1)
		nc, peer := pair(t, network)
		c := r.adopt(0, nc, nil)
		want := random(8 << 20)
		written := make(chan struct{})
		var before int
		done := r.fiber(0, func(f *Fiber) {
			f.Attach(c)
			for i := 0; i < len(want); i += 1 << 20 {
				if n, err := c.Write(want[i : i+1<<20]); n != 1<<20 || err != nil {
					t.Errorf("write: %d %v", n, err)
				}
			}
			before = c.Pending()
			close(written)
			for c.Pending() > 0 {
				_ = f.Wait(c, Drained, nil, 0, Forever)
			}
		})
		r.wait(written, "the writes")
		if before == 0 {
			t.Fatal("the kernel took everything; the test shows nothing")
		}
		mustRead(t, peer, want)
		r.wait(done, "Drained")
		r.do(0, func(*Loop) {
			if c.out != nil || len(r.g.Loops()[0].spills) > 16 {
				t.Error("the spill buffer was not given back")
			}
		})
	})
}

// A writer that keeps Pending under a bound but never lets it reach zero must not make the buffer grow.
func TestPendingBoundsMemory(t *testing.T) {
	r := newRig(t, 1)
	nc, peer := pair(t, "unix")
	c := r.adopt(0, nc, nil)
	const bound, chunk, total = 256 << 10, 32 << 10, 64 << 20
	largest := 0
	done := r.fiber(0, func(f *Fiber) {
		f.Attach(c)
		block := random(chunk)
		for sent := 0; sent < total; sent += chunk {
			for c.Pending() > bound {
				f.Yield()
			}
			_, _ = c.Write(block)
			largest = max(largest, cap(c.out))
		}
		for c.Pending() > 0 {
			_ = f.Wait(c, Drained, nil, 0, Forever)
		}
	})
	if _, err := io.CopyN(io.Discard, peer, total); err != nil {
		t.Error(err)
	}
	r.wait(done, "the writer")
	if largest > 4*bound {
		t.Errorf("the buffer grew to %d bytes with at most %d pending", largest, bound+chunk)
	}
}

// Both directions are full at once; the loop must go on reading while it cannot write.
func TestBothDirectionsFull(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		r := newRig(t, 1)
		nc, peer := pair(t, network)
		c := r.adopt(0, nc, nil)
		up, down := random(6<<20), random(6<<20)
		var got []byte
		done := r.fiber(0, func(f *Fiber) {
			f.Attach(c)
			_, _ = c.Write(down)
			for len(got) < len(up) || c.Pending() > 0 {
				more, err := readAll(c)
				if err != nil {
					t.Error(err)
					return
				}
				got = append(got, more...)
				want := Readable
				if c.Pending() > 0 {
					want |= Drained
				}
				if len(got) < len(up) || c.Pending() > 0 {
					_ = f.Wait(c, want, nil, 0, Forever)
				}
			}
		})
		mustWrite(t, peer, up) // before it reads anything
		mustRead(t, peer, down)
		r.wait(done, "the fiber")
		if !bytes.Equal(got, up) {
			t.Error("the bytes read differ from those sent")
		}
	})
}

func TestCloseAfterFlush(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		r := newRig(t, 1)
		nc, peer := pair(t, network)
		c := r.adopt(0, nc, nil)
		want := random(4 << 20)
		r.do(0, func(*Loop) {
			_, _ = c.Write(want)
			c.CloseAfterFlush()
			c.CloseAfterFlush()
			if c.Closed() {
				t.Error("closed before it was flushed")
			}
		})
		mustRead(t, peer, want)
		if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after the last byte: %v", err)
		}
		r.do(0, func(*Loop) {
			if !c.Closed() {
				t.Error("still open")
			}
		})
	})
}

func TestCloseWakesTheFiberThatWaits(t *testing.T) {
	r := newRig(t, 1)
	nc, peer := pair(t, "tcp")
	c := r.adopt(0, nc, nil)
	var err error
	waits := r.fiber(0, func(f *Fiber) {
		f.Attach(c)
		_ = f.Wait(c, Readable, nil, 0, Forever)
		_, err = c.Read(f.Loop().Buffer())
	})
	r.do(0, func(*Loop) {})
	r.wait(r.fiber(0, func(*Fiber) { _ = c.Close(); _ = c.Close() }), "the fiber that closes")
	r.wait(waits, "the fiber that waited")
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer sees %v", err)
	}
	if n := r.g.Loops()[0].Stats().Conns; n != 0 {
		t.Errorf("%d conns counted, want 0", n)
	}
}

// A conn is closed, attached, released or given another handler after an event has queued its handler's job: the job
// must not run on it any more.
func TestJobsThatHaveNotBegunAreWithdrawn(t *testing.T) {
	takeovers := map[string]func(f *Fiber, c *Conn){
		"close":   func(_ *Fiber, c *Conn) { _ = c.Close() },
		"attach":  func(f *Fiber, c *Conn) { f.Attach(c) },
		"release": func(_ *Fiber, c *Conn) { c.Release() },
		"handler": func(_ *Fiber, c *Conn) { c.SetHandler(nil) },
	}
	for name, takeOver := range takeovers {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			nc, peer := pair(t, "unix")
			stale := false
			c := r.adopt(0, nc, serve(func(*Fiber) { stale = true }))
			queued := make(chan struct{})
			done := r.fiber(0, func(f *Fiber) {
				for c.fiber == nil { // until the poll of this very turn has queued the job, behind us
					f.Yield()
					if c.fiber == nil && !c.Ready(Readable) {
						select {
						case <-queued:
						default:
							mustWrite(t, peer, []byte("x"))
							close(queued)
						}
					}
				}
				takeOver(f, c)
				f.Yield()
				if name == "attach" {
					if got, _ := readAll(c); string(got) != "x" {
						t.Errorf("the fiber that took over read %q", got)
					}
				}
			})
			r.wait(done, "the take-over")
			r.do(0, func(*Loop) {})
			r.do(0, func(*Loop) {
				if stale {
					t.Error("the withdrawn job ran")
				}
				if name == "release" {
					_ = c.Close()
				}
			})
			if n := r.g.Loops()[0].Stats().Fibers; n != 0 {
				t.Errorf("%d fibers lent, want 0", n)
			}
		})
	}
}

// A handler that returns before it has read everything is woken again for the rest.
func TestHandlerThatLeavesBytes(t *testing.T) {
	r := newRig(t, 1)
	nc, peer := pair(t, "unix")
	var got []byte
	all := make(chan struct{})
	c := Wrap(nc)
	if err := c.Adopt(); err != nil {
		t.Fatal(err)
	}
	r.do(0, func(l *Loop) {
		_ = l.Register(c, serve(func(*Fiber) {
			var b [1]byte
			n, err := c.Read(b[:])
			if got = append(got, b[:n]...); string(got) == "one by one" {
				close(all)
			}
			if err != nil && err != ErrWouldBlock {
				_ = c.Close()
			}
		}))
	})
	mustWrite(t, peer, []byte("one by one"))
	r.wait(all, "all bytes")
}

func TestDetachWakesTheHandlerForWhatIsThere(t *testing.T) {
	r := newRig(t, 1)
	nc, peer := pair(t, "tcp")
	served := make(chan string, 1)
	c := r.adopt(0, nc, nil)
	r.do(0, func(*Loop) {
		c.SetHandler(serve(func(*Fiber) {
			got, err := readAll(c)
			if err != nil {
				_ = c.Close()
				return
			}
			served <- string(got)
		}))
	})
	r.wait(r.fiber(0, func(f *Fiber) {
		f.Attach(c)
		mustWrite(t, peer, []byte("for the handler"))
		_ = f.Wait(c, Readable, nil, 0, Forever)
		c.Detach()
	}), "the fiber that detaches")
	select {
	case got := <-served:
		if got != "for the handler" {
			t.Errorf("the handler read %q", got)
		}
	case <-time.After(patience):
		t.Fatal("the handler was not woken")
	}
}

func TestSetHandlerOnWhatIsThereAlready(t *testing.T) {
	r := newRig(t, 1)
	nc, peer := pair(t, "unix")
	c := r.adopt(0, nc, nil) // nobody to wake
	mustWrite(t, peer, []byte("x"))
	r.eventually("the bytes are seen", func() (ready bool) {
		r.do(0, func(*Loop) { ready = c.Ready(Readable) })
		return ready
	})
	served := make(chan struct{})
	r.do(0, func(*Loop) {
		c.SetHandler(serve(func(*Fiber) { _, _ = readAll(c); close(served) }))
	})
	r.wait(served, "the new handler")
}

// A failed write by somebody else ends the wait of the fiber that is attached.
func TestAForeignWritesErrorEndsTheWait(t *testing.T) {
	r := newRig(t, 1)
	nc, peer := pair(t, "unix")
	c := r.adopt(0, nc, nil)
	filled := make(chan struct{})
	done := r.fiber(0, func(f *Fiber) {
		f.Attach(c)
		_, _ = c.Write(random(1 << 20))
		close(filled)
		_ = f.Wait(c, Drained, nil, 0, Forever)
	})
	r.wait(filled, "the fiber's write")
	r.do(0, func(*Loop) { c.fail(io.ErrClosedPipe) }) // as a write of another fiber would
	r.wait(done, "the fiber")
	_ = peer.Close()
}

// Clients come, talk and are closed from all sides, so that descriptors, slots and fibers are reused all the time.
// Nobody may ever see another's bytes.
func TestChurn(t *testing.T) {
	r := newRig(t, 2)
	const clients, rounds = 24, 40
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for round := range rounds {
				churnOnce(t, r, i, round)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(6 * patience):
		t.Fatalf("stuck\n%s", activeStacks())
	}
	for _, l := range r.g.Loops() {
		r.eventually("everything is given back", func() bool { s := l.Stats(); return s.Conns == 0 && s.Fibers == 0 })
	}
}

func churnOnce(t *testing.T, r *rig, i, round int) {
	nc, peer := pair(t, networks[round%2])
	defer peer.Close()
	c := Wrap(nc)
	if err := c.Adopt(); err != nil {
		t.Error(err)
		return
	}
	l := r.g.Loops()[(i+round)%2]
	l.Post(func() { _ = l.Register(c, echo(c)) })
	msg := bytes.Repeat([]byte{byte(i), byte(round)}, 1+(i*round)%5000)
	switch round % 4 {
	case 0: // killed by another
		mustWrite(t, peer, msg)
		mustRead(t, peer, msg)
		l.Post(func() { _ = c.Close() })
		_, _ = io.Copy(io.Discard, peer)
	case 1: // killed in the middle
		mustWrite(t, peer, msg[:len(msg)/2])
		l.Post(func() { _ = c.Close() })
		got, _ := io.ReadAll(peer)
		if !bytes.HasPrefix(msg, got) {
			t.Error("somebody else's bytes")
		}
	case 2: // goes away without reading
		mustWrite(t, peer, msg)
	default:
		mustWrite(t, peer, msg)
		mustRead(t, peer, msg)
	}
}

func TestAddresses(t *testing.T) {
	r := newRig(t, 1)
	nc, peer := pair(t, "tcp")
	c := Wrap(nc)
	if got := c.RemoteAddr().String(); got != peer.LocalAddr().String() {
		t.Errorf("before adoption: peer %s, want %s", got, peer.LocalAddr())
	}
	if err := c.Adopt(); err != nil {
		t.Fatal(err)
	}
	r.do(0, func(l *Loop) { _ = l.Register(c, nil) })
	if got := c.RemoteAddr().String(); got != peer.LocalAddr().String() {
		t.Errorf("after adoption: peer %s, want %s", got, peer.LocalAddr())
	}
	if got := c.LocalAddr().String(); got != peer.RemoteAddr().String() {
		t.Errorf("after adoption: own %s, want %s", got, peer.RemoteAddr())
	}
	unc, _ := pair(t, "unix")
	u := r.adopt(0, unc, nil)
	if got := u.LocalAddr(); got.Network() != "unix" || got.String() == "" {
		t.Errorf("unix: %s %q", got.Network(), got)
	}
}

// A fiber that does not read a client's next request yet learns that the client has gone, and not before.
func TestGone(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		r := newRig(t, 1)
		nc, peer := pair(t, network)
		c := r.adopt(0, nc, nil)
		mustWrite(t, peer, []byte("the next request, unread"))
		early := make(chan struct{})
		var gone bool
		done := r.fiber(0, func(f *Fiber) {
			f.Attach(c)
			for !c.Ready(Readable) {
				_ = f.Wait(c, Readable, nil, 0, Forever)
			}
			_ = f.Wait(c, Gone, nil, 0, f.Loop().After(250*time.Millisecond))
			if c.Ready(Gone) {
				t.Error("gone although the peer is there")
			}
			close(early)
			for !c.Ready(Gone) {
				if f.Wait(c, Gone, nil, 0, Forever) != nil {
					return
				}
			}
			gone = true
			if got, err := readAll(c); string(got) != "the next request, unread" {
				t.Errorf("after that %q, %v was read", got, err)
			}
		})
		r.wait(early, "the first wait")
		_ = peer.Close()
		r.wait(done, "the news")
		if !gone {
			t.Error("the fiber was not told")
		}
	})
}
