package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// views lists every SHOW that gives rows. Columns of our own stand behind PgBouncer's.
func views(version string) []view {
	return slices.Concat(poolViews(), socketViews(), statsViews(), ownViews(), processViews(version), emptyViews())
}

func poolViews() []view {
	return []view{
		{
			name: "databases", needs: Counts,
			columns: columns("name s, host s, port i, database s, force_user s, pool_size i, min_pool_size i, reserve_pool_size i, " +
				"server_lifetime i, pool_mode s, load_balance_hosts s, max_connections i, current_connections i, " +
				"max_client_connections i, current_client_connections i, paused i, disabled i"),
			rows: func(st *State) [][]any { return each(st.Databases, databaseRow) },
		},
		{
			name: "pools", needs: Counts,
			columns: columns("database s, user s, cl_active i, cl_waiting i, cl_active_cancel_req i, cl_waiting_cancel_req i, " +
				"sv_active i, sv_active_cancel i, sv_being_canceled i, sv_idle i, sv_used i, sv_tested i, sv_login i, " +
				"maxwait i, maxwait_us i, pool_mode s, load_balance_hosts s"),
			rows: func(st *State) [][]any { return each(st.Pools, poolRow) },
		},
		{
			name: "users", needs: Counts,
			columns: columns("name s, pool_size s, reserve_pool_size s, pool_mode s, max_user_connections i, current_connections i, " +
				"max_user_client_connections i, current_client_connections i"),
			rows: func(st *State) [][]any { return each(st.Users, userRow) },
		},
		{
			name: "lists", needs: Counts, columns: columns("list s, items i"), rows: listRows,
		},
	}
}

// each makes a row of each of all.
func each[T any](all []T, row func(*T) []any) [][]any {
	rows := make([][]any, len(all))
	for i := range all {
		rows[i] = row(&all[i])
	}
	return rows
}

func databaseRow(d *Pooled) []any {
	return []any{
		d.Name, orNull(d.Host), small(d.Port), d.Database, orNull(d.ForceUser), small(d.PoolSize), small(d.MinPoolSize),
		small(d.Reserve), seconds(d.Lifetime), orNull(d.Mode), nil, small(d.MaxConnections), small(d.Connections),
		small(d.MaxClients), small(d.Clients), flag(d.Paused), flag(d.Disabled),
	}
}

func poolRow(p *Pool) []any {
	const used = 0 // no connection needs a check before it is lent again
	return []any{
		p.Database, p.User, small(p.Active), small(p.Waiting), small(p.CancelsActive), small(p.CancelsWaiting),
		small(p.ServersActive), small(p.ServersCanceling), small(p.ServersCanceled), small(p.ServersIdle), small(used),
		small(p.ServersTested), small(p.ServersLogin), seconds(p.MaxWait), micros(p.MaxWait), p.Mode, nil,
	}
}

func userRow(u *User) []any {
	return []any{
		u.Name, "", "", nil, small(u.MaxConnections), small(u.Connections), small(u.MaxClients), small(u.Clients),
	}
}

func listRows(st *State) [][]any {
	servers := 0
	for _, p := range st.Pools {
		servers += p.ServersActive + p.ServersIdle + p.ServersTested + p.ServersLogin + p.ServersCanceled
	}
	clients := 0
	for _, p := range st.Pools {
		clients += p.Active + p.Waiting
	}
	// Freed clients and servers are not kept, and names are not looked up here: what PgBouncer counts of them is 0.
	return [][]any{
		{"databases", small(len(st.Databases))},
		{"users", small(len(st.Users))},
		{"peers", small(0)},
		{"pools", small(len(st.Pools))},
		{"peer_pools", small(0)},
		{"free_clients", small(0)},
		{"used_clients", small(clients)},
		{"login_clients", small(st.LoginClients)},
		{"free_servers", small(0)},
		{"used_servers", small(servers)},
		{"dns_names", small(0)},
		{"dns_zones", small(0)},
		{"dns_queries", small(0)},
		{"dns_pending", small(0)},
	}
}

const socketColumns = "type s, user s, database s, replication s, state s, addr s, port i, local_addr s, local_port i, " +
	"connect_time s, request_time s, wait i, wait_us i, close_needed i, ptr s, link s, remote_pid i, tls s, " +
	"application_name s, prepared_statements i, id i"

const bufferColumns = ", recv_pos i, pkt_pos i, pkt_remain i, send_pos i, send_remain i, pkt_avail i, send_avail i"

func socketViews() []view {
	return []view{
		{
			name: "clients", needs: Sockets, columns: columns(socketColumns),
			rows: func(st *State) [][]any { return each(st.Clients, socketRow) },
		},
		{
			name: "servers", needs: Sockets, columns: columns(socketColumns),
			rows: func(st *State) [][]any { return each(st.Servers, socketRow) },
		},
		{
			name: "sockets", needs: Sockets, columns: columns(socketColumns + bufferColumns),
			rows: func(st *State) [][]any { return each(slices.Concat(st.Clients, st.Servers), bufferRow) },
		},
		{
			name: "active_sockets", needs: Sockets, columns: columns(socketColumns + bufferColumns),
			rows: func(st *State) [][]any {
				all := slices.DeleteFunc(slices.Concat(st.Clients, st.Servers), func(s Socket) bool {
					return s.Unparsed+s.Remaining+s.Unsent == 0
				})
				return each(all, bufferRow)
			},
		},
	}
}

