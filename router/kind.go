package router

// Kind is what a Part does, in the words a reason or a log line would use.
type Kind uint8

// The kinds. What a comment names of a Part is set for that kind beside the positions.
const (
	// Settings.

	Set                Kind = iota // SET, SET SESSION: Name, Value
	SetDefault                     // SET x TO DEFAULT: back to what the session began with
	SetLocal                       // SET LOCAL, also TO DEFAULT (HasValue false): until the transaction ends
	Reset                          // RESET x
	ResetAll                       // RESET ALL
	SetTransaction                 // SET TRANSACTION, or a SET of transaction_isolation and its like: this transaction only
	SetCharacteristics             // SET SESSION CHARACTERISTICS: one part for each default_transaction_ parameter
	SetConstraints                 // SET CONSTRAINTS: this transaction only
	SetConfig                      // a call of set_config whose third argument is false, or not to be told (Unknown)
	SetConfigLocal                 // a call of set_config whose third argument is true
	UpdateSettings                 // UPDATE pg_settings: the rule on that view calls set_config
	SetSeed                        // setseed() or the parameter seed: random() goes on from there

	// Transactions.

	Begin
	Commit
	CommitAndChain
	Rollback
	RollbackAndChain
	Savepoint
	RollbackTo
	Release
	PrepareTransaction // Name is the transaction's identifier, here and for the next two
	CommitPrepared
	RollbackPrepared

	// Prepared statements and cursors.

	Prepare // Args is the list of types, Body the statement, Inner its verdict
	Execute // Args is the list of arguments
	Deallocate
	DeallocateAll
	Declare
	DeclareHold // a cursor WITH HOLD: it outlives its transaction
	CloseCursor
	CloseAll

	// Everything at once.

	DiscardAll
	DiscardPlans
	DiscardSequences
	DiscardTemp

	// Notifications.

	Listen
	Unlisten
	UnlistenAll
	Notify // NOTIFY, or a call of pg_notify

	// What belongs to one session of the server.

	CreateTemp        // Value is "drop" with ON COMMIT DROP
	UsesTemp          // names the schema pg_temp
	Drop              // may end a temporary object; Value is what is dropped, such as "table"
	SessionLock       // pg_advisory_lock and its like, not those of a transaction
	SessionUnlock     // pg_advisory_unlock, pg_advisory_unlock_all
	SequenceNext      // nextval, setval: what currval then gives
	SequenceValue     // currval, lastval
	Dblink            // connections of dblink live in the session
	ReplicationOrigin // pg_replication_origin_session_setup and its like
	ReplicationSlot   // pg_create_..._replication_slot, pg_copy_..._replication_slot: a temporary slot lives in the session
	Backup            // pg_backup_start, pg_backup_stop: one session for both
	Load              // LOAD
	SessionView       // reads what this session has: pg_prepared_statements, pg_cursors, pg_listening_channels

	// Processes.

	BackendPID // a call of pg_backend_pid
	TerminateBackend
	CancelBackend

	// What hides more.

	Do       // Value is the language, Harmless what a look at the words of the body gave
	Call     // CALL of a procedure
	RunsText // a function that runs SQL given to it as a string: query_to_xml, ts_stat, crosstab

	// COPY that speaks to the client.

	CopyIn
	CopyOut
)

func (k Kind) String() string {
	names := [...]string{
		"SET", "SET TO DEFAULT", "SET LOCAL", "RESET", "RESET ALL", "SET TRANSACTION", "SET SESSION CHARACTERISTICS",
		"SET CONSTRAINTS", "set_config", "set_config for the transaction", "UPDATE pg_settings", "setseed",
		"BEGIN", "COMMIT", "COMMIT AND CHAIN", "ROLLBACK", "ROLLBACK AND CHAIN", "SAVEPOINT", "ROLLBACK TO SAVEPOINT",
		"RELEASE SAVEPOINT", "PREPARE TRANSACTION", "COMMIT PREPARED", "ROLLBACK PREPARED",
		"PREPARE", "EXECUTE", "DEALLOCATE", "DEALLOCATE ALL", "cursor", "cursor WITH HOLD", "CLOSE", "CLOSE ALL",
		"DISCARD ALL", "DISCARD PLANS", "DISCARD SEQUENCES", "DISCARD TEMP",
		"LISTEN", "UNLISTEN", "UNLISTEN *", "NOTIFY",
		"temporary object", "schema pg_temp", "DROP", "session lock", "session unlock", "nextval", "currval", "dblink",
		"replication origin", "replication slot", "backup", "LOAD", "view of the session",
		"pg_backend_pid", "pg_terminate_backend", "pg_cancel_backend",
		"DO", "CALL", "function that runs a text", "COPY FROM STDIN", "COPY TO STDOUT",
	}
	if int(k) >= len(names) {
		return "unknown"
	}
	return names[k]
}
