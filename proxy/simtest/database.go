package simtest

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Database is what the server processes share: one table, kv (k text primary key, v int4), and who listens.
type Database struct {
	// Sleep calls wake when d has passed. It stands for pg_sleep, the only thing that takes time here; nil: nothing does.
	Sleep func(d time.Duration, wake func())
	// Major is the version whose habits it has: since some minor release of 17, what is pipelined behind an Execute is an
	// implicit transaction block, which only Sync ends.
	Major int

	rows     map[string]int32
	backends []*Backend // alive, in order of their start
	nextPID  uint32
}

// NewDatabase makes an empty one.
func NewDatabase(sleep func(d time.Duration, wake func())) *Database {
	return &Database{Sleep: sleep, Major: 18, rows: map[string]int32{}, nextPID: 1000}
}

// Start begins a server process for a client that has logged in, with application_name set to app.
func (db *Database) Start(app string) *Backend {
	db.nextPID++
	b := newBackend(db, db.nextPID, app)
	db.backends = append(db.backends, b)
	return b
}

// Backends is the number of server processes alive.
func (db *Database) Backends() int { return len(db.backends) }

// Backend finds a server process; nil where it has ended.
func (db *Database) Backend(pid uint32) *Backend {
	for _, b := range db.backends {
		if b.pid == pid {
			return b
		}
	}
	return nil
}

func (db *Database) remove(b *Backend) {
	db.backends = slices.DeleteFunc(db.backends, func(other *Backend) bool { return other == b })
}

// Rows is the committed rows whose keys begin with prefix.
func (db *Database) Rows(prefix string) map[string]int32 {
	rows := map[string]int32{}
	for k, v := range db.rows {
		if strings.HasPrefix(k, prefix) {
			rows[k] = v
		}
	}
	return rows
}

// apply commits a transaction's changes.
func (db *Database) apply(changes map[string]*int32) {
	for k, v := range changes {
		if v == nil {
			delete(db.rows, k)
		} else {
			db.rows[k] = *v
		}
	}
}

// notify delivers to every process that listens, the sender's own among them.
func (db *Database) notify(from *Backend, notes []note) {
	for _, b := range db.backends {
		for _, n := range notes {
			if b.listening(n.channel) {
				b.notes = append(b.notes, n)
			}
		}
		if b != from {
			b.deliverNotes()
		}
	}
}

// note is a notification.
type note struct {
	pid              uint32
	channel, payload string
}

// view is the table as a transaction sees it: what is committed, and its own changes over that.
func (b *Backend) lookup(k string) (v int32, ok bool) {
	if change, changed := b.tx.changes[k]; changed {
		if change == nil {
			return 0, false
		}
		return *change, true
	}
	v, ok = b.db.rows[k]
	return v, ok
}

func (b *Backend) set(k string, v *int32) { b.tx.changes[k] = v }

// scan is the visible keys that begin with prefix, sorted.
func (b *Backend) scan(prefix string) []string {
	keys := map[string]bool{}
	for k := range b.db.rows {
		keys[k] = true
	}
	for k, v := range b.tx.changes {
		keys[k] = v != nil
	}
	var found []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if keys[k] && strings.HasPrefix(k, prefix) {
			found = append(found, k)
		}
	}
	return found
}
