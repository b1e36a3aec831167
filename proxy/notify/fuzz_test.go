package notify

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// script is a server that says what it says and hears nothing.
type script struct {
	net.Conn
	io.Reader
}

func (s script) Read(b []byte) (int, error)       { return s.Reader.Read(b) }
func (script) Write(b []byte) (int, error)        { return len(b), nil }
func (script) SetDeadline(time.Time) error        { return nil }
func (script) Close() error                       { return nil }
func (script) SetWriteDeadline(_ time.Time) error { return nil }

// FuzzServer: whatever a server says, in whatever pieces, costs its connection and nothing else: counts stay right, every
// question is answered once, nobody hears of a channel that it is not in.
func FuzzServer(f *testing.F) {
	said := wire.AppendNotification(nil, 7, "a", "payload")
	ready := wire.AppendReadyForQuery(nil, 'I')
	refused := wire.AppendError(nil, &wire.Error{Code: "25006", Message: "no"})
	f.Add(bytes.Join([][]byte{said, wire.AppendCommandComplete(nil, "LISTEN"), ready, said, said}, nil), false)
	f.Add(bytes.Join([][]byte{refused, ready, said, ready}, nil), true)
	f.Add(wire.AppendError(nil, &wire.Error{Severity: "FATAL", Code: "57P01", Message: "bye"}), true)
	f.Add(bytes.Join([][]byte{wire.AppendParameterStatus(nil, "a", "b"), wire.AppendNotice(nil, &wire.Error{}), wire.AppendEmptyQuery(nil), ready}, nil), true)
	f.Add([]byte("Z\x00\x00\x00\x05T"), false)
	f.Add([]byte("A\xff\xff\xff\xff"), false)
	f.Add([]byte("A\x00\x20\x00\x00"), false)
	f.Fuzz(func(t *testing.T, stream []byte, slowly bool) {
		h := New(context.Background(), nil, slog.New(slog.DiscardHandler), Options{MaxQueued: 20})
		h.running = true // by this test
		in := io.Reader(bytes.NewReader(stream))
		if slowly {
			in = iotest.OneByteReader(in)
		}
		k := newLink(&dial.Server{Conn: script{Reader: in}})
		h.attach(k)
		answers := 0
		a, b := h.Join(func() {}), h.Join(func() {})
		a.Listen([]string{"a", "b"}, func(error) { answers++ })
		b.Listen([]string{"b"}, func(error) { answers++ })
		if packet, _, err := h.next(k, nil); err != nil || len(packet) == 0 {
			t.Fatal(err)
		}
		err := h.listen(k)
		if err == nil {
			t.Fatal("it goes on")
		}
		scratch := make([]Notification, 1000)
		for _, l := range []*Listener{a, b} {
			n, err := l.Read(scratch)
			for _, heard := range scratch[:n] {
				if heard.Channel != "a" && heard.Channel != "b" || l == b && heard.Channel == "a" {
					t.Errorf("%+v", heard)
				}
			}
			if err != nil && !errors.Is(err, ErrOverflow) {
				t.Error(err)
			}
		}
		if queued := h.queued.Load(); queued != 0 {
			t.Errorf("%d bytes are in no queue", queued)
		}
		h.detach(k, err)
		a.Leave()
		b.UnlistenAll()
		if len(h.channels) != 0 {
			t.Errorf("left: %v", h.channels)
		}
		h.Close()
		if answers > 2 {
			t.Errorf("%d answers to 2 questions", answers)
		}
	})
}
