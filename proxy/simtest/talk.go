package simtest

import (
	"fmt"
	"math/rand/v2"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Burst is frames that a client sends together.
type Burst struct {
	Frames []byte
	Waits  bool // for everything that is answered before
	Nags   bool // a cancel request follows
}

// Talk makes up a conversation that knows where it stands, by asking a Reference: most of it makes sense, bursts end
// anywhere, and data follows a COPY.
type Talk struct {
	Resets bool // it may say RESET and DISCARD, which return to what the server process was started with
	Mixed  bool // as Traits.Mixed
	Nags   bool

	rnd    *rand.Rand
	mark   string
	ref    *Reference
	params map[string]string // of the statements it believes to have: t, k and i for texts, keys and numbers
	serial int
	bursts []Burst
	b      []byte // of the burst being made
}

// NewTalk begins the conversation of a client with a mark of its own, which is asked of ref as it is made up.
func NewTalk(rnd *rand.Rand, mark string, ref *Reference) *Talk {
	return &Talk{rnd: rnd, mark: mark, ref: ref, params: map[string]string{}}
}

// Hold returns so many rounds of it, and its end.
func (t *Talk) Hold(rounds int) []Burst {
	for range rounds {
		t.round()
	}
	for range 3 { // whatever state it is in, this ends it
		if copying, _, _, _ := t.ref.State(); copying {
			t.add(wire.AppendCopyFail(nil, t.word()))
		}
		t.add(wire.AppendSync(nil))
		t.burst(true)
		if _, _, _, status := t.ref.State(); status != 'I' {
			t.add(wire.AppendQuery(nil, "rollback"))
			t.burst(true)
		}
	}
	t.add(wire.AppendQuery(nil, fmt.Sprintf("select '%s'", t.word())))
	t.burst(true)
	return t.bursts
}

func (t *Talk) add(frame []byte) { t.b = append(t.b, frame...) }

// burst ends a burst.
func (t *Talk) burst(waits bool) {
	if len(t.b) == 0 {
		return
	}
	t.ref.Ask(t.b)
	t.bursts = append(t.bursts, Burst{t.b, waits, t.Nags && t.one(4)})
	t.b = nil
}

func (t *Talk) maybeBurst() {
	if t.one(4) {
		t.burst(t.one(2))
	}
}

func (t *Talk) one(of int) bool { return t.rnd.IntN(of) == 0 }

// round is one request, or a few.
func (t *Talk) round() {
	t.burst(!t.one(3))
	copying, skipping, _, _ := t.ref.State()
	switch {
	case t.ref.Ended(len(t.bursts)):
	case copying && !t.one(40):
		t.copyRound()
	case skipping && !t.one(4):
		t.add(wire.AppendSync(nil))
	case t.rnd.IntN(5) < 2:
		t.simple()
	default:
		t.extendedRound()
	}
	t.burst(!t.one(3))
}

func (t *Talk) simple() {
	if _, _, open, _ := t.ref.State(); open && !t.Mixed {
		t.add(wire.AppendSync(nil))
	}
	n := 1
	if t.one(4) {
		n = t.rnd.IntN(4)
	}
	text := ""
	for range n {
		sql, _ := t.text(false)
		text += sql + "; "
	}
	if n == 1 {
		text = text[:len(text)-2]
	}
	t.add(wire.AppendQuery(nil, text))
}

// extendedRound is a pipeline that mostly ends with a Sync.
func (t *Talk) extendedRound() {
	for range 1 + t.rnd.IntN(3) {
		t.extended()
		if copying, _, _, _ := t.ref.State(); copying {
			return
		}
	}
	switch i := t.rnd.IntN(12); {
	case i < 9:
		t.add(wire.AppendSync(nil))
	case i < 11:
		t.add(wire.AppendFlush(nil))
	}
}

// extended is one use of a statement: any part of Parse, Describe, Bind, Describe, Execute, Close.
func (t *Talk) extended() {
	name, portal := t.name(), ""
	if t.one(5) {
		portal = "p"
	}
	_, known := t.params[name]
	if !known || name == "" && t.one(2) || t.one(20) {
		if known && name != "" && !t.one(3) {
			t.add(wire.AppendClose(nil, 'S', name))
		}
		sql, params := t.text(true)
		t.params[name] = params
		t.add(wire.AppendParse(nil, name, sql, nil))
		t.maybeBurst()
	}
	if t.one(3) {
		t.add(wire.AppendDescribe(nil, 'S', name))
		t.maybeBurst()
	}
	if t.one(6) {
		t.add(wire.AppendSync(nil)) // prepare now, use it in a request of its own
		t.maybeBurst()
	}
	t.use(name, portal)
	if t.one(12) {
		t.add(wire.AppendClose(nil, 'S', name))
		delete(t.params, name)
	}
}

func (t *Talk) name() string { return []string{"", "", "a", "b", "c"}[t.rnd.IntN(5)] }

// use binds and executes a statement.
func (t *Talk) use(name, portal string) {
	if t.one(15) {
		return
	}
	kinds := t.params[name]
	if t.one(60) {
		kinds += "t"
	}
	var params [][]byte
	for _, kind := range kinds {
		params = append(params, t.param(kind))
	}
	t.add(wire.AppendBind(nil, portal, name, nil, params, nil))
	t.maybeBurst()
	if t.one(2) {
		t.add(wire.AppendDescribe(nil, 'P', portal))
	}
	for range 1 + t.rnd.IntN(2)*t.rnd.IntN(2) {
		most := int32(0)
		if t.one(3) {
			most = int32(1 + t.rnd.IntN(3))
		}
		t.add(wire.AppendExecute(nil, portal, most))
		t.maybeBurst()
	}
	if t.one(8) {
		t.add(wire.AppendClose(nil, 'P', portal))
	}
}

func (t *Talk) param(kind rune) []byte {
	switch {
	case t.one(60):
		return []byte(t.word())
	case kind == 'k':
		return []byte(t.key())
	case kind == 'i':
		return fmt.Append(nil, t.number())
	}
	return []byte(t.word())
}

// copyRound sends data, and mostly ends it.
func (t *Talk) copyRound() {
	for range t.rnd.IntN(4) {
		switch i := t.rnd.IntN(20); {
		case i == 0:
			t.add(wire.AppendCopyData(nil, []byte(t.mark+".bad\n")))
		case i == 1:
			t.add(wire.AppendFlush(nil))
		case i == 2:
			t.add(wire.AppendSync(nil))
		default:
			t.copyData()
		}
		t.maybeBurst()
	}
	switch i := t.rnd.IntN(8); {
	case i < 5:
		t.add(wire.AppendCopyDone(nil))
	case i < 7:
		t.add(wire.AppendCopyFail(nil, t.word()))
	default:
		return
	}
	if !t.one(3) {
		t.add(wire.AppendSync(nil))
	}
}

// copyData is a row, in one message or two.
func (t *Talk) copyData() {
	key := t.word()
	if t.one(8) {
		key = t.key() // which may be there
	}
	row := fmt.Appendf(nil, "%s\t%d\n", key, t.number())
	cut := len(row)
	if t.one(4) {
		cut = 1 + t.rnd.IntN(len(row))
	}
	t.add(wire.AppendCopyData(nil, row[:cut]))
	if cut < len(row) {
		t.maybeBurst()
		t.add(wire.AppendCopyData(nil, row[cut:]))
	}
}
