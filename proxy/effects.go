package proxy

import (
	"slices"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/wire"
	"github.com/sarnicdb/sarnic/router"
)

// impact is what running a text may do to its session, made of the grammar's verdict. It is immutable.
type impact struct {
	pins     pins          // reasons that come with it
	look     bool          // reasons may go with it
	settles  bool          // the frame behind it waits for its answer: it ends prepared statements, or takes settings back
	certain  bool          // when it succeeds outside of a transaction it has done what settings say
	discards bool          // DISCARD ALL and nothing else
	sole     bool          // the text is one statement
	settings []router.Part // that set or reset parameters
	prepared []router.Part // PREPARE, EXECUTE, DEALLOCATE
	pids     []router.Part // calls that tell process numbers or act on them
	ownPID   bool          // the text is about the client's own number
}

// impactOf is nil for a text that does nothing to its session.
func impactOf(v *router.Verdict) *impact {
	if !v.Parsed {
		return &impact{pins: pinUnknown}
	}
	m := &impact{certain: true, sole: v.Count == 1, discards: v.Count == 1 && len(v.Parts) == 1 && v.Parts[0].Kind == router.DiscardAll}
	for _, p := range v.Parts {
		m.add(p)
	}
	if m.pins == 0 && !m.look && !m.settles && len(m.settings)+len(m.prepared)+len(m.pids) == 0 {
		return nil
	}
	return m
}

func (m *impact) add(p router.Part) {
	switch p.Kind {
	case router.Set, router.SetCharacteristics, router.SetConfig, router.SetDefault, router.Reset, router.ResetAll,
		router.DiscardAll:
		m.addSetting(p)
	case router.DeallocateAll:
		m.settles = true
	case router.Prepare, router.Execute, router.Deallocate:
		m.prepared = append(m.prepared, p)
		m.look = m.look || p.Kind == router.Deallocate
		if p.Kind == router.Prepare && !m.sole {
			m.pins |= pinPrepared
		}
	case router.Drop, router.CloseCursor, router.CloseAll, router.SessionUnlock, router.Unlisten, router.UnlistenAll,
		router.DiscardTemp:
		m.look = true
	case router.BackendPID, router.TerminateBackend, router.CancelBackend:
		m.pids = append(m.pids, p)
		m.ownPID = len(m.pids) == 1 || m.ownPID
		m.ownPID = m.ownPID && p.Kind == router.BackendPID // else it may be about itself
	case router.Do:
		if !p.Harmless {
			m.pins |= pinBlock
		}
		m.certain = false
	default:
		m.pins |= pinOf(p.Kind)
		m.certain = m.certain && (p.Kind < router.Begin || p.Kind > router.RollbackPrepared)
	}
}

func (m *impact) addSetting(p router.Part) {
	if p.Unknown && p.Name == "" && p.Arg == 0 && p.Kind != router.ResetAll && p.Kind != router.DiscardAll {
		m.pins |= pinSetting
		return
	}
	m.settings = append(m.settings, p)
	if takesBack(p.Kind) {
		m.settles = true
	} else if !says(p) {
		m.certain = false
	}
}

// says reports whether a part says itself what the parameter is when it has run; else the value must be learned. A DateStyle
// may be half of one.
func says(p router.Part) bool {
	return p.HasValue && !p.Unknown && p.Arg == 0 && p.Name != "datestyle" && (p.Kind != router.SetConfig || p.Once && !p.Stored)
}

// takesBack reports whether a part leads to the values of the session's start.
func takesBack(k router.Kind) bool {
	return k == router.Reset || k == router.SetDefault || k == router.ResetAll || k == router.DiscardAll
}

// pinOf is the reason that comes with a kind of part; 0 for none.
func pinOf(k router.Kind) pins {
	switch k {
	case router.CreateTemp, router.UsesTemp:
		return pinTemporary
	case router.DeclareHold:
		return pinCursor
	case router.SessionLock:
		return pinLock
	case router.Listen:
		return pinListen
	case router.SequenceValue:
		return pinSequence
	case router.SetSeed:
		return pinSeed
	case router.UpdateSettings:
		return pinSetting
	case router.Dblink, router.ReplicationOrigin, router.ReplicationSlot, router.Backup, router.RunsText:
		return pinFunction
	case router.Load:
		return pinLoad
	}
	return 0
}

// impact says what running a statement's text may do to the session; nil for nothing.
func (s *session) impact(sql []byte) *impact {
	switch {
	case !suspicious(sql):
		return nil
	case !s.asciiSafe() && slices.ContainsFunc(sql, func(c byte) bool { return c >= 0x80 }):
		return &impact{pins: pinUnknown}
	}
	return s.srv.impacts.of(sql, s.conforming())
}

// asciiSafe reports whether no character of the client's encoding has a byte of ASCII within: the grammar reads UTF-8. (Those
// that have are the client-only encodings of PostgreSQL's documentation, Character Set Support.)
func (s *session) asciiSafe() bool {
	const name = "client_encoding"
	encoding, ok := valueOf(s.settings.list(), name)
	if !ok {
		encoding, _ = valueOf(s.pool.Params(), name)
	}
	switch strings.ToUpper(strings.Trim(encoding, "'\"")) {
	case "UTF8", "UNICODE", "UTF-8", "SQL_ASCII":
	default:
		if !strings.HasPrefix(strings.ToUpper(encoding), "LATIN") && !strings.HasPrefix(strings.ToUpper(encoding), "WIN") {
			return false
		}
	}
	return !slices.ContainsFunc(s.x.touched, func(t touched) bool { return t.name == name })
}

