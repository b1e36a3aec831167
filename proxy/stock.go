package proxy

import (
	"encoding/hex"
	"math/bits"
	"strings"
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Stock is taken when a transaction has ended that may have changed the session's state on its server: PostgreSQL is asked
// for the values of the parameters touched, which are what they are whatever was rolled back, and whether the reasons for
// a pin are still there. That is a round trip of our own, before the connection is given back.

// lookEvery is how often a pin's reasons are looked at again although nothing said that they are gone.
const lookEvery = time.Second

// maxStockTries is how often stock is taken anew when a cancel request of the client's hits our own query.
const maxStockTries = 3

// stockDue reports whether stock must be taken before the connection can be given back.
func (s *session) stockDue() bool {
	x := s.x
	switch {
	case s.pool.Config().Mode == pool.SessionMode || x.pins&^provable != 0:
		return false
	case x.pins != 0:
		x.stale = true
		return x.look || s.w.loop.Now() >= x.lookAgain
	}
	return len(x.touched) > 0
}

// looksAgain reports whether an idle session's pins are to be looked at when the time has come.
func (s *session) looksAgain() bool {
	x := s.x
	return x.stale && x.pins != 0 && x.pins&^provable == 0 && x.server != nil && x.status == 'I' && s.inStep()
}

// takeStock runs the round trip.
func (s *session) takeStock() error {
	x := s.x
	x.stock = false
	if x.server == nil {
		return nil
	}
	a, err := askServer(x.server, x.f, s.stockQuery(), s.w.loop.After(applyTimeout))
	var found []string
	if err == nil {
		found = strings.Split(a.value, ",")
	}
	switch {
	case len(found) == s.stockItems()+1:
		s.tookStock(found)
	case err == errServerLost || err == errServerSilent:
		s.srv.log.Warn("server connection lost while its settings were learned", "pool", s.pool.Name(), "pid", x.server.PID())
		x.fatal = true
		return errStateLost
	case err != nil && err.Code == wire.CodeQueryCanceled && x.stockTries < maxStockTries:
		x.stockTries++
		x.stock = true
	default:
		s.srv.log.Warn("settings cannot be learned", "pool", s.pool.Name(), "pid", s.pid, "error", err)
		s.pinFor(pinSetting)
	}
	x.again = true
	if x.stock {
		return nil
	}
	x.stockTries = 0
	return s.leaveServer()
}

// errStateLost ends a session whose server connection ended before it could be said what its settings are.
var errStateLost = &wire.Error{
	Severity: "FATAL", Code: wire.CodeConnectionFailure, Message: "server closed the connection unexpectedly",
	Hint: "The last transaction is complete; the settings that it made are lost with the connection.",
}

// stockItems is how many answers stockQuery asks for.
func (s *session) stockItems() int {
	n := bits.OnesCount16(uint16(s.x.pins & provable))
	for _, t := range s.x.touched {
		n++
		if t.reset {
			n++
		}
	}
	return n
}

// stockQuery asks, in one text, for a t or f per reason, then for each parameter touched its value, and one more t or f where
// a RESET may have been the last that happened to it. Values come in hexadecimal digits of the database's encoding, for the
// client's may lack some of their characters; "-" is NULL.
func (s *session) stockQuery() string {
	x := s.x
	items := make([]string, 0, len(pinExists)+2*len(x.touched))
	for i, exists := range pinExists {
		if x.pins&provable&(1<<i) != 0 {
			items = append(items, exists)
		}
	}
	for _, t := range x.touched {
		name := quoteText(t.name)
		items = append(items, "COALESCE(pg_catalog.encode(pg_catalog.convert_to(pg_catalog.current_setting("+name+
			", true), pg_catalog.getdatabaseencoding()), 'hex'), '-')")
		if t.reset {
			items = append(items, "EXISTS (SELECT FROM pg_catalog.pg_show_all_settings() AS s WHERE "+
				"pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) "+name+" AND s.source OPERATOR(pg_catalog.=) 'session'::pg_catalog.text)")
		}
	}
	return "SELECT pg_catalog.concat(" + strings.Join(items, ", ',', ") + ", ',')"
}

// tookStock takes the answer to the books.
func (s *session) tookStock(found []string) {
	x := s.x
	for i := range pinExists {
		if reason := pins(1 << i); x.pins&provable&reason != 0 {
			if found[0] == "f" {
				s.unpin(reason)
			}
			found = found[1:]
		}
	}
	x.look, x.stale, x.lookAgain = false, false, s.w.loop.After(lookEvery)
	if len(x.touched) == 0 {
		return
	}
	params := s.settings.list()
	for _, t := range x.touched {
		value, err := hex.DecodeString(found[0])
		known, isReset := err == nil, false
		found = found[1:]
		if t.reset {
			isReset = t.gone(string(value), found[0] == "f")
			found = found[1:]
		}
		switch {
		case isReset:
			params = resetOne(params, s.startup.list(), t.name)
		case known:
			params = setOne(params, t.name, string(value))
		default:
			params = resetOne(params, nil, t.name)
		}
	}
	x.touched = x.touched[:0]
	s.setSettings(params)
	x.server.Settings = s.wanted()
}

// gone reports whether a RESET of the parameter stands. unset says that pg_settings does not show it as set by the
// session; it never shows a role, nor a parameter that only its user knows.
func (t touched) gone(value string, unset bool) bool {
	switch {
	case t.name == role:
		return value == "none"
	case t.name == sessionAuthorization:
		return false
	case strings.Contains(t.name, "."):
		return unset && value == ""
	}
	return unset
}
