package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// Section is a block of the file whose decoding waits until its defaults are known: the pool of one database starts from
// what the file says for all pools. The zero Section is an absent block.
type Section struct {
	doc  *Document
	node *node
	key  string
}

// Decode writes the section's values over target, a pointer to a struct. See Document.Decode.
func (s Section) Decode(target any) {
	if s.node != nil {
		s.doc.decode(s.node, s.key, reflect.ValueOf(target).Elem())
	}
}

// Decode writes the file's values over target, a pointer to a struct filled with defaults. What is wrong is recorded, and
// the field keeps its default.
//
// A field's key is its name in lower case with underscores (MinSize: min_size), or its tag `key:"…"`; "-" hides it, and
// fields that no file can set (functions, channels, interfaces) have none. Fields may be strings, booleans, numbers,
// time.Duration, anything with UnmarshalText, Sections, structs, lists, maps by name, and pointers to these. A list is
// replaced as a whole; a map's entries are added.
func (d *Document) Decode(target any) {
	d.decode(d.root, "", reflect.ValueOf(target).Elem())
}

func (d *Document) decode(n *node, key string, v reflect.Value) {
	if v.Type() == reflect.TypeFor[Section]() {
		v.Set(reflect.ValueOf(Section{d, n, key}))
		return
	}
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.decodeText(n, key, text)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.decode(n, key, v.Elem())
	case reflect.Struct:
		d.decodeStruct(n, key, v)
	case reflect.Map:
		d.decodeMap(n, key, v)
	case reflect.Slice:
		d.decodeList(n, key, v)
	default:
		d.decodeScalar(n, key, v)
	}
}

func (d *Document) decodeStruct(n *node, key string, v reflect.Value) {
	if !d.isMapping(n, key) {
		return
	}
	fields := fieldsOf(v.Type())
	for _, f := range n.fields {
		i := slices.IndexFunc(fields, func(known structField) bool { return known.key == f.name })
		if i < 0 {
			d.addAt(f.place, join(key, f.name), "unknown key"+suggestion(f.name, fields))
			continue
		}
		d.decode(f.value, join(key, f.name), v.Field(fields[i].index))
	}
}

func (d *Document) decodeMap(n *node, key string, v reflect.Value) {
	if !d.isMapping(n, key) {
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(v.Type(), len(n.fields)))
	}
	for _, f := range n.fields {
		entry := reflect.New(v.Type().Elem()).Elem()
		d.decode(f.value, join(key, f.name), entry)
		v.SetMapIndex(reflect.ValueOf(f.name).Convert(v.Type().Key()), entry)
	}
}

func (d *Document) decodeList(n *node, key string, v reflect.Value) {
	if n.kind == scalar && n.null {
		return
	}
	if n.kind != list {
		d.addAt(n.place, key, "must be a list, got "+n.what())
		return
	}
	items := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		d.decode(item, Index(key, i), items.Index(i))
	}
	v.Set(items)
}

// isMapping reports whether n has keys to look at. A block with nothing in it is fine: everything in it is commented out.
func (d *Document) isMapping(n *node, key string) bool {
	if n.kind != mapping && !n.null {
		d.addAt(n.place, key, "must be a block of keys, got "+n.what())
	}
	return n.kind == mapping
}

type structField struct {
	key   string
	index int
}

func fieldsOf(t reflect.Type) []structField {
	var fields []structField
	for i := range t.NumField() {
		f := t.Field(i)
		key, tagged := f.Tag.Lookup("key")
		if !tagged {
			key = snake(f.Name)
		}
		switch f.Type.Kind() {
		case reflect.Func, reflect.Chan, reflect.Interface, reflect.UnsafePointer:
			continue
		}
		if f.IsExported() && key != "-" {
			fields = append(fields, structField{key, i})
		}
	}
	return fields
}

// snake is the key of a field: MinSize is min_size, ClientCA is client_ca, TLSMode is tls_mode.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 {
			afterLower := !unicode.IsUpper(runes[i-1])
			beforeLower := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if afterLower || beforeLower {
				b.WriteByte('_')
			}
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// Keys lists every key that Decode knows for the type of schema, in the order of its fields: "pool.size",
// "databases.*.upstream". A Section is listed as one key, since only its owner knows what is in it.
func Keys(schema any) []string {
	return keysOf(reflect.TypeOf(schema), "")
}

func keysOf(t reflect.Type, key string) []string {
	switch {
	case t == reflect.TypeFor[Section](), reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return []string{key}
	case t.Kind() == reflect.Pointer:
		return keysOf(t.Elem(), key)
	case t.Kind() == reflect.Map:
		return keysOf(t.Elem(), join(key, "*"))
	case t.Kind() == reflect.Struct:
		var keys []string
		for _, f := range fieldsOf(t) {
			keys = append(keys, keysOf(t.Field(f.index).Type, join(key, f.key))...)
		}
		return keys
	default:
		return []string{key}
	}
}

// suggestion is `, did you mean "size"?` where one of the known keys is close, and otherwise the keys there are.
func suggestion(name string, fields []structField) string {
	const longest = 40 // no key is longer; spares the distance to a line of rubbish
	best, known := len(name)/3+2, make([]string, len(fields))
	near := ""
	for i, f := range fields {
		known[i] = f.key
		if len(name) > longest {
			continue
		}
		if d := distance(name, f.key); d < best {
			best, near = d, f.key
		}
	}
	if near != "" {
		return fmt.Sprintf(", did you mean %q?", near)
	}
	return ", known here: " + strings.Join(known, ", ")
}

// distance is the number of letters to insert, delete or replace to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
