package simtest

import (
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
	known := b.prepared[string(name)]
	if len(name) == 0 {
		delete(b.prepared, "")
	} else if known != nil {
		if err := b.naming(known); err != nil {
			return err
		}
	}
	if err := b.at(Cancelable); err != nil {
		return err
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
	if len(name) > 0 && known != nil {
		return alreadyPrepared(string(name))
	}
	b.prepared[string(name)] = st
	b.say(wire.AppendParseComplete(nil))
	return nil
}

// statement finds the one that a message names.
func (b *Backend) statement(name []byte) (*statement, *wire.Error) {
	st := b.prepared[string(name)]
	if st == nil {
		return nil, notPrepared(string(name))
	}
	return st, b.naming(st)
}

func notPrepared(name string) *wire.Error {
	message := `prepared statement "` + name + `" does not exist`
	if name == "" {
		message = "unnamed prepared statement does not exist"
	}
	return &wire.Error{Code: wire.CodeInvalidStatementName, Message: message}
}

func alreadyPrepared(name string) *wire.Error {
	return &wire.Error{Code: wire.CodeDuplicateStatement, Message: `prepared statement "` + name + `" already exists`}
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
	if err := b.at(Cancelable); err != nil {
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
	if b.tx.failed && (!st.endsTransaction() || len(st.params) > 0) {
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
	b.asks(st, p.args)
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
	if err := b.at(Cancelable); err != nil {
		return err
	}
	b.asks(p.st, p.args)
	if p.failed || p.ran && !p.st.plain() && p.st.op != opShow {
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
