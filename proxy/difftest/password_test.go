package difftest

import (
	"fmt"
	"sync"
	"testing"
)

// TestWrongPasswordsAtRate: many logins fail at the same time, in every way, while a client works and others log in.
func TestWrongPasswordsAtRate(t *testing.T) {
	onEachServer(t, 1, func(t *testing.T, r *room, p *proxy) {
		b := r.join(t, p.addr, "B")
		b.answers(t, "b")
		descriptors := p.descriptors(t)
		before := p.peakMemory(t)
		var all sync.WaitGroup
		for i := range 24 {
			all.Go(func() {
				for n := range 8 {
					if err := failedLogin(r, p, i, n); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for i := range 50 {
			b.answers(t, fmt.Sprint("b", i))
		}
		for range 5 {
			r.join(t, p.addr, "C").leave(t)
		}
		all.Wait()
		b.answers(t, "after")
		err := pollUntil(t.Context(), func() (bool, error) { return p.descriptors(t) <= descriptors+2, nil })
		if err != nil {
			t.Errorf("%d descriptors are open, before it were %d", p.descriptors(t), descriptors)
		}
		p.grewAtMost(t, before, boundedMemory)
	})
}

// failedLogin fails with a wrong password, an unknown user, an unknown database, or by going in the middle.
func failedLogin(r *room, p *proxy, i, n int) error {
	who, want := r.account(), "ErrorResponse FATAL 28P01 | End"
	switch (i + n) % 4 {
	case 0:
		who.password = fmt.Sprint("wrong ", i)
	case 1:
		who.user = fmt.Sprint("nobody", i)
	case 2:
		who.database, want = "nowhere", "AuthenticationOk | ErrorResponse FATAL 3D000 | End"
	}
	c, err := dial("failing", p.addr)
	if err != nil {
		return err
	}
	defer c.close()
	if (i+n)%4 == 3 {
		_ = c.write(startupPacket(protocol30, []setting{{"user", who.user}, {"database", who.database}}))
		_, err := c.next()
		return err
	}
	c.wait = 2 * patience
	if err := c.login(who, protocol30); err != nil {
		return err
	}
	frames, err := c.rest()
	if got := foldFrames(frames); err == nil && got != want {
		err = fmt.Errorf("login of %s to %s got %s", who.user, who.database, got)
	}
	return err
}
