package simtest

import (
	"strconv"
	"strings"
	"time"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// matcher compares a command with the forms of the small SQL and keeps what stands in their holes.
type matcher struct {
	in    string
	words []string // of %s (a literal in quotes), %i (a name) and %r (the rest)
	n     int32    // of the last %n
}

// is reports whether the whole command has the form.
func (m *matcher) is(form string) bool {
	in := m.in
	m.words = m.words[:0]
	for {
		literal, hole, found := strings.Cut(form, "%")
		rest, ok := strings.CutPrefix(in, literal)
		if !ok {
			return false
		}
		if !found {
			return rest == ""
		}
		if in, ok = m.fill(hole[0], rest); !ok {
			return false
		}
		form = hole[1:]
	}
}

// fill takes what a hole of a kind holds off the start of in.
func (m *matcher) fill(kind byte, in string) (rest string, ok bool) {
	end := 0
	switch kind {
	case 'r':
		end = len(in)
	case 's':
		if end = strings.IndexByte(in[min(1, len(in)):], '\''); end < 0 || in[0] != '\'' {
			return "", false
		}
		m.words = append(m.words, in[1:end+1])
		return in[end+2:], true
	case 'n':
		for end < len(in) && (in[end] >= '0' && in[end] <= '9' || end == 0 && in[end] == '-') {
			end++
		}
		n, err := strconv.ParseInt(in[:end], 10, 32)
		m.n = int32(n)
		return in[end:], err == nil
	default:
		for end < len(in) && (in[end] >= 'a' && in[end] <= 'z' || in[end] == '_' || end > 0 && in[end] >= '0' && in[end] <= '9') {
			end++
		}
	}
	m.words = append(m.words, in[:end])
	return in[end:], end > 0
}

func parseOne(s string) (*statement, *wire.Error) {
	mark := ""
	if comment, rest, ok := strings.Cut(s, "*/ "); ok && strings.HasPrefix(comment, "/*") {
		mark, s = comment[2:], rest
	}
	m := &matcher{in: s}
	for _, family := range [...]func(*matcher) *statement{
		parseSelect, parseRows, parseCopy, parseTransaction, parseSession, parsePrepared, parseCursor,
	} {
		if st := family(m); st != nil {
			st.mark = mark
			return st, nil
		}
	}
	return nil, &wire.Error{Code: wire.CodeSyntaxError, Message: `syntax error at or near "` + s + `"`}
}

func parseSelect(m *matcher) *statement {
	switch {
	case m.is("select %n"):
		return &statement{op: opSelect, n: m.n, cols: int4("?column?")}
	case m.is("select $1::int4"):
		return &statement{op: opSelect, val: arg{param: 1}, params: []uint32{oidInt4}, cols: int4("int4")}
	case m.is("select %s"):
		return &statement{op: opText, key: arg{text: m.words[0]}, cols: text("?column?")}
	case m.is("select $1::text"):
		return &statement{op: opText, key: arg{param: 1}, params: []uint32{oidText}, cols: text("text")}
	case m.is("select %s || g from generate_series(1, %n) g"):
		return &statement{op: opTexts, key: arg{text: m.words[0]}, n: m.n, cols: text("?column?")}
	case m.is("select $1::text || g from generate_series(1, %n) g"):
		return &statement{op: opTexts, key: arg{param: 1}, n: m.n, params: []uint32{oidText}, cols: text("?column?")}
	case m.is("select %s || 1/(%n-g) from generate_series(1, 300) g") && m.n > 0 && m.n <= 300:
		return &statement{op: opTextFails, key: arg{text: m.words[0]}, n: m.n, cols: text("?column?")}
	case m.is("select generate_series(1, %n)"):
		return &statement{op: opSeries, n: m.n, cols: int4("generate_series")}
	case m.is("select v from kv where k = %s"):
		return &statement{op: opLookup, key: arg{text: m.words[0]}, cols: int4("v")}
	case m.is("select v from kv where k = $1"):
		return &statement{op: opLookup, key: arg{param: 1}, params: []uint32{oidText}, cols: int4("v")}
	case m.is("select 1/0"):
		return &statement{op: opDivide, cols: int4("?column?")}
	case m.is("select 12/(3-g) from generate_series(1, 5) g"):
		return &statement{op: opFails, cols: int4("?column?")}
	case m.is("select pg_sleep(0.%n)"):
		return &statement{op: opSleep, d: time.Duration(m.n) * time.Millisecond, cols: []column{{"pg_sleep", oidVoid, 4}}}
	case m.is("select * from nosuch"):
		return &statement{op: opNoTable}
	}
	return nil
}

func parseRows(m *matcher) *statement {
	switch {
	case m.is("insert into kv values (%s, %n)"):
		return &statement{op: opInsert, key: arg{text: m.words[0]}, val: arg{n: m.n}}
	case m.is("insert into kv values ($1, $2)"):
		return &statement{op: opInsert, key: arg{param: 1}, val: arg{param: 2}, params: []uint32{oidText, oidInt4}}
	case m.is("insert into kv values (%s, %n) on conflict (k) do update set v = excluded.v"):
		return &statement{op: opPut, key: arg{text: m.words[0]}, val: arg{n: m.n}}
	case m.is("insert into kv values ($1, $2) on conflict (k) do update set v = excluded.v"):
		return &statement{op: opPut, key: arg{param: 1}, val: arg{param: 2}, params: []uint32{oidText, oidInt4}}
	case m.is("update kv set v = v + %n where k = %s"):
		return &statement{op: opUpdate, n: m.n, key: arg{text: m.words[0]}}
	case m.is("delete from kv where k = %s"):
		return &statement{op: opDelete, key: arg{text: m.words[0]}}
	}
	return nil
}

func parseCopy(m *matcher) *statement {
	switch {
	case m.is("copy kv from stdin"):
		return &statement{op: opCopyIn}
	case m.is(`copy (select k, v from kv where k like %s order by k collate "C") to stdout`):
		return &statement{op: opCopyOut, text: strings.TrimSuffix(m.words[0], "%")}
	case m.is("copy (select %s || g from generate_series(1, %n) g) to stdout"):
		return &statement{op: opCopyTexts, key: arg{text: m.words[0]}, n: m.n}
	}
	return nil
}

func parseTransaction(m *matcher) *statement {
	switch {
	case m.is("begin"):
		return &statement{op: opBegin}
	case m.is("commit"), m.is("end"):
		return &statement{op: opCommit}
	case m.is("rollback"), m.is("abort"), m.is("ROLLBACK"):
		return &statement{op: opRollback}
	case m.is("savepoint %i"):
		return &statement{op: opSavepoint, text: m.words[0]}
	case m.is("release %i"):
		return &statement{op: opRelease, text: m.words[0]}
	case m.is("rollback to %i"):
		return &statement{op: opRollbackTo, text: m.words[0]}
	}
	return nil
}

func parseSession(m *matcher) *statement {
	switch {
	case m.is("do $$begin raise notice %s; end$$"):
		return &statement{op: opNotice, text: m.words[0]}
	case m.is("set application_name = %s"):
		return &statement{op: opSet, text: m.words[0]}
	case m.is("set local application_name = %s"):
		return &statement{op: opSetLocal, text: m.words[0]}
	case m.is("reset application_name"):
		return &statement{op: opReset}
	case m.is("SELECT pg_catalog.set_config(E'application_name', E%s, false) IS NULL"):
		return &statement{op: opConfig, text: "set", value: m.words[0], cols: boolean("?column?")}
	case m.is("SELECT pg_catalog.set_config(E'application_name', NULL, false) IS NULL"):
		return &statement{op: opConfig, cols: boolean("?column?")}
	case m.is("RESET ALL"):
		return &statement{op: opReset}
	case m.is("UNLISTEN *"):
		return &statement{op: opUnlisten}
	case m.is("CLOSE ALL"):
		return &statement{op: opIdle, text: "CLOSE CURSOR ALL"}
	case m.is("SET SESSION AUTHORIZATION DEFAULT"):
		return &statement{op: opIdle, text: "SET"}
	case m.is("DISCARD TEMP"), m.is("DISCARD SEQUENCES"):
		return &statement{op: opIdle, text: m.in}
	case m.is("SELECT pg_catalog.pg_advisory_unlock_all()"):
		return &statement{op: opUnlockAll, cols: []column{{"pg_advisory_unlock_all", oidVoid, 4}}}
	case m.is("SELECT pg_catalog.concat(%r") && strings.HasSuffix(m.words[0], ", ',')"):
		return &statement{op: opStock, text: strings.TrimSuffix(m.words[0], ", ',')"), cols: text("concat")}
	case m.is("show application_name"):
		return &statement{op: opShow, cols: text("application_name")}
	case m.is("listen %i"):
		return &statement{op: opListen, text: m.words[0]}
	case m.is("unlisten *"):
		return &statement{op: opUnlisten}
	case m.is("notify %i, %s"):
		return &statement{op: opNotify, text: m.words[0], value: m.words[1]}
	case m.is("discard all"), m.is("DISCARD ALL"):
		return &statement{op: opDiscardAll}
	}
	return nil
}

func parsePrepared(m *matcher) *statement {
	switch {
	case m.is("deallocate all"):
		return &statement{op: opDeallocateAll}
	case m.is("deallocate %i"):
		return &statement{op: opDeallocate, text: m.words[0]}
	case m.is("execute %i"), m.is(`EXECUTE "%i"`):
		return &statement{op: opExecute, text: m.words[0]}
	case m.is("prepare %i as %r"):
		return nested(opPrepare, m.words[0], m.words[1])
	}
	return nil
}

func parseCursor(m *matcher) *statement {
	switch {
	case m.is("declare %i cursor for %r"):
		return nested(opDeclare, m.words[0], m.words[1])
	case m.is("fetch %n %i"):
		return &statement{op: opFetch, n: m.n, text: m.words[0]}
	case m.is("close %i"):
		return &statement{op: opCloseCursor, text: m.words[0]}
	}
	return nil
}

// nested is a command that holds a SELECT.
func nested(o op, name, sql string) *statement {
	inner := parseSelect(&matcher{in: sql})
	if inner == nil || !inner.plain() || len(inner.params) > 0 {
		return nil
	}
	return &statement{op: o, text: name, inner: inner}
}

// parse splits a query string into its commands. An error in any of them is the error of all.
func parse(query string) ([]*statement, *wire.Error) {
	var all []*statement
	for _, s := range split(query) {
		if s == "" {
			continue
		}
		st, err := parseOne(s)
		if err != nil {
			return nil, err
		}
		all = append(all, st)
	}
	return all, nil
}

// split cuts at the semicolons outside quotes.
func split(query string) []string {
	var parts []string
	start, quoted, body := 0, false, false
	for i := 0; i < len(query); i++ {
		switch {
		case query[i] == '\'':
			quoted = !quoted
		case strings.HasPrefix(query[i:], "$$"):
			body = !body
			i++
		case query[i] == ';' && !quoted && !body:
			parts = append(parts, strings.TrimSpace(query[start:i]))
			start = i + 1
		}
	}
	return append(parts, strings.TrimSpace(query[start:]))
}
