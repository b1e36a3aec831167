package main

import (
	"errors"
	"strconv"
	"time"

	"github.com/sarnicdb/sarnic/config"
	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/login"
)

// file is the shape of sarnic.yaml. A field's key is its name in lower case with underscores; docs/config.md explains each,
// and a test holds the two together.
type file struct {
	Listen       []string
	UnixSocket   unixSocket
	HTTP         string
	TLS          certificates
	Auth         auth
	Admin        consoleUsers
	Limits       limits
	Pool         pool.Config
	Databases    map[string]database
	Users        map[string]user
	DrainTimeout time.Duration
	Restart      restart
}

type unixSocket struct {
	Dir  string
	Mode permissions
}

type certificates struct {
	Mode     login.TLSMode
	Cert     string
	Key      string
	ClientCA string
}

type auth struct {
	Method       login.Method
	File         string // PgBouncer's userlist.txt
	Query        string // pg_authid, or SQL with the user as $1
	QueryCache   time.Duration
	User         string // runs the query
	Password     string
	Database     string
	ServerRole   serverRole
	Rules        []rule
	HbaFile      string // a pg_hba.conf instead
	Maps         map[string][]mapping
	IdentFile    string // a pg_ident.conf instead
	LoginTimeout time.Duration
}

// consoleUsers are those whom the console lets in.
type consoleUsers struct {
	Users      []string // every command
	StatsUsers []string // SHOW
}

type limits struct {
	MaxClients int
	MaxLogins  int
	Loops      int
}

type database struct {
	Upstream       string
	Replicas       []string
	Pool           config.Section // over what the file says for all pools
	MaxConnections int
}

type user struct {
	Password       string
	ServerUser     string
	ServerPassword string
	MaxConnections int
}

// defaults is the one place where settings get the values they have when nobody says anything; what a package can
// decide for itself it does.
func defaults() file {
	return file{
		Listen:       []string{"127.0.0.1:6432"},
		UnixSocket:   unixSocket{Mode: 0o777},
		TLS:          certificates{Mode: login.TLSPrefer},
		Auth:         auth{Method: login.SCRAM, QueryCache: 3 * time.Second, ServerRole: autoRole, LoginTimeout: login.DefaultTimeout},
		Limits:       limits{MaxClients: 10_000, MaxLogins: 64},
		Pool:         pool.DefaultConfig(),
		DrainTimeout: 30 * time.Second,
		Restart:      restart{DrainTimeout: defaultRestartDrain},
	}
}

// permissions are a file's, written in octal as for chmod.
type permissions uint32

// UnmarshalText reads 0777.
func (p *permissions) UnmarshalText(text []byte) error {
	bits, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || bits > 0o777 {
		return errors.New("must be permission bits in octal such as 0770")
	}
	*p = permissions(bits)
	return nil
}
