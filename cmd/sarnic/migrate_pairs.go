package main

import (
	"strings"
	"unicode/utf8"
)

// pairs are the key=value of one line in [databases], [users] or [peers]. Of a key that is there twice the last counts.
type pairs struct {
	line   iniLine // the whole
	values map[string]iniLine
	keys   []string // in the order of the line
}

// readPairs reads the value of l. A mistake is recorded, and what was read before it remains.
func (r *ini) readPairs(l iniLine) pairs {
	p := pairs{line: l, values: make(map[string]iniLine)}
	at := func(rest string) int { return l.column + utf8.RuneCountInString(l.value[:len(l.value)-len(rest)]) }
	for rest := strings.TrimLeft(l.value, " \t"); rest != ""; rest = strings.TrimLeft(rest, " \t") {
		one := l
		one.column = at(rest)
		name, after, ok := strings.Cut(rest, "=")
		name = strings.TrimRight(name, " \t")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			r.wrong(one, "must be key=value")
			return p
		}
		after = strings.TrimLeft(after, " \t")
		one.column = at(after)
		one.key = l.key + ": " + name
		if one.value, rest, ok = cutValue(after); !ok || one.value == "" {
			r.wrong(one, "must have a value, in single quotes that end if it has spaces")
			return p
		}
		if _, twice := p.values[name]; !twice {
			p.keys = append(p.keys, name)
		}
		p.values[name] = one
	}
	return p
}

// cutValue reads a value up to the next space, or up to the end of its quotes.
func cutValue(text string) (value, rest string, ok bool) {
	if strings.HasPrefix(text, "'") {
		value, rest, ok = unquote(text, "'")
		return value, rest, ok && (rest == "" || rest[0] == ' ' || rest[0] == '\t')
	}
	if end := strings.IndexAny(text, " \t"); end >= 0 {
		return text[:end], text[end:], true
	}
	return text, "", true
}

// get is the value of a key, "" without it.
func (p pairs) get(name string) string { return p.values[name].value }

// has reports whether the line has the key.
func (p pairs) has(name string) bool { _, ok := p.values[name]; return ok }
