package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxFile is far above any file written by hand or rendered by a chart (a ConfigMap may hold 1 MiB).
const maxFile = 1 << 20

// LookupEnv finds an environment variable, as os.LookupEnv does.
type LookupEnv func(name string) (value string, found bool)

// Document is one configuration file that was well-formed YAML. It collects what is found wrong with its contents.
// It is not safe for concurrent use.
type Document struct {
	name string
	root *node
	errs Errors

	files []string // that its values stand in
}

// Load reads the file at path and expands its variables. An error means that there is nothing to decode: the file could
// not be read, or is not YAML (then it is an Errors). Everything else is reported by Document.Err.
func Load(path string, env LookupEnv) (*Document, error) {
	data, err := readBounded(path, maxFile)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, env)
}

// Parse is Load for contents already in memory. The name is used in errors, and its folder for relative ${file:…} paths.
func Parse(name string, data []byte, env LookupEnv) (*Document, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, maxFile)
	}
	d := &Document{name: name}
	d.root = readYAML(data, d)
	if d.root == nil {
		return nil, d.Err()
	}
	expand := expansion{env: env, folder: filepath.Dir(name), files: &d.files}
	d.visit(d.root, "", expand)
	return d, nil
}

// visit expands the scalars of n, whose key is key.
func (d *Document) visit(n *node, key string, expand expansion) {
	switch n.kind {
	case scalar:
		text, err := expand.apply(n.raw)
		if err != nil {
			d.addAt(n.place, key, err.Error())
		}
		n.expanded = text != n.raw
		n.text = text
		n.broken = err != nil
	case list:
		for i, item := range n.items {
			d.visit(item, Index(key, i), expand)
		}
	case mapping:
		for _, f := range n.fields {
			d.visit(f.value, join(key, f.name), expand)
		}
	}
}

// Files lists the files that ${file:…} named, whether they could be read or not.
func (d *Document) Files() []string { return d.files }

// Has reports whether the file sets the key, to whatever value.
func (d *Document) Has(key string) bool {
	_, found := d.nearest(key)
	return found == key
}

// Add records that the value of key is wrong. A key the file does not have (a missing one, say) is reported at the nearest
// block around it.
func (d *Document) Add(key, text string) {
	n, _ := d.nearest(key)
	d.addAt(n.place, key, text)
}

// nearest returns the deepest node on the way to key, and that node's own key.
func (d *Document) nearest(key string) (*node, string) {
	n, at := d.root, ""
	for {
		below, belowKey := n.towards(key, at)
		if below == nil {
			return n, at
		}
		n, at = below, belowKey
	}
}

func (d *Document) addAt(p place, key, text string) {
	d.errs = append(d.errs, &Error{File: d.name, Line: p.line, Column: p.column, Key: key, Text: text})
}

// Err returns everything found wrong so far as an Errors in the order of the file, or nil.
func (d *Document) Err() error {
	if len(d.errs) == 0 {
		return nil
	}
	return d.errs.sorted()
}

// readBounded reads a regular file of at most limit bytes. Anything else (a directory, a pipe that never ends) is refused
// before it is read.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(f, limit+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > limit {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return b.Bytes(), nil
}
