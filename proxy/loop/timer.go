package loop

// Timer calls a function or wakes a fiber at a time. A zero Timer is idle. It belongs to one loop.
type Timer struct {
	fiber *Fiber
	fn    func()
	at    int64
	pos   int32 // place in the heap plus one; 0 while idle
}

// Schedule has fn called on the loop, outside any fiber, at time at (Loop.Now's clock), in a later turn. A timer that
// was pending moves.
func (l *Loop) Schedule(t *Timer, at int64, fn func()) {
	t.fn = fn
	l.timers.remove(t)
	l.timers.add(t, max(at, l.now+1)) // a timer that sets itself to now must not hold the turn
}

// Unschedule stops t. It may be idle.
func (l *Loop) Unschedule(t *Timer) { l.timers.remove(t) }

func (t *Timer) fire() {
	if t.fiber != nil {
		t.fiber.loop.ready(t.fiber)
		return
	}
	t.fn()
}

// timers is a binary heap by time, plus the list of the fibers lent now.
type timers struct {
	heap   []*Timer
	fibers *Fiber
}

func (ts *timers) live(f *Fiber) {
	f.nextLive = ts.fibers
	if ts.fibers != nil {
		ts.fibers.prevLive = f
	}
	ts.fibers = f
}

func (ts *timers) dead(f *Fiber) {
	if f.prevLive != nil {
		f.prevLive.nextLive = f.nextLive
	} else {
		ts.fibers = f.nextLive
	}
	if f.nextLive != nil {
		f.nextLive.prevLive = f.prevLive
	}
	f.prevLive, f.nextLive = nil, nil
}

func (ts *timers) next() int64 {
	if len(ts.heap) == 0 {
		return Forever
	}
	return ts.heap[0].at
}

// due removes and returns a timer whose time has come, or nil.
func (ts *timers) due(now int64) *Timer {
	if len(ts.heap) == 0 || ts.heap[0].at > now {
		return nil
	}
	t := ts.heap[0]
	ts.remove(t)
	return t
}

func (ts *timers) add(t *Timer, at int64) {
	t.at = at
	ts.heap = append(ts.heap, t)
	t.pos = int32(len(ts.heap))
	ts.up(len(ts.heap) - 1)
}

func (ts *timers) remove(t *Timer) {
	if t.pos == 0 {
		return
	}
	i, last := int(t.pos-1), len(ts.heap)-1
	t.pos = 0
	moved := ts.heap[last]
	ts.heap[last] = nil
	ts.heap = ts.heap[:last]
	if i == last {
		return
	}
	ts.put(i, moved)
	ts.down(i)
	ts.up(int(moved.pos - 1))
}

func (ts *timers) put(i int, t *Timer) {
	ts.heap[i] = t
	t.pos = int32(i + 1)
}

func (ts *timers) up(i int) {
	t := ts.heap[i]
	for i > 0 {
		p := (i - 1) / 2
		if ts.heap[p].at <= t.at {
			break
		}
		ts.put(i, ts.heap[p])
		i = p
	}
	ts.put(i, t)
}

func (ts *timers) down(i int) {
	t, n := ts.heap[i], len(ts.heap)
	for {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && ts.heap[c+1].at < ts.heap[c].at {
			c++
		}
		if t.at <= ts.heap[c].at {
			break
		}
		ts.put(i, ts.heap[c])
		i = c
	}
	ts.put(i, t)
}
