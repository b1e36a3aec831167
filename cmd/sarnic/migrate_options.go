package main

import (
	"slices"
	"strings"
)

// fate is what becomes of an option of PgBouncer.
type fate string

// The fates.
const (
	mapped    fate = "mapped"    // to a key, value by value
	composed  fate = "composed"  // to keys, together with other options
	needless  fate = "needless"  // nothing is lost without it
	missing   fate = "missing"   // another value than PgBouncer's default has no equivalent
	elsewhere fate = "elsewhere" // it is said outside of the file
)

// option is one of PgBouncer's in the section [pgbouncer].
type option struct {
	name     string
	standard string    // PgBouncer's default
	kind     valueKind // also says when two values are the same
	fate     fate
	key      string // of sarnic.yaml
	why      string // it is needless or missing
}

// sslModes are libpq's, and PgBouncer's for both sides.
func sslModes() valueKind {
	return oneOf("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
}

func poolModes() valueKind { return oneOf("session", "transaction", "statement") }

// The reasons that several options share.
const (
	whyTLS       = "ciphers and curves are not chosen: only those that are safe today are offered"
	whyKeepalive = "the probes are fixed: a peer that has vanished is found within minutes"
	whyLog       = "the log goes to standard error, for systemd or the container's runtime to keep"
	whyLogWhat   = "what is logged is chosen by --log-level alone"
	whyDNS       = "a name is looked up for every new connection"
	whyCheck     = "a connection that the server has closed is noticed at once and never lent"
	whyClean     = "nothing that a client has left on a connection is seen by another, in any mode"
	whyLDAP      = "there is no LDAP"
	whyOnServer  = "no such limit; on the server: "
)

// authQuery is PgBouncer's own, which asks what pg_authid as auth.query asks.
const authQuery = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid " +
	"WHERE rolname=$1 AND rolcanlogin"

// options is every option of PgBouncer 1.25, in its order. docs/migrating-from-pgbouncer.md shows it.
func options() []option {
	all := slices.Concat(loginOptions(), poolOptions(), serverOptions(), networkOptions(), tlsOptions(), processOptions())
	slices.SortFunc(all, func(a, b option) int { return strings.Compare(a.name, b.name) })
	return all
}

func authTypes() valueKind {
	return oneOf("any", "trust", "plain", "md5", "cert", "hba", "ldap", "pam", "scram-sha-256")
}

// tlsCiphers are those of the library under four names.
func tlsCiphers(text string) (string, error) {
	switch text {
	case "secure", "fast", "normal":
		return "default", nil
	}
	return text, nil
}

// tlsProtocols has another name for what is safe.
func tlsProtocols(text string) (string, error) {
	list := names(text)
	slices.Sort(list)
	if slices.Equal(list, []string{"tlsv1.2", "tlsv1.3"}) {
		return "secure", nil
	}
	return text, nil
}
