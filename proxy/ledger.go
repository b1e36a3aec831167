package proxy

import (
	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// The ledger is the queue of replies that the server owes. Every frame that draws a reply is entered when it is sent;
// every reply is matched with the entry at the head. What an entry's frame changed in our books (a client's
// statements, a connection's copies) was changed when it was sent, because frames behind it in the pipeline rely on
// it; the entry's effect confirms that when the reply comes, or takes it back when the server failed or skipped it.

// Kinds of entries: the frame's own type, but Describe of a statement, which has two replies, and the marker.
const (
	kindQuery             = 'Q'
	kindFunction          = 'F'
	kindSync              = 'S'
	kindParse             = 'P'
	kindBind              = 'B'
	kindDescribePortal    = 'D'
	kindDescribeStatement = 'd'
	kindExecute           = 'E'
	kindClose             = 'C'
	kindFlush             = 'H' // only one that the server refuses
	kindCopyEnd           = 'c' // CopyDone or CopyFail: no reply, but the end of what a COPY swallows
)

// action says what becomes of a reply.
type action uint8

const (
	forward action = iota
	swallow        // the reply to a frame of our own; its error is the client's all the same
	replace        // a frame sent only to fail; its error is replaced by effect.err
)

type entry struct {
	kind   byte
	act    action
	effect *effect
}

// effect is what the reply to an entry confirms or takes back. Effects are reused; see exchange.newEffect.
type effect struct {
	op      op
	name    string            // the client's name of the statement
	client  *clientStatement  // of the client, or nil
	stmt    *pool.Statement   // the copy on the server
	unnamed *unnamedStatement // the one this Parse made
	old     *unnamedStatement // what the unnamed statement was before
	shape   uint64            // of the reply so far
	impact  *impact           // of a simple Query that may change the session
	touched int               // how many parameters the transaction had touched before it
	pins    pins              // and the pins there were
	ours    []int             // statements of the Query that are not the client's, by number
	tag     string            // takes the place of the last statement's; a PREPARE's or DEALLOCATE's
	shift   int               // characters before the text that its error's position counts too
	sql     bool              // our Parse is for an EXECUTE
	err     *wire.Error
	next    *effect // free list
}

type op uint8

const (
	opNone         op = iota
	opParse           // the client's named Parse
	opCopy            // our Parse of a statement that the client has already
	opDropCopy        // our Close of a copy
	opShape           // a Describe that tells a statement's shape
	opUnnamedParse    // the client's Parse of the unnamed statement
	opUnnamedCopy     // our Parse, or Close, of the unnamed statement
	opUnnamedDrop     // a Query or Close of the client's that ends its unnamed statement
	opUnnamedShape    // the client's Describe of its unnamed statement
	opClose           // the client's Close of a named statement
)

// ledger is a queue in a slice that is reused.
type ledger struct {
	q    []entry
	head int
}

func (l *ledger) push(e entry) {
	if len(l.q) == cap(l.q) && l.head > len(l.q)/2 { // a pipeline that never runs empty must not make it grow
		l.q, l.head = l.q[:copy(l.q, l.q[l.head:])], 0
	}
	l.q = append(l.q, e)
}

func (l *ledger) empty() bool { return l.head == len(l.q) }

func (l *ledger) len() int { return len(l.q) - l.head }

// alone reports whether nothing but the first entry is owed. Late ends of a COPY are nothing.
func (l *ledger) alone() bool {
	for i := l.head + 1; i < len(l.q); i++ {
		if l.q[i].kind != kindCopyEnd {
			return false
		}
	}
	return true
}

// first is the entry whose reply is due; nil where none is. Markers before it have no reply and are dropped.
func (l *ledger) first() *entry {
	for l.head < len(l.q) {
		if e := &l.q[l.head]; e.kind != kindCopyEnd {
			return e
		}
		l.head++
	}
	l.reset()
	return nil
}

// pop removes the first entry.
func (l *ledger) pop() {
	l.head++
	if l.head == len(l.q) {
		l.reset()
	}
}

func (l *ledger) reset() {
	l.q, l.head = l.q[:0], 0
	if cap(l.q) > 4096 {
		l.q = nil // a huge pipeline's ledger is not kept
	}
}

// settled drops trailing markers and reports whether nothing is owed.
func (l *ledger) settled() bool { return l.first() == nil }

// cutCopy removes what a COPY IN, begun by the first entry, consumes of what was sent behind it: Syncs up to the
// CopyDone or CopyFail. It reports whether that end was found and how many Syncs were removed, and ok=false where
// another frame stands before the end: the server fails on it.
func (l *ledger) cutCopy() (ended bool, syncs int, ok bool) {
	w := l.head + 1
	for r := w; r < len(l.q); r++ {
		switch l.q[r].kind {
		case kindSync:
			syncs++
			continue
		case kindCopyEnd:
			l.q = append(l.q[:w], l.q[r+1:]...)
			return true, syncs, true
		default:
			return false, syncs, false
		}
	}
	l.q = l.q[:w]
	return false, syncs, true
}
