package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"slices"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// clientStatement is a named statement as its client knows it.
type clientStatement struct {
	stmt    *pool.Statement
	shape   uint64  // of its parameters and columns as of the client's own Parse; 0 while not known
	types   string  // its parameters' types as resolved then, in the form of a Parse's tail
	impact  *impact // what running it may do to the session; nil for nothing
	segment uint32  // where the Parse or Close stands whose reply is still due; 0: none
	closing bool
}

// unnamedStatement is what the client last sent as Parse "". The frame is kept whole: it is sent again wherever the
// client's Bind finds another client's unnamed statement.
type unnamedStatement struct {
	frame   []byte
	shape   uint64 // as of the client's Describe; 0: it never asked
	impact  *impact
	segment uint32
}

// errStall stops the reading of requests until every reply owed has come: the frame at hand depends on one.
var errStall = errors.New("stall")

// parse handles the client's Parse.
func (s *session) parse(frame []byte) error {
	x := s.x
	name, sql, types, ok := wire.ParseMessage(frame[wire.HeaderLen:])
	if !ok {
		return s.malformed(kindParse)
	}
	m := s.impact(sql)
	if m != nil && len(m.pids) > 0 {
		if text := s.rewritePIDs(sql, m); text != nil {
			sql = text
			frame = wire.AppendParseTail(nil, string(name), string(text), string(types))
			if len(name) == 0 {
				x.out.skip()
				x.out.dst = append(x.out.dst, frame...)
			}
		}
	}
	if len(name) == 0 {
		s.parseUnnamed(frame, m)
		return nil
	}
	if cs := s.stmts[string(name)]; cs != nil {
		switch {
		case cs.segment != 0 && cs.segment != x.segment:
			return errStall
		case !cs.closing:
			return s.parseAgain(name, sql, types)
		}
	}
	st := s.srv.texts.Intern(sql, types)
	if s.unsettled(st) {
		s.srv.texts.Drop(st)
		return errStall
	}
	s.pool.Counters.ClientParses.Add(1)
	cs := &clientStatement{stmt: st, impact: m, segment: x.segment}
	key := string(name)
	if s.stmts == nil {
		s.stmts = make(map[string]*clientStatement)
	}
	s.stmts[key] = cs // one that was closed earlier in this segment belongs to the effect of its Close
	s.sendParse(st, entry{kind: kindParse, effect: x.newEffect(effect{op: opParse, name: key, client: cs, stmt: st})}, cs)
	x.out.skip()
	return nil
}

// parseAgain handles a Parse of a name that the client already uses. The server finds that only after it has looked at
// the text, so it is asked: to prepare the text under a name that it has already.
func (s *session) parseAgain(name, sql, types []byte) error {
	x := s.x
	if !x.led.settled() {
		return errStall // a DEALLOCATE may be under way
	}
	server := s.stmts[string(name)].stmt.Name
	if x.server.Statements.Peek(s.stmts[string(name)].stmt) == nil {
		var err error
		if server, _, err = s.statementFor(name); err == errDone { //nolint:errorlint // our own sentinel
			return nil
		} else if err != nil {
			return err
		}
	}
	x.out.skip()
	x.out.dst = wire.AppendParseTail(x.out.dst, server, sql, types)
	x.led.push(entry{kind: kindParse, act: replace, effect: x.newEffect(effect{err: duplicateStatement(string(name))})})
	return nil
}

// malformed passes on a frame that cannot be read. The server refuses it, in its own words and at this very place.
func (s *session) malformed(kind byte) error {
	s.x.server.Unnamed = 0
	s.x.led.push(entry{kind: kind})
	return nil
}

// sendParse sends a Parse of st before the frame at hand, after closing a copy that is there, and a Describe whose
// reply tells the shape.
func (s *session) sendParse(st *pool.Statement, parsed entry, cs *clientStatement) {
	x := s.x
	sv := x.server
	x.out.inject()
	if sv.Statements.Peek(st) != nil {
		s.closeCopy(st)
	} else if sv.Statements.Len() >= s.pool.Config().Statements {
		s.closeCopy(sv.Statements.Oldest().Statement)
	}
	sv.Statements.Add(&s.srv.texts, st).Segment = x.segment
	s.pool.Counters.ServerParses.Add(1)
	x.out.dst = wire.AppendParseTail(x.out.dst, st.Name, st.Text, st.Types)
	x.led.push(parsed)
	x.out.dst = wire.AppendDescribe(x.out.dst, 'S', st.Name)
	x.led.push(entry{kind: kindDescribeStatement, act: swallow, effect: x.newEffect(effect{op: opShape, stmt: st, client: cs})})
}

