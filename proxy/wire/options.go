package wire

import (
	"fmt"
	"strings"
)

// DecodeOptions reads the startup parameter "options", which PostgreSQL treats as command-line arguments of the server
// process. Words are split at white space, a backslash makes the next byte part of the word. The settings given by
// -c name=value, -cname=value and --name=value are returned in order; any other switch is an error, for a pool has no
// server process of its own to start with it. The error is always an *Error.
func DecodeOptions(s string) ([]Param, error) {
	var params []Param
	words := splitOptions(s)
	for len(words) > 0 {
		if len(words) == 1 && words[0] == "--" {
			break // the end of the switches, with nothing after it
		}
		setting, used, err := cutSwitch(words)
		if err != nil {
			return nil, err
		}
		p, ok := cutSetting(setting)
		if !ok {
			return nil, refuse(CodeSyntaxError, fmt.Sprintf(
				"%q requires a name and a value", strings.Join(words[:used], " ")))
		}
		params, words = append(params, p), words[used:]
	}
	return params, nil
}

// cutSwitch finds the setting in the switch that words begins with, and how many words it took.
func cutSwitch(words []string) (setting string, used int, err error) {
	word := words[0]
	switch {
	case strings.HasPrefix(word, "--") && word != "--":
		return word[2:], 1, nil
	case word == "-c" && len(words) > 1:
		return words[1], 2, nil
	case word == "-c":
		return "", 0, refuse(CodeSyntaxError, `"-c" requires a name and a value`)
	case strings.HasPrefix(word, "-c"):
		return word[2:], 1, nil
	}
	return "", 0, &Error{
		Severity: "FATAL", Code: CodeSyntaxError,
		Message: "invalid command-line argument for server process: " + word,
		Hint:    "Only settings are supported: -c name=value or --name=value.",
	}
}

// cutSetting splits name=value. In the name '-' stands for '_', as on the command line.
func cutSetting(setting string) (p Param, ok bool) {
	name, value, ok := strings.Cut(setting, "=")
	if !ok || name == "" {
		return Param{}, false
	}
	return Param{strings.ReplaceAll(name, "-", "_"), value}, true
}

// splitOptions cuts s into words as pg_split_opts does: a backslash at the very end vanishes.
func splitOptions(s string) []string {
	var words []string
	for i := 0; i < len(s); {
		if isSpace(s[i]) {
			i++
			continue
		}
		var word string
		word, i = cutWord(s, i)
		words = append(words, word)
	}
	return words
}

// cutWord reads the word that begins at i and returns it with the place where it ended.
func cutWord(s string, i int) (word string, end int) {
	var b strings.Builder
	escaped := false
	for ; i < len(s) && (escaped || !isSpace(s[i])); i++ {
		if s[i] == '\\' && !escaped {
			escaped = true
			continue
		}
		escaped = false
		b.WriteByte(s[i])
	}
	return b.String(), i
}

// isSpace is C's isspace for ASCII.
func isSpace(c byte) bool { return c == ' ' || ('\t' <= c && c <= '\r') }
