package admin

import (
	"context"
	"slices"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// setting is one of a server that drivers ask for or rely on, and the value it has here.
type setting struct {
	name, value string
	reported    bool // at the login, as a server does
}

// serverSettings are what a client believes to be connected to. server_version begins with a number that every driver
// can read, and ends with what it is the version of.
func serverSettings(version, user string) []setting {
	return []setting{
		{"server_version", serverVersion(version), true},
		{"server_encoding", "UTF8", true},
		{"client_encoding", "UTF8", true},
		{"DateStyle", "ISO", true},
		{"TimeZone", "GMT", true},
		{"IntervalStyle", "postgres", true},
		{"standard_conforming_strings", "on", true},
		{"integer_datetimes", "on", true},
		{"is_superuser", "off", true},
		{"session_authorization", user, true},
		{"default_transaction_isolation", "read committed", false},
		{"transaction_isolation", "read committed", false},
		{"transaction_read_only", "off", false},
		{"default_transaction_read_only", "off", false},
		{"in_hot_standby", "off", false},
		{"application_name", "", false},
		{"search_path", "", false},
		{"extra_float_digits", "1", false},
		{"bytea_output", "hex", false},
		{"client_min_messages", "notice", false},
		{"statement_timeout", "0", false},
		{"lock_timeout", "0", false},
		{"idle_in_transaction_session_timeout", "0", false},
		{"max_identifier_length", "63", false},
		{"row_security", "on", false},
		{"jit", "off", false},
		{"plan_cache_mode", "auto", false},
		{"synchronous_commit", "on", false},
	}
}

// serverVersion is our version as drivers read one: three numbers, where ours has none those of a first build.
func serverVersion(version string) string {
	version = strings.TrimPrefix(version, "v")
	if n := span(version, func(c byte) bool { return isDigit(c) || c == '.' }); n > 0 && isDigit(version[0]) {
		return strings.TrimRight(version[:n], ".") + "/sarnic"
	}
	return "0.0.1/sarnic"
}

// serverSetting reports whether key is a server's: here it has no effect, and setting it harms nobody.
func serverSetting(key string) bool {
	return slices.ContainsFunc(serverSettings("", ""), func(s setting) bool { return strings.EqualFold(s.name, key) })
}

// ownGrammar names what SET has a grammar of its own for: SET TIME ZONE, SET NAMES, SET TRANSACTION and so on.
func ownGrammar(key string) bool {
	return slices.Contains([]string{"time", "names", "transaction", "characteristics", "role", "authorization", "constraints"}, key)
}

// showSetting is SHOW of a server's setting; nil where there is none of that name.
func showSetting(rest []token) *statement {
	var words []string
	for _, t := range rest {
		if !t.names() {
			return nil
		}
		words = append(words, t.text)
	}
	key := strings.ToLower(strings.Join(words, " "))
	switch key {
	case "transaction isolation level":
		key = "transaction_isolation"
	case "time zone":
		key = "timezone"
	case "session authorization":
		key = "session_authorization"
	}
	for i, one := range serverSettings("", "") {
		if strings.EqualFold(one.name, key) {
			return &statement{
				columns: []column{{one.name, 's'}},
				run: func(_ context.Context, s *session) (result, error) {
					value := serverSettings(s.console.Version, s.who.User)[i].value
					return result{rows: [][]any{{value}}, tag: "SHOW"}, nil
				},
			}
		}
	}
	return nil
}

// harmless does nothing, and says so in the way of a server.
func harmless(tag string) *statement {
	return &statement{run: func(context.Context, *session) (result, error) { return result{tag: tag}, nil }}
}

// chatter are statements of drivers and their pools that have nothing to do here.
func chatter(first string, rest []token) *statement {
	second := ""
	if len(rest) > 0 {
		second = strings.ToLower(rest[0].text)
	}
	st := harmless(strings.ToUpper(first))
	switch first {
	case "begin":
		st.block = begins
	case "start":
		st = harmless("START TRANSACTION")
		if st.block = begins; second != "transaction" {
			return nil
		}
	case "commit", "end":
		st = harmless("COMMIT")
		st.block = commits
	case "rollback", "abort":
		st = harmless("ROLLBACK")
		if st.block = rollsBack; len(rest) > 0 && slices.ContainsFunc(rest, func(t token) bool { return t.is("to") }) {
			st.block = rollsBackTo
		}
	case "savepoint", "release", "reset", "unlisten":
	case "close":
		st = harmless("CLOSE CURSOR")
		if second == "all" {
			st = harmless("CLOSE CURSOR ALL")
		}
	case "discard", "deallocate":
		if second == "all" {
			st = harmless(strings.ToUpper(first) + " ALL")
			st.forget = true
		}
	default:
		return nil
	}
	return st
}

// help is what SHOW HELP tells.
func help() *wire.Error {
	return &wire.Error{
		Code: "00000", Message: "Console usage",
		Detail: "\n\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION" +
			"\n\tSHOW PINS|STATEMENTS" +
			"\n\tSHOW PEERS|PEER_POOLS" +
			"\n\tSHOW FDS|SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE" +
			"\n\tSHOW DNS_HOSTS|DNS_ZONES" +
			"\n\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS" +
			"\n\tSET key = arg" +
			"\n\tRELOAD" +
			"\n\tPAUSE [<db>]" +
			"\n\tRESUME [<db>]" +
			"\n\tDISABLE <db>" +
			"\n\tENABLE <db>" +
			"\n\tRECONNECT [<db>]" +
			"\n\tKILL [<db>]" +
			"\n\tKILL_CLIENT <client_id>" +
			"\n\tSUSPEND" +
			"\n\tSHUTDOWN" +
			"\n\tSHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS" +
			"\n\tWAIT_CLOSE [<db>]",
	}
}