// unsettled reports whether a Parse of st, or the Close that makes room for it, depends on a reply to an earlier
// segment: one of those may be skipped and the other not.
func (s *session) unsettled(st *pool.Statement) bool {
	x := s.x
	sv := x.server
	gone := sv.Statements.Peek(st)
	if gone == nil && sv.Statements.Len() >= s.pool.Config().Statements {
		gone = sv.Statements.Oldest()
	}
	if gone != nil && gone.Segment != 0 && gone.Segment != x.segment {
		return true
	}
	return x.earlier(opDropCopy, st)
}

// earlier reports whether an effect waits for a reply to an earlier segment.
func (x *exchange) earlier(what op, st *pool.Statement) bool {
	if x.owed[what] == 0 {
		return false
	}
	passed := false
	for i := len(x.led.q) - 1; i >= x.led.head; i-- {
		e := x.led.q[i]
		passed = passed || e.kind == kindSync
		if passed && e.effect != nil && e.effect.op == what && e.effect.stmt == st {
			return true
		}
	}
	return false
}

// closeCopy sends a Close for a copy. Frames behind it find it gone; should it be skipped, the copy comes back.
func (s *session) closeCopy(st *pool.Statement) {
	x := s.x
	e := x.newEffect(effect{op: opDropCopy, stmt: s.srv.texts.Hold(st), shape: x.server.Statements.Peek(st).Shape})
	x.server.Statements.Remove(st)
	x.out.dst = wire.AppendClose(x.out.dst, 'S', st.Name)
	x.led.push(entry{kind: kindClose, act: swallow, effect: e})
}

func (s *session) parseUnnamed(frame []byte, m *impact) {
	x := s.x
	u := x.spareUnnamed()
	u.frame = append(u.frame[:0], frame...)
	u.shape, u.impact, u.segment = 0, m, x.segment
	old := s.unnamed
	s.unnamed = u
	s.changes++
	x.server.Unnamed = s.owner()
	x.led.push(entry{kind: kindParse, effect: x.newEffect(effect{op: opUnnamedParse, unnamed: u, old: old})})
}

// statementFor makes sure that the server has the client's statement before a Bind or Describe names it. It returns
// the name to use there; errDone means that the frame has been dealt with.
func (s *session) statementFor(name []byte) (server string, cs *clientStatement, err error) {
	x := s.x
	if len(name) == 0 {
		return "", nil, s.unnamedFor()
	}
	cs = s.stmts[string(name)]
	if cs != nil && cs.segment != 0 && cs.segment != x.segment {
		return "", nil, errStall
	}
	if cs == nil || cs.closing {
		if !pool.Ours(name) {
			return string(name), nil, nil // the server says that it does not exist
		}
		s.poison(&wire.Error{
			Code:    wire.CodeInvalidStatementName,
			Message: "prepared statement \"" + string(name) + "\" does not exist",
		})
		return "", nil, errDone
	}
	copied := x.server.Statements.Use(cs.stmt)
	if cs.segment == x.segment && copied != nil {
		return cs.stmt.Name, cs, nil // parsed a few frames ago, on this very connection, and not made room with since
	}
	switch {
	case copied != nil && (copied.Segment != 0 || copied.Shape == 0 && !x.led.settled()):
		return "", nil, errStall
	case copied != nil && (copied.Shape == cs.shape || cs.shape == 0):
		return cs.stmt.Name, cs, nil
	case copied != nil && x.fresh == cs.stmt && cs.types != cs.stmt.Types:
		// Its parameters are of other types by now, for want of being told: types are fixed by the first Parse.
		old := cs.stmt
		cs.stmt = s.srv.texts.Intern([]byte(old.Text), []byte(cs.types))
		s.srv.texts.Drop(old)
		return s.statementFor(name)
	case copied != nil && x.fresh == cs.stmt:
		s.poison(errChangedShape)
		return "", nil, errDone
	}
	if s.unsettled(cs.stmt) {
		return "", nil, errStall
	}
	x.fresh = cs.stmt
	s.sendParse(cs.stmt, entry{kind: kindParse, act: swallow, effect: x.newEffect(effect{op: opCopy, stmt: cs.stmt})}, nil)
	return "", nil, errStall
}

