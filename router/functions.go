package router

import (
	"strings"

	pgquery "github.com/pganalyze/pg_query_go/v6"
)

// function tells what a call of the function of that name does to the session; false for one that does nothing or is the
// user's own.
func function(names []*pgquery.Node) (kind Kind, name string, known bool) {
	if len(names) == 0 {
		return 0, "", false
	}
	name = names[len(names)-1].GetString_().GetSval()
	schema := ""
	if len(names) > 1 {
		schema = names[len(names)-2].GetString_().GetSval()
	}
	if kind, known = extensionFunction(name); known {
		return kind, name, true
	}
	if schema != "" && schema != "pg_catalog" {
		return 0, name, false
	}
	kind, known = catalogFunction(name)
	return kind, name, known
}

// catalogFunction is about the functions in pg_catalog.
func catalogFunction(name string) (Kind, bool) {
	switch name {
	case "set_config":
		return SetConfig, true
	case "setseed":
		return SetSeed, true
	case "pg_notify":
		return Notify, true
	case "nextval", "setval":
		return SequenceNext, true
	case "currval", "lastval":
		return SequenceValue, true
	case "pg_backend_pid":
		return BackendPID, true
	case "pg_terminate_backend":
		return TerminateBackend, true
	case "pg_cancel_backend":
		return CancelBackend, true
	case "pg_prepared_statement", "pg_cursor", "pg_listening_channels":
		return SessionView, true
	case "query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "ts_stat", "ts_rewrite":
		return RunsText, true
	case "pg_backup_start", "pg_backup_stop", "pg_start_backup", "pg_stop_backup":
		return Backup, true
	}
	return catalogFamily(name)
}

// catalogFamily is about functions whose names begin alike.
func catalogFamily(name string) (Kind, bool) {
	switch {
	case strings.HasPrefix(name, "pg_advisory_unlock"):
		return SessionUnlock, true
	case strings.HasPrefix(name, "pg_advisory_lock"), strings.HasPrefix(name, "pg_try_advisory_lock"):
		return SessionLock, true
	case strings.HasPrefix(name, "pg_replication_origin_session_"):
		return ReplicationOrigin, true
	case strings.HasSuffix(name, "_replication_slot") && (strings.HasPrefix(name, "pg_create_") || strings.HasPrefix(name, "pg_copy_")):
		return ReplicationSlot, true
	}
	return 0, false
}

// extensionFunction is about functions of extensions, which live in any schema.
func extensionFunction(name string) (Kind, bool) {
	switch {
	case strings.HasPrefix(name, "dblink"):
		return Dblink, true
	case strings.HasPrefix(name, "crosstab"), name == "connectby":
		return RunsText, true
	case name == "set_limit":
		return SetConfig, true
	}
	return 0, false
}
