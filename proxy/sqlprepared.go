package proxy

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sarnicdb/sarnic/proxy/wire"
	"github.com/sarnicdb/sarnic/router"
)

// PREPARE, EXECUTE and DEALLOCATE in SQL speak of the same statements as Parse, Bind and Close, so they are told in those
// words: a PREPARE is sent as a Parse under the server's name, an EXECUTE names that, and a DEALLOCATE reaches no server.
// What stands in a string with other statements, or comes by the extended protocol, is the server's own and ties the
// client to it.

// sqlPrepared handles a Query that is or holds one of them. done is false for one that goes the way of any other.
func (s *session) sqlPrepared(frame []byte, m *impact) (done bool, err error) {
	x := s.x
	switch {
	case !x.led.settled():
		return true, errStall
	case x.dropQuery: // what it needs could not be prepared, and the client has been told
		x.dropQuery, x.keep = false, false
		x.out.skip()
		return true, nil
	case x.open || x.status == 'E':
		return false, nil
	}
	p := m.prepared[0]
	sql := string(frame[wire.HeaderLen : len(frame)-1])
	switch {
	case p.Kind == router.Prepare && m.sole:
		return s.sqlPrepare(sql, &p)
	case p.Kind == router.Deallocate && m.sole && s.stmts[p.Name] != nil:
		s.sqlDeallocate(p.Name)
		return true, nil
	}
	return s.sqlExecute(sql, m)
}

// sqlPrepare sends a Parse, whose ParseComplete becomes PREPARE's CommandComplete.
func (s *session) sqlPrepare(sql string, p *router.Part) (done bool, err error) {
	x := s.x
	if s.stmts[p.Name] != nil {
		s.failQuery(duplicateStatement(p.Name))
		return true, nil
	}
	types := []byte{0, 0}
	if !p.Args.Empty() {
		if x.typesOf != p.Args.In(sql) {
			return true, s.runErrand(func() error { return s.resolveTypes(p.Args.In(sql)) })
		}
		if types = x.types; types == nil {
			s.pinFor(pinPrepared) // the server says best what is wrong with them, and maybe nothing is
			return false, nil
		}
	}
	st := s.srv.texts.Intern([]byte(p.Body.In(sql)), types)
	cs := &clientStatement{stmt: st, impact: s.impact([]byte(p.Body.In(sql))), segment: x.segment}
	if s.stmts == nil {
		s.stmts = make(map[string]*clientStatement)
	}
	s.stmts[p.Name] = cs
	e := x.newEffect(effect{op: opParse, name: p.Name, client: cs, stmt: st, tag: "PREPARE"})
	e.shift = utf8.RuneCountInString(sql[:p.Body.At])
	s.sendParse(st, entry{kind: kindParse, act: swallow, effect: e}, cs)
	s.forgetUnnamed()
	x.out.skip()
	s.sendSync(forward, nil)
	return true, nil
}

// sqlDeallocate has a Sync answer for a DEALLOCATE.
func (s *session) sqlDeallocate(name string) {
	s.srv.texts.Drop(s.stmts[name].stmt)
	delete(s.stmts, name)
	s.forgetUnnamed()
	s.x.out.skip()
	s.sendSync(forward, s.x.newEffect(effect{tag: "DEALLOCATE"}))
}

