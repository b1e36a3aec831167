package pool

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

func TestTextsAreShared(t *testing.T) {
	var texts Texts
	none, one := []byte{0, 0}, []byte{0, 1, 0, 0, 0, 23}
	a := texts.Intern([]byte("SELECT 1"), none)
	b := texts.Intern([]byte("SELECT 1"), none)
	c := texts.Intern([]byte("SELECT 1"), one) // the same text with another type is another statement
	if a != b || a == c || a.Name == c.Name || texts.Len() != 2 {
		t.Error("not one object for one pair")
	}
	if a.Text != "SELECT 1" || a.Types != string(none) || c.Types != string(one) || !Ours([]byte(a.Name)) {
		t.Errorf("%+v %+v", a, c)
	}
	// Where the types end and the text begins is not to be guessed.
	d := texts.Intern([]byte("\x00\x00\x00\x17SELECT 1"), []byte{0, 1})
	if d == c {
		t.Log("types that lie about their count look like another pair; wire.ParseMessage refuses them")
	}
	texts.Drop(d)
	texts.Drop(c)
	texts.Drop(a)
	if texts.Len() != 1 {
		t.Error("forgotten while somebody knows it")
	}
	name := b.Name
	texts.Drop(b)
	if texts.Len() != 0 {
		t.Error("not forgotten")
	}
	if again := texts.Intern([]byte("SELECT 1"), none); again.Name == name {
		t.Error("a name is used again: a server connection may still hold what it meant")
	}
}

func TestInternDoesNotAllocateForKnown(t *testing.T) {
	var texts Texts
	text, types := []byte("SELECT * FROM somewhere WHERE id = $1"), []byte{0, 0}
	texts.Intern(text, types)
	if n := testing.AllocsPerRun(100, func() { texts.Drop(texts.Intern(text, types)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	// A very long text leaves no buffer behind.
	long := texts.Intern(bytes.Repeat([]byte("x"), 1<<20), types)
	if cap(texts.key) > 64<<10 {
		t.Errorf("%d bytes are kept", cap(texts.key))
	}
	texts.Drop(long)
}

func TestOurs(t *testing.T) {
	for name, ours := range map[string]bool{"": false, "s1": false, "sarnic": false, "sarnic_": true, "sarnic_1": true, "Sarnic_1": false} {
		if Ours([]byte(name)) != ours {
			t.Errorf("Ours(%q) is %v", name, !ours)
		}
	}
}

// order lists the copies, the least recently used first, and checks the links.
func order(t *testing.T, st *Statements) (names []string) {
	t.Helper()
	var prev *Prepared
	for p := st.head; p != nil; prev, p = p, p.next {
		if p.prev != prev || st.by[p.Statement] != p {
			t.Fatal("the links are wrong")
		}
		names = append(names, p.Statement.Text)
	}
	if st.tail != prev || len(names) != st.Len() {
		t.Fatalf("%d in the list, %d in the map", len(names), st.Len())
	}
	return names
}

func TestStatementsAreLeastRecentlyUsed(t *testing.T) {
	var texts Texts
	var st Statements
	if st.Oldest() != nil || st.Len() != 0 || st.Use(&Statement{}) != nil || st.Peek(&Statement{}) != nil {
		t.Error("the zero value is not empty")
	}
	st.Remove(&Statement{})
	st.Clear()
	by := map[string]*Statement{}
	for _, text := range []string{"a", "b", "c", "d"} {
		s := texts.Intern([]byte(text), []byte{0, 0})
		by[text] = s
		st.Add(&texts, s)
		texts.Drop(s)
	}
	st.Use(by["a"])
	st.Peek(by["b"])
	st.Add(&texts, by["c"]) // it is there: used, not counted twice
	if got := order(t, &st); !slices.Equal(got, []string{"b", "d", "a", "c"}) {
		t.Errorf("order %v", got)
	}
	if st.Oldest().Statement != by["b"] {
		t.Error("b is the oldest")
	}
	for _, text := range []string{"d", "c", "b"} { // middle, tail, head
		st.Remove(by[text])
		order(t, &st)
	}
	if st.Oldest().Statement != by["a"] || texts.Len() != 1 {
		t.Error("a is left")
	}
	st.Clear()
	if order(t, &st); texts.Len() != 0 || st.Oldest() != nil {
		t.Error("something is left")
	}
	st.Clear()
}

// Against a model: a slice in order of use, and a count of references.
func TestStatementsAgainstModel(t *testing.T) {
	var texts Texts
	conns := make([]Statements, 3)
	models := make([][]string, len(conns))
	held := map[*Statement]int{} // by sessions
	r := rand.New(rand.NewPCG(1, 1))
	pick := func() *Statement {
		s := texts.Intern(fmt.Appendf(nil, "SELECT %d", r.IntN(12)), []byte{0, 0})
		held[s]++
		return s
	}
	for range 20000 {
		i := r.IntN(len(conns))
		st, model := &conns[i], &models[i]
		s := pick()
		at := slices.Index(*model, s.Text)
		switch r.IntN(6) {
		case 0, 1:
			st.Add(&texts, s)
			if at >= 0 {
				*model = slices.Delete(*model, at, at+1)
			}
			*model = append(*model, s.Text)
		case 2:
			if (st.Use(s) != nil) != (at >= 0) {
				t.Fatal("Use does not find what is there")
			}
			if at >= 0 {
				*model = append(slices.Delete(*model, at, at+1), s.Text)
			}
		case 3:
			if (st.Peek(s) != nil) != (at >= 0) {
				t.Fatal("Peek does not find what is there")
			}
		case 4:
			st.Remove(s)
			if at >= 0 {
				*model = slices.Delete(*model, at, at+1)
			}
		case 5:
			if r.IntN(50) == 0 {
				st.Clear()
				*model = nil
			}
		}
		if got := order(t, st); !slices.Equal(got, *model) {
			t.Fatalf("order %v, want %v", got, *model)
		}
		if r.IntN(4) > 0 { // some sessions keep theirs
			held[s]--
			texts.Drop(s)
		}
		for s, n := range held {
			refs := n
			for i := range conns {
				if conns[i].Peek(s) != nil {
					refs++
				}
			}
			if s.refs != refs {
				t.Fatalf("%s has %d references, want %d", s.Text, s.refs, refs)
			}
			if refs == 0 {
				delete(held, s)
			}
		}
	}
	for i := range conns {
		conns[i].Clear()
	}
	for s, n := range held {
		for range n {
			texts.Drop(s)
		}
	}
	if texts.Len() != 0 {
		t.Errorf("%d texts leaked", texts.Len())
	}
}

// Sessions of several loops share the texts.
func TestTextsAreSafeForLoops(t *testing.T) {
	var texts Texts
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var st Statements
			for i := range 2000 {
				s := texts.Intern(fmt.Appendf(nil, "SELECT %d", i%7), []byte{0, 0})
				st.Add(&texts, s)
				if s.Text != fmt.Sprint("SELECT ", i%7) {
					t.Error("another statement")
				}
				texts.Drop(s)
				if (i+g)%3 == 0 {
					st.Remove(st.Oldest().Statement)
				}
			}
			st.Clear()
		})
	}
	wg.Wait()
	if texts.Len() != 0 {
		t.Errorf("%d texts leaked", texts.Len())
	}
}
