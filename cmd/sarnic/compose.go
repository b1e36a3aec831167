package main

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sarnicdb/sarnic/config"
	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy"
	"github.com/sarnicdb/sarnic/proxy/login"
)

// settings is everything the commands need, judged: what the proxy is told and what concerns the process around it.
type settings struct {
	proxy    proxy.Config
	http     string
	replicas []string // keys of the replicas named; none is used yet
}

// readFile is the whole road from sarnic.yaml to settings. Every mistake is in the error.
func readFile(path string, env config.LookupEnv) (settings, error) {
	doc, err := config.Load(path, env)
	if err != nil {
		return settings{}, err
	}
	f := defaults()
	doc.Decode(&f)
	s := f.compose(filepath.Dir(path), doc.Add)
	return s, doc.Err()
}

// compose judges f and makes settings of it. Every mistake goes to bad, under the key that is to blame; paths in f are
// relative to folder.
func (f *file) compose(folder string, bad func(key, text string)) settings {
	c := composer{file: f, folder: folder, bad: bad}
	return settings{
		proxy: proxy.Config{
			Listen:     c.listen(),
			UnixDir:    f.UnixSocket.Dir,
			UnixMode:   uint32(f.UnixSocket.Mode),
			TLS:        f.TLS.clientTLS(folder, bad),
			TLSMode:    c.tlsMode(),
			Auth:       c.method(),
			LoginTime:  f.Auth.LoginTimeout,
			MaxClients: c.atLeast("limits.max_clients", f.Limits.MaxClients, 1),
			MaxLogins:  c.atLeast("limits.max_logins", f.Limits.MaxLogins, 1),
			MaxLoops:   c.atLeast("limits.loops", f.Limits.Loops, 0),
			Databases:  c.databases(),
			Users:      c.users(),
			DrainTime:  c.drainTime(),
		},
		http:     c.http(),
		replicas: c.replicas(),
	}
}

// composer carries what every part of compose needs.
type composer struct {
	*file
	folder string
	bad    func(key, text string)
}

func (c composer) badf(key, format string, args ...any) { c.bad(key, fmt.Sprintf(format, args...)) }

func (c composer) atLeast(key string, n, least int) int {
	if n < least {
		c.badf(key, "must be at least %d, got %d", least, n)
	}
	return n
}

func (c composer) listen() []string {
	if len(c.Listen) == 0 && c.UnixSocket.Dir == "" {
		c.bad("listen", "needs an address, or unix_socket.dir a directory")
	}
	for i, address := range c.Listen {
		c.address(config.Index("listen", i), address)
	}
	return c.Listen
}

func (c composer) http() string {
	if c.HTTP != "" {
		c.address("http", c.HTTP)
	}
	return c.HTTP
}

// address accepts host:port, where the host may be missing or a name and the port 0 (any free one).
func (c composer) address(key, address string) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		c.badf(key, "must be host:port, got %q", address)
		return
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		c.badf(key, "must have a port from 0 to 65535, got %q", port)
	}
}

func (c composer) tlsMode() login.TLSMode {
	c.oneOf("tls.mode", string(c.TLS.Mode), string(login.TLSDisable), string(login.TLSAllow), string(login.TLSPrefer),
		string(login.TLSRequire), string(login.TLSVerifyCA), string(login.TLSVerifyFull))
	return c.TLS.Mode
}

func (c composer) method() login.Method {
	c.oneOf("auth.method", string(c.Auth.Method),
		string(login.Trust), string(login.Password), string(login.MD5), string(login.SCRAM))
	if c.Auth.LoginTimeout <= 0 {
		c.badf("auth.login_timeout", "must be more than 0, got %s", c.Auth.LoginTimeout)
	}
	return c.Auth.Method
}

func (c composer) oneOf(key, got string, choices ...string) {
	if !slices.Contains(choices, got) {
		last := len(choices) - 1
		c.badf(key, "must be %s or %s, got %q", strings.Join(choices[:last], ", "), choices[last], got)
	}
}

func (c composer) databases() []proxy.Database {
	if len(c.Databases) == 0 {
		c.bad("databases", "needs at least one database")
	}
	inherited := c.Pool.Validate()
	c.problems("pool", inherited)
	var all []proxy.Database
	for _, name := range slices.Sorted(maps.Keys(c.Databases)) {
		d := c.Databases[name]
		key := config.Key("databases", name)
		p := c.Pool
		d.Pool.Decode(&p)
		c.problems(key+".pool", slices.DeleteFunc(p.Validate(), func(one pool.Problem) bool {
			return slices.Contains(inherited, one)
		}))
		all = append(all, proxy.Database{
			Name: name, Server: c.upstream(key+".upstream", d.Upstream), Pool: p,
			MaxConnections: c.atLeast(key+".max_connections", d.MaxConnections, 0),
		})
	}
	return all
}

func (c composer) problems(key string, all []pool.Problem) {
	for _, one := range all {
		c.bad(key+"."+one.Key, one.Text)
	}
}

func (c composer) users() []proxy.User {
	if len(c.Users) == 0 && c.Auth.Method != login.Trust {
		c.badf("users", "needs at least one user with method %s", c.Auth.Method)
	}
	var all []proxy.User
	for _, name := range slices.Sorted(maps.Keys(c.Users)) {
		u := c.Users[name]
		key := config.Key("users", name)
		c.judgeSecret(key+".password", name, u.Password)
		if u.ServerUser != "" && u.ServerPassword == "" {
			c.bad(key+".server_password", "is required with server_user")
		}
		server := u.ServerUser
		if u.ServerPassword != "" {
			server = cmp.Or(server, name)
		}
		all = append(all, proxy.User{
			Name: name, Secret: u.Password, ServerUser: server, ServerPassword: u.ServerPassword,
			MaxConnections: c.atLeast(key+".max_connections", u.MaxConnections, 0),
		})
	}
	return all
}

// judgeSecret refuses a secret that no password could ever match with the method chosen.
func (c composer) judgeSecret(key, name, secret string) {
	if secret == "" {
		if c.Auth.Method != login.Trust {
			c.badf(key, "is required with method %s", c.Auth.Method)
		}
		return
	}
	if _, err := login.ParseSecret(name, secret); err != nil {
		c.bad(key, "cannot be used: "+err.Error())
	} else if c.Auth.Method == login.SCRAM && len(secret) == 35 && strings.HasPrefix(secret, "md5") {
		c.bad(key, "is an md5 hash, with which method scram-sha-256 cannot log anybody in")
	}
}

// replicas checks the DSNs that nothing uses yet, so that a file that is fine today is fine later.
func (c composer) replicas() []string {
	var keys []string
	for _, name := range slices.Sorted(maps.Keys(c.Databases)) {
		for i, dsn := range c.Databases[name].Replicas {
			key := config.Index(config.Key("databases", name, "replicas"), i)
			c.upstream(key, dsn)
			keys = append(keys, key)
		}
	}
	return keys
}

// upstream reads the DSN of a server.
func (c composer) upstream(key, dsn string) dial.Config {
	if dsn == "" {
		c.bad(key, "is required: a DSN such as postgres://app:${PGPASSWORD}@db:5432/app")
		return dial.Config{}
	}
	server, err := dial.Parse(dsn)
	if err != nil {
		c.bad(key, err.Error())
	}
	return server
}

func (c composer) drainTime() time.Duration {
	if c.DrainTimeout < 0 {
		c.badf("drain_timeout", "must not be negative, got %s", c.DrainTimeout)
	}
	return c.DrainTimeout
}
