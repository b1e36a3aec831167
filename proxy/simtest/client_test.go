package simtest

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/loop/sim"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// asked makes a client that has sent a query and been answered nothing yet.
func asked(sql string) *Client {
	w := sim.New(1, slog.New(slog.DiscardHandler))
	theirs, _ := w.Pair("client", "server")
	ref := NewReference("", 18)
	talk := []Burst{{Frames: wire.AppendQuery(nil, sql)}}
	ref.Ask(talk[0].Frames)
	c := NewClient(w, theirs, 1, talk, ref)
	c.Mark, c.greeted, c.last, c.next = "c", true, 'I', 1
	return c
}

func (c *Client) hear(frames ...[]byte) *Client {
	for _, f := range frames {
		for _, b := range f { // in any pieces
			c.in = append(c.in, b)
			c.frames()
		}
	}
	return c
}

// The right answer passes; anything else does not.
func TestClientNotices(t *testing.T) {
	row := dataRow(value{n: 7}, int4("?column?")[0], 0)
	right := [][]byte{
		rowDescription(int4("?column?"), nil), row, wire.AppendCommandComplete(nil, "SELECT 1"), wire.AppendReadyForQuery(nil, 'I'),
	}
	if c := asked("select 7").hear(right...); c.Err() != nil || !c.complete() {
		t.Errorf("the right answer: %v, complete %v", c.Err(), c.complete())
	}
	said := func(severity, code, message string) []byte {
		e := &wire.Error{Severity: severity, Code: code, Message: message}
		if severity == "NOTICE" {
			return wire.AppendNotice(nil, e)
		}
		return wire.AppendError(nil, e)
	}
	wrong := map[string][][]byte{
		"another value":      {right[0], dataRow(value{n: 8}, int4("?column?")[0], 0)},
		"a row twice":        {right[0], row, row},
		"no row":             {right[0], right[2]},
		"another status":     {right[0], row, right[2], wire.AppendReadyForQuery(nil, 'T')},
		"one ready too many": {right[0], row, right[2], right[3], right[3]},
		"a foreign notice":   {said("NOTICE", "00000", "x")},
		"a foreign cancel":   {said("ERROR", canceled().Code, canceled().Message)},
		"a farewell":         {said("FATAL", wire.CodeAdminShutdown, "x")},
	}
	for name, frames := range wrong {
		if c := asked("select 7").hear(frames...); !errors.Is(c.Err(), ErrWrong) {
			t.Errorf("%s was accepted", name)
		}
	}
}

// A cancel request may hit or not; each hits once.
func TestClientFollowsACancel(t *testing.T) {
	described := rowDescription([]column{{"pg_sleep", oidVoid, 4}}, nil)
	row, tag := dataRow(value{}, column{"pg_sleep", oidVoid, 4}, 0), wire.AppendCommandComplete(nil, "SELECT 1")
	hit, ready := wire.AppendError(nil, canceled()), wire.AppendReadyForQuery(nil, 'I')
	for i, answer := range [][][]byte{{described, row, tag, ready}, {described, hit, ready}, {hit, ready}} {
		c := asked("select pg_sleep(0.001)")
		c.cancels = 1
		if c.hear(answer...); c.Err() != nil || !c.complete() {
			t.Errorf("answer %d: %v, complete %v", i, c.Err(), c.complete())
		}
	}
	c := asked("select pg_sleep(0.001); select pg_sleep(0.001)")
	c.cancels = 1
	if c.hear(described, hit, hit); !errors.Is(c.Err(), ErrWrong) {
		t.Error("hit twice by one request")
	}
}

// Rows that nobody wrote, and rows that are not there, are noticed.
func TestClientChecksRows(t *testing.T) {
	const put = "insert into kv values ('c.1', 3)"
	done := [][]byte{wire.AppendCommandComplete(nil, "INSERT 0 1"), wire.AppendReadyForQuery(nil, 'I')}
	for name, test := range map[string]struct {
		heard int
		rows  map[string]int32
		right bool
	}{
		"told, and there":         {2, map[string]int32{"c.1": 3}, true},
		"told, and not there":     {2, nil, false},
		"not told, and there":     {0, map[string]int32{"c.1": 3}, true},
		"not told, and not there": {0, nil, true},
		"another":                 {0, map[string]int32{"c.1": 4}, false},
		"somebody else's":         {2, map[string]int32{"c.1": 3, "d.1": 4}, true},
	} {
		c, db := asked(put).hear(done[:test.heard]...), NewDatabase(nil)
		for k, v := range test.rows {
			db.rows[k] = v
		}
		if err := c.CheckRows(db, false); (err == nil) != test.right {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A process notices when requests of two clients mingle.
func TestBackendNotices(t *testing.T) {
	const a, b = "/*a.*/ ", "/*b.*/ "
	for _, test := range []struct {
		asked []string
		right bool
	}{
		{[]string{a + "select 1", b + "select 1"}, true},
		{[]string{a + "begin", a + "commit", b + "select 1"}, true},
		{[]string{a + "begin", b + "select 1"}, false},
		{[]string{"begin", "insert into kv values ('a.1', 1)", "insert into kv values ('b.1', 1)"}, false},
		{[]string{a + "set application_name = 'x'", b + "show application_name"}, true}, // b sees it in the answer
		{[]string{a + "listen news", b + "select 1"}, false},
		{[]string{a + "listen news", a + "unlisten *", b + "select 1"}, true},
		{[]string{a + "listen news", "discard all", b + "select 1"}, true},
		{[]string{a + "prepare p as select 1", b + "select 1"}, false},
		{[]string{a + "prepare p as select 1", a + "deallocate p", b + "select 1"}, true},
	} {
		p := NewDatabase(nil).Start("")
		for _, sql := range test.asked {
			p.Feed(wire.AppendQuery(nil, sql))
		}
		if err := p.Violation(); (err == nil) != test.right {
			t.Errorf("%q: %v", test.asked, err)
		}
	}
}

func FuzzBackend(f *testing.F) {
	f.Add(wire.AppendSync(wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", "select $1::int4", nil), "", "", nil,
		[][]byte{[]byte("7")}, nil), "", 0)))
	f.Add(wire.AppendCopyDone(wire.AppendCopyData(wire.AppendQuery(nil, "copy kv from stdin"), []byte("a\t1\n"))))
	f.Add(wire.AppendQuery(nil, "begin; savepoint a; select 1/0; rollback to a; commit"))
	f.Add(callInt4pl(1, 2))
	f.Fuzz(func(t *testing.T, in []byte) {
		b := NewDatabase(nil).Start("")
		b.Feed(in)
		for _, typ := range []byte(typesOf(b.Take())) {
			if typ == 0 {
				t.Fatal("the model said something that is no frame")
			}
		}
	})
}

// typesOf is the types of whole frames; a 0 stands for what is none.
func typesOf(b []byte) (types string) {
	for len(b) > 0 {
		typ, _, rest, ok := wire.Next(b)
		if !ok {
			return types + "\x00"
		}
		types += string(rune(typ))
		b = rest
	}
	return types
}