// sqlExecute puts the server's names in the place of the client's, once all the statements are there.
func (s *session) sqlExecute(sql string, m *impact) (done bool, err error) {
	x := s.x
	var text []byte
	from := 0
	for i := range m.prepared {
		p := &m.prepared[i]
		cs := s.stmts[p.Name]
		if p.Kind != router.Execute || cs == nil {
			continue
		}
		switch copied := x.server.Statements.Use(cs.stmt); {
		case copied == nil:
			x.fresh = cs.stmt
			x.keep = true
			s.sendParse(cs.stmt, entry{kind: kindParse, act: swallow, effect: x.newEffect(effect{op: opCopy, stmt: cs.stmt, sql: true})}, nil)
			s.sendSync(swallow, nil)
			return true, errStall
		case cs.shape != 0 && copied.Shape != cs.shape:
			x.keep = false
			s.failQuery(errChangedShape)
			return true, nil
		}
		text = append(append(text, sql[from:p.At]...), `EXECUTE "`+cs.stmt.Name+`"`...)
		if !p.Args.Empty() {
			text = append(text, "("+p.Args.In(sql)+")"...)
		}
		from = p.End
		if cs.impact != nil {
			s.note(cs.impact, nil)
		}
	}
	x.keep = false
	if text == nil {
		return false, nil
	}
	e := entry{kind: kindQuery, effect: s.dropUnnamed()}
	e.effect = s.noteQuery([]byte(sql), m, e.effect)
	s.sendRewritten(append(text, sql[from:]...))
	x.led.push(e)
	return true, nil
}

// sendSync sends a Sync of our own behind the frame at hand, or in its place.
func (s *session) sendSync(act action, e *effect) {
	x := s.x
	x.out.inject()
	x.out.dst = wire.AppendSync(x.out.dst)
	x.led.push(entry{kind: kindSync, act: act, effect: e})
	x.segment++
}

// forgetUnnamed ends the client's unnamed statement, as any Query does, without a Query that would end the server's.
func (s *session) forgetUnnamed() {
	s.x.keepUnnamed(s.unnamed)
	s.unnamed = nil
	s.changes++
	s.x.server.Unnamed = 0
}

// resolveTypes asks for the OIDs of a list of types, in the form of a Parse's tail. It leaves nil where one is unknown, or
// has commas of its own.
func (s *session) resolveTypes(list string) error {
	x := s.x
	x.typesOf, x.types = list, nil
	if strings.ContainsAny(list, "(\"") {
		return nil
	}
	names := strings.Split(list, ",")
	items := make([]string, len(names))
	for i, name := range names {
		items[i] = "pg_catalog.to_regtype(" + quoteText(strings.TrimSpace(name)) + ")::pg_catalog.oid"
	}
	a, err := askServer(x.server, x.f, "SELECT pg_catalog.concat("+strings.Join(items, ", ',', ")+", '')", s.w.loop.After(applyTimeout))
	switch {
	case err == errServerLost, err == errServerSilent:
		x.fatal = true
		return errStateLost
	case err == nil:
		x.types = typesTail(strings.Split(a.value, ","), len(names))
	}
	return nil
}

// typesTail makes a Parse's tail of OIDs; nil unless there are n of them.
func typesTail(oids []string, n int) []byte {
	if len(oids) != n || n > 1<<15 {
		return nil
	}
	tail := binary.BigEndian.AppendUint16(nil, uint16(n))
	for _, text := range oids {
		oid, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil
		}
		tail = binary.BigEndian.AppendUint32(tail, uint32(oid))
	}
	return tail
}

// errErrand says that the frame at hand waits for a round trip of our own, or for something else to happen, and is looked at
// again then.
var errErrand = errors.New("errand")

// runErrand has errand run where the session may wait: not amid the frames of its client.
func (s *session) runErrand(errand func() error) error {
	s.x.errand, s.x.again = errand, true
	return errErrand
}

// failQuery sends, in the place of the Query at hand, one that fails, so that the transaction it may be in fails with it. Its
// error is replaced by e.
func (s *session) failQuery(e *wire.Error) {
	x := s.x
	s.sendRewritten([]byte("SELECT refused_by_sarnic"))
	drops := s.dropUnnamed()
	if drops == nil {
		drops = x.newEffect(effect{})
	}
	drops.err = e
	x.led.push(entry{kind: kindQuery, act: replace, effect: drops})
}

func duplicateStatement(name string) *wire.Error {
	return &wire.Error{Code: wire.CodeDuplicateStatement, Message: "prepared statement \"" + name + "\" already exists"}
}

var errChangedShape = &wire.Error{Code: wire.CodeFeatureNotSupported, Message: "cached plan must not change result type"}
