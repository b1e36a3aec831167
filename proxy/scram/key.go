package scram

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
)

// MaxIterations bounds the work of Derive: a role may store a verifier of its own making, with any number in it, and
// then give its password in clear text. It is some 250 times PostgreSQL's default.
const MaxIterations = 1 << 20

// ErrTooManyIterations is Derive's refusal.
var ErrTooManyIterations = errors.New("scram: the verifier asks for too many iterations")

// Key is what a client proves to have. It is immutable.
type Key struct {
	verifier *Verifier
	client   [sha256.Size]byte // ClientKey
}

// String keeps keys out of whatever prints one.
func (*Key) String() string { return "(secret)" }

// GoString is String for %#v.
func (*Key) GoString() string { return "(secret)" }

// LogValue is String for slog.
func (*Key) LogValue() slog.Value { return slog.StringValue("(secret)") }

// Verifier is what PostgreSQL stores for the password of k.
func (k *Key) Verifier() *Verifier { return k.verifier }

// Derive makes the key of a password. It takes milliseconds.
func Derive(password string, salt []byte, iterations int) (*Key, error) {
	if iterations > MaxIterations {
		return nil, ErrTooManyIterations
	}
	salted, err := pbkdf2.Key(sha256.New, saslprep(password), salt, iterations, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("deriving a SCRAM verifier: %w", err)
	}
	k := &Key{verifier: &Verifier{Salt: salt, Iterations: iterations}}
	copy(k.client[:], mac(salted, []byte("Client Key")))
	copy(k.verifier.Server[:], mac(salted, []byte("Server Key")))
	k.verifier.Stored = sha256.Sum256(k.client[:])
	return k, nil
}

// proof is the client's proof for the AuthMessage signed.
func (k *Key) proof(signed []byte) []byte {
	p := mac(k.verifier.Stored[:], signed)
	subtle.XORBytes(p, p, k.client[:])
	return p
}
