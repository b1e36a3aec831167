package dial_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
	"github.com/sarnicdb/sarnic/proxy/scram"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// stored is what the server keeps of a role's password.
func stored(t testing.TB, p *pgtest.Postgres, role string) string {
	t.Helper()
	secret, err := p.Value(t.Context(), pgtest.Superuser, "select rolpassword from pg_authid where rolname='"+role+"'")
	if err != nil || secret == "" {
		t.Fatalf("secret of %s: %v", role, err)
	}
	return secret
}

// keyOf is what a login with the password reveals to who holds the verifier.
func keyOf(t testing.TB, verifier, password string) *scram.Key {
	t.Helper()
	v, err := scram.Parse(verifier)
	if err != nil {
		t.Fatal(err)
	}
	k, err := scram.Derive(password, v.Salt, v.Iterations)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// knows is a proof by key.
func knows(key *scram.Key) *dial.Proof {
	p := new(dial.Proof)
	p.LearnKey(key)
	return p
}

// hashed is a proof by md5.
func hashed(digits string) *dial.Proof {
	p := new(dial.Proof)
	p.LearnMD5(digits)
	return p
}

// TestOldSecretLearntLast: a login that was judged by a secret of a moment ago does not lock out those who know the new
// one.
func TestOldSecretLearntLast(t *testing.T) {
	p := server(t, 18)
	old := keyOf(t, stored(t, p, "scram"), `pw x'\é`)
	if err := p.Exec(t.Context(), pgtest.Superuser, "alter role scram password 'new'"); err != nil {
		t.Fatal(err)
	}
	proof := knows(keyOf(t, stored(t, p, "scram"), "new"))
	proof.LearnKey(keyOf(t, stored(t, p, "scram"), "new"))
	proof.LearnKey(old)
	c := parse(t, base(p)+"user=x sslmode=disable").WithProof("scram", "", proof)
	for range 2 {
		mustDial(t, c)
	}
	if err := p.Exec(t.Context(), pgtest.Superuser, "alter role scram password 'newer'"); err != nil {
		t.Fatal(err)
	}
	proof.LearnKey(keyOf(t, stored(t, p, "scram"), "newer"))
	mustDial(t, c)
	if err := p.Exec(t.Context(), pgtest.Superuser, "alter role scram password 'newest'"); err != nil {
		t.Fatal(err)
	}
	_, err := c.Dial(soon(t))
	wantError(t, err, dial.Auth, "28P01", "password authentication failed")
	if dial.Knows(proof) {
		t.Error("a key that was replaced by one that was accepted is kept")
	}
}

func TestKeyLogsIn(t *testing.T) {
	for _, version := range pgtest.Versions() {
		t.Run(fmt.Sprintf("pg%d", version), func(t *testing.T) {
			p := server(t, version)
			ca := " sslrootcert=" + p.CAFile()
			socket := fmt.Sprintf("host=%s port=%d dbname=postgres ", p.SocketDir(), p.Port())
			verifiers := map[string]string{}
			for _, role := range []string{"scram", "secure", "plain"} {
				verifiers[role] = stored(t, p, role)
			}
			for dsn, secure := range map[string]bool{
				base(p) + "user=scram sslmode=disable":                                  false,
				base(p) + "user=scram sslmode=prefer":                                   true,
				base(p) + "user=scram sslmode=require channel_binding=require":          true,
				base(p) + "user=scram sslmode=require channel_binding=disable":          true,
				base(p) + "user=scram sslmode=verify-full channel_binding=require" + ca: true,
				base(p) + "user=scram sslmode=require require_auth=scram-sha-256":       true,
				base(p) + "user=scram sslmode=disable require_auth=!password,!md5":      false,
				base(p) + "user=scram sslmode=disable max_protocol_version=3.0":         false,
				base(p) + "user=secure sslmode=allow":                                   true,
				base(p) + "user=plain sslmode=prefer":                                   false,
				socket + "user=scram":                                                   false,
				base(p) + "user=free sslmode=disable":                                   false, // asks for nothing
			} {
				c := parse(t, dsn+" password=wrong")
				password, verifier := "pw", verifiers[c.User()]
				switch c.User() {
				case "scram":
					password = `pw x'\é`
				case "free":
					verifier = verifiers["plain"]
				}
				s := mustDial(t, c.WithProof(c.User(), "", knows(keyOf(t, verifier, password))))
				if (s.TLS != nil) != secure || s.PID == 0 {
					t.Errorf("%s: %+v", dsn, s)
				}
				if got := ask(t, s, "select current_user"); got != c.User() {
					t.Errorf("%s: user %q", dsn, got)
				}
			}
		})
	}
}

func TestKeyIsRefused(t *testing.T) {
	p := server(t, 18)
	verifier := stored(t, p, "scram")
	right, wrong := keyOf(t, verifier, `pw x'\é`), keyOf(t, verifier, "wrong")
	other := keyOf(t, stored(t, p, "plain"), "pw")
	var proof *dial.ProofError
	for _, c := range []struct {
		dsn, code, text string
		key             *scram.Key
		refuses, asked  bool
	}{
		{"user=scram sslmode=disable", "28P01", `password authentication failed for user "scram"`, wrong, true, false},
		{"user=scram sslmode=require", "28P01", `password authentication failed for user "scram"`, wrong, true, false},
		{"user=scram sslmode=disable", "28P01", `password authentication failed for user "scram"`, other, true, true},
		{"user=word sslmode=disable", "28000", "without the password", right, false, true},
		{"user=md5 sslmode=disable", "28000", "without the password", right, false, true},
		{"user=cert sslmode=require", "28000", "certificate", right, false, false},
		{"user=scram sslmode=disable require_auth=md5", "28000", "without the password", right, false, true},
		{"user=free sslmode=disable require_auth=scram-sha-256", "08006", "cannot connect", right, false, false},
		{"user=free sslmode=disable channel_binding=require", "08006", "cannot connect", right, false, false},
		{"user=scram sslmode=disable channel_binding=require", "08006", "cannot connect", right, false, false},
		{"user=absent sslmode=disable", "28000", "no pg_hba.conf entry", right, false, false},
	} {
		config := parse(t, base(p)+c.dsn+" password=hush")
		known := knows(c.key)
		_, err := config.WithProof(config.User(), "", known).Dial(soon(t))
		if dial.Knows(known) == c.refuses {
			t.Errorf("%s: the refused key is still used: %v", c.dsn, !c.refuses)
		}
		var e *dial.Error
		if !errors.As(err, &e) || e.Told.Code != c.code || !strings.Contains(e.Told.Message, c.text) ||
			dial.RefusesProof(err) != c.refuses || errors.As(err, &proof) != c.asked {
			t.Errorf("%s: %v", c.dsn, err)
		}
	}
	// the same password, stored anew, has another salt
	if err := p.Exec(t.Context(), pgtest.Superuser, `alter role scram password 'pw x''\é'`); err != nil {
		t.Fatal(err)
	}
	config := parse(t, base(p)+"user=scram sslmode=disable")
	known := knows(right)
	_, err := config.WithProof("scram", "", known).Dial(soon(t))
	if !errors.Is(err, scram.ErrOtherVerifier) || !dial.RefusesProof(err) || dial.Knows(known) {
		t.Error(err)
	}
	_, err = config.WithProof("scram", "", known).Dial(soon(t))
	wantError(t, err, dial.Auth, "28000", "without the password")
	known.LearnKey(keyOf(t, stored(t, p, "scram"), `pw x'\é`))
	mustDial(t, config.WithProof("scram", "", known))
	known.LearnPassword(`pw x'\é`)
	mustDial(t, config.WithProof("scram", "", known))
	known.LearnPassword("wrong")
	mustDial(t, config.WithProof("scram", "", known)) // with the one before
	known = new(dial.Proof)
	known.LearnPassword("wrong")
	_, err = config.WithProof("scram", "", known).Dial(soon(t))
	wantError(t, err, dial.Auth, "28P01", "password authentication failed")
	if dial.Knows(known) {
		t.Error("a refused password is kept")
	}
}

func TestMD5LogsIn(t *testing.T) {
	for _, version := range pgtest.Versions() {
		p := server(t, version)
		digits := strings.TrimPrefix(stored(t, p, "md5"), "md5")
		c := parse(t, base(p)+"user=other sslmode=disable password=wrong")
		s := mustDial(t, c.WithProof("md5", "template1", hashed(digits)))
		if got := ask(t, s, "select current_user || current_database()"); got != "md5template1" {
			t.Error(got)
		}
		for user, code := range map[string]string{"scram": "28000", "word": "28000", "absent": "28000"} {
			_, err := c.WithProof(user, "", hashed(digits)).Dial(soon(t))
			var e *dial.Error
			if !errors.As(err, &e) || e.Told.Code != code {
				t.Errorf("%s: %v", user, err)
			}
		}
		_, err := c.WithProof("md5", "", hashed(strings.Repeat("0", 32))).Dial(soon(t))
		if !dial.RefusesProof(err) {
			t.Error(err)
		}
		_, err = parse(t, base(p)+"user=md5 sslmode=disable require_auth=!md5").WithProof("md5", "", hashed(digits)).Dial(soon(t))
		wantError(t, err, dial.Auth, "28000", "without the password")
	}
}

// TestPasswordAfterKey: a Config with a password forgets the key it had.
func TestPasswordAfterKey(t *testing.T) {
	p := server(t, 18)
	c := parse(t, base(p)+"user=x sslmode=disable").WithProof("scram", "", knows(keyOf(t, stored(t, p, "plain"), "pw")))
	mustDial(t, c.WithUser("word", "", "pw"))
	if text := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(text, "secret") || strings.Contains(text, "0x") {
		t.Error(text)
	}
}

// challenge is a server-first-message for the verifier that plays along with whatever nonce the client chose.
func challenge(v *scram.Verifier, initial []byte) []byte {
	_, nonce, _ := bytes.Cut(initial, []byte("r="))
	return fmt.Appendf(nil, "r=%sserver,s=%s,i=%d", nonce, "V38b7wOsjBDGe0fDtLR4aA==", v.Iterations)
}

const verifier = "SCRAM-SHA-256$4096:V38b7wOsjBDGe0fDtLR4aA==$IGfbGeuSWJaVp6czqw5CXBlmioyoT2N4jL87yXL+AkM=:GBIF4E2QT1L6fOJ5EshlMyuP8nc/ccO3kWAwWqtW0eM="

// TestImpostors let everybody in; none gets us.
func TestImpostors(t *testing.T) {
	key := keyOf(t, verifier, "secret")
	ok := wire.AppendReadyForQuery(wire.AppendAuthOK(nil), 'I')
	for name, last := range map[string][]byte{
		"no signature":    ok,
		"wrong signature": append(wire.AppendAuthSASLFinal(nil, []byte("v=AAAA")), ok...),
		"no message":      append(wire.AppendAuthSASLFinal(nil, nil), ok...),
		"asks again":      append(wire.AppendAuthSASL(nil, "SCRAM-SHA-256"), ok...),
		"cleartext":       append(wire.AppendAuthCleartext(nil), ok...),
		"not the proto":   []byte("HTTP/1.1 400 Bad Request"),
		"long":            []byte("R\x7f\xff\xff\xff\x00\x00\x00\x0c"),
		"leaves":          nil,
	} {
		dsn := fake(t, func(conn net.Conn) {
			startupPacket(conn)
			_, _ = conn.Write(wire.AppendAuthSASL(nil, "SCRAM-SHA-256"))
			body := message(conn)
			_, _ = conn.Write(wire.AppendAuthSASLContinue(nil, challenge(key.Verifier(), body)))
			message(conn)
			if _, _ = conn.Write(last); last == nil {
				return
			}
			_, _ = io.Copy(io.Discard, conn)
		})
		s, err := parse(t, dsn+" connect_timeout=1").WithProof("x", "", knows(key)).Dial(soon(t))
		if err == nil {
			_ = s.Conn.Close()
			t.Errorf("%s: a connection", name)
		}
		if strings.Contains(err.Error(), "V38b") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// message reads one frame's body.
func message(conn net.Conn) []byte {
	head := make([]byte, wire.HeaderLen)
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil
	}
	body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
	_, _ = io.ReadFull(conn, body)
	return body
}

// script is a server that has said all it will ever say.
type script struct {
	net.Conn
	says io.Reader
}

func (s *script) Read(b []byte) (int, error)     { return s.says.Read(b) }
func (*script) Write(b []byte) (int, error)      { return len(b), nil }
func (*script) Close() error                     { return nil }
func (*script) SetDeadline(time.Time) error      { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }
func (*script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// FuzzDoorman: whatever a server says, what is passed on is what it said, but for the requests for a proof.
func FuzzDoorman(f *testing.F) {
	ok := wire.AppendReadyForQuery(wire.AppendAuthOK(nil), 'I')
	f.Add(ok, true)
	f.Add(append(wire.AppendAuthSASL(nil, "SCRAM-SHA-256"), wire.AppendAuthSASLContinue(nil, []byte("r=x,s=AA==,i=1"))...), true)
	f.Add(append(wire.AppendAuthMD5(nil, [4]byte{1}), ok...), false)
	f.Add(append(wire.AppendNegotiateProtocolVersion(nil, wire.Version30, []string{"_pq_.x"}), ok...), true)
	f.Add(wire.AppendError(nil, &wire.Error{Code: "28P01"}), false)
	f.Add([]byte("R\x00\x00\x00\x06\x00\x00"), true)
	key := keyOf(f, verifier, "secret")
	f.Fuzz(func(t *testing.T, says []byte, withKey bool) {
		c := parse(t, "host=h user=u sslmode=disable")
		if withKey {
			c = c.WithProof("u", "", knows(key))
		} else {
			c = c.WithProof("u", "", hashed(strings.Repeat("0", 32)))
		}
		conn := &script{says: bytes.NewReader(says)}
		passed, _ := io.ReadAll(dial.Admit(c, conn, conn))
		if !subsequence(says, passed) {
			t.Errorf("%q becomes %q", says, passed)
		}
	})
}

// subsequence reports whether part is what is left of whole when bytes are taken out.
func subsequence(whole, part []byte) bool {
	for _, b := range whole {
		if len(part) > 0 && part[0] == b {
			part = part[1:]
		}
	}
	return len(part) == 0
}
