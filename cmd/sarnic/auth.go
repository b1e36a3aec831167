package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/sarnicdb/sarnic/config"
	"github.com/sarnicdb/sarnic/proxy"
	"github.com/sarnicdb/sarnic/proxy/login"
)

// serverRole is as whom servers are logged in to for users about whom nothing else is said.
type serverRole string

const (
	autoRole serverRole = "auto" // users of the file as the DSN says, others as themselves
	dsnRole  serverRole = "dsn"
	ownRole  serverRole = "own"
)

func (c composer) method() login.Method {
	c.oneOf("auth.server_role", string(c.Auth.ServerRole), string(autoRole), string(dsnRole), string(ownRole))
	c.oneOf("auth.method", string(c.Auth.Method),
		string(login.Trust), string(login.Password), string(login.MD5), string(login.SCRAM))
	if c.Auth.LoginTimeout <= 0 {
		c.badf("auth.login_timeout", "must be more than 0, got %s", c.Auth.LoginTimeout)
	}
	return c.Auth.Method
}

// builtinQuery is the name of the query over the server's own table.
const builtinQuery = "pg_authid"

// query is how users are found that the file does not name. Who runs it has the password given, or one in plain text that
// the file has for that user.
func (c composer) query() proxy.AuthQuery {
	q := proxy.AuthQuery{
		SQL: c.Auth.Query, User: c.Auth.User, Password: c.Auth.Password, Database: c.Auth.Database, Cache: c.Auth.QueryCache,
		AsDSN: c.Auth.ServerRole == dsnRole,
	}
	if q.Cache < 0 {
		c.badf("auth.query_cache", "must not be negative, got %s", q.Cache)
	}
	switch {
	case q.SQL == "":
		for key, value := range map[string]string{"auth.user": q.User, "auth.password": q.Password, "auth.database": q.Database} {
			if value != "" {
				c.bad(key, "needs auth.query")
			}
		}
		return proxy.AuthQuery{}
	case q.SQL == builtinQuery:
		q.SQL = proxy.PgAuthid
	case !strings.Contains(q.SQL, "$1"):
		c.badf("auth.query", "must be %s, or SQL with the user as $1", builtinQuery)
	}
	if u, ok := c.Users[q.User]; ok && q.Password == "" {
		q.Password = u.ServerPassword
		if secret, err := login.ParseSecret(q.User, u.Password); err == nil && q.Password == "" {
			q.Password, _ = secret.Password()
		}
	}
	if q.User == "" && q.Password != "" {
		c.bad("auth.password", "needs auth.user")
	}
	return q
}

// users are those of the block, and those of the list that the block does not name. Of a user in both the list has the
// secret, unless the block has one too.
func (c composer) users() []proxy.User {
	listed := c.userlist()
	if len(c.Users) == 0 && c.Auth.File == "" && c.Auth.Query == "" && c.Auth.Method != login.Trust && !c.hasRules() {
		c.badf("users", "needs at least one user with method %s", c.Auth.Method)
	}
	var all []proxy.User
	for _, name := range slices.Sorted(maps.Keys(c.Users)) {
		u := c.Users[name]
		key := config.Key("users", name)
		secret := u.Password
		if one, ok := listed[name]; ok && secret == "" {
			secret = one.Secret
		}
		c.judgeSecret(key+".password", name, secret)
		if u.ServerUser != "" && u.ServerUser != name && u.ServerPassword == "" {
			c.bad(key+".server_password", "is required with another server_user than the user itself")
		}
		server := cmp.Or(u.ServerUser, c.serverUser(name))
		if u.ServerPassword != "" {
			server = cmp.Or(server, name)
		}
		all = append(all, proxy.User{
			Name: name, Secret: secret, ServerUser: server, ServerPassword: u.ServerPassword,
			MaxConnections: c.atLeast(key+".max_connections", u.MaxConnections, 0),
		})
	}
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		if _, named := c.Users[name]; !named {
			all = append(all, proxy.User{Name: name, Secret: listed[name].Secret, ServerUser: c.serverUser(name)})
		}
	}
	return all
}

// serverUser is as whom the server is logged in to for a user about whom nothing is said.
func (c composer) serverUser(name string) string {
	if c.Auth.ServerRole == ownRole {
		return name
	}
	return ""
}

// judgeSecret refuses a secret that no password could ever match with the method chosen.
func (c composer) judgeSecret(key, name, secret string) {
	if secret == "" {
		if c.Auth.Method != login.Trust && !c.hasRules() {
			c.badf(key, "is required with method %s", c.Auth.Method)
		}
		return
	}
	if fault := c.unusable(name, secret); fault != "" {
		c.bad(key, fault)
	}
}

// unusable says what is wrong with a secret, "" if nothing is.
func (c composer) unusable(name, secret string) string {
	switch _, err := login.ParseSecret(name, secret); {
	case err != nil:
		return "cannot be used: " + err.Error()
	case c.Auth.Method == login.SCRAM && !c.hasRules() && len(secret) == 35 && strings.HasPrefix(secret, "md5"):
		return "is an md5 hash, with which method scram-sha-256 cannot log anybody in"
	}
	return ""
}

// maxUserlist bounds the list of users; a line has some 200 bytes.
const maxUserlist = 64 << 20

// userlist reads auth.file.
func (c composer) userlist() map[string]login.Listed {
	if c.Auth.File == "" {
		return nil
	}
	path := within(c.folder, c.Auth.File)
	text, err := readText(path, maxUserlist)
	if err != nil {
		c.bad("auth.file", "cannot be read: "+err.Error())
		return nil
	}
	users, mistakes := login.ParseUserlist(text)
	for _, m := range mistakes {
		c.mistake(path, m.Line, m.Column, m.Text)
	}
	listed := make(map[string]login.Listed, len(users))
	for _, u := range users {
		listed[u.User] = u
		if fault := c.unusable(u.User, u.Secret); fault != "" && u.Secret != "" {
			c.mistake(path, u.Line, 1, fmt.Sprintf("the secret of user %q %s", u.User, fault))
		}
	}
	return listed
}

// mistake records what is wrong in a file that the configuration names.
func (c composer) mistake(path string, line, column int, text string) {
	*c.elsewhere = append(*c.elsewhere, &config.Error{File: path, Line: line, Column: column, Text: text})
}

// readText reads a regular file of at most limit bytes.
func readText(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", &os.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return "", err
	}
	if int64(len(b)) > limit {
		return "", fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return string(b), nil
}
