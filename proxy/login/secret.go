package login

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sarnicdb/sarnic/proxy/scram"
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
	text    string                     // the password, the 32 hex digits of md5, or why there is no secret
	scram   *scram.Verifier            // of a scramSecret
	derived *atomic.Pointer[scram.Key] // of a plainSecret, once somebody needed it
}

// String keeps secrets out of whatever prints one.
func (Secret) String() string { return "(secret)" }

// GoString is String for %#v.
func (Secret) GoString() string { return "(secret)" }

// LogValue is String for slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("(secret)") }

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
	case strings.HasPrefix(s, scram.Prefix):
		v, err := scram.Parse(s)
		if err != nil {
			return Secret{}, fmt.Errorf("secret of user %q is not a SCRAM verifier: %w", user, err)
		}
		return Secret{kind: scramSecret, scram: v}, nil
	}
	return Secret{kind: plainSecret, text: s, derived: new(atomic.Pointer[scram.Key])}, nil
}

// NoSecret is for a user that exists and whom no password lets in; reason is for the log.
func NoSecret(reason string) Secret { return Secret{text: reason} }

// Password is the secret itself, where it is stored in plain text.
func (s Secret) Password() (text string, ok bool) {
	if s.kind != plainSecret {
		return "", false
	}
	return s.text, true
}

// MD5 is the 32 hex digits of md5(password + user), where that is what is stored.
func (s Secret) MD5() (digits string, ok bool) {
	if s.kind != md5Secret {
		return "", false
	}
	return s.text, true
}

// Verifier is what is stored for SCRAM; nil where it is something else.
func (s Secret) Verifier() *scram.Verifier { return s.scram }

func isHexMD5(s string) bool {
	_, err := hex.DecodeString(s)
	return len(s) == 32 && err == nil
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

// fault says for the log why a proof could not be accepted.
func (s Secret) fault(known bool) error {
	switch {
	case !known:
		return errUnknownUser
	case s.kind == noSecret && s.text != "":
		return errors.New(s.text)
	case s.kind == noSecret:
		return errNoSecret
	}
	return errMismatch
}

var (
	errUnknownUser = errors.New("no such user")
	errNoSecret    = errors.New("the user has no password")
	errNotSCRAM    = errors.New("the user's secret is an md5 hash, which SCRAM cannot use")
	errMismatch    = errors.New("the password does not match")
)

// salt belongs to the user's name, whether there is such a user or not.
func (s *Server) salt(user string) []byte {
	m := hmac.New(sha256.New, s.cfg.MockSeed[:])
	m.Write([]byte(user))
	return m.Sum(nil)[:saltSize:saltSize]
}

// verifier finds or derives what a SCRAM proof of the user is checked against. doomed says that no proof will do: the
// user has no secret that SCRAM can use, and must not notice before the end.
func (s *Server) verifier(ctx context.Context, a *attempt, secret Secret) (v *scram.Verifier, doomed bool, err error) {
	switch secret.kind {
	case scramSecret:
		return secret.scram, false, nil
	case plainSecret:
		k, err := s.derived(ctx, a, secret)
		if err != nil {
			return nil, false, err
		}
		return k.Verifier(), false, nil
	default:
		return &scram.Verifier{Salt: s.salt(a.user), Iterations: scram.DefaultIterations}, true, nil
	}
}

// derived runs PBKDF2 for the first who needs it.
func (s *Server) derived(ctx context.Context, a *attempt, secret Secret) (*scram.Key, error) {
	if k := secret.derived.Load(); k != nil {
		return k, nil
	}
	if err := s.acquire(ctx, a.deadline); err != nil {
		return nil, err
	}
	defer s.release()
	if k := secret.derived.Load(); k != nil {
		return k, nil
	}
	k, err := scram.Derive(secret.text, s.salt(a.user), scram.DefaultIterations)
	if err == nil {
		secret.derived.Store(k)
	}
	return k, err
}

// matches checks a password given in clear text. The key is set where the secret is a SCRAM verifier.
func (s *Server) matches(ctx context.Context, a *attempt, secret Secret, given []byte) (bool, *scram.Key, error) {
	switch secret.kind {
	case plainSecret:
		return sameText(given, secret.text), nil, nil
	case md5Secret:
		return sameText([]byte(hexMD5(string(given), a.user)), secret.text), nil, nil
	case scramSecret:
		if err := s.acquire(ctx, a.deadline); err != nil {
			return false, nil, err
		}
		defer s.release()
		k, err := scram.Derive(string(given), secret.scram.Salt, secret.scram.Iterations)
		if err != nil {
			return false, nil, err
		}
		return k.Verifier().Equal(secret.scram), k, nil
	default:
		return false, nil, nil
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
