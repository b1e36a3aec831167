package scram

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"
)

// stored is what PostgreSQL 18 stored for the password "secret".
const stored = "SCRAM-SHA-256$4096:V38b7wOsjBDGe0fDtLR4aA==$IGfbGeuSWJaVp6czqw5CXBlmioyoT2N4jL87yXL+AkM=:GBIF4E2QT1L6fOJ5EshlMyuP8nc/ccO3kWAwWqtW0eM="

func parse(t testing.TB, s string) *Verifier {
	t.Helper()
	v, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func derive(t testing.TB, password string, v *Verifier) *Key {
	t.Helper()
	k, err := Derive(password, v.Salt, v.Iterations)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// server plays the other side of an exchange by the RFC.
type server struct {
	v           *Verifier
	first, last string
	key         *Key // what the proof revealed
}

func (s *server) challenge(clientFirst []byte) []byte {
	bare := string(clientFirst)
	for _, gs2 := range []string{GS2None, GS2Unused, GS2Plus} {
		bare = strings.TrimPrefix(bare, gs2)
	}
	s.last = "r=" + strings.TrimPrefix(bare, "n=,r=") + "server,s=" + base64.StdEncoding.EncodeToString(s.v.Salt) +
		fmt.Sprintf(",i=%d", s.v.Iterations)
	s.first = bare
	return []byte(s.last)
}

// judge checks the proof and signs.
func (s *server) judge(clientFinal []byte) []byte {
	head, proof, _ := strings.Cut(string(clientFinal), ",p=")
	signed := []byte(s.first + "," + s.last + "," + head)
	var p [sha256.Size]byte
	raw, _ := base64.StdEncoding.DecodeString(proof)
	copy(p[:], raw)
	s.key = s.v.Check(signed, &p)
	return []byte("v=" + base64.StdEncoding.EncodeToString(s.v.Signature(signed)))
}

func TestDeriveAsPostgreSQL(t *testing.T) {
	v := parse(t, stored)
	if !derive(t, "secret", v).Verifier().Equal(v) {
		t.Error("derived another verifier")
	}
	if derive(t, "Secret", v).Verifier().Equal(v) {
		t.Error("another password derives the same verifier")
	}
	if _, err := Derive("secret", v.Salt, MaxIterations+1); !errors.Is(err, ErrTooManyIterations) {
		t.Error(err)
	}
}

// TestKeyIsRevealed: what a verifier sees of one exchange is enough for the next.
func TestKeyIsRevealed(t *testing.T) {
	v := parse(t, stored)
	key := derive(t, "secret", v)
	for _, gs2 := range []string{GS2None, GS2Unused, GS2Plus} {
		s := &server{v: v}
		e := NewExchange(key, gs2, []byte("certificate"))
		first, err := e.First()
		if err != nil || !strings.HasPrefix(string(first), gs2) || (e.Mechanism() == MechanismPlus) != (gs2 == GS2Plus) {
			t.Fatalf("%s %s %v", e.Mechanism(), first, err)
		}
		final, err := e.Final(s.challenge(first))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Verify(s.judge(final)); err != nil {
			t.Error(err)
		}
		if s.key == nil || *s.key != (Key{verifier: v, client: key.client}) {
			t.Fatal("the proof is not accepted, or reveals another key")
		}
		key = s.key
	}
}

func TestWrongKeyIsNotAccepted(t *testing.T) {
	v := parse(t, stored)
	s := &server{v: v}
	e := NewExchange(derive(t, "wrong", v), GS2None, nil)
	first, _ := e.First()
	final, err := e.Final(s.challenge(first))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Verify(s.judge(final)); !errors.Is(err, ErrImpostor) || s.key != nil {
		t.Errorf("%v, key %v", err, s.key)
	}
}

// TestServersThatLie are sent no proof.
func TestServersThatLie(t *testing.T) {
	v := parse(t, stored)
	salt := base64.StdEncoding.EncodeToString(v.Salt)
	for msg, want := range map[string]error{
		"":                                      errMalformed,
		"r=NONCEx":                              errMalformed,
		"r=NONCE,s=" + salt + ",i=4096":         errMalformed, // adds nothing to our nonce
		"r=other,s=" + salt + ",i=4096":         errMalformed,
		"r=NONCE\x01,s=" + salt + ",i=4096":     errMalformed,
		"r=NONCEx,s=#,i=4096":                   errMalformed,
		"r=NONCEx,s=" + salt + ",i=x":           errMalformed,
		"r=NONCEx,i=4096,s=" + salt:             errMalformed,
		"r=NONCEx,s=" + salt + ",i=4095":        ErrOtherVerifier,
		"r=NONCEx,s=AAAA,i=4096":                ErrOtherVerifier,
		"r=NONCEx,s=" + salt + ",i=-1":          ErrOtherVerifier,
		"r=NONCEx,s=" + salt + ",i=4096":        nil,
		"r=NONCEx,s=" + salt + ",i=4096,ext=ok": nil,
	} {
		e := NewExchange(derive(t, "secret", v), GS2None, nil)
		if _, err := e.First(); err != nil {
			t.Fatal(err)
		}
		final, err := e.Final([]byte(strings.ReplaceAll(msg, "NONCE", e.nonce)))
		if !errors.Is(err, want) || (want != nil && final != nil) {
			t.Errorf("%q: %v", msg, err)
		}
		for _, last := range []string{"", "e=other-error", "v=", "v=" + base64.StdEncoding.EncodeToString(make([]byte, 32))} {
			if err := e.Verify([]byte(last)); err == nil {
				t.Errorf("%q: %q is believed", msg, last)
			}
		}
	}
}

func TestNothingIsPrinted(t *testing.T) {
	v := parse(t, stored)
	k := derive(t, "secret", v)
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("", slog.Any("key", k), slog.Any("verifier", v))
	fmt.Fprintf(&b, "%v %+v %#v %s %v %+v %#v", k, k, k, k, v, v, v)
	for _, secret := range []string{
		"V38b", fmt.Sprint(v.Salt[0], v.Salt[1]), fmt.Sprint(k.client[0], k.client[1]), fmt.Sprintf("%x", k.client[:3]),
		fmt.Sprintf("%#v", k.client[:2])[7:17],
	} {
		if strings.Contains(b.String(), strings.Trim(secret, "[]{}")) {
			t.Errorf("%s is in %s", secret, b.String())
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(stored)
	f.Add("SCRAM-SHA-256$1:AA==$:")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := Parse(s)
		again, _ := Parse(s)
		if err == nil && (v.Iterations < 1 || len(v.Salt) == 0 || len(v.Salt) > maxSalt || !v.Equal(again)) {
			t.Errorf("%q is accepted", s)
		}
	})
}

// FuzzServerFirst: a proof is made for the key's own verifier only, and only for a nonce that begins with ours.
func FuzzServerFirst(f *testing.F) {
	v := parse(f, stored)
	key := derive(f, "secret", v)
	f.Add([]byte("r=NONCEx,s=V38b7wOsjBDGe0fDtLR4aA==,i=4096"))
	f.Add([]byte("r=,s=,i="))
	f.Fuzz(func(t *testing.T, msg []byte) {
		e := NewExchange(key, GS2None, nil)
		if _, err := e.First(); err != nil {
			t.Fatal(err)
		}
		msg = bytes.ReplaceAll(msg, []byte("NONCE"), []byte(e.nonce))
		final, err := e.Final(msg)
		if err != nil {
			return
		}
		if !bytes.HasPrefix(final, []byte("c=biws,r="+e.nonce)) || !bytes.Contains(msg, []byte("i=")) {
			t.Errorf("%q is answered with %q", msg, final)
		}
		if e.Verify(msg) == nil {
			t.Error("anything is believed")
		}
	})
}

func FuzzSASLprep(f *testing.F) {
	for _, s := range []string{"plain", "ﬁne", "Ⅸ", "a\u00a0b", "a\u200bb", "\u00ad", "e\u0301", "\u06271", "a\u0221b", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := saslprep(s)
		if once == "" && s != "" {
			t.Errorf("%q becomes empty", s)
		}
		if !utf8.ValidString(s) && once != s {
			t.Errorf("%q is changed", s)
		}
	})
}
