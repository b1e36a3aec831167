package wire_test

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

func TestParseMessage(t *testing.T) {
	for _, m := range []*pgproto3.Parse{
		{},
		{Query: "select 1"},
		{Name: "s", Query: "select $1", ParameterOIDs: []uint32{0}},
		{Name: "ş", Query: "select $1, $2", ParameterOIDs: []uint32{23, 1<<32 - 1}},
		{Name: "s", Query: "x", ParameterOIDs: make([]uint32, 65535)},
	} {
		name, sql, types, ok := wire.ParseMessage(body(t, m))
		if !ok {
			t.Fatalf("%v is refused", m)
		}
		text(t, "name", name, m.Name)
		text(t, "sql", sql, m.Query)
		var tail []byte
		tail = append(tail, byte(len(m.ParameterOIDs)>>8), byte(len(m.ParameterOIDs)))
		for _, oid := range m.ParameterOIDs {
			tail = append(tail, byte(oid>>24), byte(oid>>16), byte(oid>>8), byte(oid))
		}
		text(t, "types", types, tail)
	}
	for _, bad := range []string{"", "s", "s\x00", "s\x00x", "s\x00x\x00", "s\x00x\x00\x00", "s\x00x\x00\xff\xff", "\x00\x00\x00\x01\x00\x00\x00", "\x00\x00\x00\x00\x00"} {
		if _, _, _, ok := wire.ParseMessage([]byte(bad)); ok {
			t.Errorf("%q passed for a Parse", bad)
		}
	}
}

func TestBindNames(t *testing.T) {
	m := &pgproto3.Bind{DestinationPortal: "p", PreparedStatement: "s", Parameters: [][]byte{nil, []byte("\x00")}}
	b := body(t, m)
	portal, statement, rest, ok := wire.BindNames(b)
	if !ok {
		t.Fatal("refused")
	}
	text(t, "portal", portal, "p")
	text(t, "statement", statement, "s")
	text(t, "rest", rest, b[4:])
	if _, _, rest, ok := wire.BindNames([]byte("p\x00s\x00")); !ok || len(rest) != 0 {
		t.Error("what follows the names is not for us to judge")
	}
	for _, bad := range []string{"", "p", "p\x00", "p\x00s"} {
		if _, _, _, ok := wire.BindNames([]byte(bad)); ok {
			t.Errorf("%q passed for a Bind", bad)
		}
	}
}

func TestBindParameter(t *testing.T) {
	tail := func(formats []int16, parameters ...[]byte) []byte {
		b := body(t, &pgproto3.Bind{ParameterFormatCodes: formats, Parameters: parameters, ResultFormatCodes: []int16{1}})
		return b[2:]
	}
	b := tail([]int16{0, 1, 0, 0}, []byte("a"), nil, []byte(""), []byte("long"))
	for n, want := range map[int]string{1: "a", 3: "", 4: "long"} {
		if got, ok := wire.BindParameter(b, n); !ok || string(got) != want {
			t.Errorf("parameter %d is %q %v, want %q", n, got, ok, want)
		}
	}
	for _, n := range []int{-1, 0, 2, 5, 1 << 20} {
		if got, ok := wire.BindParameter(b, n); ok {
			t.Errorf("parameter %d is %q", n, got)
		}
	}
	for cut := range len(b) - 8 {
		if got, ok := wire.BindParameter(b[:cut], 4); ok {
			t.Errorf("of %d bytes: %q", cut, got)
		}
	}
	if _, ok := wire.BindParameter([]byte("\x00\x00\x00\x01\x7f\xff\xff\xff"), 1); ok {
		t.Error("a length beyond the end passed")
	}
}

