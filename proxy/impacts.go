package proxy

import (
	"bytes"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/sarnicdb/sarnic/router"
)

// Bounds on what is kept of the grammar's verdicts, and on what it is asked.
const (
	maxImpacts    = 4096
	maxImpactText = 8 << 10  // a longer text is parsed whenever it comes
	maxParsedText = 64 << 10 // a longer one is not: it would hold up the loop
)

// impacts keeps what suspicious texts do to their sessions. All sessions share it. The zero value is empty.
type impacts struct {
	mu  sync.Mutex
	all *simplelru.LRU[string, *impact]
}

// of returns what running sql may do to its session; nil for nothing. conforming is standard_conforming_strings.
func (m *impacts) of(sql []byte, conforming bool) *impact {
	if n := len(sql); n > 0 && sql[n-1] == 0 {
		sql = sql[:n-1] // of a Query
	}
	switch {
	case len(sql) > maxParsedText:
		return &impact{pins: pinLarge}
	case bytes.IndexByte(sql, 0) >= 0, !router.Ready():
		return &impact{pins: pinUnknown} // the server refuses the first, and the other is a matter of seconds
	}
	text := string(sql)
	if len(sql) > maxImpactText || !conforming {
		return impactIn(text, conforming)
	}
	found, ok := m.get(text)
	if !ok {
		found = impactIn(text, true)
		m.add(text, found)
	}
	return found
}

func (m *impacts) get(text string) (*impact, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		return nil, false
	}
	return m.all.Get(text)
}

func (m *impacts) add(text string, found *impact) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all, _ = simplelru.NewLRU[string, *impact](maxImpacts, nil) // it fails for a size below 1 only
	}
	m.all.Add(text, found)
}

func impactIn(text string, conforming bool) *impact {
	m := impactOf(router.AnalyzeWith(text, conforming))
	if m != nil && m.ownPID && readsProcesses([]byte(text)) {
		m.ownPID = false // before anybody else sees it
	}
	return m
}
