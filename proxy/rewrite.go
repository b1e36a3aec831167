package proxy

import (
	"slices"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/wire"
	"github.com/sarnicdb/sarnic/router"
)

// A RESET leads to what a session began with. On a pooled connection that is the server's own value, so where the client's
// start-up packet said another, a SELECT of set_config behind the RESET brings that back, in the same string and so in the
// same transaction. Its replies are kept from the client.

// restoreStartup rewrites a Query with RESETs. It returns the text to send, nil for the one at hand, and the numbers of the
// statements in it that are ours.
func (s *session) restoreStartup(sql []byte, m *impact) (text []byte, ours []int) {
	if s.startup == nil {
		return nil, nil
	}
	from := 0
	for _, p := range m.settings {
		calls := s.startupCalls(p)
		if len(calls) == 0 {
			continue
		}
		text = append(text, sql[from:p.End]...)
		text = append(text, "; SELECT "+strings.Join(calls, ", ")...)
		from = p.End
		ours = append(ours, p.Stmt+1+len(ours))
	}
	if len(ours) == 0 {
		return nil, nil
	}
	return append(text, sql[from:]...), ours
}

// startupCalls are the calls that undo the difference between a RESET on a server connection and one of the client's.
func (s *session) startupCalls(p router.Part) []string {
	var calls []string
	for _, at := range s.startup.list() {
		switch {
		case p.Kind == router.ResetAll && !identity(at.Name),
			(p.Kind == router.Reset || p.Kind == router.SetDefault) && strings.EqualFold(at.Name, p.Name):
			calls = append(calls, setConfig(at.Name, quoteText(at.Value)))
		}
	}
	return calls
}

// sendRewritten sends another text in the place of the Query at hand.
func (s *session) sendRewritten(text []byte) {
	s.x.out.skip()
	s.x.out.dst = wire.AppendQuery(s.x.out.dst, string(text))
}

// statementEnds counts the statements of a simple Query, to know whose replies are ours, and reports whether the client gets
// the CommandComplete at hand as it is.
func (s *session) statementEnds(e *effect) bool {
	x := s.x
	if e.tag != "" && !x.hush {
		x.instead = wire.AppendCommandComplete(x.instead, e.tag)
		return false
	}
	x.statement++
	x.hush = slices.Contains(e.ours, x.statement)
	return true
}

// mayDiscard reports whether a DISCARD ALL can be done in parts. In a transaction the server has to refuse it, and what was
// prepared in SQL only the server can drop.
func (s *session) mayDiscard() bool {
	x := s.x
	return x.status == 'I' && x.led.settled() && !x.open && x.pins&(pinPrepared|unseen) == 0
}

// unseen are the reasons behind which there may be statements prepared in SQL.
const unseen = pinBlock | pinUnknown | pinLarge | pinFunction

// discardAll does for the client what DISCARD ALL does (PostgreSQL documentation, DISCARD), but leaves the connection what
// others have prepared on it, and ends with the values of the client's own start-up. The last reply is the client's.
func (s *session) discardAll() (text []byte, ours []int) {
	parts := []string{"CLOSE ALL", "SET SESSION AUTHORIZATION DEFAULT", "RESET ALL"}
	if calls := s.startupCalls(router.Part{Kind: router.ResetAll}); len(calls) > 0 {
		parts = append(parts, "SELECT "+strings.Join(calls, ", "))
	}
	parts = append(parts, "UNLISTEN *", "SELECT pg_catalog.pg_advisory_unlock_all()", "DISCARD TEMP", "DISCARD SEQUENCES")
	for i := range len(parts) - 1 {
		ours = append(ours, i)
	}
	return []byte(strings.Join(parts, "; ")), ours
}

// discarded takes to the books what discardAll has done.
func (s *session) discarded() {
	x := s.x
	s.dropStatements()
	if x.pins&^provable != 0 {
		x.server.Doom() // something may be left that nothing resets
	}
	s.unpin(x.pins)
	x.touched = x.touched[:0]
	s.setSettings(s.startup.list())
	x.server.Settings = s.wanted()
}

// startupReport replaces the report of a server's own value, to which a RESET of the extended protocol has led, by that of
// the client's start-up, which is there again before its next statement runs.
func (s *session) startupReport(body []byte) bool {
	name, value, ok := wire.ParameterStatus(body)
	if !ok {
		return false
	}
	own, _ := valueOf(s.pool.Params(), string(name))
	mine, known := valueOf(s.startup.learned(), string(name))
	if !known || own != string(value) || own == mine {
		return false
	}
	s.x.instead = wire.AppendParameterStatus(s.x.instead, string(name), mine)
	return true
}
