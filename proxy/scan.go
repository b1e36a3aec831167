package proxy

import "strings"

// suspicious reports whether a statement's text may do something to its session. The look is at words wherever they stand,
// in a literal too: whatever it lets pass does nothing, and of the rest the grammar is asked. It is there because it costs
// a tenth of parsing, and nearly all statements pass.
func suspicious(sql []byte) bool {
	sc := scanner{start: true}
	_, found := sc.words(sql, true)
	return found
}

// scanner looks at a text's words, and at where statements may start.
type scanner struct {
	begun  bool
	start  bool // at the start of a statement, as far as words go
	quoted bool // a quote has come: what looks like a comment may be text, so its words count as well
	update bool // the word UPDATE has come
	before bool // what start was before what looks like a comment
	depth  int  // of comments
	line   bool // in a comment that ends with its line
	long   bool // in a word too long to be one of interest
	tail   []byte
}

// maxScanTail bounds what part keeps of a text for the next part.
const maxScanTail = 1 << 10

// part is suspicious for a text that comes in parts.
func (sc *scanner) part(b []byte, last bool) bool {
	if !sc.begun {
		sc.begun, sc.start = true, true
	}
	sc.tail = append(sc.tail, b...)
	n, found := sc.words(sc.tail, last)
	sc.tail = sc.tail[:copy(sc.tail, sc.tail[n:])]
	return found || len(sc.tail) > maxScanTail // a word of that length, or white space behind SET
}

// words looks at the words of b up to its end, or, unless last, up to where more is needed to judge. It returns how far
// it came.
func (sc *scanner) words(b []byte, last bool) (n int, found bool) {
	for i := 0; i < len(b); {
		used := 1
		switch kind := bytesOf[b[i]]; {
		case sc.long && kind == wordly:
			used = wordEnd(b[i:])
		case kind == telling || !sc.quoted && (sc.line || sc.depth > 0):
			used, found = sc.sign(b[i:], last)
		case kind == wordly:
			used, found = sc.run(b[i:], last)
		default:
			sc.long = false
		}
		if found || used == 0 {
			return i, found
		}
		i += used
	}
	return len(b), false
}

// sign looks at a byte that may be one of several that belong together. used is 0 where more is needed to judge.
func (sc *scanner) sign(b []byte, last bool) (used int, found bool) {
	sc.long = false
	if !last && len(b) == 1 && mark(b[0]) {
		return 0, false
	}
	if n := sc.skipped(b); n > 0 {
		return n, false
	}
	sc.between(b)
	return 1, false
}

// run looks at the word at the start of b. used is 0 where more is needed to judge.
func (sc *scanner) run(b []byte, last bool) (used int, found bool) {
	end := wordEnd(b)
	switch {
	case end > maxLookahead:
		sc.long, sc.start = end == len(b), false
	case !last && end+maxLookahead > len(b):
		return 0, false
	case !isLetter(b[0]):
		sc.start = false
	default:
		found = sc.word(b[:end], b[end:min(end+maxLookahead, len(b))])
	}
	return end, found
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
func (sc *scanner) between(b []byte) {
	next := byte(0)
	if len(b) > 1 {
		next = b[1]
	}
	switch c := b[0]; {
	case c == ';':
		sc.start = true
	case c == '$' && !(next >= '0' && next <= '9'), c == '\'', c == '"':
		sc.quoted = true
	case c == '/' && next == '*', c == '-' && next == '-':
		sc.before = sc.before || sc.start
	case c == '*' && next == '/', c == '\n', c == '\r':
		sc.start, sc.before = sc.start || sc.before, false
	}
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
func (sc *scanner) word(w, rest []byte) bool {
	if sc.start && first(w, rest) {
		return true
	}
	sc.start = false
	switch {
	case len(w) == 1 && w[0]|0x20 == 'u' && len(rest) > 1 && rest[0] == '&' && (rest[1] == '"' || rest[1] == '\''):
		return true // a name in escapes
	case sc.update && is(w, "pg_settings"):
		return true // a rule makes a SET of it
	case is(w, "update"):
		sc.update = true
	}
	return stateful(w)
}

// first judges the first word of a statement.
func first(w, rest []byte) bool {
	switch {
	case is(w, "set"):
		next := firstWord(rest)
		return !is(next, "local") && !is(next, "transaction") && !is(next, "constraints")
	case is(w, "prepare"):
		return !is(firstWord(rest), "transaction")
	case is(w, "reset"), is(w, "discard"), is(w, "deallocate"), is(w, "do"), is(w, "load"), is(w, "listen"),
		is(w, "unlisten"), is(w, "close"), is(w, "drop"):
		return true
	}
	return false
}

// stateful judges a word wherever it stands.
func stateful(w []byte) bool {
	switch len(w) {
	case 4:
		return is(w, "temp") || is(w, "hold")
	case 7:
		if is(w, "currval") || is(w, "lastval") || is(w, "setseed") || is(w, "execute") {
			return true
		}
	case 9:
		if is(w, "temporary") {
			return true
		}
	case 10:
		if is(w, "set_config") {
			return true
		}
	}
	if hasPrefix(w, "pg_") {
		switch {
		case hasPrefix(w, "pg_temp"), hasPrefix(w, "pg_replication_origin_session"), hasPrefix(w, "pg_create_"),
			hasPrefix(w, "pg_copy_"), hasPrefix(w, "pg_backup_"), is(w, "pg_backend_pid"), is(w, "pg_terminate_backend"), is(w, "pg_cancel_backend"):
			return true
		case hasPrefix(w, "pg_advisory_xact"), hasPrefix(w, "pg_try_advisory_xact"):
			return false // ends with its transaction
		}
		return hasPrefix(w, "pg_advisory_") || hasPrefix(w, "pg_try_advisory")
	}
	return len(w) > 6 && hasPrefix(w, "dblink_") || runsText(w)
}

// runsText names the functions that run SQL given to them as a value.
func runsText(w []byte) bool {
	switch w[0] | 0x20 {
	case 'q':
		return hasPrefix(w, "query_to_xml")
	case 'c':
		return hasPrefix(w, "cursor_to_xml") || hasPrefix(w, "crosstab") || is(w, "connectby")
	case 't':
		return is(w, "ts_stat") || is(w, "ts_rewrite")
	case 'x':
		return is(w, "xpath_table")
	}
	return false
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
	for end < len(sql) && isName(sql[end]) {
		end++
	}
	return sql[i:end]
}
