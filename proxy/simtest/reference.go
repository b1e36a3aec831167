package simtest

import "github.com/sarnicdb/sarnic/proxy/wire"

// Reference is what a client must be answered: a process of its own with a table of its own that is asked the same, and
// takes no time. It can be played again with something failing at a certain moment, since neither the client nor
// anybody else knows beforehand which of its statements a cancel request, say, will hit.
type Reference struct {
	app    string
	major  int
	bursts [][]byte
	plan   map[int]*wire.Error
	b      *Backend
	ended  int // the burst with which the process ended the session; -1: it did not

	Reply [][]byte // frames
	Due   []int    // how many frames have been flushed after each burst
}

// NewReference starts a session whose application_name is app on a server of a major version.
func NewReference(app string, major int) *Reference {
	r := &Reference{app: app, major: major}
	r.start()
	return r
}

func (r *Reference) start() {
	db := NewDatabase(nil)
	db.Major = r.major
	r.b = db.Start(r.app)
	r.b.watch = &watch{plan: r.plan, commits: []Commit{{}}}
	r.ended = -1
}

// Ask sends a burst of frames.
func (r *Reference) Ask(burst []byte) {
	r.bursts = append(r.bursts, burst)
	r.feed(burst)
}

func (r *Reference) feed(burst []byte) {
	r.b.Feed(burst)
	if r.b.Ended() && r.ended < 0 {
		r.ended = len(r.Due)
	}
	r.Due = append(r.Due, r.b.watch.flushed)
	for out := r.b.Take(); len(out) > 0; {
		_, size, _ := wire.Header(out)
		r.Reply = append(r.Reply, out[:size:size])
		out = out[size:]
	}
}

// Ended reports whether the process would have ended the session by the time that so many bursts have been sent.
func (r *Reference) Ended(bursts int) bool { return r.ended >= 0 && r.ended < bursts }

// State tells who makes up a conversation where it stands: a COPY reads; everything up to Sync is skipped; extended
// messages no Sync has followed; the status of a ReadyForQuery.
func (r *Reference) State() (copying, skipping, open bool, status byte) {
	b := r.b
	return b.copying != nil, b.skipping, b.asked, b.status()
}

// Commits are the states of the table, the empty one first.
func (r *Reference) Commits() []Commit { return r.b.watch.commits }

// Interrupted returns what the answers may be if err happened where frame number n was due, at a moment of one of the
// kinds: one Reference for each moment at which it can have been.
func (r *Reference) Interrupted(n int, err *wire.Error, kinds Moment) (all []*Reference) {
	for i, m := range r.b.watch.moments {
		if m.said != n || m.kind&kinds == 0 {
			continue
		}
		other := &Reference{app: r.app, major: r.major, bursts: r.bursts, plan: map[int]*wire.Error{i: err}}
		for k, v := range r.plan {
			if k < i {
				other.plan[k] = v
			}
		}
		other.start()
		for _, burst := range r.bursts {
			other.feed(burst)
		}
		all = append(all, other)
	}
	return all
}

// withOneMore returns what may have happened where one more cancel request may have hit anything from frame n on.
func (r *Reference) withOneMore(n int) (all []*Reference) {
	last := -1
	for _, m := range r.b.watch.moments {
		if m.said >= n && m.said > last {
			last = m.said
			all = append(all, r.Interrupted(last, canceled(), Cancelable|Starting)...)
		}
	}
	return all
}