// unnamedFor makes sure that the server's unnamed statement is this client's, or nobody's where it has none.
func (s *session) unnamedFor() error {
	x := s.x
	u := s.unnamed
	if u != nil && u.segment != 0 && u.segment != x.segment || x.earlier(opUnnamedCopy, nil) || x.earlier(opUnnamedDrop, nil) {
		return errStall // what it is now shows when the replies have come
	}
	if x.server.Unnamed == s.owner() || plantForgetUnnamed {
		if u != nil && x.checkShape && u.shape != 0 {
			x.checkShape = false
			if x.unnamedShape != u.shape {
				s.poison(errChangedShape)
				return errDone
			}
		}
		return nil
	}
	x.server.Unnamed = s.owner()
	x.out.inject()
	if u == nil {
		x.out.dst = wire.AppendClose(x.out.dst, 'S', "")
		x.led.push(entry{kind: kindClose, act: swallow, effect: x.newEffect(effect{op: opUnnamedCopy})})
		return nil
	}
	x.out.dst = append(x.out.dst, u.frame...)
	x.led.push(entry{kind: kindParse, act: swallow, effect: x.newEffect(effect{op: opUnnamedCopy})})
	if u.shape == 0 {
		return nil
	}
	x.checkShape, x.unnamedShape = true, 0
	x.out.dst = wire.AppendDescribe(x.out.dst, 'S', "")
	x.led.push(entry{kind: kindDescribeStatement, act: swallow, effect: x.newEffect(effect{op: opUnnamedShape})})
	return errStall
}

// errDone means that the frame at hand has been answered.
var errDone = errors.New("done")

// bind handles the client's Bind.
func (s *session) bind(frame []byte) error { return s.bindHead(frame[wire.HeaderLen:], len(frame)) }

// bindHead handles a Bind of size bytes in all whose body begins with head: both names and maybe not the rest.
func (s *session) bindHead(head []byte, size int) error {
	x := s.x
	portal, name, rest, ok := wire.BindNames(head)
	if !ok {
		return s.malformed(kindBind)
	}
	server, cs, err := s.statementFor(name)
	if err == errDone { //nolint:errorlint // our own sentinel
		x.passInDrop = true
		return nil
	}
	if err != nil {
		return err
	}
	if m := s.impactOn(cs, name); m != nil {
		if s.refused(m) {
			s.poison(s.pinRefusal(m.pins))
			x.passInDrop = true
			return nil
		}
		if len(m.pids) > 0 && !x.ended {
			if all := s.endsOf(m, rest); len(all) > 0 {
				return s.endOthers(all)
			}
		}
		if s.foreignSequences(m) && s.pool.Config().Mode != pool.SessionMode {
			return s.discardSequences()
		}
		x.ended = false
		s.note(m, rest)
		x.settles = x.settles || m.settles
	}
	x.led.push(entry{kind: kindBind})
	if cs != nil {
		s.pool.Counters.Binds.Add(1)
	}
	if slices.ContainsFunc(x.endings, func(e ending) bool { return e.arg > 0 }) {
		tail := below0(rest, x.endings)
		size, rest = size+len(tail)-len(rest), tail
	} else if server == string(name) {
		return nil
	}
	x.endings = nil
	x.out.skip()
	start := len(x.out.dst)
	x.out.dst = wire.AppendBindTail(x.out.dst, portal, server, rest)
	binary.BigEndian.PutUint32(x.out.dst[start+1:], uint32(size-1+len(server)-len(name)))
	return nil
}

// impactOn is that of the statement about to be bound.
func (s *session) impactOn(cs *clientStatement, name []byte) *impact {
	switch {
	case cs != nil:
		return cs.impact
	case len(name) == 0 && s.unnamed != nil:
		return s.unnamed.impact
	}
	return nil
}

