package admin

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// statement is what a client asks for, understood.
type statement struct {
	columns []column // of its rows; nil: it gives none
	run     func(ctx context.Context, s *session) (result, error)
	block   blockEffect
	forget  bool // of all prepared statements
	waits   bool // it may take its time
}

// result is what a statement gives. In tag, a # stands for the number of rows.
type result struct {
	rows   [][]any
	tag    string
	notice *wire.Error
}

// blockEffect is what a statement does to the transaction block: there are no transactions here, but drivers count on
// their status.
type blockEffect uint8

const (
	noEffect blockEffect = iota
	begins
	commits
	rollsBack
	rollsBackTo // a savepoint
)

// parse understands one statement. What it cannot make sense of is refused in PgBouncer's words.
func (s *session) parse(c command) (*statement, *wire.Error) {
	for _, t := range c.tokens {
		switch t.kind {
		case parameter:
			return nil, refusal(wire.CodeFeatureNotSupported, "the console takes no parameters")
		case broken:
			return nil, syntaxError(c)
		}
	}
	var st *statement
	first, rest := c.tokens[0], c.tokens[1:]
	switch {
	case first.is("show"):
		st = s.show(rest, "SHOW")
	case first.is("select"):
		st = s.selects(rest)
	case first.is("set"):
		st = s.set(rest)
	default:
		st = s.other(first, rest)
	}
	if st == nil {
		return nil, syntaxError(c)
	}
	return st, nil
}

func syntaxError(c command) *wire.Error {
	const most = 200
	told := strings.ToValidUTF8(c.text, "?")
	if len(told) > most {
		told = strings.ToValidUTF8(told[:most], "") + "..."
	}
	return refusal(wire.CodeSyntaxError, "invalid command '%s', use SHOW HELP;", told)
}

// show finds the view, or the server's setting that a driver asks for.
func (s *session) show(rest []token, tag string) *statement {
	if len(rest) == 1 && rest[0].names() {
		if rest[0].is("help") {
			return &statement{run: func(context.Context, *session) (result, error) {
				return result{tag: tag, notice: help()}, nil
			}}
		}
		for i := range s.views {
			if strings.EqualFold(s.views[i].name, rest[0].text) {
				return s.show1(&s.views[i], tag)
			}
		}
	}
	return showSetting(rest)
}

// show1 shows one view.
func (s *session) show1(v *view, tag string) *statement {
	return &statement{columns: v.columns, run: func(ctx context.Context, s *session) (result, error) {
		if v.operator && s.who.Access < Operate {
			return result{}, notAllowed()
		}
		var st State
		if v.needs != 0 {
			var err error
			if st, err = s.console.Snapshot(ctx, v.needs); err != nil {
				return result{}, err
			}
		}
		return result{rows: v.rows(&st), tag: tag}, nil
	}}
}

func notAllowed() *wire.Error {
	return &wire.Error{
		Code: codeNotAllowed, Message: "permission denied: admin access needed", Hint: "Add the user to admin.users.",
	}
}

// do is a statement that carries out c.
func do(c Command) *statement {
	tag := string(c.Verb)
	if c.Verb == Set {
		tag += " " + c.Key + "=" + c.Value
	}
	return &statement{waits: true, run: func(ctx context.Context, s *session) (result, error) {
		if s.who.Access < Operate {
			return result{}, notAllowed()
		}
		return result{tag: tag}, s.console.Do(ctx, c)
	}}
}

// other understands what begins with none of the words that parse knows.
func (s *session) other(first token, rest []token) *statement {
	if first.kind != word {
		return nil
	}
	verb := Verb(strings.ToUpper(first.text))
	switch verb {
	case Pause, Resume, Reconnect, Kill, WaitClose:
		if len(rest) == 0 {
			return do(Command{Verb: verb})
		}
		return onDatabase(verb, rest)
	case Disable, Enable:
		if len(rest) == 0 {
			return failing(refusal(wire.CodeSyntaxError, "a database is required"))
		}
		return onDatabase(verb, rest)
	case Reload, Suspend:
		if len(rest) == 0 {
			return do(Command{Verb: verb})
		}
	case KillClient:
		return killClient(rest)
	case Shutdown:
		return shutdown(rest)
	default:
		return chatter(strings.ToLower(first.text), rest)
	}
	return nil
}

func onDatabase(verb Verb, rest []token) *statement {
	if len(rest) != 1 || !rest[0].names() {
		return nil
	}
	return do(Command{Verb: verb, Database: rest[0].text})
}

func killClient(rest []token) *statement {
	if len(rest) == 1 {
		if id, err := strconv.ParseUint(rest[0].text, 10, 32); err == nil {
			return do(Command{Verb: KillClient, Client: uint32(id)})
		}
	}
	return failing(refusal(wire.CodeSyntaxError, "a client's id is required, as SHOW CLIENTS gives it"))
}

func shutdown(rest []token) *statement {
	c := Command{Verb: Shutdown}
	switch {
	case len(rest) == 0:
		return do(c)
	case len(rest) > 1 || rest[0].kind != word:
		return nil
	}
	c.Wait = ShutdownWait(strings.ToUpper(rest[0].text))
	if !slices.Contains([]ShutdownWait{WaitForClients, WaitForServers}, c.Wait) {
		return nil
	}
	return do(c)
}

// failing is a statement that is understood, and wrong.
func failing(e *wire.Error) *statement {
	return &statement{run: func(_ context.Context, s *session) (result, error) {
		if s.who.Access < Operate {
			return result{}, notAllowed()
		}
		return result{}, e
	}}
}

// set is SET key = value: of ours, or of a server's setting, which drivers and psql set at their start.
func (s *session) set(rest []token) *statement {
	if len(rest) > 1 && (rest[0].is("session") || rest[0].is("local")) {
		rest = rest[1:]
	}
	if len(rest) == 0 || !rest[0].names() {
		return nil
	}
	key := strings.ToLower(rest[0].text)
	if ownGrammar(key) {
		return harmless("SET")
	}
	rest = rest[1:]
	for len(rest) > 1 && rest[0].isSign(".") && rest[1].names() { // a key of several parts
		key += "." + strings.ToLower(rest[1].text)
		rest = rest[2:]
	}
	if len(rest) < 2 || !rest[0].isSign("=") && !rest[0].is("to") {
		return nil
	}
	if serverSetting(key) {
		return harmless("SET")
	}
	if len(rest) != 2 || rest[1].kind == sign {
		return nil
	}
	return do(Command{Verb: Set, Key: key, Value: rest[1].text})
}
