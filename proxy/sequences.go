package proxy

import "github.com/sarnicdb/sarnic/pool"

// What currval and lastval tell belongs to the session of the server, where the last client's is left. A client that asks
// for it is tied to its connection from then on; what was there before is another's, and is discarded first, so that the
// server says itself that there is nothing.

// foreignSequences reports whether a statement about to be sent would be told of sequences that were not the client's.
func (s *session) foreignSequences(m *impact) bool {
	x := s.x
	return m.pins&pinSequence != 0 && x.pins&pinSequence == 0 && x.status == 'I' && !x.open && x.server.Sequences == pool.Shared
}

// discardSequences discards them, and has the frame at hand looked at again.
func (s *session) discardSequences() error {
	if !s.x.led.settled() {
		return errStall
	}
	return s.runErrand(func() error {
		x := s.x
		if _, err := askServer(x.server, x.f, "DISCARD SEQUENCES", s.w.loop.After(applyTimeout)); err != nil {
			x.fatal = true
			return errStateLost
		}
		x.server.Sequences = s.owned
		return nil
	})
}