// conforming reports whether a backslash in a literal is one, as far as that is known.
func (s *session) conforming() bool {
	const name = "standard_conforming_strings"
	if slices.ContainsFunc(s.x.touched, func(t touched) bool { return t.name == name }) {
		return false
	}
	if value, ok := valueOf(s.settings.list(), name); ok {
		return strings.EqualFold(value, "on")
	}
	value, _ := valueOf(s.pool.Params(), name)
	return value == "on"
}

// noteQuery notes what a simple Query may do, and has its answer say what it did. e is its effect so far, or nil.
func (s *session) noteQuery(sql []byte, m *impact, e *effect) *effect {
	x := s.x
	if e == nil {
		e = x.newEffect(effect{})
	}
	e.impact, e.touched, e.pins = m, len(x.touched), x.pins
	s.note(m, nil)
	x.settle = true // what it did is known for certain when nothing was sent behind it
	if m.discards && s.mayDiscard() {
		text, ours := s.discardAll()
		e.ours, e.tag = ours, "DISCARD ALL"
		s.sendRewritten(text)
	} else if text, ours := s.restoreStartup(sql, m); text != nil {
		e.ours = ours
		s.sendRewritten(text)
	} else if text := s.rewritePIDs(sql, m); text != nil {
		s.sendRewritten(text)
	}
	x.endings = nil
	return e
}

// note takes to the books what a statement about to run may do to its session. tail is the rest of its Bind; nil for a
// simple Query.
func (s *session) note(m *impact, tail []byte) {
	if m.pins != 0 {
		s.pinFor(m.pins)
	}
	s.x.look = s.x.look || m.look
	if tail != nil && slices.ContainsFunc(m.prepared, func(p router.Part) bool { return p.Kind == router.Prepare }) {
		s.pinFor(pinPrepared)
	}
	for i := range m.settings {
		s.noteSetting(&m.settings[i], tail)
	}
}

// noteSetting handles a part that names a parameter, or means all of them.
func (s *session) noteSetting(p *router.Part, tail []byte) {
	name := p.Name
	switch {
	case p.Kind == router.ResetAll, p.Kind == router.DiscardAll:
		s.touchAll()
		s.x.resets = s.x.resets || s.startup != nil && (tail != nil || p.Kind == router.DiscardAll)
		return
	case p.Arg > 0:
		value, ok := wire.BindParameter(tail, p.Arg)
		if !ok {
			s.pinFor(pinSetting)
			return
		}
		name = strings.ToLower(string(value))
	}
	s.touch(name, takesBack(p.Kind))
	s.x.resets = s.x.resets || tail != nil && takesBack(p.Kind) && s.startup != nil
}

// touched is a parameter that the session may have changed on its server connection.
type touched struct {
	name  string
	reset bool // what was last may have been a RESET, or an error: it may be what it was without the session
}

// touch notes that a parameter is about to change. Until its value is learned the connection's settings are in doubt.
func (s *session) touch(name string, reset bool) {
	x := s.x
	i := slices.IndexFunc(x.touched, func(t touched) bool { return t.name == name })
	if i < 0 {
		i = len(x.touched)
		x.touched = append(x.touched, touched{name: name})
	}
	x.touched[i].reset = reset
	x.server.Settings = doubted(x.server.Settings, name)
	if name == sessionAuthorization {
		s.touch(role, reset) // it ends with it
	}
}

// touchAll is a RESET of every parameter that has been set here.
func (s *session) touchAll() {
	x := s.x
	for i := range x.touched {
		x.touched[i].reset = true
	}
	for _, p := range s.settings.list() {
		s.touch(strings.ToLower(p.Name), true)
	}
}

// queryAnswered handles the end of a simple Query that may have changed the session. before is the transaction's status
// before it.
func (s *session) queryAnswered(e *effect, before byte) {
	x := s.x
	switch {
	case before != 'I' || x.status != 'I': // in a transaction, what it did may still be undone
	case !x.led.alone(): // what was sent behind it is in the books already
	case !x.failed && e.tag != "":
		s.discarded()
	case !x.failed && e.impact.certain && e.touched == 0:
		s.ran(e.impact)
	case x.failed:
		x.touched = x.touched[:min(e.touched, len(x.touched))]
		if len(x.touched) == 0 {
			x.server.Settings = s.wanted()
		}
		gained := x.pins &^ e.pins
		s.unpin(gained & undone)
		if x.syntax {
			s.unpin(gained & pinUnknown)
		}
	}
}

// undone are the reasons that an error outside of a transaction takes with it.
const undone = pinTemporary | pinCursor | pinListen | pinSetting

// ran takes to the books what settings a Query has made, or taken back, for certain.
func (s *session) ran(m *impact) {
	if len(m.settings) == 0 {
		return
	}
	x := s.x
	params, native := s.settings.list(), false
	for _, p := range m.settings {
		switch p.Kind {
		case router.ResetAll:
			params = resetAll(params, s.startup.list())
		case router.DiscardAll:
			params, native = s.startup.list(), true
		case router.Reset, router.SetDefault:
			params = resetOne(params, s.startup.list(), p.Name)
		default:
			params = setOne(params, p.Name, p.Value)
		}
		if p.Name == sessionAuthorization {
			params = resetOne(params, nil, role)
		}
	}
	x.touched = x.touched[:0]
	s.setSettings(params)
	if x.server.Settings = s.wanted(); native {
		x.server.Settings = nil // nobody has set the client's start-up values behind it
	}
}
