package proxy

import (
	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// refused reports whether the pool's policy forbids a statement that would tie the client to its server connection.
func (s *session) refused(m *impact) bool {
	cfg := s.pool.Config()
	return m.pins != 0 && cfg.Pins == pool.PinRefuse && cfg.Mode != pool.SessionMode
}

func (s *session) pinRefusal(r pins) *wire.Error {
	return &wire.Error{
		Code:    wire.CodeFeatureNotSupported,
		Message: "statement would tie its client to a server connection: " + r.String(),
		Hint:    "The pool " + s.pool.Name() + " forbids that with pins: error. Use a pool in session mode for such statements.",
	}
}

// warn tells the client and the operator of a pin, once per reason and session at a time.
func (s *session) warn(r pins) {
	s.srv.log.Warn("session pinned", "pool", s.pool.Name(), "pid", s.pid, "reason", r.String())
	_ = s.write(wire.AppendNotice(nil, &wire.Error{
		Severity: "WARNING", Code: "01000", Message: "this session keeps its server connection now: " + r.String(),
	}))
}
