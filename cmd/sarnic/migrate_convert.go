package main

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// convert goes over the options, then writes what several of them make together.
func (m *migration) convert() {
	known := options()
	for _, l := range slices.SortedFunc(maps.Values(m.set), func(a, b iniLine) int { return strings.Compare(a.key, b.key) }) {
		if !slices.ContainsFunc(known, func(o option) bool { return o.name == l.key }) {
			m.remarkf(l, l.key, string(missing), "PgBouncer 1.25 has no such option")
		}
	}
	ours := make(map[string]string) // our defaults
	standard := defaults()
	for _, s := range standard.plain() {
		ours[s.key] = s.value
	}
	for _, o := range known {
		m.option(o, ours)
	}
	m.exceptions()
	m.sockets()
	m.tls()
	m.readUserlist()
	m.auth()
	m.databasesAndUsers()
}

// option deals with one option by the table.
func (m *migration) option(o option, ours map[string]string) {
	standard, err := o.kind(o.standard)
	if err != nil {
		panic("migrate: " + o.name + ": " + err.Error()) // the table is ours
	}
	value := standard
	l, given := m.set[o.name]
	if given {
		if value, err = o.kind(l.value); err != nil {
			m.ini.wrong(l, "%v", err)
			value = standard
		}
	}
	m.values[o.name] = value
	switch {
	case o.fate == mapped && (given || value != ours[o.key]):
		m.put(value, o.name, strings.Split(o.key, ".")...)
	case o.fate == mapped, o.fate == composed, value == standard:
	default:
		m.remarkf(l, o.show(l.value), string(o.fate), "%s", o.why)
	}
}

// integer is the value of an option that is a count.
func (m *migration) integer(name string) int {
	n, err := strconv.Atoi(m.values[name])
	if err != nil {
		return 0 // more digits than an int has, which sarnic's own reader refuses
	}
	return n
}

// put writes a key that comes from an option.
func (m *migration) put(value, option string, path ...string) {
	comment := option
	if _, given := m.set[option]; !given {
		comment += " ="
	}
	m.yaml.set(value, comment, path...)
}

// show is an option as the table of remarks has it: with its value unless that is long or may hold a secret.
func (o option) show(value string) string {
	const longest = 24
	if value == "" || len(value) > longest || o.name == "auth_ldap_options" {
		return o.name
	}
	return o.name + " = " + value
}

// exceptions are values of mapped options that mean something else here.
func (m *migration) exceptions() {
	if m.values["max_client_conn"] == "0" {
		m.ini.wrong(m.set["max_client_conn"], "must be at least 1")
	}
	if m.values["max_prepared_statements"] == "0" {
		drop(m.yaml.at("pool"), "statements")
		m.remarkf(m.set["max_prepared_statements"], "max_prepared_statements = 0", string(needless),
			"clients' prepared statements always work: they are not passed through")
	}
	if m.values["client_login_timeout"] == "0" {
		m.put("24h", "client_login_timeout", "auth", "login_timeout")
		m.remarkf(m.set["client_login_timeout"], "client_login_timeout = 0", differs, "a login always has an end; it is a day now")
	}
	m.generalPool()
}

// drop removes keys of a block.
func drop(b *block, names ...string) {
	b.keys = slices.DeleteFunc(b.keys, func(k *block) bool { return slices.Contains(names, k.name) })
}

// sockets writes where clients connect.
func (m *migration) sockets() {
	port := m.values["listen_port"]
	listen := m.yaml.at("listen")
	listen.comment = "listen_addr, listen_port"
	for _, host := range names(m.values["listen_addr"]) {
		if host == "*" {
			host = ""
		}
		listen.list = append(listen.list, scalar(net.JoinHostPort(host, port)))
	}
	if len(listen.list) == 0 {
		listen.value = "[]"
		if port != "6432" {
			m.remarkf(m.set["listen_port"], "listen_port = "+port, string(missing), "without an address in listen the unix socket is that of port 6432")
		}
	}
	switch dir := m.values["unix_socket_dir"]; {
	case strings.HasPrefix(dir, "@"):
		m.remarkf(m.set["unix_socket_dir"], "unix_socket_dir = "+dir, string(missing), "there are no abstract sockets: give a directory")
	case dir != "":
		m.put(quoted(m.path("unix_socket_dir")), "unix_socket_dir", "unix_socket", "dir")
		if l, given := m.set["unix_socket_mode"]; given {
			m.put(m.values[l.key], l.key, "unix_socket", "mode")
		}
	}
}

// tls writes what is shown to clients.
func (m *migration) tls() {
	mode := m.values["client_tls_sslmode"]
	m.put(mode, "client_tls_sslmode", "tls", "mode")
	if mode == "disable" {
		return
	}
	for option, key := range map[string]string{
		"client_tls_cert_file": "cert", "client_tls_key_file": "key", "client_tls_ca_file": "client_ca",
	} {
		if m.values[option] != "" {
			m.put(quoted(m.path(option)), option, "tls", key)
		}
	}
}
