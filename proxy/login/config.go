package login

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sarnicdb/sarnic/proxy/hba"
)

// TLSMode says whether clients may, must or cannot use TLS on TCP connections. Unix sockets never do.
type TLSMode string

// The TLS modes, with the names PgBouncer gives them. A client's certificate proves that it holds one of our CA, not
// which user it is.
const (
	TLSDisable    TLSMode = "disable"     // SSLRequest is answered with 'N'
	TLSAllow      TLSMode = "allow"       // as prefer
	TLSPrefer     TLSMode = "prefer"      // TLS if the client wants it
	TLSRequire    TLSMode = "require"     // a login in plain text is refused
	TLSVerifyCA   TLSMode = "verify-ca"   // and the client must show a certificate of TLS.ClientCAs
	TLSVerifyFull TLSMode = "verify-full" // as verify-ca
)

// Method is how a client proves who it is.
type Method = hba.Method

// The methods that a configuration without rules may have for everybody.
const (
	Trust    = hba.Trust    // a known name is enough
	Password = hba.Password // in clear text, so only over TLS or a unix socket
	MD5      = hba.MD5      // SCRAM for users whose secret is a SCRAM verifier, as in PostgreSQL
	SCRAM    = hba.SCRAM    // with -PLUS offered over TLS
)

// DefaultTimeout is PostgreSQL's authentication_timeout.
const DefaultTimeout = 60 * time.Second

// Lookup finds the secret of a user who wants to use a database; known is false where there is no such user. The Secret
// should be parsed once and kept: what is derived from it is kept inside. It is called on the login's goroutine and may
// take its time, within ctx; an error is told to the client as far as it is a *wire.Error.
type Lookup func(ctx context.Context, user, database string) (secret Secret, known bool, err error)

// Config is what an operator chooses about logins.
type Config struct {
	TLS      *tls.Config                 // what is shown to clients; nil refuses TLS. GetConfigForClient is not supported.
	TLSMode  TLSMode                     // "" is prefer
	Method   Method                      // of everybody, where there are no Rules
	Rules    []hba.Rule                  // the first for a client says how it proves who it is; nobody gets in for whom there is none
	Maps     hba.Maps                    // from names in certificates to users
	Lookup   Lookup                      // may be nil where everybody is known
	Member   Member                      // may be nil where no rule and no map names a role with a +
	Failed   func(user, database string) // hears of proofs that were wrong; may be nil
	Backoff  *Backoff                    // nil: nobody waits
	Counters *Counters                   // nil: nobody counts
	Timeout  time.Duration               // for the whole login; 0 is DefaultTimeout
	MockSeed [32]byte                    // salts are made from it, of known and of unknown users; zero takes a random one
	HoldOK   bool                        // leave AuthenticationOk to the caller, in Client.Unsent, to be sent with what follows it
}

// Member finds out whether a user who wants to use a database belongs to a role of the server. It may take its time.
type Member func(ctx context.Context, user, database, role string) (bool, error)

// Server logs clients in. It is immutable but for what it caches, and safe for use by any number of goroutines.
type Server struct {
	cfg      Config
	rules    []hba.Rule
	tls      *tls.Config             // cfg.TLS with our own rules; nil where TLS is refused
	hashing  chan struct{}           // one place for each PBKDF2 that may run
	binding  atomic.Pointer[binding] // of the certificate shown last
	attempts sync.Pool               // of *attempt, for their buffers
}

// New checks c. It does no I/O.
func New(c Config) (*Server, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MockSeed == [32]byte{} {
		if _, err := rand.Read(c.MockSeed[:]); err != nil {
			return nil, fmt.Errorf("seed of mock salts: %w", err)
		}
	}
	if c.Counters == nil {
		c.Counters = new(Counters)
	}
	s := &Server{cfg: c, rules: c.rules(), hashing: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	if c.TLS != nil && c.TLSMode != TLSDisable {
		s.tls = s.ownTLS(c.TLS)
	}
	return s, nil
}

func (c *Config) validate() error {
	for i := range c.Rules {
		if c.Rules[i].NeedsCertificate() && (c.TLS == nil || c.TLS.ClientCAs == nil) {
			return fmt.Errorf("rule %s needs the CA of the clients", c.Rules[i].Place)
		}
	}
	if len(c.Rules) == 0 {
		switch c.Method {
		case Trust, Password, MD5, SCRAM:
		default:
			return fmt.Errorf("unknown authentication method %q", c.Method)
		}
		if c.Lookup == nil && c.Method != Trust {
			return fmt.Errorf("authentication method %s needs users", c.Method)
		}
	}
	if c.Timeout < 0 {
		return errors.New("login time-out must not be negative")
	}
	return c.validateTLS()
}

func (c *Config) validateTLS() error {
	switch c.TLSMode {
	case "", TLSDisable, TLSAllow, TLSPrefer:
	case TLSRequire, TLSVerifyCA, TLSVerifyFull:
		if c.TLS == nil {
			return fmt.Errorf("TLS mode %s needs a certificate", c.TLSMode)
		}
	default:
		return fmt.Errorf("unknown TLS mode %q", c.TLSMode)
	}
	switch {
	case c.TLS == nil || c.TLSMode == TLSDisable:
		return nil
	case len(c.TLS.Certificates) == 0 && c.TLS.GetCertificate == nil:
		return errors.New("TLS needs a certificate")
	case c.TLS.GetConfigForClient != nil:
		return errors.New("TLS.GetConfigForClient is not supported: use GetCertificate")
	case c.verifiesClients() && c.TLS.ClientCAs == nil:
		return fmt.Errorf("TLS mode %s needs the CA of the clients", c.TLSMode)
	}
	return nil
}

// rules are those of the configuration, or the one method for everybody.
func (c *Config) rules() []hba.Rule {
	if len(c.Rules) > 0 {
		return c.Rules
	}
	return hba.Everybody(c.Method)
}

func (c *Config) verifiesClients() bool {
	return c.TLSMode == TLSVerifyCA || c.TLSMode == TLSVerifyFull
}

func (c *Config) requiresTLS() bool { return c.TLSMode == TLSRequire || c.verifiesClients() }
