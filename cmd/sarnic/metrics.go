package main

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sarnicdb/sarnic/pool"
	"github.com/sarnicdb/sarnic/proxy"
	"github.com/sarnicdb/sarnic/proxy/login"
	"github.com/sarnicdb/sarnic/proxy/loop"
)

// newMetrics is the only place where metrics get their names. What is counted elsewhere is read at scrape time.
func newMetrics(b build, logs *logWriter, stats func() proxy.Stats, more ...prometheus.Collector) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "sarnic_build_info",
			Help:        "Always 1; the labels say which sarnic this is.",
			ConstLabels: prometheus.Labels{"version": b.version, "commit": b.commit, "go": b.goVersion},
		}, func() float64 { return 1 }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "sarnic_log_lines_dropped_total",
			Help: "Log lines dropped because the reader of the log was too slow.",
		}, func() float64 { return float64(logs.dropped.Load()) }),
		newProxyCollector(stats),
	)
	registry.MustRegister(more...)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry})
}

// reloadMetrics say whether the configuration that applies is the one in the files.
func reloadMetrics(r *reloader) []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sarnic_config_reload_success",
			Help: "1 if the last attempt to read the configuration was successful, 0 if an older one applies since.",
		}, func() float64 {
			if r.failed.Load() {
				return 0
			}
			return 1
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sarnic_config_reload_timestamp_seconds",
			Help: "When the configuration that applies was read, in Unix time.",
		}, func() float64 { return float64(r.at.Load()) / 1e9 }),
	}
}

// metric is one number of an S, a snapshot.
type metric[S any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(S) float64
}

// proxyCollector shows the proxy's own snapshot.
type proxyCollector struct {
	stats       func() proxy.Stats
	clients     *prometheus.Desc
	connections *prometheus.Desc
	pools       []metric[pool.Stats]
	pins        []metric[*pool.PinCounter]
	loops       []metric[loop.Stats]
	logins      []metric[login.Stats]
}

func newProxyCollector(stats func() proxy.Stats) *proxyCollector {
	return &proxyCollector{
		stats:   stats,
		clients: prometheus.NewDesc("sarnic_clients", "Clients logged in.", nil, nil),
		connections: prometheus.NewDesc("sarnic_pool_connections",
			"Server connections of a pool by state.", []string{"database", "user", "state"}, nil),
		pools:  poolMetrics(),
		pins:   pinMetrics(),
		loops:  loopMetrics(),
		logins: loginMetrics(),
	}
}

func poolMetrics() []metric[pool.Stats] {
	type stats = pool.Stats
	of := func(kind prometheus.ValueType, name, help string, read func(stats) float64) metric[stats] {
		return metric[stats]{prometheus.NewDesc("sarnic_pool_"+name, help, []string{"database", "user"}, nil), kind, read}
	}
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	const nanosecond = 1e-9
	return []metric[stats]{
		of(gauge, "waiting_clients", "Clients waiting for a server connection.",
			func(s stats) float64 { return float64(s.Waiting) }),
		of(gauge, "oldest_wait_seconds", "How long the first of the waiting clients has waited.",
			func(s stats) float64 { return s.OldestWait.Seconds() }),
		of(counter, "requests_total", "Requests answered by the server.",
			func(s stats) float64 { return float64(s.Counters.Queries.Load()) }),
		of(counter, "transactions_total", "Times a server connection was given back.",
			func(s stats) float64 { return float64(s.Counters.Transactions.Load()) }),
		of(counter, "received_bytes_total", "Bytes received from clients.",
			func(s stats) float64 { return float64(s.Counters.Received.Load()) }),
		of(counter, "sent_bytes_total", "Bytes sent to clients.",
			func(s stats) float64 { return float64(s.Counters.Sent.Load()) }),
		of(counter, "waits_total", "Times a client had to wait for a server connection.",
			func(s stats) float64 { return float64(s.Counters.Waits.Load()) }),
		of(counter, "query_seconds_total", "Time that servers took to answer.",
			func(s stats) float64 { return float64(s.Counters.QueryTime.Load()) * nanosecond }),
		of(counter, "wait_seconds_total", "Time that clients have waited for server connections.",
			func(s stats) float64 { return float64(s.Counters.WaitTime.Load()) * nanosecond }),
		of(counter, "dials_total", "Server connections begun.",
			func(s stats) float64 { return float64(s.Counters.Dials.Load()) }),
		of(counter, "dial_failures_total", "Server connections that could not be made.",
			func(s stats) float64 { return float64(s.Counters.DialFailures.Load()) }),
		of(counter, "server_errors_total", "Errors of the server passed on to clients.",
			func(s stats) float64 { return float64(s.Counters.Errors.Load()) }),
	}
}

