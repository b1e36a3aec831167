package simtest

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// Script makes what a client sends, burst by burst. A burst is written at once; the client goes on when it has been
// answered as far as its reference says that it will be.
type Script struct {
	rnd    *rand.Rand
	prefix string // of the keys of this client
	Traits Traits
	block  bool // a guess: inside a transaction block
	open   bool // the last burst ended without a Sync
	out    []byte
}

// Traits choose what a script does beside what it always does.
type Traits struct {
	Sleeps   bool // pg_sleep, for a few milliseconds
	Settings bool // SET and DISCARD: state that ties a client to its server connection, or must be cleaned up
	Listens  bool // LISTEN, with notifications to itself
	Prepares bool // PREPARE, EXECUTE and cursors in SQL
	Mixed    bool // a Query or FunctionCall between an Execute and its Sync. PostgreSQL 18 then says that it is idle, does
	// not commit, and fails the next command, which through a pool is on another connection
}

// AllTraits is everything.
func AllTraits() Traits {
	return Traits{Sleeps: true, Settings: true, Listens: true, Prepares: true, Mixed: true}
}

// NewScript begins the script of a client with keys of its own.
func NewScript(rnd *rand.Rand, prefix string, traits Traits) *Script {
	return &Script{rnd: rnd, prefix: prefix, Traits: traits}
}

// Next is the next burst.
func (s *Script) Next() []byte {
	s.out = nil
	if s.open && !s.Traits.Mixed {
		s.out = wire.AppendSync(s.out)
	}
	s.open = false
	kinds := []func(){
		s.simple, s.simple, s.extended, s.extended, s.named, s.named, s.pipeline, s.portals, s.copyIn, s.copyOut, s.transaction,
		s.splitUnnamed, s.flush, s.noise, s.function,
	}
	kinds[s.rnd.IntN(len(kinds))]()
	return s.out
}

// Last ends the script: no transaction stays open, and what is left is read once more.
func (s *Script) Last() []byte {
	s.out = nil
	s.out = wire.AppendSync(s.out)
	s.query("rollback")
	s.query(s.copyOutSQL())
	return s.out
}

// Hold returns so many bursts and the last, which are asked of ref.
func (s *Script) Hold(bursts int, ref *Reference, nags bool) (all []Burst) {
	for i := range bursts + 1 {
		frames := []byte(nil)
		if i < bursts {
			frames = s.Next()
		} else {
			frames = s.Last()
		}
		ref.Ask(frames)
		all = append(all, Burst{frames, i == bursts || s.rnd.IntN(3) > 0, nags && s.rnd.IntN(3) == 0})
	}
	return all
}

func (s *Script) query(sql string) { s.out = wire.AppendQuery(s.out, sql) }

func (s *Script) one(options ...string) string { return options[s.rnd.IntN(len(options))] }

func (s *Script) key() string { return fmt.Sprintf("%s%d", s.prefix, s.rnd.IntN(6)) }

func (s *Script) copyOutSQL() string {
	return fmt.Sprintf(`copy (select k, v from kv where k like '%s%%' order by k collate "C") to stdout`, s.prefix)
}

// statement is any one that needs no parameters and ends no transaction.
func (s *Script) statement() string {
	n := s.rnd.IntN(1000)
	options := []string{
		fmt.Sprintf("select %d", n),
		fmt.Sprintf("select generate_series(1, %d)", n%9),
		fmt.Sprintf("select v from kv where k = '%s'", s.key()),
		fmt.Sprintf("insert into kv values ('%s', %d)", s.key(), n),
		fmt.Sprintf("update kv set v = v + %d where k = '%s'", n, s.key()),
		fmt.Sprintf("delete from kv where k = '%s'", s.key()),
		fmt.Sprintf("do $$begin raise notice 'n%d'; end$$", n),
		"show application_name",
	}
	switch s.rnd.IntN(12) {
	case 0:
		return s.one("select 1/0", "bogus", "select * from nosuch", "select 12/(3-g) from generate_series(1, 5) g")
	case 1:
		if s.Traits.Sleeps {
			return fmt.Sprintf("select pg_sleep(0.%03d)", 1+n%9)
		}
	case 2:
		return s.stateful(n)
	}
	return s.one(options...)
}

// stateful is a statement that leaves something behind on its server connection.
func (s *Script) stateful(n int) string {
	var options []string
	if s.Traits.Settings {
		options = append(options, fmt.Sprintf("set application_name = 'a%d'", n%5), "reset application_name", "discard all",
			"deallocate all")
		if s.block {
			options = append(options, fmt.Sprintf("set local application_name = 'l%d'", n%5))
		}
	}
	if s.Traits.Listens {
		options = append(options, "listen "+s.channel(), fmt.Sprintf("notify %s, 'p%d'", s.channel(), n), "unlisten *")
	}
	if len(options) == 0 {
		return fmt.Sprintf("select %d", n)
	}
	return s.one(options...)
}

func (s *Script) channel() string { return "ch_" + strings.Trim(s.prefix, "._") }
