package simtest

import (
	"fmt"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

func (s *Script) simple() {
	switch s.rnd.IntN(8) {
	case 0:
		s.query(s.one("", " ", ";", ";;"))
	case 1:
		s.query(s.statement() + "; " + s.statement())
	case 2:
		s.query(s.statement() + ";" + s.one("begin", "commit", "rollback", s.statement()) + "; " + s.statement() + ";")
	case 3:
		if s.Traits.Prepares {
			s.query(s.sqlPrepared())
			return
		}
		fallthrough
	default:
		s.query(s.statement())
	}
}

func (s *Script) sqlPrepared() string {
	name := s.one("q1", "q2")
	options := []string{
		"prepare " + name + " as select " + s.one("1", "2", "3"), "execute " + name, "execute " + name, "deallocate " + name,
	}
	if s.block {
		options = append(options, "declare c1 cursor for select generate_series(1, 7)", "fetch 3 c1", "fetch 2 c1", "close c1")
	}
	return s.one(options...)
}

// transaction begins, ends or marks one.
func (s *Script) transaction() {
	if !s.block {
		s.block = true
		s.query("begin")
		return
	}
	switch s.rnd.IntN(6) {
	case 0:
		s.query("savepoint " + s.one("a", "b"))
	case 1:
		s.query("rollback to " + s.one("a", "b"))
	case 2:
		s.query("release " + s.one("a", "b"))
	case 3:
		s.block = false
		s.query(s.one("rollback", "abort"))
	default:
		s.block = false
		s.query(s.one("commit", "end"))
	}
}

// parameterised returns a statement with parameters, and a Bind for it.
func (s *Script) parameterised() (sql string, params [][]byte, formats, results []int16) {
	n := s.rnd.IntN(1000)
	number := fmt.Append(nil, n)
	if s.rnd.IntN(15) == 0 {
		number = []byte("x") // no number
	}
	switch s.rnd.IntN(4) {
	case 0:
		return "select $1::int4", [][]byte{number}, nil, []int16{int16(n % 2)}
	case 1:
		return "select $1::int4", [][]byte{{0, 0, byte(n >> 8), byte(n)}}, []int16{1}, nil
	case 2:
		return "select v from kv where k = $1", [][]byte{[]byte(s.key())}, nil, []int16{1}
	}
	return "insert into kv values ($1, $2)", [][]byte{[]byte(s.key()), number}, []int16{0, 0}, nil
}

func (s *Script) maybe(one int, fn func()) {
	if s.rnd.IntN(one) == 0 {
		fn()
	}
}

// extended is a request of the extended protocol in one go.
func (s *Script) extended() {
	s.unnamed()
	s.out = wire.AppendSync(s.out)
}

func (s *Script) unnamed() {
	sql := s.statement()
	var params [][]byte
	var formats, results []int16
	if s.rnd.IntN(2) == 0 {
		sql, params, formats, results = s.parameterised()
	}
	s.out = wire.AppendParse(s.out, "", sql, nil)
	s.maybe(4, func() { s.out = wire.AppendDescribe(s.out, 'S', "") })
	s.out = wire.AppendBind(s.out, "", "", formats, params, results)
	s.maybe(3, func() { s.out = wire.AppendDescribe(s.out, 'P', "") })
	s.out = wire.AppendExecute(s.out, "", 0)
	s.maybe(8, func() { s.out = wire.AppendClose(s.out, 'P', "") })
}

// named uses statements that live across requests, in parts.
func (s *Script) named() {
	for range 1 + s.rnd.IntN(3) {
		name := s.one("s1", "s2", "s3")
		switch s.rnd.IntN(6) {
		case 0, 1:
			sql := map[string]string{
				"s1": "select $1::int4", "s2": "select v from kv where k = $1", "s3": "insert into kv values ($1, $2)",
			}[name]
			s.maybe(2, func() { s.out = wire.AppendClose(s.out, 'S', name) })
			s.out = wire.AppendParse(s.out, name, sql, nil)
		case 2:
			s.out = wire.AppendDescribe(s.out, 'S', name)
		case 3:
			s.maybe(2, func() { s.out = wire.AppendClose(s.out, 'S', name) })
		default:
			params := map[string][][]byte{
				"s1": {fmt.Append(nil, s.rnd.IntN(99))}, "s2": {[]byte(s.key())},
				"s3": {[]byte(s.key()), fmt.Append(nil, s.rnd.IntN(99))},
			}[name]
			s.out = wire.AppendBind(s.out, "", name, nil, params, nil)
			s.out = wire.AppendExecute(s.out, "", 0)
		}
	}
	s.out = wire.AppendSync(s.out)
}

// splitUnnamed prepares the unnamed statement in one request and uses it in the next.
func (s *Script) splitUnnamed() {
	n := s.rnd.IntN(1000)
	if s.rnd.IntN(2) == 0 {
		s.out = wire.AppendParse(s.out, "", s.one("select $1::int4", fmt.Sprintf("select %d", n)), nil)
		s.out = wire.AppendDescribe(s.out, 'S', "")
		s.out = wire.AppendSync(s.out)
		return
	}
	s.out = wire.AppendBind(s.out, "", "", nil, [][]byte{fmt.Append(nil, n)}, nil)
	s.out = wire.AppendExecute(s.out, "", 0)
	s.out = wire.AppendSync(s.out)
}

// pipeline is several requests in one burst, of both protocols, some of which may be skipped for an error.
func (s *Script) pipeline() {
	for range 2 + s.rnd.IntN(3) {
		switch s.rnd.IntN(4) {
		case 0:
			s.query(s.statement())
		case 1:
			s.named()
		default:
			for range 1 + s.rnd.IntN(2) {
				s.unnamed()
			}
			if s.Traits.Mixed {
				s.maybe(5, func() { s.query(s.statement()) })
			}
			s.out = wire.AppendSync(s.out)
		}
	}
}

// portals reads a result in pieces, named or not, with what does not outlive its transaction.
func (s *Script) portals() {
	p := s.one("", "p1", "p2")
	s.out = wire.AppendParse(s.out, "", fmt.Sprintf("select generate_series(1, %d)", s.rnd.IntN(8)), nil)
	s.out = wire.AppendBind(s.out, p, "", nil, nil, nil)
	for range 1 + s.rnd.IntN(3) {
		s.out = wire.AppendExecute(s.out, p, int32(s.rnd.IntN(4)))
		s.maybe(4, func() { s.out = wire.AppendFlush(s.out) })
	}
	s.maybe(3, func() { s.out = wire.AppendSync(s.out) })
	s.maybe(3, func() { s.out = wire.AppendExecute(s.out, p, 0) })
	s.maybe(3, func() { s.out = wire.AppendClose(s.out, 'P', p) })
	s.out = wire.AppendSync(s.out)
}

// flush asks for answers without ending the request; a later burst has the Sync.
func (s *Script) flush() {
	s.unnamed()
	s.out = wire.AppendFlush(s.out)
	if s.open = s.rnd.IntN(2) == 0; !s.open {
		s.out = wire.AppendSync(s.out)
	}
}

// noise is messages that have no place where they are: late COPY data, a Sync too many, an empty Flush.
func (s *Script) noise() {
	switch s.rnd.IntN(4) {
	case 0:
		s.out = wire.AppendCopyData(s.out, []byte("late\t1\n"))
		s.out = wire.AppendCopyDone(s.out)
	case 1:
		s.out = wire.AppendCopyFail(s.out, "late")
	case 2:
		s.out = wire.AppendSync(wire.AppendSync(s.out))
	default:
		s.out = wire.AppendFlush(s.out)
	}
	s.out = wire.AppendSync(s.out)
}

func (s *Script) function() {
	s.out = append(s.out, callInt4pl(int32(s.rnd.IntN(100)), int32(s.rnd.IntN(100)))...)
}

func (s *Script) copyOut() {
	if s.rnd.IntN(2) == 0 {
		s.query(s.copyOutSQL())
		return
	}
	s.run(s.copyOutSQL())
	s.out = wire.AppendSync(s.out)
}

func (s *Script) run(sql string) {
	s.out = wire.AppendParse(s.out, "", sql, nil)
	s.out = wire.AppendBind(s.out, "", "", nil, nil, nil)
	s.out = wire.AppendExecute(s.out, "", 0)
}

// copyIn sends rows, whole or cut anywhere, good or bad, to the end or not, in either protocol, with Syncs and Flushes
// that mean nothing meanwhile.
func (s *Script) copyIn() {
	simple := s.rnd.IntN(2) == 0
	if simple {
		s.query("copy kv from stdin")
	} else {
		s.run("copy kv from stdin")
		s.maybe(2, func() { s.out = wire.AppendSync(s.out) })
	}
	data := ""
	for range s.rnd.IntN(4) {
		data += fmt.Sprintf("%s\t%d\n", s.key(), s.rnd.IntN(1000))
	}
	s.maybe(6, func() { data += "no tab here\n" + s.key() + "\t1\n" })
	s.maybe(6, func() { data += "\\.\n" })
	for len(data) > 0 {
		n := 1 + s.rnd.IntN(len(data))
		s.out = wire.AppendCopyData(s.out, []byte(data[:n]))
		data = data[n:]
		s.maybe(6, func() { s.out = wire.AppendFlush(s.out) })
	}
	if s.rnd.IntN(6) == 0 {
		s.out = wire.AppendCopyFail(s.out, "the client gave up")
	} else {
		s.out = wire.AppendCopyDone(s.out)
	}
	if !simple || s.rnd.IntN(6) == 0 {
		s.out = wire.AppendSync(s.out)
	}
}
