package main

import "slices"

// databasesAndUsers writes the databases and as whom they are logged in to, and the limits of users.
func (m *migration) databasesAndUsers() {
	if len(m.databases) == 0 {
		m.remarkf(iniLine{}, "[databases]", todo, "there is no database: add one under databases")
	}
	for _, p := range m.users {
		m.judge(p, userKeys())
	}
	m.serverRole()
	for _, p := range m.databases {
		m.judge(p, databaseKeys())
		m.database(p)
	}
	m.userLimits()
}

// forced reports whether all clients of a database are one role on the server.
func forced(p pairs) bool { return p.has("user") }

// serverRole writes as whom servers are logged in to. There is one answer for all databases.
func (m *migration) serverRole() {
	one := slices.IndexFunc(m.databases, forced)
	own := slices.IndexFunc(m.databases, func(p pairs) bool { return !forced(p) })
	switch {
	case m.values["auth_type"] == "any": // users are not even known here, so it is as the DSN says
		m.databases = slices.DeleteFunc(m.databases, func(p pairs) bool {
			if !forced(p) {
				m.remarkf(p.line, p.line.key, differs, "left out: with auth_type = any PgBouncer lets nobody into a database without user=")
			}
			return !forced(p)
		})
	case one < 0 && own >= 0:
		m.yaml.set(string(ownRole), "no user= in [databases]", "auth", "server_role")
	case one >= 0 && own < 0:
		m.yaml.set(string(dsnRole), "user= in [databases]", "auth", "server_role")
	case one >= 0:
		m.yaml.set(string(ownRole), "", "auth", "server_role")
		for _, p := range m.databases {
			if forced(p) {
				m.remarkf(p.values["user"], p.line.key+": user", string(missing),
					"other databases have no user=, and it is the same for all: clients are themselves on this server too")
			}
		}
	}
}

// keyOfDatabase is what becomes of a key in [databases], or in [users].
type keyOfDatabase struct {
	name string
	kind valueKind
	why  string // it is missing; "" if it is not
}

func databaseKeys() []keyOfDatabase {
	return []keyOfDatabase{
		{"dbname", anyText, ""},
		{"host", anyText, ""},
		{"port", decimal, ""},
		{"user", anyText, ""},
		{"password", anyText, ""},
		{"auth_user", anyText, ""},
		{"auth_query", anyText, ""},
		{"auth_dbname", anyText, ""},
		{"pool_size", optional, ""},
		{"min_pool_size", optional, ""},
		{"reserve_pool_size", optional, ""},
		{"reserve_pool", optional, ""},
		{"pool_mode", poolModes(), ""},
		{"query_wait_timeout", optional, ""},
		{"server_lifetime", optional, ""},
		{"max_db_connections", optional, ""},
		{"client_encoding", anyText, ""},
		{"datestyle", anyText, ""},
		{"timezone", anyText, ""},
		{"application_name", anyText, ""},
		{"load_balance_hosts", oneOf("disable", "round-robin"), ""},
		{"connect_query", anyText, "nothing is run on a new connection; see ALTER ROLE and ALTER DATABASE … SET on the server"},
		{"max_db_client_connections", optional, "clients are limited over all databases only"},
	}
}

func userKeys() []keyOfDatabase {
	const perUser = "it is the same for all users of a database"
	return []keyOfDatabase{
		{"max_user_connections", optional, ""},
		{"pool_mode", poolModes(), perUser},
		{"pool_size", optional, perUser},
		{"reserve_pool_size", optional, perUser},
		{"query_wait_timeout", optional, perUser},
		{"query_timeout", optional, whyOnServer + "ALTER ROLE … SET statement_timeout"},
		{"idle_transaction_timeout", optional, whyOnServer + "ALTER ROLE … SET idle_in_transaction_session_timeout"},
		{"transaction_timeout", optional, whyOnServer + "ALTER ROLE … SET transaction_timeout (since 17)"},
		{"client_idle_timeout", optional, "no such limit; TCP keepalive finds clients that have vanished"},
		{"max_user_client_connections", optional, "clients are limited over all users only"},
	}
}

// judge looks at each key of a line: what is wrong, and what has no equivalent.
func (m *migration) judge(p pairs, known []keyOfDatabase) {
	for _, name := range p.keys {
		l := p.values[name]
		i := slices.IndexFunc(known, func(k keyOfDatabase) bool { return k.name == name })
		if i < 0 {
			m.remarkf(l, l.key, string(missing), "PgBouncer 1.25 has no such key")
			continue
		}
		value, err := known[i].kind(l.value)
		switch {
		case err != nil:
			m.ini.wrong(l, "%v", err)
			continue
		case value == "":
			delete(p.values, name)
			continue
		}
		l.value = value
		p.values[name] = l
		if known[i].why != "" && value != "0" && !m.applies(p, name) {
			m.remarkf(l, l.key, string(missing), "%s", known[i].why)
		}
	}
}

// applies reports whether what a user has of its own is written with the databases, because it is the user= of all of them.
func (m *migration) applies(p pairs, name string) bool {
	if p.line.section != "users" || !slices.Contains([]string{"pool_mode", "pool_size", "reserve_pool_size", "query_wait_timeout"}, name) {
		return false
	}
	own := slices.ContainsFunc(m.databases, func(d pairs) bool { return !forced(d) })
	return !own && slices.ContainsFunc(m.databases, func(d pairs) bool { return d.get("user") == p.line.key })
}

// database writes one.
func (m *migration) database(p pairs) {
	if p.has("password") && !forced(p) {
		m.remarkf(p.values["password"], p.line.key+": password", string(needless), "without user= PgBouncer does not use it")
	}
	name := p.line.key
	if name == "*" && p.has("dbname") {
		m.remarkf(p.values["dbname"], "*: dbname", string(missing), "a client of \"*\" gets the database that it asks for")
	}
	m.yaml.set(scalar(m.upstream(p)), "", "databases", name, "upstream")
	m.pool(p)
	m.connections(p)
}
