package proxy

import (
	"encoding/binary"
	"strings"
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
// a literal too: it errs on the side of pinning. drops says that it may end prepared statements, resets that it may take
// settings back to the server's own.
func (s *session) notePin(sql []byte) (drops, resets bool) {
	sc := scanner{start: true}
	if _, r := sc.words(sql, true); r != notPinned {
		s.pinFor(r)
	}
	return sc.drops, sc.resets
}

// noteFunction looks at a FunctionCall. Of a user's own function no more is known than of one in a SELECT.
func (s *session) noteFunction(body []byte) {
	if len(body) >= 4 && changesSession(binary.BigEndian.Uint32(body)) {
		s.pinFor(pinFunctionCall)
	}
}

// scanPart looks at the next part of a text that is streamed.
func (s *session) scanPart(b []byte, last bool) {
	x := s.x
	if r := x.scan.part(b, last); r != notPinned {
		s.pinFor(r)
		last = true
	}
	if last && x.scan.resets {
		s.pinFor(pinSessionStatement)
	}
	if last {
		x.scan, x.scanning = scanner{}, false
	}
}

// changesSession names the OIDs of the built-in functions that leave something in the session (pg_proc.dat): currval,
// lastval, setseed, set_config, the session's advisory locks and its replication origin.
func changesSession(oid uint32) bool {
	switch oid {
	case 1575, 2559, 1599, 2078, 2880, 2881, 2882, 2883, 2884, 2885, 2886, 2887, 2888, 2889, 2890, 2891, 2892,
		6006, 6007:
		return true
	}
	return false
}

// noteTag looks at what a statement did: some tags say that the server dropped what our books hold.
func (s *session) noteTag(tag []byte) {
	if len(tag) == 0 || tag[0] != 'D' {
		return
	}
	x := s.x
	switch string(tag) {
	case "DISCARD ALL":
		x.server.Settings, x.server.Unnamed = forgotten, 0
		if x.led.len() == 1 {
			s.pin = notPinned // nothing was sent behind it that could have made new state
		}
	case "DEALLOCATE ALL":
	default:
		return
	}
	x.server.Statements.ClearSettled()
	for name, cs := range s.stmts {
		if cs.segment == 0 { // what was sent behind it is not answered yet, and stays
			s.srv.texts.Drop(cs.stmt)
			delete(s.stmts, name)
		}
	}
}

// forgotten equals no session's settings.
var forgotten any = &settings{key: "forgotten"} //nolint:gochecknoglobals // immutable; an identity

// scan returns why a statement's text may leave state behind in the server's session.
func scan(sql []byte) pinReason {
	sc := scanner{start: true}
	_, r := sc.words(sql, true)
	return r
}

// scanner looks at a text's words, and at where statements may start: behind a semicolon, and behind the words that
// begin a block in a procedural language.
type scanner struct {
	begun  bool
	start  bool // at the start of a statement, as far as words go
	do     bool // within a DO
	body   bool // behind the quote that begins the body of that DO
	quoted bool // a quote has come: what looks like a comment may be text, so its words count as well
	update bool // the word UPDATE has come
	before bool // what start was before what looks like a comment
	depth  int  // of comments
	line   bool // in a comment that ends with its line
	drops  bool // a DEALLOCATE or DISCARD was seen
	resets bool // a RESET was seen
	long   bool // in a word too long to be one of interest
	tail   []byte
}

// maxScanTail bounds what part keeps of a text for the next part.
const maxScanTail = 1 << 10

// part is scan for a text that comes in parts.
func (sc *scanner) part(b []byte, last bool) pinReason {
	if !sc.begun {
		sc.begun, sc.start = true, true
	}
	sc.tail = append(sc.tail, b...)
	n, r := sc.words(sc.tail, last)
	sc.tail = sc.tail[:copy(sc.tail, sc.tail[n:])]
	if r == notPinned && len(sc.tail) > maxScanTail {
		return pinLargeStatement // a word of that length, or white space behind SET
	}
	return r
}

// words looks at the words of b up to its end, or, unless last, up to where more is needed to judge. It returns how far
// it came.
func (sc *scanner) words(b []byte, last bool) (n int, r pinReason) {
	for i := 0; i < len(b); {
		used := 1
		switch kind := bytesOf[b[i]]; {
		case sc.long && kind == wordly:
			used = wordEnd(b[i:])
		case kind == telling || !sc.quoted && (sc.line || sc.depth > 0):
			used, r = sc.sign(b[i:], last)
		case kind == wordly:
			used, r = sc.run(b[i:], last)
		default:
			sc.long = false
		}
		if r != notPinned || used == 0 {
			return i, r
		}
		i += used
	}
	return len(b), notPinned
}

// sign looks at a byte that may be one of several that belong together. used is 0 where more is needed to judge.
func (sc *scanner) sign(b []byte, last bool) (used int, r pinReason) {
	sc.long = false
	if !last && len(b) == 1 && mark(b[0]) {
		return 0, notPinned
	}
	if n := sc.skipped(b); n > 0 {
		return n, notPinned
	}
	return 1, sc.between(b)
}

// run looks at the word at the start of b. used is 0 where more is needed to judge.
func (sc *scanner) run(b []byte, last bool) (used int, r pinReason) {
	end := wordEnd(b)
	switch {
	case end > maxLookahead:
		sc.long, sc.start = end == len(b), false
	case !last && end+maxLookahead > len(b):
		return 0, notPinned
	case !isLetter(b[0]):
		sc.start = false
	default:
		r = sc.word(b[:end], b[end:min(end+maxLookahead, len(b))])
	}
	return end, r
}

// What a byte may be to a scanner. Silent is one that says nothing outside of a comment.
const (
	telling = iota // see between, skipped and mark
	silent
	wordly
)

// bytesOf is a table, for the look at a text's bytes is a part of every query's cost.
var bytesOf = func() (kinds [256]uint8) { //nolint:gochecknoglobals // immutable
	for i := range kinds {
		switch c := byte(i); {
		case isLetter(c) || c >= '0' && c <= '9' || c >= 0x80: // a $ may end the tag of a quote
			kinds[i] = wordly
		case strings.IndexByte("-/*$;'\"\n\r", c) < 0:
			kinds[i] = silent
		}
	}
	return kinds
}()

// mark reports whether what c means depends on the byte behind it.
func mark(c byte) bool { return c == '-' || c == '/' || c == '*' || c == '$' }

// between looks at the byte at the start of b, which belongs to no word and to no comment that is certainly one.
func (sc *scanner) between(b []byte) pinReason {
	next := byte(0)
	if len(b) > 1 {
		next = b[1]
	}
	switch c := b[0]; {
	case c == ';':
		sc.start = true
	case c == '$' && !(next >= '0' && next <= '9'):
		sc.start, sc.quoted, sc.body = true, true, true // a statement may begin behind it, in the body of a DO
	case c == '\'' && sc.do && !sc.body:
		return pinSessionStatement // the body of a DO in quotes: doubled quotes and escapes hide what it says
	case c == '\'' || c == '"':
		sc.quoted = true
	case c == '/' && next == '*', c == '-' && next == '-':
		sc.before = sc.before || sc.start
	case c == '*' && next == '/', c == '\n', c == '\r':
		sc.start, sc.before = sc.start || sc.before, false
	}
	return notPinned
}

// skipped is how many bytes at the start of b belong to a comment.
func (sc *scanner) skipped(b []byte) int {
	opens := b[0] == '/' && len(b) > 1 && b[1] == '*'
	switch {
	case sc.quoted:
		return 0
	case sc.line:
		sc.line = b[0] != '\n' && b[0] != '\r'
	case opens:
		sc.depth++
		return 2
	case sc.depth > 0:
		if b[0] == '*' && len(b) > 1 && b[1] == '/' {
			sc.depth--
			return 2
		}
	case b[0] == '-' && len(b) > 1 && b[1] == '-':
		sc.line = true
	default:
		return 0
	}
	return 1
}

// maxLookahead is how long a word of interest may be, and how much of the text behind a word is looked at.
const maxLookahead = 40

func wordEnd(b []byte) (i int) {
	for i < len(b) && isWord(b[i]) {
		i++
	}
	return i
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
func isWord(c byte) bool   { return bytesOf[c] == wordly }
func isName(c byte) bool   { return isWord(c) || c == '$' }

// word judges one word. rest is what follows it.
func (sc *scanner) word(w, rest []byte) pinReason {
	if sc.start {
		if r := sc.first(w, rest); r != notPinned {
			return r
		}
	}
	sc.start = sc.do && (is(w, "begin") || is(w, "then") || is(w, "else") || is(w, "loop"))
	switch {
	case sc.do && is(w, "language") && !is(firstWord(rest), "plpgsql") && !is(firstWord(rest), "sql"),
		sc.do && is(w, "execute"): // dynamic SQL may be put together of anything
		return pinSessionStatement
	case len(w) == 1 && w[0]|0x20 == 'u' && len(rest) > 1 && rest[0] == '&' && (rest[1] == '"' || rest[1] == '\''):
		return pinSessionStatement // a name in escapes
	case sc.update && is(w, "pg_settings"):
		return pinSessionStatement // a rule makes a SET of it
	case is(w, "update"):
		sc.update = true
	}
	return stateful(w)
}

// first judges the first word of a statement.
func (sc *scanner) first(w, rest []byte) pinReason {
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
	case is(w, "discard"):
		sc.drops = true
	case is(w, "deallocate"):
		sc.drops = true
		next := firstWord(rest)
		if is(next, "prepare") {
			next = firstWord(trimWord(rest))
		}
		if is(next, "all") {
			return notPinned // its tag tells
		}
		return pinSessionStatement
	case is(w, "do"):
		sc.do, sc.body = true, false
	case is(w, "reset") && !sc.do:
		sc.resets = true
	case is(w, "reset"), is(w, "listen"), is(w, "execute"), is(w, "load"):
		return pinSessionStatement // UNLISTEN ends what only a pinned session has
	}
	return notPinned
}

// stateful judges a word wherever it stands.
func stateful(w []byte) pinReason {
	switch len(w) {
	case 4:
		if is(w, "temp") {
			return pinTemporary
		}
		if is(w, "hold") {
			return pinSessionStatement
		}
	case 7:
		if is(w, "currval") || is(w, "lastval") || is(w, "setseed") {
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
	if hasPrefix(w, "pg_") {
		switch {
		case hasPrefix(w, "pg_temp"):
			return pinTemporary
		case hasPrefix(w, "pg_advisory_xact"), hasPrefix(w, "pg_try_advisory_xact"):
			// ends with its transaction
		case hasPrefix(w, "pg_advisory_unlock"):
			// ends what only a pinned session has
		case hasPrefix(w, "pg_advisory_"), hasPrefix(w, "pg_try_advisory"):
			return pinLock
		case hasPrefix(w, "pg_replication_origin_session"):
			return pinSessionStatement
		}
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

// trimWord is sql past white space and its first word.
func trimWord(sql []byte) []byte {
	w := firstWord(sql)
	if len(w) == 0 {
		return sql
	}
	i := 0
	for &sql[i] != &w[0] {
		i++
	}
	return sql[i+len(w):]
}

// firstWord is the next word of sql, past white space.
func firstWord(sql []byte) []byte {
	i := 0
	for i < len(sql) && (sql[i] == ' ' || sql[i] == '\t' || sql[i] == '\n' || sql[i] == '\r') {
		i++
	}
	end := i
	for end < len(sql) && isName(sql[end]) {
		end++
	}
	return sql[i:end]
}