func socketRow(s *Socket) []any {
	kind, other := "C", "S"
	if s.Server {
		kind, other = other, kind
	}
	link := ""
	if s.Link != 0 {
		link = other + fmt.Sprint(s.Link)
	}
	return []any{
		kind, s.User, s.Database, "none", s.State, s.Addr, small(s.Port), s.LocalAddr, small(s.LocalPort),
		moment(s.ConnectTime), moment(s.RequestTime), seconds(s.Wait), micros(s.Wait), flag(s.CloseNeeded),
		kind + fmt.Sprint(s.ID), link, small(s.RemotePID), s.TLS, s.Application, small(s.Statements), small(s.ID),
	}
}

// bufferRow is a socket's with what lies in its buffers, under the names of states that PgBouncer has there.
func bufferRow(s *Socket) []any {
	row := socketRow(s)
	prefix := "cl_"
	if s.Server {
		prefix = "sv_"
	}
	row[4] = prefix + s.State
	switch s.State {
	case "idle":
		if !s.Server {
			row[4] = "cl_active"
		}
	case "new":
		row[4] = "sv_login"
	}
	return append(row, small(s.Unparsed), small(0), small(s.Remaining), small(0), small(s.Unsent),
		small(s.Unparsed), small(s.Unsent))
}

func ownViews() []view {
	return []view{
		{
			name: "pins", needs: Sockets,
			columns: columns("database s, user s, client_pid i, server_pid i, reason s, since s, seconds q, application_name s"),
			rows: func(st *State) [][]any {
				return each(st.Pins, func(p *Pin) []any {
					return []any{
						p.Database, p.User, small(p.ClientPID), small(p.ServerPID), p.Reason, moment(p.Since),
						number(max(time.Since(p.Since)/time.Second, 0)), p.Application,
					}
				})
			},
		},
		{
			name: "statements", needs: Texts, operator: true, // a text may say what its client is about
			columns: columns("name s, database s, user s, uses q, servers i, query s"),
			rows: func(st *State) [][]any {
				return each(st.Statements, func(s *Statement) []any {
					return []any{s.Name, s.Database, s.User, number(s.Uses), small(s.Servers), s.Query}
				})
			},
		},
	}
}

// dialect is the PgBouncer whose console this one is like.
const dialect = "1.25.2"

// versionText begins as exporters expect and says what answers.
func versionText(version string) string {
	return "PgBouncer " + dialect + " compatible (sarnic " + cmp.Or(strings.Trim(version, "()"), "devel") + ")"
}

func processViews(version string) []view {
	return []view{
		{
			name: "config", needs: Settings, columns: columns("key s, value s, default s, changeable s"),
			rows: func(st *State) [][]any {
				return each(st.Config, func(c *Setting) []any { return []any{c.Key, c.Value, c.Default, yesNo(c.Changeable)} })
			},
		},
		{
			name: "mem", needs: MemoryUse, columns: columns("name s, size i, used i, free i, memtotal i"),
			rows: func(st *State) [][]any {
				return each(st.Memory, func(m *Memory) []any {
					return []any{m.Name, small(m.Size), small(m.Used), small(m.Free), small(m.Size * (m.Used + m.Free))}
				})
			},
		},
		{
			name: "state", needs: PauseStates, columns: columns("key s, value s"),
			rows: func(st *State) [][]any {
				return [][]any{
					{"active", yesNo(!st.Paused && !st.Suspended)},
					{"paused", yesNo(st.Paused)},
					{"suspended", yesNo(st.Suspended)},
				}
			},
		},
		{
			name: "version", columns: columns("version s"),
			rows: func(*State) [][]any { return [][]any{{versionText(version)}} },
		},
	}
}

// emptyViews are of what there is nothing of here: peers, an own DNS cache, descriptors to take over.
func emptyViews() []view {
	none := func(*State) [][]any { return nil }
	return []view{
		{name: "peers", rows: none, columns: columns("peer_id i, host s, port i, pool_size i")},
		{name: "peer_pools", rows: none, columns: columns("peer_id i, cl_active_cancel_req i, cl_waiting_cancel_req i, " +
			"sv_active_cancel i, sv_login i")},
		{name: "dns_hosts", rows: none, columns: columns("hostname s, ttl q, addrs s")},
		{name: "dns_zones", rows: none, columns: columns("zonename s, serial q, count i")},
		{name: "fds", rows: none, operator: true, columns: columns("fd i, task s, user s, database s, addr s, port i, cancel q, " +
			"link i, client_encoding s, std_strings s, datestyle s, timezone s, password s, scram_client_key b, scram_server_key b")},
	}
}
