package login

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// startup answers requests for encryption until the client says who it is or what it wants to cancel. There are at
// most three packets: each kind of encryption can be asked for once.
func (a *attempt) startup(ctx context.Context) (wire.Startup, error) {
	if err := a.fill(1); err != nil {
		return wire.Startup{}, err
	}
	if a.in[a.r] == tlsHandshake {
		if err := a.directTLS(ctx); err != nil {
			return wire.Startup{}, err
		}
	}
	sslDone, gssDone := false, false
	for {
		body, err := a.packet()
		if err != nil {
			return wire.Startup{}, err
		}
		pkt, err := wire.DecodeStartup(body)
		switch {
		case err != nil:
			return wire.Startup{}, a.badStartup(body, err)
		case pkt.Kind == wire.SSLRequest && !sslDone:
			sslDone = true
			err = a.answerSSL(ctx)
			gssDone = gssDone || a.tls != nil
		case pkt.Kind == wire.GSSENCRequest && !gssDone:
			gssDone = true
			err = a.answerGSS()
		case pkt.Kind == wire.SSLRequest, pkt.Kind == wire.GSSENCRequest:
			err = a.refuse(unsupportedVersion(binary.BigEndian.Uint32(body)))
		default:
			return pkt, nil
		}
		if err != nil {
			return wire.Startup{}, err
		}
	}
}

func unsupportedVersion(code uint32) *wire.Error {
	return fatal(wire.CodeFeatureNotSupported, fmt.Sprintf(
		"unsupported frontend protocol %d.%d: server supports 3.0 to 3.2", code>>16, code&0xffff))
}

// requestCodes is the major number of the codes that stand in place of a version.
const requestCodes = 1234

// badStartup answers a packet that cannot be read, as far as PostgreSQL does: requests of the wrong length are closed
// without a word, and a client of protocol 2 is told in its own format.
func (a *attempt) badStartup(body []byte, err error) error {
	told := wire.ToldToClient(err)
	major := uint16(requestCodes)
	if len(body) >= 2 {
		major = binary.BigEndian.Uint16(body)
	}
	switch {
	case major == requestCodes && told.Code == wire.CodeProtocolViolation:
		return a.silent(told)
	case major < 3:
		a.out = append(a.out, 'E')
		a.out = append(a.out, "FATAL:  "+told.Message+"\n\x00"...)
		a.goodbye()
		return &Error{Told: told}
	}
	return a.refuse(told)
}

const injected = "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack."

// answerSSL answers an SSLRequest with TLS or with 'N'. What came with the request came before the answer, in plain
// text and from whomever: the client is told so, in plain text too, and nothing of it is used.
func (a *attempt) answerSSL(ctx context.Context) error {
	offered := a.offersTLS()
	if !offered {
		a.out = append(a.out, 'N')
	}
	if a.early() {
		return a.refuse(withDetail(fatal(wire.CodeProtocolViolation, "received unencrypted data after SSL request"), injected))
	}
	if !offered {
		return a.flush()
	}
	a.out = append(a.out, 'S')
	if err := a.flush(); err != nil {
		return err
	}
	return a.startTLS(ctx, a.conn)
}

// answerGSS refuses GSSAPI encryption.
func (a *attempt) answerGSS() error {
	a.out = append(a.out, 'N')
	if a.early() {
		return a.refuse(withDetail(
			fatal(wire.CodeProtocolViolation, "received unencrypted data after GSSAPI encryption request"), injected))
	}
	return a.flush()
}
