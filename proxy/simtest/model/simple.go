package model

import (
	"strconv"
	"strings"
	"time"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// query runs a simple Query.
func (b *Backend) query(body []byte) {
	sql, ok := wire.QueryText(body)
	if !ok {
		b.violate("a Query that is not text")
		b.fatal("invalid message format")
		return
	}
	parts := split(string(sql))
	for _, part := range parts {
		if st, err := read(part); err == nil {
			b.tagged(st.tag)
		}
	}
	if e := b.refused(); e != nil {
		b.queryFailed(e)
		return
	}
	delete(b.stmts, "")
	stmts := make([]statement, len(parts))
	for i, part := range parts {
		var e *wire.Error
		if stmts[i], e = read(part); e == nil && stmts[i].params > 0 {
			e = &wire.Error{Code: "42P02", Message: "there is no parameter $1"}
		}
		if e != nil {
			b.queryFailed(e) // the whole text is parsed before anything runs
			return
		}
	}
	if len(stmts) == 0 {
		if e := b.interrupted(); e != nil {
			b.queryFailed(e)
			return
		}
		b.emit(wire.AppendEmptyQuery(nil))
		b.queryDone()
		return
	}
	b.statements(stmts)
}

func (b *Backend) queryFailed(e *wire.Error) {
	b.error(e)
	b.tx.fail(b)
	b.ready()
}

func (b *Backend) queryDone() {
	if !b.tx.block {
		b.tx.commit(b)
	}
	b.ready()
}

// statements runs what is left of a Query.
func (b *Backend) statements(stmts []statement) {
	if len(stmts) == 0 {
		b.queryDone()
		return
	}
	st := stmts[0]
	next := func() { b.statements(stmts[1:]) }
	if e := b.interrupted(); e != nil {
		b.queryFailed(e)
		return
	}
	delete(b.portals, "")
	if b.tx.failed && !st.exits() {
		b.queryFailed(errInFailed)
		return
	}
	if st.verb == verbSleep {
		b.tx.start(b)
		b.sleep(st, func() {
			if e := b.interrupted(); e != nil {
				b.queryFailed(e)
				return
			}
			b.emit(wire.AppendCommandComplete(nil, "SLEEP"))
			next()
		})
		return
	}
	if st.verb == verbCopyIn {
		b.tx.start(b)
		b.startCopy(st, next, b.queryFailed)
		return
	}
	if st.rows() {
		b.emit(rowDescription())
	}
	rows, tag, e := b.run(st)
	for _, row := range rows {
		b.emit(dataRow(row))
	}
	if e != nil {
		b.queryFailed(e)
		return
	}
	b.emit(wire.AppendCommandComplete(nil, tag))
	next()
}

var errInFailed = &wire.Error{
	Code:    wire.CodeInFailedTransaction,
	Message: "current transaction is aborted, commands ignored until end of transaction block",
}

// sleep has then called by Wake. In a Reference no time passes.
func (b *Backend) sleep(st statement, then func()) {
	if b.watch != nil {
		then()
		return
	}
	b.sleeps = time.Duration(st.number(0)) * time.Millisecond
	b.resume = then
	if b.sleeps == 0 {
		b.resume = nil
		then()
	}
}

// run runs a statement that neither sleeps nor reads COPY data.
func (b *Backend) run(st statement) (rows []string, tag string, e *wire.Error) {
	switch st.verb {
	case verbBegin:
		return nil, "BEGIN", b.begin()
	case verbCommit, verbRollback:
		return nil, b.finish(st.verb == verbCommit), nil
	}
	b.tx.start(b)
	switch st.verb {
	case verbSelect:
		return st.args, "SELECT 1", nil
	case verbRows, verbPartial:
		return b.runRows(st)
	case verbGet:
		if v, ok := b.value(st.args[0]); ok {
			rows = []string{v}
		}
		return rows, "SELECT " + strconv.Itoa(len(rows)), nil
	case verbPut:
		b.tx.put(st.args[0], st.args[1])
		return nil, "INSERT 0 1", nil
	case verbFail:
		return nil, "", &wire.Error{Code: "22012", Message: "division by zero for " + st.tag}
	case verbNotice:
		b.notice("NOTICE", "00000", st.args[0]+st.tag)
		return nil, "DO", nil
	case verbCopyOut:
		b.copyOut(st)
		return nil, "COPY " + strconv.Itoa(st.number(0)), nil
	}
	return b.runSetting(st)
}

func (b *Backend) runRows(st statement) (rows []string, tag string, e *wire.Error) {
	text := st.tag
	if st.verb == verbRows {
		text = st.args[1] + st.tag
	} else {
		e = &wire.Error{Code: "22012", Message: "division by zero after rows for " + st.tag}
	}
	for i := range st.number(0) {
		rows = append(rows, text+strconv.Itoa(i))
	}
	return rows, "SELECT " + strconv.Itoa(len(rows)), e
}

func (b *Backend) runSetting(st statement) (rows []string, tag string, e *wire.Error) {
	switch st.verb {
	case verbShow:
		return []string{b.app}, "SHOW", nil
	case verbSet:
		b.app = st.args[0]
		return nil, "SET", nil
	case verbReset:
		b.app = b.startup
		return nil, "RESET", nil
	case verbConfig:
		if b.app = b.startup; len(st.args) > 0 {
			b.app = st.args[0]
		}
		return []string{"f"}, "SELECT 1", nil
	case verbDiscard:
		if b.tx.block {
			return nil, "", &wire.Error{Code: "25001", Message: "DISCARD ALL cannot run inside a transaction block"}
		}
		b.app = b.startup
		clear(b.stmts)
		clear(b.portals)
		return nil, "DISCARD ALL", nil
	}
	return nil, "", &wire.Error{Code: wire.CodeInternalError, Message: "the model does not know this statement"}
}

func (b *Backend) begin() *wire.Error {
	b.tx.start(b)
	if b.tx.block {
		b.notice("WARNING", "25001", "there is already a transaction in progress")
	}
	b.tx.block = true
	return nil
}

func (b *Backend) finish(commit bool) (tag string) {
	if !b.tx.block {
		b.notice("WARNING", wire.CodeNoActiveTransaction, "there is no transaction in progress")
	}
	if commit && !b.tx.failed {
		b.tx.commit(b)
		return "COMMIT"
	}
	b.tx.rollback(b)
	return "ROLLBACK"
}

func rowDescription() []byte {
	body := []byte{0, 1}
	body = append(body, "text\x00"...)
	body = append(body, make([]byte, 6)...)           // no table
	body = append(body, 0, 0, 0, 25, 0xff, 0xff)      // text, of any length
	body = append(body, 0xff, 0xff, 0xff, 0xff, 0, 0) // no modifier, text format
	return wire.AppendFrame(nil, 'T', body)
}

func dataRow(value string) []byte {
	n := len(value)
	body := append([]byte{0, 1, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, value...)
	return wire.AppendFrame(nil, 'D', body)
}

// startCopy begins a COPY that reads.
func (b *Backend) startCopy(st statement, then func(), failed func(*wire.Error)) {
	b.copying = &copyIn{key: st.args[0], then: then, failed: failed}
	b.emit(wire.AppendFrame(nil, 'G', []byte{0, 0, 1, 0, 0}))
	b.flush()
}

// copyMessage is a message while a COPY reads.
func (b *Backend) copyMessage(typ byte, body []byte) {
	c := b.copying
	end := func(e *wire.Error) {
		b.copying = nil
		c.failed(e)
	}
	switch typ {
	case 'S', 'H':
		return
	case 'd', 'c', 'f':
	default:
		b.copying = nil
		b.error(&wire.Error{
			Code: wire.CodeProtocolViolation, Message: "unexpected message type 0x" + strconv.FormatUint(uint64(typ), 16) + " during COPY from stdin",
		})
		b.fatal("terminating connection because protocol synchronization was lost")
		return
	}
	if e := b.interrupted(); e != nil {
		end(e)
		return
	}
	switch typ {
	case 'd':
		if tag, _, ok := strings.Cut(string(body), " "); ok {
			b.tagged(tag)
		}
		if strings.HasSuffix(string(body), " bad") {
			end(&wire.Error{Code: "22P04", Message: "extra data after last expected column"})
			return
		}
		c.lines = append(c.lines, string(body))
	case 'c':
		b.copying = nil
		b.tx.put(c.key, strings.Join(c.lines, "|"))
		b.emit(wire.AppendCommandComplete(nil, "COPY "+strconv.Itoa(len(c.lines))))
		c.then()
	case 'f':
		text, _ := wire.QueryText(body)
		end(&wire.Error{Code: wire.CodeQueryCanceled, Message: "COPY from stdin failed: " + string(text)})
	}
}

func (b *Backend) copyOut(st statement) {
	b.emit(wire.AppendFrame(nil, 'H', []byte{0, 0, 1, 0, 0}))
	for i := range st.number(0) {
		b.emit(wire.AppendCopyData(nil, []byte(st.args[1]+st.tag+strconv.Itoa(i)+"\n")))
	}
	b.emit(wire.AppendCopyDone(nil))
}
