package proxy

import (
	"crypto/tls"
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/hba"
	"github.com/sarnicdb/sarnic/proxy/login"
)

// Config is everything a Server needs, already read, checked and composed by cmd/sarnic.
type Config struct {
	Listen     []string      // TCP addresses, host:port
	UnixDir    string        // directory of the unix socket .s.PGSQL.<port>; empty: none
	UnixMode   uint32        // permission bits of the unix socket
	TLS        *tls.Config   // shown to clients; nil refuses SSLRequest with 'N'
	TLSMode    login.TLSMode // whether clients must use TLS
	Auth       login.Method  // of everybody, where there are no Rules
	Rules      []hba.Rule    // the first for a client says how it proves who it is
	Maps       hba.Maps      // from names in certificates to users
	LoginTime  time.Duration // a login that takes longer is closed
	MaxClients int           // logged-in clients of the whole process
	MaxLogins  int           // logins under way at once; more wait in the listen queue
	MaxLoops   int           // 0: number of cores, at most 4
	Databases  []Database
	Users      []User
	Query      AuthQuery // finds those that Users does not name
	AdminUsers []string  // the console's: every command
	StatsUsers []string  // the console's: SHOW
	// RestartSocket is the path at which another process may take this one's place; empty: none may.
	RestartSocket string
	DrainTime     time.Duration // how long Drain waits for transactions; 0: for ever
}

// Database is one name a client may connect to, and the server behind it. The name "*" takes every other name.
type Database struct {
	Name           string
	Server         dial.Config
	Pool           pool.Config
	MaxConnections int // server connections over all users; 0: no limit
}

// User is one role that may log in. An empty ServerPassword means: dial the server as the database's DSN says
// (its user and password); otherwise the pool dials as this user.
type User struct {
	Name           string
	Secret         string // plain text, md5… or SCRAM-SHA-256$…
	ServerUser     string
	ServerPassword string
	MaxConnections int // server connections over all databases; 0: no limit
}
