package difftest

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// encodeLine turns `Parse s "SELECT $1::int" | Describe S s | Sync` into the bytes of these messages.
func encodeLine(line string) ([]byte, error) {
	items, err := parseList(line)
	if err != nil {
		return nil, err
	}
	var out []byte
	err = each(items, 0, func(words []token, index int) error {
		args, err := expandAll(words[1:], index)
		if err != nil {
			return err
		}
		out, err = encodeFrame(out, words[0].text, arguments{rest: args})
		return err
	})
	return out, err
}

var (
	paddingPattern = regexp.MustCompile(`\{pad (\d+)\}`)
	indexPattern   = regexp.MustCompile(`\{i\}`)
)

// expandAll puts the index of a repetition where {i} stands and n letters where {pad n} stands.
func expandAll(words []token, index int) ([]token, error) {
	out := make([]token, len(words))
	for i, w := range words {
		w.text = indexPattern.ReplaceAllString(w.text, strconv.Itoa(index))
		w.text = paddingPattern.ReplaceAllStringFunc(w.text, func(m string) string {
			n, _ := strconv.Atoi(paddingPattern.FindStringSubmatch(m)[1])
			return strings.Repeat("x", n)
		})
		out[i] = w
	}
	return out, nil
}

// arguments hands out the words behind a message's name. The first mistake is kept.
type arguments struct {
	rest []token
	err  error
}

func (a *arguments) text() string {
	if len(a.rest) == 0 {
		a.err = fmt.Errorf("an argument is missing")
		return ""
	}
	w := a.rest[0]
	a.rest = a.rest[1:]
	return w.text
}

func (a *arguments) number(otherwise int) uint32 {
	if len(a.rest) == 0 {
		return uint32(otherwise)
	}
	n, err := strconv.ParseInt(a.text(), 10, 64)
	if err != nil {
		a.err = err
	}
	return uint32(n)
}

// values reads [1, NULL, "two words", 0x0003].
func (a *arguments) values() [][]byte {
	if len(a.rest) == 0 || !a.rest[0].is("[") {
		a.err = fmt.Errorf("values in [] are missing")
		return nil
	}
	var out [][]byte
	for a.rest = a.rest[1:]; len(a.rest) > 0; a.rest = a.rest[1:] {
		switch w := a.rest[0]; {
		case w.is("]"):
			a.rest = a.rest[1:]
			return out
		case w.is(","):
		default:
			out = append(out, a.value(w))
		}
	}
	a.err = fmt.Errorf("] is missing")
	return nil
}

func (a *arguments) value(w token) []byte {
	if w.is("NULL") {
		return nil
	}
	digits, isHex := strings.CutPrefix(w.text, "0x")
	if w.quoted || !isHex {
		return []byte(w.text)
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		a.err = err
	}
	if b == nil {
		b = []byte{}
	}
	return b
}

// formats reads in=b,t or out=b: the format codes of parameters or results.
func (a *arguments) formats(key string) []int16 {
	if len(a.rest) == 0 || !strings.HasPrefix(a.rest[0].text, key+"=") {
		return nil
	}
	var out []int16
	for code := range strings.SplitSeq(strings.TrimPrefix(a.text(), key+"="), "/") {
		if code == "b" {
			out = append(out, 1)
		} else {
			out = append(out, 0)
		}
	}
	return out
}

// done reports the first mistake, or words that are left.
func (a *arguments) done(out []byte, encodeErr error) ([]byte, error) {
	switch {
	case a.err != nil:
		return nil, a.err
	case len(a.rest) > 0:
		return nil, fmt.Errorf("%q is left over", a.rest[0].text)
	}
	return out, encodeErr
}

// encodeFrame appends one message a client sends.
func encodeFrame(out []byte, name string, a arguments) ([]byte, error) {
	var m pgproto3.FrontendMessage
	switch name {
	case "Query":
		m = &pgproto3.Query{String: a.text()}
	case "Parse":
		m = parseOf(&a)
	case "Bind":
		m = &pgproto3.Bind{
			DestinationPortal: a.text(), PreparedStatement: a.text(), Parameters: a.values(),
			ParameterFormatCodes: a.formats("in"), ResultFormatCodes: a.formats("out"),
		}
	case "Describe":
		m = &pgproto3.Describe{ObjectType: (a.text() + "?")[0], Name: a.text()}
	case "Close":
		m = &pgproto3.Close{ObjectType: (a.text() + "?")[0], Name: a.text()}
	case "Execute":
		m = &pgproto3.Execute{Portal: a.text(), MaxRows: a.number(0)}
	case "Sync":
		m = &pgproto3.Sync{}
	case "Flush":
		m = &pgproto3.Flush{}
	case "Terminate":
		m = &pgproto3.Terminate{}
	case "CopyData":
		m = &pgproto3.CopyData{Data: []byte(a.text())}
	case "CopyDone":
		m = &pgproto3.CopyDone{}
	case "CopyFail":
		m = &pgproto3.CopyFail{Message: a.text()}
	case "FunctionCall":
		m = functionCallOf(&a)
	case "raw":
		return a.raw(out)
	default:
		return nil, fmt.Errorf("no message is called %q", name)
	}
	if a.err != nil {
		return nil, a.err
	}
	return a.done(m.Encode(out))
}

func parseOf(a *arguments) *pgproto3.Parse {
	m := &pgproto3.Parse{Name: a.text(), Query: a.text()}
	for len(a.rest) > 0 && a.err == nil {
		m.ParameterOIDs = append(m.ParameterOIDs, a.number(0))
	}
	return m
}

func functionCallOf(a *arguments) *pgproto3.FunctionCall {
	m := &pgproto3.FunctionCall{Function: a.number(0), Arguments: a.values()}
	for _, code := range a.formats("in") {
		m.ArgFormatCodes = append(m.ArgFormatCodes, uint16(code))
	}
	for _, code := range a.formats("out") {
		m.ResultFormatCode = uint16(code)
	}
	return m
}

// raw appends bytes written in hexadecimal or as strings: raw 51 0000000b "SELECT" 00.
func (a *arguments) raw(out []byte) ([]byte, error) {
	for _, w := range a.rest {
		if w.quoted {
			out = append(out, w.text...)
			continue
		}
		b, err := hex.DecodeString(w.text)
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	return out, nil
}
