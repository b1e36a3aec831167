package simtest

import (
	"strconv"

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

// text is key for a result.
func (p *portal) text() value {
	s, ok := p.key()
	return value{s: s, null: !ok}
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
	case opText:
		p.rows = []value{p.text()}
	case opTexts, opTextFails:
		p.planTexts()
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
	case opSleep, opUnlockAll:
		p.rows = []value{{}}
	}
	return nil
}

// planTexts makes the rows of a SELECT from generate_series that say a text and a number each.
func (p *portal) planTexts() {
	for g := range max(p.st.n, 0) {
		v := p.text()
		switch {
		case p.st.op == opTexts:
			v.s += strconv.Itoa(int(g) + 1)
		case g+1 == p.st.n:
			p.broken = true
			return
		case g+2 == p.st.n:
			v.s += "1"
		default:
			v.s += "0"
		}
		p.rows = append(p.rows, v)
	}
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
	again := p.ran
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
	case st.op == opStock && !again:
		p.rows = []value{b.stock(st.text)}
		b.sendRows(p, most, then)
	case st.op == opShow && !again:
		p.rows = []value{{s: b.vars.now}}
		b.sendRows(p, most, then)
	case st.plain(), st.op == opShow, st.op == opStock:
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
	case p.st.op == opShow:
		then(nil, "SHOW")
	default:
		then(nil, "SELECT "+strconv.Itoa(n))
	}
}

func (b *Backend) executePrepared(st *statement, format int16, then func(err *wire.Error, tag string)) {
	inner := b.prepared[st.text]
	if inner == nil || st.text == "" {
		then(notPrepared(st.text), "")
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
	case opInsert, opPut, opUpdate, opDelete:
		return b.modify(p)
	case opCopyOut:
		return b.copyTo(st)
	case opCopyTexts:
		return b.copyTexts(st)
	case opNotice:
		b.notice("NOTICE", "00000", st.text)
		return "DO", nil
	case opIdle:
		return st.text, nil
	case opSet, opSetLocal, opReset, opConfig, opListen, opUnlisten, opNotify, opDiscardAll:
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
	case opInsert, opPut:
		if found && p.st.op == opInsert {
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
