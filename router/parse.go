package router

import (
	"sync"

	pgquery "github.com/pganalyze/pg_query_go/v6"
)

// parser guards the grammar, of which a process has one: the native one lends itself file descriptor 2 while it parses, and
// two at once would not give it back; the WebAssembly one compiles itself anew, a second of work, for each that runs at once.
//
//nolint:gochecknoglobals // it guards what belongs to the process
var parser grammar

type grammar struct {
	mu     sync.Mutex
	broken bool // it panicked: its memory may hold anything, so it is not asked again
}

// tree parses a text; nil for one that is not understood. The text nests within bounds.
func (g *grammar) tree(text string) (result *pgquery.ParseResult) {
	g.alone(func() error {
		tree, err := parseTree(text)
		if err == nil {
			result = tree
		}
		return err
	})
	return result
}

// tokens splits a text into tokens, comments left out; nil for one that is not understood.
func (g *grammar) tokens(text string) (result tokens) {
	g.alone(func() error {
		scanned, err := scanTokens(text)
		if err == nil {
			result = withoutComments(scanned.GetTokens())
		}
		return err
	})
	return result
}

// alone runs one use of the grammar.
func (g *grammar) alone(use func() error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken {
		return
	}
	g.broken = true // until it comes back
	defer func() { _ = recover() }()
	_ = use() // what it says about a text that it does not take, the server will say better
	g.broken = false
}
