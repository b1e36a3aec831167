package main

import "math/rand/v2"

// outcome is what a client knows of a transaction of its own.
type outcome uint8

const (
	absent  outcome = iota // rolled back, or its COMMIT was never sent: must not be there
	unknown                // its COMMIT was sent and nothing came back: may be there, once
	present                // acknowledged: must be there, once
	outcomes
)

// token names one transaction in the tables.
type token int64

// entry is one transaction. With lines it is a COPY of so many, without it is one of TPC-B.
type entry struct {
	outcome outcome
	lines   uint16
}

// book is what one client has done. Only its client writes it; the audit reads it when the client is gone.
type book struct {
	owner   int
	entries []entry
}

// begin enters a transaction that is not there unless something else is said.
func (b *book) begin(lines int) token {
	b.entries = append(b.entries, entry{lines: uint16(lines)})
	return token(b.owner)<<32 | token(len(b.entries)-1)
}

func (b *book) set(t token, o outcome) { b.entries[t&(1<<32-1)].outcome = o }

// delta is the amount that a transaction of TPC-B moves. It follows from the token, so that the audit knows it too.
func (t token) delta() int64 {
	return rand.New(rand.NewPCG(uint64(t), 1)).Int64N(10_001) - 5000
}

// counts adds up the outcomes of some books.
func counts(books []*book) (n [outcomes]int, copies int) {
	for _, b := range books {
		for _, e := range b.entries {
			n[e.outcome]++
			if e.lines > 0 {
				copies++
			}
		}
	}
	return n, copies
}
