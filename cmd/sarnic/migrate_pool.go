package main

import (
	"maps"
	"slices"
	"strconv"
)

// poolValues are the keys of a pool that databases and users may have of their own, and their values.
type poolValues map[string]string

// general are those of [pgbouncer].
func (m *migration) general() poolValues {
	return poolValues{
		"mode": m.values["pool_mode"], "size": m.values["default_pool_size"], "min_size": m.values["min_pool_size"],
		"reserve": m.values["reserve_pool_size"], "wait_timeout": m.values["query_wait_timeout"], "lifetime": m.values["server_lifetime"],
	}
}

// fit makes what PgBouncer takes for none or for unlimited what it is here.
func (m *migration) fit(v poolValues) poolValues {
	fitting := maps.Clone(v)
	if v["size"] == "0" {
		fitting["size"] = m.values["max_client_conn"] // more are never of use
	}
	size, _ := strconv.Atoi(fitting["size"])
	if least, _ := strconv.Atoi(v["min_size"]); least > size {
		fitting["min_size"] = fitting["size"]
	}
	if m.values["reserve_pool_timeout"] == "0" {
		fitting["reserve"] = "0"
	}
	if v["lifetime"] == "0" {
		fitting["lifetime"] = shortestLife
	}
	return fitting
}

// shortestLife has a connection closed when it is given back, since 0 is no limit here.
const shortestLife = "1ms"

// generalPool writes what fit has changed of [pgbouncer].
func (m *migration) generalPool() {
	options := map[string]string{
		"size": "default_pool_size", "min_size": "min_pool_size", "reserve": "reserve_pool_size", "lifetime": "server_lifetime",
	}
	raw := m.general()
	for key, value := range m.fit(raw) {
		if value != raw[key] {
			m.put(value, options[key], "pool", key)
		}
	}
	if raw["lifetime"] == "0" {
		m.remarkf(m.set["server_lifetime"], "server_lifetime = 0", differs, "a connection is closed when it is given back after "+shortestLife)
	}
}

// ofItsOwn is the pool of a database, and which options say what differs from the general one. Of a role that a database is
// for, what [users] says goes before.
func (m *migration) ofItsOwn(p pairs) (all poolValues, from map[string]string) {
	all, from = m.general(), make(map[string]string)
	take := func(p pairs, option, key string) {
		value := p.get(option)
		if value == "" || option == "server_lifetime" && value == "0" {
			return
		}
		if key == "wait_timeout" || key == "lifetime" {
			value, _ = seconds(value) // of whole numbers, which it takes
		}
		all[key], from[key] = value, option
	}
	take(p, "pool_mode", "mode")
	take(p, "pool_size", "size")
	take(p, "min_pool_size", "min_size")
	take(p, "reserve_pool", "reserve")
	take(p, "reserve_pool_size", "reserve")
	take(p, "query_wait_timeout", "wait_timeout")
	take(p, "server_lifetime", "lifetime")
	if i := slices.IndexFunc(m.users, func(u pairs) bool { return u.line.key == p.get("user") }); i >= 0 {
		take(m.users[i], "pool_mode", "mode")
		take(m.users[i], "pool_size", "size")
		take(m.users[i], "reserve_pool_size", "reserve")
		take(m.users[i], "query_wait_timeout", "wait_timeout")
	}
	return m.fit(all), from
}

// pool writes what a database has of its own.
func (m *migration) pool(p pairs) {
	general := m.fit(m.general())
	own, from := m.ofItsOwn(p)
	for key, value := range own {
		if value != general[key] {
			comment := from[key]
			if key == "min_size" && value == own["size"] {
				comment = "min_pool_size, no more than the size"
			}
			m.yaml.set(value, comment, "databases", p.line.key, "pool", key)
		}
	}
}

// connections writes the limit of a database. PgBouncer has one pool for all clients of a database with user=, where we have
// one for each of their names: together they get no more.
func (m *migration) connections(p pairs) {
	most, from := 0, ""
	limit := func(n int, option string) {
		if n > 0 && (most == 0 || n < most) {
			most, from = n, option
		}
	}
	limit(m.integer("max_db_connections"), "max_db_connections")
	if n, _ := strconv.Atoi(p.get("max_db_connections")); n > 0 {
		most, from = n, "max_db_connections"
	}
	if forced(p) {
		own, _ := m.ofItsOwn(p)
		size, _ := strconv.Atoi(own["size"])
		reserve, _ := strconv.Atoi(own["reserve"])
		limit(size+reserve, "user=: one pool for all clients")
		limit(m.userLimit(p.get("user")), "max_user_connections")
	}
	if most > 0 {
		m.yaml.set(strconv.Itoa(most), from, "databases", p.line.key, "max_connections")
	}
}

// userLimit is how many server connections a user may have, 0 for any number.
func (m *migration) userLimit(name string) int {
	for _, u := range m.users {
		if n, _ := strconv.Atoi(u.get("max_user_connections")); u.line.key == name && n > 0 {
			return n
		}
	}
	return m.integer("max_user_connections")
}

// userLimits writes the limits of users who are themselves on the server. Those of roles that databases are for are with the
// databases.
func (m *migration) userLimits() {
	const option = "max_user_connections"
	roles := make(map[string]int)
	for _, p := range m.databases {
		if forced(p) {
			roles[p.get("user")]++
		}
	}
	for role, n := range roles {
		if n > 1 && m.userLimit(role) > 0 {
			m.remarkf(m.set[option], option+" of "+role, differs, "it is for each of the role's databases, not for all of them together")
		}
	}
	if !slices.ContainsFunc(m.databases, func(p pairs) bool { return !forced(p) }) {
		return
	}
	listed := m.login.names
	for _, u := range m.users {
		if name := u.line.key; u.has(option) && !slices.Contains(listed, name) && !m.login.read {
			listed = append(listed[:len(listed):len(listed)], name)
		}
	}
	for _, name := range listed {
		secret := !m.login.read || m.login.users[name].Secret != "" // without one only some methods let a user be named
		if n := m.userLimit(name); n > 0 && (secret || slices.Contains([]string{"trust", "cert", "hba"}, m.values["auth_type"])) {
			m.yaml.set(strconv.Itoa(n), option, "users", name, "max_connections")
		}
	}
	m.unlimited()
}

// unlimited remarks on the users whose limits cannot be written: only those that a file names have one.
func (m *migration) unlimited() {
	const option = "max_user_connections"
	if m.integer(option) > 0 {
		switch {
		case !m.login.read:
			m.remarkf(m.set[option], option, todo, "auth_file cannot be read here: give its users max_connections under users")
		case m.yaml.at("auth").has("query"):
			m.remarkf(m.set[option], option, string(missing), "users that auth_query finds have no limit")
		}
	}
	for _, u := range m.users {
		if _, ok := m.login.users[u.line.key]; u.get(option) > "0" && m.login.read && !ok {
			m.remarkf(u.values[option], u.line.key+": "+option, string(missing), "users that no file names have no limit")
		}
	}
}
