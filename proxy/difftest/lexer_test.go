package difftest

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// token is a word, a quoted string or a sign: | ( ) [ ] or a comma.
type token struct {
	text   string
	quoted bool
}

func (t token) is(sign string) bool { return !t.quoted && t.text == sign }

// lex cuts a line into tokens. Strings are Go's: "with \n escapes" or `raw`.
func lex(line string) ([]token, error) {
	var out []token
	for line = strings.TrimLeft(line, " \t"); line != ""; line = strings.TrimLeft(line, " \t") {
		switch {
		case strings.ContainsRune("|()[],", rune(line[0])):
			out = append(out, token{text: line[:1]})
			line = line[1:]
		case line[0] == '"' || line[0] == '`':
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, fmt.Errorf("string not closed: %s", line)
			}
			text, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, fmt.Errorf("string %s: %w", quoted, err)
			}
			out = append(out, token{text: text, quoted: true})
			line = line[len(quoted):]
		default:
			end := strings.IndexFunc(line, func(r rune) bool {
				return unicode.IsSpace(r) || strings.ContainsRune("|()[],\"`", r)
			})
			if end < 0 {
				end = len(line)
			}
			out = append(out, token{text: line[:end]})
			line = line[end:]
		}
	}
	return out, nil
}

// item is one frame, or a group of them, and how many times it comes.
type item struct {
	times int
	words []token
	group []item
}

// parseList reads "item | 3x item | 3x(item | item)". The same form serves what is sent and what is expected.
func parseList(line string) ([]item, error) {
	tokens, err := lex(line)
	if err != nil {
		return nil, err
	}
	items, rest, err := list(tokens)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%q is left over", rest[0].text)
	}
	return items, err
}

func list(tokens []token) ([]item, []token, error) {
	var out []item
	for {
		it, rest, err := oneItem(tokens)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, it)
		if len(rest) == 0 || !rest[0].is("|") {
			return out, rest, nil
		}
		tokens = rest[1:]
	}
}

func oneItem(tokens []token) (item, []token, error) {
	it := item{times: 1}
	if len(tokens) > 0 && !tokens[0].quoted {
		if digits, ok := strings.CutSuffix(tokens[0].text, "x"); ok {
			if n, err := strconv.Atoi(digits); err == nil {
				it.times, tokens = n, tokens[1:]
			}
		}
	}
	if len(tokens) > 0 && tokens[0].is("(") {
		group, rest, err := list(tokens[1:])
		if err != nil {
			return it, nil, err
		}
		if len(rest) == 0 || !rest[0].is(")") {
			return it, nil, fmt.Errorf("group not closed")
		}
		it.group = group
		return it, rest[1:], nil
	}
	for len(tokens) > 0 && !tokens[0].is("|") && !tokens[0].is(")") {
		it.words, tokens = append(it.words, tokens[0]), tokens[1:]
	}
	if len(it.words) == 0 {
		return it, nil, fmt.Errorf("nothing between two bars")
	}
	return it, tokens, nil
}

// each calls do for every single frame of items in order, with the index of the innermost repetition.
func each(items []item, index int, do func(words []token, index int) error) error {
	for _, it := range items {
		for i := range it.times {
			inner := index
			if it.times > 1 {
				inner = i
			}
			var err error
			if it.group != nil {
				err = each(it.group, inner, do)
			} else {
				err = do(it.words, inner)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
