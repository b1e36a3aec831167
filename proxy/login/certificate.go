package login

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/hba"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// certificate is the one that the client has shown, verified; nil without.
func (a *attempt) certificate() *x509.Certificate {
	if a.tls == nil {
		return nil
	}
	state := a.tls.ConnectionState()
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	return state.PeerCertificates[0]
}

// checkName makes sure that the certificate names the user, by itself or by the rule's map.
func (a *attempt) checkName(ctx context.Context, rule *hba.Rule) error {
	names := namesIn(a.certificate(), rule.ClientName)
	for _, name := range names {
		ok, err := a.srv.cfg.Maps.Allows(rule.Map, name, a.user, a.member(ctx))
		if err != nil {
			return a.undecided(ctx, err)
		}
		if ok {
			return nil
		}
	}
	reason := fmt.Errorf("the certificate names %q, which may not log in as this user", names)
	if rule.Method != hba.Cert { // as in PostgreSQL: the method is blamed
		return a.wrongPassword(reason)
	}
	return a.wrongProof(fatal(wire.CodeInvalidAuthorization,
		fmt.Sprintf("certificate authentication failed for user \"%s\"", a.user)), reason)
}

// namesItself reports whether the subject is one that every program reads in the same way: some take a NUL for its end.
// PostgreSQL cuts the connection of such a client.
func namesItself(c *x509.Certificate) bool {
	subject, ok := subjectOf(c)
	for _, rdn := range subject {
		for _, attribute := range rdn {
			if text, isText := attribute.Value.(string); isText && strings.ContainsRune(text, 0) {
				return false
			}
		}
	}
	return ok
}

// namesIn are the names of a certificate's owner, of the kind that the rule looks at.
func namesIn(c *x509.Certificate, kind hba.CertName) []string {
	var names []string
	switch kind {
	case hba.SAN:
		names = slices.Concat(c.DNSNames, c.EmailAddresses)
		for _, uri := range c.URIs {
			names = append(names, uri.String())
		}
	case hba.DN:
		if subject, ok := subjectOf(c); ok && len(subject) > 0 {
			names = []string{subject.String()}
		}
	default:
		if name, ok := commonName(c); ok {
			names = []string{name}
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" || strings.ContainsRune(name, 0) })
}

// subjectOf reads the subject in the order of its encoding.
func subjectOf(c *x509.Certificate) (subject pkix.RDNSequence, ok bool) {
	rest, err := asn1.Unmarshal(c.RawSubject, &subject)
	return subject, err == nil && len(rest) == 0
}

// commonName is the first of the subject, as PostgreSQL takes it; crypto/x509 has the last.
func commonName(c *x509.Certificate) (string, bool) {
	subject, ok := subjectOf(c)
	if !ok {
		return "", false
	}
	for _, rdn := range subject {
		for _, attribute := range rdn {
			if attribute.Type.Equal(asn1.ObjectIdentifier{2, 5, 4, 3}) {
				name, ok := attribute.Value.(string)
				return name, ok
			}
		}
	}
	return "", false
}