func pinMetrics() []metric[*pool.PinCounter] {
	type pins = *pool.PinCounter
	of := func(kind prometheus.ValueType, name, help string, read func(pins) float64) metric[pins] {
		return metric[pins]{prometheus.NewDesc("sarnic_pool_"+name, help, []string{"database", "user", "reason"}, nil), kind, read}
	}
	const nanosecond = 1e-9
	return []metric[pins]{
		of(prometheus.GaugeValue, "pinned_clients", "Clients that keep their server connection between transactions.",
			func(p pins) float64 { return float64(p.Now.Load()) }),
		of(prometheus.CounterValue, "pins_total", "Times a client was tied to its server connection.",
			func(p pins) float64 { return float64(p.Times.Load()) }),
		of(prometheus.CounterValue, "pinned_seconds_total", "Time that clients were tied to their server connections, of those that no longer are.",
			func(p pins) float64 { return float64(p.Time.Load()) * nanosecond }),
	}
}

func loopMetrics() []metric[loop.Stats] {
	type stats = loop.Stats
	of := func(kind prometheus.ValueType, name, help string, read func(stats) float64) metric[stats] {
		return metric[stats]{prometheus.NewDesc("sarnic_loop_"+name, help, []string{"loop"}, nil), kind, read}
	}
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	return []metric[stats]{
		of(gauge, "connections", "Sockets of clients and servers on the loop.",
			func(s stats) float64 { return float64(s.Conns) }),
		of(gauge, "fibers", "Fibers lent to a session now.",
			func(s stats) float64 { return float64(s.Fibers) }),
		of(gauge, "coroutines", "Goroutines of fibers: lent, or kept for the next request.",
			func(s stats) float64 { return float64(s.Coroutines) }),
		of(counter, "turns_total", "Rounds of the loop.",
			func(s stats) float64 { return float64(s.Turns) }),
		of(counter, "slow_turns_total", "Rounds longer than 10 ms: something blocked the loop.",
			func(s stats) float64 { return float64(s.Slow) }),
		of(counter, "busy_seconds_total", "Time the loop spent outside its poller.",
			func(s stats) float64 { return s.Busy.Seconds() }),
	}
}

func loginMetrics() []metric[login.Stats] {
	type stats = login.Stats
	of := func(name, help string, read func(stats) int64) metric[stats] {
		return metric[stats]{
			prometheus.NewDesc("sarnic_logins_"+name+"_total", help, nil, nil), prometheus.CounterValue,
			func(s stats) float64 { return float64(read(s)) },
		}
	}
	return []metric[stats]{
		of("accepted", "Clients that have proved who they are.", func(s stats) int64 { return s.Accepted }),
		of("refused", "Logins with a wrong password, proof or certificate.", func(s stats) int64 { return s.Refused }),
		of("rejected", "Logins that no rule allows, whatever they prove.", func(s stats) int64 { return s.Rejected }),
		of("undecided", "Logins about which a server could not be asked.", func(s stats) int64 { return s.Undecided }),
		of("delayed", "Logins that had to wait because others from their address had failed.", func(s stats) int64 { return s.Delayed }),
		of("turned_away", "Logins refused because too many from their address waited already.", func(s stats) int64 { return s.TurnedAway }),
	}
}

// Describe is for the registry.
func (c *proxyCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.clients
	out <- c.connections
	for _, m := range c.pools {
		out <- m.desc
	}
	for _, m := range c.loops {
		out <- m.desc
	}
	for _, m := range c.pins {
		out <- m.desc
	}
	for _, m := range c.logins {
		out <- m.desc
	}
}

// Collect takes one snapshot for all metrics of a scrape.
func (c *proxyCollector) Collect(out chan<- prometheus.Metric) {
	s := c.stats()
	out <- prometheus.MustNewConstMetric(c.clients, prometheus.GaugeValue, float64(s.Clients))
	for _, p := range s.Pools {
		for _, one := range []struct {
			state string
			n     int
		}{{"connecting", p.Connecting}, {"idle", p.Idle}, {"busy", p.Busy}, {"resetting", p.Resetting}} {
			out <- prometheus.MustNewConstMetric(c.connections, prometheus.GaugeValue, float64(one.n), p.Database, p.User, one.state)
		}
		for _, m := range c.pools {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.read(p), p.Database, p.User)
		}
		for i, reason := range proxy.PinReasons() {
			for _, m := range c.pins {
				out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.read(&p.Counters.Pins[i]), p.Database, p.User, reason)
			}
		}
	}
	for _, m := range c.logins {
		out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.read(s.Logins))
	}
	for i, l := range s.Loops {
		for _, m := range c.loops {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.read(l), strconv.Itoa(i))
		}
	}
}
