package login_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/hba"
	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/pgtest"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// rules are the lines of a pg_hba.conf.
func rules(t testing.TB, lines ...string) []hba.Rule {
	t.Helper()
	text := strings.Join(lines, "\n")
	all, mistakes, err := hba.ReadRules("pg_hba.conf", hba.Files{Read: func(string) (string, error) { return text, nil }})
	if err != nil || len(mistakes) > 0 {
		t.Fatal(mistakes, err)
	}
	return all
}

// maps are the lines of a pg_ident.conf.
func maps(t testing.TB, lines ...string) hba.Maps {
	t.Helper()
	text := strings.Join(lines, "\n")
	all, mistakes, err := hba.ReadMaps("pg_ident.conf", hba.Files{Read: func(string) (string, error) { return text, nil }})
	if err != nil || len(mistakes) > 0 {
		t.Fatal(mistakes, err)
	}
	return all
}

// said is what came of a login: nothing, or the error as the client sees it.
func said(err error) string {
	var e *pgconn.PgError
	switch {
	case err == nil:
		return "in"
	case errors.As(err, &e):
		return strings.Join([]string{e.Severity, e.Code, e.Message, e.Detail}, " ")
	}
	return "cut"
}

// names are subjects of clients' certificates, in the order of their encoding.
func subjects() map[string]pkix.RDNSequence {
	attribute := func(oid asn1.ObjectIdentifier, value any) pkix.RelativeDistinguishedNameSET {
		return pkix.RelativeDistinguishedNameSET{{Type: oid, Value: value}}
	}
	cn, ou, o, c := asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 11}, asn1.ObjectIdentifier{2, 5, 4, 10}, asn1.ObjectIdentifier{2, 5, 4, 6}
	return map[string]pkix.RDNSequence{
		"alice":  {attribute(cn, "alice")},
		"bob":    {attribute(cn, "bob")},
		"two":    {attribute(cn, "alice"), attribute(cn, "bob")},
		"mail":   {attribute(cn, "alice@db.org")},
		"long":   {attribute(c, "TR"), attribute(o, "Sarnıç, Inc."), attribute(ou, "db+x"), attribute(cn, "alice")},
		"none":   {attribute(o, "nobody")},
		"nul":    {attribute(cn, "alice\x00.evil")},
		"spaced": {attribute(cn, " alice")},
	}
}

// certificates makes files of certificates for all subjects.
func (a *authority) certificates() map[string]string {
	a.t.Helper()
	all := map[string]string{}
	for name, subject := range subjects() {
		raw, err := asn1.Marshal(subject)
		must(a.t, err)
		tmpl := template(name)
		tmpl.RawSubject = raw
		certFile, keyFile := a.write(a.issueFor(tmpl))
		all[name] = " sslcert=" + certFile + " sslkey=" + keyFile
	}
	stranger := newAuthority(a.t)
	certFile, keyFile := stranger.write(stranger.issue("alice"))
	all["stranger"] = " sslcert=" + certFile + " sslkey=" + keyFile
	return all
}

