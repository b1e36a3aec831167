package hba

import "strings"

// token is one word of a file.
type token struct {
	text         string
	quoted       bool // it began with a double quote: then it is no keyword
	line, column int  // from 1; columns in bytes
}

// line is one line of a file: fields, each of one or more words with commas between.
type line struct {
	fields [][]token
	number int
}

// scanner cuts a file into words as PostgreSQL does: blanks end a field, commas go on with it, # begins a comment, a
// backslash at the end of a line joins it with the next, and in double quotes nothing of that counts.
type scanner struct {
	text         string
	at           int
	line, column int
	fault        func(line, column int, text string)
}

// lines cuts the whole file.
func (s *scanner) lines() []line {
	s.text = strings.TrimPrefix(s.text, "\ufeff")
	s.line, s.column = 1, 1
	var all []line
	for s.at < len(s.text) {
		l := line{number: s.line}
		for {
			field, more := s.field()
			if len(field) > 0 {
				l.fields = append(l.fields, field)
			}
			if !more {
				break
			}
		}
		if len(l.fields) > 0 {
			all = append(all, l)
		}
	}
	return all
}

// peek is the next byte, 0 at the end of a line or of the file. Lines that are joined are one.
func (s *scanner) peek() byte {
	for s.at < len(s.text) && s.text[s.at] == '\\' {
		rest := strings.TrimLeft(s.text[s.at+1:], "\r")
		if !strings.HasPrefix(rest, "\n") {
			break
		}
		s.at = len(s.text) - len(rest) + 1
		s.line++
		s.column = 1
	}
	if s.at >= len(s.text) || s.text[s.at] == '\n' {
		return 0
	}
	return s.text[s.at]
}

// skip passes over the byte that peek has shown.
func (s *scanner) skip() {
	s.at++
	s.column++
}

// endLine passes over the end of a line.
func (s *scanner) endLine() {
	s.at++
	s.line++
	s.column = 1
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// field reads the words up to the next blank; more is false at the end of the line.
func (s *scanner) field() (words []token, more bool) {
	for {
		for c := s.peek(); isBlank(c) || c == ','; c = s.peek() {
			s.skip()
		}
		if s.peek() == '#' {
			for s.peek() != 0 {
				s.skip()
			}
		}
		if s.peek() == 0 && !s.isNUL() {
			s.endLine()
			return words, false
		}
		word, comma := s.word()
		words = append(words, word)
		if !comma {
			return words, true
		}
	}
}

// isNUL tells a byte of value 0 in the text from its end.
func (s *scanner) isNUL() bool { return s.at < len(s.text) && s.text[s.at] == 0 }

// word reads one word; comma is true where another follows.
func (s *scanner) word() (t token, comma bool) {
	t = token{line: s.line, column: s.column, quoted: s.peek() == '"'}
	var b strings.Builder
	inside, justClosed := false, false
	for {
		c := s.peek()
		switch {
		case c == 0 && s.isNUL():
			s.fault(s.line, s.column, "a NUL byte")
		case c == 0, !inside && (isBlank(c) || c == ',' || c == '#'):
			if inside {
				s.fault(t.line, t.column, "a double quote is not closed")
			}
			if t.text = b.String(); c == ',' {
				s.skip()
			}
			return t, c == ','
		case c == '"':
			if inside = !inside; inside && justClosed { // two quotes within quotes stand for one
				b.WriteByte('"')
			}
			justClosed = !inside
			s.skip()
			continue
		default:
			b.WriteByte(c)
		}
		justClosed = false
		s.skip()
	}
}
