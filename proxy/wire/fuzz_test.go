package wire_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Every target asks three things: no input makes us panic; what we accept, pgproto3 reads as the same and our encoder
// writes as the same bytes; what pgproto3 reads without passing anything over, we accept. The seeds are modelled on
// what brought down other poolers and drivers: lengths that are negative, that wrap around or that claim more than there
// is (CVE-2024-27304, CVE-2026-6664, CVE-2026-6668, CVE-2026-107348), texts without their NUL, counts that promise
// gigabytes, long nonces (CVE-2026-6665), errors without a code (CVE-2026-6666), empty setting names (CVE-2026-107349),
// parameters given twice, and names too long for the place kept for them (CVE-2012-4575).

// seeds adds texts as inputs.
func seeds(f *testing.F, in ...string) {
	for _, s := range in {
		f.Add([]byte(s))
	}
}

func FuzzHeader(f *testing.F) {
	seeds(f, "", "Q", "Q\x00\x00\x00", "Q\x00\x00\x00\x03", "Q\x00\x00\x00\x04", "Q\xff\xff\xff\xff", "p\x80\x00\x00\x00", "p\x7f\xff\xff\xff",
		"d\x40\x00\x00\x00", "d\x40\x00\x00\x01", "Q\xff\xff\xff\xfe", "\x00\x00\x00\x00\x08\x04\xd2\x16\x2f")
	f.Fuzz(func(t *testing.T, b []byte) {
		typ, size, ok := wire.Header(b)
		if len(b) < wire.HeaderLen {
			if ok {
				t.Fatal("less than a header passed")
			}
			return
		}
		n := int64(b[1])<<24 | int64(b[2])<<16 | int64(b[3])<<8 | int64(b[4])
		if typ != b[0] || ok != (n >= 4 && n <= wire.MaxFrame) {
			t.Fatalf("length %d: type %q, ok %v", n, typ, ok)
		}
		if ok && int64(size) != n+1 || !ok && size != 0 {
			t.Fatalf("length %d: size %d", n, size)
		}
	})
}

// FuzzWalk takes a stream apart and puts it together again.
func FuzzWalk(f *testing.F) {
	whole := wire.AppendReadyForQuery(wire.AppendCommandComplete(wire.AppendSync(wire.AppendQuery(nil, "select 1")), "SELECT 1"), 'I')
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(append(bytes.Clone(whole), "Q\xff\xff\xff\xff"...))
	seeds(f, "", "S\x00\x00\x00\x04S\x00\x00\x00\x03S\x00\x00\x00\x04", "d\x40\x00\x00\x00", "d\x00\x00\x00\x04p\x80\x00\x00\x00")
	f.Fuzz(func(t *testing.T, stream []byte) {
		again, rest := []byte{}, stream
		for {
			typ, body, next, ok := wire.Next(rest)
			if !ok {
				break
			}
			if len(next) >= len(rest) {
				t.Fatal("the walk stands still")
			}
			again, rest = wire.AppendFrame(again, typ, body), next
		}
		if !bytes.Equal(append(again, rest...), stream) {
			t.Fatal("another stream came out")
		}
		if _, size, ok := wire.Header(rest); ok && size <= len(rest) {
			t.Fatal("a whole frame was left")
		}
	})
}

func FuzzParse(f *testing.F) {
	seeds(f, "", "\x00", "\x00\x00", "\x00\x00\x00\x00", "s\x00select $1\x00\x00\x01\x00\x00\x00\x17", "s\x00q\x00\xff\xff", "s\x00q\x00\x80\x00\x00\x00\x00\x00",
		"s\x00q", "s", "s\x00q\x00\x00\x00\x00", strings.Repeat("n", 70)+"\x00q\x00\x00\x00", "s\x00q\x00\x00\x02\x00\x00\x00\x17")
	f.Fuzz(func(t *testing.T, b []byte) {
		name, sql, types, ok := wire.ParseMessage(b)
		var m pgproto3.Parse
		err := m.Decode(b)
		if !ok {
			if err == nil && stable(&m, b) {
				t.Fatalf("refused: %+v", m)
			}
			return
		}
		if err != nil || string(name) != m.Name || string(sql) != m.Query {
			t.Fatalf("got %q %q, pgproto3 %+v %v", name, sql, m, err)
		}
		sameBody(t, wire.AppendParse(nil, m.Name, m.Query, m.ParameterOIDs), b)
		sameBody(t, wire.AppendParseTail(nil, name, sql, types), b)
	})
}