// TestRulesAsPostgreSQL has a real server and ours decide by the same files.
func TestRulesAsPostgreSQL(t *testing.T) {
	lines := []string{
		`hostnossl  secure                all    127.0.0.1/32          reject`,
		`host       nomatch               all    127.0.0.2 255.255.255.255  trust`,
		`hostssl    cn                    all    127.0.0.0/8           cert`,
		`hostssl    dn                    all    samehost              cert clientname=DN map=dn`,
		`hostssl    mapped                all    all                   cert map=mail`,
		`hostssl    full                  all    all                   scram-sha-256 clientcert=verify-full`,
		`hostssl    ca                    all    all                   scram-sha-256 clientcert=verify-ca`,
		`host       "sameuser"            all    all                   trust`,
		`host       sameuser              all    all                   trust`,
		`host       /^re_                 +staff,alice   all           scram-sha-256`,
		`host       postgres              alice,"bob"    all           scram-sha-256`,
		`host       postgres              hashed         all           md5`,
		`host       postgres              staff          all           trust`,
		`host       replication           alice          all           trust`,
	}
	mapLines := []string{
		`mail  /^(.*)@db\.org$   \1`,
		`mail  bob               +staff`,
		`dn    "CN=alice"        alice`,
		`dn    /OU=db            alice`,
	}
	p := pgtest.New(t, pgtest.Options{Version: 18, TLS: true, HBA: lines, Users: []pgtest.User{
		{Name: "alice", Password: "secret"},
		{Name: "bob", Password: "secret"},
		{Name: "hashed", Password: "secret", Encryption: "md5"},
		{Name: "staff", Password: "secret"},
	}})
	ca := newAuthority(t)
	pem, err := os.ReadFile(ca.file)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(p.DataDir(), "clients.crt"), pem, 0o644))
	must(t, os.WriteFile(filepath.Join(p.DataDir(), "pg_ident.conf"), []byte(strings.Join(mapLines, "\n")), 0o644))
	databases := []string{"secure", "nomatch", "cn", "dn", "mapped", "full", "ca", "sameuser", "alice", "re_1", "postgres"}
	for _, sql := range []string{"grant staff to bob", "alter system set ssl_ca_file = 'clients.crt'", "select pg_reload_conf()"} {
		must(t, p.Exec(t.Context(), pgtest.Superuser, sql))
	}
	for _, name := range databases[:len(databases)-1] {
		must(t, p.Exec(t.Context(), pgtest.Superuser, "create database \""+name+"\""))
	}
	tlsConfig := ca.serverTLS()
	tlsConfig.ClientCAs = ca.pool
	ours := listen(t, login.Config{
		TLS: tlsConfig, Rules: rules(t, lines...), Maps: maps(t, mapLines...),
		Lookup: users(t, map[string]string{"alice": "secret", "bob": "secret", "hashed": md5Of("hashed", "secret"), "staff": "secret"}),
		Member: func(_ context.Context, user, _, role string) (bool, error) {
			return role == "staff" && (user == "bob" || user == "staff"), nil
		},
	})
	certificates := ca.certificates()
	certificates["no"] = ""
	withTLS := []string{"cn", "dn", "mapped", "full", "ca"}
	seen := map[string]int{}
	for _, database := range databases {
		for _, user := range []string{"alice", "bob", "hashed", "nobody"} {
			for _, mode := range []string{"disable", "require"} {
				for name, files := range certificates {
					if (mode == "disable" || !slices.Contains(withTLS, database)) && name != "no" {
						continue
					}
					dsn := fmt.Sprintf("host=127.0.0.1 user=%s password=secret dbname=%s sslmode=%s%s", user, database, mode, files)
					want := said(tryConnect(t, dsn+fmt.Sprintf(" port=%d", p.Port())))
					got := said(tryConnect(t, dsn+" port="+port(ours.addr)))
					if want != got {
						t.Errorf("%s to %s, %s, certificate %s:\nPostgreSQL: %s\nours:       %s", user, database, mode, name, want, got)
					}
					seen[strings.Fields(got)[0]]++
				}
			}
		}
	}
	if seen["in"] < 20 || seen["FATAL"] < 50 || seen["cut"] < 5 {
		t.Errorf("the cases are not varied: %v", seen)
	}
	for _, replication := range []string{"true", "database"} {
		packet := startup(wire.Version30, "user", "hashed", "database", "postgres", "replication", replication)
		want, got := dial(t, p.Addr()), dial(t, ours.addr)
		want.send(packet)
		got.send(packet)
		theirs, own := want.rest(), strings.Replace(got.rest(), "No rule of the configuration is for such connections.", "", 1)
		if replication == "true" && theirs != own {
			t.Errorf("replication=%s:\nPostgreSQL: %sours: %s", replication, theirs, own)
		}
	}
}

// TestPasswordIsCheckedBeforeTheName: with clientcert=verify-full both are asked for, and which one was wrong is not told.
func TestRuleInTheError(t *testing.T) {
	ours := listen(t, login.Config{
		Rules:  rules(t, "host all alice all scram-sha-256", "host all bob all reject"),
		Lookup: users(t, map[string]string{"alice": "secret"}), Counters: new(login.Counters),
	})
	for user, want := range map[string]string{
		"alice": "failed by rule pg_hba.conf:1: FATAL: password authentication failed for user \"alice\" (SQLSTATE 28P01): the password does not match",
		"bob":   "failed by rule pg_hba.conf:2: FATAL: pg_hba.conf rejects connection for host \"127.0.0.1\", user \"bob\", database \"bob\", no encryption",
		"carol": "failed: FATAL: no pg_hba.conf entry for host \"127.0.0.1\", user \"carol\", database \"carol\", no encryption",
	} {
		if err := tryConnect(t, "host=127.0.0.1 sslmode=disable password=wrong user="+user+" port="+port(ours.addr)); err == nil {
			t.Errorf("%s is in", user)
		}
		if r := ours.next(t); r.err == nil || !strings.Contains(r.err.Error(), want) {
			t.Errorf("%s: %v", user, r.err)
		}
	}
}

