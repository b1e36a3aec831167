package login

import (
	"fmt"
	"strings"
)

// Listed is one user of a userlist.txt.
type Listed struct {
	User, Secret string // the secret may be empty: a user whom no password lets in
	Line         int    // where the user stands in the file, from 1
}

// String keeps the secret out of whatever prints a user.
func (u Listed) String() string { return u.User }

// GoString is String for %#v.
func (u Listed) GoString() string { return u.User }

// Mistake is a place in a file that cannot be understood. Lines and columns count from 1, columns in bytes.
type Mistake struct {
	Line, Column int
	Text         string
}

// Error is for the log.
func (m Mistake) Error() string { return fmt.Sprintf("%d:%d: %s", m.Line, m.Column, m.Text) }

// ParseUserlist reads PgBouncer's list of users: a line has a name and a secret in double quotes, where two quotes stand
// for one; what follows them is passed over, as are empty lines and those that begin with ; or #. A mistake never holds a
// part of the file.
func ParseUserlist(text string) (users []Listed, mistakes []Mistake) {
	first := make(map[string]int)
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		line = strings.TrimRight(line, "\r\n")
		at := len(line) - len(strings.TrimLeft(line, " \t\v\f"))
		if at == len(line) || line[at] == ';' || line[at] == '#' {
			continue
		}
		u, column, fault := parseListed(line, at)
		switch {
		case fault == "" && first[u.User] > 0:
			column, fault = at+1, fmt.Sprintf("the user stands in line %d already", first[u.User])
		case fault == "":
			u.Line = number
			first[u.User] = number
			users = append(users, u)
			continue
		}
		mistakes = append(mistakes, Mistake{number, column, fault})
	}
	return users, mistakes
}

// parseListed reads a line from the byte at on. column is where its fault is.
func parseListed(line string, at int) (u Listed, column int, fault string) {
	u.User, at, fault = cutQuoted(line, at, "the user's name")
	start := at
	switch {
	case fault != "":
		return u, at + 1, fault
	case u.User == "":
		return u, at - 1, "the user's name is empty"
	case len(u.User) > maxName:
		return u, at, fmt.Sprintf("the user's name is longer than %d bytes", maxName)
	}
	at += len(line[at:]) - len(strings.TrimLeft(line[at:], " \t\v\f"))
	if at == start || at == len(line) {
		return u, at + 1, "needs the secret in double quotes after the user's name"
	}
	u.Secret, at, fault = cutQuoted(line, at, "the secret")
	switch {
	case fault != "":
		return u, at + 1, fault
	case len(u.Secret) > maxPassword:
		return u, at, fmt.Sprintf("the secret is longer than %d bytes", maxPassword)
	}
	return u, at, ""
}

// cutQuoted reads a field that begins at the byte at; end is behind its last quote, or where the fault is.
func cutQuoted(line string, at int, what string) (field string, end int, fault string) {
	if line[at] != '"' {
		return "", at, what + " must be in double quotes"
	}
	var b strings.Builder
	for i := at + 1; i < len(line); i++ {
		switch {
		case line[i] == 0:
			return "", i, what + " holds a NUL byte"
		case line[i] != '"':
			b.WriteByte(line[i])
		case i+1 < len(line) && line[i+1] == '"':
			b.WriteByte('"')
			i++
		default:
			return b.String(), i + 1, ""
		}
	}
	return "", at, what + " has no closing quote"
}
