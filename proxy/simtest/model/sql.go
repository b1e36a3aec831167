package model

import (
	"strconv"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// verb is what a statement does. In the list T is the client's tag, which every statement of a client carries.
type verb uint8

const (
	verbEmpty    verb = iota
	verbSelect        // select T text: one row
	verbRows          // rows T n text: n rows
	verbPartial       // partial T n: n rows, then an error
	verbGet           // get T key: one row, or none
	verbPut           // put T key value
	verbFail          // fail T
	verbNotice        // notice T text
	verbSleep         // sleep T milliseconds
	verbBegin         // begin T
	verbCommit        // commit T
	verbRollback      // rollback T, ROLLBACK
	verbCopyIn        // copyin T key: what is sent becomes the value; the line "bad" is an error
	verbCopyOut       // copyout T n text
	verbSet           // set T value: the parameter application_name
	verbShow          // show T
	verbReset         // reset T
	verbConfig        // SELECT pg_catalog.set_config(E'application_name', E'value' or NULL, false) IS NULL
	verbDiscard       // DISCARD ALL
)

// statement is one statement, read.
type statement struct {
	verb   verb
	tag    string
	args   []string
	params int // how many of $1, $2 … it has
}

// rows reports whether the statement returns rows.
func (s statement) rows() bool {
	switch s.verb {
	case verbSelect, verbRows, verbPartial, verbGet, verbShow:
		return true
	}
	return s.verb == verbConfig
}

// exits reports whether the statement is allowed in a failed transaction.
func (s statement) exits() bool { return s.verb == verbCommit || s.verb == verbRollback }

// split cuts a Query at its semicolons; none is in a literal.
func split(sql string) (parts []string) {
	for part := range strings.SplitSeq(sql, ";") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

var argsOf = map[string]struct {
	verb verb
	args int
}{
	"select": {verbSelect, 1}, "rows": {verbRows, 2}, "partial": {verbPartial, 1}, "get": {verbGet, 1},
	"put": {verbPut, 2}, "fail": {verbFail, 0}, "notice": {verbNotice, 1}, "sleep": {verbSleep, 1},
	"begin": {verbBegin, 0}, "commit": {verbCommit, 0}, "rollback": {verbRollback, 0}, "copyin": {verbCopyIn, 1},
	"copyout": {verbCopyOut, 2}, "set": {verbSet, 1}, "show": {verbShow, 0}, "reset": {verbReset, 0},
}

// configCall begins the settings that are applied to a connection: there is but one parameter in this world.
const configCall = "SELECT pg_catalog.set_config(E'application_name', "

// read reads one statement.
func read(sql string) (statement, *wire.Error) {
	words := strings.Fields(sql)
	switch {
	case len(words) == 0:
		return statement{}, nil
	case sql == "ROLLBACK":
		return statement{verb: verbRollback}, nil
	case sql == "DISCARD ALL":
		return statement{verb: verbDiscard}, nil
	case strings.HasPrefix(sql, configCall):
		value, ok := strings.CutSuffix(sql[len(configCall):], ", false) IS NULL")
		if !ok {
			return statement{}, &wire.Error{Code: "42601", Message: "syntax error at \"" + sql + "\""}
		}
		if value == "NULL" {
			return statement{verb: verbConfig}, nil
		}
		return statement{verb: verbConfig, args: []string{strings.Trim(value, "E'")}}, nil
	}
	known, ok := argsOf[words[0]]
	if !ok || len(words) != 2+known.args {
		return statement{}, &wire.Error{Code: "42601", Message: "syntax error at \"" + sql + "\""}
	}
	st := statement{verb: known.verb, tag: words[1], args: words[2:]}
	for _, arg := range st.args {
		if n, ok := strings.CutPrefix(arg, "$"); ok {
			i, _ := strconv.Atoi(n)
			st.params = max(st.params, i)
		}
	}
	return st, nil
}

// bound is the statement with its parameters put in.
func (s statement) bound(params []string) statement {
	args := make([]string, len(s.args))
	for i, arg := range s.args {
		args[i] = arg
		if n, ok := strings.CutPrefix(arg, "$"); ok {
			k, _ := strconv.Atoi(n)
			args[i] = params[k-1]
		}
	}
	s.args = args
	return s
}

// number is argument i as one, within reason.
func (s statement) number(i int) int {
	n, _ := strconv.Atoi(s.args[i])
	return min(max(n, 0), 10_000)
}
