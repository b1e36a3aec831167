package main

// loginOptions say who may log in.
func loginOptions() []option {
	return []option{
		{"admin_users", "", anyText, composed, "admin.users", ""},
		{"auth_dbname", "", anyText, composed, "auth.database", ""},
		{"auth_file", "", anyText, composed, "auth.file", ""},
		{"auth_hba_file", "", anyText, composed, "auth.hba_file", ""},
		{"auth_ident_file", "", anyText, composed, "auth.ident_file", ""},
		{"auth_ldap_options", "", anyText, missing, "", whyLDAP},
		{"auth_query", authQuery, anyText, composed, "auth.query", ""},
		{"auth_type", "md5", authTypes(), composed, "auth.method", ""},
		{"auth_user", "", anyText, composed, "auth.user", ""},
		{"client_login_timeout", "60", seconds, mapped, "auth.login_timeout", ""},
		{"scram_iterations", "4096", number, missing, "", "secrets made of passwords in plain text have 4096 iterations"},
		{"stats_users", "", anyText, composed, "admin.stats_users", ""},
		{"user", "", anyText, elsewhere, "", "start it as that user: User= of the unit, runAsUser of the container"},
	}
}

// poolOptions say how connections are shared.
func poolOptions() []option {
	return []option{
		{"application_name_add_host", "0", number, missing, "", "application_name is passed on as the client sets it"},
		{"default_pool_size", "20", count, mapped, "pool.size", ""},
		{"disable_pqexec", "0", number, missing, "", "the simple protocol cannot be switched off"},
		{"ignore_startup_parameters", "", anyText, needless, "", "every parameter is taken, and works as on a direct connection"},
		{"max_client_conn", "100", count, mapped, "limits.max_clients", ""},
		{"max_db_client_connections", "0", count, missing, "", "clients are limited over all databases only"},
		{"max_db_connections", "0", count, composed, "databases.*.max_connections", ""},
		{"max_prepared_statements", "200", count, mapped, "pool.statements", ""},
		{"max_user_client_connections", "0", count, missing, "", "clients are limited over all users only"},
		{"max_user_connections", "0", count, composed, "users.*.max_connections", ""},
		{"min_pool_size", "0", count, mapped, "pool.min_size", ""},
		{"pool_mode", "session", poolModes(), mapped, "pool.mode", ""},
		{"reserve_pool_size", "0", count, mapped, "pool.reserve", ""},
		{"track_extra_parameters", "IntervalStyle", anyText, needless, "", "every setting travels with its client"},
	}
}

// serverOptions say how long things may take, and how servers are looked after.
func serverOptions() []option {
	return []option{
		{"autodb_idle_timeout", "3600", seconds, needless, "", "a pool that nobody uses costs next to nothing"},
		{"cancel_wait_timeout", "10", seconds, needless, "", "a cancel request does not queue for a server connection"},
		{"client_idle_timeout", "0", seconds, missing, "", "no such limit; TCP keepalive finds clients that have vanished"},
		{"idle_transaction_timeout", "0", seconds, missing, "", whyOnServer + "idle_in_transaction_session_timeout of the role or database"},
		{"pool_idle_timeout", "0", seconds, needless, "", "a pool that nobody uses costs next to nothing"},
		{"query_timeout", "0", seconds, missing, "", whyOnServer + "statement_timeout of the role or database"},
		{"query_wait_notify", "5", wholeSeconds, mapped, "pool.wait_notice", ""},
		{"query_wait_timeout", "120", seconds, mapped, "pool.wait_timeout", ""},
		{"reserve_pool_timeout", "5", seconds, mapped, "pool.reserve_after", ""},
		{"server_check_delay", "30", seconds, needless, "", whyCheck},
		{"server_check_query", "<empty>", anyText, needless, "", whyCheck},
		{"server_connect_timeout", "15", seconds, mapped, "pool.connect_timeout", ""},
		{"server_fast_close", "0", number, missing, "", "in session mode a client keeps its connection until it leaves"},
		{"server_idle_timeout", "600", seconds, mapped, "pool.idle_timeout", ""},
		{"server_lifetime", "3600", seconds, mapped, "pool.lifetime", ""},
		{"server_login_retry", "15", seconds, needless, "", "the server is tried again while clients wait, and they are told its own error"},
		{"server_reset_query", "DISCARD ALL", anyText, needless, "", whyClean},
		{"server_reset_query_always", "0", number, needless, "", whyClean},
		{"server_round_robin", "0", number, missing, "", "the connection used last is used first"},
		{"transaction_timeout", "0", seconds, missing, "", whyOnServer + "transaction_timeout (since 17) of the role or database"},
	}
}

