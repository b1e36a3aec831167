package admin

import "time"

// measure is one of the numbers of the statistics: what each SHOW calls it, and how an average is made of it.
type measure struct {
	stats, averages string // in STATS behind total_ and avg_, where these differ: see received
	totals          string // in STATS_TOTALS
	process         string // in TOTALS, behind total_ and avg_
	of              func(*Numbers) int64
	per             func(*Numbers) int64 // an average is per one of these; nil: per second
}

// measures are in the order of the columns.
func measures() []measure {
	queries := func(n *Numbers) int64 { return n.Queries }
	transactions := func(n *Numbers) int64 { return n.Transactions }
	assignments := func(n *Numbers) int64 { return n.Assignments }
	plain := func(name string, of, per func(*Numbers) int64) measure {
		return measure{stats: name, averages: name, totals: name, process: name, of: of, per: per}
	}
	prepared := func(name string, of func(*Numbers) int64) measure {
		m := plain(name, of, nil)
		m.averages, m.process = "avg_"+name, "ps_"+name
		return m
	}
	logins := plain("client_login_count", func(n *Numbers) int64 { return n.Logins }, nil)
	logins.averages = "avg_client_login_count"
	return []measure{
		plain("server_assignment_count", assignments, nil),
		plain("xact_count", transactions, nil),
		plain("query_count", queries, nil),
		{
			stats: "received", averages: "bytes_received", totals: "bytes_received", process: "client_bytes",
			of: func(n *Numbers) int64 { return n.Received },
		},
		{
			stats: "sent", averages: "bytes_sent", totals: "bytes_sent", process: "server_bytes",
			of: func(n *Numbers) int64 { return n.Sent },
		},
		plain("xact_time", func(n *Numbers) int64 { return n.TransactionTime }, transactions),
		plain("query_time", func(n *Numbers) int64 { return n.QueryTime }, queries),
		plain("wait_time", func(n *Numbers) int64 { return n.WaitTime }, assignments),
		prepared("client_parse_count", func(n *Numbers) int64 { return n.ClientParses }),
		prepared("server_parse_count", func(n *Numbers) int64 { return n.ServerParses }),
		prepared("bind_count", func(n *Numbers) int64 { return n.Binds }),
		logins,
	}
}

// average is what came in a period, per second or per what the measure says.
func (m *measure) average(period *Numbers, length time.Duration) int64 {
	n := m.of(period)
	if m.per != nil {
		if by := m.per(period); by > 0 {
			return n / by
		}
		return 0
	}
	if length <= 0 {
		return 0
	}
	return int64(float64(n) / length.Seconds())
}

func statsViews() []view {
	all := measures()
	database := column{"database", 's'}
	stats, averages, totals := []column{database}, []column{database}, []column{database}
	for _, m := range all {
		stats = append(stats, column{"total_" + m.stats, 'N'})
		totals = append(totals, column{m.totals, 'N'})
		averages = append(averages, column{m.averages, 'N'})
	}
	for _, m := range all {
		name := "avg_" + m.stats
		if m.stats == "received" {
			name = "avg_recv"
		}
		stats = append(stats, column{name, 'N'})
	}
	return []view{
		{name: "stats", needs: Totals, columns: stats, rows: statsRows(all, true, true)},
		{name: "stats_totals", needs: Totals, columns: totals, rows: statsRows(all, true, false)},
		{name: "stats_averages", needs: Totals, columns: averages, rows: statsRows(all, false, true)},
		{name: "totals", needs: Totals, columns: columns("name s, value N"), rows: processRows(all)},
	}
}

// statsRows fills a row for each database.
func statsRows(all []measure, totals, averages bool) func(*State) [][]any {
	return func(st *State) [][]any {
		return each(st.Stats, func(s *Stats) []any {
			row := []any{s.Database}
			if totals {
				for i := range all {
					row = append(row, number(all[i].of(&s.Total)))
				}
			}
			if averages {
				for i := range all {
					row = append(row, number(all[i].average(&s.Period, s.Length)))
				}
			}
			return row
		})
	}
}

// processRows are the numbers over all databases, a row for each.
func processRows(all []measure) func(*State) [][]any {
	return func(st *State) [][]any {
		var total, period Numbers
		var length time.Duration
		for i := range st.Stats {
			total.Add(&st.Stats[i].Total)
			period.Add(&st.Stats[i].Period)
			length = max(length, st.Stats[i].Length)
		}
		rows := make([][]any, 0, 2*len(all))
		for i := range all {
			rows = append(rows, []any{"total_" + all[i].process, number(all[i].of(&total))})
		}
		for i := range all {
			rows = append(rows, []any{"avg_" + all[i].process, number(all[i].average(&period, length))})
		}
		return rows
	}
}

// Add adds o to n.
func (n *Numbers) Add(o *Numbers) { n.combine(o, 1) }

// Subtract takes o off n. What has become less counts as nothing: a pool that has gone took its numbers along.
func (n *Numbers) Subtract(o *Numbers) {
	n.combine(o, -1)
	for _, v := range n.fields() {
		*v = max(*v, 0)
	}
}

func (n *Numbers) combine(o *Numbers, sign int64) {
	other := o.fields()
	for i, v := range n.fields() {
		*v += sign * *other[i]
	}
}

func (n *Numbers) fields() [12]*int64 {
	return [12]*int64{
		&n.Assignments, &n.Transactions, &n.Queries, &n.Received, &n.Sent, &n.TransactionTime, &n.QueryTime, &n.WaitTime,
		&n.ClientParses, &n.ServerParses, &n.Binds, &n.Logins,
	}
}
