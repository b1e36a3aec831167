package login

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// maxName is PostgreSQL's NAMEDATALEN less its NUL: longer names are cut, as the server cuts them when it stores them.
const maxName = 63

// protocolOption begins the names of protocol extensions. None is known here.
const protocolOption = "_pq_."

// client reads the startup packet: who, where, and settings, which it leaves in pkt.Params. What it does not know of
// the protocol it tells the client before anything else.
func (a *attempt) client(pkt *wire.Startup) (*Client, error) {
	a.user = cutName(pkt.Param("user"))
	a.database = cutName(pkt.Param("database"))
	if a.database == "" {
		a.database = a.user
	}
	replication, ok := replicationMode(pkt.Param("replication"))
	if !ok {
		return nil, a.refuse(withHint(fatal(codeInvalidValue,
			fmt.Sprintf("invalid value for parameter \"replication\": %q", pkt.Param("replication"))),
			"Valid values are: \"false\", 0, \"true\", 1, \"database\"."))
	}
	a.replication = replication
	c := &Client{
		Conn: a.conn, TLS: a.tls, User: a.user, Database: a.database,
		Version: a.negotiate(pkt), Replication: replication,
	}
	if a.tls != nil {
		c.ServerName = a.tls.ConnectionState().ServerName
	}
	return c, nil
}

// codeInvalidValue is PostgreSQL's invalid_parameter_value.
const codeInvalidValue = "22023"

func cutName(s string) string { return s[:min(len(s), maxName)] }

// negotiate is the version spoken with this client: the newest of ours not above its own. A client that asked for a
// newer one, or for extensions, is told; the message goes out with the first question. 3.1 was never released:
// PostgreSQL takes it without a word for 3.0, but must not name it in an answer, which libpq takes for a fault.
func (a *attempt) negotiate(pkt *wire.Startup) uint32 {
	version := wire.Version30
	if pkt.Version >= wire.Version32 {
		version = wire.Version32
	}
	var unknown []string
	for _, p := range pkt.Params {
		if strings.HasPrefix(p.Name, protocolOption) {
			unknown = append(unknown, p.Name)
		}
	}
	if pkt.Version > wire.Version32 || len(unknown) > 0 {
		a.out = wire.AppendNegotiateProtocolVersion(a.out, version, unknown)
	}
	return version
}

// settings gives the client its settings: those of the parameter options first, because the others override them. Faults
// in options are told only to those who have proved who they are, as in PostgreSQL.
func (a *attempt) settings(c *Client, pkt *wire.Startup) error {
	var fromOptions []wire.Param
	if options := pkt.Param("options"); options != "" {
		var err error
		if fromOptions, err = wire.DecodeOptions(options); err != nil {
			a.out = wire.AppendAuthOK(a.out)
			return a.refuse(wire.ToldToClient(err))
		}
	}
	own := slices.DeleteFunc(pkt.Params, func(p wire.Param) bool { return !isSetting(p.Name) })
	if c.Params = own; len(fromOptions) > 0 {
		c.Params = slices.Concat(fromOptions, own)
	}
	return nil
}

// isSetting tells settings from the parameters that say who and how.
func isSetting(name string) bool {
	switch name {
	case "user", "database", "options", "replication":
		return false
	}
	return !strings.HasPrefix(name, protocolOption)
}

// replicationMode reads the parameter replication: a boolean as PostgreSQL reads them, or "database".
func replicationMode(s string) (mode string, ok bool) {
	if s == "" || s == "database" {
		return s, true
	}
	on := s == "1" || abbreviates(s, "true", 1) || abbreviates(s, "yes", 1) || abbreviates(s, "on", 2)
	if on {
		return "true", true
	}
	return "", s == "0" || abbreviates(s, "false", 1) || abbreviates(s, "no", 1) || abbreviates(s, "off", 2)
}

// abbreviates reports whether s is the beginning of word, in any case, and long enough to be no other.
func abbreviates(s, word string, atLeast int) bool {
	return len(s) >= atLeast && len(s) <= len(word) && strings.EqualFold(s, word[:len(s)])
}
