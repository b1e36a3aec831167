package scram

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"log/slog"
	"strconv"
	"strings"
)

// Mechanism and MechanismPlus are the mechanisms, as SASL names them; the second binds the exchange to the TLS under it.
const (
	Mechanism     = "SCRAM-SHA-256"
	MechanismPlus = "SCRAM-SHA-256-PLUS"
)

// DefaultIterations is PostgreSQL's default of scram_iterations.
const DefaultIterations = 4096

// Prefix begins a verifier as pg_authid has it.
const Prefix = Mechanism + "$"

// maxSalt bounds the salt of a verifier: a longer one would not fit the messages of an exchange. PostgreSQL makes 16
// bytes.
const maxSalt = 256

// Verifier checks proofs of a password without knowing it. It is immutable.
type Verifier struct {
	Salt       []byte
	Iterations int
	Stored     [sha256.Size]byte // StoredKey
	Server     [sha256.Size]byte // ServerKey
}

// String keeps verifiers out of whatever prints one.
func (*Verifier) String() string { return "(secret)" }

// GoString is String for %#v.
func (*Verifier) GoString() string { return "(secret)" }

// LogValue is String for slog.
func (*Verifier) LogValue() slog.Value { return slog.StringValue("(secret)") }

// Parse reads a verifier as pg_authid has it: SCRAM-SHA-256$iterations:salt$stored:server, the two keys and the salt in
// base64. Its errors hold nothing of it.
func Parse(s string) (*Verifier, error) {
	s, ok := strings.CutPrefix(s, Prefix)
	head, keys, ok1 := strings.Cut(s, "$")
	iterations, salt, ok2 := strings.Cut(head, ":")
	stored, server, ok3 := strings.Cut(keys, ":")
	if !ok || !ok1 || !ok2 || !ok3 {
		return nil, errors.New("a part is missing")
	}
	v := new(Verifier)
	var err error
	if v.Iterations, err = strconv.Atoi(iterations); err != nil || v.Iterations < 1 {
		return nil, errors.New("the number of iterations is invalid")
	}
	if v.Salt, err = base64.StdEncoding.DecodeString(salt); err != nil || len(v.Salt) == 0 || len(v.Salt) > maxSalt {
		return nil, errors.New("the salt is invalid")
	}
	if !decodeKey(v.Stored[:], stored) || !decodeKey(v.Server[:], server) {
		return nil, errors.New("a key is invalid")
	}
	return v, nil
}

func decodeKey(dst []byte, s string) bool {
	key, err := base64.StdEncoding.DecodeString(s)
	return err == nil && copy(dst, key) == len(dst) && len(key) == len(dst)
}

// Equal reports whether both were made of the same password with the same salt and number of iterations.
func (v *Verifier) Equal(w *Verifier) bool {
	if v == nil || w == nil {
		return v == w
	}
	same := subtle.ConstantTimeCompare(v.Stored[:], w.Stored[:]) & subtle.ConstantTimeCompare(v.Server[:], w.Server[:])
	return same == 1 && v.Iterations == w.Iterations && bytes.Equal(v.Salt, w.Salt)
}

// Check returns the key that proof reveals, or nil for a wrong one. signed is the AuthMessage of the exchange. The
// client key is covered by a signature that the verifier's own stored key is enough to make.
func (v *Verifier) Check(signed []byte, proof *[sha256.Size]byte) *Key {
	k := &Key{verifier: v}
	subtle.XORBytes(k.client[:], mac(v.Stored[:], signed), proof[:])
	stored := sha256.Sum256(k.client[:])
	if subtle.ConstantTimeCompare(stored[:], v.Stored[:]) != 1 {
		return nil
	}
	return k
}

// Signature is the server's own proof, which ends an exchange.
func (v *Verifier) Signature(signed []byte) []byte { return mac(v.Server[:], signed) }

func mac(key, text []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(text)
	return m.Sum(nil)
}
