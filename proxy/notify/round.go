package notify

import (
	"strings"
	"time"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// round is one write of queries and the answers to all of them. The last answer is a barrier: the server sends what was
// committed before it read the query ahead of the ReadyForQuery. (PostgreSQL signals its listeners before the committer
// gets its answer, and looks for signals before each ReadyForQuery.)
type round struct {
	queries  []query
	answered int
	requests []*request    // whose last LISTEN is in it, or in an earlier one
	syncs    []func(error) // that wait for the barrier
	began    time.Time
}

// query is one message of a round, in a transaction of its own.
type query struct {
	listens   []*channel
	unlistens []*channel
	full      bool
	err       *wire.Error
}

// Bounds of a round: a storm of LISTENs must not hold up the Syncs behind it.
const (
	maxRound = 512 // LISTENs, and as many UNLISTENs
	maxQuery = 64  // of them in one query
)

// nextRound puts together what is wanted, if anything is, and appends it to b. Nothing is under way. The caller holds mu.
func (h *Hub) nextRound(b []byte, probe bool) []byte {
	if !probe && !h.hasWork() {
		return b
	}
	r := &round{syncs: h.syncs, began: time.Now()}
	h.syncs = nil
	h.addUnlistens(r)
	h.addListens(r)
	if len(r.queries) == 0 {
		r.queries = append(r.queries, query{})
	}
	h.round = r
	h.stats.Rounds++
	for i := range r.queries {
		b = wire.AppendQuery(b, r.queries[i].sql())
	}
	return b
}

func (h *Hub) hasWork() bool { return len(h.asking)+len(h.syncs)+len(h.dropping) > 0 }

// addUnlistens comes first: a channel that is wanted again by then stays as it is.
func (h *Hub) addUnlistens(r *round) {
	n := min(len(h.dropping), maxRound)
	for _, c := range h.dropping[:n] {
		c.dropping = false
		switch {
		case c.wanted():
			continue
		case c.sent:
			q := r.open(func(q *query) bool { return len(q.listens) == 0 })
			q.unlistens = append(q.unlistens, c)
			q.full = len(q.unlistens) == maxQuery
			h.stats.Unlistens++
		}
		h.forget(c)
	}
	h.dropping = cut(h.dropping, n)
}

// addListens takes requests in their order. One with many channels may take several rounds.
func (h *Hub) addListens(r *round) {
	taken := 0
	for room := maxRound; room > 0 && taken < len(h.asking); {
		q := h.asking[taken]
		for q.sent < len(q.channels) && room > 0 {
			c := q.channels[q.sent]
			q.sent++
			if !c.sent && c.wanted() {
				r.listen(c)
				h.stats.Listens++
				room--
			}
		}
		if q.sent < len(q.channels) {
			break
		}
		r.requests = append(r.requests, q)
		taken++
	}
	h.asking = cut(h.asking, taken)
}

func (r *round) listen(c *channel) {
	c.sent, c.refused = true, nil
	q := r.open(func(q *query) bool { return len(q.unlistens) == 0 && !c.alone })
	q.listens = append(q.listens, c)
	q.full = c.alone || len(q.listens) == maxQuery
}

// open is the last query if there is room in it and fits says so, or else a new one.
func (r *round) open(fits func(*query) bool) *query {
	if n := len(r.queries); n > 0 && !r.queries[n-1].full && fits(&r.queries[n-1]) {
		return &r.queries[n-1]
	}
	r.queries = append(r.queries, query{})
	return &r.queries[len(r.queries)-1]
}

// cut removes the first n.
func cut[T any](s []T, n int) []T {
	if n == len(s) {
		return nil
	}
	clear(s[:n])
	return s[n:]
}

// sql is the text of a query. An empty one is a round trip and nothing else.
func (q *query) sql() string {
	var b strings.Builder
	for _, c := range q.unlistens {
		appendStatement(&b, `UNLISTEN "`, c.name)
	}
	for _, c := range q.listens {
		appendStatement(&b, `LISTEN "`, c.name)
	}
	return b.String()
}

func appendStatement(b *strings.Builder, command, name string) {
	b.WriteString(command)
	b.WriteString(strings.ReplaceAll(name, `"`, `""`))
	b.WriteString(`";`)
}

// refusedBy notes an ErrorResponse to the query under way. The caller holds mu.
func (h *Hub) refusedBy(said *wire.Error) error {
	if h.round == nil {
		return errGarbled
	}
	h.round.queries[h.round.answered].err = said
	return nil
}

// ready takes a ReadyForQuery. The caller holds mu.
func (h *Hub) ready(out *calls) error {
	r := h.round
	if r == nil {
		return errGarbled
	}
	h.judge(&r.queries[r.answered])
	r.answered++
	if r.answered < len(r.queries) {
		return nil
	}
	h.round = nil
	h.pause = 0 // the connection is good
	h.stats.Syncs += uint64(len(r.syncs))
	for _, q := range r.requests {
		h.finish(q, out)
	}
	for _, done := range r.syncs {
		out.done(done, nil)
	}
	if h.hasWork() || len(h.channels) == 0 || h.o.Probe < h.o.Answer { // else the writer looks in time by itself
		h.kick()
	}
	return nil
}

// judge says of each channel what came of its LISTEN. Of several in one query that failed nothing is known.
func (h *Hub) judge(q *query) {
	if q.err != nil && len(q.listens) == 0 {
		h.log.Warn("the listening connection has got an error", "error", q.err, "unlistens", len(q.unlistens))
	}
	for _, c := range q.listens {
		switch {
		case q.err == nil:
			c.on, c.alone = true, false
		case len(q.listens) == 1:
			c.sent, c.refused = false, q.err
		default:
			c.sent, c.alone = false, true
		}
	}
}
