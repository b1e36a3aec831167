package login

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strconv"

	"github.com/sarnicdb/sarnic/proxy/scram"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// nonceLen is PostgreSQL's: 24 characters in base64.
const nonceLen = 18

// scram asks for a proof that the client knows the password, by RFC 5802 and RFC 7677, and proves to the client that
// the password is known here.
func (a *attempt) scram(ctx context.Context, secret Secret, known bool) error {
	if !known {
		secret = Secret{}
	}
	v, doomed, err := a.srv.verifier(ctx, a, secret)
	if err != nil {
		return err
	}
	first, err := a.scramFirst()
	if err != nil {
		return err
	}
	gs2 := first.gs2 // the rest of first lives in the buffer that the next answer is read into
	nonce, err := a.challenge(first, v)
	if err != nil {
		return err
	}
	msg, err := a.saslResponse()
	if err != nil {
		return err
	}
	final, fault := parseClientFinal(msg, channelBinding(gs2, a.bind), gs2 == scram.GS2Plus)
	if fault != nil {
		return a.refuse(fault)
	}
	if subtle.ConstantTimeCompare(final.nonce, nonce) != 1 {
		return a.refuse(withDetail(fatal(wire.CodeProtocolViolation, "invalid SCRAM response"), "Nonce does not match."))
	}
	a.proof = append(append(a.proof, ','), final.signed...)
	key := v.Check(a.proof, &final.proof)
	switch {
	case doomed && known && secret.kind == md5Secret:
		return a.wrongPassword(errNotSCRAM)
	case doomed || key == nil:
		return a.wrongPassword(secret.fault(known))
	}
	a.key = key
	a.out = wire.AppendAuthSASLFinal(a.out, base64.StdEncoding.AppendEncode([]byte("v="), v.Signature(a.proof)))
	return nil
}

// scramFirst offers the mechanisms and reads the client's choice and its first message.
func (a *attempt) scramFirst() (clientFirst, error) {
	if a.bind != nil {
		a.out = wire.AppendAuthSASL(a.out, scram.MechanismPlus, scram.Mechanism)
	} else {
		a.out = wire.AppendAuthSASL(a.out, scram.Mechanism)
	}
	if err := a.flush(); err != nil {
		return clientFirst{}, err
	}
	body, err := a.saslResponse()
	if err != nil {
		return clientFirst{}, err
	}
	mechanism, msg, ok := wire.SASLInitial(body)
	plus := string(mechanism) == scram.MechanismPlus && a.bind != nil
	switch {
	case !ok:
		return clientFirst{}, a.refuse(fatal(wire.CodeProtocolViolation, "invalid message format"))
	case !plus && string(mechanism) != scram.Mechanism:
		return clientFirst{}, a.refuse(fatal(wire.CodeProtocolViolation,
			"client selected an invalid SASL authentication mechanism"))
	}
	if msg == nil {
		if msg, err = a.emptyChallenge(); err != nil {
			return clientFirst{}, err
		}
	}
	first, fault := parseClientFirst(msg, plus, a.bind != nil)
	if fault != nil {
		return clientFirst{}, a.refuse(fault)
	}
	return first, nil
}

// emptyChallenge is for clients that only chose a mechanism: their first message is still to come.
func (a *attempt) emptyChallenge() ([]byte, error) {
	a.out = wire.AppendAuthSASLContinue(a.out, nil)
	if err := a.flush(); err != nil {
		return nil, err
	}
	return a.saslResponse()
}

// saslResponse reads a SASL message. One that is too long fails like a wrong password, as in PostgreSQL.
func (a *attempt) saslResponse() ([]byte, error) {
	body, err := a.response("SASL", maxSASL)
	if errors.Is(err, errTooLong) {
		return nil, a.wrongPassword(err)
	}
	return body, err
}

// challenge sends the server-first-message, begins a.proof with the messages so far, and returns the nonce of both.
func (a *attempt) challenge(first clientFirst, v *scram.Verifier) (nonce []byte, err error) {
	if _, err := rand.Read(a.nonce[:]); err != nil {
		return nil, a.silent(err)
	}
	a.proof = append(append(a.proof[:0], first.bare...), ',')
	start := len(a.proof)
	a.proof = append(append(a.proof, "r="...), first.nonce...)
	a.proof = base64.StdEncoding.AppendEncode(a.proof, a.nonce[:])
	end := len(a.proof)
	a.proof = base64.StdEncoding.AppendEncode(append(a.proof, ",s="...), v.Salt)
	a.proof = strconv.AppendInt(append(a.proof, ",i="...), int64(v.Iterations), 10)
	a.out = wire.AppendAuthSASLContinue(a.out, a.proof[start:])
	return a.proof[start+len("r=") : end], a.flush()
}

// channelBinding is what the client's final message must repeat: its first words, and with -PLUS the certificate that
// it has seen.
func channelBinding(gs2 string, bind []byte) []byte {
	input := []byte(gs2)
	if gs2 == scram.GS2Plus {
		input = append(input, bind...)
	}
	return base64.StdEncoding.AppendEncode(nil, input)
}
