package notify

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// kick has somebody look at what there is to do. The caller holds mu.
func (h *Hub) kick() {
	if !h.running && !h.closed && len(h.channels) > 0 {
		h.running = true
		h.goes.Go(h.run)
	}
	select {
	case h.work <- struct{}{}:
	default:
	}
}

// run is the life of the connections, one after another, until nobody wants one.
func (h *Hub) run() {
	for h.awaitTurn() {
		k, err := h.connect()
		if err != nil {
			h.failed(err)
			continue
		}
		h.serve(k)
	}
	if h.ctx.Err() != nil {
		h.shut()
	}
}

// awaitTurn waits until it is time to connect. It reports whether there is a reason to: if not, run ends.
func (h *Hub) awaitTurn() bool {
	for {
		h.mu.Lock()
		wait := time.Until(h.retry)
		if h.ctx.Err() != nil || len(h.channels) == 0 {
			h.running = false
			h.mu.Unlock()
			return false
		}
		h.mu.Unlock()
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-h.ctx.Done():
			timer.Stop()
		}
	}
}

// connect makes a connection that is ready to listen.
func (h *Hub) connect() (*link, error) {
	ctx, cancel := context.WithTimeout(h.ctx, h.o.Connect)
	defer cancel()
	srv, err := h.dial(ctx)
	if err != nil {
		return nil, err
	}
	k := newLink(srv)
	if err := k.setUp(ctx, h.o.Encoding, h.o.Answer); err != nil {
		_ = k.socket.Close()
		return nil, err
	}
	return k, nil
}

// failed tells those who wait for a connection, and plans the next attempt.
func (h *Hub) failed(err error) {
	var out calls
	h.mu.Lock()
	if h.ctx.Err() == nil {
		h.stats.Failures++
		h.putOff()
		asking := h.asking
		h.asking = nil
		h.log.Warn("cannot connect to listen", "error", err, "waiting", len(asking), "again_in", h.pause)
		told := notConnected(err)
		for _, q := range asking {
			h.giveUp(q, told, &out)
		}
	}
	h.mu.Unlock()
	out.make()
}

// putOff makes the pause before the next attempt longer. It is spread, so that many do not come at once.
func (h *Hub) putOff() {
	h.pause = min(max(2*h.pause, h.o.Pause), h.o.MaxPause)
	h.retry = time.Now().Add(h.pause/2 + rand.N(h.pause/2+1))
}

// serve uses a connection until it ends.
func (h *Hub) serve(k *link) {
	h.attach(k)
	h.goes.Go(func() {
		k.err = h.listen(k)
		close(k.gone)
	})
	err := h.write(k)
	k.hangUp(errors.Is(err, errRested) || errors.Is(err, ErrClosed))
	<-k.gone
	if !errors.Is(err, errRested) {
		h.detach(k, err)
	}
}

// attach makes k the connection. Channels that have members are listened to again.
func (h *Hub) attach(k *link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k.heard.Store(time.Now().UnixNano())
	h.link = k
	h.stats.Connects++
	var again []*channel
	for _, c := range h.channels {
		if len(c.members) > 0 {
			again = append(again, c)
		}
	}
	if len(again) > 0 {
		h.asking = slices.Insert(h.asking, 0, &request{channels: again})
	}
	h.log.Info("connected to listen", "server_pid", k.pid, "channels", len(h.channels))
}

// detach takes note of a connection that is gone: Listens under way are for the next one, Syncs and listeners are told.
func (h *Hub) detach(k *link, err error) {
	var out calls
	h.mu.Lock()
	if r := h.round; r != nil {
		h.asking = append(r.requests, h.asking...)
		h.syncs = append(r.syncs, h.syncs...)
	}
	h.link, h.round = nil, nil
	h.asking = slices.DeleteFunc(h.asking, func(q *request) bool { return q.listener == nil })
	for _, q := range h.asking {
		q.sent = 0
	}
	h.forgetServer()
	if h.ctx.Err() == nil {
		h.stats.Losses++
		lost := newLost(err)
		h.dropSyncs(lost, &out)
		told := 0
		for l := range h.listeners {
			if len(l.places) > 0 {
				l.lose(lost, &out)
				told++
			}
		}
		h.putOff()
		h.log.Warn("the listening connection is lost", "server_pid", k.pid, "error", lost.Err, "listeners", told)
	}
	h.mu.Unlock()
	out.make()
}

// forgetServer makes all channels unknown to a server.
func (h *Hub) forgetServer() {
	h.dropping = nil
	for _, c := range h.channels {
		c.sent, c.on, c.alone, c.dropping, c.refused = false, false, false, false, nil
		if !c.wanted() {
			h.forget(c)
		}
	}
}

func (h *Hub) dropSyncs(err error, out *calls) {
	for _, done := range h.syncs {
		out.done(done, err)
	}
	h.syncs = nil
}

// write sends rounds until the connection ends, and says why.
func (h *Hub) write(k *link) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var b []byte
	for {
		var wait time.Duration
		var err error
		if b, wait, err = h.next(k, b[:0]); err != nil {
			return err
		}
		if len(b) > 0 {
			_ = k.socket.SetWriteDeadline(time.Now().Add(h.o.Answer))
			if _, err := k.conn.Write(b); err != nil {
				return k.why(err)
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-h.work:
		case <-timer.C:
		case <-k.gone:
			return k.err
		case <-h.ctx.Done():
			return ErrClosed
		}
	}
}

// why is the reader's reason, which knows what the server said, if it has one by now.
func (k *link) why(err error) error {
	select {
	case <-k.gone:
		return k.err
	case <-time.After(farewell):
		return err
	}
}

// next is what to send now, or how long there is time to wait for something else.
func (h *Hub) next(k *link, b []byte) ([]byte, time.Duration, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	quiet := now.Sub(time.Unix(0, k.heard.Load()))
	if h.round != nil {
		quiet = min(quiet, now.Sub(h.round.began))
		if quiet >= h.o.Answer {
			return b, 0, errSilent
		}
		return b, h.o.Answer - quiet, nil
	}
	if b = h.nextRound(b, false); len(b) > 0 {
		return b, 0, nil
	}
	if len(h.channels) == 0 {
		rest := h.o.Rest - now.Sub(h.unwanted)
		if rest <= 0 {
			h.link = nil // whoever comes now wants another
			return b, 0, errRested
		}
		return b, min(rest, h.o.Probe), nil
	}
	if quiet >= h.o.Probe {
		return h.nextRound(b, true), 0, nil
	}
	return b, h.o.Probe - quiet, nil
}
