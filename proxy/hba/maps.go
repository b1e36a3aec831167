package hba

import (
	"fmt"
	"regexp"
	"strings"
)

// Mapping says that whoever is called System outside may log in as User. It is immutable.
type Mapping struct {
	system  string
	re      *regexp.Regexp // instead of system
	user    Name
	borrows bool // user holds \1, which stands for what the first parentheses of re found
}

// Maps are the maps of certificates' names to users, by their names.
type Maps map[string][]Mapping

// ParseMapping reads a name outside, or /regexp, and whom it may log in as: a user as in a rule, where \1 stands for what
// the first parentheses of the expression have found.
func ParseMapping(system, user string) (Mapping, error) {
	return parseMapping(unquote(system), unquote(user))
}

func parseMapping(system, user token) (m Mapping, err error) {
	if expression, ok := strings.CutPrefix(system.text, "/"); ok {
		if m.re, err = compile(expression); err != nil {
			return m, err
		}
		m.borrows = strings.Contains(user.text, `\1`)
		if m.borrows && m.re.NumSubexp() == 0 {
			return m, fmt.Errorf(`the regular expression %q has no parentheses for the \1 in %q`, expression, user.text)
		}
	}
	m.system = system.text
	if m.borrows {
		m.user = Name{kind: literal, text: user.text}
		return m, nil
	}
	m.user, err = parseName(user, userWord)
	return m, err
}

// Allows reports whether one who is called system outside may log in as user, by the map of that name; "" is the map in
// which everybody has the same name.
func (m Maps) Allows(name, system, user string, member Member) (bool, error) {
	if name == "" {
		return system == user, nil
	}
	lines := m[name]
	for i := range lines {
		if ok, err := lines[i].allows(system, user, member); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func (m *Mapping) allows(system, user string, member Member) (bool, error) {
	if m.re == nil {
		if m.system != system {
			return false, nil
		}
		return m.user.matchesUser(user, member)
	}
	found := m.re.FindStringSubmatch(system)
	switch {
	case found == nil:
		return false, nil
	case m.borrows: // what comes of it is a name, whatever it looks like
		return strings.Replace(m.user.text, `\1`, found[1], 1) == user, nil
	}
	return m.user.matchesUser(user, member)
}

// AsksMembers reports whether a map depends on the membership in roles.
func (m Maps) AsksMembers() bool {
	for _, lines := range m {
		for i := range lines {
			if lines[i].user.kind == memberOf {
				return true
			}
		}
	}
	return false
}
