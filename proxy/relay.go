package proxy

import (
	"encoding/binary"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// fromServer reads the server's replies and writes what is the client's to it, a buffer at a time.
func (s *session) fromServer() error {
	x := s.x
	for turn := 0; x.server != nil && !x.apply && !x.stock && s.conn.Pending() <= maxPending; turn++ {
		if turn == maxTurns {
			x.again = true
			return nil
		}
		buf := s.w.loop.Buffer()
		have := copy(buf, x.rest)
		x.rest = x.rest[:0]
		n, err := x.server.Read(buf[have:])
		if err == loop.ErrWouldBlock { //nolint:errorlint // our own sentinel
			x.rest = append(x.rest, buf[:have]...)
			return nil
		}
		if err != nil {
			return s.serverGone(err)
		}
		if err := s.relay(buf[:have+n]); err != nil {
			return err
		}
	}
	return nil
}

// serverGone ends the session: what was asked and not answered may or may not have happened.
func (s *session) serverGone(err error) error {
	x := s.x
	told := x.fatal
	x.fatal = true
	if told {
		return errTerminated // the server has said why, and the client has been told
	}
	s.srv.log.Warn("server connection lost", "pool", s.pool.Name(), "pid", x.server.PID(), "error", err)
	return &wire.Error{
		Severity: "FATAL", Code: wire.CodeConnectionFailure,
		Message: "server closed the connection unexpectedly",
		Hint:    "A statement or COMMIT that was under way may have taken effect.",
	}
}

// passage is a buffer of replies on its way: the client's are moved together, so that one write carries them.
type passage struct {
	b    []byte
	end  int // b[:end] is the client's
	from int // b[from:pos] is the client's too, and not moved yet
	pos  int // of the frame at hand
}

func (p *passage) gather() {
	p.end += copy(p.b[p.end:], p.b[p.from:p.pos])
	p.from = p.pos
}

// leaveOut keeps the next n bytes from the client.
func (p *passage) leaveOut(n int) {
	p.gather()
	p.pos += n
	p.from = p.pos
}

// relay walks the frames in b and writes what is the client's.
func (s *session) relay(b []byte) error {
	x := s.x
	p := passage{b: b}
	if n := min(x.passOut, len(b)); n > 0 {
		x.passOut -= n
		if x.passOutDrop {
			p.leaveOut(n)
		} else {
			p.pos = n
		}
	}
	var err error
	for more := true; more && err == nil; {
		more, err = s.relayFrame(&p)
	}
	x.rest = append(x.rest, b[p.pos:]...)
	p.gather()
	if gone := s.write(b[:p.end]); gone != nil {
		return clientGone{gone}
	}
	if err != nil {
		return err
	}
	return s.afterRelay()
}

// relayFrame deals with the frame at hand; more is false where it is not whole, or was the last for this client.
func (s *session) relayFrame(p *passage) (more bool, err error) {
	x := s.x
	left := p.b[p.pos:]
	if len(left) < wire.HeaderLen {
		return false, nil
	}
	typ, size, ok := wire.Header(left)
	if !ok || !plausible(typ, size) {
		x.fatal = true
		return false, errServerGarbage
	}
	here := min(size, len(left))
	if (typ == 'D' || typ == 'd') && !x.fence && !x.hush {
		x.passOut, x.passOutDrop = size-here, false
		p.pos += here
		return true, nil
	}
	if here < size && size <= loop.BufferSize {
		return false, nil
	}
	keep, err := s.reply(typ, left[wire.HeaderLen:here])
	if err != nil {
		return false, err
	}
	x.passOut, x.passOutDrop = size-here, !keep
	if keep {
		p.pos += here
	} else {
		p.leaveOut(here)
	}
	if x.instead != nil {
		if err := s.writeInstead(p); err != nil {
			return false, err
		}
	}
	if typ == 'Z' && s.mayLetGo() {
		// What comes behind is not this client's any more. The pool would not lend a connection that has more to say
		// than an idle one may.
		if !pool.Harmless(p.b[p.pos:]) {
			x.server.Doom()
		}
		p.leaveOut(len(p.b) - p.pos)
		return false, nil
	}
	return true, nil
}

// writeInstead writes what takes the place of the frame just left out, behind what came before it.
func (s *session) writeInstead(p *passage) error {
	err := s.write(p.b[:p.end])
	p.end = 0
	if err == nil {
		err = s.write(s.x.instead)
	}
	s.x.instead = nil
	if err != nil {
		return clientGone{err}
	}
	return nil
}

var errServerGarbage = &wire.Error{
	Severity: "FATAL", Code: wire.CodeConnectionFailure, Message: "the server sent something that is not the protocol",
}

// afterRelay looks at where things stand once everything read is written: input that waited for replies goes on, and
// the server connection is given back when nothing ties it to the client.
func (s *session) afterRelay() error {
	x := s.x
	if !x.led.settled() && !(plantReleaseEarly && s.inStep()) {
		return nil
	}
	if x.slack > 0 {
		return s.startFence(false)
	}
	if x.stalled {
		x.stalled = false
		x.again = true
	}
	switch {
	case !s.inStep():
		return nil
	case x.status == 'I':
		return s.leaveServer()
	case s.pool.Config().Mode == pool.StatementMode:
		return &wire.Error{
			Severity: "FATAL", Code: wire.CodeFeatureNotSupported,
			Message: "transaction blocks are not allowed in statement pooling mode",
		}
	}
	return nil
}

// leaveServer gives the server connection back, unless something ties the session to it or is to be learned first.
func (s *session) leaveServer() error {
	x := s.x
	switch {
	case x.keep || x.errand != nil:
		x.again = true
	case s.stockDue():
		x.stock, x.again = true, true
		return nil
	case !s.tied():
		s.letGo(pool.Ready)
		x.again = x.again || len(s.in) > 0
	case s.leaving:
		return s.farewell()
	}
	return nil
}

// inStep reports whether nothing is under way on the server connection but, maybe, a transaction.
func (s *session) inStep() bool {
	x := s.x
	if plantReleaseEarly && x.led.len() == 1 && x.status == 'I' && !x.copyIn && x.passIn+x.passOut == 0 {
		return x.seen && x.led.first().kind == kindQuery
	}
	return x.led.settled() && !x.open && !x.copyIn && !x.fence && !x.fenceDue && x.slack == 0 &&
		x.passIn == 0 && x.passOut == 0 && len(x.rest) == 0
}

// mayLetGo reports whether nothing ties the client to its server connection any more.
func (s *session) mayLetGo() bool {
	return s.x.status == 'I' && !s.tied() && !s.x.keep && s.inStep()
}

// plausible checks a reply's type, and its length where that is fixed.
func plausible(typ byte, size int) bool {
	switch typ {
	case 'Z':
		return size == wire.HeaderLen+1
	case '1', '2', '3', 'I', 'n', 's', 'c':
		return size == wire.HeaderLen
	case 'A', 'C', 'D', 'E', 'G', 'H', 'N', 'S', 'T', 'V', 'W', 'd', 't':
		return true
	}
	return false
}

// fits checks a reply against the frame whose answer is due.
func fits(typ, kind byte) bool {
	switch typ {
	case '1':
		return kind == kindParse
	case '2':
		return kind == kindBind
	case '3':
		return kind == kindClose
	case 't':
		return kind == kindDescribeStatement
	case 'n':
		return kind == kindDescribeStatement || kind == kindDescribePortal
	case 'V':
		return kind == kindFunction
	case 's':
		return kind == kindExecute
	case 'C', 'I', 'G', 'H', 'W', 'c':
		return kind == kindQuery || kind == kindExecute
	}
	return true
}

// reply matches one frame of the server with what is owed, and reports whether the client gets it.
func (s *session) reply(typ byte, body []byte) (keep bool, err error) {
	x := s.x
	switch typ {
	case 'N':
		return true, nil
	case 'A':
		if len(body) >= 4 && binary.BigEndian.Uint32(body) == x.server.PID() {
			binary.BigEndian.PutUint32(body, s.pid) // its own, under the number it knows
		}
		return true, nil
	case 'S':
		return !x.resets || !s.startupReport(body), nil
	case 'Z':
		return s.ready(body)
	case 'E':
		return s.failed(body)
	}
	e := x.led.first()
	if e == nil || !fits(typ, e.kind) && !x.fence {
		x.fatal = true
		return false, errOutOfStep
	}
	if !x.seen {
		s.firstReply(e)
	}
	keep = e.act == forward && !x.hush
	switch typ {
	case 'T', 'n':
		if e.kind == kindDescribePortal || e.kind == kindDescribeStatement {
			s.described(e, typ, body)
		}
	case 't':
		s.parameters(e.effect, body)
	case '1', '2', '3':
		s.complete()
	case 'C':
		return s.commandComplete(e, body) && keep, nil
	case 'I':
		if x.fence {
			return false, s.fenceReached()
		}
		if e.kind == kindExecute {
			s.pop()
		}
	case 's':
		s.pop()
	case 'G':
		s.copyBegins()
	case 'W':
		s.pinFor(pinReplication)
	}
	return keep, nil
}

// commandComplete handles the end of a statement, and reports whether it may be told as it is.
func (s *session) commandComplete(e *entry, body []byte) bool {
	x := s.x
	s.noteTag(wire.CommandTag(body))
	x.copySyncs = 0
	switch {
	case e.kind == kindExecute:
		s.pop()
	case e.effect != nil && len(e.effect.ours) > 0:
		return s.statementEnds(e.effect)
	}
	return true
}

var errOutOfStep = &wire.Error{
	Severity: "FATAL", Code: wire.CodeConnectionFailure, Message: "the server sent a reply that nobody asked for",
}

func (s *session) pop() {
	s.x.led.pop()
	s.x.seen = false
}

// firstReply notes that the first entry's answer has begun, which for anything but a Sync says that no ReadyForQuery
// beyond those owed can still come before it.
func (s *session) firstReply(e *entry) {
	x := s.x
	x.seen = true
	if e.effect != nil && len(e.effect.ours) > 0 {
		x.hush = e.effect.ours[0] == 0
	}
	if x.slack > 0 && e.kind != kindSync && !x.slackAfter {
		x.slack, x.stalled, x.again = 0, false, true
	}
}

// complete settles the first entry.
func (s *session) complete() {
	x := s.x
	e := *x.led.first()
	s.pop()
	if e.kind == kindParse && e.effect != nil && e.effect.tag != "" {
		x.instead = wire.AppendCommandComplete(x.instead, e.effect.tag) // of a PREPARE
	}
	if e.effect != nil {
		s.confirm(e.effect)
		x.dropEffect(e.effect)
	}
}

// parameters notes a statement's ParameterDescription.
func (s *session) parameters(e *effect, body []byte) {
	if e == nil {
		return
	}
	s.addShape(e, 't', body)
	if e.client != nil && e.client.shape == 0 {
		e.client.types = string(body)
	}
}

func (s *session) described(e *entry, typ byte, body []byte) {
	if e.effect != nil {
		s.addShape(e.effect, typ, body)
	}
	s.complete()
}

// ready handles ReadyForQuery.
func (s *session) ready(body []byte) (keep bool, err error) {
	x := s.x
	status, ok := wire.ReadyStatus(body)
	e := x.led.first()
	if !ok {
		x.fatal = true
		return false, errOutOfStep
	}
	if x.slack > 0 && !x.slackAfter && !x.seen && (e == nil || e.kind != kindSync) {
		x.slack-- // of a Sync that the COPY did not consume after all: a Query's answer is never this alone
		x.status = status
		return true, nil
	}
	if e == nil || (e.kind != kindQuery && e.kind != kindSync && e.kind != kindFunction) {
		x.fatal = true
		return false, errOutOfStep
	}
	before := x.status
	x.status = status
	if x.fence {
		x.fenceSeen++
		return false, nil
	}
	x.slackAfter = false
	s.pool.Counters.Queries.Add(1)
	if e.effect != nil && e.effect.impact != nil {
		s.queryAnswered(e.effect, before)
	}
	if e.kind == kindSync && e.effect != nil && e.effect.tag != "" {
		x.instead = wire.AppendReadyForQuery(wire.AppendCommandComplete(x.instead, e.effect.tag), status)
		e.act = swallow
	}
	act := e.act
	x.failed, x.syntax, x.hush, x.statement = false, false, false, 0
	s.complete()
	if x.led.empty() {
		s.pool.Counters.QueryTime.Add(s.w.loop.Now() - x.asked)
		x.asked = 0
		x.settles = false
		x.open, x.checkShape, x.fresh = false, false, nil
	}
	return act != swallow, nil
}

// failed handles ErrorResponse: of a statement, or of the connection itself.
func (s *session) failed(body []byte) (keep bool, err error) {
	x := s.x
	s.pool.Counters.Errors.Add(1)
	severity, code := wire.ErrorCode(body)
	if string(severity) == "FATAL" || string(severity) == "PANIC" {
		x.fatal = true
		return true, nil
	}
	if x.fence {
		return false, s.fenceReached() // a cancel request hit our empty query
	}
	e := x.led.first()
	if e == nil {
		return true, nil
	}
	if !x.seen {
		s.firstReply(e)
	}
	for i := range x.touched {
		x.touched[i].reset = true // or undone
	}
	inCopy := x.copyIn || x.copySyncs > 0
	keep = e.act != replace || (e.kind == kindParse && string(code) != e.effect.err.Code) ||
		(e.kind == kindQuery && string(code) == wire.CodeInFailedTransaction)
	switch {
	case !keep:
		x.instead = wire.AppendError(nil, e.effect.err)
	case e.effect != nil && e.effect.shift > 0:
		x.instead, keep = wire.AppendShiftedError(nil, body, e.effect.shift), false
	}
	switch e.kind {
	case kindQuery:
		// A simple Query's error draws a ReadyForQuery at once. What ended its unnamed statement stands.
		x.failed, x.syntax = true, string(code) == wire.CodeSyntaxError
	case kindSync, kindFunction:
	default:
		sql := e.effect != nil && e.effect.sql
		s.skipToSync()
		if sync := x.led.first(); sql && sync != nil {
			sync.act, x.dropQuery = forward, true // the error is the answer to the EXECUTE that needs it
		}
	}
	if inCopy {
		return keep, s.copyFailed(e.kind == kindQuery)
	}
	return keep, nil
}

// skipToSync drops the failed entry and what the server skips behind it, the last first, and goes on skipping what
// the client sends until its Sync comes, unless that is sent already.
func (s *session) skipToSync() {
	x := s.x
	q := x.led.q
	end := x.led.head
	for end < len(q) && q[end].kind != kindSync {
		end++
	}
	if end == len(q) {
		s.skipping = true
	}
	for i := end - 1; i >= x.led.head; i-- {
		if e := q[i].effect; e != nil {
			s.revert(e, i != x.led.head)
			x.dropEffect(e)
		}
	}
	x.led.head = end
	if x.led.empty() {
		x.led.reset()
	}
}
