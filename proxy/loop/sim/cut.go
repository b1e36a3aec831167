package sim

// Cut is a way for a connection to break.
type Cut uint8

// The ways to break.
const (
	CutReset Cut = iota // both ends fail, bytes on the way are lost
	CutClose            // the other side is gone: its stream ends after what it has sent, and it takes nothing any more
	CutHalf             // the other side's stream ends, but it still reads
	CutDrop             // everything on the way to this end is lost, then as CutReset
	cuts
)

// Cut breaks the connection as seen from e.
func (e *End) Cut(how Cut) {
	w := e.w
	if e.closed || e.reset || e.eof {
		return
	}
	w.trace.counts.Cuts[how]++
	w.note(kindCut, e.id, int(how))
	switch how {
	case CutClose:
		step := e.peer.step
		_ = e.peer.Close()
		e.peer.step = step // so that the model behind it learns of its end
		e.peer.edge(events3{readable: true, hangup: true})
	case CutHalf:
		e.peer.CloseWrite()
	case CutDrop:
		e.in = nil
		e.both()
	default:
		e.both()
	}
}

func (e *End) both() {
	e.abort()
	e.peer.abort()
}

// CutAfter cuts as seen from e when n more bytes have arrived there: in the middle of a message, if the test wants.
func (e *End) CutAfter(n int, how Cut) { e.cutAt, e.cut = n, func() { e.Cut(how) } }

// MaybeCut has the connection break as seen from e, with the given chance, in some way, after some of the next n bytes
// in one of the directions.
func (e *End) MaybeCut(chance float64, n int) {
	if !e.w.chance(chance) {
		return
	}
	how := Cut(e.w.rng.IntN(int(cuts)))
	at := e
	if e.w.chance(0.5) {
		at = e.peer
	}
	at.cutAt, at.cut = 1+e.w.rng.IntN(n), func() { e.Cut(how) }
}

func (e *End) countDown(n int) {
	if e.cutAt == 0 {
		return
	}
	if e.cutAt -= n; e.cutAt <= 0 {
		e.cutAt = 0
		e.cut()
	}
}
