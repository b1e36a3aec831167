package wire_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// The oracle of these tests is pgproto3, which the drivers and servers of others speak with: what it writes we must
// read, what we write it must read, and both must write the same bytes.

// theirs is a message as pgproto3 writes it.
func theirs(tb testing.TB, m pgproto3.Message) []byte {
	tb.Helper()
	b, err := m.Encode(nil)
	if err != nil {
		tb.Fatalf("pgproto3 cannot encode %T: %v", m, err)
	}
	return b
}

// body is what a decoder gets of a message that pgproto3 wrote.
func body(tb testing.TB, m pgproto3.Message) []byte {
	tb.Helper()
	return theirs(tb, m)[wire.HeaderLen:]
}

// stable says whether pgproto3 writes a message again as it read it: then nothing in it was passed over.
func stable(m pgproto3.Message, body []byte) bool {
	b, err := m.Encode(nil)
	return err == nil && bytes.Equal(b[wire.HeaderLen:], body)
}

// sameFrame compares what we wrote with what pgproto3 writes, and shows that appending left dst alone.
func sameFrame(t *testing.T, appendTo func(dst []byte) []byte, m pgproto3.Message) {
	t.Helper()
	const before = "what was there"
	got, ok := bytes.CutPrefix(appendTo([]byte(before)), []byte(before))
	if !ok {
		t.Fatalf("%T: dst was changed", m)
	}
	if want := theirs(t, m); !bytes.Equal(got, want) {
		t.Fatalf("%T:\n got %q\nwant %q", m, got, want)
	}
}

// serverReads is a frame as pgproto3's side of the server receives it.
func serverReads(t *testing.T, frame []byte, auth uint32) pgproto3.FrontendMessage {
	t.Helper()
	b := pgproto3.NewBackend(bytes.NewReader(frame), io.Discard)
	if err := b.SetAuthType(auth); err != nil {
		t.Fatal(err)
	}
	m, err := b.Receive()
	if err != nil {
		t.Fatalf("pgproto3 cannot receive %q: %v", frame, err)
	}
	return m
}

// clientReads is a frame as pgproto3's side of the client receives it.
func clientReads(t *testing.T, frame []byte) pgproto3.BackendMessage {
	t.Helper()
	m, err := pgproto3.NewFrontend(bytes.NewReader(frame), io.Discard).Receive()
	if err != nil {
		t.Fatalf("pgproto3 cannot receive %q: %v", frame, err)
	}
	return m
}

// text compares a decoded text.
func text[T ~string | ~[]byte](t *testing.T, what string, got []byte, want T) {
	t.Helper()
	if string(got) != string(want) {
		t.Fatalf("%s: got %q, want %q", what, got, string(want))
	}
}
