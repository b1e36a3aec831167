package dial

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// maxLoginMessage bounds the messages of a server during the login. The longest are error texts.
const maxLoginMessage = 1 << 20

// Config is where and as whom to dial. It is a value made by Parse; changing a copy does not change the original.
type Config struct {
	// Wrap makes of a fresh socket what the caller wants to own; TLS runs over it. nil leaves it as it is.
	Wrap func(net.Conn) net.Conn

	pg     *pgconn.Config // shared by copies, so never changed
	dsn    string         // what it was parsed from, for Equal; a secret
	newest bool           // the DSN does not name a protocol version: try the newest first
	proof  *Proof         // instead of a password; nil: there is a password, or none is needed
}

// Parse reads a DSN, URL or keywords, with the defaults and the environment variables of libpq. Its error holds no part
// of the DSN.
func Parse(dsn string) (Config, error) {
	pg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return Config{}, parseError(err)
	}
	params := maps.Clone(pg.RuntimeParams)
	if err := dropClientOptions(params); err != nil {
		return Config{}, err
	}
	pg.RuntimeParams = params
	pg.MaxProtocolMessageBodyLen = maxLoginMessage
	c := Config{pg: pg, dsn: dsn}
	if !namesVersion(dsn) {
		c.newest = true
		pg.MaxProtocolVersion = "3.2" // cancel keys are longer than 4 bytes from then on
	}
	return c, nil
}

func namesVersion(dsn string) bool {
	return strings.Contains(dsn, "max_protocol_version") || os.Getenv("PGMAXPROTOCOLVERSION") != ""
}

// parseError is err without the DSN, which pgconn's text repeats as well as it can without its passwords.
func parseError(err error) error {
	var bad *pgconn.ParseConfigError
	if !errors.As(err, &bad) {
		return errors.New("invalid DSN")
	}
	text := bad.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		return errors.New("invalid DSN: " + text[i+len("`: "):])
	}
	return errors.New("invalid DSN")
}

// dropClientOptions removes the options of libpq that pgconn does not know and would send to the server as settings.
// Those that change nothing here are dropped; one that promises something is an error.
func dropClientOptions(params map[string]string) error {
	if name := params["fallback_application_name"]; name != "" && params["application_name"] == "" {
		params["application_name"] = name
	}
	for _, key := range []string{
		"fallback_application_name", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
		"tcp_user_timeout", "sslcompression", "gsslib", "gssdelegation",
	} {
		delete(params, key)
	}
	if params["gssencmode"] != "require" {
		delete(params, "gssencmode")
	}
	for _, key := range []string{
		"gssencmode", "load_balance_hosts", "replication", "requirepeer", "sslcrl", "sslcrldir",
		"ssl_min_protocol_version", "ssl_max_protocol_version",
	} {
		if _, given := params[key]; given {
			return fmt.Errorf("invalid DSN: %s is not supported", key)
		}
	}
	return nil
}

// WithUser is c for another role, with its password even if that is empty, and for another database unless it is "".
func (c Config) WithUser(user, database, password string) Config {
	pg := *c.pg
	pg.User, pg.Password = user, password
	if database != "" {
		pg.Database = database
	}
	c.pg, c.proof = &pg, nil
	return c
}

// User is the role to log in as.
func (c Config) User() string { return c.pg.User }

// Database is the database to connect to, as the DSN names it: the server takes the user's name for "".
func (c Config) Database() string { return c.pg.Database }

// Password is the role's password.
func (c Config) Password() string { return c.pg.Password }

// ConnectTimeout is the DSN's connect_timeout, 0 without.
func (c Config) ConnectTimeout() time.Duration { return c.pg.ConnectTimeout }

// Hosts are the servers to try, in this order, as host:port or as the directory of a unix socket.
func (c Config) Hosts() []string {
	hosts := []string{hostPort(c.pg.Host, c.pg.Port)}
	for _, f := range c.pg.Fallbacks {
		if h := hostPort(f.Host, f.Port); h != hosts[len(hosts)-1] { // the same host comes again without TLS
			hosts = append(hosts, h)
		}
	}
	return hosts
}

func hostPort(host string, port uint16) string {
	if network, _ := pgconn.NetworkAddress(host, port); network == "unix" {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// String says where and as whom, without the password.
func (c Config) String() string {
	if c.pg == nil {
		return "(no server)"
	}
	return fmt.Sprintf("%s@%s/%s", c.pg.User, strings.Join(c.Hosts(), ","), c.pg.Database)
}

// GoString is String for %#v.
func (c Config) GoString() string { return c.String() }

// LogValue is String for slog.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }
