package simtest

import (
	"strconv"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// value is one datum.
type value struct {
	null bool
	n    int32
	s    string
}

// portal is a statement being run.
type portal struct {
	name   string
	st     *statement
	args   []value
	format int16   // of its one result column
	rows   []value // left to be sent
	broken bool    // after the rows comes a division by zero
	ran    bool
	failed bool
	slept  bool
}

func newPortal(name string, st *statement) *portal { return &portal{name: name, st: st} }

// key and val resolve the statement's arguments.
func (p *portal) key() (string, bool) {
	if i := p.st.key.param; i > 0 {
		return p.args[i-1].s, !p.args[i-1].null
	}
	return p.st.key.text, true
}

func (p *portal) val() value {
	if i := p.st.val.param; i > 0 {
		return p.args[i-1]
	}
	return value{n: p.st.val.n}
}

func divisionByZero() *wire.Error { return &wire.Error{Code: "22012", Message: "division by zero"} }

// plan fixes what a SELECT sees: its snapshot is taken when it is bound.
func (b *Backend) plan(p *portal) *wire.Error {
	st := p.st
	switch st.op {
	case opDivide:
		return divisionByZero()
	case opSelect:
		v := value{n: st.n}
		if st.val.param > 0 {
			v = p.val()
		}
		p.rows = []value{v}
	case opSeries:
		for i := range max(st.n, 0) {
			p.rows = append(p.rows, value{n: i + 1})
		}
	case opLookup:
		if k, ok := p.key(); ok {
			if v, ok := b.lookup(k); ok {
				p.rows = []value{{n: v}}
			}
		}
	case opFails:
		p.rows, p.broken = []value{{n: 6}, {n: 12}}, true
	case opSleep:
		p.rows = []value{{}}
	}
	return nil
}

// columns is what a statement returns; that of EXECUTE and FETCH depends on what they name.
func (b *Backend) columns(st *statement) []column {
	switch st.op {
	case opExecute:
		if inner := b.prepared[st.text]; inner != nil && st.text != "" {
			return inner.cols
		}
	case opFetch:
		if c := b.portals[st.text]; c != nil {
			return c.st.cols
		}
	}
	return st.cols
}

// suspended is the tag of a portal that has more.
const suspended = "\x00suspended"

// perform runs a portal, at most so many rows of it (0: all), and calls then with the outcome, later if it takes time.
func (b *Backend) perform(p *portal, most int, then func(err *wire.Error, tag string)) {
	p.ran = true
	switch st := p.st; {
	case st.op == opSleep && !p.slept:
		p.slept = true
		b.sleep(st, func(err *wire.Error) {
			if err != nil {
				then(err, "")
				return
			}
			b.sendRows(p, most, then)
		})
	case st.plain():
		b.sendRows(p, most, then)
	case st.op == opCopyIn:
		b.copyFrom(then)
	case st.op == opExecute:
		b.executePrepared(st, p.format, then)
	default:
		tag, err := b.utility(p)
		then(err, tag)
	}
}

func (b *Backend) sendRows(p *portal, most int, then func(err *wire.Error, tag string)) {
	n := 0
	for ; len(p.rows) > 0 && (most <= 0 || n < most); n++ {
		b.say(dataRow(p.rows[0], p.st.cols[0], p.format))
		p.rows = p.rows[1:]
	}
	switch {
	case most > 0 && n == most:
		then(nil, suspended)
	case p.broken:
		then(divisionByZero(), "")
	default:
		then(nil, "SELECT "+strconv.Itoa(n))
	}
}

func (b *Backend) executePrepared(st *statement, format int16, then func(err *wire.Error, tag string)) {
	inner := b.prepared[st.text]
	if inner == nil || st.text == "" {
		then(&wire.Error{Code: wire.CodeInvalidStatementName, Message: "prepared statement does not exist"}, "")
		return
	}
	p := newPortal("", inner)
	p.format = format
	if err := b.plan(p); err != nil {
		then(err, "")
		return
	}
	b.perform(p, 0, then)
}

// utility runs everything that is no SELECT and takes no time.
func (b *Backend) utility(p *portal) (tag string, err *wire.Error) {
	st := p.st
	switch st.op {
	case opInsert, opUpdate, opDelete:
		return b.modify(p)
	case opCopyOut:
		return b.copyTo(st)
	case opNotice:
		b.notice("NOTICE", "00000", st.text)
		return "DO", nil
	case opSet, opSetLocal, opReset, opShow, opListen, opUnlisten, opNotify, opDiscardAll:
		return b.setting(p)
	case opPrepare, opDeallocate, opDeallocateAll:
		return b.preparedCommand(st)
	case opDeclare, opFetch, opCloseCursor:
		return b.cursor(p)
	}
	return b.transactionCommand(st)
}

func (b *Backend) modify(p *portal) (tag string, err *wire.Error) {
	k, ok := p.key()
	if !ok {
		return "", &wire.Error{Code: "23502", Message: `null value in column "k" violates not-null constraint`}
	}
	old, found := b.lookup(k)
	switch p.st.op {
	case opInsert:
		if found {
			return "", &wire.Error{Code: "23505", Message: "duplicate key value violates unique constraint"}
		}
		v := p.val()
		if v.null {
			return "", &wire.Error{Code: "23502", Message: `null value in column "v" violates not-null constraint`}
		}
		b.set(k, &v.n)
		return "INSERT 0 1", nil
	case opUpdate:
		if !found {
			return "UPDATE 0", nil
		}
		v := old + p.st.n
		b.set(k, &v)
		return "UPDATE 1", nil
	}
	if !found {
		return "DELETE 0", nil
	}
	b.set(k, nil)
	return "DELETE 1", nil
}

func (b *Backend) notice(severity, code, text string) {
	b.say(wire.AppendNotice(nil, &wire.Error{Severity: severity, Code: code, Message: text}))
	b.flush()
}

func (b *Backend) setting(p *portal) (tag string, err *wire.Error) {
	st := p.st
	switch st.op {
	case opSet:
		b.vars = vars{st.text, st.text}
		return "SET", nil
	case opSetLocal:
		if !b.tx.block && !b.implicitBlock() {
			b.notice("WARNING", wire.CodeNoActiveTransaction, "SET LOCAL can only be used in transaction blocks")
		}
		b.vars.now = st.text
		return "SET", nil
	case opReset:
		b.vars = vars{}
		return "RESET", nil
	case opShow:
		b.say(dataRow(value{s: b.vars.now}, st.cols[0], p.format))
		return "SHOW", nil
	case opListen:
		b.tx.channels = append(b.tx.channels, func(s *session) {
			if !s.listening(st.text) {
				s.channels = append(s.channels, st.text)
			}
		})
		return "LISTEN", nil
	case opUnlisten:
		b.tx.channels = append(b.tx.channels, func(s *session) { s.channels = nil })
		return "UNLISTEN", nil
	case opNotify:
		n := note{b.pid, st.text, st.value}
		for _, other := range b.tx.notes {
			if other == n {
				return "NOTIFY", nil
			}
		}
		b.tx.notes = append(b.tx.notes, n)
		return "NOTIFY", nil
	}
	return b.discardAll(p)
}

func (b *Backend) discardAll(p *portal) (tag string, err *wire.Error) {
	if b.tx.block || b.implicitBlock() {
		return "", &wire.Error{Code: "25001", Message: "DISCARD ALL cannot run inside a transaction block"}
	}
	b.forgetPrepared()
	clear(b.portals)
	if b.extended {
		b.portals[p.name] = p
	}
	b.vars, b.tx.before = vars{}, vars{}
	b.tx.channels = append(b.tx.channels, func(s *session) { s.channels = nil })
	return "DISCARD ALL", nil
}

// forgetPrepared drops every named statement; the unnamed one is not among those DEALLOCATE knows.
func (b *Backend) forgetPrepared() {
	for name := range b.prepared {
		if name != "" {
			delete(b.prepared, name)
		}
	}
}

func (b *Backend) preparedCommand(st *statement) (tag string, err *wire.Error) {
	switch st.op {
	case opPrepare:
		if b.prepared[st.text] != nil {
			return "", &wire.Error{Code: wire.CodeDuplicateStatement, Message: "prepared statement already exists"}
		}
		b.prepared[st.text] = st.inner
		return "PREPARE", nil
	case opDeallocate:
		if b.prepared[st.text] == nil {
			return "", &wire.Error{Code: wire.CodeInvalidStatementName, Message: "prepared statement does not exist"}
		}
		delete(b.prepared, st.text)
		return "DEALLOCATE", nil
	}
	b.forgetPrepared()
	return "DEALLOCATE ALL", nil
}

func (b *Backend) cursor(p *portal) (tag string, err *wire.Error) {
	st := p.st
	c := b.portals[st.text]
	switch {
	case st.op == opDeclare:
		return b.declare(st)
	case c == nil:
		return "", &wire.Error{Code: wire.CodeInvalidCursorName, Message: "cursor does not exist"}
	case st.op == opCloseCursor:
		delete(b.portals, st.text)
		return "CLOSE CURSOR", nil
	}
	n := 0
	for ; n < int(st.n) && len(c.rows) > 0; n++ {
		b.say(dataRow(c.rows[0], c.st.cols[0], p.format))
		c.rows = c.rows[1:]
	}
	if c.broken && n < int(st.n) {
		return "", divisionByZero()
	}
	return "FETCH " + strconv.Itoa(n), nil
}

func (b *Backend) declare(st *statement) (tag string, err *wire.Error) {
	if !b.tx.block && !b.implicitBlock() {
		return "", noBlock("DECLARE CURSOR")
	}
	if b.portals[st.text] != nil {
		return "", &wire.Error{Code: "42P03", Message: "cursor already exists"}
	}
	c := newPortal(st.text, st.inner)
	if err := b.plan(c); err != nil {
		return "", err
	}
	b.portals[st.text] = c
	return "DECLARE CURSOR", nil
}

func noBlock(what string) *wire.Error {
	return &wire.Error{Code: wire.CodeNoActiveTransaction, Message: what + " can only be used in transaction blocks"}
}

func (b *Backend) transactionCommand(st *statement) (tag string, err *wire.Error) {
	switch st.op {
	case opBegin:
		if b.tx.block {
			b.notice("WARNING", "25001", "there is already a transaction in progress")
		}
		b.tx.block, b.tx.implicit = true, false
		return "BEGIN", nil
	case opCommit:
		return b.endBlock("COMMIT"), nil
	case opRollback:
		return b.endBlock("ROLLBACK"), nil
	}
	if !b.tx.block {
		return "", noBlock(strings.ToUpper(map[op]string{
			opSavepoint: "savepoint", opRelease: "release savepoint", opRollbackTo: "rollback to savepoint",
		}[st.op]))
	}
	if st.op == opSavepoint {
		b.savepoint(st.text)
		return "SAVEPOINT", nil
	}
	i := b.saved(st.text)
	if i < 0 {
		return "", &wire.Error{Code: "3B001", Message: "savepoint does not exist"}
	}
	if st.op == opRelease {
		b.tx.saves = b.tx.saves[:i]
		return "RELEASE", nil
	}
	b.rollbackTo(i)
	return "ROLLBACK", nil
}

// endBlock is COMMIT and ROLLBACK. Outside a block they warn, and end what has been done all the same.
func (b *Backend) endBlock(how string) (tag string) {
	if !b.tx.block {
		b.notice("WARNING", wire.CodeNoActiveTransaction, "there is no transaction in progress")
	}
	if how == "COMMIT" && !b.tx.failed {
		b.commit()
		return "COMMIT"
	}
	b.rollback()
	return "ROLLBACK"
}
