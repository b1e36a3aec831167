package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Bounds that no honest file comes near. An alias counts as all the nodes it repeats, so a "billion laughs" document ends
// at maxNodes, and a document that contains itself at maxDepth.
const (
	maxNodes = 100_000
	maxDepth = 40
)

// readYAML turns data into nodes. What is wrong with it is added to d; nil means that nothing could be made of it.
func readYAML(data []byte, d *Document) *node {
	if p, text, ok := badBytes(data); ok {
		d.addAt(p, "", text)
		return nil
	}
	root, more, err := parseYAML(data)
	switch {
	case err != nil:
		p, text := locate(data, err)
		d.addAt(p, "", "not valid YAML: "+text)
		return nil
	case root == nil: // an empty file sets nothing
		return &node{kind: mapping, place: place{1, 1}}
	case more:
		d.addAt(place{1, 1}, "", "more than one document (---) in the file")
	}
	r := reader{doc: d}
	n := r.convert(root, place{}, 0)
	if r.full {
		return nil
	}
	if n.kind == scalar && n.null {
		return &node{kind: mapping, place: place{1, 1}}
	}
	if n.kind != mapping {
		d.addAt(n.place, "", "must be a block of keys, got "+n.what())
		return nil
	}
	return n
}

// parseYAML returns the content of the first document, and whether another one follows.
func parseYAML(data []byte) (root *yaml.Node, more bool, err error) {
	// The library reports most errors by panicking inside and recovering at its edge; one it forgot to recover from must
	// not end a process that only wanted to look at a file.
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, fmt.Errorf("yaml: %v", r)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, false, nil
		}
		return nil, false, err
	}
	if err := decoder.Decode(&next); err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	} else if err == nil {
		more = true
	}
	return doc.Content[0], more, nil
}

// reader converts the library's nodes into ours.
type reader struct {
	doc   *Document
	nodes int
	full  bool // a bound was hit; the rest is not looked at
}

// convert returns y as a node. The place at is that of the key that leads to y; the zero place means there is none.
func (r *reader) convert(y *yaml.Node, at place, depth int) *node {
	own := place{y.Line, y.Column}
	n := &node{place: own}
	r.nodes++
	if r.full || r.tooLarge(own, depth) {
		return n
	}
	if y.Kind != yaml.AliasNode && y.Style&yaml.TaggedStyle != 0 {
		r.doc.addAt(own, "", fmt.Sprintf("tags are not supported, got %s", shown(y.Tag)))
	}
	switch y.Kind {
	case yaml.AliasNode:
		return r.convert(y.Alias, at, depth+1)
	case yaml.ScalarNode:
		n.raw, n.text = y.Value, y.Value
		n.quoted = y.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
		n.null = !n.quoted && (y.Value == "" || y.Value == "~" || y.Value == "null")
	case yaml.SequenceNode:
		n.kind = list
		for _, item := range y.Content {
			n.items = append(n.items, r.convert(item, place{}, depth+1))
		}
	case yaml.MappingNode:
		n.kind = mapping
		r.convertFields(n, y, depth)
	}
	if n.kind != scalar && at != (place{}) {
		n.place = at
	}
	return n
}

func (r *reader) convertFields(n *node, y *yaml.Node, depth int) {
	first := make(map[string]int) // line of the first field of that name
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, at := y.Content[i], place{y.Content[i].Line, y.Content[i].Column}
		line, again := first[k.Value]
		switch {
		case k.Kind != yaml.ScalarNode:
			r.doc.addAt(at, "", "a key must be a plain word")
		case k.Tag == "!!merge":
			r.doc.addAt(at, "", "merge keys (<<) are not supported")
		case again:
			r.doc.addAt(at, "", fmt.Sprintf("duplicate key %s, first on line %d", shown(k.Value), line))
		default:
			first[k.Value] = k.Line
			n.fields = append(n.fields, field{k.Value, at, r.convert(y.Content[i+1], at, depth+1)})
		}
	}
}

func (r *reader) tooLarge(at place, depth int) bool {
	switch {
	case depth > maxDepth:
		r.doc.addAt(at, "", fmt.Sprintf("nested more than %d levels deep", maxDepth))
	case r.nodes > maxNodes:
		r.doc.addAt(at, "", fmt.Sprintf("more than %d values, repetitions by aliases included", maxNodes))
	default:
		return false
	}
	r.full = true
	return true
}

// badBytes finds what YAML forbids anywhere, before the library can report it without a position.
func badBytes(data []byte) (place, string, bool) {
	p := place{1, 1}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return p, "not UTF-8 text", true
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return p, fmt.Sprintf("control character %#02x", r), true
		case r == '\n':
			p = place{p.line + 1, 0}
		}
		i += size
		p.column++
	}
	return p, "", false
}

// locate says where data stops being YAML. The library's own line is that of the block it was reading, or one less, so
// the place is found by asking it for the shortest part of the file, in whole lines, with the same error.
func locate(data []byte, err error) (place, string) {
	lines := bytes.SplitAfter(data, []byte("\n"))
	end := make([]int, len(lines)) // of each line in data
	for i, at := 0, 0; i < len(lines); i++ {
		at += len(lines[i])
		end[i] = at
	}
	i := sort.Search(len(lines)-1, func(i int) bool {
		_, _, e := parseYAML(data[:end[i]])
		return e != nil && e.Error() == err.Error()
	})
	text := regexp.MustCompile(`^yaml: (line \d+: )?`).ReplaceAllString(err.Error(), "")
	indent := len(lines[i]) - len(bytes.TrimLeft(lines[i], " "))
	if bytes.HasPrefix(lines[i][indent:], []byte("\t")) {
		text = "a tab cannot indent, use spaces"
	}
	return place{i + 1, indent + 1}, text
}