// describe handles the client's Describe.
func (s *session) describe(frame []byte) error {
	x := s.x
	kind, name, ok := wire.Target(frame[wire.HeaderLen:])
	if !ok {
		return s.malformed(kindDescribePortal)
	}
	if kind != 'S' {
		x.led.push(entry{kind: kindDescribePortal})
		return nil
	}
	server, cs, err := s.statementFor(name)
	if err == errDone { //nolint:errorlint // our own sentinel
		return nil
	}
	if err != nil {
		return err
	}
	e := entry{kind: kindDescribeStatement}
	switch {
	case cs != nil:
		e.effect = x.newEffect(effect{op: opShape, stmt: cs.stmt, client: cs})
	case len(name) == 0 && s.unnamed != nil:
		e.effect = x.newEffect(effect{op: opUnnamedShape, old: s.unnamed})
	}
	x.led.push(e)
	if server == string(name) {
		return nil
	}
	x.out.skip()
	x.out.dst = wire.AppendDescribe(x.out.dst, 'S', server)
	return nil
}

// closeTarget handles the client's Close. The server's copy of a named statement stays for others; what is sent is
// the client's own frame, whose name no server knows, since Close of an unknown name is a success.
func (s *session) closeTarget(frame []byte) error {
	x := s.x
	kind, name, ok := wire.Target(frame[wire.HeaderLen:])
	if !ok {
		return s.malformed(kindClose)
	}
	e := entry{kind: kindClose}
	switch {
	case kind != 'S':
	case len(name) == 0:
		if s.dropsTwice() {
			return errStall
		}
		e.effect = s.dropUnnamed()
	default:
		cs := s.stmts[string(name)]
		if cs != nil && cs.segment != 0 && cs.segment != x.segment {
			return errStall // also where it is being closed: were that skipped, this one is to close it
		}
		if cs != nil && !cs.closing {
			cs.closing, cs.segment = true, x.segment
			e.effect = x.newEffect(effect{op: opClose, name: string(name), client: cs})
		}
		if pool.Ours(name) {
			x.led.push(e)
			x.out.skip()
			x.out.dst = wire.AppendClose(x.out.dst, 'S', noStatement)
			return nil
		}
	}
	x.led.push(e)
	return nil
}

// dropsTwice reports whether a frame that ends the unnamed statement comes while the answer to an earlier one is due:
// were that one skipped, the statement would be back, and this one is to end it.
func (s *session) dropsTwice() bool { return s.unnamed == nil && s.x.earlier(opUnnamedDrop, nil) }

// dropUnnamed notes that a frame ends the unnamed statement, of the client and of the server.
func (s *session) dropUnnamed() *effect {
	x := s.x
	if s.unnamed == nil {
		x.server.Unnamed = 0 // should the frame be skipped, another client's is still there
		return nil
	}
	s.changes++
	x.server.Unnamed = s.owner()
	e := x.newEffect(effect{op: opUnnamedDrop, old: s.unnamed})
	s.unnamed = nil
	return e
}

// poison replaces the frame at hand by one that makes the server fail at this very place of the pipeline, with our error instead of its own: what the server
// skips, the state of its transaction and its ReadyForQuery are then right by themselves.
func (s *session) poison(err *wire.Error) {
	x := s.x
	x.out.skip()
	x.open = true
	x.out.dst = wire.AppendBind(x.out.dst, "", noStatement, nil, nil, nil)
	x.led.push(entry{kind: kindBind, act: replace, effect: x.newEffect(effect{err: err})})
}

// confirm settles an entry whose reply has come.
func (s *session) confirm(e *effect) {
	x := s.x
	switch e.op {
	case opParse:
		if !e.client.closing { // else it says where the Close stands
			e.client.segment = 0
		}
		x.server.Statements.Settle(e.stmt)
	case opCopy:
		x.server.Statements.Settle(e.stmt)
	case opDropCopy:
		s.srv.texts.Drop(e.stmt)
	case opShape:
		if p := x.server.Statements.Peek(e.stmt); p != nil && p.Shape == 0 {
			p.Shape = e.shape
		}
		if e.client != nil && e.client.shape == 0 {
			e.client.shape = e.shape
		}
	case opUnnamedParse:
		e.unnamed.segment = 0
		x.keepUnnamed(e.old)
	case opUnnamedDrop:
		x.keepUnnamed(e.old)
	case opUnnamedShape:
		if e.old == nil {
			x.unnamedShape = e.shape
		} else if e.old == s.unnamed {
			e.old.shape = e.shape
		}
	case opClose:
		if s.stmts[e.name] == e.client {
			delete(s.stmts, e.name)
		}
		s.srv.texts.Drop(e.client.stmt)
	}
}

