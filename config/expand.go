package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// maxSecret bounds a file named by ${file:…}; certificates and passwords are far smaller.
const maxSecret = 64 << 10

// expansion replaces variables in the values of a document:
//
//	${NAME}            the environment variable, which must be set
//	${NAME:-default}   the environment variable, or the default where it is unset or empty
//	${file:/path}      the contents of a file (a mounted secret) without the newline at its end
//	$${                the two characters ${
//
// A $ before anything else is itself: SCRAM secrets are full of them.
type expansion struct {
	env    LookupEnv
	folder string // of the configuration file; relative paths start there
	files  *[]string
}

// apply expands text. What a variable stands for is not expanded again. An error never shows a value.
func (e expansion) apply(text string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			b.WriteString(text)
			return b.String(), nil
		}
		if escaped, ok := strings.CutSuffix(before, "$"); ok {
			b.WriteString(escaped + "${")
			text = rest
			continue
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", errors.New("${ without }; write $${ for the characters themselves")
		}
		value, err := e.value(name)
		if err != nil {
			return "", err
		}
		b.WriteString(before + value)
		text = after
	}
}

func (e expansion) value(name string) (string, error) {
	if path, ok := strings.CutPrefix(name, "file:"); ok {
		return e.secret(path)
	}
	name, fallback, hasDefault := strings.Cut(name, ":-")
	if !isVariable(name) {
		return "", fmt.Errorf("%s is not the name of an environment variable", shown(name))
	}
	value, found := e.env(name)
	switch {
	case found && (value != "" || !hasDefault):
		return value, nil
	case hasDefault:
		return fallback, nil
	}
	return "", fmt.Errorf("environment variable %s is not set", name)
}

func (e expansion) secret(path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(e.folder, path)
	}
	*e.files = append(*e.files, path)
	data, err := readBounded(path, maxSecret)
	if err != nil {
		return "", fmt.Errorf("cannot read the secret: %w", err)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

func isVariable(name string) bool {
	for i, r := range name {
		digit := r >= '0' && r <= '9'
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (!digit || i == 0) {
			return false
		}
	}
	return name != ""
}
