package model

import (
	"encoding/binary"
	"strconv"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

var errMalformed = &wire.Error{Code: wire.CodeProtocolViolation, Message: "invalid message format"}

// extended runs one message of the extended protocol. After an error everything up to Sync is skipped.
func (b *Backend) extended(do func(body []byte) *wire.Error, body []byte) {
	e := b.refused()
	if e == nil {
		e = do(body)
	}
	if e != nil {
		b.extendedFailed(e)
	}
}

func (b *Backend) extendedFailed(e *wire.Error) {
	b.error(e)
	b.tx.fail(b)
	b.skipping = true
}

func (b *Backend) sync() {
	b.skipping = false
	if !b.tx.block {
		b.tx.commit(b)
		clear(b.portals)
	}
	b.ready()
}

func (b *Backend) parse(body []byte) *wire.Error {
	name, sql, _, ok := wire.ParseMessage(body)
	if !ok {
		return errMalformed
	}
	if len(name) == 0 {
		delete(b.stmts, "")
	}
	if e := b.interrupted(); e != nil {
		return e
	}
	text := string(sql)
	st, e := read(text)
	if e != nil {
		return e
	}
	b.tagged(st.tag)
	b.tx.start(b)
	if b.tx.failed && st.verb != verbEmpty && !st.exits() {
		return errInFailed
	}
	if b.stmts[string(name)] != nil {
		return &wire.Error{
			Code:    wire.CodeDuplicateStatement,
			Message: "prepared statement \"" + string(name) + "\" already exists",
		}
	}
	b.stmts[string(name)] = &prepared{statement: st, sql: text}
	b.emit(wire.AppendParseComplete(nil))
	return nil
}

func (b *Backend) statement(name []byte) (*prepared, *wire.Error) {
	st := b.stmts[string(name)]
	switch {
	case st != nil:
		b.tagged(st.tag)
		return st, nil
	case len(name) == 0:
		return nil, &wire.Error{Code: wire.CodeInvalidStatementName, Message: "unnamed prepared statement does not exist"}
	}
	return nil, &wire.Error{
		Code: wire.CodeInvalidStatementName, Message: "prepared statement \"" + string(name) + "\" does not exist",
	}
}

func (b *Backend) bind(body []byte) *wire.Error {
	portalName, name, rest, ok := wire.BindNames(body)
	if !ok {
		return errMalformed
	}
	if e := b.interrupted(); e != nil {
		return e
	}
	b.tx.start(b)
	st, e := b.statement(name)
	if e != nil {
		return e
	}
	params, ok := readParams(rest)
	if !ok {
		return errMalformed
	}
	if len(params) != st.params {
		return &wire.Error{
			Code:    wire.CodeProtocolViolation,
			Message: "bind message supplies " + strconv.Itoa(len(params)) + " parameters, but " + strconv.Itoa(st.params) + " are required",
		}
	}
	if b.tx.failed && (!st.exits() || st.params > 0) {
		return errInFailed
	}
	if len(portalName) > 0 && b.portals[string(portalName)] != nil {
		return &wire.Error{Code: "42P03", Message: "cursor \"" + string(portalName) + "\" already exists"}
	}
	b.portals[string(portalName)] = &portal{statement: st.bound(params)}
	b.emit(wire.AppendBindComplete(nil))
	return nil
}

// readParams reads the part of a Bind behind its names: formats, values, result formats.
func readParams(rest []byte) (params []string, ok bool) {
	defer func() {
		if recover() != nil { // out of bounds
			params, ok = nil, false
		}
	}()
	formats := int(binary.BigEndian.Uint16(rest))
	rest = rest[2+2*formats:]
	n := int(binary.BigEndian.Uint16(rest))
	rest = rest[2:]
	for range n {
		size := int(binary.BigEndian.Uint32(rest))
		params = append(params, string(rest[4:4+size]))
		rest = rest[4+size:]
	}
	return params, true
}

func (b *Backend) portal(name []byte) (*portal, *wire.Error) {
	p := b.portals[string(name)]
	if p == nil {
		return nil, &wire.Error{
			Code: wire.CodeInvalidCursorName, Message: "portal \"" + string(name) + "\" does not exist",
		}
	}
	b.tagged(p.tag)
	return p, nil
}

func (b *Backend) describe(body []byte) *wire.Error {
	kind, name, ok := wire.Target(body)
	if !ok {
		return errMalformed
	}
	b.tx.start(b)
	var st statement
	if kind == 'S' {
		p, e := b.statement(name)
		if e != nil {
			return e
		}
		st = p.statement
	} else {
		p, e := b.portal(name)
		if e != nil {
			return e
		}
		st = p.statement
	}
	if b.tx.failed && st.rows() {
		return errInFailed
	}
	if kind == 'S' {
		b.emit(parameterDescription(st.params))
	}
	if st.rows() {
		b.emit(rowDescription())
	} else {
		b.emit(wire.AppendNoData(nil))
	}
	return nil
}

func parameterDescription(n int) []byte {
	body := []byte{0, byte(n)}
	for range n {
		body = append(body, 0, 0, 0, 25)
	}
	return wire.AppendFrame(nil, 't', body)
}

func (b *Backend) close(body []byte) *wire.Error {
	kind, name, ok := wire.Target(body)
	if !ok {
		return errMalformed
	}
	if kind == 'S' {
		delete(b.stmts, string(name))
	} else {
		delete(b.portals, string(name))
	}
	b.emit(wire.AppendCloseComplete(nil))
	return nil
}

func (b *Backend) execute(body []byte) *wire.Error {
	name, most, ok := wire.ExecutePortal(body)
	if !ok {
		return errMalformed
	}
	if e := b.interrupted(); e != nil {
		return e
	}
	p, e := b.portal(name)
	if e != nil {
		return e
	}
	if p.verb == verbEmpty {
		b.emit(wire.AppendEmptyQuery(nil))
		return nil
	}
	b.tx.start(b)
	if b.tx.failed && !p.exits() {
		return errInFailed
	}
	if p.rows() {
		return b.fetch(p, int(int32(most)))
	}
	if p.done {
		return &wire.Error{
			Code:    wire.CodeObjectNotInPrerequisiteState,
			Message: "portal \"" + string(name) + "\" cannot be run",
		}
	}
	p.done = true
	return b.executeOnce(p)
}

// executeOnce runs a statement without rows.
func (b *Backend) executeOnce(p *portal) *wire.Error {
	switch p.verb {
	case verbSleep:
		b.sleep(p.statement, func() {
			if e := b.interrupted(); e != nil {
				b.extendedFailed(e)
				return
			}
			b.emit(wire.AppendCommandComplete(nil, "SLEEP"))
		})
		return nil
	case verbCopyIn:
		b.startCopy(p.statement, func() {}, b.extendedFailed)
		return nil
	}
	_, tag, e := b.run(p.statement)
	if e == nil {
		b.emit(wire.AppendCommandComplete(nil, tag))
	}
	return e
}

// fetch runs a statement with rows, as far as the client wants now.
func (b *Backend) fetch(p *portal, most int) *wire.Error {
	tag := ""
	if !p.begun {
		p.begun = true
		p.left, tag, p.failure = b.run(p.statement)
	}
	rows := p.left
	if most > 0 && most <= len(rows) {
		rows = rows[:most]
	}
	p.left = p.left[len(rows):]
	for _, row := range rows {
		b.emit(dataRow(row))
	}
	if most > 0 && most == len(rows) {
		b.emit(wire.AppendFrame(nil, 's', nil)) // whether there are more it does not know yet
		return nil
	}
	if e := p.failure; e != nil {
		return e
	}
	if tag == "" || tag[0] == 'S' && tag != "SHOW" {
		tag = "SELECT " + strconv.Itoa(len(rows))
	}
	b.emit(wire.AppendCommandComplete(nil, tag))
	return nil
}
