package admin

import "strings"

// token is one word, name, text or sign of a statement.
type token struct {
	kind kind
	text string // of a quoted one what it stands for
}

type kind uint8

const (
	word      kind = iota // as it was written; also a number
	name                  // a quoted identifier
	text                  // a literal
	sign                  // one character
	parameter             // $1
	broken                // a quote or comment without an end
)

// is reports whether t is the keyword w, in whatever case.
func (t token) is(w string) bool { return t.kind == word && strings.EqualFold(t.text, w) }

// names reports whether t can name something: a word or a quoted identifier.
func (t token) names() bool { return t.kind == word || t.kind == name }

// isSign reports whether t is the character c.
func (t token) isSign(c string) bool { return t.kind == sign && t.text == c }

// space is what SQL takes for it.
const space = " \t\n\r\f\v"

// command is the tokens of one statement, and its text for messages.
type command struct {
	tokens []token
	text   string
}

// split cuts a text at its semicolons. Empty statements are left out.
func split(sql string) []command {
	var all []command
	var now command
	start := 0
	end := func(at int) {
		if len(now.tokens) > 0 {
			now.text = strings.Trim(sql[start:at], space)
			all = append(all, now)
		}
		now, start = command{}, at+1
	}
	for at := 0; at < len(sql); {
		t, n := lex(sql[at:])
		switch {
		case n > 0 && t.isSign(";"):
			end(at)
		case t.text != "" || t.kind != sign:
			now.tokens = append(now.tokens, t)
		}
		at += n
	}
	end(len(sql))
	return all
}

// lex reads the token at the start of s, which is not empty, and returns how long it is. A sign without text is white
// space or a comment.
func lex(s string) (t token, n int) {
	c := s[0]
	switch {
	case strings.IndexByte(space, c) >= 0:
		return token{kind: sign}, 1
	case strings.HasPrefix(s, "--"):
		if n = strings.IndexAny(s, "\n\r"); n < 0 {
			n = len(s)
		}
		return token{kind: sign}, n
	case strings.HasPrefix(s, "/*"):
		if n = commentEnd(s); n < 0 {
			return token{kind: broken, text: s}, len(s)
		}
		return token{kind: sign}, n
	case c == '\'':
		return quoted(s, text)
	case c == '"':
		return quoted(s, name)
	case c == '$' && len(s) > 1 && isDigit(s[1]):
		n = 1 + span(s[1:], isDigit)
		return token{parameter, s[:n]}, n
	case isWord(c):
		n = span(s, isWord)
		return token{word, s[:n]}, n
	}
	return token{sign, s[:1]}, 1
}

// commentEnd is the length of the comment at the start of s, in which others may be nested; -1 where it has no end.
func commentEnd(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); i++ {
		switch s[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			i++
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// quoted reads up to the end of the quotes that s begins with; doubled ones stand for one.
func quoted(s string, k kind) (token, int) {
	quote := s[:1]
	var b strings.Builder
	for rest := s[1:]; ; {
		i := strings.Index(rest, quote)
		if i < 0 {
			return token{broken, s}, len(s)
		}
		b.WriteString(rest[:i])
		rest = rest[i+1:]
		if !strings.HasPrefix(rest, quote) {
			return token{k, b.String()}, len(s) - len(rest)
		}
		b.WriteString(quote)
		rest = rest[1:]
	}
}

func span(s string, in func(byte) bool) int {
	for i := range len(s) {
		if !in(s[i]) {
			return i
		}
	}
	return len(s)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= 0x80
}
