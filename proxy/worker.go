package proxy

import (
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/loop"
)

// worker is one loop's share of the server: what its sessions lend while they are served.
type worker struct {
	loop    *loop.Loop
	free    *exchange
	waiters []*pool.Waiter
	inputs  [][]byte // empty
}

func (w *worker) borrow() *exchange {
	x := w.free
	if x == nil {
		return &exchange{}
	}
	w.free = x.next
	x.next = nil
	return x
}

// giveBack takes an exchange whose session rests. What is kept of it is what the next one would allocate.
func (w *worker) giveBack(x *exchange) {
	q, rest, spare, effects, touched := x.led.q[:0], x.rest[:0], x.spareU, x.effects, x.touched[:0]
	if cap(rest) > maxTailKept {
		rest = nil
	}
	*x = exchange{}
	x.led.q, x.rest, x.spareU, x.effects, x.touched = q, rest, spare, effects, touched
	x.next = w.free
	w.free = x
}

func (w *worker) borrowWaiter() *pool.Waiter {
	if n := len(w.waiters); n > 0 {
		wt := w.waiters[n-1]
		w.waiters = w.waiters[:n-1]
		return wt
	}
	return new(pool.Waiter)
}

func (w *worker) keepWaiter(wt *pool.Waiter) { w.waiters = append(w.waiters, wt) }

// Buffers for input that waits for the rest of its request, or for a connection.
const (
	inputSize     = 1 << 10 // most requests fit
	maxInputSize  = 16 << 10
	maxInputsKept = 256
)

func (w *worker) borrowInput() []byte {
	if n := len(w.inputs); n > 0 {
		b := w.inputs[n-1]
		w.inputs = w.inputs[:n-1]
		return b
	}
	return make([]byte, 0, inputSize)
}

func (w *worker) keepInput(b []byte) {
	if cap(b) >= inputSize && cap(b) <= maxInputSize && len(w.inputs) < maxInputsKept {
		w.inputs = append(w.inputs, b[:0])
	}
}

// lingerTime is how long a closed client has to take the last bytes.
const lingerTime = 5 * time.Second

// linger closes c when its last bytes are sent, or after lingerTime.
func (w *worker) linger(c *loop.Conn) {
	c.CloseAfterFlush()
	if c.Closed() {
		return
	}
	t := new(loop.Timer)
	w.loop.Schedule(t, w.loop.After(lingerTime), func() { _ = c.Close() })
}

// newEffect lends an effect.
func (x *exchange) newEffect(v effect) *effect {
	e := x.effects
	if e == nil {
		e = new(effect)
	} else {
		x.effects = e.next
	}
	*e = v
	x.owed[v.op]++
	return e
}

func (x *exchange) dropEffect(e *effect) {
	if e == nil {
		return
	}
	x.owed[e.op]--
	*e = effect{next: x.effects}
	x.effects = e
}

func (x *exchange) spareUnnamed() *unnamedStatement {
	if n := len(x.spareU); n > 0 {
		u := x.spareU[n-1]
		x.spareU = x.spareU[:n-1]
		return u
	}
	return new(unnamedStatement)
}

// keepUnnamed takes back an unnamed statement that is no more.
func (x *exchange) keepUnnamed(u *unnamedStatement) {
	if u != nil && len(x.spareU) < 4 && cap(u.frame) <= maxTailKept {
		x.spareU = append(x.spareU, u)
	}
}
