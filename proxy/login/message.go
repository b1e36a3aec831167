package login

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/sarnicdb/sarnic/proxy/scram"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// clientFirst is the client-first-message cut into its parts, slices of the message but for gs2.
type clientFirst struct {
	gs2   string
	bare  []byte // what follows gs2: the part that is signed
	nonce []byte
}

// clientFinal is the client-final-message cut into its parts, slices of the message but for the proof.
type clientFinal struct {
	signed []byte // all but the proof
	nonce  []byte
	proof  [sha256.Size]byte
}

// parseClientFirst reads a client-first-message. plus says which mechanism the client chose, offered whether it could
// have chosen -PLUS: a client that believes it could not has been lied to on the way.
func parseClientFirst(msg []byte, plus, offered bool) (clientFirst, *wire.Error) {
	if fault := checkSCRAM(msg); fault != nil {
		return clientFirst{}, fault
	}
	gs2, rest, fault := cutGS2(msg, plus, offered)
	if fault != nil {
		return clientFirst{}, fault
	}
	first := clientFirst{gs2: gs2, bare: rest}
	if at(rest) == 'm' {
		return clientFirst{}, fatal(wire.CodeFeatureNotSupported, "client requires an unsupported SCRAM extension")
	}
	if _, rest, fault = cutAttribute(rest, 'n'); fault != nil { // the user is the one of the startup packet
		return clientFirst{}, fault
	}
	if first.nonce, rest, fault = cutAttribute(rest, 'r'); fault != nil {
		return clientFirst{}, fault
	}
	if !printable(first.nonce) {
		return clientFirst{}, fatal(wire.CodeProtocolViolation, "non-printable characters in SCRAM nonce")
	}
	for len(rest) > 0 { // extensions are allowed, and none is known
		if _, _, rest, fault = cutAnyAttribute(rest); fault != nil {
			return clientFirst{}, fault
		}
	}
	return first, nil
}

// cutGS2 splits off what a message says about channel binding.
func cutGS2(msg []byte, plus, offered bool) (gs2 string, rest []byte, fault *wire.Error) {
	switch flag := at(msg); {
	case (flag == 'n' || flag == 'y') && plus:
		return "", nil, malformed(
			"The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.")
	case flag == 'y' && offered:
		return "", nil, withDetail(fatal(wire.CodeInvalidAuthorization, "SCRAM channel binding negotiation error"),
			"The client supports SCRAM channel binding but thinks the server does not.  "+
				"However, this server does support channel binding.")
	case flag == 'n':
		gs2, rest = scram.GS2None, msg[1:]
	case flag == 'y':
		gs2, rest = scram.GS2Unused, msg[1:]
	case flag == 'p' && !plus:
		return "", nil, malformed("The client selected SCRAM-SHA-256 without channel binding, " +
			"but the SCRAM message includes channel binding data.")
	case flag == 'p':
		return cutPlus(msg)
	default:
		return "", nil, malformed("Unexpected channel-binding flag \"" + show(flag) + "\".")
	}
	if at(rest) != ',' {
		return "", nil, malformed("Comma expected, but found character \"" + show(at(rest)) + "\".")
	}
	rest, fault = cutIdentity(rest[1:])
	return gs2, rest, fault
}

func cutPlus(msg []byte) (gs2 string, rest []byte, fault *wire.Error) {
	kind, rest, fault := cutAttribute(msg, 'p')
	if fault != nil {
		return "", nil, fault
	}
	if string(kind) != scram.EndPointType {
		return "", nil, fatal(wire.CodeProtocolViolation,
			fmt.Sprintf("unsupported SCRAM channel-binding type \"%s\"", showText(kind)))
	}
	rest, fault = cutIdentity(rest)
	return scram.GS2Plus, rest, fault
}

// cutIdentity splits off the place of an authorization identity, which must be empty.
func cutIdentity(b []byte) (rest []byte, fault *wire.Error) {
	switch c := at(b); c {
	case ',':
		return b[1:], nil
	case 'a':
		return nil, fatal(wire.CodeFeatureNotSupported, "client uses authorization identity, but it is not supported")
	default:
		return nil, malformed("Unexpected attribute \"" + show(c) + "\" in client-first-message.")
	}
}

