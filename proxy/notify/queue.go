package notify

// Notification is what a server process said with NOTIFY.
type Notification struct {
	PID              uint32
	Channel, Payload string
}

// size is what a notification counts in a queue: its texts and what holds them.
func (n *Notification) size() int { return len(n.Channel) + len(n.Payload) + 48 }

// queue is the notifications that wait for one listener.
type queue struct {
	all   []Notification // from head on
	head  int
	bytes int
}

// maxQueueKept is how much of an empty queue's memory is kept for the next time.
const maxQueueKept = 64

func (q *queue) len() int { return len(q.all) - q.head }

func (q *queue) add(n Notification) {
	if len(q.all) == cap(q.all) && q.head > len(q.all)/2 {
		kept := copy(q.all, q.all[q.head:])
		clear(q.all[kept:])
		q.all, q.head = q.all[:kept], 0
	}
	q.all = append(q.all, n)
	q.bytes += n.size()
}

// take moves the first notifications to into, and says how many.
func (q *queue) take(into []Notification) int {
	n := copy(into, q.all[q.head:])
	for i := range into[:n] {
		q.bytes -= into[i].size()
	}
	clear(q.all[q.head : q.head+n])
	q.head += n
	q.tidy()
	return n
}

// drop removes what which says, and returns its size.
func (q *queue) drop(which func(*Notification) bool) int {
	before := q.bytes
	kept := q.all[:0]
	for i := q.head; i < len(q.all); i++ {
		if n := &q.all[i]; which(n) {
			q.bytes -= n.size()
		} else {
			kept = append(kept, *n)
		}
	}
	clear(q.all[len(kept):])
	q.all, q.head = kept, 0
	q.tidy()
	return before - q.bytes
}

func (q *queue) tidy() {
	if q.len() > 0 {
		return
	}
	q.all, q.head = q.all[:0], 0
	if cap(q.all) > maxQueueKept {
		q.all = nil
	}
}

// Read moves what is queued to into, and says how much it was: less than len(into) says that nothing else is there now. An
// error comes when the queue is empty: a *LostError once, ErrOverflow and others for ever.
func (l *Listener) Read(into []Notification) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.queue.bytes
	n := l.queue.take(into)
	l.hub.queued.Add(int64(l.queue.bytes - before))
	if l.queue.len() > 0 {
		return n, nil
	}
	l.awake = false
	if l.final != nil {
		return n, l.final
	}
	err := l.lost
	l.lost = nil
	return n, err
}

// push queues n. It reports whether there was room. The caller holds the hub's mu.
func (l *Listener) push(n *Notification, out *calls) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := &l.hub.o; l.queue.len() >= o.MaxQueued || l.queue.bytes+n.size() > o.MaxQueuedBytes {
		return false
	}
	l.queue.add(*n)
	if !l.awake {
		l.awake = true
		out.wake(l.wake)
	}
	return true
}

// drop removes from the queue what which says.
func (l *Listener) drop(which func(*Notification) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hub.queued.Add(-int64(l.queue.drop(which)))
}

// held is how much is in the queue.
func (l *Listener) held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.bytes
}

// deliver queues n for every member of its channel. The caller holds mu.
func (h *Hub) deliver(pid uint32, name, payload []byte, out *calls) {
	h.stats.Received++
	c := h.channels[string(name)]
	if c == nil || len(c.members) == 0 {
		return // of a channel that was just left, or is not confirmed yet
	}
	n := Notification{PID: pid, Channel: c.name, Payload: string(payload)}
	delivered := 0
	for i := len(c.members) - 1; i >= 0; i-- { // backwards: the last takes the place of one that is ended
		if l := c.members[i]; l.push(&n, out) {
			delivered++
		} else {
			h.overflow(l, out)
		}
	}
	h.stats.Delivered += uint64(delivered)
	for h.queued.Add(int64(delivered*n.size())) > h.o.MaxHubBytes {
		delivered = 0
		if !h.shed(out) {
			break
		}
	}
}

// shed ends the listener with the most in its queue.
func (h *Hub) shed(out *calls) bool {
	var longest *Listener
	most := 0
	for l := range h.listeners {
		if held := l.held(); held > most {
			longest, most = l, held
		}
	}
	if longest != nil {
		h.overflow(longest, out)
	}
	return longest != nil
}

func (h *Hub) overflow(l *Listener, out *calls) {
	h.stats.Overflows++
	h.log.Warn("a listener is ended: it does not take its notifications", "queued_bytes", l.held(), "channels", len(l.places))
	h.end(l, ErrOverflow, out)
}
