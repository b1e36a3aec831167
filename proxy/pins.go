package proxy

import (
	"encoding/binary"
)

// pinReason says why a session keeps its server connection between transactions: it holds state there that cannot be
// moved to another. It stays pinned until it leaves; the connection is reset then.
type pinReason uint8

const (
	notPinned pinReason = iota
	pinSessionStatement
	pinTemporary
	pinFunctionCall
	pinLargeStatement
	pinReplication
	pinLock
)

func (r pinReason) String() string {
	return [...]string{
		"not pinned", "statement that changes the session", "temporary object", "function that may change the session",
		"statement too large to look at", "replication", "session lock",
	}[r]
}

func (s *session) pinFor(r pinReason) {
	if s.pin == notPinned {
		s.pin = r
		s.srv.log.Debug("session pinned", "pool", s.pool.Name(), "pid", s.pid, "reason", r.String())
	}
}

// notePin looks at a statement's text before it is sent. The look is at words, wherever they stand, in a comment or
// a literal too: it errs on the side of pinning.
func (s *session) notePin(sql []byte) {
	if s.pin == notPinned {
		if r := scan(sql); r != notPinned {
			s.pinFor(r)
		}
	}
}

// noteFunction looks at a FunctionCall: large object functions leave nothing behind that outlives a transaction,
// of any other function nothing is known.
func (s *session) noteFunction(body []byte) {
	if len(body) >= 4 && largeObjectFunction(binary.BigEndian.Uint32(body)) {
		return
	}
	s.pinFor(pinFunctionCall)
}

// largeObjectFunction names the OIDs that libpq and pgjdbc call (pg_proc.dat).
func largeObjectFunction(oid uint32) bool {
	switch oid {
	case 715, 764, 767, 765, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172, 3457, 3458, 3459, 3460:
		return true
	}
	return false
}

// noteTag looks at what a statement did: some tags drop what our books hold.
func (s *session) noteTag(tag []byte) {
	if len(tag) == 0 || tag[0] != 'D' {
		return
	}
	switch string(tag) {
	case "DISCARD ALL":
		s.x.server.Settings = forgotten
	case "DEALLOCATE ALL":
	default:
		return
	}
	s.x.server.Statements.Clear()
	for name, cs := range s.stmts {
		s.srv.texts.Drop(cs.stmt)
		delete(s.stmts, name)
	}
}

// forgotten equals no session's settings.
var forgotten any = &settings{key: "forgotten"} //nolint:gochecknoglobals // immutable; an identity

// scan returns why a statement's text may leave state behind in the server's session.
func scan(sql []byte) pinReason {
	start := true // at the start of a statement, as far as words go
	for i := 0; i < len(sql); {
		c := sql[i]
		switch {
		case isLetter(c):
			end := i + 1
			for end < len(sql) && isWord(sql[end]) {
				end++
			}
			if r := word(sql[i:end], sql[end:], start); r != notPinned {
				return r
			}
			start = false
			i = end
		case c == ';':
			start = true
			i++
		case c == '-' && i+1 < len(sql) && sql[i+1] == '-':
			for i < len(sql) && sql[i] != '\n' {
				i++
			}
		case c == '/' && i+1 < len(sql) && sql[i+1] == '*':
			i = skipComment(sql, i)
		case '0' <= c && c <= '9' || c == '$':
			for i++; i < len(sql) && isWord(sql[i]); i++ {
			}
			start = false
		default:
			if c != ' ' && c != '\t' && c != '\n' && c != '\r' && c != '(' && c != '\f' && c != '\v' {
				start = start && c >= 0x80
			}
			i++
		}
	}
	return notPinned
}

// skipComment returns the index behind a comment that begins at i. Comments nest.
func skipComment(sql []byte, i int) int {
	depth := 0
	for i < len(sql) {
		switch {
		case sql[i] == '/' && i+1 < len(sql) && sql[i+1] == '*':
			depth++
			i += 2
		case sql[i] == '*' && i+1 < len(sql) && sql[i+1] == '/':
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return i
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
func isWord(c byte) bool   { return isLetter(c) || c >= '0' && c <= '9' || c == '$' || c >= 0x80 }

// word judges one word. rest is what follows it.
func word(w, rest []byte, start bool) pinReason {
	if start {
		switch {
		case is(w, "set"):
			if next := firstWord(rest); is(next, "local") || is(next, "transaction") || is(next, "constraints") {
				return notPinned
			}
			return pinSessionStatement
		case is(w, "prepare"):
			if is(firstWord(rest), "transaction") {
				return notPinned
			}
			return pinSessionStatement
		case is(w, "reset"), is(w, "listen"), is(w, "unlisten"), is(w, "execute"), is(w, "deallocate"),
			is(w, "discard"), is(w, "load"), is(w, "do"), is(w, "call"):
			return pinSessionStatement
		}
	}
	switch len(w) {
	case 4:
		if is(w, "temp") {
			return pinTemporary
		}
		if is(w, "hold") {
			return pinSessionStatement
		}
	case 7:
		if is(w, "currval") || is(w, "lastval") || is(w, "setseed") || is(w, "pg_temp") {
			return pinSessionStatement
		}
	case 9:
		if is(w, "temporary") {
			return pinTemporary
		}
	case 10:
		if is(w, "set_config") {
			return pinSessionStatement
		}
	}
	if len(w) > 14 && w[0]|0x20 == 'p' && (hasPrefix(w, "pg_advisory_") || hasPrefix(w, "pg_try_advisory")) {
		return pinLock
	}
	if len(w) > 6 && hasPrefix(w, "dblink_") {
		return pinSessionStatement
	}
	return notPinned
}

func is(w []byte, lower string) bool { return len(w) == len(lower) && hasPrefix(w, lower) }

func hasPrefix(w []byte, lower string) bool {
	if len(w) < len(lower) {
		return false
	}
	for i := range lower {
		c := w[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// firstWord is the next word of sql, past white space.
func firstWord(sql []byte) []byte {
	i := 0
	for i < len(sql) && (sql[i] == ' ' || sql[i] == '\t' || sql[i] == '\n' || sql[i] == '\r') {
		i++
	}
	end := i
	for end < len(sql) && isWord(sql[end]) {
		end++
	}
	return sql[i:end]
}
