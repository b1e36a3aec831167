package scram

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// saslprep normalises a password as RFC 4013 says and PostgreSQL does: both ends of a SCRAM exchange must come to the
// same bytes. What the RFC forbids is hashed as it is. golang.org/x/text/secure/precis is the RFC's successor and comes
// to other bytes (it leaves "ﬁ" alone where this makes "fi" of it). What is forbidden is looked for before the
// normalisation, not after it: the RFC would have it otherwise, PostgreSQL does it so.
func saslprep(password string) string {
	if isASCII(password) || !utf8.ValidString(password) {
		return password
	}
	mapped := strings.Map(mapRune, password)
	if mapped == "" || strings.ContainsFunc(mapped, isForbidden) || !isOneDirection(mapped) {
		return password
	}
	return norm.NFKC.String(mapped)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// mapRune makes a plain space of every space (table C.1.2 of RFC 3454) and nothing of what is not seen (B.1).
func mapRune(r rune) rune {
	switch {
	case r == 0xa0, r == 0x1680, r >= 0x2000 && r <= 0x200b, r == 0x202f, r == 0x205f, r == 0x3000:
		return ' '
	case r == 0xad, r == 0x34f, r == 0x1806, r >= 0x180b && r <= 0x180d, r >= 0x200c && r <= 0x200d, r == 0x2060,
		r >= 0xfe00 && r <= 0xfe0f, r == 0xfeff:
		return -1
	}
	return r
}

func isForbidden(r rune) bool { return within(prohibited, r) || within(unassigned, r) }

// within looks r up in a table of first and last runes.
func within(table string, r rune) bool {
	for len(table) > 0 {
		first, n := utf8.DecodeRuneInString(table)
		last, m := utf8.DecodeRuneInString(table[n:])
		if r <= last {
			return r >= first
		}
		table = table[n+m:]
	}
	return false
}

// isOneDirection is the rule of RFC 3454, section 6: a text with right-to-left letters holds no left-to-right ones,
// and begins and ends with the former.
func isOneDirection(s string) bool {
	left, right := false, false
	for _, r := range s {
		switch {
		case isRightToLeft(r):
			right = true
		case class(r) == bidi.L:
			left = true
		}
	}
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	return !right || (!left && isRightToLeft(first) && isRightToLeft(last))
}

func isRightToLeft(r rune) bool {
	c := class(r)
	return c == bidi.R || c == bidi.AL
}

func class(r rune) bidi.Class {
	p, _ := bidi.LookupRune(r)
	return p.Class()
}
