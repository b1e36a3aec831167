package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
)

// Error is what a client is told, as an ErrorResponse or a NoticeResponse.
type Error struct {
	Severity string // "" means ERROR, in a notice NOTICE
	Code     string // SQLSTATE; "" means XX000, in a notice 00000
	Message  string
	Detail   string
	Hint     string
}

// refuse is the end of a login: PostgreSQL's severity for it is FATAL.
func refuse(code, message string) *Error {
	return &Error{Severity: "FATAL", Code: code, Message: message}
}

// Error is one line for the log.
func (e *Error) Error() string {
	return e.severity("ERROR") + ": " + e.Message + " (SQLSTATE " + e.SQLState() + ")"
}

// SQLState is the error's code.
func (e *Error) SQLState() string {
	if e.Code == "" {
		return CodeInternalError
	}
	return e.Code
}

func (e *Error) severity(otherwise string) string {
	if e.Severity == "" {
		return otherwise
	}
	return e.Severity
}

// ToldToClient is what a client may read of err: the *Error in its chain, or else an internal error without err's text,
// which may hold addresses and secrets and belongs in the log.
func ToldToClient(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeInternalError, Message: "internal error"}
}

// AppendError appends an ErrorResponse.
func AppendError(dst []byte, e *Error) []byte {
	return appendFields(dst, 'E', e, e.severity("ERROR"), e.SQLState())
}

// AppendNotice appends a NoticeResponse.
func AppendNotice(dst []byte, e *Error) []byte {
	code := e.Code
	if code == "" {
		code = "00000" // successful completion, PostgreSQL's code of a plain NOTICE
	}
	return appendFields(dst, 'N', e, e.severity("NOTICE"), code)
}

func appendFields(dst []byte, typ byte, e *Error, severity, code string) []byte {
	start := len(dst)
	dst = appendHeader(dst, typ, 0)
	dst = appendField(dst, 'S', severity)
	dst = appendField(dst, 'V', severity)
	dst = appendField(dst, 'C', code)
	dst = appendField(dst, 'M', e.Message) // required, even when empty
	if e.Detail != "" {
		dst = appendField(dst, 'D', e.Detail)
	}
	if e.Hint != "" {
		dst = appendField(dst, 'H', e.Hint)
	}
	return closeFrame(append(dst, 0), start)
}

// appendField cuts the text at a NUL, so that no text can forge a field.
func appendField(dst []byte, field byte, text string) []byte {
	return appendText(append(dst, field), untilNUL(text))
}

// cutField splits the first field of an error's body from the rest. Field 0 is the terminator; ok is false where the
// body breaks off before it.
func cutField(b []byte) (field byte, text, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, nil, false
	}
	if b[0] == 0 {
		return 0, nil, b[1:], true
	}
	text, rest, ok = cutText(b[1:])
	return b[0], text, rest, ok
}

// ParseError reads the fields of an ErrorResponse or a NoticeResponse that an Error has; the others are passed over.
// So its result is for looking at: what a client gets is the server's own frame.
func ParseError(body []byte) (*Error, bool) {
	severity, code := ErrorCode(body)
	e := &Error{Severity: string(severity), Code: string(code)}
	for {
		field, text, rest, ok := cutField(body)
		if !ok {
			return nil, false
		}
		switch field {
		case 0:
			if len(rest) > 0 {
				return nil, false
			}
			return e, true
		case 'M':
			e.Message = string(text)
		case 'D':
			e.Detail = string(text)
		case 'H':
			e.Hint = string(text)
		}
		body = rest
	}
}

// ErrorCode finds the severity and the code in an ErrorResponse or a NoticeResponse without taking memory. The
// severity is the one that is never translated ('V', from PostgreSQL 9.6 on), or else the one for people ('S'). Of a
// malformed body it is what was found before the fault; a server may leave out either, and then it is empty.
func ErrorCode(body []byte) (severity, code []byte) {
	localised := true
	for {
		field, text, rest, ok := cutField(body)
		if !ok || field == 0 {
			return severity, code
		}
		switch {
		case field == 'V':
			severity, localised = text, false
		case field == 'S' && localised:
			severity = text
		case field == 'C':
			code = text
		}
		body = rest
	}
}

// AppendShiftedError appends an ErrorResponse with the fields of another's body, but its position (field P, in characters)
// moved by so many. What is no list of fields is passed on as it is.
func AppendShiftedError(dst, body []byte, by int) []byte {
	start := len(dst)
	dst = append(dst, 'E', 0, 0, 0, 0)
	for len(body) > 0 && body[0] != 0 {
		end := bytes.IndexByte(body, 0)
		if end < 0 {
			break
		}
		field, rest := body[:end+1], body[end+1:]
		if n, err := strconv.Atoi(string(field[1:end])); field[0] == 'P' && err == nil {
			dst = append(strconv.AppendInt(append(dst, 'P'), int64(n)+int64(by), 10), 0)
		} else {
			dst = append(dst, field...)
		}
		body = rest
	}
	dst = append(dst, body...)
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-1))
	return dst
}
