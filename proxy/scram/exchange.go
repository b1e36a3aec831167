package scram

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strconv"
)

// ErrOtherVerifier says that the server holds another verifier than the one the key belongs to: the password was
// changed, or it is the same one with another salt. No proof was sent.
var ErrOtherVerifier = errors.New("scram: the server holds another verifier")

// ErrImpostor says that the server could not prove that it knows the verifier.
var ErrImpostor = errors.New("scram: the server does not know the verifier")

var errMalformed = errors.New("scram: malformed message of the server")

// nonceLen is PostgreSQL's: 24 characters in base64.
const nonceLen = 18

// Exchange is the client's side of one exchange. Its steps are First, Final and Verify.
type Exchange struct {
	key    *Key
	gs2    string
	bind   []byte // tls-server-end-point with GS2Plus
	nonce  string
	bare   string // of the client-first-message
	signed []byte // the AuthMessage, once Final has made it
}

// NewExchange begins an exchange for key. gs2 is one of the three constants; bind is the EndPoint of the server's
// certificate with GS2Plus.
func NewExchange(key *Key, gs2 string, bind []byte) *Exchange {
	return &Exchange{key: key, gs2: gs2, bind: bind}
}

// Mechanism is what the client says it will do.
func (e *Exchange) Mechanism() string {
	if e.gs2 == GS2Plus {
		return MechanismPlus
	}
	return Mechanism
}

// First is the client-first-message. The user is the one of the startup packet.
func (e *Exchange) First() ([]byte, error) {
	var nonce [nonceLen]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, err
	}
	e.nonce = base64.StdEncoding.EncodeToString(nonce[:])
	e.bare = "n=,r=" + e.nonce
	return []byte(e.gs2 + e.bare), nil
}

// Final answers the server-first-message with the proof, but only if the server holds the key's own verifier.
func (e *Exchange) Final(serverFirst []byte) ([]byte, error) {
	nonce, rest, ok := cut(serverFirst, "r=")
	salt, rest, ok2 := cut(rest, "s=")
	iterations, _, ok3 := cut(rest, "i=")
	if !ok || !ok2 || !ok3 || len(nonce) <= len(e.nonce) || !bytes.HasPrefix(nonce, []byte(e.nonce)) || !printable(nonce) {
		return nil, errMalformed
	}
	want := e.key.verifier
	got, err := base64.StdEncoding.DecodeString(string(salt))
	n, err2 := strconv.Atoi(string(iterations))
	if err != nil || err2 != nil {
		return nil, errMalformed
	}
	if !bytes.Equal(got, want.Salt) || n != want.Iterations {
		return nil, ErrOtherVerifier
	}
	final := base64.StdEncoding.AppendEncode([]byte("c="), append([]byte(e.gs2), e.bind...))
	final = append(append(final, ",r="...), nonce...)
	e.signed = bytes.Join([][]byte{[]byte(e.bare), serverFirst, final}, []byte(","))
	return base64.StdEncoding.AppendEncode(append(final, ",p="...), e.key.proof(e.signed)), nil
}

// Verify judges the server-final-message.
func (e *Exchange) Verify(serverFinal []byte) error {
	signature, _, ok := cut(serverFinal, "v=")
	if !ok || e.signed == nil {
		return errMalformed
	}
	want := base64.StdEncoding.AppendEncode(nil, e.key.verifier.Signature(e.signed))
	if subtle.ConstantTimeCompare(signature, want) != 1 {
		return ErrImpostor
	}
	return nil
}

// cut splits off an attribute and the comma after it.
func cut(msg []byte, name string) (value, rest []byte, ok bool) {
	msg, ok = bytes.CutPrefix(msg, []byte(name))
	value, rest, _ = bytes.Cut(msg, []byte(","))
	return value, rest, ok
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
