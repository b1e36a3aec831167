package wire_test

import (
	"bytes"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

func TestHeader(t *testing.T) {
	for name, tt := range map[string]struct {
		in   []byte
		typ  byte
		size int
		ok   bool
	}{
		"sync":                {[]byte{'S', 0, 0, 0, 4}, 'S', 5, true},
		"body not yet here":   {[]byte{'Q', 0, 0, 1, 0}, 'Q', 257, true},
		"more than one frame": {[]byte{'S', 0, 0, 0, 4, 'H', 0, 0, 0, 4}, 'S', 5, true},
		"largest":             {[]byte{'d', 0x40, 0, 0, 0}, 'd', 1<<30 + 1, true},
		"one too many":        {[]byte{'d', 0x40, 0, 0, 1}, 'd', 0, false},
		"2^31":                {[]byte{'p', 0x80, 0, 0, 0}, 'p', 0, false},
		"negative":            {[]byte{'Q', 0xff, 0xff, 0xff, 0xff}, 'Q', 0, false},
		"wraps with the type": {[]byte{'Q', 0xff, 0xff, 0xff, 0xfe}, 'Q', 0, false},
		"zero":                {[]byte{'Q', 0, 0, 0, 0}, 'Q', 0, false},
		"less than itself":    {[]byte{'Q', 0, 0, 0, 3}, 'Q', 0, false},
		"short":               {[]byte{'Q', 0, 0, 0}, 0, 0, false},
		"empty":               {nil, 0, 0, false},
	} {
		typ, size, ok := wire.Header(tt.in)
		if typ != tt.typ || size != tt.size || ok != tt.ok {
			t.Errorf("%s: got %q %d %v, want %q %d %v", name, typ, size, ok, tt.typ, tt.size, tt.ok)
		}
	}
}

func TestNextTakesWholeFramesOnly(t *testing.T) {
	stream := wire.AppendSync(wire.AppendQuery(nil, "select 1"))
	typ, body, rest, ok := wire.Next(stream)
	if !ok || typ != 'Q' || string(body) != "select 1\x00" || !bytes.Equal(rest, wire.AppendSync(nil)) {
		t.Fatalf("got %q %q %q %v", typ, body, rest, ok)
	}
	if cap(body) != len(body) {
		t.Error("appending to a body would write into the next frame")
	}
	query := len(stream) - len(rest)
	for n := range query {
		if _, _, rest, ok := wire.Next(stream[:n]); ok || len(rest) != n {
			t.Fatalf("%d bytes of %d passed for a frame", n, query)
		}
	}
}

func TestWalkOfLongStream(t *testing.T) {
	var stream []byte
	const frames = 1000
	for i := range frames {
		stream = wire.AppendFrame(stream, byte('A'+i%26), bytes.Repeat([]byte{byte(i)}, i))
	}
	rest := stream
	for i := range frames {
		typ, body, next, ok := wire.Next(rest)
		if !ok || typ != byte('A'+i%26) || len(body) != i {
			t.Fatalf("frame %d: %q of %d bytes, %v", i, typ, len(body), ok)
		}
		rest = next
	}
	if len(rest) != 0 {
		t.Fatalf("%d bytes are left", len(rest))
	}
}
