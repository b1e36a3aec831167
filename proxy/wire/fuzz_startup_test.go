package wire_test

import (
	"bytes"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

func FuzzStartup(f *testing.F) {
	const v3 = "\x00\x03\x00\x00"
	seeds(f, "", "\x00\x03", v3, v3+"\x00", v3+user+"\x00", v3+user, v3+user+"\x00\x00", v3+user+"\x00x", v3+user+"\x00user\x00root\x00\x00", "\x00\x03\x00\x02"+user+"\x00",
		"\x00\x03\x27\x0f"+user+"_pq_.x\x00y\x00\x00", "\x00\x02\x00\x00"+user+"\x00", v3+"user\x00a\x00user\x00b\x00\x00", v3+"\x00\x00\x00\x00", v3+user+"database", v3+user+"database\x00x",
		v3+user+"search_path\x00evil\x00options\x00-c=\x00\x00", v3+user+"database\x00"+strings.Repeat("d", 9000)+"\x00\x00", v3+user+"a\x00"+strings.Repeat("x", 10_000)+"\x00\x00",
		v3+user+strings.Repeat("a\x00\x00", 3000)+"\x00", "\x04\xd2\x16\x2f", "\x04\xd2\x16\x30", "\x04\xd2\x16\x2fmore", "\x04\xd2\x16\x2e", "\x04\xd2\x16\x2e\x00\x00\x00\x01", "\x04\xd2\x16\x2e\x00\x00\x00\x01four",
		"\x04\xd2\x16\x2e\x00\x00\x00\x01"+strings.Repeat("k", 257), "\x04\xd2\x16\x31", "\xff\xff\xff\xff")
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := wire.DecodeStartup(b)
		switch {
		case err != nil:
			e, ok := errors.AsType[*wire.Error](err)
			if !ok || e.Severity != "FATAL" || len(e.Code) != 5 || s.Kind != 0 {
				t.Fatalf("got %+v %v", s, err)
			}
		case s.Kind == wire.StartupMessage:
			checkStartup(t, s, b)
		case s.Kind == wire.CancelRequest:
			samePacket(t, wire.AppendCancelRequest(nil, s.PID, s.Secret), b)
		case s.Kind == wire.SSLRequest && new(pgproto3.SSLRequest).Decode(b) == nil:
		case s.Kind == wire.GSSENCRequest && new(pgproto3.GSSEncRequest).Decode(b) == nil:
		default:
			t.Fatalf("got %+v", s)
		}
	})
}

func checkStartup(t *testing.T, s wire.Startup, b []byte) {
	t.Helper()
	samePacket(t, wire.AppendStartup(nil, s.Version, s.Params), b)
	if len(b) > wire.MaxStartup || s.Param("user") == "" {
		t.Fatalf("accepted %d bytes for user %q", len(b), s.Param("user"))
	}
	if s.Version != wire.Version30 && s.Version != wire.Version32 {
		return // pgproto3 knows no others
	}
	var m pgproto3.StartupMessage
	if err := m.Decode(b); err != nil {
		t.Fatalf("pgproto3 refuses it: %v", err)
	}
	ours := map[string]string{}
	for _, p := range s.Params {
		ours[p.Name] = p.Value
	}
	if !maps.Equal(ours, m.Parameters) {
		t.Fatalf("got %q, pgproto3 %q", ours, m.Parameters)
	}
}

// samePacket compares the body of a startup packet with the packet that an encoder made of its parts.
func samePacket(t *testing.T, packet, body []byte) {
	t.Helper()
	n, ok := wire.StartupLen(packet)
	if !ok || n != len(packet)-4 || !bytes.Equal(packet[4:], body) {
		t.Fatalf("written again it is another packet:\n got %q\nwant %q", packet, body)
	}
}

// FuzzOptions compares the splitting with that of a regular expression, and shows that any setting can be said.
func FuzzOptions(f *testing.F) {
	for _, s := range []string{
		"", "-c", "-c a", "-c a=b", "-ca=b", "--a-b=c", "--", "-- x", "-c=", "-c =", "--=", `\`, `-c a=\`, `-c a=\ b`, `-c a=\\`, "-c a=b -c", "-S 1", "-c a=b\v-c\fc=d", "---=",
		strings.Repeat(`\`, 99), strings.Repeat("-c a=b ", 20), "-c\xa0a=b", "-c a=\u2028",
	} {
		f.Add(s)
	}
	words := regexp.MustCompile(`(?s)(?:\\.|[^\t\n\v\f\r \\])+\\?|\\`)
	escape := regexp.MustCompile(`(?s)\\(.?)`)
	each := regexp.MustCompile(`(?s).`)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := wire.DecodeOptions(s)
		if e, ok := errors.AsType[*wire.Error](err); err != nil && (!ok || e.Severity != "FATAL" || got != nil) {
			t.Fatalf("got %v %v", got, err)
		}
		var split []string
		for _, w := range words.FindAllString(s, -1) {
			split = append(split, escape.ReplaceAllString(w, "$1"))
		}
		if want, ok := settings(split); ok != (err == nil) || !slices.Equal(got, want) {
			t.Fatalf("got %q %v, want %q %v", got, err, want, ok)
		}
		said := "-c a.b=" + each.ReplaceAllString(s, `\$0`)
		if got, err := wire.DecodeOptions(said); err != nil || len(got) != 1 || got[0] != (wire.Param{Name: "a.b", Value: s}) {
			t.Fatalf("got %q %v, want %q", got, err, s)
		}
	})
}

// settings is what getopt and PostgreSQL make of words, said another way.
func settings(words []string) (params []wire.Param, ok bool) {
	for len(words) > 0 && !slices.Equal(words, []string{"--"}) {
		w := words[0]
		words = words[1:]
		switch {
		case w == "-c" && len(words) > 0:
			w, words = words[0], words[1:]
		case strings.HasPrefix(w, "-c"), strings.HasPrefix(w, "--"):
			w = w[2:]
		default:
			return nil, false
		}
		at := strings.IndexByte(w, '=')
		if at < 1 {
			return nil, false
		}
		params = append(params, wire.Param{Name: strings.Join(strings.Split(w[:at], "-"), "_"), Value: w[at+1:]})
	}
	return params, true
}