func TestTarget(t *testing.T) {
	for _, m := range []pgproto3.Message{
		&pgproto3.Describe{ObjectType: 'S', Name: "s"},
		&pgproto3.Describe{ObjectType: 'P', Name: "s"},
		&pgproto3.Close{ObjectType: 'S', Name: "s"},
		&pgproto3.Close{ObjectType: 'P', Name: "s"},
	} {
		b := body(t, m)
		kind, name, ok := wire.Target(b)
		if !ok || kind != b[0] {
			t.Fatalf("%T: %q %v", m, kind, ok)
		}
		text(t, "name", name, "s")
	}
	for _, bad := range []string{"", "S", "Ss", "Xs\x00", "\x00", "Ss\x00x", "Ss\x00\x00"} {
		if kind, name, ok := wire.Target([]byte(bad)); ok || kind != 0 || name != nil {
			t.Errorf("%q passed for a Describe", bad)
		}
	}
}

func TestExecutePortal(t *testing.T) {
	for _, m := range []*pgproto3.Execute{{}, {Portal: "p", MaxRows: 1}, {MaxRows: 1<<32 - 1}} {
		portal, maxRows, ok := wire.ExecutePortal(body(t, m))
		if !ok || maxRows != m.MaxRows {
			t.Fatalf("%v: %d %v", m, maxRows, ok)
		}
		text(t, "portal", portal, m.Portal)
	}
	for _, bad := range []string{"", "p", "p\x00", "p\x00\x00\x00\x00", "p\x00\x00\x00\x00\x00\x00"} {
		if _, _, ok := wire.ExecutePortal([]byte(bad)); ok {
			t.Errorf("%q passed for an Execute", bad)
		}
	}
}

func TestQueryAndPasswordText(t *testing.T) {
	for _, s := range []string{"", "select 1", "select 'ğ'; select 2"} {
		sql, ok := wire.QueryText(body(t, &pgproto3.Query{String: s}))
		if !ok {
			t.Fatalf("%q is refused", s)
		}
		text(t, "sql", sql, s)
		password, ok := wire.PasswordText(body(t, &pgproto3.PasswordMessage{Password: s}))
		if !ok {
			t.Fatalf("%q is refused", s)
		}
		text(t, "password", password, s)
	}
	for _, bad := range []string{"", "x", "x\x00x", "x\x00\x00", "x\x00select 2\x00"} {
		if sql, ok := wire.QueryText([]byte(bad)); ok || sql != nil {
			t.Errorf("%q passed for a Query", bad)
		}
	}
}

func TestSASLInitial(t *testing.T) {
	for _, data := range []string{"n,,n=,r=x", "\x00"} {
		m := &pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte(data)}
		mechanism, got, ok := wire.SASLInitial(body(t, m))
		if !ok {
			t.Fatalf("%q is refused", data)
		}
		text(t, "mechanism", mechanism, m.AuthMechanism)
		text(t, "data", got, data)
	}
	if _, data, ok := wire.SASLInitial([]byte("M\x00\x00\x00\x00\x00")); !ok || data == nil {
		t.Error("no data and empty data are not the same")
	}
	for _, bad := range saslLengths() {
		if _, _, ok := wire.SASLInitial([]byte(bad)); ok {
			t.Errorf("%q passed for a SASLInitialResponse", bad)
		}
	}
}

// saslLengths are lengths that do not fit their message. A length that wraps around when it is added to an offset brought
// down a pooler before the login (CVE-2026-6664).
func saslLengths() []string {
	return []string{
		"", "M", "M\x00", "M\x00\x00\x00\x00",
		"M\x00\x00\x00\x00\x01", "M\x00\x00\x00\x00\x00x", "M\x00\x00\x00\x00\x02x",
		"M\x00\xff\xff\xff\xffx", "M\x00\xff\xff\xff\xfe", "M\x00\xff\xff\xff\xf0x", "M\x00\x7f\xff\xff\xffx", "M\x00\x80\x00\x00\x00x",
	}
}

