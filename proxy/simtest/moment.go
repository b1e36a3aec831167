package simtest

import (
	"maps"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Moment is a kind of point in a conversation at which something can fail for a reason that is no part of it.
type Moment uint8

const (
	// Cancelable is where a cancel request can hit what runs.
	Cancelable Moment = 1 << iota
	// Starting is the first message of a request outside a transaction: who stands between may not have a process for it.
	Starting
	// Naming is where a message names a prepared statement: who stands between may have to prepare it first.
	Naming
	// NamingInVain is the same in a failed transaction, where nothing can be prepared but what ends one.
	NamingInVain
	// Disrupted is where a message comes that has no place in a COPY.
	Disrupted
)

// at is called at a moment and returns the failure there, if there is one.
func (b *Backend) at(kind Moment) *wire.Error {
	if err := b.watch.at(kind); err != nil {
		return err
	}
	if kind == Cancelable && b.signal {
		b.signal = false
		return canceled()
	}
	return nil
}

// starting is called for the messages that reach a process.
func (b *Backend) starting() *wire.Error {
	fresh := !b.asked && !b.tx.open
	b.asked = true
	if fresh {
		return b.at(Starting)
	}
	return nil
}

// naming is called where a message names a statement.
func (b *Backend) naming(st *statement) *wire.Error {
	kind := Naming
	if b.tx.failed && !st.endsTransaction() && st.op != opEmpty {
		kind |= NamingInVain
	}
	return b.at(kind)
}

// watch is what a Reference sees of its Backend, and does to it. Nobody watches any other: nil.
type watch struct {
	plan    map[int]*wire.Error // by number of the moment
	moments []moment
	said    int // frames
	flushed int
	commits []Commit
}

type moment struct {
	kind Moment
	said int
}

// Commit is a state of the table.
type Commit struct {
	Frame int // the first frame after it: who has seen that knows of it
	Rows  map[string]int32
}

func (w *watch) at(kind Moment) *wire.Error {
	if w == nil {
		return nil
	}
	w.moments = append(w.moments, moment{kind, w.said})
	return w.plan[len(w.moments)-1]
}

func (w *watch) saidOne() {
	if w != nil {
		w.said++
	}
}

func (w *watch) flush() {
	if w != nil {
		w.flushed = w.said
	}
}

func (w *watch) committed(db *Database, changed bool) {
	if w != nil && changed {
		w.commits = append(w.commits, Commit{w.said, maps.Clone(db.rows)})
	}
}
