package login

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// How guessing is slowed down.
const (
	freeFailures  = 5                      // of a user at an address before its logins there have to wait
	freeThere     = 100                    // of an address, by any users, before all logins there have to
	firstWait     = 100 * time.Millisecond // doubled with each further failure
	longestWait   = 10 * time.Second
	forgivenAfter = 10 * time.Minute // without a failure
)

// Bounds of what is remembered, and of the logins that wait: each of those holds a connection and a goroutine.
const (
	maxRecords = 10_000
	maxWaiting = 4 // for the same reason
)

// Backoff has logins wait that come from where many have failed, so that passwords cannot be guessed fast. It waits
// before the proof, not before the answer: who does not wait for an answer would not be slowed down by that. Logins that
// wait for the same reason wait one after another. A user whose last login from an address was a success does not wait
// there, nor does one for what others have done, until that looks like somebody trying many: that is for many programs
// behind one address, of which one has a wrong password. Nobody on this machine waits: beside an application, all clients
// have one address, and it says nothing of any of them.
//
// It outlives configurations. nil never lets anybody wait.
type Backoff struct {
	mu       sync.Mutex
	visitors map[visitor]*record
	places   map[visitor]*record // without a user
	waiting  int
	most     int // that wait
}

// visitor is a user at an address.
type visitor struct {
	from netip.Addr
	user string
}

// record is what is remembered of a visitor, or of a whole address.
type record struct {
	failures int
	last     time.Time // a failure or success
	next     time.Time // when the next login may go on
	waiting  int
	good     bool // the last login was a success
}

// NewBackoff makes one that has seen nobody. At most so many logins wait at the same time; others that should are turned
// away.
func NewBackoff(most int) *Backoff {
	return &Backoff{most: max(most, 1), visitors: make(map[visitor]*record), places: make(map[visitor]*record)}
}

// counts reports whether logins from an address are counted: not those of the unix socket, which have none, nor others of
// this machine.
func (b *Backoff) counts(addr netip.Addr) bool {
	return b != nil && addr.IsValid() && !addr.IsLoopback()
}

// home is what addresses are counted by: whoever has one IPv6 address has all of its network.
func home(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		if p, err := addr.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

// turn is a login's place among those that wait; nil for one that need not.
type turn struct {
	wait time.Duration
	why  *record
}

// ask says how long a login has to wait, or that it is one too many. Where it has to, leave ends the wait.
func (b *Backoff) ask(addr netip.Addr, user string, now time.Time) (t *turn, ok bool) {
	if !b.counts(addr) {
		return nil, true
	}
	from := home(addr)
	b.mu.Lock()
	defer b.mu.Unlock()
	v, p := b.visitors[visitor{from, user}], b.places[visitor{from: from}]
	switch {
	case v != nil && v.good:
		return nil, true
	case v.over(freeFailures, now):
		return b.queue(v, v.failures-freeFailures, now)
	case p.over(freeThere, now):
		return b.queue(p, p.failures-freeThere, now)
	}
	return nil, true
}

// over reports whether there were too many failures.
func (r *record) over(free int, now time.Time) bool {
	return r != nil && r.failures >= free && now.Sub(r.last) <= forgivenAfter
}

// queue puts a login behind those that wait because of r. The caller holds mu.
func (b *Backoff) queue(r *record, beyond int, now time.Time) (t *turn, ok bool) {
	if b.waiting >= b.most || r.waiting >= maxWaiting {
		return nil, false
	}
	if r.next.Before(now) {
		r.next = now
	}
	r.next = r.next.Add(min(firstWait<<min(beyond, 16), longestWait))
	b.waiting++
	r.waiting++
	return &turn{r.next.Sub(now), r}, true
}

// leave ends a wait.
func (b *Backoff) leave(t *turn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting--
	t.why.waiting--
}

// failed counts a wrong proof.
func (b *Backoff) failed(addr netip.Addr, user string) {
	if !b.counts(addr) {
		return
	}
	from, now := home(addr), time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range []*record{recordOf(b.visitors, visitor{from, user}), recordOf(b.places, visitor{from: from})} {
		if now.Sub(r.last) > forgivenAfter {
			r.failures = 0
		}
		r.failures++
		r.last, r.good = now, false
	}
}

// succeeded remembers who need not wait. What has failed before is not forgotten: who knows one password may be guessing
// another.
func (b *Backoff) succeeded(addr netip.Addr, user string) {
	if !b.counts(addr) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := recordOf(b.visitors, visitor{home(addr), user})
	r.last, r.good = time.Now(), true
}

// recordOf finds or makes a record. Where there are too many, of some the one goes of which nothing was heard for longest.
// The caller holds mu.
func recordOf(all map[visitor]*record, v visitor) *record {
	if r := all[v]; r != nil {
		return r
	}
	if len(all) >= maxRecords {
		const some = 16
		var oldest visitor
		n := 0
		for one, r := range all {
			if n == 0 || r.last.Before(all[oldest].last) {
				oldest = one
			}
			if n++; n == some {
				break
			}
		}
		delete(all, oldest)
	}
	r := new(record)
	all[v] = r
	return r
}

// backOff has the login wait, if it has to.
func (a *attempt) backOff(ctx context.Context) error {
	b := a.srv.cfg.Backoff
	now := time.Now()
	turn, ok := b.ask(a.source(), a.user, now)
	switch {
	case !ok:
		return a.turnedAway()
	case turn == nil:
		return nil
	}
	defer b.leave(turn)
	if now.Add(turn.wait).After(a.deadline) {
		return a.turnedAway()
	}
	a.srv.cfg.Counters.Delayed.Add(1)
	timer := time.NewTimer(turn.wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *attempt) turnedAway() error {
	a.srv.cfg.Counters.TurnedAway.Add(1)
	return a.refuse(withHint(fatal(wire.CodeLimitExceeded,
		fmt.Sprintf("too many failed logins from address %s", a.source())), "Wait a few seconds and try again."))
}
