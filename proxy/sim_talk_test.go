package proxy

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/simtest/model"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// simTalk makes up a conversation, most of it sensible, with the help of a server of its own.
type simTalk struct {
	r      *rand.Rand
	tag    string
	ref    *model.Reference
	params map[string]int // of the statements it believes to have
	resets bool
	nags   bool
	serial int
	bursts []simBurst
	b      []byte // of the burst being made
}

// hold returns the whole conversation.
func (t *simTalk) hold() []simBurst {
	for range 3 + t.r.IntN(10) {
		t.round()
	}
	for range 3 { // whatever state it is in, this ends it
		if copying, _, _, _ := t.ref.State(); copying {
			t.add(wire.AppendCopyFail(nil, t.tag))
		}
		t.add(wire.AppendSync(nil))
		t.burst(true)
		if _, _, dead, status := t.ref.State(); !dead && status != 'I' {
			t.add(wire.AppendQuery(nil, "rollback "+t.tag))
			t.burst(true)
		}
	}
	t.add(wire.AppendQuery(nil, "select "+t.tag+" end"+t.tag))
	t.burst(true)
	return t.bursts
}

func (t *simTalk) add(frame []byte) { t.b = append(t.b, frame...) }

// burst ends a burst.
func (t *simTalk) burst(waits bool) {
	if len(t.b) == 0 {
		return
	}
	t.ref.Ask(t.b)
	t.bursts = append(t.bursts, simBurst{b: t.b, waits: waits, nags: t.nags && t.r.IntN(4) == 0})
	t.b = nil
}

func (t *simTalk) maybeBurst() {
	if t.r.IntN(4) == 0 {
		t.burst(t.r.IntN(2) == 0)
	}
}

func (t *simTalk) one(of int) bool { return t.r.IntN(of) == 0 }

// round is one request, or a few.
func (t *simTalk) round() {
	t.burst(t.r.IntN(3) > 0)
	copying, skipping, dead, _ := t.ref.State()
	switch {
	case dead:
	case copying && !t.one(40):
		t.copyRound()
	case skipping && !t.one(4):
		t.add(wire.AppendSync(nil))
	case t.r.IntN(5) < 2:
		t.simple()
	default:
		t.extendedRound()
	}
	t.burst(t.r.IntN(3) > 0)
}

func (t *simTalk) simple() {
	n := 1
	if t.one(4) {
		n = t.r.IntN(4)
	}
	var parts []string
	for range n {
		sql, _ := t.text(false)
		parts = append(parts, sql)
	}
	t.add(wire.AppendQuery(nil, strings.Join(parts, "; ")))
}

func (t *simTalk) key() string { return fmt.Sprintf("%sk%d", t.tag, t.r.IntN(4)) }

func (t *simTalk) word() string {
	t.serial++
	return fmt.Sprintf("w%d", t.serial)
}