// parseClientFinal reads a client-final-message, whose channel binding must be the one expected.
func parseClientFinal(msg, binding []byte, plus bool) (clientFinal, *wire.Error) {
	if fault := checkSCRAM(msg); fault != nil {
		return clientFinal{}, fault
	}
	given, rest, fault := cutAttribute(msg, 'c')
	if fault != nil {
		return clientFinal{}, fault
	}
	switch {
	case bytes.Equal(given, binding):
	case plus:
		return clientFinal{}, fatal(wire.CodeInvalidAuthorization, "SCRAM channel binding check failed")
	default:
		return clientFinal{}, fatal(wire.CodeProtocolViolation,
			"unexpected SCRAM channel-binding attribute in client-final-message")
	}
	var final clientFinal
	if final.nonce, rest, fault = cutAttribute(rest, 'r'); fault != nil {
		return clientFinal{}, fault
	}
	for {
		before := len(msg) - len(rest)
		var name byte
		var value []byte
		if name, value, rest, fault = cutAnyAttribute(rest); fault != nil {
			return clientFinal{}, fault
		}
		if name == 'p' {
			final.signed = msg[:before-1] // without the comma
			return final, cutProof(&final, value, rest)
		}
	}
}

func cutProof(final *clientFinal, value, rest []byte) *wire.Error {
	var proof [sha256.Size + 3]byte // what Decode may touch of 44 characters
	n := 0
	if len(value) <= base64.StdEncoding.EncodedLen(sha256.Size) {
		var err error
		if n, err = base64.StdEncoding.Decode(proof[:], value); err != nil {
			n = 0
		}
	}
	if n != sha256.Size {
		return malformed("Malformed proof in client-final-message.")
	}
	if len(rest) > 0 {
		return malformed("Garbage found at the end of client-final-message.")
	}
	copy(final.proof[:], proof[:])
	return nil
}

// checkSCRAM does what a C program must do before it takes a message for a string; here it keeps NULs out.
func checkSCRAM(msg []byte) *wire.Error {
	switch {
	case len(msg) == 0:
		return malformed("The message is empty.")
	case bytes.IndexByte(msg, 0) >= 0:
		return malformed("Message length does not match input length.")
	}
	return nil
}

// cutAttribute splits off name=value and the comma after it.
func cutAttribute(b []byte, name byte) (value, rest []byte, fault *wire.Error) {
	if at(b) != name {
		return nil, nil, malformed(fmt.Sprintf("Expected attribute \"%c\" but found \"%s\".", name, show(at(b))))
	}
	return cutValue(b)
}

// cutAnyAttribute splits off an attribute of any name.
func cutAnyAttribute(b []byte) (name byte, value, rest []byte, fault *wire.Error) {
	name = at(b)
	switch {
	case name == 0:
		return 0, nil, nil, malformed("Attribute expected, but found end of string.")
	case (name|0x20) < 'a' || (name|0x20) > 'z':
		return 0, nil, nil, malformed("Attribute expected, but found invalid character \"" + show(name) + "\".")
	}
	value, rest, fault = cutValue(b)
	return name, value, rest, fault
}

func cutValue(b []byte) (value, rest []byte, fault *wire.Error) {
	if at(b[1:]) != '=' {
		return nil, nil, malformed(fmt.Sprintf("Expected character \"=\" for attribute \"%c\".", b[0]))
	}
	value, rest, _ = bytes.Cut(b[2:], []byte(","))
	return value, rest, nil
}

// at is the first byte of b, 0 at its end: no message holds a NUL.
func at(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// printable is what RFC 5802 allows in a nonce; the comma has been cut already.
func printable(b []byte) bool {
	for _, c := range b {
		if c < 0x21 || c > 0x7e {
			return false
		}
	}
	return true
}

func malformed(detail string) *wire.Error {
	return withDetail(fatal(wire.CodeProtocolViolation, "malformed SCRAM message"), detail)
}

// show is a byte as PostgreSQL's errors show it.
func show(c byte) string {
	if c >= 0x21 && c <= 0x7e {
		return "'" + string(rune(c)) + "'"
	}
	return fmt.Sprintf("0x%02x", c)
}

// showText replaces what is not printable, and shows no more than 30 bytes, as PostgreSQL does.
func showText(b []byte) string {
	text := bytes.Clone(b[:min(len(b), 30)])
	for i, c := range text {
		if c < 0x21 || c > 0x7e {
			text[i] = '?'
		}
	}
	return string(text)
}
