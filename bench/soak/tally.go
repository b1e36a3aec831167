package main

import (
	"maps"
	"slices"
	"sync"
)

// What is counted and compared; kinds of work and of vandalism are counted under their own names too.
const (
	connects       = "logins of workers"
	answers        = "answers checked"
	cancelsSent    = "cancel requests"
	cancelsHit     = "statements canceled"
	terminated     = "server connections terminated"
	cuts           = "workers' sockets cut"
	cutsNoticed    = "workers cut"
	toldLost       = "clients told that their server connection is gone"
	foundLost      = "clients disconnected without a word"
	refusedLost    = "requests refused because their server connection is gone"
	waitNotices    = "notices about waiting"
	bogusCancels   = "cancel requests with a wrong key"
	wrongPasswords = "wrong passwords"
)

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

// names lists what was counted and begins with prefix, in order.
func (t *tally) names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.n))
}
