package proxy

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/loop"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// outgoing collects what goes to the server for one run over the client's frames. Untouched frames are not copied:
// as long as nothing is injected, src[from:] is written as it is.
type outgoing struct {
	dst  []byte // lent by the loop; in use once something is injected
	src  []byte
	from int // of src: not passed to dst yet
	pos  int // of src: the frame at hand
	size int // of the frame at hand, or of the part of it that is here
}

// inject makes dst the place to append what goes before the frame at hand.
func (o *outgoing) inject() {
	if o.from < o.pos {
		o.dst = append(o.dst, o.src[o.from:o.pos]...)
		o.from = o.pos
	}
}

// skip leaves the frame at hand out; what the caller appends to dst goes instead.
func (o *outgoing) skip() {
	o.inject()
	o.from = o.pos + o.size
}

// fromClient reads and handles requests until the client has no more, or they must wait.
func (s *session) fromClient() error {
	x := s.x
	if len(s.in) > 0 && x.waiter == nil && s.acceptsInput() {
		if err := s.takeInput(s.in, true); err != nil {
			return err
		}
	}
	for turn := 0; s.acceptsInput(); turn++ {
		if turn == maxTurns {
			x.again = true // with TLS the socket does not tell of bytes that are decrypted already
			return nil
		}
		b, own, err := s.readInput()
		switch {
		case err != nil:
			return s.readFailed(err)
		case x.waiter == nil:
			err = s.takeInput(b, own)
		case !own:
			s.keepInput(b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readInput reads once: into the loop's buffer, or behind what is kept in s.in (own).
func (s *session) readInput() (b []byte, own bool, err error) {
	var n int
	if len(s.in) == 0 {
		b = s.w.loop.Buffer()
		n, err = s.read(b)
		b = b[:n]
	} else {
		if s.tls == nil && !s.conn.Ready(loop.Readable) {
			return nil, false, loop.ErrWouldBlock // nothing is there to make room for
		}
		s.growInput()
		n, err = s.read(s.in[len(s.in):cap(s.in)])
		s.in = s.in[:len(s.in)+n]
		b, own = s.in, true
	}
	s.pool.Counters.Received.Add(int64(n))
	return b, own, err
}

func (s *session) readFailed(err error) error {
	if err == loop.ErrWouldBlock { //nolint:errorlint // our own sentinel
		return nil
	}
	return clientGone{err}
}

// clientGone is the client's side of the connection ending.
type clientGone struct{ err error }

func (e clientGone) Error() string { return "client connection: " + e.err.Error() }
func (e clientGone) Unwrap() error { return e.err }

// growInput makes room for at least the rest of the frame that has begun.
func (s *session) growInput() {
	want := len(s.in) + 4096
	if len(s.in) >= wire.HeaderLen {
		if typ, size, ok := wire.Header(s.in); ok && size <= readWhole(typ) {
			want = max(want, size)
		}
	}
	if cap(s.in) < want {
		if len(s.in) < maxFrame {
			want = min(want, 2*maxFrame) // a length alone takes no memory: what is kept grows with what comes
		}
		in := make([]byte, len(s.in), max(want, 2*len(s.in)))
		copy(in, s.in)
		s.dropInput()
		s.in = in
	}
}

// keepInput saves what has been read and not handled.
func (s *session) keepInput(b []byte) {
	if s.in == nil {
		s.in = s.w.borrowInput()
	}
	s.in = append(s.in, b...)
}

// dropInput gives back the buffer of input that has been handled.
func (s *session) dropInput() {
	s.w.keepInput(s.in)
	s.in = nil
}

// takeInput handles the frames in b and keeps the rest. own says that b is s.in itself.
func (s *session) takeInput(b []byte, own bool) error {
	used, err := s.requests(b)
	if s.ended {
		return err
	}
	switch {
	case used == 0 && own: // a long frame comes in many reads: not to be copied onto itself at each
	case used < len(b) && own:
		s.in = s.in[:copy(s.in, b[used:])]
	case used < len(b):
		s.keepInput(b[used:])
	case own:
		s.dropInput()
	}
	return err
}

// requests walks the frames in b, sends what may be sent, and returns how many bytes it has dealt with.
func (s *session) requests(b []byte) (used int, err error) {
	x := s.x
	o := &x.out
	o.dst, o.src, o.from, o.pos = s.w.loop.Scratch(), b, 0, 0
	passing := x.passIn > 0
	if passing {
		n := min(x.passIn, len(b))
		x.passIn -= n
		if x.scanning {
			s.scanPart(b[:n], x.passIn == 0)
		}
		if x.passInDrop {
			o.from = n
		}
		o.pos = n
	}
	for err == nil && s.mayAsk() && len(b)-o.pos >= wire.HeaderLen {
		var size int
		size, err = s.request(b[o.pos:])
		if err != nil || size == 0 {
			break
		}
		o.pos += size
	}
	if o.from > o.pos {
		o.pos = o.from // a frame that was left out and could not be answered: the client is gone
	}
	used = o.pos
	if err == errStall { //nolint:errorlint // our own sentinel
		err = nil
		s.stall()
	}
	if err == errErrand { //nolint:errorlint // our own sentinel
		err = nil
	}
	err = errors.Join(s.send(), err)
	switch {
	case err != nil || x.passIn > 0 || x.server == nil:
	case x.fenceDue:
		err = s.startFence(x.fenceSkips)
	case passing:
		err = s.afterRelay() // what it belongs to may have been answered before all of it had come
	}
	return used, err
}

// mayAsk reports whether the next request may be looked at.
func (s *session) mayAsk() bool {
	x := s.x
	return !x.terminate && !x.fence && !x.fenceDue && !x.apply && x.errand == nil && x.waiter == nil && x.passIn == 0
}

// send writes what requests has collected.
func (s *session) send() error {
	x := s.x
	o := &x.out
	b := o.src[o.from:o.pos]
	if len(o.dst) > 0 {
		o.dst = append(o.dst, b...)
		b = o.dst
	}
	var err error
	if len(b) > 0 && x.server != nil {
		if x.asked == 0 {
			x.asked = s.w.loop.Now()
		}
		if _, err = x.server.Write(b); err != nil {
			err = nil // what the server said before it went is read next, and tells more
		}
	}
	s.w.loop.KeepScratch(o.dst)
	o.dst, o.src, o.from, o.pos = nil, nil, 0, 0
	return err
}

// stall has the server answer everything sent so far, and requests wait for it.
func (s *session) stall() {
	x := s.x
	x.stalled = true
	x.out.inject()
	x.out.dst = wire.AppendFlush(x.out.dst)
}

// request deals with the frame at the start of b, or returns 0 where more of it is needed, or a connection.
func (s *session) request(b []byte) (size int, err error) {
	x := s.x
	typ, size, ok := wire.Header(b)
	if !ok || !knownRequest(typ) {
		s.leaveAfterAnswers(badFrame(typ, ok))
		return 0, nil
	}
	if s.skipping || (x.server == nil && needsNoServer(typ, size)) {
		return s.withoutServer(typ, size, b)
	}
	whole := size <= len(b)
	if !whole && size <= readWhole(typ) && !(typ == 'd' && x.server != nil) {
		return 0, nil
	}
	if x.server == nil {
		if whole && s.holdBack(b) {
			return 0, nil
		}
		if ok, err := s.acquire(); !ok || err != nil {
			return 0, err
		}
	}
	if s.mustSettle(typ, size) {
		return 0, errStall
	}
	if !whole {
		return s.large(typ, size, b)
	}
	return size, s.dispatch(typ, b[:size])
}

// mustSettle reports whether a frame waits for every reply owed, although nothing in it asks for that.
func (s *session) mustSettle(typ byte, size int) bool {
	x := s.x
	switch {
	case x.copySyncs > 0 && !x.copyIn && !needsNoServer(typ, size):
		return true // should that COPY have failed, one of its Syncs stands before this frame
	case x.copyIn || copying(typ): // the data of a COPY waits for nothing
		return false
	}
	x.settle = x.settle && !x.led.settled()
	return x.settle
}

// copying reports whether a frame is a part of a COPY, or of none and then ignored.
func copying(typ byte) bool { return typ == 'd' || typ == 'c' || typ == 'f' }

// holdTime is how long frames are held back in the expectation of the Sync that most clients send with them. A client
// that sends none wants to know of an error all the same, and PostgreSQL tells it at once.
const holdTime = 10 * time.Millisecond

// holdBack reports whether the frames in b are to wait for the rest of their request, since nothing is checked out
// for half of one.
func (s *session) holdBack(b []byte) bool {
	x := s.x
	if len(b) >= maxRequest || requestComplete(b) {
		x.hold = 0
		return false
	}
	now := s.w.loop.Now()
	if x.hold == 0 {
		x.hold = now + int64(holdTime)
	}
	if now < x.hold {
		return true
	}
	x.hold = 0
	return false
}

// readWhole is up to which size a frame is read whole before it is dealt with. Beyond it is streamed, but for a
// statement's text, which is kept to be prepared elsewhere.
func readWhole(typ byte) int {
	if typ == 'P' {
		return maxStatement
	}
	return maxFrame
}

// leaveAfterAnswers ends the session, for reason, when what was asked before is answered.
func (s *session) leaveAfterAnswers(reason error) {
	s.x.terminate, s.x.reason = true, reason
}

// requestComplete reports whether b holds a frame that asks for an answer. Until then nothing is checked out.
func requestComplete(b []byte) bool {
	for len(b) >= wire.HeaderLen {
		typ, size, ok := wire.Header(b)
		switch {
		case !ok:
			return true
		case typ == 'Q' || typ == 'S' || typ == 'H' || typ == 'F' || typ == 'X':
			return true
		case size > readWhole(typ):
			return true
		case size > len(b):
			return false
		}
		b = b[size:]
	}
	return false
}

func knownRequest(typ byte) bool {
	switch typ {
	case 'Q', 'P', 'B', 'D', 'E', 'C', 'H', 'S', 'F', 'd', 'c', 'f', 'X':
		return true
	}
	return false
}

func badFrame(typ byte, lengthOK bool) error {
	msg := "invalid frontend message type " + strconv.Itoa(int(typ))
	if !lengthOK && knownRequest(typ) {
		msg = "invalid message length"
	}
	return &wire.Error{Severity: "FATAL", Code: wire.CodeProtocolViolation, Message: msg}
}

// needsNoServer lists the frames that PostgreSQL answers or ignores without looking at anything.
func needsNoServer(typ byte, size int) bool {
	switch typ {
	case 'S', 'H':
		return size == wire.HeaderLen // with a body it is an error, which the server says best
	case 'd', 'c', 'f', 'X':
		return true
	}
	return false
}

// withoutServer deals with a frame that reaches no server: late COPY data, and what is skipped up to Sync.
func (s *session) withoutServer(typ byte, size int, b []byte) (int, error) {
	x := s.x
	switch typ {
	case 'X':
		s.leaveAfterAnswers(errTerminated)
		x.out.size = min(size, len(b))
		x.out.skip()
		return x.out.size, nil
	case 'S':
		if size > len(b) {
			return 0, nil
		}
		s.skipping = false
		if x.server == nil {
			x.out.size = size
			x.out.skip()
			return size, s.write(wire.AppendReadyForQuery(nil, 'I'))
		}
		return size, s.dispatch(typ, b[:size])
	}
	if size > len(b) {
		x.passIn, x.passInDrop = size-len(b), true
		size = len(b)
	}
	x.out.size = size
	x.out.skip()
	return size, nil
}

// dispatch handles a whole frame with a server connection at hand.
func (s *session) dispatch(typ byte, frame []byte) error {
	x := s.x
	x.out.size = len(frame)
	switch typ {
	case 'Q':
		if x.copyIn {
			return s.amidCopy(typ, frame)
		}
		return s.query(frame)
	case 'S':
		if x.copyIn {
			x.copySyncs++
			return nil
		}
		x.led.push(entry{kind: kindSync})
		x.segment++
		x.fresh = nil
	case 'H':
		x.open = x.open || !x.copyIn
		if len(frame) > wire.HeaderLen {
			return s.malformed(kindFlush)
		}
	case 'd':
	case 'c', 'f':
		if x.copyIn {
			x.copyIn = false
		} else if !x.led.empty() {
			x.led.push(entry{kind: kindCopyEnd})
		}
	case 'X':
		s.leaveAfterAnswers(errTerminated)
		x.out.skip()
	default:
		if x.copyIn {
			return s.amidCopy(typ, frame)
		}
		return s.extended(typ, frame)
	}
	return nil
}

// amidCopy handles a frame that has no place in a COPY. The server says so and ends the connection, or its COPY has
// failed already, which only the server knows: what comes behind waits for that. Where the frame itself would have to
// wait, or a Sync has been sent that it may stand behind, the COPY is ended first: it might wait for ever.
func (s *session) amidCopy(typ byte, frame []byte) error {
	x := s.x
	mess := x.copyMess
	err := errStall
	if x.copySyncs == 0 {
		x.copyMess = true
		if typ == 'Q' {
			err = s.query(frame)
		} else {
			err = s.extended(typ, frame)
		}
	}
	x.copyIn, x.settle = false, true
	if err == errStall { //nolint:errorlint // our own sentinel
		x.copyMess, x.settle = mess, false
		x.out.inject()
		x.out.dst = wire.AppendCopyFail(x.out.dst, fmt.Sprintf("unexpected message type 0x%02X during COPY from stdin", typ))
	}
	return err
}

// query handles a simple Query, which also ends the client's unnamed statement.
func (s *session) query(frame []byte) error {
	x := s.x
	if s.dropsTwice() {
		return errStall
	}
	m := s.impact(frame[wire.HeaderLen:])
	if m != nil && m.discards && !x.led.settled() {
		return errStall // how it is done depends on the state of the transaction
	}
	if m != nil && s.refused(m) {
		s.failQuery(s.pinRefusal(m.pins))
		return nil
	}
	if m != nil && len(m.prepared) > 0 {
		if done, err := s.sqlPrepared(frame, m); done {
			return err
		}
	}
	if m != nil && len(m.pids) > 0 && !x.ended {
		if all := s.endsOf(m, nil); len(all) > 0 {
			return s.endOthers(all)
		}
	}
	if m != nil && s.foreignSequences(m) && s.pool.Config().Mode != pool.SessionMode {
		return s.discardSequences()
	}
	x.ended = false
	s.unsynced()
	x.settle = false
	e := entry{kind: kindQuery, effect: s.dropUnnamed()}
	if m != nil {
		e.effect = s.noteQuery(frame[wire.HeaderLen:len(frame)-1], m, e.effect)
	}
	x.led.push(e)
	return nil
}

// unsynced is called for a Query or FunctionCall. Behind extended frames without a Sync it leaves PostgreSQL 18 in a state
// that fails the next command, with XX000: whose own doing it is may have that, the next client may not.
func (s *session) unsynced() {
	if s.x.open {
		s.x.server.Doom()
	}
}

// extended handles the frames of the extended protocol, and FunctionCall.
func (s *session) extended(typ byte, frame []byte) error {
	x := s.x
	if typ == 'F' {
		s.noteFunction(frame[wire.HeaderLen:])
		s.unsynced()
		x.led.push(entry{kind: kindFunction})
		return nil
	}
	x.open = true
	switch typ {
	case 'P':
		return s.parse(frame)
	case 'B':
		return s.bind(frame)
	case 'D':
		return s.describe(frame)
	case 'C':
		return s.closeTarget(frame)
	}
	x.led.push(entry{kind: kindExecute})
	x.settle = x.settles
	return nil
}

// large begins the streaming of a frame that is not read whole. What its head says is handled; its text is not seen
// by anybody here, so a statement in it pins the session.
func (s *session) large(typ byte, size int, b []byte) (used int, err error) {
	x := s.x
	x.out.size = len(b)
	x.passIn, x.passInDrop = 0, false
	switch typ {
	case 'Q':
		if s.dropsTwice() {
			return 0, errStall
		}
		x.scan, x.scanning = scanner{}, true
		s.scanPart(b[wire.HeaderLen:], false)
		x.led.push(entry{kind: kindQuery, effect: s.dropUnnamed()})
	case 'P':
		s.leaveAfterAnswers(refuseLarge(size))
		return 0, nil
	case 'B':
		x.open = true
		if err := s.bindHead(b[wire.HeaderLen:], size); err != nil {
			return 0, err
		}
	case 'F':
		s.noteFunction(b[wire.HeaderLen:])
		x.led.push(entry{kind: kindFunction})
	case 'd', 'f':
		if err := s.dispatch(typ, b); err != nil {
			return 0, err
		}
	default:
		s.leaveAfterAnswers(badFrame(typ, false))
		return 0, nil
	}
	x.passIn = size - len(b)
	return len(b), nil
}

// refuseLarge is for a Parse whose text exceeds what may be kept to prepare it elsewhere.
func refuseLarge(size int) error {
	return &wire.Error{
		Severity: "FATAL", Code: wire.CodeProgramLimitExceeded,
		Message: fmt.Sprintf("statement text of %d bytes is too large to be prepared through a pool", size),
		Detail:  fmt.Sprintf("The most is %d bytes.", maxStatement),
		Hint:    "Send values as parameters, or the text as a simple query.",
	}
}
