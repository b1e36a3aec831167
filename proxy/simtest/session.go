package simtest

import (
	"maps"
	"slices"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// session is what a server process remembers of its client between transactions.
type session struct {
	prepared map[string]*statement // by name; the unnamed one under ""
	portals  map[string]*portal
	vars     vars
	start    string // the application_name it was started with
	reported string // and the one the client was last told
	channels []string
}

// vars is the one setting there is.
type vars struct {
	now     string // what SHOW says
	session string // what it returns to when a SET LOCAL ends
}

func newSession(app string) session {
	return session{
		prepared: map[string]*statement{}, portals: map[string]*portal{},
		vars: vars{app, app}, start: app, reported: app,
	}
}

func (s *session) listening(channel string) bool { return slices.Contains(s.channels, channel) }

// transaction is what a commit makes last and an abort undoes.
type transaction struct {
	open     bool // something has begun it
	block    bool // by BEGIN
	failed   bool
	piped    bool // something was executed in it that no Sync has followed yet
	implicit bool // what came behind that is a block, though nobody said BEGIN
	resting  bool // a Query or FunctionCall in an implicit block has ended
	dangling bool // then a Sync came: the server says idle, does not commit, and refuses the next command
	changes  map[string]*int32
	before   vars // the settings an abort returns to
	notes    []note
	channels []func(*session) // LISTEN and UNLISTEN take effect at commit
	saves    []savepoint
}

// savepoint is the state of a transaction that ROLLBACK TO returns to.
type savepoint struct {
	name     string
	changes  map[string]*int32
	vars     vars
	notes    int
	channels int
	portals  []string
}

// begin starts a transaction if there is none.
func (b *Backend) begin() *wire.Error {
	if b.tx.dangling {
		return &wire.Error{Code: wire.CodeInternalError, Message: "StartTransactionCommand: unexpected state STARTED"}
	}
	b.tx.resting = false
	if !b.tx.open {
		b.tx = transaction{open: true, changes: map[string]*int32{}, before: b.vars}
	} else if b.tx.piped && !b.tx.block && b.db.Major >= 17 {
		b.tx.implicit = true
	}
	return nil
}

// finish ends the transaction if it is that of one request.
func (b *Backend) finish() {
	if b.tx.open && !b.tx.block && !b.tx.implicit {
		b.commit()
	}
}

// sync ends the transaction of a pipeline.
func (b *Backend) sync() {
	if b.tx.implicit && b.tx.resting {
		b.tx.dangling = true
	}
	b.tx.implicit = false
	if !b.tx.dangling {
		b.finish()
	}
}

func (b *Backend) commit() {
	tx := b.tx
	b.tx = transaction{}
	b.db.apply(tx.changes)
	for _, fn := range tx.channels {
		fn(&b.session)
	}
	b.vars.now = b.vars.session
	clear(b.portals)
	b.watch.committed(b.db, len(tx.changes) > 0)
	b.db.notify(b, tx.notes)
}

// undo drops everything of the transaction; in a block it stays open, failed, until the block is ended.
func (b *Backend) undo() {
	if !b.tx.open {
		return
	}
	b.vars = b.tx.before
	b.tx.changes, b.tx.notes, b.tx.channels, b.tx.piped = map[string]*int32{}, nil, nil, false
	if b.tx.block {
		b.tx.failed = true
		for _, p := range b.portals {
			p.failed = true
		}
		return
	}
	b.tx = transaction{}
	clear(b.portals)
}

// rollback ends the block without a trace.
func (b *Backend) rollback() {
	b.vars = b.tx.before
	b.tx = transaction{}
	clear(b.portals)
}

func (b *Backend) savepoint(name string) {
	b.tx.saves = append(b.tx.saves, savepoint{
		name: name, changes: maps.Clone(b.tx.changes), vars: b.vars, notes: len(b.tx.notes), channels: len(b.tx.channels),
		portals: slices.Collect(maps.Keys(b.portals)),
	})
}

// saved is the place of the savepoint of a name, or -1.
func (b *Backend) saved(name string) int {
	for i, s := range slices.Backward(b.tx.saves) {
		if s.name == name {
			return i
		}
	}
	return -1
}

// rollbackTo returns to a savepoint, which stays.
func (b *Backend) rollbackTo(i int) {
	s := b.tx.saves[i]
	b.tx.saves = b.tx.saves[:i+1]
	b.tx.changes, b.vars = maps.Clone(s.changes), s.vars
	b.tx.notes, b.tx.channels = b.tx.notes[:min(s.notes, len(b.tx.notes))], b.tx.channels[:min(s.channels, len(b.tx.channels))]
	b.tx.failed = false
	maps.DeleteFunc(b.portals, func(name string, p *portal) bool { return p.failed || !slices.Contains(s.portals, name) })
}