func FuzzBind(f *testing.F) {
	seeds(f, "", "\x00", "\x00\x00", "p\x00s\x00\x00\x00\x00\x00\x00\x00", "p\x00s", "p", "\x00s\x00\x00\x01\x00\x01\x00\x01\x00\x00\x00\x017\x00\x00",
		"\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff\x00\x00", "\x00\x00\x00\x00\x00\x01\xff\xff\xff\xfe\x00\x00", "\x00\x00\x00\x00\x00\x01\x7f\xff\xff\xff\x00\x00",
		"\x00\x00\xff\xff", "\x00\x00\x00\x00\xff\xff", "\x00\x00\x00\x00\x00\x00\xff\xff", strings.Repeat("s", 70)+"\x00\x00\x00\x00\x00\x00\x00\x00")
	f.Fuzz(func(t *testing.T, b []byte) {
		portal, statement, rest, ok := wire.BindNames(b)
		var m pgproto3.Bind
		err := m.Decode(b)
		if !ok {
			if err == nil {
				t.Fatalf("refused: %+v", m)
			}
			return
		}
		sameBody(t, wire.AppendBindTail(nil, portal, statement, rest), b)
		if err != nil {
			return // the rest is for the server to judge
		}
		if string(portal) != m.DestinationPortal || string(statement) != m.PreparedStatement {
			t.Fatalf("got %q %q, pgproto3 %+v", portal, statement, m)
		}
		for i := range len(m.Parameters) + 2 {
			value, ok := wire.BindParameter(rest, i)
			if is := i > 0 && i <= len(m.Parameters) && m.Parameters[i-1] != nil; ok != is || ok && string(value) != string(m.Parameters[i-1]) {
				t.Fatalf("parameter %d: got %q %v, pgproto3 %q", i, value, ok, m.Parameters)
			}
		}
		if stable(&m, b) {
			sameBody(t, wire.AppendBind(nil, m.DestinationPortal, m.PreparedStatement, m.ParameterFormatCodes, m.Parameters, m.ResultFormatCodes), b)
		}
	})
}

func FuzzTarget(f *testing.F) {
	seeds(f, "", "S", "S\x00", "P\x00", "Ss\x00", "Ss", "X\x00", "\x00\x00", "Ss\x00x\x00", "S"+strings.Repeat("s", 70)+"\x00")
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, name, ok := wire.Target(b)
		var m pgproto3.Describe
		err := m.Decode(b)
		known := err == nil && (m.ObjectType == 'S' || m.ObjectType == 'P')
		if ok != known {
			t.Fatalf("got %v, pgproto3 %+v %v", ok, m, err)
		}
		if !ok {
			return
		}
		if kind != m.ObjectType || string(name) != m.Name {
			t.Fatalf("got %q %q, pgproto3 %+v", kind, name, m)
		}
		sameBody(t, wire.AppendDescribe(nil, kind, string(name)), b)
		sameBody(t, wire.AppendClose(nil, kind, string(name)), b)
	})
}

func FuzzExecute(f *testing.F) {
	seeds(f, "", "\x00", "\x00\x00\x00\x00\x00", "p\x00\xff\xff\xff\xff", "p\x00\x7f\xff\xff\xff", "p\x00\x00\x00\x00", "p\x00\x00\x00\x00\x00\x00", "p")
	f.Fuzz(func(t *testing.T, b []byte) {
		portal, maxRows, ok := wire.ExecutePortal(b)
		var m pgproto3.Execute
		err := m.Decode(b)
		if !ok {
			if err == nil && stable(&m, b) {
				t.Fatalf("refused: %+v", m)
			}
			return
		}
		if err != nil || string(portal) != m.Portal || maxRows != m.MaxRows {
			t.Fatalf("got %q %d, pgproto3 %+v %v", portal, maxRows, m, err)
		}
		sameBody(t, wire.AppendExecute(nil, string(portal), int32(maxRows)), b)
	})
}

