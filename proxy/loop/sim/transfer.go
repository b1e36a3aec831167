package sim

// segment is bytes on their way, or the end of the stream.
type segment struct {
	b   []byte
	fin bool
}

// send puts b on its way to e, in one piece or several.
func (e *End) send(b []byte) {
	w := e.w
	w.trace.counts.Bytes += len(b)
	w.trace.mix(sum(b))
	for len(b) > 0 {
		n := len(b)
		if n > 1 && w.chance(w.mood.split) {
			n = 1 + w.rng.IntN(n-1)
			w.trace.counts.Splits++
		}
		e.flight = append(e.flight, segment{b: append([]byte(nil), b[:n]...)})
		e.queue += n
		b = b[n:]
	}
	e.schedule()
}

// schedule has the first segment arrive. The next is scheduled when it has, so a direction keeps its order.
func (e *End) schedule() {
	if e.busy || len(e.flight) == 0 {
		return
	}
	e.busy = true
	w := e.w
	d := w.upTo(w.mood.delay)
	if w.chance(w.mood.slow) {
		d += 100 * w.upTo(w.mood.delay)
		w.trace.counts.Delays++
	}
	w.at(w.now+d, kindArrive, e.id, e.arrive)
}

func (e *End) arrive() {
	e.busy = false
	if len(e.flight) == 0 {
		return // lost to a reset meanwhile
	}
	seg := e.flight[0]
	e.flight = e.flight[1:]
	e.queue -= len(seg.b)
	switch {
	case e.closed:
		e.flight, e.queue = nil, 0
		if !seg.fin {
			e.peer.abort() // nobody is here any more
		}
		return
	case seg.fin:
		e.eof = true
		e.edge(events3{readable: true, hangup: true})
	default:
		e.in = append(e.in, seg.b...)
		e.edge(events3{readable: true})
		e.countDown(len(seg.b))
	}
	e.schedule()
	if e.w.chance(e.w.mood.rumour) {
		e.w.at(e.w.now+e.w.upTo(e.w.mood.delay), kindRumour, e.id, func() {
			if !e.closed {
				e.edge(events3{readable: true})
			}
		})
	}
}

// CloseWrite ends our stream; the other side can still send.
func (e *End) CloseWrite() {
	if e.finSent || e.closed || e.reset {
		return
	}
	e.finSent = true
	e.peer.flight = append(e.peer.flight, segment{fin: true})
	e.peer.schedule()
}

// Close implements loop.Socket. As a kernel does, it resets the connection when something that has arrived was not
// read.
func (e *End) Close() error {
	if e.closed {
		return nil
	}
	e.w.note(kindClose, e.id, len(e.in))
	unread := len(e.in) > 0
	e.CloseWrite()
	e.closed, e.in, e.step = true, nil, nil
	if unread {
		e.peer.abortLater()
	}
	e.peer.unblock() // its next write meets the end
	return nil
}

// abortLater resets e once the news has travelled.
func (e *End) abortLater() {
	e.w.at(e.w.now+e.w.upTo(e.w.mood.delay), kindReset, e.id, e.abort)
}

// abort resets e now. What was on the way is lost; what had arrived may be.
func (e *End) abort() {
	if e.reset || e.closed {
		return
	}
	e.reset = true
	e.flight, e.queue = nil, 0
	if e.w.chance(0.5) {
		e.in = nil
	}
	e.edge(events3{readable: true, writable: true, hangup: true})
}
