package sim

import (
	"fmt"
	"strings"
	"time"
)

// kind is what a line of the trace says.
type kind uint8

const (
	kindTurn kind = iota
	kindNotify
	kindWake
	kindOffload
	kindStep
	kindPoke
	kindArrive
	kindRumour
	kindRoom
	kindRead
	kindWrite
	kindClose
	kindReset
	kindCut
	kinds
)

func (k kind) String() string {
	return [kinds]string{
		"turn", "notify", "wake", "offload", "step", "poke", "arrive", "rumour", "room", "read", "write", "close", "reset",
		"cut",
	}[k]
}

// line is one thing that happened, to the loop, end or step of an id.
type line struct {
	at    int64
	id, n int
	kind  kind
}

// kept is how many lines a trace remembers; its hash is of all.
const kept = 512

type trace struct {
	hash   uint64
	lines  [kept]line
	total  int
	counts Counts
}

// Counts says what a world has seen.
type Counts struct {
	Steps    int       // everything in the trace
	Turns    int       // of loops
	Bytes    int       // sent
	Splits   int       // writes that arrived in pieces
	Delays   int       // deliveries that took very long
	Blocked  int       // writes that were not taken whole
	Offloads int       // pieces of background work
	Cuts     [cuts]int // broken connections, by kind
}

// AllCuts is the sum over all kinds.
func (c Counts) AllCuts() (n int) {
	for _, k := range c.Cuts {
		n += k
	}
	return n
}

// Add is the sum of both.
func (c *Counts) Add(d Counts) {
	c.Steps += d.Steps
	c.Turns += d.Turns
	c.Bytes += d.Bytes
	c.Splits += d.Splits
	c.Delays += d.Delays
	c.Blocked += d.Blocked
	c.Offloads += d.Offloads
	for i := range c.Cuts {
		c.Cuts[i] += d.Cuts[i]
	}
}

func (w *World) note(k kind, id, n int) {
	t := &w.trace
	t.lines[t.total%kept] = line{w.now, id, n, k}
	t.total++
	t.counts.Steps++
	t.mix(uint64(w.now))
	t.mix(uint64(k)<<56 ^ uint64(id)<<32 ^ uint64(n))
}

// Note puts something of the test's own into the trace: an answer, a decision.
func (w *World) Note(id, n int) { w.note(kindStep, id, n) }

// mix is one round of a multiplicative hash; the trace needs to differ, not to withstand anybody.
func (t *trace) mix(v uint64) {
	t.hash = (t.hash ^ v) * 0x9e3779b97f4a7c15
	t.hash ^= t.hash >> 29
}

func sum(b []byte) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	return h
}

// Hash is the hash of everything that has happened: steps, times and bytes.
func (w *World) Hash() uint64 { return w.trace.hash }

// Counts says what has happened so far.
func (w *World) Counts() Counts { return w.trace.counts }

// Trace is the end of the list of what has happened.
func (w *World) Trace() string {
	var b strings.Builder
	t := &w.trace
	for i := max(0, t.total-kept); i < t.total; i++ {
		l := t.lines[i%kept]
		fmt.Fprintf(&b, "%12v %-8s %d", time.Duration(l.at), l.kind, l.id)
		if name := w.nameOf(l); name != "" {
			fmt.Fprintf(&b, " (%s)", name)
		}
		fmt.Fprintf(&b, " %d\n", l.n)
	}
	return b.String()
}

func (w *World) nameOf(l line) string {
	switch l.kind {
	case kindTurn, kindWake, kindOffload, kindStep:
		return ""
	}
	return w.ends[l.id].name
}
