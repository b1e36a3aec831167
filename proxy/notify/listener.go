package notify

import (
	"errors"
	"slices"
	"sync"
)

// Listener is one client session's place in a Hub.
type Listener struct {
	hub  *Hub
	wake func()

	// Guarded by hub.mu.
	places  map[*channel]int // where it is among the members of each channel
	pending []*request       // Listens that are not done
	left    bool
	ended   error // for good

	mu    sync.Mutex // guards what follows
	queue queue
	awake bool  // wake has been called, or will be, and the queue not been read to its end since
	lost  error // to be read once
	final error // to be read for ever
}

// Join makes a Listener without channels. wake is called when there is something to Read after there was nothing; it
// must not block, nor call the hub: it may come once more after Leave.
func (h *Hub) Join(wake func()) *Listener {
	l := &Listener{hub: h, wake: wake, places: make(map[*channel]int)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		l.ended, l.final = ErrClosed, ErrClosed
		return l
	}
	h.listeners[l] = struct{}{}
	return l
}

// Listen enters l in channels, all or none. done is called when the server has confirmed those that were new to it, and
// nothing can be missed any more; it may be called before Listen returns. Channels that l listens to already are no
// error. A Leave before the end makes done unlikely, not impossible.
func (l *Listener) Listen(channels []string, done func(error)) {
	h := l.hub
	var out calls
	h.mu.Lock()
	if waits, err := h.ask(l, channels, done); !waits {
		out.done(done, err)
	}
	h.mu.Unlock()
	out.make()
}

// Unlisten takes l out of channels, also those of a Listen that is not done. What was queued of them is dropped.
func (l *Listener) Unlisten(channels []string) {
	h := l.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(l.places) == 0 && len(l.pending) == 0 {
		return
	}
	names := make(map[string]bool, len(channels))
	for _, name := range channels {
		names[name] = true
		if c := h.channels[name]; c != nil {
			h.exit(l, c)
		}
	}
	for _, q := range l.pending {
		h.withdraw(q, func(c *channel) bool { return names[c.name] })
	}
	l.drop(func(n *Notification) bool { return names[n.Channel] })
}

// UnlistenAll takes l out of all channels. What was queued is dropped.
func (l *Listener) UnlistenAll() {
	h := l.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.exitAll(l)
	for _, q := range l.pending {
		h.withdraw(q, func(*channel) bool { return true })
	}
	l.drop(func(*Notification) bool { return true })
}

// Leave ends l. Calling it again does nothing.
func (l *Listener) Leave() {
	h := l.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.left {
		return
	}
	l.left = true
	if l.ended == nil {
		l.ended = errLeft
	}
	h.exitAll(l)
	for _, q := range l.pending {
		q.done = nil
		h.withdraw(q, func(*channel) bool { return true })
	}
	l.pending = nil
	delete(h.listeners, l)
	l.drop(func(*Notification) bool { return true })
}

// Sync calls done when every notification that was committed before the call, in the channels of l, is in its queue. With
// an error that can no longer be: Read tells the same. done may be called before Sync returns.
func (l *Listener) Sync(done func(error)) {
	h := l.hub
	var out calls
	h.mu.Lock()
	switch {
	case l.ended != nil:
		out.done(done, l.ended)
	case len(l.places) == 0:
		out.done(done, nil)
	case h.link == nil:
		out.done(done, newLost(errNoLink))
	default:
		h.syncs = append(h.syncs, done)
		h.kick()
	}
	h.mu.Unlock()
	out.make()
}

// Channels are those that l is in, sorted: what pg_listening_channels() would say.
func (l *Listener) Channels() []string {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	names := make([]string, 0, len(l.places))
	for c := range l.places {
		names = append(names, c.name)
	}
	slices.Sort(names)
	return names
}

// Listening reports whether l is in any channel.
func (l *Listener) Listening() bool {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	return len(l.places) > 0
}

// end ends l for good: what it reads after its queue, and gets for all that it asks, is err. After an overflow the queue is
// dropped. The caller holds mu.
func (h *Hub) end(l *Listener, err error, out *calls) {
	if l.ended != nil {
		return
	}
	l.ended = err
	h.exitAll(l)
	for _, q := range l.pending {
		out.done(q.done, err)
		q.done = nil
		h.withdraw(q, func(*channel) bool { return true })
	}
	l.pending = nil
	delete(h.listeners, l)
	if errors.Is(err, ErrOverflow) {
		l.drop(func(*Notification) bool { return true })
	}
	l.mu.Lock()
	l.final = err
	l.mu.Unlock()
	l.call(out)
}

// lose tells l that it may have missed something. The caller holds mu.
func (l *Listener) lose(err error, out *calls) {
	l.mu.Lock()
	l.lost = err
	l.mu.Unlock()
	l.call(out)
}

// call wakes the session unless it is awake.
func (l *Listener) call(out *calls) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.awake {
		l.awake = true
		out.wake(l.wake)
	}
}
