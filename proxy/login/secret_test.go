package login_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
)

// storedVerifier is what PostgreSQL 18 stored for the password "secret".
const storedVerifier = "SCRAM-SHA-256$4096:V38b7wOsjBDGe0fDtLR4aA==$IGfbGeuSWJaVp6czqw5CXBlmioyoT2N4jL87yXL+AkM=:GBIF4E2QT1L6fOJ5EshlMyuP8nc/ccO3kWAwWqtW0eM="

func TestParseSecret(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for s, want := range map[string]string{
		"":                                   "is empty",
		"a\x00b":                             "NUL byte",
		"SCRAM-SHA-256$":                     "a part is missing",
		"SCRAM-SHA-256$4096:c2FsdA==":        "a part is missing",
		"SCRAM-SHA-256$4096:c2FsdA==$" + key: "a part is missing",
		"SCRAM-SHA-256$0:c2FsdA==$" + key + ":" + key:                    "iterations",
		"SCRAM-SHA-256$99999999999999999999:c2FsdA==$" + key + ":" + key: "iterations",
		"SCRAM-SHA-256$4096:#$" + key + ":" + key:                        "salt",
		"SCRAM-SHA-256$4096:$" + key + ":" + key:                         "salt",
		"SCRAM-SHA-256$4096:c2FsdA==$" + key[:40] + ":" + key:            "key",
		"SCRAM-SHA-256$4096:c2FsdA==$" + key + ":" + key + key:           "key",
		"SCRAM-SHA-256$4096:c2FsdA==$" + key + ":" + key:                 "",
		storedVerifier:                   "",
		"md5" + strings.Repeat("0a", 16): "",
		"md5" + strings.Repeat("0a", 15): "", // a password that begins like that
		"md5" + strings.Repeat("zz", 16): "",
		"secret":                         "",
	} {
		_, err := login.ParseSecret("alice", s)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", s, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "alice")):
			t.Errorf("%q: want %q, got %v", s, want, err)
		case err != nil && len(s) > 20 && strings.Contains(err.Error(), s[14:20]):
			t.Errorf("the secret is in %v", err)
		}
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	s, err := login.ParseSecret("alice", "pssst")
	must(t, err)
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("", slog.Any("secret", s))
	fmt.Fprintf(&b, "%v %+v %#v %s", s, s, s, s)
	if strings.Contains(b.String(), "pssst") {
		t.Error(b.String())
	}
}

// oddPasswords are those whose bytes the two ends of an exchange could disagree about.
func oddPasswords() []string {
	return []string{
		"plain", "with space", "tab\tbed", "ﬁne", "Ⅸ", "\u00a0", "a\u00a0b", "a\u200bb", "soft\u00adhyphen", "\u00ad",
		"e\u0301", "é", "ÅÅ\u212b", "ｆｕｌｌ", "😀", "Ⅸ😀", "a\u0221b", "\u0627\u0644\u0639", "\u06271", "1\u0627", "\u0627a\u0627",
		"\u0627 \u0639", "\u05d0\u05d1", "\u05d01\u05d0", "\ue000", "\ufffd", "a\u0340b", "a\u200eb", "\U000e0041", "\u2028",
		"a\u0080b", "ß", "ﷺ", "ﷺ1", "\u1d2c", "①", "½", "\u3000x", "\u1680", "\u180e", "\u2060a", "a\ufeff", "\ufe0fa",
		"한글", "\u1112\u1161\u11ab", "\U0001d400", "İ", "\u0660", "\u202eabc", "x\u2ff0",
	}
}

// TestDerivedAsPostgreSQL stores odd passwords in PostgreSQL and logs in here with what it stored, in clear text, which
// runs our derivation over the same salt.
func TestDerivedAsPostgreSQL(t *testing.T) {
	ca := newAuthority(t)
	pgtest.Each(t, func(t *testing.T, p *pgtest.Postgres) {
		secrets := map[string]string{}
		ctx := t.Context()
		for i, password := range oddPasswords() {
			role := fmt.Sprintf("odd%d", i)
			must(t, p.Exec(ctx, pgtest.Superuser, "set password_encryption='scram-sha-256'; drop role if exists "+role+"; create role "+role+
				" login password '"+password+"'"))
			stored, err := p.Value(ctx, pgtest.Superuser, "select rolpassword from pg_authid where rolname='"+role+"'")
			must(t, err)
			secrets[role] = stored
		}
		ours := listen(t, login.Config{Method: login.Password, TLS: ca.serverTLS(), Lookup: users(t, secrets)})
		for i, password := range oddPasswords() {
			err := tryConnect(t, fmt.Sprintf("host=127.0.0.1 port=%s user=odd%d sslmode=require password='%s'",
				port(ours.addr), i, password))
			if err != nil {
				t.Errorf("%+q: %v", password, err)
			}
		}
	})
}
