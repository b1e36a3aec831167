package simtest

import (
	"encoding/binary"
	"strconv"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

func (b *Backend) extendedMessage(typ byte, body []byte) *wire.Error {
	switch typ {
	case 'P':
		return b.parseMessage(body)
	case 'B':
		return b.bindMessage(body)
	case 'D':
		return b.describeMessage(body)
	case 'E':
		return b.executeMessage(body)
	}
	return b.closeMessage(body)
}

func badMessage() *wire.Error {
	return &wire.Error{Code: wire.CodeProtocolViolation, Message: "invalid message format"}
}

func (b *Backend) parseMessage(body []byte) *wire.Error {
	name, query, _, ok := wire.ParseMessage(body)
	if !ok {
		return badMessage()
	}
	if err := b.begin(); err != nil {
		return err
	}
	if len(name) == 0 {
		delete(b.prepared, "")
	}
	all, err := parse(string(query))
	switch {
	case err != nil:
		return err
	case len(all) > 1:
		return &wire.Error{Code: wire.CodeSyntaxError, Message: "cannot insert multiple commands into a prepared statement"}
	}
	st := &statement{op: opEmpty}
	if len(all) == 1 {
		st = all[0]
		if err := b.mayRun(st); err != nil {
			return err
		}
		if err := b.analyse(st); err != nil {
			return err
		}
	}
	if len(name) > 0 && b.prepared[string(name)] != nil {
		return &wire.Error{Code: wire.CodeDuplicateStatement, Message: "prepared statement already exists"}
	}
	b.prepared[string(name)] = st
	b.say(wire.AppendParseComplete(nil))
	return nil
}

func (b *Backend) statement(name []byte) (*statement, *wire.Error) {
	if st := b.prepared[string(name)]; st != nil {
		return st, nil
	}
	return nil, &wire.Error{
		Code: wire.CodeInvalidStatementName, Message: "prepared statement " + strconv.Quote(string(name)) + " does not exist",
	}
}

func (b *Backend) bindMessage(body []byte) *wire.Error {
	portalName, name, rest, ok := wire.BindNames(body)
	if !ok {
		return badMessage()
	}
	st, err := b.statement(name)
	if err != nil {
		return err
	}
	if err := b.begin(); err != nil {
		return err
	}
	m, ok := decodeBind(rest)
	switch {
	case !ok:
		return badMessage()
	case len(m.formats) > 1 && len(m.formats) != len(m.params):
		return &wire.Error{Code: wire.CodeProtocolViolation, Message: "wrong number of parameter formats"}
	case len(m.params) != len(st.params):
		return &wire.Error{Code: wire.CodeProtocolViolation, Message: "wrong number of parameters"}
	}
	if b.tx.failed && (!st.endsTransaction() && st.op != opEmpty || len(st.params) > 0) {
		return b.mayRun(&statement{})
	}
	if len(portalName) > 0 && b.portals[string(portalName)] != nil {
		return &wire.Error{Code: "42P03", Message: "cursor already exists"}
	}
	p := newPortal(string(portalName), st)
	delete(b.portals, p.name)
	if p.args, err = m.values(st.params); err != nil {
		return err
	}
	if err := b.plan(p); err != nil {
		return err
	}
	cols := b.columns(st)
	if len(m.results) > 1 && len(m.results) != len(cols) {
		return &wire.Error{Code: wire.CodeProtocolViolation, Message: "wrong number of result formats"}
	}
	if len(m.results) > 0 && len(cols) > 0 {
		p.format = m.results[0]
	}
	b.portals[p.name] = p
	b.say(wire.AppendBindComplete(nil))
	return nil
}

func (b *Backend) portal(name []byte) (*portal, *wire.Error) {
	if p := b.portals[string(name)]; p != nil {
		return p, nil
	}
	return nil, &wire.Error{
		Code: wire.CodeInvalidCursorName, Message: "portal " + strconv.Quote(string(name)) + " does not exist",
	}
}

func (b *Backend) describeMessage(body []byte) *wire.Error {
	kind, name, ok := wire.Target(body)
	if !ok {
		return badMessage()
	}
	if err := b.begin(); err != nil {
		return err
	}
	var st *statement
	var p *portal
	var err *wire.Error
	if kind == 'S' {
		st, err = b.statement(name)
	} else if p, err = b.portal(name); err == nil {
		st = p.st
	}
	if err != nil {
		return err
	}
	cols := b.columns(st)
	if b.tx.failed && cols != nil {
		return b.mayRun(&statement{})
	}
	if kind == 'S' {
		b.say(parameterDescription(st.params))
	}
	if cols == nil {
		b.say(wire.AppendNoData(nil))
	} else {
		b.say(rowDescription(cols, p))
	}
	return nil
}

func (b *Backend) executeMessage(body []byte) *wire.Error {
	name, most, ok := wire.ExecutePortal(body)
	if !ok {
		return badMessage()
	}
	p, err := b.portal(name)
	if err != nil {
		return err
	}
	if p.st.op == opEmpty {
		b.say(wire.AppendEmptyQuery(nil))
		return nil
	}
	if err := b.begin(); err != nil {
		return err
	}
	if err := b.mayRun(p.st); err != nil {
		return err
	}
	if p.failed || p.ran && !p.st.plain() {
		return &wire.Error{Code: wire.CodeObjectNotInPrerequisiteState, Message: "portal cannot be run"}
	}
	b.perform(p, int(int32(most)), func(err *wire.Error, tag string) {
		switch {
		case err != nil:
			b.extended = true
			b.fail(err)
		case tag == suspended:
			b.tx.piped = true
			b.say(wire.AppendFrame(nil, 's', nil))
		default:
			b.tx.piped = true
			if p.st.controls() || p.st.op == opDiscardAll {
				b.tx.piped = false
				b.finish()
			}
			b.say(wire.AppendCommandComplete(nil, tag))
		}
	})
	return nil
}

func (b *Backend) closeMessage(body []byte) *wire.Error {
	kind, name, ok := wire.Target(body)
	if !ok {
		return badMessage()
	}
	if kind == 'S' {
		delete(b.prepared, string(name))
	} else {
		delete(b.portals, string(name))
	}
	b.say(wire.AppendFrame(nil, '3', nil))
	return nil
}

// bindTail is what follows the names in a Bind.
type bindTail struct {
	formats []int16
	params  [][]byte // nil: NULL
	results []int16
}

func decodeBind(b []byte) (m bindTail, ok bool) {
	be := binary.BigEndian
	count := func() (n int) {
		if ok = ok && len(b) >= 2; ok {
			n, b = int(be.Uint16(b)), b[2:]
		}
		return n
	}
	codes := func() (list []int16) {
		for range count() {
			list = append(list, int16(count()))
		}
		return list
	}
	ok = true
	m.formats = codes()
	for range count() {
		if ok = ok && len(b) >= 4; !ok {
			return m, false
		}
		size := int32(be.Uint32(b))
		b = b[4:]
		var v []byte
		if size >= 0 {
			if int(size) > len(b) {
				return m, false
			}
			v, b = b[:size:size], b[size:]
		}
		m.params = append(m.params, v)
	}
	m.results = codes()
	return m, ok && len(b) == 0
}

func (m bindTail) format(i int) int16 {
	switch len(m.formats) {
	case 0:
		return 0
	case 1:
		return m.formats[0]
	}
	return m.formats[i]
}

// values reads the parameters.
func (m bindTail) values(types []uint32) ([]value, *wire.Error) {
	all := make([]value, len(types))
	for i, oid := range types {
		raw := m.params[i]
		switch {
		case raw == nil:
			all[i].null = true
		case oid == oidText:
			all[i].s = string(raw)
		case m.format(i) == 1 && len(raw) == 4:
			all[i].n = int32(binary.BigEndian.Uint32(raw))
		case m.format(i) == 1:
			return nil, &wire.Error{Code: "22P03", Message: "incorrect binary data format in bind parameter"}
		default:
			n, err := strconv.ParseInt(string(raw), 10, 32)
			if err != nil {
				return nil, &wire.Error{Code: "22P02", Message: "invalid input syntax for type integer"}
			}
			all[i].n = int32(n)
		}
	}
	return all, nil
}
