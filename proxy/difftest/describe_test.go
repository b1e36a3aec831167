package difftest

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// describe is how a frame of the server is written in a transcript: its name and what a reader wants to know of it.
// The comparison of two runs never uses it, it compares bytes.
func describe(f frame) string {
	if f.typ == endOfStream {
		return "End"
	}
	name, ok := serverMessages[f.typ]
	if !ok {
		return fmt.Sprintf("Unknown %q %q", f.typ, clip(f.body))
	}
	return strings.TrimSpace(name + " " + details(f))
}

// serverMessages names the messages of the server as the documentation of the protocol does.
var serverMessages = map[byte]string{
	'1': "ParseComplete", '2': "BindComplete", '3': "CloseComplete", 'A': "NotificationResponse",
	'C': "CommandComplete", 'D': "DataRow", 'd': "CopyData", 'c': "CopyDone", 'E': "ErrorResponse",
	'G': "CopyInResponse", 'H': "CopyOutResponse", 'W': "CopyBothResponse", 'I': "EmptyQueryResponse",
	'K': "BackendKeyData", 'N': "NoticeResponse", 'n': "NoData", 'R': "AuthenticationOk", 'S': "ParameterStatus",
	's': "PortalSuspended", 'T': "RowDescription", 't': "ParameterDescription", 'V': "FunctionCallResponse",
	'Z': "ReadyForQuery", 'v': "NegotiateProtocolVersion",
}

func details(f frame) string {
	switch f.typ {
	case 'C', 'd':
		return word(trimZero(f))
	case 'D':
		return rowText(f.body)
	case 'E', 'N':
		return reportText(f)
	case 'S':
		name, value, _ := strings.Cut(string(f.body), "\x00")
		return name + "=" + word([]byte(strings.TrimSuffix(value, "\x00")))
	case 'A':
		channel, payload, _ := strings.Cut(string(f.body[4:]), "\x00")
		return channel + " " + word([]byte(strings.TrimSuffix(payload, "\x00")))
	case 'T':
		return columnsText(f.body)
	case 't':
		return typesText(f.body)
	case 'V':
		return functionResultText(f.body)
	case 'Z':
		return string(f.body)
	case 'K':
		return fmt.Sprintf("secret of %d bytes", len(f.body)-4)
	case 'v':
		return negotiationText(f.body)
	default:
		return ""
	}
}

func trimZero(f frame) []byte {
	if f.typ == 'C' {
		return f.body[:max(0, len(f.body)-1)]
	}
	return f.body
}

// word writes bytes as one word where that is clear, else quoted; long ones are cut.
func word(b []byte) string {
	s := clip(b)
	if s == "" || s == "NULL" || strings.ContainsAny(s, " |()[],\"`=") || strconv.Quote(s) != `"`+s+`"` {
		return strconv.Quote(s)
	}
	return s
}

func clip(b []byte) string {
	const most = 60
	if len(b) <= most {
		return string(b)
	}
	return fmt.Sprintf("%s… %d bytes", b[:most/2], len(b))
}

// mostColumns is how many columns of a row are written out.
const mostColumns = 12

func rowText(body []byte) string {
	var m pgproto3.DataRow
	if err := m.Decode(body); err != nil {
		return err.Error()
	}
	var out []string
	for i, v := range m.Values {
		if i == mostColumns {
			return fmt.Sprintf("%s… %d columns", strings.Join(out, " "), len(m.Values))
		}
		if v == nil {
			out = append(out, "NULL")
		} else {
			out = append(out, word(v))
		}
	}
	return strings.Join(out, " ")
}

// reportText is severity (unless it is ERROR) and SQLSTATE, for notices the text too.
func reportText(f frame) string {
	r := reportOf(f.body)
	var out []string
	if r['S'] != "ERROR" {
		out = append(out, r['S'])
	}
	out = append(out, r['C'])
	if f.typ == 'N' {
		out = append(out, strconv.Quote(clip([]byte(r['M']))))
	}
	return strings.Join(out, " ")
}

// reportOf maps the field letters of an ErrorResponse or NoticeResponse to their texts.
func reportOf(body []byte) map[byte]string {
	fields := map[byte]string{}
	for len(body) > 1 && body[0] != 0 {
		text, rest, ok := strings.Cut(string(body[1:]), "\x00")
		if !ok {
			break
		}
		fields[body[0]] = text
		body = []byte(rest)
	}
	return fields
}

func columnsText(body []byte) string {
	var m pgproto3.RowDescription
	if err := m.Decode(body); err != nil {
		return err.Error()
	}
	var out []string
	for i, f := range m.Fields {
		if i == mostColumns {
			return fmt.Sprintf("%s… %d columns", strings.Join(out, " "), len(m.Fields))
		}
		text := word(f.Name) + ":" + typeText(f.DataTypeOID)
		if f.Format != 0 {
			text += "/b"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func typesText(body []byte) string {
	var m pgproto3.ParameterDescription
	if err := m.Decode(body); err != nil {
		return err.Error()
	}
	var out []string
	for _, oid := range m.ParameterOIDs {
		out = append(out, typeText(oid))
	}
	return strings.Join(out, " ")
}

// typeText is the id of a type; types made by a transcript get another one in every run.
func typeText(oid uint32) string {
	if oid >= firstOwnObject {
		return "own"
	}
	return strconv.Itoa(int(oid))
}

func functionResultText(body []byte) string {
	if len(body) < 4 || int32(binary.BigEndian.Uint32(body)) < 0 {
		return "NULL"
	}
	return word(body[4:])
}

func negotiationText(body []byte) string {
	if len(body) < 8 {
		return "too short"
	}
	version := binary.BigEndian.Uint32(body)
	names := strings.Split(strings.TrimSuffix(string(body[8:]), "\x00"), "\x00")
	return strings.TrimSpace(fmt.Sprintf("%d.%d %s", version>>16, version&0xffff, strings.Join(names, " ")))
}
