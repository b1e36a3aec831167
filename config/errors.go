package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing that is wrong with the file.
type Error struct {
	File         string
	Line, Column int    // from 1
	Key          string // empty where the file as a whole is meant
	Text         string // "must be at least 1, got 0"
}

// Error is the line an operator sees: sarnic.yaml:12:5: pool.size: must be at least 1, got 0.
func (e *Error) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Text)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", e.File, e.Line, e.Column, e.Key, e.Text)
}

// Errors is everything that is wrong with the file, in its order.
type Errors []*Error

// Error has one line per mistake.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// sorted returns a copy in the order of the file, each mistake once: one in an anchor is found again at every alias, and
// a value that could not be read may look wrong to its owner too.
func (es Errors) sorted() Errors {
	sorted := slices.Clone(es)
	slices.SortStableFunc(sorted, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
	return slices.CompactFunc(sorted, func(a, b *Error) bool {
		return a.Line == b.Line && a.Column == b.Column && (a.Key == b.Key || a.Text == b.Text)
	})
}
