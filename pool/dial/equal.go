package dial

import (
	"bytes"
	"crypto/tls"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// Equal reports whether both lead to the same server, in the same way, as the same role: a connection made with one is as
// good as one made with the other. What the DSN's files said when it was parsed counts too, so that a new certificate is a
// difference. Wrap is not looked at.
func (c Config) Equal(o Config) bool {
	if c.pg == nil || o.pg == nil {
		return c.pg == o.pg
	}
	a, b := c.pg, o.pg
	return c.newest == o.newest && c.proof == o.proof && // proofs are shared by the configurations of one role
		c.dsn == o.dsn && // and with it what pgconn makes functions of, such as target_session_attrs
		a.Host == b.Host && a.Port == b.Port && a.Database == b.Database && a.User == b.User && a.Password == b.Password &&
		a.ConnectTimeout == b.ConnectTimeout && maps.Equal(a.RuntimeParams, b.RuntimeParams) &&
		sameTLS(a.TLSConfig, b.TLSConfig) && slices.EqualFunc(a.Fallbacks, b.Fallbacks, sameFallback)
}

func sameFallback(a, b *pgconn.FallbackConfig) bool {
	return a.Host == b.Host && a.Port == b.Port && sameTLS(a.TLSConfig, b.TLSConfig)
}

func sameTLS(a, b *tls.Config) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ServerName == b.ServerName && a.InsecureSkipVerify == b.InsecureSkipVerify && a.RootCAs.Equal(b.RootCAs) &&
		slices.EqualFunc(a.Certificates, b.Certificates, func(a, b tls.Certificate) bool {
			return slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal)
		})
}
