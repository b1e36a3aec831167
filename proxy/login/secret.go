package login

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

type secretKind uint8

const (
	noSecret secretKind = iota
	plainSecret
	md5Secret
	scramSecret
)

// Secret is what a password is checked against. Copies share what is derived from it.
type Secret struct {
	kind    secretKind
	text    string                    // the password, or the 32 hex digits of md5
	scram   *verifier                 // of a scramSecret
	derived *atomic.Pointer[verifier] // of a plainSecret, once somebody needed it
}

// String keeps secrets out of whatever prints one.
func (Secret) String() string { return "(secret)" }

// GoString is String for %#v.
func (Secret) GoString() string { return "(secret)" }

// LogValue is String for slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("(secret)") }

// verifier proves a password without knowing it (RFC 5802).
type verifier struct {
	salt       []byte
	iterations int
	stored     [sha256.Size]byte
	server     [sha256.Size]byte
}

// defaultIterations is PostgreSQL's default of scram_iterations; an unknown user is shown it as well.
const defaultIterations = 4096

const scramPrefix = "SCRAM-SHA-256$"

// ParseSecret reads the secret of a user as pg_authid or userlist.txt has it: md5 and 32 hex digits, a SCRAM verifier,
// or plain text, from which a verifier is derived when first needed. Its error names the user, never the secret.
func ParseSecret(user, s string) (Secret, error) {
	digits, isMD5 := strings.CutPrefix(s, "md5")
	switch {
	case s == "":
		return Secret{}, fmt.Errorf("secret of user %q is empty", user)
	case strings.IndexByte(s, 0) >= 0:
		return Secret{}, fmt.Errorf("secret of user %q holds a NUL byte", user)
	case isMD5 && isHexMD5(digits):
		return Secret{kind: md5Secret, text: strings.ToLower(digits)}, nil
	case strings.HasPrefix(s, scramPrefix):
		v, err := parseVerifier(s[len(scramPrefix):])
		if err != nil {
			return Secret{}, fmt.Errorf("secret of user %q is not a SCRAM verifier: %w", user, err)
		}
		return Secret{kind: scramSecret, scram: v}, nil
	}
	return Secret{kind: plainSecret, text: s, derived: new(atomic.Pointer[verifier])}, nil
}

func isHexMD5(s string) bool {
	_, err := hex.DecodeString(s)
	return len(s) == 32 && err == nil
}

// parseVerifier reads iterations:salt$stored:server, the two keys and the salt in base64.
func parseVerifier(s string) (*verifier, error) {
	head, keys, ok := strings.Cut(s, "$")
	iterations, salt, ok2 := strings.Cut(head, ":")
	stored, server, ok3 := strings.Cut(keys, ":")
	if !ok || !ok2 || !ok3 {
		return nil, errors.New("a part is missing")
	}
	v := new(verifier)
	var err error
	if v.iterations, err = strconv.Atoi(iterations); err != nil || v.iterations < 1 {
		return nil, errors.New("the number of iterations is invalid")
	}
	if v.salt, err = base64.StdEncoding.DecodeString(salt); err != nil || len(v.salt) == 0 {
		return nil, errors.New("the salt is invalid")
	}
	if !decodeKey(v.stored[:], stored) || !decodeKey(v.server[:], server) {
		return nil, errors.New("a key is invalid")
	}
	return v, nil
}

func decodeKey(dst []byte, s string) bool {
	key, err := base64.StdEncoding.DecodeString(s)
	return err == nil && copy(dst, key) == len(dst) && len(key) == len(dst)
}

// derive is what PostgreSQL stores for a password.
func derive(password string, salt []byte, iterations int) (*verifier, error) {
	salted, err := pbkdf2.Key(sha256.New, saslprep(password), salt, iterations, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("deriving a SCRAM verifier: %w", err)
	}
	v := &verifier{salt: salt, iterations: iterations}
	v.stored = sha256.Sum256(sign(salted, "Client Key"))
	copy(v.server[:], sign(salted, "Server Key"))
	return v, nil
}

func sign(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// md5 is the stored hash of the secret, without its prefix. Users without one get one that no password has.
func (s Secret) md5(user string) string {
	switch s.kind {
	case md5Secret:
		return s.text
	case plainSecret:
		return hexMD5(s.text, user)
	default:
		return ""
	}
}

// saltSize is PostgreSQL's.
const saltSize = 16

// salt belongs to the user's name, whether there is such a user or not.
func (s *Server) salt(user string) []byte {
	return sign(s.cfg.MockSeed[:], user)[:saltSize:saltSize]
}

// verifier finds or derives what a SCRAM proof of the user is checked against. doomed says that no proof will do: the
// user has no secret that SCRAM can use, and must not notice before the end.
func (s *Server) verifier(ctx context.Context, a *attempt, secret Secret) (v *verifier, doomed bool, err error) {
	switch secret.kind {
	case scramSecret:
		return secret.scram, false, nil
	case plainSecret:
		v, err = s.derived(ctx, a, secret)
		return v, false, err
	default:
		return &verifier{salt: s.salt(a.user), iterations: defaultIterations}, true, nil
	}
}

// derived runs PBKDF2 for the first who needs it.
func (s *Server) derived(ctx context.Context, a *attempt, secret Secret) (*verifier, error) {
	if v := secret.derived.Load(); v != nil {
		return v, nil
	}
	if err := s.acquire(ctx, a.deadline); err != nil {
		return nil, err
	}
	defer s.release()
	if v := secret.derived.Load(); v != nil {
		return v, nil
	}
	v, err := derive(secret.text, s.salt(a.user), defaultIterations)
	if err == nil {
		secret.derived.Store(v)
	}
	return v, err
}

// matches checks a password given in clear text.
func (s *Server) matches(ctx context.Context, a *attempt, secret Secret, given []byte) (bool, error) {
	switch secret.kind {
	case plainSecret:
		return sameText(given, secret.text), nil
	case md5Secret:
		return sameText([]byte(hexMD5(string(given), a.user)), secret.text), nil
	case scramSecret:
		if err := s.acquire(ctx, a.deadline); err != nil {
			return false, err
		}
		defer s.release()
		v, err := derive(string(given), secret.scram.salt, secret.scram.iterations)
		return err == nil && subtle.ConstantTimeCompare(v.server[:], secret.scram.server[:]) == 1, err
	default:
		return false, nil
	}
}

// sameText takes the same time for texts that differ early and late, and for short and long ones.
func sameText(given []byte, want string) bool {
	a, b := sha256.Sum256(given), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// acquire takes a place for a PBKDF2, as long as the login still has time.
func (s *Server) acquire(ctx context.Context, deadline time.Time) error {
	select {
	case s.hashing <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case s.hashing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errTimeout
	}
}

func (s *Server) release() { <-s.hashing }