func TestReadyStatus(t *testing.T) {
	for _, s := range []byte("ITE") {
		if got, ok := wire.ReadyStatus(body(t, &pgproto3.ReadyForQuery{TxStatus: s})); !ok || got != s {
			t.Errorf("%q: got %q %v", s, got, ok)
		}
	}
	for _, bad := range []string{"", "II", "x", "\x00"} {
		if _, ok := wire.ReadyStatus([]byte(bad)); ok {
			t.Errorf("%q passed for a ReadyForQuery", bad)
		}
	}
}

func TestCommandTag(t *testing.T) {
	text(t, "tag", wire.CommandTag(body(t, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})), "SELECT 1")
	text(t, "without NUL", wire.CommandTag([]byte("SELECT 1")), "SELECT 1")
	text(t, "more after NUL", wire.CommandTag([]byte("BEGIN\x00COMMIT\x00")), "BEGIN")
	text(t, "empty", wire.CommandTag(nil), "")
}

func TestParameterStatus(t *testing.T) {
	m := &pgproto3.ParameterStatus{Name: "TimeZone", Value: "UTC"}
	name, value, ok := wire.ParameterStatus(body(t, m))
	if !ok {
		t.Fatal("refused")
	}
	text(t, "name", name, m.Name)
	text(t, "value", value, m.Value)
	for _, bad := range []string{"", "a", "a\x00", "a\x00b", "a\x00b\x00c", "a\x00b\x00\x00"} {
		if _, _, ok := wire.ParameterStatus([]byte(bad)); ok {
			t.Errorf("%q passed for a ParameterStatus", bad)
		}
	}
}

func TestBackendKey(t *testing.T) {
	for _, n := range []int{4, 32, 256} {
		m := &pgproto3.BackendKeyData{ProcessID: 1<<32 - 1, SecretKey: bytes.Repeat([]byte{9}, n)}
		pid, secret, ok := wire.BackendKey(body(t, m))
		if !ok || pid != m.ProcessID || !bytes.Equal(secret, m.SecretKey) {
			t.Errorf("%d bytes: got %d %x %v", n, pid, secret, ok)
		}
	}
	for _, n := range []int{0, 4, 7, 4 + 257, 1 << 20} {
		if _, _, ok := wire.BackendKey(make([]byte, n)); ok {
			t.Errorf("a body of %d bytes passed for a BackendKeyData", n)
		}
	}
}

func TestNotification(t *testing.T) {
	m := &pgproto3.NotificationResponse{PID: 7, Channel: "c", Payload: "p"}
	pid, channel, payload, ok := wire.Notification(body(t, m))
	if !ok || pid != 7 {
		t.Fatalf("got %d %v", pid, ok)
	}
	text(t, "channel", channel, m.Channel)
	text(t, "payload", payload, m.Payload)
	for _, bad := range []string{"", "abc", "abcd", "abcdc\x00", "abcdc\x00p", "abcdc\x00p\x00x"} {
		if _, _, _, ok := wire.Notification([]byte(bad)); ok {
			t.Errorf("%q passed for a NotificationResponse", bad)
		}
	}
}

// A body that is cut short, or longer than it says, is never taken for whole.
func TestTruncationAndExcess(t *testing.T) {
	for _, d := range []struct {
		name string
		msg  pgproto3.Message
		ok   func([]byte) bool
		open bool // the end is free: more bytes are still a message
	}{
		{"Parse", &pgproto3.Parse{Name: "s", Query: "q", ParameterOIDs: []uint32{1, 2}}, parses, false},
		{"Describe", &pgproto3.Describe{ObjectType: 'S', Name: "s"}, targets, false},
		{"Execute", &pgproto3.Execute{Portal: "p", MaxRows: 0x01020304}, executes, false},
		{"Query", &pgproto3.Query{String: "select 1"}, queries, false},
		{"SASLInitialResponse", &pgproto3.SASLInitialResponse{AuthMechanism: "M", Data: []byte("abc")}, initials, false},
		{"ReadyForQuery", &pgproto3.ReadyForQuery{TxStatus: 'I'}, readies, false},
		{"ParameterStatus", &pgproto3.ParameterStatus{Name: "a", Value: "b"}, statuses, false},
		{"BackendKeyData", &pgproto3.BackendKeyData{SecretKey: []byte("four")}, keys, true},
		{"NotificationResponse", &pgproto3.NotificationResponse{PID: 1, Channel: "c", Payload: "p"}, notifies, false},
		{"ErrorResponse", &pgproto3.ErrorResponse{Severity: "ERROR", Code: "42601", Message: "m"}, errorsOut, false},
	} {
		b := body(t, d.msg)
		if !d.ok(b) {
			t.Errorf("%s: the whole body is refused", d.name)
		}
		for n := range b {
			if d.ok(b[:n]) {
				t.Errorf("%s: %d of %d bytes passed", d.name, n, len(b))
			}
		}
		if got := d.ok(append(bytes.Clone(b), 0)); got != d.open {
			t.Errorf("%s: with one byte more: %v", d.name, got)
		}
	}
}

