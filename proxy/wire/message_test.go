package wire_test

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

func TestClientMessages(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), 70_000))
	for name, tt := range map[string]struct {
		ours func([]byte) []byte
		msg  pgproto3.FrontendMessage
		auth uint32
	}{
		"query":       {func(b []byte) []byte { return wire.AppendQuery(b, "select 1") }, &pgproto3.Query{String: "select 1"}, 0},
		"query empty": {func(b []byte) []byte { return wire.AppendQuery(b, "") }, &pgproto3.Query{}, 0},
		"query long":  {func(b []byte) []byte { return wire.AppendQuery(b, long) }, &pgproto3.Query{String: long}, 0},
		"parse": {
			func(b []byte) []byte { return wire.AppendParse(b, "s1", "select $1, $2", []uint32{23, 1<<32 - 1}) },
			&pgproto3.Parse{Name: "s1", Query: "select $1, $2", ParameterOIDs: []uint32{23, 1<<32 - 1}}, 0,
		},
		"parse unnamed": {
			func(b []byte) []byte { return wire.AppendParse(b, "", "select 1", nil) },
			&pgproto3.Parse{Query: "select 1"}, 0,
		},
		"parse tail": {
			func(b []byte) []byte {
				return wire.AppendParseTail(b, "s1", []byte("select $1"), "\x00\x01\x00\x00\x00\x17")
			},
			&pgproto3.Parse{Name: "s1", Query: "select $1", ParameterOIDs: []uint32{23}}, 0,
		},
		"bind": {
			func(b []byte) []byte {
				return wire.AppendBind(b, "p", "s", []int16{1, 0, -1}, [][]byte{[]byte("7"), nil, {}}, []int16{1})
			},
			&pgproto3.Bind{
				DestinationPortal: "p", PreparedStatement: "s", ParameterFormatCodes: []int16{1, 0, -1},
				Parameters: [][]byte{[]byte("7"), nil, {}}, ResultFormatCodes: []int16{1},
			}, 0,
		},
		"bind of nothing": {
			func(b []byte) []byte { return wire.AppendBind(b, "", "", nil, nil, nil) },
			&pgproto3.Bind{}, 0,
		},
		"bind tail": {
			func(b []byte) []byte {
				return wire.AppendBindTail(b, []byte("p"), "other", []byte("\x00\x00\x00\x01\x00\x00\x00\x017\x00\x00"))
			},
			&pgproto3.Bind{DestinationPortal: "p", PreparedStatement: "other", Parameters: [][]byte{[]byte("7")}}, 0,
		},
		"describe statement": {
			func(b []byte) []byte { return wire.AppendDescribe(b, 'S', "s") },
			&pgproto3.Describe{ObjectType: 'S', Name: "s"}, 0,
		},
		"describe portal": {
			func(b []byte) []byte { return wire.AppendDescribe(b, 'P', "") },
			&pgproto3.Describe{ObjectType: 'P'}, 0,
		},
		"close":       {func(b []byte) []byte { return wire.AppendClose(b, 'S', "s") }, &pgproto3.Close{ObjectType: 'S', Name: "s"}, 0},
		"execute":     {func(b []byte) []byte { return wire.AppendExecute(b, "p", 50) }, &pgproto3.Execute{Portal: "p", MaxRows: 50}, 0},
		"execute all": {func(b []byte) []byte { return wire.AppendExecute(b, "", 0) }, &pgproto3.Execute{}, 0},
		"execute negative": {
			func(b []byte) []byte { return wire.AppendExecute(b, "", -1) },
			&pgproto3.Execute{MaxRows: 1<<32 - 1}, 0,
		},
		"sync":      {wire.AppendSync, &pgproto3.Sync{}, 0},
		"flush":     {wire.AppendFlush, &pgproto3.Flush{}, 0},
		"terminate": {wire.AppendTerminate, &pgproto3.Terminate{}, 0},
		"copy data": {func(b []byte) []byte { return wire.AppendCopyData(b, []byte("1\t2\n")) }, &pgproto3.CopyData{Data: []byte("1\t2\n")}, 0},
		"copy done": {wire.AppendCopyDone, &pgproto3.CopyDone{}, 0},
		"copy fail": {func(b []byte) []byte { return wire.AppendCopyFail(b, "gone") }, &pgproto3.CopyFail{Message: "gone"}, 0},
		"password": {
			func(b []byte) []byte { return wire.AppendPassword(b, "secret") },
			&pgproto3.PasswordMessage{Password: "secret"}, pgproto3.AuthTypeCleartextPassword,
		},
		"sasl initial": {
			func(b []byte) []byte { return wire.AppendSASLInitial(b, "SCRAM-SHA-256", []byte("n,,n=,r=x")) },
			&pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte("n,,n=,r=x")}, pgproto3.AuthTypeSASL,
		},
		"sasl response": {
			func(b []byte) []byte { return wire.AppendSASLResponse(b, []byte("c=biws,r=x,p=y")) },
			&pgproto3.SASLResponse{Data: []byte("c=biws,r=x,p=y")}, pgproto3.AuthTypeSASLContinue,
		},
	} {
		t.Run(name, func(t *testing.T) {
			sameFrame(t, tt.ours, tt.msg)
			frame := tt.ours(nil)
			if got := theirs(t, serverReads(t, frame, tt.auth)); !bytes.Equal(got, frame) {
				t.Fatalf("pgproto3 read another message:\n got %q\nwant %q", got, frame)
			}
		})
	}
}

func TestSASLInitialWithoutData(t *testing.T) {
	frame := wire.AppendSASLInitial(nil, "X", nil)
	if want := "p\x00\x00\x00\x0aX\x00\xff\xff\xff\xff"; string(frame) != want {
		t.Fatalf("got %q, want %q", frame, want)
	}
	mechanism, data, ok := wire.SASLInitial(frame[wire.HeaderLen:])
	if !ok || string(mechanism) != "X" || data != nil {
		t.Fatalf("got %q %q %v", mechanism, data, ok)
	}
}

// A statement goes to another server connection under another name; whatever else it said must arrive as it was sent.
func TestRenamingKeepsTheRest(t *testing.T) {
	parse := &pgproto3.Parse{Name: "mine", Query: "select $1", ParameterOIDs: []uint32{23}}
	_, sql, types, ok := wire.ParseMessage(body(t, parse))
	if !ok {
		t.Fatal("ParseMessage")
	}
	parse.Name = "another and longer name"
	sameFrame(t, func(b []byte) []byte { return wire.AppendParseTail(b, parse.Name, sql, types) }, parse)

	bind := &pgproto3.Bind{
		DestinationPortal: "p", PreparedStatement: "mine", ParameterFormatCodes: []int16{1},
		Parameters: [][]byte{[]byte("\x00\x01"), nil}, ResultFormatCodes: []int16{0, 1},
	}
	portal, _, rest, ok := wire.BindNames(body(t, bind))
	if !ok {
		t.Fatal("BindNames")
	}
	bind.PreparedStatement = "s"
	sameFrame(t, func(b []byte) []byte { return wire.AppendBindTail(b, portal, "s", rest) }, bind)
}
