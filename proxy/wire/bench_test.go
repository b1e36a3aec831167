package wire_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// hot is what the relay does for each message. None of it may take memory once its buffer has grown: ceiling 0
// allocations, asserted by TestHotPathTakesNoMemory and shown by BenchmarkHot.
func hot() map[string]func() {
	buf := make([]byte, 0, 1<<16)
	sql, types := []byte("select abalance from pgbench_accounts where aid = $1"), []byte("\x00\x01\x00\x00\x00\x17")
	secret := make([]byte, 32)
	frame := func(b []byte) []byte { return b[wire.HeaderLen:] }
	parse := frame(wire.AppendParse(nil, "P_0", string(sql), []uint32{23}))
	bind := frame(wire.AppendBind(nil, "", "P_0", nil, [][]byte{[]byte("12345")}, nil))
	describe := frame(wire.AppendDescribe(nil, 'S', "P_0"))
	execute := frame(wire.AppendExecute(nil, "", 0))
	query := frame(wire.AppendQuery(nil, string(sql)))
	status := frame(wire.AppendParameterStatus(nil, "application_name", "app"))
	key := frame(wire.AppendBackendKeyData(nil, 7, secret))
	notification := frame(wire.AppendNotification(nil, 7, "channel", "payload"))
	refusal := wire.Error{Severity: "FATAL", Code: wire.CodeTooManyConnections, Message: "too many clients", Hint: "wait"}
	refused := frame(wire.AppendError(nil, &refusal))
	rows := bytes.Repeat(wire.AppendFrame(nil, 'D', make([]byte, 90)), 100)

	return map[string]func(){
		"decode/Walk100": func() {
			for rest, ok := rows, true; ok; {
				_, _, rest, ok = wire.Next(rest)
			}
		},
		"decode/Header":          func() { wire.Header(rows) },
		"decode/ParseMessage":    func() { wire.ParseMessage(parse) },
		"decode/BindNames":       func() { wire.BindNames(bind) },
		"decode/Target":          func() { wire.Target(describe) },
		"decode/ExecutePortal":   func() { wire.ExecutePortal(execute) },
		"decode/QueryText":       func() { wire.QueryText(query) },
		"decode/CommandTag":      func() { wire.CommandTag([]byte("SELECT 1\x00")) },
		"decode/ReadyStatus":     func() { wire.ReadyStatus([]byte("I")) },
		"decode/ParameterStatus": func() { wire.ParameterStatus(status) },
		"decode/BackendKey":      func() { wire.BackendKey(key) },
		"decode/Notification":    func() { wire.Notification(notification) },
		"decode/ErrorCode":       func() { wire.ErrorCode(refused) },
		"decode/StartupLen":      func() { wire.StartupLen(rows) },

		"append/Query":           func() { wire.AppendQuery(buf, "select 1") },
		"append/Parse":           func() { wire.AppendParse(buf, "s_1", "select $1", []uint32{23}) },
		"append/ParseTail":       func() { wire.AppendParseTail(buf, "s_1", sql, types) },
		"append/Bind":            func() { wire.AppendBind(buf, "", "s_1", nil, [][]byte{sql}, nil) },
		"append/BindTail":        func() { wire.AppendBindTail(buf, bind[:0], "s_1", bind[5:]) },
		"append/Describe":        func() { wire.AppendDescribe(buf, 'S', "s_1") },
		"append/Close":           func() { wire.AppendClose(buf, 'S', "s_1") },
		"append/Execute":         func() { wire.AppendExecute(buf, "", 0) },
		"append/Sync":            func() { wire.AppendSync(buf) },
		"append/Flush":           func() { wire.AppendFlush(buf) },
		"append/CopyData":        func() { wire.AppendCopyData(buf, sql) },
		"append/ReadyForQuery":   func() { wire.AppendReadyForQuery(buf, 'I') },
		"append/ParameterStatus": func() { wire.AppendParameterStatus(buf, "TimeZone", "UTC") },
		"append/BackendKeyData":  func() { wire.AppendBackendKeyData(buf, 7, secret) },
		"append/AuthSASL":        func() { wire.AppendAuthSASL(buf, "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256") },
		"append/ParseComplete":   func() { wire.AppendParseComplete(buf) },
		"append/CommandComplete": func() { wire.AppendCommandComplete(buf, "DEALLOCATE") },
		"append/Notification":    func() { wire.AppendNotification(buf, 7, "channel", "payload") },
		"append/Error":           func() { wire.AppendError(buf, &refusal) },
		"append/Notice":          func() { wire.AppendNotice(buf, &refusal) },
		"append/Frame":           func() { wire.AppendFrame(buf, 'D', bind) },
		"append/CancelRequest":   func() { wire.AppendCancelRequest(buf, 7, secret) },
	}
}

func TestHotPathTakesNoMemory(t *testing.T) {
	for name, f := range hot() {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkHot(b *testing.B) {
	paths := hot()
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				paths[name]()
			}
		})
	}
}

// BenchmarkStartup is off the hot path: it copies what a session keeps.
func BenchmarkStartup(b *testing.B) {
	packet := wire.AppendStartup(nil, wire.Version30, []wire.Param{
		{"user", "app"}, {"database", "shop"}, {"application_name", "web"}, {"client_encoding", "UTF8"}, {"options", "-c statement_timeout=5s"},
	})[4:]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.DecodeStartup(packet); err != nil {
			b.Fatal(err)
		}
	}
}
