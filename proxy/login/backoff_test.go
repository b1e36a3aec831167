package login

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// waits asks, waits and returns how long that was.
func waits(t *testing.T, b *Backoff, addr netip.Addr, user string) time.Duration {
	t.Helper()
	turn, ok := b.ask(addr, user, time.Now())
	if !ok {
		t.Errorf("%s from %s is turned away", user, addr)
	}
	if turn == nil {
		return 0
	}
	<-time.After(turn.wait)
	b.leave(turn)
	return turn.wait
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBackoff(16)
		here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		expect := func(addr netip.Addr, user string, want time.Duration) {
			t.Helper()
			if got := waits(t, b, addr, user); got != want {
				t.Errorf("%s from %s waits %s, want %s", user, addr, got, want)
			}
		}
		b.succeeded(here, "good")
		for range freeFailures {
			expect(here, "x", 0)
			b.failed(here, "x")
		}
		expect(there, "x", 0)
		expect(here, "good", 0)
		expect(here, "new", 0)
		for want := firstWait; want < longestWait; want *= 2 {
			expect(here, "x", want)
			b.failed(here, "x")
		}
		expect(here, "x", longestWait)
		expect(here, "x", longestWait)
		b.succeeded(here, "x")
		expect(here, "x", 0)
		b.failed(here, "x") // one free guess for each success
		expect(here, "x", longestWait)
		<-time.After(forgivenAfter + 1)
		expect(here, "x", 0)
		b.failed(here, "x")
		expect(here, "x", 0)
	})
}

// TestBackoffOfMany: who tries one password with many users is slowed down too, and so is whoever is new at its address.
func TestBackoffOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBackoff(16)
		here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		b.succeeded(here, "good")
		for i := range freeThere {
			if got := waits(t, b, here, fmt.Sprint(i)); got != 0 {
				t.Fatalf("waits %s after %d", got, i)
			}
			b.failed(here, fmt.Sprint(i))
		}
		if got := waits(t, b, here, "another"); got != firstWait {
			t.Errorf("another user waits %s", got)
		}
		if waits(t, b, here, "good")+waits(t, b, there, "another") != 0 {
			t.Error("who has done nothing waits")
		}
		b.succeeded(here, "another")
		if waits(t, b, here, "another") != 0 {
			t.Error("a user waits after a success")
		}
	})
}

// TestBackoffOneAfterAnother: many connections at once guess no faster than one.
func TestBackoffOneAfterAnother(t *testing.T) {
	b := NewBackoff(5)
	now := time.Now()
	one, two := netip.MustParseAddr("2001:db8:0:1::1"), netip.MustParseAddr("2001:db8:0:1:ffff::2")
	other := netip.MustParseAddr("2001:db8:0:2::1")
	for _, addr := range []netip.Addr{one, other} {
		for range freeFailures {
			b.failed(addr, "x")
		}
	}
	var last *turn
	for i := range maxWaiting {
		addr := []netip.Addr{one, two}[i%2]
		turn, ok := b.ask(addr, "x", now)
		if !ok || turn.wait != time.Duration(i+1)*firstWait {
			t.Errorf("%s waits %+v, %v", addr, turn, ok)
		}
		last = turn
	}
	if _, ok := b.ask(one, "x", now); ok {
		t.Error("too many of one address wait")
	}
	if turn, ok := b.ask(other, "x", now); !ok || turn.wait != firstWait {
		t.Errorf("another network waits %+v, %v", turn, ok)
	}
	if _, ok := b.ask(other, "x", now); ok {
		t.Error("too many wait")
	}
	b.leave(last)
	if _, ok := b.ask(other, "x", now); !ok {
		t.Error("none may wait although there is room")
	}
}

func TestBackoffIsBounded(t *testing.T) {
	b := NewBackoff(16)
	for i := range maxRecords + 100 {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		b.failed(addr, "x")
		b.succeeded(addr, fmt.Sprint(i))
	}
	if len(b.visitors) > maxRecords || len(b.places) > maxRecords {
		t.Errorf("%d visitors, %d places", len(b.visitors), len(b.places))
	}
	for range 2 * freeThere {
		b.failed(netip.MustParseAddr("127.0.0.2"), "x")
		b.failed(netip.MustParseAddr("::1"), "x")
	}
	if waits(t, b, netip.MustParseAddr("127.0.0.2"), "x")+waits(t, b, netip.MustParseAddr("::1"), "x") != 0 {
		t.Error("somebody on this machine waits")
	}
	var none *Backoff
	none.failed(netip.Addr{}, "x")
	none.succeeded(netip.Addr{}, "x")
	b.failed(netip.Addr{}, "x") // the unix socket
	if turn, ok := none.ask(netip.MustParseAddr("::1"), "x", time.Now()); turn != nil || !ok {
		t.Error("somebody waits without a Backoff")
	}
}
