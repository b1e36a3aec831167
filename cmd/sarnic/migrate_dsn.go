package main

import (
	"cmp"
	"strconv"
	"strings"
)

// upstream is the DSN. A server without a host is on a unix socket where PgBouncer's own is.
func (m *migration) upstream(p pairs) string {
	host := cmp.Or(p.get("host"), m.values["unix_socket_dir"])
	switch hosts := names(host); {
	case host == "":
		m.remarkf(p.line, p.line.key, todo, "has no host, and there is no unix_socket_dir: give a host in its upstream")
	case strings.HasPrefix(host, "@"):
		m.remarkf(p.line, p.line.key+": host", string(missing), "there are no abstract sockets: give an address or a directory")
	case len(hosts) > 1 && p.get("load_balance_hosts") != "disable":
		m.remarkf(p.values["host"], p.line.key+": host", differs, "the hosts are tried in their order, PgBouncer takes turns")
		host = strings.Join(hosts, ",")
	}
	dsn := dsn{}
	dsn.add("host", host)
	dsn.add("port", cmp.Or(p.get("port"), "5432"))
	if p.line.key != "*" {
		dsn.add("dbname", cmp.Or(p.get("dbname"), p.line.key))
	}
	if forced(p) {
		dsn.add("user", p.get("user"))
		m.password(p, &dsn)
	}
	if !strings.HasPrefix(host, "/") {
		m.serverTLS(&dsn)
	}
	for _, name := range []string{"client_encoding", "datestyle", "timezone", "application_name"} {
		if p.has(name) {
			dsn.add(name, p.get(name))
		}
	}
	return dsn.text()
}

// dsn is key=value words as libpq reads them.
type dsn []string

func (d *dsn) add(key, value string) {
	if value == "" || strings.ContainsAny(value, ` '\`) {
		value = "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
	}
	*d = append(*d, key+"="+strings.ReplaceAll(value, "${", "$${"))
}

func (d dsn) text() string { return strings.Join(d, " ") }

// serverTLS adds what PgBouncer says of TLS to all servers. It does not look at certificates but in the two modes that verify
// them, where libpq's require does if it is given authorities.
func (m *migration) serverTLS(d *dsn) {
	mode := m.values["server_tls_sslmode"]
	if mode == "allow" {
		mode = "prefer" // what PgBouncer does
	}
	d.add("sslmode", mode)
	if mode == "disable" {
		return
	}
	if m.values["server_tls_ca_file"] != "" && (mode == "verify-ca" || mode == "verify-full") {
		d.add("sslrootcert", m.path("server_tls_ca_file"))
	}
	if m.values["server_tls_cert_file"] != "" && m.values["server_tls_key_file"] != "" {
		d.add("sslcert", m.path("server_tls_cert_file"))
		d.add("sslkey", m.path("server_tls_key_file"))
	}
}

// password adds the password of the role that a database is for.
func (m *migration) password(p pairs, d *dsn) {
	user := p.get("user")
	l, given := p.values["password"]
	secret, plain := l.value, given
	if !given {
		if _, listed := m.login.users[user]; m.login.read && !listed {
			return // PgBouncer has none either
		}
		l = p.values["user"]
		secret, plain = m.login.plain(user)
	}
	*d = append(*d, "password='"+m.variable(l, user, secret, plain)+"'")
	if strings.ContainsAny(secret, `'\`) {
		m.remarkf(l, p.line.key+": password", todo, "in the variable put a backslash before each ' and \\ of it")
	}
}

// envSecret is an environment variable that stands for a password.
type envSecret struct{ user, secret string }

// variable names the environment variable for the password of a user, the same for the same password.
func (m *migration) variable(l iniLine, user, secret string, plain bool) string {
	name := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' {
			return c - 'a' + 'A'
		}
		if c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, user) + "_PASSWORD"
	if name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	v := envSecret{user, secret}
	base := name
	for n := 2; ; n++ {
		other, taken := m.variables[name]
		if !taken || other == v {
			break
		}
		name = base + "_" + strconv.Itoa(n)
	}
	m.variables[name] = v
	what := "the password of role " + user + " in the environment variable " + name
	if !plain {
		what += ", in plain text"
	}
	m.remarkf(l, "password of "+user, todo, "put %s, or let ${file:…} read it", what)
	return "${" + name + "}"
}
