package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// MaxStartup is the longest body of a startup packet, PostgreSQL's own limit: more is never read, still less allocated.
const MaxStartup = 10000

// Version30 and Version32 are the protocol versions spoken, as the startup packet writes them.
const (
	Version30 uint32 = 3<<16 | 0
	Version32 uint32 = 3<<16 | 2
)

// The codes that stand in place of a version, chosen by PostgreSQL so that no version will ever equal them.
const (
	cancelCode uint32 = 1234<<16 | 5678
	sslCode    uint32 = 1234<<16 | 5679
	gssencCode uint32 = 1234<<16 | 5680
)

// Param is a name and its value: a startup parameter or a setting.
type Param struct{ Name, Value string }

// StartupKind says which of the packets without a type byte a Startup is.
type StartupKind uint8

// The packets a client may begin a connection with.
const (
	StartupMessage StartupKind = iota + 1
	SSLRequest
	GSSENCRequest
	CancelRequest
)

// Startup is the packet a client begins a connection with. It shares no memory with the buffer it was read from.
type Startup struct {
	Kind    StartupKind
	Version uint32  // major<<16|minor; only of a StartupMessage
	Params  []Param // in the order sent, user and database among them; only of a StartupMessage
	PID     uint32  // only of a CancelRequest
	Secret  []byte  // only of a CancelRequest
}

// Param is the value of a startup parameter, "" when it was not given. Of several with one name the last counts, as in
// PostgreSQL: whoever checks one and uses another has a hole.
func (s *Startup) Param(name string) string {
	for i := len(s.Params) - 1; i >= 0; i-- {
		if s.Params[i].Name == name {
			return s.Params[i].Value
		}
	}
	return ""
}

// StartupLen reads the int32 in front of a startup packet, the first 4 bytes of a connection, and returns how many
// bytes follow it. ok is false when PostgreSQL would not read on.
func StartupLen(b []byte) (body int, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	n := binary.BigEndian.Uint32(b)
	if n < 8 || n > MaxStartup+4 {
		return 0, false
	}
	return int(n) - 4, true
}

// DecodeStartup reads a startup packet from the bytes after its length. The error is always an *Error with the code and
// words of PostgreSQL, which tells a client about versions, parameters and the user, but only logs a wrong length of
// the packet or of a cancel request, and closes. A packet that names no user is an error here already.
func DecodeStartup(body []byte) (Startup, error) {
	if len(body) < 4 || len(body) > MaxStartup {
		return Startup{}, refuse(CodeProtocolViolation, "invalid length of startup packet")
	}
	code, rest := binary.BigEndian.Uint32(body), body[4:]
	switch {
	case code == cancelCode:
		return decodeCancel(rest)
	case code == sslCode: // whatever follows inside the packet is passed over, as PostgreSQL does
		return Startup{Kind: SSLRequest}, nil
	case code == gssencCode:
		return Startup{Kind: GSSENCRequest}, nil
	case code>>16 != Version30>>16:
		return Startup{}, refuse(CodeFeatureNotSupported, fmt.Sprintf(
			"unsupported frontend protocol %d.%d: server supports 3.0 to 3.2", code>>16, code&0xffff))
	}
	return decodeParams(code, rest)
}

func decodeCancel(rest []byte) (Startup, error) {
	if len(rest) < 4 {
		return Startup{}, refuse(CodeProtocolViolation, "invalid length of cancel request packet")
	}
	secret := rest[4:]
	if len(secret) == 0 || len(secret) > maxSecret {
		return Startup{}, refuse(CodeProtocolViolation, "invalid length of cancel key in cancel request packet")
	}
	return Startup{Kind: CancelRequest, PID: binary.BigEndian.Uint32(rest), Secret: bytes.Clone(secret)}, nil
}

func decodeParams(version uint32, rest []byte) (Startup, error) {
	params, ok := splitParams(string(rest))
	if !ok {
		return Startup{}, refuse(CodeProtocolViolation, "invalid startup packet layout: expected terminator as last byte")
	}
	s := Startup{Kind: StartupMessage, Version: version, Params: params}
	if s.Param("user") == "" {
		return Startup{}, refuse(CodeInvalidAuthorization, "no PostgreSQL user name specified in startup packet")
	}
	return s, nil
}

// splitParams cuts names and values, each ended by NUL, up to the empty name that must be the very end. All of them
// are parts of s: they are kept together or not at all.
func splitParams(s string) ([]Param, bool) {
	params := make([]Param, 0, min(strings.Count(s, "\x00")/2, 16))
	for {
		name, rest, ok := strings.Cut(s, "\x00")
		if !ok {
			return nil, false
		}
		if name == "" {
			return params, rest == ""
		}
		value, rest, ok := strings.Cut(rest, "\x00")
		if !ok {
			return nil, false
		}
		params, s = append(params, Param{name, value}), rest
	}
}

// AppendStartup appends a StartupMessage. Texts are cut at a NUL: the list of parameters has no count, so one more NUL
// would be one more parameter, perhaps another user.
func AppendStartup(dst []byte, version uint32, params []Param) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, version)
	for _, p := range params {
		dst = appendText(appendText(dst, untilNUL(p.Name)), untilNUL(p.Value))
	}
	dst = append(dst, 0)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start))
	return dst
}

// AppendCancelRequest appends a CancelRequest, the only packet of its connection.
func AppendCancelRequest(dst []byte, pid uint32, secret []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(12+len(secret)))
	dst = binary.BigEndian.AppendUint32(dst, cancelCode)
	dst = binary.BigEndian.AppendUint32(dst, pid)
	return append(dst, secret...)
}

// AppendSSLRequest appends an SSLRequest.
func AppendSSLRequest(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, 8)
	return binary.BigEndian.AppendUint32(dst, sslCode)
}