func parses(b []byte) bool    { _, _, _, ok := wire.ParseMessage(b); return ok }
func targets(b []byte) bool   { _, _, ok := wire.Target(b); return ok }
func executes(b []byte) bool  { _, _, ok := wire.ExecutePortal(b); return ok }
func queries(b []byte) bool   { _, ok := wire.QueryText(b); return ok }
func initials(b []byte) bool  { _, _, ok := wire.SASLInitial(b); return ok }
func readies(b []byte) bool   { _, ok := wire.ReadyStatus(b); return ok }
func statuses(b []byte) bool  { _, _, ok := wire.ParameterStatus(b); return ok }
func keys(b []byte) bool      { _, _, ok := wire.BackendKey(b); return ok }
func notifies(b []byte) bool  { _, _, _, ok := wire.Notification(b); return ok }
func errorsOut(b []byte) bool { _, ok := wire.ParseError(b); return ok }

func TestShiftedError(t *testing.T) {
	for _, test := range [][2]string{
		{"SERROR\x00C42601\x00P7\x00Mno\x00\x00", "SERROR\x00C42601\x00P12\x00Mno\x00\x00"},
		{"SERROR\x00Mno position\x00\x00", "SERROR\x00Mno position\x00\x00"},
		{"Pseven\x00\x00", "Pseven\x00\x00"},
		{"cut off", "cut off"},
		{"", ""},
	} {
		got := wire.AppendShiftedError(nil, []byte(test[0]), 5)
		if typ, size, ok := wire.Header(got); typ != 'E' || !ok || size != len(got) || string(got[wire.HeaderLen:]) != test[1] {
			t.Errorf("%q became %q", test[0], got)
		}
	}
}

func TestBindReplaced(t *testing.T) {
	for _, formats := range [][]int16{nil, {1}, {0, 1, 1}} {
		bind := &pgproto3.Bind{ParameterFormatCodes: formats, Parameters: [][]byte{[]byte("a"), {}, []byte("long")}, ResultFormatCodes: []int16{1}}
		tail := body(t, bind)[2:]
		for n := range 3 {
			want := 0
			switch len(formats) {
			case 1:
				want = int(formats[0])
			case 3:
				want = int(formats[n])
			}
			if got := wire.BindFormat(tail, n+1); got != want {
				t.Errorf("%v: format %d of parameter %d", formats, got, n+1)
			}
			other := *bind
			other.Parameters = append([][]byte(nil), bind.Parameters...)
			other.Parameters[n] = []byte("another value")
			text(t, "replaced", wire.AppendBindReplaced(nil, tail, n+1, []byte("another value")), string(body(t, &other)[2:]))
		}
		text(t, "none to replace", wire.AppendBindReplaced(nil, tail, 4, []byte("x")), string(tail))
	}
	if wire.BindFormat(nil, 1) != 0 || wire.BindFormat([]byte{0, 2, 0, 1}, 1) != 0 {
		t.Error("formats of a tail that is cut off")
	}
}
