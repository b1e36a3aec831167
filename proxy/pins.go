package proxy

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/sarnicdb/sarnic/pool"
)

// pins are the reasons why a session keeps its server connection between transactions: it holds state there that cannot
// be moved to another.
type pins uint16

// The reasons. What PostgreSQL shows in a catalogue is looked at again when it may be gone; the others stay until the
// session leaves, or says DISCARD ALL.
const (
	pinTemporary   pins = 1 << iota // temporary tables, views, sequences, functions
	pinCursor                       // cursors WITH HOLD
	pinLock                         // advisory locks of the session
	pinListen                       // LISTEN
	pinPrepared                     // PREPARE in SQL
	pinSetting                      // a setting whose name or value cannot be learned
	pinSequence                     // what currval and lastval return
	pinSeed                         // what random returns behind setseed
	pinBlock                        // a DO block whose effects are not known
	pinUnknown                      // a statement that the grammar does not know
	pinLarge                        // a statement too large to look at
	pinFunction                     // dblink, replication origins, functions called by FunctionCall
	pinLoad                         // LOAD
	pinReplication                  // COPY BOTH
)

// pinNames are for operators: logs, metrics and SHOW PINS.
var pinNames = [...]string{ //nolint:gochecknoglobals // immutable
	"temporary object", "cursor with hold", "advisory lock", "listen", "prepared in sql", "setting not known", "sequence value",
	"random seed", "do block", "statement not understood", "statement too large", "function with session state", "load",
	"replication",
}

// pinExists says in SQL whether what a reason is about is still there; "" where nobody can say. Operators are qualified:
// the search_path is the client's.
var pinExists = [...]string{ //nolint:gochecknoglobals // immutable
	`EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
		UNION ALL SELECT FROM pg_catalog.pg_proc WHERE pronamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
		UNION ALL SELECT FROM pg_catalog.pg_type WHERE typnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())`,
	`EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)`,
	`EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory'::pg_catalog.text
		AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())`,
	`EXISTS (SELECT FROM pg_catalog.pg_listening_channels())`,
	`EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql)`,
	len(pinNames) - 1: "",
}

// provable are the reasons that pinExists knows.
const provable = pinTemporary | pinCursor | pinLock | pinListen | pinPrepared

// PinReasons are the names of the reasons, as pool.Counters.Pins counts them.
func PinReasons() []string { return pinNames[:] }

// String lists the reasons.
func (p pins) String() string {
	var names []string
	for i, name := range pinNames {
		if p&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "not pinned"
	}
	return strings.Join(names, ", ")
}

// pinFor ties the session to its server connection.
func (s *session) pinFor(r pins) {
	x := s.x
	if r&provable != 0 {
		x.look = true
	}
	if x.pins&r == r {
		return
	}
	now := s.w.loop.Now()
	if x.pins == 0 {
		x.pinnedAt = now
	}
	for i := range pinNames {
		if r&^x.pins&(1<<i) != 0 {
			x.pinnedSince[i] = now
			c := &s.pool.Counters.Pins[i]
			c.Times.Add(1)
			c.Now.Add(1)
		}
	}
	if s.pool.Config().Pins == pool.PinWarn && s.pool.Config().Mode != pool.SessionMode {
		s.warn(r &^ x.pins)
	}
	x.pins |= r
	s.srv.log.Debug("session pinned", "pool", s.pool.Name(), "pid", s.pid, "reason", r.String())
}

// unpin ends reasons.
func (s *session) unpin(r pins) {
	x := s.x
	if x.pins&r == 0 {
		return
	}
	for i := range pinNames {
		if x.pins&r&(1<<i) != 0 {
			c := &s.pool.Counters.Pins[i]
			c.Time.Add(s.w.loop.Now() - x.pinnedSince[i])
			c.Now.Add(-1)
		}
	}
	if x.pins &^= r; x.pins == 0 {
		s.srv.log.Debug("session no longer pinned", "pool", s.pool.Name(), "pid", s.pid, "for", time.Duration(s.w.loop.Now()-x.pinnedAt))
	}
}

// scanPart looks at the next part of a text that is streamed. Nobody but the server sees it as a whole.
func (s *session) scanPart(b []byte, last bool) {
	x := s.x
	if x.scan.part(b, last) {
		s.pinFor(pinLarge)
		last = true
	}
	if last {
		x.scan, x.scanning = scanner{}, false
	}
}

// noteFunction looks at a FunctionCall. Of a user's own function no more is known than of one in a SELECT.
func (s *session) noteFunction(body []byte) {
	if len(body) >= 4 {
		if r := changesSession(binary.BigEndian.Uint32(body)); r != 0 {
			s.pinFor(r)
		}
	}
}

// changesSession says of the OIDs of built-in functions (pg_proc.dat) what they leave in the session: setseed, currval,
// lastval, set_config, the session's advisory locks and its replication origin.
func changesSession(oid uint32) pins {
	switch oid {
	case 1599:
		return pinSeed
	case 1575, 2559:
		return pinSequence
	case 2078:
		return pinSetting
	case 2880, 2881, 2882, 2883, 2884, 2885, 2886, 2887, 2888, 2889, 2890, 2891, 2892:
		return pinLock
	case 6006, 6007:
		return pinFunction
	}
	return 0
}

// noteTag looks at what a statement did: some tags say that the server dropped what our books hold.
func (s *session) noteTag(tag []byte) {
	if len(tag) == 0 || tag[0] != 'D' {
		return
	}
	x := s.x
	alone := x.led.alone() // else something was sent behind it that may have made new state
	switch string(tag) {
	case "DISCARD ALL":
		x.server.Unnamed = 0
		if alone {
			if x.pins&^(provable|pinSequence) != 0 {
				x.server.Doom() // something may be left that nothing resets
			}
			s.unpin(x.pins)
			x.touched = x.touched[:0]
			s.setSettings(s.startup.list())
			x.server.Settings = nil
		}
	case "DISCARD SEQUENCES":
		if alone {
			s.unpin(pinSequence)
		}
		return
	case "DEALLOCATE ALL":
	default:
		return
	}
	x.server.Statements.ClearSettled()
	s.dropStatements()
}

// dropStatements forgets the client's named statements.
func (s *session) dropStatements() {
	for name, cs := range s.stmts {
		if cs.segment == 0 { // what was sent behind it is not answered yet, and stays
			s.srv.texts.Drop(cs.stmt)
			delete(s.stmts, name)
		}
	}
}
