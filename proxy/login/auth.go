package login

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// authenticate lets the client prove that it is the user it says it is.
func (a *attempt) authenticate(ctx context.Context) error {
	cfg := &a.srv.cfg
	if cfg.requiresTLS() && a.tls == nil && !a.local() {
		return a.refuse(a.noEntry("Connections are accepted over TLS only: connect with sslmode=require."))
	}
	var secret Secret
	known := cfg.Lookup == nil
	if cfg.Lookup != nil {
		secret, known = cfg.Lookup(a.user, a.database)
	}
	switch {
	case cfg.Method == Trust && known:
		return nil
	case cfg.Method == Trust:
		a.out = wire.AppendAuthOK(a.out)
		return a.refuse(fatal(wire.CodeInvalidAuthorization, fmt.Sprintf("role \"%s\" does not exist", a.user)))
	case cfg.Method == Password:
		return a.password(ctx, secret, known)
	case cfg.Method == MD5 && secret.kind != scramSecret:
		return a.md5(secret, known)
	}
	return a.scram(ctx, secret, known)
}

// noEntry is what PostgreSQL says to those for whom pg_hba.conf has no line; some clients look for the words.
func (a *attempt) noEntry(hint string) *wire.Error {
	host := "[local]"
	if addr, ok := a.conn.RemoteAddr().(*net.TCPAddr); ok {
		host = addr.IP.String()
	}
	return withHint(fatal(wire.CodeInvalidAuthorization, fmt.Sprintf(
		"no pg_hba.conf entry for host \"%s\", user \"%s\", database \"%s\", no encryption", host, a.user, a.database)), hint)
}

// wrongPassword is what everybody is told whose proof fails, for whatever reason.
func (a *attempt) wrongPassword() error {
	return a.refuse(fatal(wire.CodeInvalidPassword, fmt.Sprintf("password authentication failed for user \"%s\"", a.user)))
}

// password asks for the password itself.
func (a *attempt) password(ctx context.Context, secret Secret, known bool) error {
	if a.tls == nil && !a.local() {
		return a.refuse(a.noEntry("Passwords are accepted over TLS or a unix socket only: connect with sslmode=require."))
	}
	a.out = wire.AppendAuthCleartext(a.out)
	given, err := a.ask()
	if err != nil {
		return err
	}
	ok, err := a.srv.matches(ctx, a, secret, given)
	switch {
	case err != nil:
		return err
	case !ok || !known:
		return a.wrongPassword()
	}
	return nil
}

// md5 asks for the hash of the stored hash and a salt. It is as weak as it is old; who stores plain text or md5… and
// has clients that can do no better needs it.
func (a *attempt) md5(secret Secret, known bool) error {
	var salt [4]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return a.silent(err)
	}
	a.out = wire.AppendAuthMD5(a.out, salt)
	given, err := a.ask()
	if err != nil {
		return err
	}
	want := "md5" + hexMD5(secret.md5(a.user), string(salt[:]))
	if !sameText(given, want) || !known {
		return a.wrongPassword()
	}
	return nil
}

// ask sends the question and returns the text of the answer, valid until the next read.
func (a *attempt) ask() ([]byte, error) {
	if err := a.flush(); err != nil {
		return nil, err
	}
	body, err := a.response("password", maxPassword)
	if errors.Is(err, errTooLong) {
		return nil, a.silent(fatal(wire.CodeProtocolViolation, err.Error()))
	}
	if err != nil {
		return nil, err
	}
	given, ok := wire.PasswordText(body)
	switch {
	case !ok:
		return nil, a.refuse(fatal(wire.CodeProtocolViolation, "invalid password packet size"))
	case len(given) == 0:
		return nil, a.refuse(fatal(wire.CodeInvalidPassword, "empty password returned by client"))
	}
	return given, nil
}

func hexMD5(parts ...string) string {
	h := md5.New()
	for _, p := range parts {
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}