func FuzzQuery(f *testing.F) {
	seeds(f, "", "\x00", "select 1\x00", "select 1", "select 1\x00select 2\x00", "\x00\x00", "f\xff\xfe\x00")
	f.Fuzz(func(t *testing.T, b []byte) {
		sql, ok := wire.QueryText(b)
		var m pgproto3.Query
		if err := m.Decode(b); ok != (err == nil) || string(sql) != m.String {
			t.Fatalf("got %q %v, pgproto3 %+v %v", sql, ok, m, err)
		}
		if password, same := wire.PasswordText(b); same != ok || !bytes.Equal(password, sql) {
			t.Fatal("a password is read differently")
		}
		if ok {
			sameBody(t, wire.AppendQuery(nil, string(sql)), b)
			sameBody(t, wire.AppendPassword(nil, string(sql)), b)
			sameBody(t, wire.AppendCopyFail(nil, string(sql)), b)
		}
	})
}

func FuzzSASLInitial(f *testing.F) {
	seeds(f, saslLengths()...)
	seeds(f, "SCRAM-SHA-256\x00\x00\x00\x00\x09n,,n=,r=x", "SCRAM-SHA-256\x00\xff\xff\xff\xff", "SCRAM-SHA-256-PLUS\x00\x00\x00\x10\x00n,,n=,r="+strings.Repeat("n", 4087))
	f.Fuzz(func(t *testing.T, b []byte) {
		mechanism, data, ok := wire.SASLInitial(b)
		var m pgproto3.SASLInitialResponse
		err := m.Decode(b)
		if !ok {
			if err == nil && stable(&m, b) {
				t.Fatalf("refused: %+v", m)
			}
			return
		}
		if err != nil || string(mechanism) != m.AuthMechanism || !bytes.Equal(data, m.Data) {
			t.Fatalf("got %q %q, pgproto3 %+v %v", mechanism, data, m, err)
		}
		sameBody(t, wire.AppendSASLInitial(nil, string(mechanism), data), b)
	})
}

// FuzzEncoders gives the encoders texts of every kind, and compares with pgproto3.
func FuzzEncoders(f *testing.F) {
	f.Add("s", "select $1", []byte("7"), uint32(23))
	f.Add("", "", []byte(nil), uint32(0))
	f.Add(strings.Repeat("n", 300), "\xff\xfe", bytes.Repeat([]byte("x"), 5000), uint32(1<<32-1))
	f.Fuzz(func(t *testing.T, name, value string, data []byte, n uint32) {
		if strings.ContainsRune(name+value, 0) {
			return
		}
		sameFrame(t, func(b []byte) []byte { return wire.AppendParse(b, name, value, []uint32{n, 0}) },
			&pgproto3.Parse{Name: name, Query: value, ParameterOIDs: []uint32{n, 0}})
		sameFrame(t, func(b []byte) []byte {
			return wire.AppendBind(b, name, value, []int16{int16(n)}, [][]byte{data, nil}, []int16{1})
		}, &pgproto3.Bind{
			DestinationPortal: name, PreparedStatement: value, ParameterFormatCodes: []int16{int16(n)},
			Parameters: [][]byte{data, nil}, ResultFormatCodes: []int16{1},
		})
		sameFrame(t, func(b []byte) []byte { return wire.AppendParameterStatus(b, name, value) }, &pgproto3.ParameterStatus{Name: name, Value: value})
		sameFrame(t, func(b []byte) []byte { return wire.AppendNotification(b, n, name, value) }, &pgproto3.NotificationResponse{PID: n, Channel: name, Payload: value})
		sameFrame(t, func(b []byte) []byte { return wire.AppendBackendKeyData(b, n, data) }, &pgproto3.BackendKeyData{ProcessID: n, SecretKey: data})
		sameFrame(t, func(b []byte) []byte { return wire.AppendCopyData(b, data) }, &pgproto3.CopyData{Data: data})
		sameFrame(t, func(b []byte) []byte { return wire.AppendAuthSASL(b, name, value) }, &pgproto3.AuthenticationSASL{AuthMechanisms: []string{name, value}})
		sameFrame(t, func(b []byte) []byte { return wire.AppendAuthSASLContinue(b, data) }, &pgproto3.AuthenticationSASLContinue{Data: data})
		sameFrame(t, func(b []byte) []byte { return wire.AppendNegotiateProtocolVersion(b, n, []string{name, value}) },
			&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: n, UnrecognizedOptions: []string{name, value}})
	})
}

// sameBody compares a body with the frame that an encoder made of its parts.
func sameBody(t *testing.T, frame, body []byte) {
	t.Helper()
	_, size, ok := wire.Header(frame)
	if !ok || size != len(frame) || !bytes.Equal(frame[wire.HeaderLen:], body) {
		t.Fatalf("written again it is another message:\n got %q\nwant %q", frame, body)
	}
}
