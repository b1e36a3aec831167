package difftest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A proxied answer may differ from the direct one in the following and in nothing else:
//
//  1. the process id and the secret of BackendKeyData (a client of protocol 3.0 gets exactly four bytes of secret);
//  2. the process id in a NotificationResponse;
//  3. the order of the ParameterStatus messages of a login;
//  4. object ids of tables and types made by the transcript itself, which two runs cannot share: they are numbered
//     in the order in which they are met;
//  5. the name of a prepared statement inside an error message (hiddenNames);
//  6. an error the proxy makes itself has no source location, and perhaps other detail; severity, SQLSTATE
//     and message are the server's (madeByProxy), for messages that are not the protocol only severity and SQLSTATE;
//  7. the source location of an error that an injected Parse met before the client's own message (metEarlier), and the
//     ParameterDescription that a Describe sends before such an error; in a failed transaction the injected Parse is
//     refused (25P02) before the server looks at the client's own message (lookedAtLater);
//  8. of two mistakes in one Bind, the number of its parameters and a statement whose columns have changed since, the
//     proxy meets the second first (0A000 for 08P01);
//  9. what a cancelled statement was doing, as the context of 57014 tells it.

// madeByProxy are the errors a proxy may have to make itself: it alone knows the client's statements, it logs the client
// in, and it reads messages before the server does.
var madeByProxy = []string{
	"ERROR 26000", "ERROR 42P05", "ERROR 0A000", "ERROR 57014", "ERROR 08P01", "FATAL 08P01",
	"FATAL 0A000", "FATAL 28P01", "FATAL 28000", "FATAL 3D000", "FATAL 42704", "FATAL 22023", "FATAL 42601", "FATAL 55P02",
}

// metEarlier are the errors an injected Parse meets in place of the Bind or Describe behind it.
var metEarlier = []string{"25P02"}

// lookedAtLater are errors of a message that comes behind an injected Parse.
var lookedAtLater = []string{"08P01", "42P05", "42601"}

// hiddenNames are the errors whose message names a statement.
var hiddenNames = []string{"26000", "42P05", "08P01", "42601"}

var statementName = regexp.MustCompile(`prepared statement ".*"`)

// comparison holds what one client's answers of two runs need to be compared.
type comparison struct {
	direct, proxied numbering
}

// numbering gives object ids made by the transcript a number in the order in which they are met.
type numbering map[uint32]uint32

// firstOwnObject is the lowest object id a database gives to what its users make.
const firstOwnObject = 16384

func (n numbering) of(oid uint32) uint32 {
	if oid < firstOwnObject {
		return oid
	}
	if _, ok := n[oid]; !ok {
		n[oid] = firstOwnObject + uint32(len(n))
	}
	return n[oid]
}

func newComparison() *comparison {
	return &comparison{direct: numbering{}, proxied: numbering{}}
}

// differ says how a proxied frame differs from the direct one, "" if it does not.
func (c *comparison) differ(direct, proxied frame) string {
	if direct.typ != proxied.typ {
		return fmt.Sprintf("direct %s\nproxy  %s", explain(direct), explain(proxied))
	}
	if c.equal(direct, proxied) {
		return ""
	}
	return fmt.Sprintf("direct %s %q\nproxy  %s %q", describe(direct), direct.shown(), describe(proxied), proxied.shown())
}

// explain describes a frame to the reader of a failure: of an error also what it says.
func explain(f frame) string {
	if f.typ == 'E' {
		return fmt.Sprintf("%s %q", describe(f), reportOf(f.body)['M'])
	}
	return describe(f)
}

// shown is the part of a body a failure prints.
func (f frame) shown() []byte {
	const most = 2000
	return f.body[:min(len(f.body), most)]
}

func (c *comparison) equal(direct, proxied frame) bool {
	switch direct.typ {
	case 'K':
		return len(direct.body) == len(proxied.body) || len(direct.body) > 8 && len(proxied.body) >= 8
	case 'A':
		return len(proxied.body) >= 4 && bytes.Equal(direct.body[4:], proxied.body[4:])
	case 'T':
		return bytes.Equal(renumberColumns(direct.body, c.direct), renumberColumns(proxied.body, c.proxied))
	case 't':
		return bytes.Equal(renumberTypes(direct.body, c.direct), renumberTypes(proxied.body, c.proxied))
	case 'E', 'N':
		return sameReport(reportOf(direct.body), reportOf(proxied.body))
	default:
		return bytes.Equal(direct.body, proxied.body)
	}
}

// sameReport compares two errors or notices field by field.
func sameReport(direct, proxied map[byte]string) bool {
	code := direct['C']
	if slices.Contains(lookedAtLater, code) && proxied['C'] == "25P02" {
		return true
	}
	if strings.HasPrefix(direct['M'], "bind message supplies") && proxied['M'] == "cached plan must not change result type" {
		return true
	}
	compared := "SVCMDHPpqWstcdnFLR"
	switch made := proxied['F']+proxied['L']+proxied['R'] == ""; {
	case made && slices.Contains(madeByProxy, direct['S']+" "+code):
		compared = "SVCM"
		if code == "08P01" {
			compared = "SVC"
		}
	case slices.Contains(metEarlier, code):
		compared = strings.TrimSuffix(compared, "FLR")
	case code == "57014":
		compared = strings.ReplaceAll(compared, "W", "")
	}
	for _, field := range []byte(compared) {
		if shown(direct, field) != shown(proxied, field) {
			return false
		}
	}
	return true
}

func shown(report map[byte]string, field byte) string {
	if field == 'M' && slices.Contains(hiddenNames, report['C']) {
		return statementName.ReplaceAllString(report['M'], `prepared statement "…"`)
	}
	return report[field]
}

// renumberColumns replaces table and type ids in the body of a RowDescription.
func renumberColumns(body []byte, n numbering) []byte {
	out := slices.Clone(body)
	for at := 2; at < len(out); {
		end := bytes.IndexByte(out[at:], 0)
		if end < 0 || at+end+19 > len(out) {
			return out
		}
		field := out[at+end+1:]
		binary.BigEndian.PutUint32(field, n.of(binary.BigEndian.Uint32(field)))
		binary.BigEndian.PutUint32(field[6:], n.of(binary.BigEndian.Uint32(field[6:])))
		at += end + 19
	}
	return out
}

// renumberTypes replaces the type ids in the body of a ParameterDescription.
func renumberTypes(body []byte, n numbering) []byte {
	out := slices.Clone(body)
	for at := 2; at+4 <= len(out); at += 4 {
		binary.BigEndian.PutUint32(out[at:], n.of(binary.BigEndian.Uint32(out[at:])))
	}
	return out
}

// sortSettings puts neighbouring ParameterStatus messages in order.
func sortSettings(frames []frame) {
	for from := 0; from < len(frames); {
		to := from
		for to < len(frames) && frames[to].typ == 'S' {
			to++
		}
		slices.SortFunc(frames[from:to], func(a, b frame) int { return bytes.Compare(a.body, b.body) })
		from = to + 1
	}
}
