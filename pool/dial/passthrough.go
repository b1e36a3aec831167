package dial

import (
	"crypto/md5"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/scram"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Proof is what logs in as a role whose password is not in any configuration: what the role's own logins have shown. The
// last of them counts; the one before is tried where the server refuses that, for a login may be judged by a secret that
// was changed a moment ago. It outlives the configurations that refer to it, and may be used by any goroutine.
type Proof struct{ last atomic.Pointer[credential] }

// credential is one of three, or none: then the server must ask for nothing. It is immutable.
type credential struct {
	key      *scram.Key
	md5      string // the 32 hex digits of md5(password + user)
	password string
	before   *credential // what was learnt earlier and is not known to be of no use; it has none before
}

// String keeps what it holds out of whatever prints one.
func (*Proof) String() string { return "(secret)" }

// GoString is String for %#v.
func (*Proof) GoString() string { return "(secret)" }

// LogValue is String for slog.
func (*Proof) LogValue() slog.Value { return slog.StringValue("(secret)") }

// LearnKey keeps what a SCRAM login has revealed. It will do where the server stores the key's own verifier and asks for
// SCRAM.
func (p *Proof) LearnKey(key *scram.Key) { p.learn(credential{key: key}) }

// LearnMD5 keeps the hash that the server stores. It will do where the server asks for md5.
func (p *Proof) LearnMD5(digits string) { p.learn(credential{md5: digits}) }

// LearnPassword keeps a password.
func (p *Proof) LearnPassword(text string) { p.learn(credential{password: text}) }

func (p *Proof) learn(c credential) {
	for {
		old := p.last.Load()
		if old != nil && old.same(&c) {
			return
		}
		if old != nil {
			c.before = old.alone()
		}
		if p.last.CompareAndSwap(old, &c) {
			return
		}
	}
}

// same reports whether both prove the same.
func (c *credential) same(o *credential) bool {
	if c.key != nil && o.key != nil {
		return c.key.Verifier().Equal(o.key.Verifier())
	}
	return c.key == o.key && c.md5 == o.md5 && c.password == o.password
}

// alone is c without what was before.
func (c *credential) alone() *credential {
	return &credential{key: c.key, md5: c.md5, password: c.password}
}

// now is what p knows, nil where no proof is called for.
func (p *Proof) now() *credential {
	if p == nil {
		return nil
	}
	if c := p.last.Load(); c != nil {
		return c
	}
	return new(credential)
}

// refused drops c, unless something newer was learnt meanwhile, and reports whether there is something else to try.
func (p *Proof) refused(c *credential) bool {
	p.last.CompareAndSwap(c, c.before)
	now := p.last.Load()
	return now != nil && now != c
}

// accepted drops what was before c.
func (p *Proof) accepted(c *credential) {
	if c.before != nil {
		p.last.CompareAndSwap(c, c.alone())
	}
}

// WithProof is c for another role, which logs in with what p knows at that time, and for another database unless it is
// "". What the server refuses p forgets.
func (c Config) WithProof(user, database string, p *Proof) Config {
	c = c.WithUser(user, database, "")
	c.proof = p
	return c
}

// ProofError says that the server asks for a proof which cannot be given without the role's password. Nothing that proves
// anything was sent.
type ProofError struct {
	User  string
	Asked string // what the server asks for, as pg_hba.conf names it
	Err   error  // nil where Asked says it all
}

// Error is for the log.
func (e *ProofError) Error() string {
	text := "cannot log in as " + e.User + " without the password: the server asks for " + e.Asked
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives errors.Is the cause.
func (e *ProofError) Unwrap() error { return e.Err }

// maxAuthentication bounds what a server says before it lets anybody in, of the messages that are read here.
const maxAuthentication = 8192

// doorman stands between a server and pgconn until the server has let us in. It answers what the server asks for from a
// credential; pgconn sees a server that asks for nothing.
type doorman struct {
	server  io.Reader
	reply   io.Writer
	proof   *credential
	user    string
	binding string // the DSN's channel_binding
	require string // the DSN's require_auth

	pending []byte // read and not yet given away
	over    bool   // the login: the rest is none of our business
}

// admit has d answer in place of pgconn, whose own rules about what a server may ask for are d's from here on.
func (c Config) admit(proof *credential, r io.Reader, w io.Writer) *doorman {
	return &doorman{
		server: r, reply: w, proof: proof, user: c.pg.User, binding: c.pg.ChannelBinding, require: c.pg.RequireAuth,
	}
}

// Read is what pgconn reads from.
func (d *doorman) Read(b []byte) (int, error) {
	for len(d.pending) == 0 && !d.over {
		if err := d.next(); err != nil {
			return 0, err
		}
	}
	if len(d.pending) == 0 {
		return d.server.Read(b)
	}
	n := copy(b, d.pending)
	d.pending = d.pending[n:]
	return n, nil
}

// next reads one message and answers it, or leaves it to pgconn.
func (d *doorman) next() error {
	frame, err := d.frame()
	if err != nil {
		return err
	}
	if frame[0] != 'R' {
		d.pending = frame
		d.over = frame[0] == 'E'
		return nil
	}
	body := frame[wire.HeaderLen:]
	if len(body) < 4 {
		return errors.New("malformed authentication request")
	}
	switch kind := binary.BigEndian.Uint32(body); {
	case kind == pgproto3.AuthTypeOk:
		return d.let(frame, "none")
	case kind == pgproto3.AuthTypeSASL && d.proof.key != nil:
		return d.sasl(body)
	case kind == pgproto3.AuthTypeMD5Password && d.proof.md5 != "" && len(body) == 8:
		return d.hash(body[4:])
	default:
		return d.cannot(askedFor(kind), nil)
	}
}

func (d *doorman) cannot(asked string, err error) error { return &ProofError{d.user, asked, err} }

// let passes AuthenticationOk on, if what went before it is what the DSN requires.
func (d *doorman) let(frame []byte, method string) error {
	switch {
	case d.binding == "require" && method != scramPlus:
		return errors.New("channel binding required but server did not authenticate using channel binding")
	case !permits(d.require, strings.TrimSuffix(method, "-plus")):
		return fmt.Errorf("the DSN's require_auth does not permit %s", method)
	}
	d.pending, d.over = frame, true
	return nil
}

const (
	scramPlain = "scram-sha-256"
	scramPlus  = "scram-sha-256-plus"
)

// permits reads a require_auth: methods of which one must be used, or !methods of which none may.
func permits(require, method string) bool {
	if require == "" {
		return true
	}
	listed := strings.Split(require, ",")
	for i := range listed {
		listed[i] = strings.TrimSpace(listed[i])
	}
	if strings.HasPrefix(listed[0], "!") {
		return !slices.Contains(listed, "!"+method)
	}
	return slices.Contains(listed, method)
}

// frame reads one message, header and all.
func (d *doorman) frame() ([]byte, error) {
	frame := make([]byte, wire.HeaderLen)
	if _, err := io.ReadFull(d.server, frame); err != nil {
		return nil, err
	}
	_, size, ok := wire.Header(frame)
	if !ok || size > maxAuthentication {
		return nil, errors.New("invalid length of an authentication message")
	}
	frame = append(frame, make([]byte, size-wire.HeaderLen)...)
	_, err := io.ReadFull(d.server, frame[wire.HeaderLen:])
	return frame, err
}

// hash answers a request for md5.
func (d *doorman) hash(salt []byte) error {
	if !permits(d.require, "md5") || d.binding == "require" {
		return d.cannot("md5", errors.New("the DSN does not permit it"))
	}
	sum := md5.Sum(append([]byte(d.proof.md5), salt...))
	if _, err := d.reply.Write(wire.AppendPassword(nil, "md5"+hex.EncodeToString(sum[:]))); err != nil {
		return err
	}
	return d.end("md5")
}

// end reads the server's verdict: AuthenticationOk or an error, which is pgconn's.
func (d *doorman) end(method string) error {
	frame, err := d.frame()
	if err != nil {
		return err
	}
	if frame[0] == 'R' && len(frame) == wire.HeaderLen+4 && binary.BigEndian.Uint32(frame[wire.HeaderLen:]) == pgproto3.AuthTypeOk {
		return d.let(frame, method)
	}
	return d.leave(frame)
}

// leave passes a server's error on, and nothing else.
func (d *doorman) leave(frame []byte) error {
	if frame[0] != 'E' {
		return fmt.Errorf("unexpected message %q during the login", frame[0])
	}
	d.pending, d.over = frame, true
	return nil
}

// sasl holds a SCRAM exchange.
func (d *doorman) sasl(body []byte) error {
	var offer pgproto3.AuthenticationSASL
	if err := offer.Decode(body); err != nil {
		return err
	}
	gs2, bind, err := d.bind(offer.AuthMechanisms)
	if err != nil {
		return err
	}
	if !permits(d.require, scramPlain) {
		return d.cannot(scramPlain, errors.New("the DSN's require_auth does not permit it"))
	}
	x := scram.NewExchange(d.proof.key, gs2, bind)
	first, err := x.First()
	if err != nil {
		return err
	}
	challenge, err := d.say(wire.AppendSASLInitial(nil, x.Mechanism(), first), pgproto3.AuthTypeSASLContinue)
	if challenge == nil {
		return err
	}
	final, err := x.Final(challenge)
	if err != nil {
		return d.cannot(scramPlain, err)
	}
	verdict, err := d.say(wire.AppendSASLResponse(nil, final), pgproto3.AuthTypeSASLFinal)
	if verdict == nil {
		return err
	}
	if err := x.Verify(verdict); err != nil {
		return d.cannot(scramPlain, err)
	}
	if gs2 == scram.GS2Plus {
		return d.end(scramPlus)
	}
	return d.end(scramPlain)
}

// say sends a message and returns the data of the answer, which is nil with an error, and where the server's answer is an
// error, which then waits for pgconn.
func (d *doorman) say(message []byte, expected uint32) ([]byte, error) {
	if _, err := d.reply.Write(message); err != nil {
		return nil, err
	}
	frame, err := d.frame()
	if err != nil {
		return nil, err
	}
	body := frame[wire.HeaderLen:]
	if frame[0] != 'R' || len(body) < 4 || binary.BigEndian.Uint32(body) != expected {
		return nil, d.leave(frame)
	}
	return body[4:], nil
}

// bind chooses how the exchange is bound to the TLS under it, as libpq does: not at all where that cannot be or is not
// wanted, and where it could be but the server does not offer it, the server is told so.
func (d *doorman) bind(offered []string) (gs2 string, bind []byte, err error) {
	secure, ok := d.reply.(*tls.Conn)
	if ok && d.binding != "disable" {
		if certificates := secure.ConnectionState().PeerCertificates; len(certificates) > 0 {
			bind = scram.EndPoint(certificates[0])
		}
	}
	plus := slices.Contains(offered, scram.MechanismPlus)
	switch {
	case bind != nil && plus:
		return scram.GS2Plus, bind, nil
	case d.binding == "require":
		return "", nil, errors.New("channel binding required but not possible with this server")
	case !slices.Contains(offered, scram.Mechanism):
		return "", nil, d.cannot(strings.Join(offered, ", "), nil)
	case bind != nil:
		return scram.GS2Unused, nil, nil
	default:
		return scram.GS2None, nil, nil
	}
}

func askedFor(kind uint32) string {
	switch kind {
	case pgproto3.AuthTypeCleartextPassword:
		return "password"
	case pgproto3.AuthTypeMD5Password:
		return "md5"
	case pgproto3.AuthTypeSASL:
		return scramPlain
	default:
		return fmt.Sprintf("authentication %d", kind)
	}
}
