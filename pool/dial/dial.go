package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Server is a connection to a server, logged in and idle. Whoever gets it owns and closes it.
type Server struct {
	Conn     net.Conn     // what Wrap returned
	TLS      *tls.Conn    // over Conn; nil if plain
	PID      uint32       // 0 when the server gave no cancel key
	Secret   []byte       // the cancel key, 4 to 256 bytes
	Params   []wire.Param // everything the server reported (ParameterStatus), sorted by name
	Addr     Addr         // for Cancel
	TxStatus byte         // 'I'
	Major    int          // the server's major version, 0 if it reports none that can be read
}

// Addr is the very server that was reached, of the hosts and addresses a DSN can mean, and how.
type Addr struct {
	network, address string
	tls              *tls.Config // nil if plain; shared with the Config
}

// String is host:port or the path of a socket.
func (a Addr) String() string { return a.address }

// Dial connects and logs in. ctx bounds it as a whole, the DSN's connect_timeout each host.
func (c Config) Dial(ctx context.Context) (*Server, error) {
	if c.proof == nil {
		return c.dialWith(ctx, nil)
	}
	for range maxProofs - 1 {
		known := c.proof.now()
		s, err := c.dialWith(ctx, known)
		if err == nil {
			c.proof.accepted(known)
		}
		if !RefusesProof(err) || !c.proof.refused(known) {
			return s, err
		}
	}
	return c.dialWith(ctx, c.proof.now())
}

// maxProofs is how often a server is offered one for the same connection.
const maxProofs = 3

// dialWith is Dial with what proves the role; nil for the password.
func (c Config) dialWith(ctx context.Context, known *credential) (*Server, error) {
	s, err := c.dial(ctx, known)
	if err != nil && c.newest && rejectsVersion(err) {
		c.newest = false
		pg := *c.pg
		pg.MaxProtocolVersion = "3.0"
		c.pg = &pg
		s, err = c.dial(ctx, known)
	}
	if err != nil {
		return nil, newError(ctx, err)
	}
	return s, nil
}

// rejectsVersion: servers and poolers that are older than the protocol's own way to settle on a version say these.
func rejectsVersion(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == wire.CodeFeatureNotSupported || e.Code == wire.CodeProtocolViolation)
}

// attempt is what is learnt while pgconn dials: of several hosts, the last is the one that was reached.
type attempt struct {
	wrap   func(net.Conn) net.Conn
	addr   Addr
	reader io.Reader // what the frontend reads from; it may hold bytes too
}

func (c Config) dial(ctx context.Context, known *credential) (*Server, error) {
	a := &attempt{wrap: c.Wrap}
	pg := *c.pg // shallow: pgconn changes nothing of it
	if known != nil && known.password != "" {
		pg.Password, known = known.password, nil
	}
	pg.DialFunc = a.dialSocket
	pg.AfterNetConnect = handshake
	pg.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		if a.reader = r; known != nil {
			a.reader = c.admit(known, r, w)
		}
		return pgproto3.NewFrontend(a.reader, w)
	}
	if known != nil { // then these are the doorman's business
		pg.ChannelBinding, pg.RequireAuth = "", ""
	}
	conn, err := pgconn.ConnectConfig(ctx, &pg)
	if err != nil {
		return nil, err
	}
	h, err := c.hijack(ctx, conn)
	if err == nil {
		err = a.check(h)
	}
	if err != nil {
		_ = conn.Conn().Close()
		return nil, err
	}
	return a.server(h), nil
}

// hijack takes the connection out of pgconn. What the server said after the login (settings may change at any time) is
// read first, by asking it once more; so this must end too.
func (c Config) hijack(ctx context.Context, conn *pgconn.PgConn) (*pgconn.HijackedConn, error) {
	if limit := c.pg.ConnectTimeout; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	if err := conn.SyncConn(ctx); err != nil {
		return nil, err
	}
	return conn.Hijack()
}

func (a *attempt) dialSocket(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := dialer().DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	a.addr = Addr{network: network, address: address}
	if a.wrap != nil {
		return a.wrap(conn), nil
	}
	return conn, nil
}

// dialer sets what finds out that a server has vanished: probes while nothing is sent, and an end to waiting for the
// acknowledgement of what was sent (userTimeout). TCP_NODELAY is Go's default.
func dialer() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3},
		Control:         setUserTimeout,
	}
}

// userTimeout is how long the kernel waits for an acknowledgement before it gives the server up.
const userTimeout = 30 * time.Second

// handshake does TLS before the login begins: its errors are then known for what they are, and pgconn, which starts to
// read in the background when its first write takes long, does not take the handshake for a slow write.
func handshake(ctx context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) {
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return conn, nil
	}
	if err := secure.HandshakeContext(ctx); err != nil {
		return conn, &tlsError{err}
	}
	return conn, nil
}

// errNotInStep ends a connection whose server said more, or another status, than a login ends with.
var errNotInStep = errors.New("server is not idle after the login")

// check makes sure that nothing the server said is left in pgconn. The reader under the frontend shows it only by
// being read; the past deadline keeps it from reading on.
func (a *attempt) check(h *pgconn.HijackedConn) error {
	if h.TxStatus != 'I' || h.Frontend.ReadBufferLen() > 0 {
		return errNotInStep
	}
	if err := h.Conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	n, err := a.reader.Read(make([]byte, 1))
	if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.Join(errNotInStep, err)
	}
	return h.Conn.SetDeadline(time.Time{})
}

func (a *attempt) server(h *pgconn.HijackedConn) *Server {
	s := &Server{Conn: h.Conn, PID: h.PID, Secret: slices.Clone(h.SecretKey), TxStatus: h.TxStatus, Addr: a.addr}
	if secure, ok := h.Conn.(*tls.Conn); ok {
		s.Conn, s.TLS, s.Addr.tls = secure.NetConn(), secure, h.TLSConfig
	}
	s.Params = make([]wire.Param, 0, len(h.ParameterStatuses))
	for name, value := range h.ParameterStatuses {
		s.Params = append(s.Params, wire.Param{Name: name, Value: value})
	}
	slices.SortFunc(s.Params, func(a, b wire.Param) int { return strings.Compare(a.Name, b.Name) })
	s.Major = majorVersion(h.ParameterStatuses["server_version"])
	return s
}

// majorVersion reads the number that server_version begins with: "18.4 (Debian …)", "19devel".
func majorVersion(version string) int {
	end := 0
	for end < len(version) && version[end] >= '0' && version[end] <= '9' {
		end++
	}
	major, err := strconv.Atoi(version[:end])
	if err != nil {
		return 0
	}
	return major
}
