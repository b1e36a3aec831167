package main

import (
	"cmp"
	"errors"
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
	"github.com/sarnicdb/sarnic/proxy/admin"
	"github.com/sarnicdb/sarnic/proxy/login"
)

// settings is everything the commands need, judged: what the proxy is told and what concerns the process around it.
type settings struct {
	proxy        proxy.Config
	http         string
	restartDrain time.Duration
	replicas     []string // keys of the replicas named; none is used yet
	shown        []admin.Setting
	mistakes     config.Errors // in files that the configuration names

	source *file // what it was made of, and where paths in that start
	folder string

	files []string                     // everything that was read
	again func() (settings, error)     // reads it anew
	blame func(key, text string) error // makes an error of what is found wrong later
}

// readFile is the whole road from sarnic.yaml to settings. Every mistake is in the error.
func readFile(path string, env config.LookupEnv) (settings, error) {
	again := func() (settings, error) { return readFile(path, env) }
	doc, err := config.Load(path, env)
	if err != nil {
		return settings{files: []string{path}, again: again}, err
	}
	f := defaults()
	doc.Decode(&f)
	s := f.compose(filepath.Dir(path), doc.Add)
	s.files = slices.Concat([]string{path}, doc.Files(), f.files(filepath.Dir(path)), s.files)
	s.again = again
	s.blame = func(key, text string) error {
		doc.Add(key, text)
		return doc.Err()
	}
	return s, s.err(doc.Err())
}

// err adds to what is wrong with the configuration itself what is wrong with the files it names.
func (s settings) err(own error) error {
	var all config.Errors
	if own != nil && !errors.As(own, &all) {
		return own
	}
	if all = append(all, s.mistakes...); len(all) > 0 {
		return all
	}
	return nil
}

// compose judges f and makes settings of it. Every mistake goes to bad, under the key that is to blame; paths in f are
// relative to folder.
func (f *file) compose(folder string, bad func(key, text string)) settings {
	c := composer{file: f, folder: folder, bad: bad, elsewhere: new(config.Errors), read: new([]string)}
	s := settings{
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
			Query:      c.query(),
			AdminUsers: f.Admin.Users,
			StatsUsers: f.Admin.StatsUsers,
			DrainTime:  c.drainTime(),

			RestartSocket: c.restartSocket(),
		},
		http:         c.http(),
		restartDrain: c.restartDrain(),
		replicas:     c.replicas(),
		shown:        f.show(),
		source:       f,
		folder:       folder,
	}
	s.proxy.Rules, s.proxy.Maps = c.access()
	slices.SortStableFunc(*c.elsewhere, func(a, b *config.Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	s.mistakes, s.files = *c.elsewhere, *c.read
	return s
}

// composer carries what every part of compose needs.
type composer struct {
	*file
	folder    string
	bad       func(key, text string)
	elsewhere *config.Errors // what is wrong in files that the configuration names
	read      *[]string      // files and folders that those name in turn
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