// TestAlternativeNames: clientname=SAN takes any of them.
func TestAlternativeNames(t *testing.T) {
	ca := newAuthority(t)
	tmpl := template("somebody")
	tmpl.DNSNames = []string{"alice"}
	tmpl.EmailAddresses = []string{"bob@db.org"}
	spiffe, err := url.Parse("spiffe://cluster/ns/shop/sa/carol")
	must(t, err)
	tmpl.URIs = []*url.URL{spiffe}
	certFile, keyFile := ca.write(ca.issueFor(tmpl))
	tlsConfig := ca.serverTLS()
	tlsConfig.ClientCAs = ca.pool
	ours := listen(t, login.Config{
		TLS: tlsConfig, Rules: rules(t, "hostssl all all all cert clientname=SAN map=san"),
		Maps: maps(t, `san alice alice`, `san /^(.*)@db.org$ \1`, `san /^spiffe://cluster/ns/shop/sa/(.*)$ \1`),
	})
	for user, want := range map[string]string{"alice": "in", "bob": "in", "carol": "in", "somebody": "FATAL 28000", "spiffe": "FATAL 28000"} {
		dsn := "host=127.0.0.1 sslmode=require user=" + user + " port=" + port(ours.addr) + " sslcert=" + certFile + " sslkey=" + keyFile
		if got := said(tryConnect(t, dsn)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", user, got)
		}
	}
}

// TestPsqlWithCertificate logs in with libpq.
func TestPsqlWithCertificate(t *testing.T) {
	ca := newAuthority(t)
	certFile, keyFile := ca.write(ca.issue("alice"))
	tlsConfig := ca.serverTLS()
	tlsConfig.ClientCAs = ca.pool
	ours := listen(t, login.Config{TLS: tlsConfig, Rules: rules(t, "hostssl all all all cert")})
	for user, want := range map[string]string{"alice": "", "bob": `FATAL:  certificate authentication failed for user "bob"`} {
		cmd := exec.CommandContext(t.Context(), "psql", "-X", "-w", "-c", "select", "host=localhost dbname=db sslmode=verify-full sslrootcert="+ca.file+
			" user="+user+" port="+port(ours.addr)+" sslcert="+certFile+" sslkey="+keyFile)
		out, err := cmd.CombinedOutput()
		if (err == nil) != (want == "") || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v %s", user, err, out)
		}
	}
}

// TestExpiredCertificate: one that is shown must be good, whatever the rule asks for.
func TestExpiredCertificate(t *testing.T) {
	ca := newAuthority(t)
	tmpl := template("alice")
	tmpl.NotAfter = time.Now().Add(-time.Minute)
	certFile, keyFile := ca.write(ca.issueFor(tmpl))
	tlsConfig := ca.serverTLS()
	tlsConfig.ClientCAs = ca.pool
	serverOnly := template("alice")
	serverOnly.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	otherFile, otherKey := ca.write(ca.issueFor(serverOnly))
	for _, method := range []string{"trust", "cert"} {
		ours := listen(t, login.Config{TLS: tlsConfig, Rules: rules(t, "hostssl all all all "+method)})
		for _, files := range []string{certFile + " sslkey=" + keyFile, otherFile + " sslkey=" + otherKey} {
			if err := tryConnect(t, "host=127.0.0.1 sslmode=require user=alice port="+port(ours.addr)+" sslcert="+files); err == nil {
				t.Errorf("%s with %s", method, files)
			}
		}
	}
}

// TestGuessingIsSlow: from the sixth wrong password on, and not for those who had the right one before.
func TestGuessingIsSlow(t *testing.T) {
	counters := new(login.Counters)
	ours := listenFar(t, login.Config{
		Method: login.SCRAM, Lookup: users(t, map[string]string{"alice": "secret", "bob": "secret"}),
		Backoff: login.NewBackoff(16), Counters: counters,
	})
	try := func(user, password string) time.Duration {
		began := time.Now()
		_ = tryConnect(t, "host=127.0.0.1 sslmode=disable port="+port(ours.addr)+" user="+user+" password="+password)
		return time.Since(began)
	}
	try("bob", "secret")
	for range 5 {
		try("alice", "wrong")
	}
	if counters.Delayed.Load() != 0 {
		t.Error("five wrong passwords make one wait")
	}
	if took := try("alice", "secret"); took < 90*time.Millisecond {
		t.Errorf("no wait: %s", took)
	}
	before := counters.Delayed.Load()
	try("bob", "secret")
	try("alice", "secret")
	if before != 1 || counters.Delayed.Load() != before || counters.Accepted.Load() != 4 || counters.Refused.Load() != 5 {
		t.Errorf("delayed %d, %d, accepted %d, refused %d", before, counters.Delayed.Load(), counters.Accepted.Load(), counters.Refused.Load())
	}
}
