// Package dial makes server connections.
//
// (First cut by the lead so that pool and proxy compile; whoever owns this package replaces it, keeping the names that
// pool and proxy use: Parse, Config.Dial, Config.Cancel(ctx, *Server), WithUser, WithDatabase, WithWrap, Server's fields.)
package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

type Config struct {
	cfg  *pgconn.Config
	wrap func(net.Conn) net.Conn
}

type Server struct {
	Conn   net.Conn
	TLS    *tls.Conn
	PID    uint32
	Secret []byte
	Params []wire.Param
	Addr   net.Addr
}

func Parse(dsn string) (Config, error) {
	c, err := pgconn.ParseConfig(dsn)
	return Config{cfg: c}, err
}

func (c Config) User() string     { return c.cfg.User }
func (c Config) Password() string { return c.cfg.Password }
func (c Config) Database() string { return c.cfg.Database }

func (c Config) WithUser(user, password, database string) Config {
	c.cfg = c.cfg.Copy()
	c.cfg.User, c.cfg.Password = user, password
	if database != "" {
		c.cfg.Database = database
	}
	return c
}

func (c Config) WithDatabase(database string) Config {
	c.cfg = c.cfg.Copy()
	c.cfg.Database = database
	return c
}

func (c Config) WithWrap(wrap func(net.Conn) net.Conn) Config {
	c.wrap = wrap
	return c
}

func (c Config) Dial(ctx context.Context) (*Server, error) {
	cfg := c.cfg.Copy()
	var d net.Dialer
	var addr net.Addr
	cfg.DialFunc = func(ctx context.Context, network, a string) (net.Conn, error) {
		nc, err := d.DialContext(ctx, network, a)
		if err != nil {
			return nil, err
		}
		addr = nc.RemoteAddr()
		return c.wrap(nc), nil
	}
	pc, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		var pe *pgconn.PgError
		if errors.As(err, &pe) {
			return nil, &wire.Error{Code: pe.Code, Message: pe.Message, Detail: pe.Detail, Hint: pe.Hint}
		}
		return nil, err
	}
	if err := pc.SyncConn(ctx); err != nil {
		return nil, err
	}
	h, err := pc.Hijack()
	if err != nil {
		return nil, err
	}
	s := &Server{Conn: h.Conn, PID: h.PID, Secret: h.SecretKey, Addr: addr}
	if t, ok := h.Conn.(*tls.Conn); ok {
		s.TLS, s.Conn = t, t.NetConn()
	}
	for k, v := range h.ParameterStatuses {
		s.Params = append(s.Params, wire.Param{Name: k, Value: v})
	}
	slices.SortFunc(s.Params, func(a, b wire.Param) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

func (c Config) Cancel(ctx context.Context, s *Server) error {
	var d net.Dialer
	nc, err := d.DialContext(ctx, s.Addr.Network(), s.Addr.String())
	if err != nil {
		return err
	}
	defer nc.Close()
	if dl, ok := ctx.Deadline(); ok {
		_ = nc.SetDeadline(dl)
	}
	if _, err := nc.Write(wire.AppendCancelRequest(nil, s.PID, s.Secret)); err != nil {
		return err
	}
	var b [1]byte
	_, _ = nc.Read(b[:])
	return nil
}
