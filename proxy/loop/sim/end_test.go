//go:build !planted_lost_wake && !planted_lost_edge && !planted_stale_job

package sim

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/proxy/loop"
)

func bare(seed uint64) *World { return New(seed, slog.New(slog.DiscardHandler)) }

// settle runs until nothing can happen any more.
func settle(w *World) {
	for w.Step() {
	}
}

// drain reads everything that has arrived.
func drain(e *End) (got []byte, err error) {
	var buf [64]byte
	for {
		n, err := e.TryRead(buf[:])
		got = append(got, buf[:n]...)
		if err != nil {
			return got, err
		}
	}
}

// Bytes keep their order and their number through every mood, with a reader that reads in its own time.
func TestBytesArriveInOrder(t *testing.T) {
	for seed := range uint64(100) {
		w := bare(seed)
		a, b := w.Pair("a", "b")
		want := make([]byte, 3000)
		for i := range want {
			want[i] = byte(i * i >> 3)
		}
		rest := want
		a.OnEvent(func() {
			if len(rest) > 0 {
				n, err := a.TryWrite(rest)
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			} else {
				a.CloseWrite()
			}
		})
		var got []byte
		var end error
		b.OnEvent(func() {
			more, err := drain(b)
			got, end = append(got, more...), err
			if len(rest) == 0 {
				a.poke()
			}
		})
		settle(w)
		if !bytes.Equal(got, want) || end != io.EOF {
			t.Fatalf("seed %d: %d of %d bytes, then %v", seed, len(got), len(want), end)
		}
	}
}

// A writer whose peer does not read is stopped after a window.
func TestWindowBoundsTheWriter(t *testing.T) {
	for seed := range uint64(50) {
		w := bare(seed)
		a, b := w.Pair("a", "b")
		taken := 0
		a.OnEvent(func() {
			for {
				n, err := a.TryWrite(make([]byte, 100_000))
				if taken += n; n == 0 || err != nil {
					return
				}
			}
		})
		settle(w)
		if taken != b.window {
			t.Fatalf("seed %d: %d bytes taken by a window of %d", seed, taken, b.window)
		}
		if got, _ := drain(b); len(got) != taken {
			t.Fatalf("seed %d: %d of %d bytes arrived", seed, len(got), taken)
		}
		settle(w)
		if taken != 2*b.window {
			t.Fatalf("seed %d: the writer was not told of room", seed)
		}
	}
}

func TestHalfClose(t *testing.T) {
	w := bare(1)
	a, b := w.Pair("a", "b")
	_, _ = a.TryWrite([]byte("x"))
	a.CloseWrite()
	settle(w)
	if got, err := drain(b); string(got) != "x" || err != io.EOF {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := b.TryWrite([]byte("y")); err != nil {
		t.Errorf("answer after the half-close: %v", err)
	}
	settle(w)
	if got, err := drain(a); string(got) != "y" || err != loop.ErrWouldBlock {
		t.Errorf("the answer: %q, %v", got, err)
	}
	if _, err := a.TryWrite([]byte("z")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a write after CloseWrite: %v", err)
	}
}

// Closing with unread bytes resets the other side, as does writing to one that is closed.
func TestCloseResets(t *testing.T) {
	w := bare(2)
	a, b := w.Pair("a", "b")
	_, _ = a.TryWrite([]byte("unread"))
	settle(w)
	_ = b.Close()
	settle(w)
	if _, err := drain(a); !errors.Is(err, syscall.ECONNRESET) && err != io.EOF {
		t.Errorf("after the peer closed: %v", err)
	}
	c, d := w.Pair("c", "d")
	_ = d.Close()
	settle(w)
	if _, err := drain(c); err != io.EOF {
		t.Errorf("after an orderly close: %v", err)
	}
	_, _ = c.TryWrite([]byte("x"))
	settle(w)
	if _, err := c.TryWrite([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the second write to a closed peer: %v", err)
	}
}

func TestCuts(t *testing.T) {
	for how := range cuts {
		for seed := range uint64(50) {
			w := bare(seed)
			a, b := w.Pair("ours", "theirs")
			a.CutAfter(10, how)
			const sent = "0123456789abcdef"
			rest := []byte(sent)
			b.OnEvent(func() {
				n, _ := b.TryWrite(rest)
				rest = rest[n:]
			})
			var got []byte
			var end error
			a.OnEvent(func() {
				if end == nil || end == loop.ErrWouldBlock {
					var more []byte
					more, end = drain(a)
					got = append(got, more...)
				}
			})
			settle(w)
			if end == loop.ErrWouldBlock || w.Counts().Cuts[how] != 1 {
				t.Fatalf("cut %d, seed %d: ended with %v after %q; %+v", how, seed, end, got, w.Counts())
			}
			if !strings.HasPrefix(sent, string(got)) {
				t.Fatalf("cut %d, seed %d: read %q", how, seed, got)
			}
			_, err := b.TryRead(make([]byte, 1))
			if how == CutHalf && err != loop.ErrWouldBlock || how != CutHalf && err == loop.ErrWouldBlock {
				t.Fatalf("cut %d, seed %d: the other side reads %v", how, seed, err)
			}
		}
	}
}

// The clock stands still while something can happen, then jumps to what comes next.
func TestClockJumps(t *testing.T) {
	w := bare(3)
	l := w.Loop()
	var woke int64
	l.Post(func() {
		l.Go(job(func(f *loop.Fiber) {
			_ = f.Sleep(l.After(24 * time.Hour))
			woke = l.Now()
		}))
	})
	if err := w.Run(48*time.Hour, func() bool { return woke != 0 }); err != nil {
		t.Fatal(err)
	}
	if late := time.Duration(woke) - 24*time.Hour; late < 0 || late > time.Second {
		t.Errorf("woken %v late", late)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

type job func(f *loop.Fiber)

func (j job) Serve(f *loop.Fiber) { j(f) }

// A fiber that nobody will ever wake is reported, and Close still ends its loop.
func TestStuckIsReported(t *testing.T) {
	w := bare(4)
	l := w.Loop()
	l.Post(func() { l.Go(job(func(f *loop.Fiber) { _ = f.Sleep(loop.Forever) })) })
	if err := w.Run(math.MaxInt32, func() bool { return false }); !errors.Is(err, ErrStuck) {
		t.Errorf("Run: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// The seed of another world gives another schedule; so does another mood of the same code.
func TestSeedsDiffer(t *testing.T) {
	hashes := map[uint64]bool{}
	for seed := range uint64(50) {
		w := bare(seed)
		l := w.Loop()
		n := 0
		for i := range 5 {
			w.After(time.Duration(w.Rand().IntN(100)), i, func() { l.Post(func() { n++ }) })
		}
		if err := w.Run(time.Second, func() bool { return n == 5 }); err != nil {
			t.Fatal(err)
		}
		hashes[w.Hash()] = true
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(hashes) < 50 {
		t.Errorf("%d different traces of 50 seeds", len(hashes))
	}
}
