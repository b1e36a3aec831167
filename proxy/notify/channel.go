package notify

import (
	"slices"
	"time"
)

// channel is one that somebody wants, or that the server has yet to be told nobody does.
type channel struct {
	name     string
	members  []*Listener // who hear it, in no order
	asked    int         // requests that want it
	sent     bool        // LISTEN was sent on this connection
	on       bool        // and confirmed
	alone    bool        // is sent in a query of its own, since it was in one that failed
	refused  error       // the server's answer to it alone
	dropping bool        // is in Hub.dropping
}

func (c *channel) wanted() bool { return len(c.members)+c.asked > 0 }

// request is one Listen, until its channels are confirmed.
type request struct {
	listener *Listener // nil: after a reconnection, for the members of the channels
	channels []*channel
	sent     int // of channels, in order
	done     func(error)
}

// ask makes a request of those channels that are new to l. It reports whether there is something to wait for: then done
// will be called. The caller holds mu.
func (h *Hub) ask(l *Listener, names []string, done func(error)) (waits bool, err error) {
	if l.ended != nil {
		return false, l.ended
	}
	if h.closed || h.ctx.Err() != nil {
		return false, ErrClosed
	}
	missing, err := h.missing(l, names)
	if err != nil || len(missing) == 0 {
		return false, err
	}
	q := &request{listener: l, channels: make([]*channel, 0, len(missing)), done: done}
	for _, name := range missing {
		c := h.channels[name]
		if c == nil {
			c = &channel{name: name}
			h.channels[name] = c
		}
		c.asked++
		q.channels = append(q.channels, c)
	}
	l.pending = append(l.pending, q)
	h.asking = append(h.asking, q)
	h.kick()
	return true, nil
}

// missing are the names that l is not in, each once, unless they are invalid or too many.
func (h *Hub) missing(l *Listener, names []string) ([]string, error) {
	missing := make([]string, 0, len(names))
	seen := make(map[string]bool, len(names))
	unknown, asked := 0, 0
	for _, name := range names {
		if err := checkName(name); err != nil {
			return nil, err
		}
		c := h.channels[name]
		if _, in := l.places[c]; in || seen[name] {
			continue
		}
		if c == nil {
			unknown++
		}
		seen[name] = true
		missing = append(missing, name)
	}
	for _, q := range l.pending {
		asked += len(q.channels)
	}
	switch {
	case len(l.places)+asked+len(missing) > h.o.MaxChannels:
		return nil, tooMany("One client", h.o.MaxChannels)
	case unknown > 0 && len(h.channels)+unknown > h.o.MaxHubChannels:
		return nil, tooMany("All clients of a database together", h.o.MaxHubChannels)
	}
	return missing, nil
}

// enter makes l a member of c.
func (h *Hub) enter(l *Listener, c *channel) {
	if _, in := l.places[c]; !in {
		l.places[c] = len(c.members)
		c.members = append(c.members, l)
	}
}

// exit takes l out of c, where it may not be.
func (h *Hub) exit(l *Listener, c *channel) {
	place, in := l.places[c]
	if !in {
		return
	}
	delete(l.places, c)
	last := len(c.members) - 1
	moved := c.members[last]
	c.members[place], c.members[last] = moved, nil
	c.members = c.members[:last]
	if moved != l {
		moved.places[c] = place
	}
	h.release(c)
}

func (h *Hub) exitAll(l *Listener) {
	for c := range l.places {
		h.exit(l, c)
	}
}

// withdraw takes channels out of a request. An empty one is still sent and done, in its turn.
func (h *Hub) withdraw(q *request, which func(*channel) bool) {
	kept := q.channels[:0]
	sent := 0
	for i, c := range q.channels {
		if which(c) {
			c.asked--
			h.release(c)
			continue
		}
		if i < q.sent {
			sent++
		}
		kept = append(kept, c)
	}
	clear(q.channels[len(kept):])
	q.channels, q.sent = kept, sent
}

// release sees to a channel that may no longer be wanted.
func (h *Hub) release(c *channel) {
	switch {
	case c.wanted() || c.dropping:
	case c.sent && h.link != nil:
		c.dropping = true
		h.dropping = append(h.dropping, c)
		h.kick()
	default:
		h.forget(c)
	}
}

// forget removes a channel that the server does not know, or has been told to forget.
func (h *Hub) forget(c *channel) {
	delete(h.channels, c.name)
	if len(h.channels) == 0 {
		h.unwanted = time.Now()
	}
}

// finish answers a request whose last LISTEN is behind a barrier. The caller holds mu.
func (h *Hub) finish(q *request, out *calls) {
	if q.listener == nil {
		h.finishOwn(q, out)
		return
	}
	again := false
	for _, c := range q.channels {
		if c.refused != nil {
			h.giveUp(q, c.refused, out)
			return
		}
		again = again || !c.on
	}
	if again { // it was in a query that failed because of another
		q.sent = 0
		h.asking = slices.Insert(h.asking, 0, q)
		return
	}
	l := q.listener
	for _, c := range q.channels {
		c.asked--
		h.enter(l, c)
	}
	l.forgetRequest(q)
	out.done(q.done, nil)
}

// finishOwn ends the members of channels that the server refuses after a reconnection.
func (h *Hub) finishOwn(q *request, out *calls) {
	var again []*channel
	for _, c := range q.channels {
		switch {
		case !c.wanted() || c.on:
		case c.refused != nil:
			err := c.refused
			for len(c.members) > 0 {
				h.end(c.members[len(c.members)-1], newLost(err), out)
			}
		default:
			again = append(again, c)
		}
	}
	if len(again) > 0 {
		h.asking = slices.Insert(h.asking, 0, &request{channels: again})
	}
}

// giveUp answers a request with an error.
func (h *Hub) giveUp(q *request, err error, out *calls) {
	h.withdraw(q, func(*channel) bool { return true })
	if q.listener != nil {
		q.listener.forgetRequest(q)
	}
	out.done(q.done, err)
}

func (l *Listener) forgetRequest(q *request) {
	if i := slices.Index(l.pending, q); i >= 0 {
		l.pending = slices.Delete(l.pending, i, i+1)
	}
}
