package proxy

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy/admin"
	"github.com/sarnicdb/sarnic/proxy/loop"
)

// statsPeriod is how often the base of the averages moves on: they are over the last one to two periods.
const statsPeriod = time.Minute

// averages keeps the numbers of each database as they were when the last two periods began.
type averages struct {
	mu           sync.Mutex
	older, newer reading
	timer        loop.Timer
}

// reading is the numbers of each database at some time.
type reading struct {
	at int64 // loop time
	of map[string]admin.Numbers
}

// startAverages begins on l, on its goroutine. It ends with the loop.
func (srv *Server) startAverages(l *loop.Loop) {
	a := &srv.console.averages
	a.mu.Lock()
	a.older, a.newer = reading{at: l.Now()}, reading{at: l.Now()}
	a.mu.Unlock()
	srv.scheduleAverages(l)
}

func (srv *Server) scheduleAverages(l *loop.Loop) {
	a := &srv.console.averages
	l.Schedule(&a.timer, l.After(statsPeriod), func() {
		a.turn(reading{l.Now(), srv.numbers()})
		srv.scheduleAverages(l)
	})
}

// turn begins another period.
func (a *averages) turn(now reading) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.older, a.newer = a.newer, now
}

// since is what has come to the numbers of now since the base of the averages, and how long that is.
func (a *averages) since(now reading) (period map[string]admin.Numbers, length time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	period = make(map[string]admin.Numbers)
	for name, n := range now.of {
		base := a.older.of[name]
		n.Subtract(&base)
		period[name] = n
	}
	return period, time.Duration(now.at - a.older.at)
}

// numbers adds up the pools of each database.
func (srv *Server) numbers() map[string]admin.Numbers {
	all := make(map[string]admin.Numbers)
	for _, p := range srv.pools.Pools() {
		n := all[p.Database()]
		more := numbersOf(p.Stats(0))
		n.Add(&more)
		all[p.Database()] = n
	}
	return all
}

func numbersOf(st pool.Stats) admin.Numbers {
	c := st.Counters
	const micro = int64(time.Microsecond)
	return admin.Numbers{
		Assignments: st.Lendings, Transactions: c.Transactions.Load(), Queries: c.Queries.Load(),
		Received: c.Received.Load(), Sent: c.Sent.Load(),
		TransactionTime: c.LentTime.Load() / micro, QueryTime: c.QueryTime.Load() / micro, WaitTime: c.WaitTime.Load() / micro,
		ClientParses: c.ClientParses.Load(), ServerParses: c.ServerParses.Load(), Binds: c.Binds.Load(), Logins: c.Logins.Load(),
	}
}

// consoleStats is the statistics, a row for each database. The console's own is there as PgBouncer's is, with nothing in it:
// exporters would have no metric otherwise where nobody has connected yet.
func (srv *Server) consoleStats() []admin.Stats {
	now := reading{srv.group.Loops()[0].Clock(), srv.numbers()}
	if _, taken := now.of[admin.Database]; !taken {
		now.of[admin.Database] = admin.Numbers{}
	}
	period, length := srv.console.averages.since(now)
	var all []admin.Stats
	for _, name := range slices.SortedFunc(maps.Keys(now.of), strings.Compare) {
		all = append(all, admin.Stats{Database: name, Total: now.of[name], Period: period[name], Length: length})
	}
	return all
}
