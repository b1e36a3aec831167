package main

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/sarnicdb/sarnic/pool"
)

// view is what the lower part of the screen shows, or all that --once prints.
type view string

// The views.
const (
	poolsView      view = "pools" // these two are always on the screen
	databasesView  view = "databases"
	clientsView    view = "clients"
	pinsView       view = "pins"
	statementsView view = "statements"
)

func lowerViews() []view { return []view{clientsView, pinsView, statementsView} }

func allViews() []view { return append([]view{poolsView, databasesView}, lowerViews()...) }

// order is what comes first.
type order string

// The orders.
const (
	byWait order = "wait" // who waits longest
	byUse  order = "use"  // who does most
	byName order = "name"
)

func orders() []order { return []order{byWait, byUse, byName} }

// after is what follows one of all, in a circle.
func after[T comparable](all []T, one T) T { return all[(slices.Index(all, one)+1)%len(all)] }

// period is two samples. The earlier one has no time where there is none yet: then the console's own averages are shown.
type period struct{ before, now sample }

// table is what a view shows.
func (p period) table(v view, o order) table {
	switch v {
	case databasesView:
		return p.databases(o)
	case clientsView:
		return p.clients(o)
	case pinsView:
		return p.pins(o)
	case statementsView:
		return p.statements(o)
	default:
		return p.pools(o)
	}
}

// ranked is a row and what it is sorted by.
type ranked struct {
	row
	wait, use float64
	name      string
}

// sorted is the rows in an order; the name decides where they are alike.
func sorted(all []ranked, o order) []row {
	slices.SortStableFunc(all, func(a, b ranked) int {
		switch o {
		case byWait:
			return cmp.Or(cmp.Compare(b.wait, a.wait), cmp.Compare(b.use, a.use), strings.Compare(a.name, b.name))
		case byUse:
			return cmp.Or(cmp.Compare(b.use, a.use), cmp.Compare(b.wait, a.wait), strings.Compare(a.name, b.name))
		default:
			return strings.Compare(a.name, b.name)
		}
	})
	rows := make([]row, len(all))
	for i := range all {
		rows[i] = all[i].row
	}
	return rows
}

func (p period) pools(o order) table {
	l := p.now.pools
	pinned := make(map[[2]string]int)
	for _, r := range p.now.pins.rows {
		pinned[[2]string{p.now.pins.text(r, "database"), p.now.pins.text(r, "user")}]++
	}
	var all []ranked
	for _, r := range l.rows {
		database, user := l.text(r, "database"), l.text(r, "user")
		waiting, active := l.number(r, "cl_waiting"), l.number(r, "sv_active")
		longest := l.time(r, "maxwait", "maxwait_us")
		all = append(all, ranked{
			wait: float64(waiting)*1e12 + float64(longest), use: float64(active), name: database + "\x00" + user,
			row: inColumns(waiting > 0, database, user, shortMode(l.text(r, "pool_mode")),
				fmt.Sprint(l.number(r, "cl_active")+waiting), fmt.Sprint(waiting), brief(longest), fmt.Sprint(active),
				fmt.Sprint(l.number(r, "sv_idle", "sv_used")),
				fmt.Sprint(l.number(r, "sv_tested", "sv_login", "sv_active_cancel", "sv_being_canceled")),
				fmt.Sprint(pinned[[2]string{database, user}])),
		})
	}
	return table{
		columns: []column{
			{title: "DATABASE", cut: true},
			{title: "USER", cut: true},
			{title: "MODE"},
			{title: "CLIENTS", right: true},
			{title: "WAIT", right: true},
			{title: "LONGEST", right: true},
			{title: "BUSY", right: true},
			{title: "IDLE", right: true},
			{title: "OTHER", right: true},
			{title: "PINS", right: true},
		},
		rows: sorted(all, o),
	}
}

// shortMode leaves room for names.
func shortMode(mode string) string {
	switch pool.Mode(mode) {
	case pool.TransactionMode:
		return "trans"
	case pool.StatementMode:
		return "stmt"
	}
	return mode
}

func (p period) databases(o order) table {
	var all []ranked
	for _, r := range p.now.stats.rows {
		f := p.flow(r)
		name := p.now.stats.text(r, "database")
		all = append(all, ranked{
			wait: float64(f.wait), use: f.queries, name: name,
			row: inColumns(false, name, short(f.transactions), short(f.queries), brief(f.transaction), brief(f.query), brief(f.wait),
				short(f.received), short(f.sent)),
		})
	}
	return table{
		columns: []column{
			{title: "DATABASE", cut: true},
			{title: "XACT/S", right: true},
			{title: "QUERY/S", right: true},
			{title: "XACT", right: true},
			{title: "QUERY", right: true},
			{title: "WAIT", right: true},
			{title: "IN B/S", right: true},
			{title: "OUT B/S", right: true},
		},
		rows: sorted(all, o),
	}
}

