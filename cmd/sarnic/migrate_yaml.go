package main

import (
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sarnicdb/sarnic/config"
	"github.com/sarnicdb/sarnic/pool"
)

// block is a part of sarnic.yaml: a key with a value, a list, or keys of its own.
type block struct {
	name    string
	value   string   // as the file has it
	list    []string // likewise
	keys    []*block
	comment string
}

// at is the block at the end of path, made where it is not there.
func (b *block) at(path ...string) *block {
	for _, name := range path {
		i := slices.IndexFunc(b.keys, func(k *block) bool { return k.name == name })
		if i < 0 {
			i = len(b.keys)
			b.keys = append(b.keys, &block{name: name})
		}
		b = b.keys[i]
	}
	return b
}

// has reports whether b has a key.
func (b *block) has(name string) bool {
	return slices.ContainsFunc(b.keys, func(k *block) bool { return k.name == name })
}

// set gives the key at path a value.
func (b *block) set(value, comment string, path ...string) {
	k := b.at(path...)
	k.value, k.comment = value, comment
}

// sort puts keys in the order of the schema. Names of databases and users, which it does not know, stay where they are.
func (b *block) sort(key string, order []string) {
	rank := func(k *block) int {
		return slices.IndexFunc(order, func(known string) bool {
			own := strings.TrimPrefix(key+"."+k.name, ".")
			return known == own || strings.HasPrefix(known, own+".")
		})
	}
	slices.SortStableFunc(b.keys, func(x, y *block) int { return rank(x) - rank(y) })
	for _, k := range b.keys {
		name := k.name
		if key == "databases" || key == "users" {
			name = "*"
		}
		k.sort(strings.TrimPrefix(key+"."+name, "."), order)
	}
}

// schemaKeys is every key of the file in its order.
func schemaKeys() []string {
	var all []string
	for _, key := range config.Keys(file{}) {
		if key != "databases.*.pool" {
			all = append(all, key)
			continue
		}
		for _, inner := range config.Keys(pool.Config{}) {
			all = append(all, key+"."+inner)
		}
	}
	return all
}

// write puts the keys of b out, the comments of a block in one column.
func (b *block) write(w io.Writer, indent string) error {
	const furthest = 44
	column := 0
	for _, k := range b.keys {
		if n := utf8.RuneCountInString(k.text()); k.comment != "" && n <= furthest {
			column = max(column, n)
		}
	}
	for _, k := range b.keys {
		line := indent + k.text()
		if k.comment != "" {
			line += strings.Repeat(" ", max(column-utf8.RuneCountInString(k.text()), 0)) + "  # " + k.comment
		}
		if _, err := io.WriteString(w, line+"\n"); err != nil {
			return err
		}
		for _, item := range k.list {
			if _, err := io.WriteString(w, indent+"  - "+item+"\n"); err != nil {
				return err
			}
		}
		if err := k.write(w, indent+"  "); err != nil {
			return err
		}
	}
	return nil
}

// text is the line of b without its comment.
func (b *block) text() string {
	if b.value == "" {
		return scalar(b.name) + ":"
	}
	return scalar(b.name) + ": " + b.value
}

// quoted is text as a value: the two characters that begin a variable are no variable.
func quoted(text string) string { return scalar(strings.ReplaceAll(text, "${", "$${")) }

// scalar is text as YAML has it, plain where it may be.
func scalar(text string) string {
	plain := regexp.MustCompile(`^[A-Za-z0-9/_.][A-Za-z0-9/_.=@${}(),'* +-]*$`)
	if plain.MatchString(text) && !strings.HasSuffix(text, " ") && text != "null" {
		return text
	}
	if number := regexp.MustCompile(`^[A-Za-z0-9./_-]+:[0-9]+$`); number.MatchString(text) {
		return text
	}
	return strconv.Quote(text)
}
