package simtest

import (
	"bytes"
	"fmt"
	"maps"
	"time"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// reference is a client alone on a direct connection: what it must see, whatever else goes on.
type reference struct {
	db      *Database
	b       *Backend
	prefix  string
	want    []byte // said by the backend, not observed yet
	got     []byte // observed, not whole frames yet
	acked   int    // frames observed
	said    int    // frames the backend has said
	history []version
	cancels int // pg_sleeps that were cancelled, so far
}

// version is the client's rows after a commit, and how many frames had been said by then.
type version struct {
	frames int
	rows   map[string]int32
}

func newReference(prefix string, major int) *reference {
	r := &reference{prefix: prefix}
	r.db = NewDatabase(func(time.Duration, func()) {}) // what is observed says how a sleep ends
	r.db.Major = major
	r.b = r.db.Start()
	r.history = []version{{0, map[string]int32{}}}
	r.b.committed = func() {
		rows := r.db.Rows(prefix)
		if last := r.history[len(r.history)-1]; !maps.Equal(last.rows, rows) {
			r.history = append(r.history, version{r.said + frames(r.b.out) + frames(r.b.obuf), rows})
		}
	}
	return r
}

// feed gives the reference what the client sends.
func (r *reference) feed(b []byte) {
	r.b.Feed(b)
	r.take()
}

func (r *reference) take() {
	if r.b.Asleep() {
		r.b.flush() // PostgreSQL says it when it wakes; how it wakes is read from what follows
	}
	said := r.b.Take()
	r.want = append(r.want, said...)
	r.said += frames(said)
}

// frames counts whole frames.
func frames(b []byte) (n int) {
	for len(b) > 0 {
		_, size, _ := wire.Header(b)
		b = b[size:]
		n++
	}
	return n
}

// settled reports whether everything that the client can wait for has come.
func (r *reference) settled() bool { return len(r.want) == 0 && len(r.got) == 0 && !r.b.Asleep() }

// owed is what has not been observed yet.
func (r *reference) owed() []byte { return r.want }

// observe compares what the client receives with what it must receive.
func (r *reference) observe(b []byte) error {
	r.got = append(r.got, b...)
	for len(r.got) >= wire.HeaderLen {
		typ, size, ok := wire.Header(r.got)
		if !ok {
			return fmt.Errorf("not a frame: %q", r.got[:wire.HeaderLen])
		}
		if size > len(r.got) {
			return nil
		}
		if err := r.frame(typ, r.got[wire.HeaderLen:size]); err != nil {
			return err
		}
		r.got = r.got[size:]
	}
	return nil
}

// errorAtHand is the error that the frame at hand, which did not fit, tells of.
func (r *reference) errorAtHand() (severity, code string) {
	typ, body, _, ok := wire.Next(r.got)
	if !ok || typ != 'E' {
		return "", ""
	}
	s, c := wire.ErrorCode(body)
	return string(s), string(c)
}

func (r *reference) frame(typ byte, body []byte) error {
	for len(r.want) == 0 && r.b.Asleep() {
		r.endSleep(typ, body)
	}
	if len(r.want) == 0 {
		return fmt.Errorf("frame %d: unexpected %s", r.acked, describe(typ, body))
	}
	wantTyp, size, _ := wire.Header(r.want)
	want := r.want[wire.HeaderLen:size]
	if typ != wantTyp || !same(typ, body, want) {
		return fmt.Errorf("frame %d: %s instead of %s", r.acked, describe(typ, body), describe(wantTyp, want))
	}
	r.want = r.want[size:]
	r.acked++
	return nil
}

// endSleep has the reference's pg_sleep end as the observed one did.
func (r *reference) endSleep(typ byte, body []byte) {
	if typ == 'E' {
		if _, code := wire.ErrorCode(body); string(code) == wire.CodeQueryCanceled {
			r.cancels++
			r.b.Cancel()
			r.take()
			return
		}
	}
	r.b.wake(nil)
	r.take()
}

// runOn lets the reference finish what was sent, although nobody observes it, and reports whether a sleep was in its
// way.
func (r *reference) runOn() (slept bool) {
	for r.b.Asleep() {
		slept = true
		r.b.wake(nil)
		r.take()
	}
	return slept
}

// same compares the bodies of two frames of a type. Texts of errors are the speaker's own, as are process numbers and
// the identity of a table.
func same(typ byte, a, b []byte) bool {
	switch typ {
	case 'E', 'N':
		severityA, codeA := wire.ErrorCode(a)
		severityB, codeB := wire.ErrorCode(b)
		return bytes.Equal(severityA, severityB) && bytes.Equal(codeA, codeB)
	case 'A':
		_, channelA, payloadA, okA := wire.Notification(a)
		_, channelB, payloadB, okB := wire.Notification(b)
		return okA && okB && bytes.Equal(channelA, channelB) && bytes.Equal(payloadA, payloadB)
	case 'T':
		return bytes.Equal(withoutTables(a), withoutTables(b))
	}
	return bytes.Equal(a, b)
}

// withoutTables is a RowDescription whose columns come from nowhere.
func withoutTables(body []byte) []byte {
	b := bytes.Clone(body)
	for rest := b[min(2, len(b)):]; len(rest) > 0; {
		end := bytes.IndexByte(rest, 0) + 1
		if end == 0 || len(rest) < end+18 {
			break
		}
		clear(rest[end : end+6])
		rest = rest[end+18:]
	}
	return b
}

func describe(typ byte, body []byte) string {
	if typ == 'E' || typ == 'N' {
		if e, ok := wire.ParseError(body); ok {
			return fmt.Sprintf("%c %s %s: %s", typ, e.Severity, e.Code, e.Message)
		}
	}
	return fmt.Sprintf("%c %q", typ, body)
}
