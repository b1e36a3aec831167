package admin

import (
	"context"
	"strconv"
	"strings"
)

// selects is SELECT: of a view, as SHOW, or of constants and the few functions that drivers and connection pools call to see
// whether somebody is there.
func (s *session) selects(rest []token) *statement {
	if len(rest) == 1 && rest[0].names() {
		if st := s.show(rest, "SELECT #"); st != nil {
			return st
		}
	}
	if len(rest) == 3 && rest[0].isSign("*") && rest[1].is("from") && rest[2].names() {
		return s.show(rest[2:], "SELECT #")
	}
	if readsTypes(rest) {
		return &statement{columns: []column{{"oid", 'i'}}, run: func(context.Context, *session) (result, error) {
			return result{tag: "SELECT #"}, nil
		}}
	}
	st := &statement{}
	var values []func(*session) any
	for _, item := range items(rest) {
		c, value, ok := constant(item)
		if !ok {
			return nil
		}
		st.columns = append(st.columns, c)
		values = append(values, value)
	}
	if len(values) == 0 {
		return nil
	}
	st.run = func(_ context.Context, s *session) (result, error) {
		row := make([]any, len(values))
		for i, value := range values {
			row[i] = value(s)
		}
		return result{rows: [][]any{row}, tag: "SELECT #"}, nil
	}
	return st
}

// readsTypes recognises how a driver asks for the types that it does not know by itself. There are none.
func readsTypes(rest []token) bool {
	for i := range rest {
		if rest[i].is("from") {
			rest = rest[i+1:]
			if len(rest) > 2 && rest[0].is("pg_catalog") && rest[1].isSign(".") {
				rest = rest[2:]
			}
			return len(rest) > 0 && rest[0].is("pg_type")
		}
	}
	return false
}

// items cuts a select list at its commas.
func items(rest []token) [][]token {
	var all [][]token
	start := 0
	for i, t := range rest {
		if t.isSign(",") {
			all = append(all, rest[start:i])
			start = i + 1
		}
	}
	return append(all, rest[start:])
}

// constant understands one item of a select list, with its name behind AS or without.
func constant(item []token) (c column, value func(*session) any, ok bool) {
	if n := len(item); n > 2 && item[n-2].is("as") && item[n-1].names() {
		c, value, ok = constant(item[:n-2])
		c.name = item[n-1].text
		return c, value, ok
	}
	if len(item) > 2 && item[0].is("pg_catalog") && item[1].isSign(".") {
		item = item[2:]
	}
	if len(item) == 0 {
		return c, nil, false
	}
	fixed := func(v any) func(*session) any { return func(*session) any { return v } }
	called := len(item) == 3 && item[1].isSign("(") && item[2].isSign(")")
	switch t := item[0]; {
	case len(item) == 1 && t.kind == text:
		return column{"?column?", 's'}, fixed(t.text), true
	case len(item) == 1 && t.is("null"):
		return column{"?column?", 's'}, fixed(nil), true
	case len(item) == 1 && t.kind == word && isDigit(t.text[0]):
		n, err := strconv.ParseInt(t.text, 10, 32)
		return column{"?column?", 'i'}, fixed(n), err == nil
	case t.kind == word && (called || len(item) == 1):
		return function(strings.ToLower(t.text), called)
	}
	return c, nil, false
}

// function is what the function of that name says, called or, where SQL has a keyword of it, merely named.
func function(name string, called bool) (c column, value func(*session) any, ok bool) {
	c = column{name, 's'}
	switch {
	case !called && (name == "current_user" || name == "session_user" || name == "user"):
		return c, func(s *session) any { return s.who.User }, true
	case name == "current_database" && called, name == "current_catalog" && !called:
		return c, func(*session) any { return Database }, true
	case name == "current_schema":
		return c, func(*session) any { return nil }, true
	case name == "version" && called:
		return c, func(s *session) any { return versionText(s.console.Version) }, true
	case name == "pg_advisory_unlock_all" && called:
		return c, func(*session) any { return "" }, true
	case name == "pg_backend_pid" && called:
		return column{name, 'i'}, func(s *session) any { return int64(s.who.PID) }, true
	case name == "pg_is_in_recovery" && called:
		return column{name, 't'}, func(*session) any { return false }, true
	}
	return c, nil, false
}
