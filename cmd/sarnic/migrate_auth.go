package main

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/login"
)

// userlist is the file of auth_file as far as it can be read here.
type userlist struct {
	read  bool
	users map[string]login.Listed
	names []string // in the order of the file
}

// plain is the password of a user, if the list has it in plain text.
func (u userlist) plain(user string) (string, bool) {
	one, ok := u.users[user]
	if !ok || one.Secret == "" || strings.HasPrefix(one.Secret, "SCRAM-SHA-256$") || strings.HasPrefix(one.Secret, "md5") && len(one.Secret) == 35 {
		return "", false
	}
	return one.Secret, true
}

// readUserlist looks at who is in auth_file. What is wrong in it the trial at the end tells.
func (m *migration) readUserlist() {
	if m.values["auth_file"] == "" {
		m.login.read = true // there is nobody
		return
	}
	text, err := readText(m.path("auth_file"), maxUserlist)
	if err != nil {
		return
	}
	listed, _ := login.ParseUserlist(text)
	m.login = userlist{read: true, users: make(map[string]login.Listed)}
	for _, u := range listed {
		m.login.users[u.User] = u
		m.login.names = append(m.login.names, u.User)
	}
}

// path is the option, a path, made absolute: sarnic.yaml may lie anywhere.
func (m *migration) path(name string) string {
	path := m.values[name]
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	found := m.ini.besides(path)
	if _, err := os.Stat(found); errors.Is(err, fs.ErrNotExist) {
		m.remarkf(m.set[name], name, todo, "the path is relative to where PgBouncer was started, which is not here")
	}
	absolute, err := filepath.Abs(found)
	if err != nil {
		return path
	}
	return absolute
}

// auth writes how clients prove who they are.
func (m *migration) auth() {
	l := m.set["auth_type"]
	method := m.values["auth_type"]
	switch method {
	case "any":
		m.remarkf(l, "auth_type = any", differs, "each client name has a pool of its own; the console lets everybody in from this machine only")
		method = "trust"
	case "plain":
		m.remarkf(l, "auth_type = plain", differs, "a password in clear text is taken over TLS and the unix socket only")
		method = "password"
	case "ldap", "pam":
		m.remarkf(l, "auth_type = "+method, string(missing), "clients need a secret in auth_file, or one that auth_query finds")
		method = "scram-sha-256"
	}
	switch method {
	case "cert":
		rules := m.yaml.at("auth", "rules")
		rules.list, rules.comment = []string{"{type: hostssl, method: cert}"}, "auth_type"
	case "hba":
		if m.values["auth_hba_file"] == "" {
			m.remarkf(l, "auth_type = hba", todo, "there is no auth_hba_file, so nobody could log in: write rules")
		}
	default:
		m.put(method, "auth_type", "auth", "method")
	}
	if m.values["auth_type"] != "any" {
		m.files()
		m.console()
		m.query()
	}
}

// files writes where users and rules stand. Rules count with auth_type hba only, as in PgBouncer.
func (m *migration) files() {
	for option, key := range map[string]string{"auth_file": "file", "auth_hba_file": "hba_file", "auth_ident_file": "ident_file"} {
		if m.values[option] != "" && (option == "auth_file" || m.values["auth_type"] == "hba") {
			m.put(quoted(m.path(option)), option, "auth", key)
		}
	}
}

// console writes who may use it.
func (m *migration) console() {
	for option, key := range map[string]string{"admin_users": "users", "stats_users": "stats_users"} {
		for _, name := range names(m.values[option]) {
			list := m.yaml.at("admin", key)
			list.list, list.comment = append(list.list, quoted(name)), option
		}
	}
}

// inherited is a setting of a login that a database may have instead of [pgbouncer].
func (m *migration) inherited(p pairs, name string) iniLine {
	if l, ok := p.values[name]; ok {
		return l
	}
	return m.set[name]
}

// query writes how users are found that no file names. There is one query for all databases.
func (m *migration) query() {
	asker := m.common("auth_user", false)
	if asker.value == "" {
		return
	}
	query := m.common("auth_query", true)
	comment := "auth_query"
	if query.value == "" {
		comment += " ="
	}
	switch text := cmp.Or(query.value, authQuery); {
	case normal(text) == normal(authQuery):
		m.yaml.set(builtinQuery, comment, "auth", "query")
	default:
		m.yaml.set(quoted(text), comment, "auth", "query")
		m.remarkf(query, "auth_query", differs, "it runs with search_path = pg_catalog: other names in it need their schema")
	}
	m.yaml.set(quoted(asker.value), "auth_user", "auth", "user")
	secret, plain := m.login.plain(asker.value)
	if _, listed := m.login.users[asker.value]; listed || !m.login.read {
		m.yaml.set(scalar(m.variable(asker, asker.value, secret, plain)), "of auth_user, in auth_file", "auth", "password")
	}
	if name := m.common("auth_dbname", true); name.value != "" {
		m.yaml.set(quoted(m.onServer(name.value)), "auth_dbname", "auth", "database")
	}
}

// common is a setting that databases may have each for itself, where we have one for all: that of [pgbouncer], else what most
// databases have. The others are remarked on. It is unset only where may be.
func (m *migration) common(name string, maybe bool) iniLine {
	all := make([]iniLine, len(m.databases), len(m.databases)+1)
	votes := make(map[string]int)
	for i, p := range m.databases {
		all[i] = m.inherited(p, name)
		votes[all[i].value]++
	}
	best := m.set[name]
	for _, l := range all {
		better := votes[l.value] > votes[best.value] || best.value == "" && !maybe
		if _, given := m.set[name]; !given && better && (l.value != "" || maybe) {
			best = l
		}
	}
	for i, p := range m.databases {
		if l := cmp.Or(all[i], p.line); all[i].value != best.value {
			m.remarkf(l, p.line.key+": "+name, differs, "it is the same for all databases: %s", m.origin(best))
		}
	}
	return best
}

// origin says which of several was taken.
func (m *migration) origin(best iniLine) string {
	if best.value == "" {
		return "none is given"
	}
	return "the one at " + m.place(best) + " is taken"
}

// onServer is the name on its server of a database that PgBouncer knows by another.
func (m *migration) onServer(name string) string {
	for _, p := range m.databases {
		if p.line.key == name {
			return cmp.Or(p.get("dbname"), name)
		}
	}
	return name
}

// normal is SQL without what does not matter.
func normal(sql string) string {
	sql = strings.TrimSuffix(strings.Join(strings.Fields(strings.ToLower(sql)), " "), ";")
	return strings.ReplaceAll(strings.ReplaceAll(sql, "pg_catalog.", ""), " = ", "=")
}
