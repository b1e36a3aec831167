package simtest

import (
	"encoding/binary"
	"slices"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// query is a simple Query: all its commands are read before the first is run, and they are one transaction unless
// they say otherwise.
func (b *Backend) query(body []byte) {
	q, ok := wire.QueryText(body)
	if !ok {
		b.violate("a Query that is no text")
		b.fail(&wire.Error{Code: wire.CodeProtocolViolation, Message: "invalid message format"})
		return
	}
	if err := b.starting(); err != nil {
		b.fail(err)
		return
	}
	if err := b.begin(); err != nil {
		b.fail(err)
		return
	}
	delete(b.prepared, "")
	all, err := parse(string(q))
	if err != nil {
		b.fail(err)
		return
	}
	if len(all) == 0 {
		if err := b.at(Cancelable); err != nil {
			b.fail(err)
			return
		}
		b.finish()
		b.say(wire.AppendEmptyQuery(nil))
		b.ready()
		return
	}
	b.todo, b.many = all, len(all) > 1
	b.nextCommand()
}

// nextCommand runs the first of what is left of a Query. A command that takes time comes back here when it is done.
func (b *Backend) nextCommand() {
	if len(b.todo) == 0 {
		b.ready()
		return
	}
	st := b.todo[0]
	b.todo = b.todo[1:]
	if err := b.mayRun(st); err != nil {
		b.fail(err)
		return
	}
	_ = b.begin() // the last one may have been a COMMIT
	if err := b.at(Cancelable); err != nil {
		b.fail(err)
		return
	}
	if err := b.analyse(st); err != nil {
		b.fail(err)
		return
	}
	p := newPortal("", st)
	delete(b.portals, "")
	if err := b.plan(p); err != nil {
		b.fail(err)
		return
	}
	if cols := b.columns(st); cols != nil {
		b.say(rowDescription(cols, nil))
	}
	b.perform(p, 0, func(err *wire.Error, tag string) {
		if err != nil {
			b.fail(err)
			return
		}
		if len(b.todo) == 0 && b.many {
			b.tx.implicit = false
		}
		if len(b.todo) == 0 || st.controls() {
			b.finish()
		}
		b.say(wire.AppendCommandComplete(nil, tag))
		b.nextCommand()
	})
}

// mayRun refuses everything but its end in a transaction that has failed.
func (b *Backend) mayRun(st *statement) *wire.Error {
	if b.tx.failed && !st.endsTransaction() {
		return &wire.Error{
			Code:    wire.CodeInFailedTransaction,
			Message: "current transaction is aborted, commands ignored until end of transaction block",
		}
	}
	return nil
}

// analyse finds the errors that Parse finds.
func (b *Backend) analyse(st *statement) *wire.Error {
	b.asks(st, nil)
	if st.op == opNoTable {
		return &wire.Error{Code: "42P01", Message: `relation "nosuch" does not exist`}
	}
	return nil
}

// implicitBlock reports whether a command runs together with others that no BEGIN holds together.
func (b *Backend) implicitBlock() bool { return !b.tx.block && (b.many && !b.extended || b.tx.piped) }

// function is a FunctionCall. There is int4pl.
func (b *Backend) function(body []byte) {
	if err := b.starting(); err != nil {
		b.fail(err)
		return
	}
	if err := b.begin(); err != nil {
		b.fail(err)
		return
	}
	if err := b.mayRun(&statement{}); err != nil {
		b.fail(err)
		return
	}
	const int4pl = 177
	if len(body) < 4 || binary.BigEndian.Uint32(body) != int4pl {
		b.fail(&wire.Error{Code: "42883", Message: "function does not exist"})
		return
	}
	// One format for all, two arguments of four bytes, a binary result: the only call that clients here make.
	want := callInt4pl(0, 0)[wire.HeaderLen:]
	if len(body) != len(want) {
		b.fail(&wire.Error{Code: wire.CodeProtocolViolation, Message: "invalid function call message"})
		return
	}
	x, y := binary.BigEndian.Uint32(body[14:]), binary.BigEndian.Uint32(body[22:])
	b.finish()
	b.say(wire.AppendFrame(nil, 'V', binary.BigEndian.AppendUint32([]byte{0, 0, 0, 4}, x+y)))
	b.ready()
}

// callInt4pl is a FunctionCall of int4pl(x, y).
func callInt4pl(x, y int32) []byte {
	be := binary.BigEndian
	body := be.AppendUint32(nil, 177)
	body = be.AppendUint16(be.AppendUint16(body, 1), 1)
	body = be.AppendUint16(body, 2)
	for _, v := range []int32{x, y} {
		body = be.AppendUint32(be.AppendUint32(body, 4), uint32(v))
	}
	return wire.AppendFrame(nil, 'F', be.AppendUint16(slices.Clip(body), 1))
}
