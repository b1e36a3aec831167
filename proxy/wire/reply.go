package wire

import "encoding/binary"

// Kinds of the Authentication message ('R'), the int32 at the start of its body.
const (
	authOK           = 0
	authCleartext    = 3
	authMD5          = 5
	authSASL         = 10
	authSASLContinue = 11
	authSASLFinal    = 12
)

// appendAuth begins an Authentication message that has extra bytes after its kind.
func appendAuth(dst []byte, kind uint32, extra int) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(dst, 'R', 4+extra), kind)
}

// AppendAuthOK appends AuthenticationOk: the login is accepted.
func AppendAuthOK(dst []byte) []byte { return appendAuth(dst, authOK, 0) }

// AppendAuthCleartext asks the client for its password in clear; only to be sent over TLS.
func AppendAuthCleartext(dst []byte) []byte { return appendAuth(dst, authCleartext, 0) }

// AppendAuthMD5 asks the client for its password hashed with salt.
func AppendAuthMD5(dst []byte, salt [4]byte) []byte {
	return append(appendAuth(dst, authMD5, 4), salt[:]...)
}

// AppendAuthSASL offers SASL mechanisms, the preferred one first.
func AppendAuthSASL(dst []byte, mechs ...string) []byte {
	start := len(dst)
	dst = appendAuth(dst, authSASL, 0)
	for _, m := range mechs {
		dst = appendText(dst, m)
	}
	return closeFrame(append(dst, 0), start)
}

// AppendAuthSASLContinue appends the server's challenge.
func AppendAuthSASLContinue(dst, data []byte) []byte {
	return append(appendAuth(dst, authSASLContinue, len(data)), data...)
}

// AppendAuthSASLFinal appends the server's last word, sent just before AuthenticationOk.
func AppendAuthSASLFinal(dst, data []byte) []byte {
	return append(appendAuth(dst, authSASLFinal, len(data)), data...)
}

// AppendNegotiateProtocolVersion tells a client that asked for more than we speak what we do speak: version is the whole
// number (major<<16|minor), as PostgreSQL sends it, and unrecognised are its unknown parameters that begin with _pq_.
func AppendNegotiateProtocolVersion(dst []byte, version uint32, unrecognised []string) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(appendHeader(dst, 'v', 0), version)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(unrecognised)))
	for _, name := range unrecognised {
		dst = appendText(dst, name)
	}
	return closeFrame(dst, start)
}

// AppendReadyForQuery appends a ReadyForQuery: status 'I' idle, 'T' in a transaction, 'E' in a failed one.
func AppendReadyForQuery(dst []byte, status byte) []byte {
	return append(appendHeader(dst, 'Z', 1), status)
}

// AppendParameterStatus appends the report of a setting's value.
func AppendParameterStatus(dst []byte, name, value string) []byte {
	dst = appendHeader(dst, 'S', len(name)+len(value)+2)
	return appendText(appendText(dst, name), value)
}

// AppendBackendKeyData appends the key a client cancels with: 4 bytes of secret for protocol 3.0, up to 256 from 3.2 on.
func AppendBackendKeyData(dst []byte, pid uint32, secret []byte) []byte {
	dst = binary.BigEndian.AppendUint32(appendHeader(dst, 'K', 4+len(secret)), pid)
	return append(dst, secret...)
}

// AppendParseComplete appends a ParseComplete.
func AppendParseComplete(dst []byte) []byte { return appendHeader(dst, '1', 0) }

// AppendBindComplete appends a BindComplete.
func AppendBindComplete(dst []byte) []byte { return appendHeader(dst, '2', 0) }

// AppendCloseComplete appends a CloseComplete.
func AppendCloseComplete(dst []byte) []byte { return appendHeader(dst, '3', 0) }

// AppendEmptyQuery appends an EmptyQueryResponse.
func AppendEmptyQuery(dst []byte) []byte { return appendHeader(dst, 'I', 0) }

// AppendNoData appends a NoData: what was described returns no rows.
func AppendNoData(dst []byte) []byte { return appendHeader(dst, 'n', 0) }

// AppendCommandComplete appends a CommandComplete with its tag, such as "SELECT 1".
func AppendCommandComplete(dst []byte, tag string) []byte {
	return appendText(appendHeader(dst, 'C', len(tag)+1), tag)
}

// AppendNotification appends a NotificationResponse; pid is the process that notified.
func AppendNotification(dst []byte, pid uint32, channel, payload string) []byte {
	dst = appendHeader(dst, 'A', 4+len(channel)+len(payload)+2)
	dst = binary.BigEndian.AppendUint32(dst, pid)
	return appendText(appendText(dst, channel), payload)
}
