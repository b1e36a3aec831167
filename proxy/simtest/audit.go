package simtest

import (
	"fmt"
	"strings"
	"unicode"
)

// A process behind a pool serves many clients, one after the other. Whose a request is shows: comments before
// statements, literals, keys and parameters may begin with a client's mark, which ends at the first period. The process
// itself notices when requests of two clients mingle, or one meets what another has left in the session.

// audit is who is served.
type audit struct {
	owner     string // of the requests that are not all answered, or of the open transaction
	left      string // who has left something in the session that outlives a transaction
	violation error
}

// Violation is the first thing that should never have been asked of the process, or nil.
func (a *audit) Violation() error { return a.violation }

func (a *audit) violate(format string, args ...any) {
	if a.violation == nil {
		a.violation = fmt.Errorf(format, args...)
	}
}

// markOf is the mark that a text begins with, or "".
func markOf(text string) string {
	mark, _, ok := strings.Cut(text, ".")
	if !ok || strings.ContainsFunc(mark, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		return ""
	}
	return mark
}

// marked looks at a text that a request holds.
func (a *audit) marked(text string) {
	mark := markOf(text)
	switch {
	case mark == "":
	case a.owner != "" && a.owner != mark:
		a.violate("a request of %s came while one of %s was open", mark, a.owner)
	case a.left != "" && a.left != mark:
		a.violate("a request of %s came to a session that %s has changed", mark, a.left)
	default:
		a.owner = mark
	}
}

// asks looks at a statement and the parameters it is run with.
func (a *audit) asks(st *statement, args []value) {
	a.marked(st.mark)
	a.marked(st.key.text)
	for i, arg := range args {
		if st.params[i] == oidText {
			a.marked(arg.s)
		}
	}
}

// stray looks at COPY data that comes when no COPY reads. It is ignored, so it may be late, but not in another's time. It
// may begin in the middle of a mark.
func (a *audit) stray(data string) {
	if mark := markOf(data); a.owner != "" && !strings.HasSuffix(a.owner, mark) {
		a.violate("late COPY data of %s came while a request of %s was open", mark, a.owner)
	}
}

// rests is called where a process is idle and everything is answered; keeps says that something is left in the session.
func (a *audit) rests(keeps bool) {
	switch {
	case !keeps:
		a.left = ""
	case a.owner != "":
		a.left = a.owner
	}
	a.owner = ""
}
