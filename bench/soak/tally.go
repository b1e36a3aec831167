package main

import "sync"

// What is counted and compared, in the order of the report. Jobs and pranks are counted under their own names.
const (
	connects    = "logins of workers"
	answers     = "answers checked"
	waitNotices = "notices about waiting"
	cancelsSent = "cancel requests"
	cancelsHit  = "statements canceled"
	cuts        = "workers' sockets cut"
	terminated  = "server connections terminated"
	toldLost    = "clients told that their server connection is gone"
	foundLost   = "clients disconnected without a word"
	refusedLost = "requests and logins refused because of a lost server connection"
)

func counted() []string {
	return []string{
		connects, answers, waitNotices, cancelsSent, cancelsHit, cuts, terminated, toldLost, foundLost, refusedLost,
	}
}

// tally counts things by name.
type tally struct {
	mu sync.Mutex
	n  map[string]int64
}

func newTally() *tally { return &tally{n: make(map[string]int64)} }

func (t *tally) add(name string) {
	t.mu.Lock()
	t.n[name]++
	t.mu.Unlock()
}

func (t *tally) get(name string) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n[name]
}
