package proxy

import "github.com/sarnicdb/sarnic/proxy/wire"

// While a server reads COPY data it ignores Sync and Flush, and after an error it drops what is left of the data
// without a word. So a Sync sent behind Execute(COPY) may draw a ReadyForQuery or not, and which only the server knows
// when the COPY fails. (Protocol documentation, "COPY Operations".)

// copyBegins handles CopyInResponse: Syncs already sent behind the statement are consumed by it.
func (s *session) copyBegins() {
	x := s.x
	ended, syncs, ok := x.led.cutCopy()
	x.copyIn = !ended
	x.copySyncs += syncs
	if syncs > 0 {
		x.open = true // the Sync that would have closed the implicit transaction is gone
	}
	if !ok {
		x.copyIn, x.copyMess = true, true
	}
	if x.stalled && x.copyIn {
		x.stalled, x.again = false, true // what waits for replies has no place here: the server says so
	}
}

// copyFailed handles an error while a COPY read, or could still have read, what was sent to it. If Syncs were among
// that, there may be as many ReadyForQuery more than those owed. They come before the answer of what was sent behind
// the COPY, which shows whether they came; where nothing was sent behind it, a fence shows it.
func (s *session) copyFailed(simple bool) error {
	x := s.x
	syncs, mess := x.copySyncs, x.copyMess
	x.copyIn, x.copySyncs, x.copyMess = false, 0, false
	if syncs == 0 || mess {
		return nil // after a mess the server ends the connection by itself
	}
	more := x.led.len()
	if simple {
		more-- // the Query itself
	}
	if more > 0 {
		x.slack, x.slackAfter, x.stalled = syncs, simple, true
		if x.passIn == 0 {
			_, _ = x.server.Write(wire.AppendFlush(nil)) // what is owed may have no Sync behind it yet
		}
		return nil
	}
	return s.startFence(!simple)
}

// startFence sends a Sync of our own and an empty query behind it, and counts ReadyForQuery up to there. Nothing else
// is asked meanwhile.
func (s *session) startFence(skips bool) error {
	x := s.x
	x.slack, x.slackAfter, x.stalled = 0, false, false
	x.fenceSeen, x.fenceSkips = 0, skips
	x.fenceDue = x.passIn > 0
	if x.fenceDue {
		return nil // not into the middle of a frame
	}
	x.fence = true
	s.skipping = false
	if x.led.empty() {
		x.led.push(entry{kind: kindSync})
	}
	x.server.Unnamed = 0
	if _, err := x.server.Write(wire.AppendQuery(wire.AppendSync(nil), "")); err != nil {
		x.fatal = true
		return errServerGarbage
	}
	return nil
}

// fenceReached has seen the reply to the empty query: of the ReadyForQuery before it one is our Sync's, the others
// are the client's. The empty query's own is still to come and is swallowed.
func (s *session) fenceReached() error {
	x := s.x
	theirs := x.fenceSeen - 1
	for range theirs {
		x.instead = wire.AppendReadyForQuery(x.instead, x.status)
	}
	x.fence = false
	if theirs <= 0 && x.fenceSkips {
		s.skipping = true // the client's own Sync has still to end what its COPY began
	}
	x.led.reset()
	x.led.push(entry{kind: kindQuery, act: swallow})
	x.again = true
	return nil
}
