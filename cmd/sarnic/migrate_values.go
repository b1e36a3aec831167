package main

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// valueKind reads a value as PgBouncer does, and writes it as sarnic.yaml has it. The error says what it must be.
type valueKind func(text string) (string, error)

// anyText is what cannot be wrong.
func anyText(text string) (string, error) { return text, nil }

// number is an integer of C: 0x1f and 017 are numbers too.
func number(text string) (string, error) {
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil || strings.Contains(text, "_") || strings.HasPrefix(text, "0b") || strings.HasPrefix(text, "0o") {
		return "", fmt.Errorf("must be a whole number, got %q", text)
	}
	return strconv.FormatInt(n, 10), nil
}

// count is a number of something.
func count(text string) (string, error) {
	n, err := number(text)
	if err == nil && strings.HasPrefix(n, "-") {
		return "", fmt.Errorf("must not be negative, got %q", text)
	}
	return n, err
}

// decimal is a number in the lines of databases and users, where 017 is 17.
func decimal(text string) (string, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return "", fmt.Errorf("must be a whole number, got %q", text)
	}
	return strconv.FormatInt(n, 10), nil
}

// optional is a decimal of which a negative one is as good as none, which is "".
func optional(text string) (string, error) {
	n, err := decimal(text)
	if strings.HasPrefix(n, "-") {
		return "", nil
	}
	return n, err
}

// maxSeconds is some 30 years, far below what a time.Duration holds.
const maxSeconds = 1e9

// seconds is a time. PgBouncer has no units.
func seconds(text string) (string, error) {
	s, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(s) || s < 0 || s > maxSeconds {
		return "", fmt.Errorf("must be a number of seconds, got %q", text)
	}
	return cmp.Or(duration(time.Duration(math.Round(s*float64(time.Second)))), "0"), nil
}

// wholeSeconds is a time where PgBouncer reads no fractions.
func wholeSeconds(text string) (string, error) {
	n, err := count(text)
	if err != nil {
		return "", err
	}
	return seconds(n)
}

// bits are permissions, which are octal if they begin with 0 as in C.
func bits(text string) (string, error) {
	n, err := strconv.ParseUint(text, 0, 32)
	if err != nil || n > 0o777 {
		return "", fmt.Errorf("must be permission bits in octal such as 0770, got %q", text)
	}
	return fmt.Sprintf("%04o", n), nil
}

// oneOf is one of some words in whatever case.
func oneOf(words ...string) valueKind {
	return func(text string) (string, error) {
		for _, word := range words {
			if strings.EqualFold(word, text) {
				return word, nil
			}
		}
		return "", fmt.Errorf("must be one of %s, got %q", strings.Join(words, ", "), text)
	}
}

// names splits a list at its commas.
func names(text string) []string {
	var all []string
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			all = append(all, name)
		}
	}
	return all
}