// networkOptions are about sockets.
func networkOptions() []option {
	return []option{
		{"dns_max_ttl", "15", seconds, needless, "", whyDNS},
		{"dns_nxdomain_ttl", "15", seconds, needless, "", whyDNS},
		{"dns_zone_check_period", "0", seconds, missing, "", whyDNS + "; those to an old address last for pool.lifetime, or until RECONNECT"},
		{"listen_addr", "", anyText, composed, "listen", ""},
		{"listen_backlog", "128", number, needless, "", "the backlog is the system's somaxconn"},
		{"listen_port", "6432", count, composed, "listen", ""},
		{"max_packet_size", "2147483647", number, missing, "", "a message may have 1 GiB, as on the server"},
		{"peer_id", "0", number, missing, "", "cancel requests are not passed on to other processes; one process uses several cores"},
		{"pkt_buf", "4096", number, needless, "", "buffers grow and shrink by themselves"},
		{"resolv_conf", "", anyText, missing, "", "names are looked up as the system says"},
		{"sbuf_loopcnt", "5", number, needless, "", "clients take turns by themselves"},
		{"so_reuseport", "0", number, needless, "", "one process uses several cores, and restart.socket replaces it without a refused connection"},
		{"suspend_timeout", "10", seconds, needless, "", "SUSPEND waits as long as transactions run"},
		{"tcp_defer_accept", "1", number, needless, "", "a client that says nothing is ended by auth.login_timeout"},
		{"tcp_keepalive", "1", number, missing, "", whyKeepalive},
		{"tcp_keepcnt", "0", number, missing, "", whyKeepalive},
		{"tcp_keepidle", "0", number, missing, "", whyKeepalive},
		{"tcp_keepintvl", "0", number, missing, "", whyKeepalive},
		{"tcp_socket_buffer", "0", number, missing, "", "the kernel sizes the buffers"},
		{"tcp_user_timeout", "0", number, missing, "", "fixed: a server has 30 s to acknowledge what was sent"},
		{"unix_socket_dir", "/tmp", anyText, composed, "unix_socket.dir", ""},
		{"unix_socket_group", "", anyText, missing, "", "set the group of the directory, with its setgid bit"},
		{"unix_socket_mode", "0777", bits, composed, "unix_socket.mode", ""},
	}
}

// tlsOptions are about TLS on both sides.
func tlsOptions() []option {
	return []option{
		{"client_tls13_ciphers", "", anyText, missing, "", whyTLS},
		{"client_tls_ca_file", "", anyText, composed, "tls.client_ca", ""},
		{"client_tls_cert_file", "", anyText, composed, "tls.cert", ""},
		{"client_tls_ciphers", "default", tlsCiphers, missing, "", whyTLS},
		{"client_tls_dheparams", "auto", anyText, needless, "", "keys are exchanged over elliptic curves only"},
		{"client_tls_ecdhcurve", "auto", anyText, missing, "", whyTLS},
		{"client_tls_key_file", "", anyText, composed, "tls.key", ""},
		{"client_tls_protocols", "secure", tlsProtocols, missing, "", "TLS 1.2 and 1.3 are spoken, as by default"},
		{"client_tls_sslmode", "disable", sslModes(), composed, "tls.mode", ""},
		{"server_tls13_ciphers", "", anyText, missing, "", whyTLS},
		{"server_tls_ca_file", "", anyText, composed, "databases.*.upstream", ""},
		{"server_tls_cert_file", "", anyText, composed, "databases.*.upstream", ""},
		{"server_tls_ciphers", "default", tlsCiphers, missing, "", whyTLS},
		{"server_tls_key_file", "", anyText, composed, "databases.*.upstream", ""},
		{"server_tls_protocols", "secure", tlsProtocols, missing, "", "TLS 1.2 and 1.3 are spoken, as by default"},
		{"server_tls_sslmode", "prefer", sslModes(), composed, "databases.*.upstream", ""},
	}
}

// processOptions are about the process and its log.
func processOptions() []option {
	return []option{
		{"conffile", "", anyText, needless, "", "the file of --config is read again"},
		{"job_name", "pgbouncer", anyText, needless, "", "for Windows"},
		{"log_connections", "1", number, needless, "", whyLogWhat},
		{"log_disconnections", "1", number, needless, "", whyLogWhat},
		{"log_pooler_errors", "1", number, needless, "", whyLogWhat},
		{"log_stats", "1", number, needless, "", "the numbers are at /metrics, and in SHOW STATS"},
		{"logfile", "", anyText, elsewhere, "", whyLog},
		{"login_notify_message", "", anyText, missing, "", "nothing is told to clients that the server does not tell"},
		{"pidfile", "", anyText, elsewhere, "", "the process stays in the foreground, under systemd or in a container"},
		{"service_name", "", anyText, needless, "", "for Windows"},
		{"stats_period", "60", number, missing, "", "averages are over the last one to two minutes"},
		{"syslog", "0", number, elsewhere, "", whyLog},
		{"syslog_facility", "daemon", anyText, elsewhere, "", whyLog},
		{"syslog_ident", "pgbouncer", anyText, elsewhere, "", whyLog},
		{"verbose", "0", number, elsewhere, "", "--log-level debug"},
	}
}
