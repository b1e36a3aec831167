package config

import "strconv"

type kind uint8

const (
	scalar kind = iota
	list
	mapping
)

// place is a position in the file, both counted from 1.
type place struct{ line, column int }

// node is one value of the document. Aliases are gone: each use has its own copy, at the place where the anchor stands.
type node struct {
	kind     kind
	place    place  // a scalar's own; for lists and mappings that of the key that leads to them
	raw      string // scalar: what the file says. Errors show this
	text     string // scalar: raw with its variables expanded
	expanded bool   // scalar: text differs from raw
	broken   bool   // scalar: a variable could not be expanded; already reported
	quoted   bool   // scalar: written in quotes or as a block, so it is a string whatever it looks like
	null     bool   // scalar: nothing, ~ or null
	items    []*node
	fields   []field
}

type field struct {
	name  string
	place place // of the key
	value *node
}

// what names the kind of value the file has, for "must be …, got …".
func (n *node) what() string {
	switch {
	case n.kind == list:
		return "a list"
	case n.kind == mapping:
		return "a block of keys"
	case n.null:
		return "nothing"
	default:
		return shown(n.raw)
	}
}

// shown quotes text for an error message, cut to a readable length.
func shown(text string) string {
	const most = 60
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return strconv.Quote(text)
}

// towards returns the child of n, itself at the key own, that is key or lies on the way to it.
func (n *node) towards(key, own string) (*node, string) {
	for i, item := range n.items {
		if k := Index(own, i); isWithin(key, k) {
			return item, k
		}
	}
	for _, f := range n.fields {
		if k := join(own, f.name); isWithin(key, k) {
			return f.value, k
		}
	}
	return nil, ""
}
