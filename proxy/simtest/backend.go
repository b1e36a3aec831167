package simtest

import (
	"encoding/binary"
	"fmt"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Backend is one server process: Feed it bytes and Take what it says.
type Backend struct {
	session
	audit
	tx    transaction
	db    *Database
	watch *watch

	pid    uint32
	secret [4]byte
	in     []byte
	obuf   []byte // said, and kept until something flushes it, as PostgreSQL does
	out    []byte // on its way
	notes  []note // for this client, not delivered yet

	todo     []*statement // of the Query under way
	many     bool         // it holds several
	skipping bool         // after an error: everything up to Sync is ignored
	copying  *copyIn
	asleep   func(err *wire.Error) // ends the pg_sleep under way
	alarm    int                   // tells the sleeps apart
	signal   bool                  // a cancel request has come that has hit nothing yet
	asked    bool                  // a request has begun that is not answered
	extended bool                  // the message at hand is of the extended protocol
	ended    bool
	hungUp   bool

	// Spoken is called when there may be something to Take that no Feed has asked for.
	Spoken func()
	// Tell hears what the process is sent and says; nil: nobody does.
	Tell func(what string)
}

func newBackend(db *Database, pid uint32, app string) *Backend {
	b := &Backend{session: newSession(app), db: db, pid: pid}
	binary.BigEndian.PutUint32(b.secret[:], pid*2654435761)
	return b
}

// PID is the process number.
func (b *Backend) PID() uint32 { return b.pid }

// Secret is the cancel key.
func (b *Backend) Secret() []byte { return b.secret[:] }

// Ended reports whether the process has gone; what is left to Take was its last.
func (b *Backend) Ended() bool { return b.ended }

// Asleep reports whether a pg_sleep runs.
func (b *Backend) Asleep() bool { return b.asleep != nil }

// Quiet reports whether the process is as a pool may lend it: idle, everything said, nothing of a client left in it
// but prepared statements.
func (b *Backend) Quiet() bool {
	return !b.tx.open && b.asleep == nil && b.copying == nil && !b.skipping && len(b.in) == 0 && len(b.obuf) == 0
}

// Listens reports whether a client's LISTEN is still in force.
func (b *Backend) Listens() bool { return len(b.channels) > 0 }

// Take is what the process has to say now.
func (b *Backend) Take() []byte {
	out := b.out
	b.out = nil
	if b.Tell != nil && len(out) > 0 {
		b.Tell(">" + show(out))
	}
	return out
}

// Feed gives it what the client has sent.
func (b *Backend) Feed(p []byte) {
	b.in = append(b.in, p...)
	b.run()
}

// run handles every whole message, as long as it is not busy.
func (b *Backend) run() {
	for !b.ended && b.asleep == nil && len(b.in) >= wire.HeaderLen {
		typ, size, ok := wire.Header(b.in)
		if !ok {
			b.violate("invalid length of a %q", typ)
			b.fatal(&wire.Error{Code: wire.CodeProtocolViolation, Message: "invalid message length"})
			return
		}
		if len(b.in) < size {
			break
		}
		body := append([]byte(nil), b.in[wire.HeaderLen:size]...)
		b.in = b.in[size:]
		if b.Tell != nil {
			b.Tell(fmt.Sprintf("< %c %q", typ, body))
		}
		b.message(typ, body)
	}
	if b.hungUp && b.asleep == nil {
		b.end()
	}
}

func (b *Backend) message(typ byte, body []byte) {
	if b.copying != nil {
		b.copyMessage(typ, body)
		return
	}
	if b.skipping && typ != 'S' && typ != 'X' {
		return
	}
	b.extended = false
	switch typ {
	case 'Q':
		b.query(body)
	case 'P', 'B', 'D', 'E', 'C':
		b.extended = true
		err := b.starting()
		if err == nil {
			err = b.extendedMessage(typ, body)
		}
		if err != nil {
			b.fail(err)
		}
	case 'H':
		b.flush()
	case 'S':
		b.sync()
		b.skipping = false
		b.ready()
	case 'F':
		b.function(body)
	case 'd', 'c', 'f':
		b.stray(string(body))
	case 'X':
		b.end()
	default:
		b.violate("message of unknown type %q", typ)
		b.fatal(&wire.Error{Code: wire.CodeProtocolViolation, Message: "invalid frontend message type"})
	}
}

// fail says an error and does what follows from it.
func (b *Backend) fail(err *wire.Error) {
	b.copying = nil
	b.undo()
	b.say(wire.AppendError(nil, err))
	b.flush()
	if b.extended {
		b.skipping = true
		return
	}
	b.ready()
}

// ready ends a request: what has changed is reported, then ReadyForQuery.
func (b *Backend) ready() {
	b.todo, b.asked = nil, false
	if !b.tx.open {
		b.sayNotes()
	}
	if b.vars.now != b.reported {
		b.reported = b.vars.now
		b.say(wire.AppendParameterStatus(nil, "application_name", b.reported))
	}
	b.tx.resting = b.tx.implicit
	status := b.status()
	if status == 'I' {
		b.rests(b.keeps())
	}
	b.say(wire.AppendReadyForQuery(nil, status))
	b.flush()
}

func (b *Backend) status() byte {
	switch {
	case b.tx.failed:
		return 'E'
	case b.tx.block, b.tx.implicit:
		return 'T'
	}
	return 'I'
}

func (b *Backend) sayNotes() {
	for _, n := range b.notes {
		b.say(wire.AppendNotification(nil, n.pid, n.channel, n.payload))
	}
	b.notes = nil
}

// deliverNotes is for a process that another one's commit has something to tell: at once if it is idle.
func (b *Backend) deliverNotes() {
	if len(b.notes) > 0 && b.Quiet() && !b.ended {
		b.sayNotes()
		b.flush()
		b.spoke()
	}
}

// say has one frame sent with the next flush.
func (b *Backend) say(frame []byte) {
	b.obuf = append(b.obuf, frame...)
	b.watch.saidOne()
}

func (b *Backend) flush() {
	b.out = append(b.out, b.obuf...)
	b.obuf = b.obuf[:0]
	b.watch.flush()
}

func (b *Backend) spoke() {
	if b.Spoken != nil {
		b.Spoken()
	}
}

// fatal says an error that ends the process.
func (b *Backend) fatal(err *wire.Error) {
	err.Severity = "FATAL"
	b.say(wire.AppendError(nil, err))
	b.flush()
	b.end()
}

// end is the process leaving: an open transaction is undone.
func (b *Backend) end() {
	b.ended, b.asleep, b.in = true, nil, nil
	b.db.remove(b)
}

// HangUp is the client's end having gone. What it sent is carried out first, as PostgreSQL does not look before.
func (b *Backend) HangUp() {
	b.hungUp = true
	b.run()
}

// Cancel is the signal of a cancel request. It ends what runs now, whoever asked for that. Where nothing runs it is
// lost, unless it is late: then it hits the next thing that does, as one that arrives between two steps of a statement.
func (b *Backend) Cancel(late bool) {
	if b.asleep != nil {
		b.wake(canceled())
		return
	}
	b.signal = b.signal || late || b.copying != nil
}

func canceled() *wire.Error {
	return &wire.Error{Code: wire.CodeQueryCanceled, Message: "canceling statement due to user request"}
}

// Terminate is pg_terminate_backend.
func (b *Backend) Terminate() {
	if b.ended {
		return
	}
	b.asleep = nil
	b.fatal(&wire.Error{
		Code: wire.CodeAdminShutdown, Message: "terminating connection due to administrator command",
	})
	b.spoke()
}

// sleep suspends the process; then goes on with whatever ended it.
func (b *Backend) sleep(st *statement, then func(err *wire.Error)) {
	if b.db.Sleep == nil {
		then(b.at(Cancelable))
		return
	}
	b.alarm++
	alarm := b.alarm
	b.asleep = then
	b.db.Sleep(st.d, func() {
		if b.asleep != nil && b.alarm == alarm {
			b.wake(nil)
		}
	})
}

func (b *Backend) wake(err *wire.Error) {
	then := b.asleep
	b.asleep = nil
	then(err)
	b.run()
	b.spoke()
}
