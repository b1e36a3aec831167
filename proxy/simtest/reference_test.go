package simtest

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/loop/sim"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

func answer(t *testing.T, r *reference, frames ...[]byte) error {
	t.Helper()
	for _, f := range frames {
		if err := r.observe(f); err != nil {
			return err
		}
	}
	return nil
}

// The right answer passes in any pieces; anything else does not.
func TestReference(t *testing.T) {
	row := dataRow(value{n: 7}, int4("?column?")[0], 0)
	right := [][]byte{
		rowDescription(int4("?column?"), nil), row, wire.AppendCommandComplete(nil, "SELECT 1"), wire.AppendReadyForQuery(nil, 'I'),
	}
	ask := func() *reference {
		r := newReference("c.", 18)
		r.feed(wire.AppendQuery(nil, "select 7"))
		return r
	}
	r := ask()
	for _, f := range right {
		for _, b := range f {
			if r.settled() {
				t.Error("settled before the end")
			}
			if err := r.observe([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !r.settled() {
		t.Errorf("not settled; owed: %s", show(r.owed()))
	}
	wrong := map[string][][]byte{
		"another value":      {right[0], dataRow(value{n: 8}, int4("?column?")[0], 0)},
		"a row twice":        {right[0], row, row},
		"no row":             {right[0], right[2]},
		"another status":     {right[0], row, right[2], wire.AppendReadyForQuery(nil, 'T')},
		"a foreign notice":   {wire.AppendNotice(nil, &wire.Error{Severity: "NOTICE", Code: "00000", Message: "x"})},
		"one ready too many": {right[0], row, right[2], right[3], right[3]},
		"a foreign cancel":   {wire.AppendError(nil, &wire.Error{Code: wire.CodeQueryCanceled, Message: "x"})},
	}
	for name, frames := range wrong {
		if answer(t, ask(), frames...) == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// A sleep may end either way; the reference goes the way it is told.
func TestReferenceFollowsACancel(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		r := newReference("c.", 18)
		r.feed(wire.AppendQuery(nil, "select pg_sleep(0.001)"))
		r.feed(wire.AppendQuery(nil, "select 1"))
		frames := [][]byte{rowDescription([]column{{"pg_sleep", oidVoid, 4}}, nil)}
		if cancelled {
			frames = append(frames, wire.AppendError(nil, &wire.Error{Code: wire.CodeQueryCanceled, Message: "x"}))
		} else {
			frames = append(frames, dataRow(value{}, column{"pg_sleep", oidVoid, 4}, 0), wire.AppendCommandComplete(nil, "SELECT 1"))
		}
		frames = append(frames, wire.AppendReadyForQuery(nil, 'I'), rowDescription(int4("?column?"), nil))
		if err := answer(t, r, frames...); err != nil {
			t.Errorf("cancelled %v: %v", cancelled, err)
		}
	}
}

// A client that is cancelled without having asked says so, and rows that nobody wrote are noticed.
func TestClientNotices(t *testing.T) {
	w := sim.New(1, slog.New(slog.DiscardHandler))
	theirs, _ := w.Pair("client", "server")
	c := NewClient(w, theirs, 1, 5, AllTraits(), 18)
	c.ready = true
	c.ref.feed(wire.AppendQuery(nil, "select pg_sleep(0.001)"))
	c.observe(rowDescription([]column{{"pg_sleep", oidVoid, 4}}, nil))
	c.observe(wire.AppendError(nil, &wire.Error{Code: wire.CodeQueryCanceled, Message: "x"}))
	if !errors.Is(c.Err(), ErrWrong) {
		t.Errorf("a foreign cancel: %v", c.Err())
	}
	c.lost = false
	db := NewDatabase(nil)
	db.rows["c1.0"] = 3
	if err := c.CheckRows(db); !errors.Is(err, ErrWrong) {
		t.Errorf("a row that nobody wrote: %v", err)
	}
}

func FuzzBackend(f *testing.F) {
	f.Add(wire.AppendSync(wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", "select $1::int4", nil), "", "", nil,
		[][]byte{[]byte("7")}, nil), "", 0)))
	f.Add(wire.AppendCopyDone(wire.AppendCopyData(wire.AppendQuery(nil, "copy kv from stdin"), []byte("a\t1\n"))))
	f.Add(wire.AppendQuery(nil, "begin; savepoint a; select 1/0; rollback to a; commit"))
	f.Add(callInt4pl(1, 2))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := newReference("c.", 18)
		r.feed(in)
		r.runOn()
		for _, typ := range []byte(typesOf(r.want)) {
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
