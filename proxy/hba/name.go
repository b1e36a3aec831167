package hba

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

type nameKind uint8

const (
	literal nameKind = iota
	all
	sameUser    // databases: the one named as the user
	sameRole    // databases: the user belongs to the role named as the database
	replication // databases: physical replication
	memberOf    // users: +role
	pattern     // /regular expression
)

// Name is a user or a database of a rule: a name, a word that stands for several, a role whose members are meant, or a
// regular expression.
type Name struct {
	kind nameKind
	text string
	re   *regexp.Regexp
}

// ParseUser reads a user: a name, all, +role, or /regexp, which must be found in the name. In double quotes all and
// +role are names like any other.
func ParseUser(text string) (Name, error) { return parseName(unquote(text), userWord) }

// ParseDatabase reads a database: a name, all, sameuser, samerole, replication or /regexp. In double quotes the words are
// names like any other.
func ParseDatabase(text string) (Name, error) { return parseName(unquote(text), databaseWord) }

// unquote takes a text in double quotes for what is in them. It is for texts that come from elsewhere than a file in
// PostgreSQL's format, whose scanner does it there.
func unquote(text string) token {
	if inner, ok := strings.CutPrefix(text, `"`); ok && len(text) > 1 && strings.HasSuffix(inner, `"`) {
		return token{text: strings.ReplaceAll(inner[:len(inner)-1], `""`, `"`), quoted: true}
	}
	return token{text: text}
}

func userWord(text string) (nameKind, string) {
	if text == "all" {
		return all, ""
	}
	if role, ok := strings.CutPrefix(text, "+"); ok {
		return memberOf, role
	}
	return literal, text
}

func databaseWord(text string) (nameKind, string) {
	switch text {
	case "all":
		return all, ""
	case "sameuser":
		return sameUser, ""
	case "samerole", "samegroup":
		return sameRole, ""
	case "replication":
		return replication, ""
	}
	return literal, text
}

func parseName(t token, word func(string) (nameKind, string)) (Name, error) {
	n := Name{text: t.text}
	if expression, ok := strings.CutPrefix(t.text, "/"); ok {
		re, err := compile(expression)
		n.kind, n.re = pattern, re
		return n, err
	}
	if !t.quoted {
		n.kind, n.text = word(t.text)
	}
	if n.text == "" && (n.kind == literal || n.kind == memberOf) {
		return n, errors.New("a name is empty")
	}
	return n, nil
}

// maxPattern bounds a regular expression.
const maxPattern = 1000

func compile(expression string) (*regexp.Regexp, error) {
	if len(expression) > maxPattern {
		return nil, fmt.Errorf("a regular expression is longer than %d bytes", maxPattern)
	}
	re, err := regexp.Compile(expression)
	if err != nil {
		return nil, fmt.Errorf("invalid regular expression %q: %w", expression, err)
	}
	return re, nil
}

func (n *Name) matchesUser(user string, member Member) (bool, error) {
	switch n.kind {
	case all:
		return true, nil
	case memberOf:
		return member(n.text)
	case pattern:
		return n.re.MatchString(user), nil
	default:
		return n.text == user, nil
	}
}

func (n *Name) matchesDatabase(c *Client, member Member) (bool, error) {
	if c.Replication {
		return n.kind == replication, nil
	}
	switch n.kind {
	case all:
		return true, nil
	case sameUser:
		return c.Database == c.User, nil
	case sameRole:
		return member(c.Database)
	case replication:
		return false, nil
	case pattern:
		return n.re.MatchString(c.Database), nil
	default:
		return n.text == c.Database, nil
	}
}
