package wire_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

func FuzzError(f *testing.F) {
	seeds(f, "", "\x00", "\x00\x00", "SFATAL\x00VFATAL\x00C57P01\x00Mbye\x00\x00", "SHATA\x00C42601\x00\x00", "Mno code\x00\x00", "C\x00\x00", "C57P01", "C57P01\x00",
		"VERROR\x00SHATA\x00\x00", "C1\x00C2\x00\x00", "V\x00SERROR\x00\x00", "M"+strings.Repeat("m", 9000)+"\x00\x00", "Ctoo long for a code\x00\x00")
	f.Fuzz(func(t *testing.T, b []byte) {
		if shifted := wire.AppendShiftedError([]byte("x"), b, 0); len(shifted) < 6 || int(binary.BigEndian.Uint32(shifted[2:])) != len(shifted)-2 {
			t.Fatalf("%q shifted is %q", b, shifted)
		}
		e, ok := wire.ParseError(b)
		severity, code := wire.ErrorCode(b)
		var m pgproto3.ErrorResponse
		err := m.Decode(b)
		if !ok {
			if end := bytes.Index(b, []byte("\x00\x00")); err == nil && end == len(b)-2 && b[0] != 0 {
				t.Fatalf("refused: %+v", m)
			}
			return
		}
		want := wire.Error{Severity: m.Severity, Code: m.Code, Message: m.Message, Detail: m.Detail, Hint: m.Hint}
		if hasField(b, 'V') {
			want.Severity = m.SeverityUnlocalized
		}
		if err != nil || *e != want || string(severity) != want.Severity || string(code) != want.Code {
			t.Fatalf("got %+v, %q %q; pgproto3 %+v %v", e, severity, code, want, err)
		}
		if again, ok := wire.ParseError(wire.AppendError(nil, e)[wire.HeaderLen:]); !ok || again.Message != e.Message || again.SQLState() != e.SQLState() {
			t.Fatalf("written again it is %+v", again)
		}
	})
}

// hasField looks for a field in the body of an error that is known to be whole.
func hasField(b []byte, field byte) bool {
	for len(b) > 1 {
		if b[0] == field {
			return true
		}
		b = b[1+bytes.IndexByte(b[1:], 0)+1:]
	}
	return false
}

func FuzzParameterStatus(f *testing.F) {
	seeds(f, "", "\x00", "\x00\x00", "TimeZone\x00UTC\x00", "TimeZone\x00UTC", "TimeZone\x00", "a\x00b\x00c\x00", strings.Repeat("a", 300)+"\x00"+strings.Repeat("b", 3000)+"\x00")
	f.Fuzz(func(t *testing.T, b []byte) {
		name, value, ok := wire.ParameterStatus(b)
		var m pgproto3.ParameterStatus
		err := m.Decode(b)
		if !ok {
			if err == nil && stable(&m, b) {
				t.Fatalf("refused: %+v", m)
			}
			return
		}
		if err != nil || string(name) != m.Name || string(value) != m.Value {
			t.Fatalf("got %q %q, pgproto3 %+v %v", name, value, m, err)
		}
		sameBody(t, wire.AppendParameterStatus(nil, string(name), string(value)), b)
	})
}

func FuzzNotification(f *testing.F) {
	seeds(f, "", "\x00\x00\x00", "\x00\x00\x00\x07", "\x00\x00\x00\x07c\x00p\x00", "\x00\x00\x00\x07c\x00p", "\x00\x00\x00\x07c\x00", "\xff\xff\xff\xff\x00\x00", "\x00\x00\x00\x07c\x00p\x00x")
	f.Fuzz(func(t *testing.T, b []byte) {
		pid, channel, payload, ok := wire.Notification(b)
		var m pgproto3.NotificationResponse
		err := m.Decode(b)
		if !ok {
			if err == nil && stable(&m, b) {
				t.Fatalf("refused: %+v", m)
			}
			return
		}
		if err != nil || pid != m.PID || string(channel) != m.Channel || string(payload) != m.Payload {
			t.Fatalf("got %d %q %q, pgproto3 %+v %v", pid, channel, payload, m, err)
		}
		sameBody(t, wire.AppendNotification(nil, pid, string(channel), string(payload)), b)
	})
}

func FuzzBackendKey(f *testing.F) {
	seeds(f, "", "\x00\x00\x00\x07", "\x00\x00\x00\x07abc", "\x00\x00\x00\x07abcd", "\xff\xff\xff\xff"+strings.Repeat("k", 32), "1234"+strings.Repeat("k", 256), "1234"+strings.Repeat("k", 257))
	f.Fuzz(func(t *testing.T, b []byte) {
		pid, secret, ok := wire.BackendKey(b)
		var m pgproto3.BackendKeyData
		err := m.Decode(b)
		if ok != (err == nil && len(m.SecretKey) <= 256) {
			t.Fatalf("got %v, pgproto3 %+v %v", ok, m, err)
		}
		if !ok {
			return
		}
		if pid != m.ProcessID || !bytes.Equal(secret, m.SecretKey) {
			t.Fatalf("got %d %x, pgproto3 %+v", pid, secret, m)
		}
		sameBody(t, wire.AppendBackendKeyData(nil, pid, secret), b)
	})
}

func FuzzCommandTag(f *testing.F) {
	seeds(f, "", "\x00", "SELECT 1\x00", "SELECT 1", "BEGIN\x00COMMIT\x00")
	f.Fuzz(func(t *testing.T, b []byte) {
		tag := wire.CommandTag(b)
		if !bytes.HasPrefix(b, tag) || bytes.IndexByte(tag, 0) >= 0 {
			t.Fatalf("got %q of %q", tag, b)
		}
		var m pgproto3.CommandComplete
		if m.Decode(b) == nil {
			if !bytes.Equal(tag, m.CommandTag) {
				t.Fatalf("got %q, pgproto3 %q", tag, m.CommandTag)
			}
			sameBody(t, wire.AppendCommandComplete(nil, string(tag)), b)
		}
	})
}

func FuzzReadyStatus(f *testing.F) {
	seeds(f, "", "I", "T", "E", "X", "\x00", "II")
	f.Fuzz(func(t *testing.T, b []byte) {
		status, ok := wire.ReadyStatus(b)
		if ok != (string(b) == "I" || string(b) == "T" || string(b) == "E") {
			t.Fatalf("got %v", ok)
		}
		if ok {
			sameBody(t, wire.AppendReadyForQuery(nil, status), b)
		}
	})
}
