package model

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Backend is one server process. Feed it what its client sends, Run it, and pass on what Output returns. While it is
// Asleep nothing happens until Wake or Cancel.
type Backend struct {
	PID    uint32
	Secret []byte

	store *Store
	in    []byte
	held  []byte // output that is not flushed
	out   []byte // output that is
	dead  bool   // it has ended the connection

	tx       tx
	stmts    map[string]*prepared
	portals  map[string]*portal
	skipping bool // everything up to Sync
	copying  *copyIn
	resume   func() // what goes on after a sleep
	sleeps   time.Duration

	startup  string // application_name at start
	app      string // now
	reported string

	signal bool // a cancel request has come and hit nothing yet
	plan   map[int]*wire.Error
	points int
	watch  *watch // of a Reference

	owner     string // whose transaction is open, or whose requests are not all answered
	violation error
}

// prepared is a prepared statement.
type prepared struct {
	statement
	sql string
}

// portal is a bound statement, and the rows it still has.
type portal struct {
	statement
	begun, done bool
	left        []string
	failure     *wire.Error // after the rows
}

// copyIn is a COPY that reads.
type copyIn struct {
	key   string
	lines []string
	then  func() // what follows its CommandComplete
	// failed is what follows its error.
	failed func(*wire.Error)
}

// NewBackend starts a process for a session with the parameter application_name set to app.
func NewBackend(store *Store, pid uint32, secret []byte, app string) *Backend {
	b := &Backend{PID: pid, Secret: secret, store: store, startup: app, app: app, reported: app}
	b.stmts, b.portals = map[string]*prepared{}, map[string]*portal{}
	return b
}

// Params is what the server reports at login.
func (b *Backend) Params() []wire.Param {
	return []wire.Param{{Name: "application_name", Value: b.startup}, {Name: "server_version", Value: "18.0"}}
}

// Feed takes bytes of the client.
func (b *Backend) Feed(p []byte) { b.in = append(b.in, p...) }

// Output returns what is to be sent now. It is valid until the next Run.
func (b *Backend) Output() []byte { return b.out }

// Sent says how much of Output has been sent.
func (b *Backend) Sent(n int) { b.out = b.out[n:] }

// Dead reports whether the process has ended; what Output returns is its last.
func (b *Backend) Dead() bool { return b.dead }

// Asleep reports for how long it sleeps, 0 if it does not.
func (b *Backend) Asleep() time.Duration { return b.sleeps }

// Idle reports whether nothing is open: no transaction, no COPY, nothing unanswered.
func (b *Backend) Idle() bool {
	return b.tx.status() == 'I' && !b.tx.active && b.copying == nil && b.resume == nil && len(b.in) == 0 && !b.skipping
}

// Statements is how many prepared statements there are.
func (b *Backend) Statements() int { return len(b.stmts) }

// Violation is the first thing that should never have been asked of it, or nil.
func (b *Backend) Violation() error { return b.violation }

func (b *Backend) violate(format string, args ...any) {
	if b.violation == nil && b.watch == nil {
		b.violation = fmt.Errorf("server process %d: "+format, append([]any{b.PID}, args...)...)
	}
}

// End is the client's side of the connection being gone: an open transaction is rolled back.
func (b *Backend) End() {
	b.tx.rollback(b)
	b.copying, b.resume, b.sleeps, b.dead = nil, nil, 0, true
}

// Run does what can be done with what has been fed.
func (b *Backend) Run() {
	for b.resume == nil && !b.dead {
		if len(b.in) < wire.HeaderLen {
			return
		}
		typ, size, ok := wire.Header(b.in)
		if !ok {
			b.violate("invalid length of a %q", typ)
			b.fatal("invalid message length")
			return
		}
		if size > len(b.in) {
			return
		}
		body := bytes.Clone(b.in[wire.HeaderLen:size])
		b.in = b.in[size:]
		b.message(typ, body)
	}
}

func (b *Backend) message(typ byte, body []byte) {
	switch {
	case typ == 'X':
		b.End()
	case b.copying != nil:
		b.copyMessage(typ, body)
	case b.skipping && typ != 'S':
	default:
		b.command(typ, body)
	}
}

