package proxy

import (
	"slices"
	"testing"
)

// kinds is a ledger as text.
func kinds(l *ledger) string {
	var s []byte
	for _, e := range l.q[l.head:] {
		s = append(s, e.kind)
	}
	return string(s)
}

func TestCutCopy(t *testing.T) {
	for _, c := range []struct {
		before, after string
		ended         bool
		syncs         int
		ok            bool
	}{
		{"Q", "Q", false, 0, true},
		{"E", "E", false, 0, true},
		{"ES", "E", false, 1, true},     // the Sync behind Execute is read by the COPY
		{"ESc", "E", true, 1, true},     // and the end of the data stands behind it
		{"EcS", "ES", true, 0, true},    // as it should be
		{"EScS", "ES", true, 1, true},   // as libpq's xproto tests do
		{"ESSScS", "ES", true, 3, true}, // several
		{"EcSPBES", "ESPBES", true, 0, true},
		{"EScSPBESc", "ESPBESc", true, 1, true}, // the end of a second COPY is left alone
		{"EP", "EP", false, 0, false},           // what has no place in a COPY
		{"ESQ", "ESQ", false, 1, false},
		{"EBc", "EBc", false, 0, false},
		{"Ecc", "Ec", true, 0, true}, // the second end is late, and nothing to the server
	} {
		var l ledger
		l.push(entry{kind: kindSync}) // answered already
		for i := range len(c.before) {
			l.push(entry{kind: c.before[i]})
		}
		l.pop()
		ended, syncs, ok := l.cutCopy()
		if got := kinds(&l); got != c.after || ended != c.ended || syncs != c.syncs || ok != c.ok {
			t.Errorf("%s: %s %v %d %v, want %s %v %d %v", c.before, got, ended, syncs, ok, c.after, c.ended, c.syncs, c.ok)
		}
	}
}

// modelLedger is a plain list.
type modelLedger []byte

// drop removes the marks before the first entry that has a reply.
func (m *modelLedger) drop() {
	for len(*m) > 0 && (*m)[0] == kindCopyEnd {
		*m = (*m)[1:]
	}
}

func (m *modelLedger) cutCopy() (ended bool, syncs int, ok bool) {
	rest := (*m)[1:]
	for i, k := range rest {
		switch k {
		case kindSync:
			syncs++
		case kindCopyEnd:
			*m = slices.Concat((*m)[:1], rest[i+1:])
			return true, syncs, true
		default:
			return false, syncs, false
		}
	}
	*m = (*m)[:1]
	return false, syncs, true
}

// FuzzLedger: whatever is pushed, popped and cut, the ledger is the list.
func FuzzLedger(f *testing.F) {
	f.Add([]byte("QSPBDdECHcF....."))
	f.Add([]byte("ESc!.EScS!.."))
	f.Add([]byte("cccccSc.c?c"))
	f.Add([]byte("QQQQ..!?QSSSc!...?"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		var l ledger
		var m modelLedger
		for _, op := range ops {
			switch op {
			case '.':
				m.drop()
				if e := l.first(); (e == nil) != (len(m) == 0) || e != nil && e.kind != m[0] {
					t.Fatalf("the first is %v, want %q", e, m)
				}
				if len(m) > 0 {
					m = m[1:]
					l.pop()
				}
			case '?':
				m.drop()
				if l.settled() != (len(m) == 0) {
					t.Fatalf("settled with %q", m)
				}
			case '!':
				m.drop()
				if l.first() == nil {
					continue
				}
				e1, s1, ok1 := l.cutCopy()
				e2, s2, ok2 := m.cutCopy()
				if e1 != e2 || s1 != s2 || ok1 != ok2 {
					t.Fatalf("cut: %v %d %v, want %v %d %v", e1, s1, ok1, e2, s2, ok2)
				}
			case 0:
				l.reset()
				m = nil
			default:
				l.push(entry{kind: op})
				m = append(m, op)
			}
			if kinds(&l) != string(m) || l.len() != len(m) || l.empty() != (len(m) == 0) {
				t.Fatalf("after %q: %q, want %q", op, kinds(&l), m)
			}
		}
	})
}

// A huge pipeline's ledger is not kept, an ordinary one's is.
func TestLedgerMemory(t *testing.T) {
	var l ledger
	for range 100 {
		l.push(entry{kind: kindSync})
	}
	for range 100 {
		l.pop()
	}
	if cap(l.q) < 100 || l.head != 0 {
		t.Error("an ordinary ledger is not used again")
	}
	for range 10000 {
		l.push(entry{kind: kindSync})
	}
	for range 10000 {
		l.pop()
	}
	if cap(l.q) != 0 {
		t.Errorf("%d entries are kept", cap(l.q))
	}
	// A ledger that never runs empty must not grow for ever.
	l.push(entry{kind: kindSync})
	for range 100000 {
		l.push(entry{kind: kindSync})
		l.pop()
	}
	if cap(l.q) > 10000 {
		t.Errorf("a pipeline of one frame at a time takes room for %d entries", cap(l.q))
	}
}