func (p period) clients(o order) table {
	l := p.now.clients
	var all []ranked
	for _, r := range l.rows {
		state := l.text(r, "state")
		wait := l.time(r, "wait", "wait_us")
		since := p.since(l.text(r, "request_time"))
		if state == "waiting" {
			since = wait
		}
		rank := ranked{name: strings.Join([]string{l.text(r, "database"), l.text(r, "user"), l.text(r, "addr"), l.text(r, "port")}, "\x00")}
		lasts := brief(since)
		switch state {
		case "waiting":
			rank.wait = 1e12 + float64(wait)
		case "active":
			rank.use = 1 + float64(since)
		default:
			lasts = ""
		}
		address := l.text(r, "addr")
		if port := l.text(r, "port"); address != "unix" {
			address = net.JoinHostPort(address, port)
		}
		rank.row = inColumns(state == "waiting", state, lasts, l.text(r, "database"), l.text(r, "user"), address, l.text(r, "application_name"))
		all = append(all, rank)
	}
	return table{
		columns: []column{
			{title: "STATE"},
			{title: "FOR", right: true},
			{title: "DATABASE", cut: true},
			{title: "USER", cut: true},
			{title: "ADDRESS", cut: true},
			{title: "APPLICATION", cut: true},
		},
		rows: sorted(all, o),
	}
}

func (p period) pins(o order) table {
	l := p.now.pins
	var all []ranked
	for _, r := range l.rows {
		lasts := time.Duration(l.number(r, "seconds")) * time.Second
		all = append(all, ranked{
			wait: float64(lasts), use: float64(lasts), name: l.text(r, "database") + "\x00" + l.text(r, "user"),
			row: inColumns(false, l.text(r, "reason"), brief(lasts), l.text(r, "database"), l.text(r, "user"), l.text(r, "client_pid"),
				l.text(r, "server_pid"), l.text(r, "application_name")),
		})
	}
	return table{
		columns: []column{
			{title: "PINNED BY", cut: true},
			{title: "FOR", right: true},
			{title: "DATABASE", cut: true},
			{title: "USER", cut: true},
			{title: "CLIENT", right: true},
			{title: "SERVER", right: true},
			{title: "APPLICATION", cut: true},
		},
		rows: sorted(all, o),
	}
}

func (p period) statements(o order) table {
	l := p.now.statements
	key := func(l listing, r []string) [3]string {
		return [3]string{l.text(r, "name"), l.text(r, "database"), l.text(r, "user")}
	}
	before := make(map[[3]string]int64)
	for _, r := range p.before.statements.rows {
		before[key(p.before.statements, r)] = p.before.statements.number(r, "uses")
	}
	length := p.now.at.Sub(p.before.at).Seconds()
	var all []ranked
	for _, r := range l.rows {
		uses, rate, text := l.number(r, "uses"), 0.0, ""
		if old, ok := before[key(l, r)]; ok && uses >= old && length > 0 {
			rate = float64(uses-old) / length
			text = short(rate)
		}
		use := rate + float64(uses)/1e9
		all = append(all, ranked{
			wait: use, use: use, name: l.text(r, "query"),
			row: inColumns(false, text, short(float64(uses)), l.text(r, "servers"), l.text(r, "database"), l.text(r, "user"), l.text(r, "query")),
		})
	}
	return table{
		columns: []column{
			{title: "USES/S", right: true},
			{title: "USES", right: true},
			{title: "SERVERS", right: true},
			{title: "DATABASE", cut: true},
			{title: "USER", cut: true},
			{title: "STATEMENT", cut: true},
		},
		rows: sorted(all, o),
	}
}

// since is how long ago a time of the console was. Zones other than UTC are known here only if they are our own.
func (p period) since(text string) time.Duration {
	const layout = "2006-01-02 15:04:05 MST"
	at, err := time.Parse(layout, text)
	if local, localErr := time.ParseInLocation(layout, text, time.Local); localErr == nil {
		at = local
	}
	if name, offset := at.Zone(); err != nil || offset == 0 && name != "UTC" && name != "GMT" {
		return 0
	}
	return max(p.now.at.Sub(at).Truncate(time.Second), 0)
}
