package pool

import (
	"strconv"
	"strings"
	"sync"
)

// Prefix begins the name of every statement that Sarnıç prepares on a server.
const Prefix = "sarnic_"

// Statement is one (text, parameter types) pair, the same object for every session and connection that has it.
type Statement struct {
	Name  string // on every server connection: Prefix and a number
	Text  string
	Types string // the Parse message's tail: int16 count and OIDs, raw
	refs  int    // guarded by Texts.mu
	past  int64  // likewise: how often copies that are gone were used
}

// Texts holds every statement that some session or server connection knows.
type Texts struct {
	mu   sync.Mutex
	last uint64
	all  map[string]*Statement // by types and text
	key  []byte
}

// Intern returns the statement of (text, types), with one reference for the caller. It allocates only for one that
// nobody knows yet.
func (t *Texts) Intern(text, types []byte) *Statement {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.key = append(append(t.key[:0], types...), text...) // types carry their own count: no two pairs look alike
	if s := t.all[string(t.key)]; s != nil {
		s.refs++
		return s
	}
	if t.all == nil {
		t.all = make(map[string]*Statement)
	}
	t.last++
	key := string(t.key)
	s := &Statement{
		Name: Prefix + strconv.FormatUint(t.last, 36), Types: key[:len(types)], Text: key[len(types):], refs: 1,
	}
	t.all[key] = s
	if cap(t.key) > 64<<10 {
		t.key = nil
	}
	return s
}

// Hold adds a reference.
func (t *Texts) Hold(s *Statement) *Statement {
	t.mu.Lock()
	s.refs++
	t.mu.Unlock()
	return s
}

// Drop takes a reference back; the last one forgets the statement.
func (t *Texts) Drop(s *Statement) { t.dropCopy(s, 0) }

// dropCopy is Drop for a copy that was used so often.
func (t *Texts) dropCopy(s *Statement, uses int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.past += uses
	if s.refs--; s.refs == 0 {
		delete(t.all, s.Types+s.Text)
	}
}

// Len is how many statements are known.
func (t *Texts) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}

// Ours reports whether a client's statement name could be one of ours.
func Ours(name []byte) bool { return strings.HasPrefix(string(name), Prefix) }

// Prepared is a server connection's copy of a Statement.
type Prepared struct {
	Statement  *Statement
	Shape      uint64 // hash of its ParameterDescription and RowDescription as of its Parse; 0 while not known
	Segment    uint32 // of the session that sent its Parse, while the reply is due; 0: it is there
	uses       int64  // how often a frame named it
	prev, next *Prepared
}

// Statements are the copies on one server connection, least recently used first. The zero value is empty.
type Statements struct {
	texts *Texts
	by    map[*Statement]*Prepared
	head  *Prepared // the least recently used
	tail  *Prepared
}

// Use returns the connection's copy of s and makes it the most recently used; nil where there is none.
func (st *Statements) Use(s *Statement) *Prepared {
	p := st.by[s]
	if p == nil {
		return nil
	}
	p.uses++
	if p != st.tail {
		st.unlink(p)
		st.link(p)
	}
	return p
}

// Peek is Use without the touch.
func (st *Statements) Peek(s *Statement) *Prepared { return st.by[s] }

// Add records that s is prepared on the connection. The copy holds a reference in texts.
func (st *Statements) Add(texts *Texts, s *Statement) *Prepared {
	if p := st.Use(s); p != nil {
		return p
	}
	if st.by == nil {
		st.by = make(map[*Statement]*Prepared)
		st.texts = texts
	}
	p := &Prepared{Statement: texts.Hold(s)}
	st.by[s] = p
	st.link(p)
	return p
}

// Settle records that the Parse of s was answered. A Close sent behind it may have taken the copy out meanwhile.
func (st *Statements) Settle(s *Statement) {
	if p := st.by[s]; p != nil {
		p.Segment = 0
	}
}

// Remove records that the copy is gone.
func (st *Statements) Remove(s *Statement) {
	p := st.by[s]
	if p == nil {
		return
	}
	st.unlink(p)
	delete(st.by, s)
	st.texts.dropCopy(s, p.uses)
}

// Oldest is the least recently used copy, nil where there is none.
func (st *Statements) Oldest() *Prepared { return st.head }

// Len is how many copies there are.
func (st *Statements) Len() int { return len(st.by) }

// ClearSettled forgets every copy but those whose Parse is not answered yet: the server dropped what it had then.
func (st *Statements) ClearSettled() {
	for p := st.head; p != nil; {
		next := p.next
		if p.Segment == 0 {
			st.Remove(p.Statement)
		}
		p = next
	}
}

// Clear forgets every copy: the server dropped them, or is gone.
func (st *Statements) Clear() {
	for st.head != nil {
		st.Remove(st.head.Statement)
	}
}

func (st *Statements) link(p *Prepared) {
	p.prev, p.next = st.tail, nil
	if st.tail != nil {
		st.tail.next = p
	} else {
		st.head = p
	}
	st.tail = p
}

func (st *Statements) unlink(p *Prepared) {
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		st.head = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	} else {
		st.tail = p.prev
	}
	p.prev, p.next = nil, nil
}
