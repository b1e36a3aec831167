package wire_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

const user = "user\x00postgres\x00"

func TestStartupMessage(t *testing.T) {
	m := &pgproto3.StartupMessage{
		ProtocolVersion: pgproto3.ProtocolVersion32,
		Parameters:      map[string]string{"user": "ayşe", "database": "shop", "application_name": ""},
	}
	s, err := wire.DecodeStartup(theirs(t, m)[4:])
	if err != nil {
		t.Fatal(err)
	}
	if s.Kind != wire.StartupMessage || s.Version != wire.Version32 || len(s.Params) != len(m.Parameters) {
		t.Fatalf("got %+v", s)
	}
	for name, want := range m.Parameters {
		if got := s.Param(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	frame := wire.AppendStartup(nil, wire.Version32, s.Params)
	got, err := pgproto3.NewBackend(bytes.NewReader(frame), io.Discard).ReceiveStartupMessage()
	if err != nil {
		t.Fatal(err)
	}
	if msg, ok := got.(*pgproto3.StartupMessage); !ok || msg.Parameters["user"] != "ayşe" || len(msg.Parameters) != 3 {
		t.Errorf("pgproto3 read %+v", got)
	}
}

func TestStartupKeepsOrderAndLastOfDuplicates(t *testing.T) {
	params := []wire.Param{
		{"user", "nobody"}, {"search_path", "a"}, {"user", "postgres"}, {"search_path", "b"}, {"_pq_.x", ""}, {"database", ""},
	}
	frame := wire.AppendStartup([]byte("before"), wire.Version30, params)[len("before"):]
	s, err := wire.DecodeStartup(frame[4:])
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Params, params) {
		t.Errorf("got %v", s.Params)
	}
	if s.Param("user") != "postgres" || s.Param("search_path") != "b" || s.Param("absent") != "" {
		t.Error("PostgreSQL takes the last of several")
	}
}

func TestStartupSharesNoMemory(t *testing.T) {
	frame := wire.AppendStartup(nil, wire.Version30, []wire.Param{{"user", "postgres"}})[4:]
	cancel := wire.AppendCancelRequest(nil, 1, []byte("secret"))[4:]
	s, _ := wire.DecodeStartup(frame)
	c, _ := wire.DecodeStartup(cancel)
	clear(frame)
	clear(cancel)
	if s.Param("user") != "postgres" || string(c.Secret) != "secret" {
		t.Error("the buffer is lent, the startup packet stays")
	}
}

func TestAppendStartupCannotSmuggleParameters(t *testing.T) {
	frame := wire.AppendStartup(nil, wire.Version30, []wire.Param{{"user", "app"}, {"application_name", "x\x00user\x00postgres"}})
	s, err := wire.DecodeStartup(frame[4:])
	if err != nil || len(s.Params) != 2 || s.Param("user") != "app" {
		t.Fatalf("got %v %v", s.Params, err)
	}
}

func TestRequestsInPlaceOfStartup(t *testing.T) {
	for name, tt := range map[string]struct {
		ours []byte
		msg  pgproto3.FrontendMessage
		kind wire.StartupKind
	}{
		"ssl":        {wire.AppendSSLRequest(nil), &pgproto3.SSLRequest{}, wire.SSLRequest},
		"gss":        {nil, &pgproto3.GSSEncRequest{}, wire.GSSENCRequest},
		"cancel 3.0": {wire.AppendCancelRequest(nil, 7, []byte("four")), &pgproto3.CancelRequest{ProcessID: 7, SecretKey: []byte("four")}, wire.CancelRequest},
		"cancel 3.2": {
			wire.AppendCancelRequest(nil, 1<<32-1, bytes.Repeat([]byte("k"), 256)),
			&pgproto3.CancelRequest{ProcessID: 1<<32 - 1, SecretKey: bytes.Repeat([]byte("k"), 256)}, wire.CancelRequest,
		},
	} {
		packet := theirs(t, tt.msg)
		if tt.ours != nil && !bytes.Equal(tt.ours, packet) {
			t.Errorf("%s:\n got %q\nwant %q", name, tt.ours, packet)
		}
		if n, ok := wire.StartupLen(packet); !ok || n != len(packet)-4 {
			t.Errorf("%s: length %d %v", name, n, ok)
		}
		s, err := wire.DecodeStartup(packet[4:])
		if err != nil || s.Kind != tt.kind {
			t.Errorf("%s: got %+v %v", name, s, err)
		}
		if c, ok := tt.msg.(*pgproto3.CancelRequest); ok && (s.PID != c.ProcessID || !bytes.Equal(s.Secret, c.SecretKey)) {
			t.Errorf("%s: got %+v", name, s)
		}
	}
}

// The codes and words are those of PostgreSQL 15, asked with the same bytes.
func TestStartupRefused(t *testing.T) {
	const layout = "invalid startup packet layout: expected terminator as last byte"
	const v3 = "\x00\x03\x00\x00"
	for name, tt := range map[string]struct{ in, code, message string }{
		"empty":              {"", "08P01", "invalid length of startup packet"},
		"half a version":     {"\x00\x03\x00", "08P01", "invalid length of startup packet"},
		"too long":           {v3 + user + "a\x00" + strings.Repeat("x", 10_000) + "\x00\x00", "08P01", "invalid length of startup packet"},
		"version only":       {v3, "08P01", layout},
		"no terminator":      {v3 + user, "08P01", layout},
		"two terminators":    {v3 + user + "\x00\x00", "08P01", layout},
		"after terminator":   {v3 + user + "\x00x", "08P01", layout},
		"hidden parameters":  {v3 + user + "\x00user\x00root\x00\x00", "08P01", layout},
		"name without value": {v3 + user + "abc\x00", "08P01", layout},
		"name without NUL":   {v3 + user + "abc", "08P01", layout},
		"value without NUL":  {v3 + user + "a\x00x", "08P01", layout},
		"no user":            {v3 + "\x00", "28000", "no PostgreSQL user name specified in startup packet"},
		"empty user":         {v3 + "user\x00\x00\x00", "28000", "no PostgreSQL user name specified in startup packet"},
		"last user empty":    {v3 + user + "user\x00\x00\x00", "28000", "no PostgreSQL user name specified in startup packet"},
		"version 2":          {"\x00\x02\x00\x00" + user + "\x00", "0A000", "unsupported frontend protocol 2.0: server supports 3.0 to 3.2"},
		"version 4":          {"\x00\x04\x00\x00" + user + "\x00", "0A000", "unsupported frontend protocol 4.0: server supports 3.0 to 3.2"},
		"unknown request":    {"\x04\xd2\x16\x31", "0A000", "unsupported frontend protocol 1234.5681: server supports 3.0 to 3.2"},
		"cancel without pid": {"\x04\xd2\x16\x2e\x00\x00\x00", "08P01", "invalid length of cancel request packet"},
		"cancel without key": {"\x04\xd2\x16\x2e\x00\x00\x00\x01", "08P01", "invalid length of cancel key in cancel request packet"},
		"cancel key of 257":  {"\x04\xd2\x16\x2e\x00\x00\x00\x01" + strings.Repeat("k", 257), "08P01", "invalid length of cancel key in cancel request packet"},
	} {
		s, err := wire.DecodeStartup([]byte(tt.in))
		e, ok := errors.AsType[*wire.Error](err)
		if !ok || e.Severity != "FATAL" || e.Code != tt.code || e.Message != tt.message {
			t.Errorf("%s: got %v", name, err)
		}
		if s.Kind != 0 {
			t.Errorf("%s: a refused packet is of kind %d", name, s.Kind)
		}
	}
}

func TestStartupLimit(t *testing.T) {
	head := "\x00\x03\x00\x00" + user + "a\x00"
	packet := head + strings.Repeat("x", wire.MaxStartup-len(head)-2) + "\x00\x00"
	if _, err := wire.DecodeStartup([]byte(packet)); err != nil || len(packet) != wire.MaxStartup {
		t.Errorf("%d bytes: %v", len(packet), err)
	}
	if _, err := wire.DecodeStartup([]byte(strings.Replace(packet, "x", "xx", 1))); err == nil {
		t.Error("one byte more than PostgreSQL reads")
	}
	many := "\x00\x03\x00\x00" + user + strings.Repeat("a\x00\x00", 3000) + "\x00"
	if s, err := wire.DecodeStartup([]byte(many)); err != nil || len(s.Params) != 3001 {
		t.Errorf("%d parameters, %v", len(s.Params), err)
	}
	for in, want := range map[string]int{
		"\x00\x00\x00\x08": 4, "\x00\x00\x27\x14": 10_000,
		"\x00\x00\x27\x15": -1, "\x00\x00\x00\x07": -1, "\x00\x00\x00\x00": -1, "\xff\xff\xff\xff": -1, "\x80\x00\x00\x08": -1,
		"\x16\x03\x01\x00": -1, // TLS at once
		"GET ":             -1, "": -1, "\x00\x00\x00": -1,
	} {
		n, ok := wire.StartupLen([]byte(in))
		if ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: got %d %v, want %d", in, n, ok, want)
		}
	}
}
