package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/sarnicdb/sarnic/config"
)

// Bounds on files of PgBouncer. The depth is PgBouncer's own. Files that include each other reach it, or the number of lines,
// and then nothing more is read.
const (
	maxIni      = 1 << 20
	maxIncludes = 10
	maxLines    = 100_000
)

// iniLine is one key = value, or the beginning of a section, where the key is empty.
type iniLine struct {
	section, key, value string
	file                string
	line, column        int // of the value; of a section its own
}

// ini is a pgbouncer.ini with all that it includes.
type ini struct {
	path     string // as the command line has it
	lines    []iniLine
	mistakes config.Errors
	section  string // the one that lines go to; it goes on behind the end of an included file
	read     int    // lines
	full     bool   // a bound was reached
}

// readIni reads the file at path. What is wrong with it is in mistakes; the error is that of opening it.
func readIni(path string) (*ini, error) {
	r := &ini{path: path}
	err := r.include(path, 0)
	return r, err
}

func (r *ini) include(path string, depth int) error {
	text, err := readText(path, maxIni)
	if err != nil {
		return err
	}
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		if r.full {
			return nil
		}
		number++
		r.read++
		l := iniReader{ini: r, file: path, number: number, text: strings.TrimRight(line, " \t\r\n\v\f"), depth: depth}
		if !utf8.ValidString(line) || strings.ContainsRune(line, 0) {
			l.mistake("not UTF-8 text")
			continue
		}
		if r.read > maxLines {
			r.full = true
			l.mistake("more than %d lines with all that is included", maxLines)
			return nil
		}
		l.parse()
	}
	return nil
}

// wrong records a mistake at the value of l.
func (r *ini) wrong(l iniLine, format string, args ...any) {
	r.mistakes = append(r.mistakes, &config.Error{
		File: l.file, Line: l.line, Column: l.column, Key: l.key, Text: fmt.Sprintf(format, args...),
	})
}

// iniReader reads one line. Spaces at its end are gone.
type iniReader struct {
	*ini
	file   string
	number int
	text   string
	at     int // what of text has been read, in bytes
	depth  int
}

func (l *iniReader) mistake(format string, args ...any) {
	l.wrong(iniLine{file: l.file, line: l.number, column: utf8.RuneCountInString(l.text[:l.at]) + 1}, format, args...)
}

func (l *iniReader) skip(spaces string) {
	l.at = len(l.text) - len(strings.TrimLeft(l.text[l.at:], spaces))
}

// parse goes over the line. Behind a section something else may follow, as in PgBouncer.
func (l *iniReader) parse() {
	for {
		l.skip(" \t\v\f")
		rest := l.text[l.at:]
		switch {
		case rest == "" || rest[0] == ';' || rest[0] == '#':
			return
		case strings.HasPrefix(rest, "%include ") || strings.HasPrefix(rest, "%include\t"):
			l.at += len("%include")
			l.skip(" \t")
			l.included(l.text[l.at:])
			return
		case rest[0] != '[':
			l.pair()
			return
		case !l.begin():
			return
		}
	}
}

// begin reads [section].
func (l *iniReader) begin() bool {
	name, _, closed := strings.Cut(l.text[l.at+1:], "]")
	switch {
	case !closed:
		l.mistake("[ without ]")
		return false
	case name != "pgbouncer" && name != "databases" && name != "users" && name != "peers":
		l.mistake("unknown section [%s]: there are [pgbouncer], [databases], [users] and [peers]", name)
	}
	l.section = name
	l.lines = append(l.lines, iniLine{section: name, file: l.file, line: l.number, column: l.at + 1})
	l.at += len(name) + len("[]")
	return true
}

// pair reads key = value.
func (l *iniReader) pair() {
	start := l.at
	key, ok := l.key()
	if !ok {
		return
	}
	l.skip(" \t")
	if !strings.HasPrefix(l.text[l.at:], "=") || key == "" {
		l.mistake("must be a section, a comment, %%include or key = value")
		return
	}
	l.at++
	l.skip(" \t")
	if l.section == "" {
		l.at = start
		l.mistake("stands before the first [section]")
		return
	}
	l.lines = append(l.lines, iniLine{
		section: l.section, key: key, value: l.text[l.at:], file: l.file, line: l.number,
		column: utf8.RuneCountInString(l.text[:l.at]) + 1,
	})
}

// key reads a name. PgBouncer takes others in single quotes, and its manual says double ones.
func (l *iniReader) key() (string, bool) {
	rest := l.text[l.at:]
	if quote := rest[:1]; quote == "'" || quote == `"` {
		name, after, ok := unquote(rest, quote)
		if !ok {
			l.mistake("%s without its end", quote)
			return "", false
		}
		l.at = len(l.text) - len(after)
		return name, true
	}
	end := strings.IndexFunc(rest, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("_.-*", c)
	})
	if end < 0 {
		end = len(rest)
	}
	l.at += end
	return rest[:end], true
}

// unquote reads text up to the end of the quotes that it begins with; two of them stand for one.
func unquote(text, quote string) (inner, after string, ok bool) {
	var b strings.Builder
	for rest := text[1:]; ; {
		before, behind, found := strings.Cut(rest, quote)
		if !found {
			return "", "", false
		}
		b.WriteString(before)
		if !strings.HasPrefix(behind, quote) {
			return b.String(), behind, true
		}
		b.WriteString(quote)
		rest = behind[1:]
	}
}

// included reads another file, and goes on behind it.
func (l *iniReader) included(name string) {
	if l.depth >= maxIncludes {
		l.full = true
		l.mistake("more than %d files within each other", maxIncludes)
		return
	}
	err := l.include(l.besides(name), l.depth+1)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.mistake("there is no file %s", name)
	case err != nil:
		l.mistake("cannot be included: %v", err)
	}
}

// besides is where a path of the file leads. PgBouncer takes a relative one from the directory that it was started in,
// which may be here, or where the file is.
func (r *ini) besides(path string) string {
	if filepath.IsAbs(path) || path == "" {
		return path
	}
	beside := filepath.Join(filepath.Dir(r.path), path)
	if _, err := os.Stat(path); err != nil {
		if _, err := os.Stat(beside); err == nil {
			return beside
		}
	}
	return path
}
