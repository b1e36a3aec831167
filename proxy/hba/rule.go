package hba

import (
	"errors"
	"net/netip"
)

// Type is the kind of connections a rule is for.
type Type string

// The types of rules, named as in pg_hba.conf.
const (
	Local     Type = "local"     // through the unix socket
	Host      Type = "host"      // over TCP, with TLS or without
	HostSSL   Type = "hostssl"   // over TCP with TLS
	HostNoSSL Type = "hostnossl" // over TCP without TLS
)

// Method is how a client proves who it is.
type Method string

// The authentication methods, named as in pg_hba.conf.
const (
	Trust    Method = "trust"         // a known name is enough
	Reject   Method = "reject"        // nobody
	Password Method = "password"      // in clear text
	MD5      Method = "md5"           // SCRAM for users whose secret is a SCRAM verifier, as in PostgreSQL
	SCRAM    Method = "scram-sha-256" // with -PLUS offered over TLS
	Cert     Method = "cert"          // the client's certificate names the user
)

// ClientCert is what a rule asks of a client's certificate beside the method.
type ClientCert string

// The demands on certificates. A certificate that is shown is always verified.
const (
	AnyCert    ClientCert = ""            // none need be shown
	VerifyCA   ClientCert = "verify-ca"   // one must be shown
	VerifyFull ClientCert = "verify-full" // and it must name the user
)

// CertName is the part of a certificate that names the user.
type CertName string

// The names in a certificate. SAN is not PostgreSQL's: any DNS name, e-mail address or URI among its alternative names.
const (
	CN  CertName = "CN"
	DN  CertName = "DN"
	SAN CertName = "SAN"
)

// Rule is one line of the list. It is immutable.
type Rule struct {
	Type       Type
	Databases  []Name
	Users      []Name
	Address    Address // of hosts
	Method     Method
	Map        string // of certificates' names to users; "" is none
	ClientCert ClientCert
	ClientName CertName // "" is CN
	Place      string   // where it is written, for the log
}

// Everybody are the rules by which all clients prove who they are in the same way.
func Everybody(method Method) []Rule {
	anyone := []Name{{kind: all}}
	return []Rule{
		{Type: Local, Databases: anyone, Users: anyone, Method: method},
		{Type: Host, Databases: anyone, Users: anyone, Method: method},
		{Type: Host, Databases: []Name{{kind: replication}}, Users: anyone, Method: method},
		{Type: Local, Databases: []Name{{kind: replication}}, Users: anyone, Method: method},
	}
}

// Client is what is known of a connection when the rules are asked.
type Client struct {
	User, Database string
	Replication    bool // physical replication, which belongs to no database
	Local          bool // it came through the unix socket
	TLS            bool
	Addr           netip.Addr // of hosts
}

// Member finds out whether the client's user belongs to a role, directly or through others.
type Member func(role string) (bool, error)

// errNoMembers is the answer where membership cannot be asked about.
var errNoMembers = errors.New("hba: membership in roles is not known here")

// Match returns the first rule for the client, nil without one. An error is one of member, and means that nothing can be
// decided.
func Match(rules []Rule, c Client, member Member) (*Rule, error) {
	if member == nil {
		member = func(string) (bool, error) { return false, errNoMembers }
	}
	for i := range rules {
		matches, err := rules[i].matches(&c, member)
		if err != nil {
			return nil, err
		}
		if matches {
			return &rules[i], nil
		}
	}
	return nil, nil //nolint:nilnil // no rule is an answer
}

func (r *Rule) matches(c *Client, member Member) (bool, error) {
	switch {
	case (r.Type == Local) != c.Local, r.Type == HostSSL && !c.TLS, r.Type == HostNoSSL && c.TLS:
		return false, nil
	case !c.Local && !r.Address.contains(c.Addr):
		return false, nil
	}
	if ok, err := anyUser(r.Users, c.User, member); !ok || err != nil {
		return false, err
	}
	for i := range r.Databases {
		if ok, err := r.Databases[i].matchesDatabase(c, member); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// anyUser reports whether one of the names stands for the user.
func anyUser(names []Name, user string, member Member) (bool, error) {
	for i := range names {
		if ok, err := names[i].matchesUser(user, member); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// NeedsCertificate reports whether the client must have shown a certificate.
func (r *Rule) NeedsCertificate() bool { return r.Method == Cert || r.ClientCert != AnyCert }

// NamesUser reports whether the certificate must name the user.
func (r *Rule) NamesUser() bool { return r.Method == Cert || r.ClientCert == VerifyFull }

// AsksMembers reports whether a rule depends on the membership in roles.
func (r *Rule) AsksMembers() bool {
	for _, names := range [][]Name{r.Databases, r.Users} {
		for i := range names {
			if names[i].kind == memberOf || names[i].kind == sameRole {
				return true
			}
		}
	}
	return false
}