// text makes a statement; with parameters if wanted.
func (t *simTalk) text(params bool) (sql string, n int) {
	word, count := t.word(), t.r.IntN(6)
	if t.one(30) {
		count = 200
	}
	arg := func(plain string) string {
		if !params || t.one(2) {
			return plain
		}
		n++
		return fmt.Sprintf("$%d", n)
	}
	_, _, _, status := t.ref.State()
	switch i := t.r.IntN(40); {
	case i < 4:
		sql = fmt.Sprintf("select %s %s", t.tag, arg(word))
	case i < 6:
		sql = fmt.Sprintf("select %s fixed", t.tag)
	case i < 10:
		sql = fmt.Sprintf("rows %s %d %s", t.tag, count, arg(word))
	case i < 15:
		sql = fmt.Sprintf("put %s %s %s", t.tag, t.key(), arg(word))
	case i < 18:
		sql = fmt.Sprintf("get %s %s", t.tag, t.key())
	case i < 20:
		sql = "fail " + t.tag
	case i < 21:
		sql = fmt.Sprintf("partial %s %d", t.tag, count)
	case i < 22:
		sql = fmt.Sprintf("notice %s %s", t.tag, word)
	case i < 24:
		sql = fmt.Sprintf("sleep %s %d", t.tag, t.r.IntN(4))
	case i < 29 && status == 'I':
		sql = "begin " + t.tag
	case i < 32:
		sql = "commit " + t.tag
	case i < 34:
		sql = "rollback " + t.tag
	case i < 36:
		sql = fmt.Sprintf("copyin %s %s", t.tag, t.key())
	case i < 37:
		sql = fmt.Sprintf("copyout %s %d %s", t.tag, count, word)
	case i < 38:
		sql = "show " + t.tag
	case i < 39 && t.one(3):
		sql = fmt.Sprintf("set %s %s", t.tag, t.tag+word)
		if t.resets && t.one(2) {
			sql = "reset " + t.tag
		}
	case i < 40 && t.one(2):
		sql = "nonsense " + t.tag
	}
	return sql, n
}

var simNames = []string{"", "", "a", "b", "c"}

func (t *simTalk) name() string { return simNames[t.r.IntN(len(simNames))] }

// extendedRound is a pipeline that mostly ends with a Sync.
func (t *simTalk) extendedRound() {
	for range 1 + t.r.IntN(3) {
		t.extended()
		if copying, _, _, _ := t.ref.State(); copying {
			return
		}
	}
	switch i := t.r.IntN(12); {
	case i < 9:
		t.add(wire.AppendSync(nil))
	case i < 11:
		t.add(wire.AppendFlush(nil))
	}
}

// extended is one use of a statement: any part of Parse, Describe, Bind, Describe, Execute, Close.
func (t *simTalk) extended() {
	name, portal := t.name(), ""
	if t.one(5) {
		portal = "p"
	}
	_, known := t.params[name]
	if !known || name == "" && t.one(2) || t.one(20) {
		if known && name != "" && !t.one(3) {
			t.add(wire.AppendClose(nil, 'S', name))
		}
		sql, n := t.text(true)
		t.params[name] = n
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

// use binds and executes a statement.
func (t *simTalk) use(name, portal string) {
	if t.one(15) {
		return
	}
	n := t.params[name]
	if t.one(60) {
		n++
	}
	var params [][]byte
	for range n {
		params = append(params, []byte(t.word()+t.tag))
	}
	t.add(wire.AppendBind(nil, portal, name, nil, params, nil))
	t.maybeBurst()
	if t.one(2) {
		t.add(wire.AppendDescribe(nil, 'P', portal))
	}
	for range 1 + t.r.IntN(2)*t.r.IntN(2) {
		most := int32(0)
		if t.one(3) {
			most = int32(1 + t.r.IntN(3))
		}
		t.add(wire.AppendExecute(nil, portal, most))
		t.maybeBurst()
	}
	if t.one(8) {
		t.add(wire.AppendClose(nil, 'P', portal))
	}
}

// copyRound sends data, and mostly ends it.
func (t *simTalk) copyRound() {
	for range t.r.IntN(4) {
		switch i := t.r.IntN(20); {
		case i == 0:
			t.add(wire.AppendCopyData(nil, []byte(t.tag+" bad")))
		case i == 1:
			t.add(wire.AppendFlush(nil))
		case i == 2:
			t.add(wire.AppendSync(nil))
		default:
			t.add(wire.AppendCopyData(nil, []byte(t.tag+" "+t.word())))
		}
		t.maybeBurst()
	}
	switch i := t.r.IntN(8); {
	case i < 5:
		t.add(wire.AppendCopyDone(nil))
	case i < 7:
		t.add(wire.AppendCopyFail(nil, t.tag))
	default:
		return
	}
	if t.r.IntN(3) > 0 {
		t.add(wire.AppendSync(nil))
	}
}