func (b *Backend) command(typ byte, body []byte) {
	switch typ {
	case 'Q':
		b.query(body)
	case 'P':
		b.extended(b.parse, body)
	case 'B':
		b.extended(b.bind, body)
	case 'D':
		b.extended(b.describe, body)
	case 'C':
		b.extended(b.close, body)
	case 'E':
		b.extended(b.execute, body)
	case 'S':
		b.sync()
	case 'H':
		b.flush()
	case 'd', 'c', 'f': // left over from a COPY that failed
		if tag, _, ok := strings.Cut(string(body), " "); ok && typ == 'd' && b.owner != "" && b.owner != tag {
			b.violate("late COPY data of %s came while a request of %s was open", tag, b.owner)
		}
	default:
		b.violate("message of unknown type %q", typ)
		b.fatal("invalid frontend message type")
	}
}

// tagged notes that something of a client's is asked. Inside the transaction of one nothing of another's may come.
func (b *Backend) tagged(tag string) {
	switch {
	case tag == "":
	case b.owner == "":
		b.owner = tag
	case b.owner != tag:
		b.violate("a request of %s came while one of %s was open", tag, b.owner)
	}
}

func (b *Backend) emit(frame []byte) {
	b.held = append(b.held, frame...)
	b.watch.emitted()
}

func (b *Backend) flush() {
	b.out = append(b.out, b.held...)
	b.held = b.held[:0]
	b.watch.flushed()
}

// error tells the client of e at once, as a server does.
func (b *Backend) error(e *wire.Error) {
	b.emit(wire.AppendError(nil, e))
	b.flush()
}

func (b *Backend) notice(severity, code, message string) {
	b.emit(wire.AppendNotice(nil, &wire.Error{Severity: severity, Code: code, Message: message}))
	b.flush()
}

func (b *Backend) fatal(message string) {
	b.error(&wire.Error{Severity: "FATAL", Code: wire.CodeProtocolViolation, Message: message})
	b.End()
}

// ready ends a request.
func (b *Backend) ready() {
	if b.app != b.reported {
		b.reported = b.app
		b.emit(wire.AppendParameterStatus(nil, "application_name", b.app))
	}
	status := b.tx.status()
	if status == 'I' {
		b.owner = ""
	}
	b.emit(wire.AppendReadyForQuery(nil, status))
	b.flush()
}

// refused is where somebody before the server may have refused a request: only a Reference fails there.
func (b *Backend) refused() *wire.Error {
	n := b.points
	b.points++
	b.watch.point()
	return b.plan[n]
}

// interrupted is where a cancel request can hit.
func (b *Backend) interrupted() *wire.Error {
	if e := b.refused(); e != nil {
		return e
	}
	if b.signal {
		b.signal = false
		return errCanceled
	}
	return nil
}

var errCanceled = &wire.Error{Code: wire.CodeQueryCanceled, Message: "canceling statement due to user request"}

// Cancel is a signal. It ends a sleep; otherwise, if late, it stays until something runs that it can hit.
func (b *Backend) Cancel(late bool) {
	switch {
	case b.resume != nil:
		b.signal = true
		b.Wake()
	case late:
		b.signal = true
	}
}

// Wake ends a sleep.
func (b *Backend) Wake() {
	if f := b.resume; f != nil {
		b.resume, b.sleeps = nil, 0
		f()
		b.Run()
	}
}

// tx is the transaction.
type tx struct {
	active bool // there is one, explicit or not
	block  bool // begin was said
	failed bool
	writes map[string]string
	app    string // application_name when it began
}

func (t *tx) status() byte {
	switch {
	case t.block && t.failed:
		return 'E'
	case t.block:
		return 'T'
	}
	return 'I'
}

func (t *tx) start(b *Backend) {
	if !t.active {
		*t = tx{active: true, app: b.app}
	}
}

func (t *tx) put(key, value string) {
	if t.writes == nil {
		t.writes = map[string]string{}
	}
	t.writes[key] = value
}

func (t *tx) commit(b *Backend) {
	if t.active && !t.failed {
		b.store.apply(t.writes)
		b.watch.committed(b.store, len(t.writes) > 0)
		*t = tx{}
		clear(b.portals)
		return
	}
	t.rollback(b)
}

func (t *tx) rollback(b *Backend) {
	if t.active {
		b.app = t.app
	}
	*t = tx{}
	clear(b.portals)
}

// fail aborts: a block waits for its end, anything else is over.
func (t *tx) fail(b *Backend) {
	if !t.block {
		t.rollback(b)
		return
	}
	t.failed, t.writes = true, nil
	b.app = t.app
}

func (b *Backend) value(key string) (string, bool) {
	if v, ok := b.tx.writes[key]; ok {
		return v, true
	}
	v, ok := b.store.data[key]
	return v, ok
}

func cloneStore(s *Store) *Store { return &Store{data: maps.Clone(s.data)} }
