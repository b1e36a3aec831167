package hba

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Mistake is a place in a file that cannot be understood.
type Mistake struct {
	File         string
	Line, Column int // from 1; columns in bytes
	Text         string
}

// Error is the line an operator sees.
func (m Mistake) Error() string { return fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Column, m.Text) }

// Files is how files are read; this package opens none.
type Files struct {
	Read func(path string) (string, error)
	List func(folder string) (names []string, err error) // the files of a folder
}

// maxDepth is how deep files may include others, as in PostgreSQL; maxFiles bounds their number.
const (
	maxDepth = 10
	maxFiles = 1000
)

// reader reads a file and those it includes.
type reader struct {
	files    Files
	read     int
	mistakes []Mistake
	use      func(path string, l line) // of each line that is no include
}

func (r *reader) mistake(path string, line, column int, format string, args ...any) {
	r.mistakes = append(r.mistakes, Mistake{path, line, column, fmt.Sprintf(format, args...)})
}

// file reads one file. The error is that of opening it.
func (r *reader) file(path string, depth int) error {
	lines, err := r.scan(path, depth)
	if err != nil {
		return err
	}
	for _, l := range lines {
		if !r.include(path, l, depth) {
			r.use(path, r.expand(path, l, depth))
		}
	}
	return nil
}

var (
	errTooDeep  = fmt.Errorf("files include each other more than %d deep", maxDepth)
	errTooMany  = fmt.Errorf("more than %d files are included", maxFiles)
	errNoFolder = errors.New("folders cannot be included here")
)

func (r *reader) scan(path string, depth int) ([]line, error) {
	if r.read++; depth > maxDepth {
		return nil, errTooDeep
	}
	if r.read > maxFiles {
		return nil, errTooMany
	}
	text, err := r.files.Read(path)
	if err != nil {
		return nil, err
	}
	s := scanner{text: text, fault: func(line, column int, fault string) { r.mistake(path, line, column, "%s", fault) }}
	return s.lines(), nil
}

// include reads the files that the line names, if it is one of the three forms for that.
func (r *reader) include(path string, l line, depth int) bool {
	word := l.fields[0][0]
	switch word.text {
	case "include", "include_if_exists", "include_dir":
	default:
		return false
	}
	if len(l.fields) != 2 || len(l.fields[0]) != 1 || len(l.fields[1]) != 1 {
		r.mistake(path, word.line, word.column, "%s needs one path", word.text)
		return true
	}
	named := l.fields[1][0]
	target := within(path, named.text)
	targets := []string{target}
	var err error
	if word.text == "include_dir" {
		targets, err = r.folder(target)
	}
	for _, one := range targets {
		if failed := r.file(one, depth+1); failed != nil && err == nil {
			err = failed
		}
	}
	if err != nil && (word.text != "include_if_exists" || !errors.Is(err, fs.ErrNotExist)) {
		r.mistake(path, named.line, named.column, "cannot be included: %v", err)
	}
	return true
}

// folder lists the files that PostgreSQL takes from an included folder, in its order.
func (r *reader) folder(path string) ([]string, error) {
	if r.files.List == nil {
		return nil, errNoFolder
	}
	names, err := r.files.List(path)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return strings.HasPrefix(name, ".") || !strings.HasSuffix(name, ".conf")
	})
	slices.Sort(names)
	for i, name := range names {
		names[i] = filepath.Join(path, name)
	}
	return names, nil
}

// expand puts the words of a file in the place of each @file.
func (r *reader) expand(path string, l line, depth int) line {
	fields := make([][]token, len(l.fields))
	for i, field := range l.fields {
		for _, t := range field {
			if !t.quoted && len(t.text) > 1 && t.text[0] == '@' {
				fields[i] = append(fields[i], r.words(path, t, depth)...)
			} else {
				fields[i] = append(fields[i], t)
			}
		}
		if len(fields[i]) == 0 { // an empty file: the field stays, and matches nothing
			fields[i] = []token{{quoted: true, line: field[0].line, column: field[0].column}}
		}
	}
	return line{fields: fields, number: l.number}
}

// words are all the words of the file that t names.
func (r *reader) words(path string, t token, depth int) (all []token) {
	target := within(path, t.text[1:])
	lines, err := r.scan(target, depth+1)
	if err != nil {
		r.mistake(path, t.line, t.column, "cannot be included: %v", err)
		return nil
	}
	for _, l := range lines {
		for _, field := range r.expand(target, l, depth+1).fields {
			for _, word := range field {
				word.line, word.column = t.line, t.column // the place that an operator looks at
				all = append(all, word)
			}
		}
	}
	return all
}

// within is the path that a file names, from its own folder.
func within(file, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}
