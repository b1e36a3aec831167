package wire

import (
	"bytes"
	"encoding/binary"
)

// cutText splits the NUL-terminated text at the start of b from what follows it.
func cutText(b []byte) (text, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return nil, nil, false
	}
	return b[:i:i], b[i+1:], true
}

// wholeText is the text of a body that holds nothing else.
func wholeText(body []byte) (text []byte, ok bool) {
	text, rest, ok := cutText(body)
	return text, ok && len(rest) == 0
}

// ParseMessage reads a Parse. types is its raw tail, an int16 count and as many OIDs: compared, hashed and sent on
// (AppendParseTail) as it is.
func ParseMessage(body []byte) (name, sql []byte, types []byte, ok bool) {
	name, rest, ok := cutText(body)
	if !ok {
		return nil, nil, nil, false
	}
	sql, types, ok = cutText(rest)
	if !ok || len(types) < 2 {
		return nil, nil, nil, false
	}
	if len(types) != 2+4*int(binary.BigEndian.Uint16(types)) {
		return nil, nil, nil, false
	}
	return name, sql, types, true
}

// BindNames reads the two names of a Bind. rest, the formats and parameters, is left for the server to judge: however
// wrong it is, it cannot reach beyond its frame.
func BindNames(body []byte) (portal, statement, rest []byte, ok bool) {
	portal, rest, ok = cutText(body)
	if !ok {
		return nil, nil, nil, false
	}
	statement, rest, ok = cutText(rest)
	if !ok {
		return nil, nil, nil, false
	}
	return portal, statement, rest, true
}

// BindParameter is the nth parameter (from 1) of a Bind whose tail, behind both names, is given: its bytes, whatever their
// format. ok is false for NULL, and where the tail is cut off before it or has fewer. (Protocol documentation, Bind.)
func BindParameter(tail []byte, n int) (value []byte, ok bool) {
	formats, tail, ok := cutInt16(tail)
	if !ok || len(tail) < 2*formats {
		return nil, false
	}
	count, tail, ok := cutInt16(tail[2*formats:])
	if !ok || n < 1 || n > count {
		return nil, false
	}
	for i := 1; len(tail) >= 4; i++ {
		size := int(int32(binary.BigEndian.Uint32(tail)))
		tail = tail[4:]
		switch {
		case size > len(tail), size < 0 && i == n:
			return nil, false
		case i == n:
			return tail[:size], true
		case size > 0:
			tail = tail[size:]
		}
	}
	return nil, false
}

// BindFormat is the format of the nth parameter (from 1) of a Bind whose tail is given: 0 is text, 1 binary.
func BindFormat(tail []byte, n int) int {
	formats, tail, ok := cutInt16(tail)
	if !ok || formats == 0 || len(tail) < 2*formats {
		return 0
	}
	if formats == 1 {
		n = 1
	}
	if n < 1 || n > formats {
		return 0
	}
	return int(binary.BigEndian.Uint16(tail[2*(n-1):]))
}

// AppendBindReplaced appends the tail of a Bind with another value in the place of its nth parameter, which is there
// (BindParameter) and not NULL.
func AppendBindReplaced(dst, tail []byte, n int, value []byte) []byte {
	old, ok := BindParameter(tail, n)
	if !ok {
		return append(dst, tail...)
	}
	at := cap(tail) - cap(old) // where the old value begins
	dst = append(dst, tail[:at-4]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(value)))
	dst = append(dst, value...)
	return append(dst, tail[at+len(old):]...)
}

// cutInt16 takes the unsigned number at the start of b.
func cutInt16(b []byte) (n int, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, false
	}
	return int(binary.BigEndian.Uint16(b)), b[2:], true
}

// Target reads what a Describe or a Close is about: a statement (kind 'S') or a portal (kind 'P') and its name.
func Target(body []byte) (kind byte, name []byte, ok bool) {
	if len(body) == 0 || (body[0] != 'S' && body[0] != 'P') {
		return 0, nil, false
	}
	name, ok = wholeText(body[1:])
	if !ok {
		return 0, nil, false
	}
	return body[0], name, true
}

// ExecutePortal reads an Execute. maxRows is the field's bits: PostgreSQL reads it signed, and fetches all rows when it
// is zero or negative.
func ExecutePortal(body []byte) (portal []byte, maxRows uint32, ok bool) {
	portal, rest, ok := cutText(body)
	if !ok || len(rest) != 4 {
		return nil, 0, false
	}
	return portal, binary.BigEndian.Uint32(rest), true
}

// QueryText reads a simple Query.
func QueryText(body []byte) (sql []byte, ok bool) {
	sql, ok = wholeText(body)
	if !ok {
		return nil, false
	}
	return sql, true
}

// PasswordText reads a PasswordMessage: a clear password or an MD5 answer.
func PasswordText(body []byte) (password []byte, ok bool) { return QueryText(body) }

// SASLInitial reads a SASLInitialResponse; data is nil when the client sent none (length -1).
func SASLInitial(body []byte) (mechanism, data []byte, ok bool) {
	mechanism, rest, ok := cutText(body)
	if !ok || len(rest) < 4 {
		return nil, nil, false
	}
	n, data := binary.BigEndian.Uint32(rest), rest[4:]
	switch {
	case n == 1<<32-1 && len(data) == 0:
		return mechanism, nil, true
	case n <= MaxFrame && int(n) == len(data):
		return mechanism, data, true
	}
	return nil, nil, false
}

// ReadyStatus reads a ReadyForQuery: 'I', 'T' or 'E'.
func ReadyStatus(body []byte) (status byte, ok bool) {
	if len(body) != 1 {
		return 0, false
	}
	switch body[0] {
	case 'I', 'T', 'E':
		return body[0], true
	}
	return 0, false
}

// CommandTag reads the tag of a CommandComplete; of a malformed body it is as much as there is.
func CommandTag(body []byte) []byte {
	if i := bytes.IndexByte(body, 0); i >= 0 {
		return body[:i]
	}
	return body
}

// ParameterStatus reads the report of a setting's value.
func ParameterStatus(body []byte) (name, value []byte, ok bool) {
	name, rest, ok := cutText(body)
	if !ok {
		return nil, nil, false
	}
	value, ok = wholeText(rest)
	if !ok {
		return nil, nil, false
	}
	return name, value, true
}

// Bounds of a cancel key: 4 bytes up to protocol 3.0, at most 256 from 3.2 on.
const (
	minSecret = 4
	maxSecret = 256
)

// BackendKey reads a BackendKeyData.
func BackendKey(body []byte) (pid uint32, secret []byte, ok bool) {
	if len(body) < 4+minSecret || len(body) > 4+maxSecret {
		return 0, nil, false
	}
	return binary.BigEndian.Uint32(body), body[4:], true
}

// Notification reads a NotificationResponse.
func Notification(body []byte) (pid uint32, channel, payload []byte, ok bool) {
	if len(body) < 4 {
		return 0, nil, nil, false
	}
	channel, payload, ok = ParameterStatus(body[4:]) // two texts, as there
	if !ok {
		return 0, nil, nil, false
	}
	return binary.BigEndian.Uint32(body), channel, payload, true
}
