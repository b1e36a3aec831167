package wire_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

func TestErrorAndNotice(t *testing.T) {
	for name, tt := range map[string]struct {
		ours   wire.Error
		err    pgproto3.ErrorResponse
		notice pgproto3.NoticeResponse
	}{
		"all": {
			wire.Error{Severity: "FATAL", Code: "53300", Message: "m", Detail: "d", Hint: "h"},
			pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "53300", Message: "m", Detail: "d", Hint: "h"},
			pgproto3.NoticeResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "53300", Message: "m", Detail: "d", Hint: "h"},
		},
		"only a message": {
			wire.Error{Message: "m"},
			pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "XX000", Message: "m"},
			pgproto3.NoticeResponse{Severity: "NOTICE", SeverityUnlocalized: "NOTICE", Code: "00000", Message: "m"},
		},
	} {
		sameFrame(t, func(b []byte) []byte { return wire.AppendError(b, &tt.ours) }, &tt.err)
		sameFrame(t, func(b []byte) []byte { return wire.AppendNotice(b, &tt.ours) }, &tt.notice)
		if got, ok := clientReads(t, wire.AppendError(nil, &tt.ours)).(*pgproto3.ErrorResponse); !ok || got.Code != tt.err.Code {
			t.Errorf("%s: pgproto3 read %v", name, got)
		}
		if got, ok := clientReads(t, wire.AppendNotice(nil, &tt.ours)).(*pgproto3.NoticeResponse); !ok || got.Code != tt.notice.Code {
			t.Errorf("%s: pgproto3 read %v", name, got)
		}
	}
}

func TestErrorTextCannotForgeFields(t *testing.T) {
	e := wire.Error{Code: "08006", Message: "lost\x00C00000\x00\x00Z", Detail: "\x00", Hint: "h\x00"}
	got, ok := wire.ParseError(wire.AppendError(nil, &e)[wire.HeaderLen:])
	if want := (wire.Error{Severity: "ERROR", Code: "08006", Message: "lost", Hint: "h"}); !ok || *got != want {
		t.Fatalf("got %+v %v", got, ok)
	}
}

func TestParseErrorAndErrorCode(t *testing.T) {
	for name, tt := range map[string]struct {
		msg  pgproto3.ErrorResponse
		want wire.Error
	}{
		"translated": {
			pgproto3.ErrorResponse{
				Severity: "HATA", SeverityUnlocalized: "ERROR", Code: "42601", Message: "m", Detail: "d", Hint: "h", Position: 7,
				Where: "w", SchemaName: "s", File: "scan.l", Line: 1, Routine: "scanner_yyerror", UnknownFields: map[byte]string{'x': "?"},
			},
			wire.Error{Severity: "ERROR", Code: "42601", Message: "m", Detail: "d", Hint: "h"},
		},
		"before 9.6": {pgproto3.ErrorResponse{Severity: "HATA", Code: "42601"}, wire.Error{Severity: "HATA", Code: "42601"}},
		// A server's error without SQLSTATE brought down a pooler (CVE-2026-6666).
		"without code": {pgproto3.ErrorResponse{Severity: "FATAL", Message: "m"}, wire.Error{Severity: "FATAL", Message: "m"}},
		"nothing":      {pgproto3.ErrorResponse{}, wire.Error{}},
	} {
		b := body(t, &tt.msg)
		got, ok := wire.ParseError(b)
		if !ok || *got != tt.want {
			t.Errorf("%s: got %+v %v", name, got, ok)
		}
		severity, code := wire.ErrorCode(b)
		text(t, name, severity, tt.want.Severity)
		text(t, name, code, tt.want.Code)
	}
	severity, code := wire.ErrorCode([]byte("VFATAL\x00SHATA\x00C57P01\x00Mthe rest is lo"))
	text(t, "before the fault", severity, "FATAL")
	text(t, "before the fault", code, "57P01")
	for _, bad := range []string{"", "C", "C57P01", "C57P01\x00", "C57P01\x00\x00x", "\x00\x00"} {
		if e, ok := wire.ParseError([]byte(bad)); ok || e != nil {
			t.Errorf("%q passed for an ErrorResponse", bad)
		}
	}
}

func TestErrorAsGoError(t *testing.T) {
	e := &wire.Error{Code: wire.CodeAdminShutdown, Message: "bye"}
	if got := e.Error(); got != "ERROR: bye (SQLSTATE 57P01)" {
		t.Errorf("got %q", got)
	}
	if got := (&wire.Error{}).SQLState(); got != wire.CodeInternalError {
		t.Errorf("got %q", got)
	}
	if got := wire.ToldToClient(fmt.Errorf("session 7: %w", e)); got != e {
		t.Errorf("got %v", got)
	}
	if got := wire.ToldToClient(errors.New("dial tcp 10.0.0.1: password=secret")); got.Code != "XX000" || got.Message != "internal error" {
		t.Errorf("got %v", got)
	}
}