// revert takes back what a frame changed that failed, or was skipped behind one that failed. The caller goes from the
// last frame to the first.
func (s *session) revert(e *effect, skipped bool) {
	x := s.x
	switch e.op {
	case opParse:
		if s.stmts[e.name] == e.client {
			delete(s.stmts, e.name)
		}
		x.server.Statements.Remove(e.stmt)
		s.srv.texts.Drop(e.stmt)
	case opCopy:
		x.server.Statements.Remove(e.stmt)
	case opDropCopy:
		if skipped {
			x.server.Statements.Add(&s.srv.texts, e.stmt).Shape = e.shape
		}
		s.srv.texts.Drop(e.stmt)
	case opUnnamedParse:
		s.revertUnnamed(e, skipped)
	case opUnnamedCopy:
		x.server.Unnamed, x.checkShape = 0, false
	case opUnnamedDrop:
		x.server.Unnamed = 0
		if skipped && !x.leaves(e) && s.unnamed == nil {
			s.unnamed = e.old
		}
	case opClose:
		e.client.closing, e.client.segment = false, 0
		s.stmts[e.name] = e.client
	}
}

// abandon lets go of what an effect holds whose reply will not come: the session ends, and its statements with it.
func (s *session) abandon(e *effect) {
	switch {
	case e == nil:
	case e.op == opDropCopy:
		s.srv.texts.Drop(e.stmt)
	case e.op == opClose && s.stmts[e.name] != e.client:
		s.srv.texts.Drop(e.client.stmt) // a Parse behind the Close has taken the name
	}
}

// revertUnnamed undoes a Parse of the unnamed statement: one that failed leaves none, one that was skipped leaves
// what was there. A later segment may already have replaced it; then only what that one would go back to changes.
func (s *session) revertUnnamed(e *effect, skipped bool) {
	x := s.x
	x.server.Unnamed = 0
	before := e.old
	if !skipped {
		x.keepUnnamed(e.old)
		before = nil
	}
	if s.unnamed == e.unnamed {
		s.unnamed = before
	} else {
		for _, later := range x.led.q[x.led.head:] {
			if later.effect != nil && later.effect.old == e.unnamed {
				later.effect.old = before
			}
		}
	}
	x.keepUnnamed(e.unnamed)
}

// leaves hands what the skipped e ended to the next frame behind it that ends or replaces the unnamed statement, and
// reports whether there is one: should that be skipped as well, it is there again.
func (x *exchange) leaves(e *effect) bool {
	behind := false
	for _, later := range x.led.q[x.led.head:] {
		switch f := later.effect; {
		case f == e:
			behind = true
		case behind && f != nil && (f.op == opUnnamedDrop || f.op == opUnnamedParse):
			f.old = e.old
			return true
		}
	}
	return false
}

// noStatement is a name that no statement on a server has.
const noStatement = pool.Prefix + "-"

// addShape folds a ParameterDescription, RowDescription or NoData into e's shape. Shapes are compared within the
// process only.
func (s *session) addShape(e *effect, typ byte, body []byte) {
	var h maphash.Hash
	h.SetSeed(s.srv.seed)
	_ = h.WriteByte(typ)
	if typ == 'T' {
		hashColumns(&h, body)
	} else {
		_, _ = h.Write(body)
	}
	e.shape = e.shape*31 + h.Sum64() | 1 // never 0, which means unknown
}

// hashColumns takes of each column what PostgreSQL compares when a plan is made again: its name and type, not the table
// it comes from. (Protocol documentation, RowDescription: name, table, attribute, type, length, modifier, format.)
func hashColumns(h *maphash.Hash, body []byte) {
	if len(body) < 2 {
		return
	}
	for body = body[2:]; len(body) > 0; {
		name := bytes.IndexByte(body, 0) + 1
		if name == 0 || len(body) < name+18 {
			_, _ = h.Write(body)
			return
		}
		_, _ = h.Write(body[:name])
		_, _ = h.Write(body[name+6 : name+16])
		body = body[name+18:]
	}
}
