package login

import "sync/atomic"

// Counters count logins, over all configurations.
type Counters struct {
	Accepted   atomic.Int64
	Refused    atomic.Int64 // the proof was wrong
	Rejected   atomic.Int64 // no rule lets them in, whatever they prove
	Undecided  atomic.Int64 // a server could not be asked about them
	Delayed    atomic.Int64 // had to wait because others from there had failed
	TurnedAway atomic.Int64 // too many from there waited already
}

// Stats is a snapshot of Counters.
type Stats struct {
	Accepted, Refused, Rejected, Undecided, Delayed, TurnedAway int64
}

// Stats returns the numbers.
func (c *Counters) Stats() Stats {
	return Stats{
		Accepted: c.Accepted.Load(), Refused: c.Refused.Load(), Rejected: c.Rejected.Load(), Undecided: c.Undecided.Load(),
		Delayed: c.Delayed.Load(), TurnedAway: c.TurnedAway.Load(),
	}
}
