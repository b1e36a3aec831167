package main

import "time"

// flow is what goes through a database: per second, and on the average.
type flow struct {
	transactions, queries, received, sent float64
	transaction, query, wait              time.Duration
}

// flow is that of a row of SHOW STATS: between the two samples, or what the console says where there is only one, or where it
// has begun to count anew.
func (p period) flow(row []string) flow {
	l := p.now.stats
	f := flow{
		transactions: float64(l.number(row, "avg_xact_count")), queries: float64(l.number(row, "avg_query_count")),
		received: float64(l.number(row, "avg_recv")), sent: float64(l.number(row, "avg_sent")),
		transaction: micros(l.number(row, "avg_xact_time")), query: micros(l.number(row, "avg_query_time")),
		wait: micros(l.number(row, "avg_wait_time")),
	}
	old, ok := p.earlier(l.text(row, "database"))
	length := p.now.at.Sub(p.before.at).Seconds()
	if !ok || length <= 0 {
		return f
	}
	more := func(column string) float64 {
		return float64(l.number(row, column) - p.before.stats.number(old, column))
	}
	for _, column := range []string{"total_xact_count", "total_query_count", "total_received", "total_sent"} {
		if more(column) < 0 {
			return f
		}
	}
	mean := func(time, by string) time.Duration {
		if n := more(by); n > 0 {
			return micros(int64(max(more(time), 0) / n))
		}
		return 0
	}
	assignments := "total_server_assignment_count"
	if _, known := l.columns[assignments]; !known {
		assignments = "total_xact_count"
	}
	return flow{
		transactions: more("total_xact_count") / length, queries: more("total_query_count") / length,
		received: more("total_received") / length, sent: more("total_sent") / length,
		transaction: mean("total_xact_time", "total_xact_count"), query: mean("total_query_time", "total_query_count"),
		wait: mean("total_wait_time", assignments),
	}
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// earlier is a database's row in the sample before.
func (p period) earlier(database string) ([]string, bool) {
	for _, row := range p.before.stats.rows {
		if p.before.stats.text(row, "database") == database {
			return row, true
		}
	}
	return nil, false
}
