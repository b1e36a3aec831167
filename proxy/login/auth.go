package login

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/sarnicdb/sarnic/proxy/hba"
	"github.com/sarnicdb/sarnic/proxy/scram"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// authenticate lets the client prove that it is the user it says it is, in the way that the first rule for it says.
func (a *attempt) authenticate(ctx context.Context) error {
	if a.srv.cfg.requiresTLS() && a.tls == nil && !a.local() {
		return a.rejected(a.noEntry("Connections are accepted over TLS only: connect with sslmode=require."))
	}
	rule, err := a.findRule(ctx)
	if err != nil {
		return err
	}
	a.place = rule.Place
	switch {
	case rule.Method == hba.Reject:
		return a.rejected(fatal(wire.CodeInvalidAuthorization, "pg_hba.conf rejects connection for "+a.who()))
	case rule.NeedsCertificate() && a.certificate() == nil:
		return a.rejected(fatal(wire.CodeInvalidAuthorization, "connection requires a valid client certificate"))
	}
	if err := a.backOff(ctx); err != nil {
		return err
	}
	secret, known, err := a.lookup(ctx)
	if err != nil {
		return err
	}
	a.secret = secret
	if err := a.prove(ctx, rule, secret, known); err != nil {
		return err
	}
	if rule.NamesUser() {
		if err := a.checkName(ctx, rule); err != nil {
			return err
		}
	}
	if !known {
		a.out = wire.AppendAuthOK(a.out)
		return a.refuse(fatal(wire.CodeInvalidAuthorization, fmt.Sprintf("role \"%s\" does not exist", a.user)))
	}
	a.srv.cfg.Backoff.succeeded(a.source(), a.user)
	a.srv.cfg.Counters.Accepted.Add(1)
	return nil
}

// prove runs the method. Of the methods without a secret it proves nothing.
func (a *attempt) prove(ctx context.Context, rule *hba.Rule, secret Secret, known bool) error {
	switch {
	case rule.Method == Trust, rule.Method == hba.Cert:
		return nil
	case rule.Method == Password:
		return a.password(ctx, secret, known)
	case rule.Method == MD5 && secret.kind != scramSecret:
		return a.md5(secret, known)
	}
	return a.scram(ctx, secret, known)
}

// findRule returns the first rule for the client, or refuses it.
func (a *attempt) findRule(ctx context.Context) (*hba.Rule, error) {
	rule, err := hba.Match(a.srv.rules, hba.Client{
		User: a.user, Database: a.database, Replication: a.replication == "true", Local: a.local(), TLS: a.tls != nil, Addr: a.source(),
	}, a.member(ctx))
	switch {
	case err != nil:
		return nil, a.undecided(ctx, err)
	case rule == nil:
		return nil, a.rejected(a.noEntry("No rule of the configuration is for such connections."))
	}
	return rule, nil
}

// member asks about the memberships of the client's user.
func (a *attempt) member(ctx context.Context) hba.Member {
	if a.srv.cfg.Member == nil {
		return nil
	}
	return func(role string) (bool, error) { return a.srv.cfg.Member(ctx, a.user, a.database, role) }
}

// lookup finds the user's secret. Where that fails the client learns what it may of the reason.
func (a *attempt) lookup(ctx context.Context) (secret Secret, known bool, err error) {
	if a.srv.cfg.Lookup == nil {
		return Secret{}, true, nil
	}
	if secret, known, err = a.srv.cfg.Lookup(ctx, a.user, a.database); err != nil {
		return Secret{}, false, a.undecided(ctx, err)
	}
	return secret, known, nil
}

// undecided ends a login about which somebody else could not be asked.
func (a *attempt) undecided(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	a.srv.cfg.Counters.Undecided.Add(1)
	told := *wire.ToldToClient(err)
	told.Severity = "FATAL"
	return a.refuseFor(&told, fmt.Errorf("asking about the user: %w", err))
}

// source is where the client is; invalid for those of the unix socket.
func (a *attempt) source() netip.Addr {
	if tcp, ok := a.conn.RemoteAddr().(*net.TCPAddr); ok && !a.local() {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// who is the client as PostgreSQL's errors about pg_hba.conf name it.
func (a *attempt) who() string {
	host, encryption := "[local]", "no encryption"
	if addr := a.source(); addr.IsValid() {
		host = addr.WithZone("").String()
	}
	if a.tls != nil {
		encryption = "SSL encryption"
	}
	if a.replication == "true" {
		return fmt.Sprintf("replication connection from host \"%s\", user \"%s\", %s", host, a.user, encryption)
	}
	return fmt.Sprintf("host \"%s\", user \"%s\", database \"%s\", %s", host, a.user, a.database, encryption)
}

// noEntry is what PostgreSQL says to those for whom pg_hba.conf has no line; some clients look for the words.
func (a *attempt) noEntry(hint string) *wire.Error {
	return withHint(fatal(wire.CodeInvalidAuthorization, "no pg_hba.conf entry for "+a.who()), hint)
}

// rejected refuses whom the configuration does not let in, whatever it can prove.
func (a *attempt) rejected(e *wire.Error) error {
	a.srv.cfg.Counters.Rejected.Add(1)
	return a.refuse(e)
}

// wrongPassword is what everybody is told whose proof fails, for whatever reason; the log is told which.
func (a *attempt) wrongPassword(reason error) error {
	return a.wrongProof(fatal(wire.CodeInvalidPassword,
		fmt.Sprintf("password authentication failed for user \"%s\"", a.user)), reason)
}

// wrongProof refuses one that may be guessing.
func (a *attempt) wrongProof(e *wire.Error, reason error) error {
	cfg := &a.srv.cfg
	cfg.Counters.Refused.Add(1)
	cfg.Backoff.failed(a.source(), a.user)
	if cfg.Failed != nil {
		cfg.Failed(a.user, a.database)
	}
	return a.refuseFor(e, reason)
}

// password asks for the password itself.
func (a *attempt) password(ctx context.Context, secret Secret, known bool) error {
	if a.tls == nil && !a.local() {
		return a.rejected(a.noEntry("Passwords are accepted over TLS or a unix socket only: connect with sslmode=require."))
	}
	a.out = wire.AppendAuthCleartext(a.out)
	given, err := a.ask()
	if err != nil {
		return err
	}
	ok, key, err := a.srv.matches(ctx, a, secret, given)
	switch {
	case errors.Is(err, scram.ErrTooManyIterations):
		return a.wrongPassword(err)
	case err != nil:
		return err
	case !ok || !known:
		return a.wrongPassword(secret.fault(known))
	}
	a.key = key
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
		return a.wrongPassword(secret.fault(known))
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
