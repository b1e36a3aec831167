package wire

// The SQLSTATEs that we say ourselves. What a server says passes through untouched. The list is closed: a new code
// needs a sentence here that tells when it is sent.
const (
	// CodeConnectionException: a client's connection cannot go on, for a reason that none of the codes below names.
	CodeConnectionException = "08000"
	// CodeConnectionFailure: the server connection broke while this client held it, and nothing of it may be repeated.
	CodeConnectionFailure = "08006"
	// CodeTransactionResolutionUnknown: the server was lost after it was sent a COMMIT or a write outside a transaction.
	CodeTransactionResolutionUnknown = "08007"
	// CodeProtocolViolation: the client sent bytes that are not the protocol, or not at this point.
	CodeProtocolViolation = "08P01"
	// CodeFeatureNotSupported: the request is valid, but cannot work through a pool or is not spoken here.
	CodeFeatureNotSupported = "0A000"
	// CodeReadOnlyTransaction: a write reached a place where only reads are allowed.
	CodeReadOnlyTransaction = "25006"
	// CodeNoActiveTransaction: the command is allowed only inside a transaction block.
	CodeNoActiveTransaction = "25P01"
	// CodeInFailedTransaction: the transaction has failed; only its end is accepted.
	CodeInFailedTransaction = "25P02"
	// CodeInvalidStatementName: a Bind, Describe or EXECUTE names a prepared statement that the client does not have.
	CodeInvalidStatementName = "26000"
	// CodeInvalidAuthorization: the login names no user, or nobody may log in this way.
	CodeInvalidAuthorization = "28000"
	// CodeInvalidPassword: the password or its proof is wrong, or the user is unknown; both sound the same on purpose.
	CodeInvalidPassword = "28P01"
	// CodeInvalidCursorName: an Execute or Describe names a portal that does not exist.
	CodeInvalidCursorName = "34000"
	// CodeInvalidCatalogName: no such database is configured.
	CodeInvalidCatalogName = "3D000"
	// CodeStatementCompletionUnknown: the server was lost during a statement that may or may not have been carried out.
	CodeStatementCompletionUnknown = "40003"
	// CodeSyntaxError: the startup parameter "options" cannot be read.
	CodeSyntaxError = "42601"
	// CodeDuplicateStatement: a Parse names a prepared statement that the client already has.
	CodeDuplicateStatement = "42P05"
	// CodeTooManyConnections: the limit of clients, or of clients of this user or database, is reached.
	CodeTooManyConnections = "53300"
	// CodeLimitExceeded: a configured limit other than that of connections is reached.
	CodeLimitExceeded = "53400"
	// CodeProgramLimitExceeded: a message or a statement is larger than what is accepted.
	CodeProgramLimitExceeded = "54000"
	// CodeObjectNotInPrerequisiteState: the command is valid, but not in the state the connection is in.
	CodeObjectNotInPrerequisiteState = "55000"
	// CodeQueryCanceled: the client cancelled while it waited for a server, or its time was up.
	CodeQueryCanceled = "57014"
	// CodeAdminShutdown: an operator ends this connection, or the process is shutting down.
	CodeAdminShutdown = "57P01"
	// CodeCrashShutdown: the connection is dropped because what it depends on has crashed.
	CodeCrashShutdown = "57P02"
	// CodeCannotConnectNow: no server can be had now (starting, paused, draining, or the wait for one was too long).
	CodeCannotConnectNow = "57P03"
	// CodeIdleSessionTimeout: the client was idle for longer than it may be.
	CodeIdleSessionTimeout = "57P05"
	// CodeSystemError: the operating system refused something (files, memory, descriptors).
	CodeSystemError = "58000"
	// CodeInternalError: a fault of ours; the client learns no more, the log does.
	CodeInternalError = "XX000"
)
