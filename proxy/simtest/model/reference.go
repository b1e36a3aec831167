package model

import "github.com/sarnicdb/sarnic/proxy/wire"

// Reference is what a client must be answered: a Backend of its own that was asked the same. It can be made again with
// errors planned for certain moments, since neither the client nor anybody else knows which of its statements a cancel
// request will hit.
type Reference struct {
	app    string
	bursts [][]byte
	plan   map[int]*wire.Error
	b      *Backend
	w      *watch
	Reply  [][]byte // frames
	Due    []int    // how many frames have been flushed after each burst
}

// watch counts what a Reference's Backend does.
type watch struct {
	frames, flushes int
	points          []int // frames before each moment at which a cancel can hit
	Commits         []Commit
}

// Commit is a state of the data.
type Commit struct {
	Frame int // the first frame after it: who has seen that knows of it
	Store *Store
}

func (w *watch) emitted() {
	if w != nil {
		w.frames++
	}
}

func (w *watch) flushed() {
	if w != nil {
		w.flushes = w.frames
	}
}

func (w *watch) point() {
	if w != nil {
		w.points = append(w.points, w.frames)
	}
}

func (w *watch) committed(s *Store, changed bool) {
	if w != nil && changed {
		w.Commits = append(w.Commits, Commit{w.frames, cloneStore(s)})
	}
}

// NewReference starts a session whose application_name is app.
func NewReference(app string) *Reference {
	r := &Reference{app: app}
	r.start()
	return r
}

func (r *Reference) start() {
	r.w = &watch{Commits: []Commit{{0, NewStore()}}}
	r.b = NewBackend(NewStore(), 0, nil, r.app)
	r.b.watch, r.b.plan = r.w, r.plan
	r.Reply, r.Due = nil, nil
}

// Ask sends a burst of frames.
func (r *Reference) Ask(burst []byte) {
	r.bursts = append(r.bursts, burst)
	r.feed(burst)
}

func (r *Reference) feed(burst []byte) {
	r.b.Feed(burst)
	r.b.Run()
	r.Due = append(r.Due, r.w.flushes)
	out := r.b.out
	for len(out) > 0 {
		_, size, _ := wire.Header(out)
		r.Reply = append(r.Reply, out[:size:size])
		out = out[size:]
	}
	r.b.out = nil
}

// State tells a generator where the conversation stands: in a COPY that reads, skipping up to Sync, the status.
func (r *Reference) State() (copying, skipping, dead bool, status byte) {
	return r.b.copying != nil, r.b.skipping, r.b.dead, r.b.tx.status()
}

// Commits are the states of the data, the empty one first.
func (r *Reference) Commits() []Commit { return r.w.Commits }

// Interrupted returns what the answers may be if something failed with e exactly where frame number n was due: one
// Reference for each moment at which it can have happened.
func (r *Reference) Interrupted(n int, e *wire.Error) (all []*Reference) {
	for i, frames := range r.w.points {
		if frames != n {
			continue
		}
		other := &Reference{app: r.app, bursts: r.bursts, plan: map[int]*wire.Error{i: e}}
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
