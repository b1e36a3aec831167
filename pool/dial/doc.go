// Package dial makes connections to PostgreSQL servers, logged in and in step, and hands over the bare connection.
//
// The login itself (TLS, SCRAM, md5, certificates, several hosts) is pgconn's, but for roles whose password nobody knows
// here: for these a doorman answers the server's request for a proof from what the role's own login has shown. Around it
// this package sees to what a pool needs: the socket's options, the connection that the caller wants under the TLS
// (Config.Wrap), that no byte stays behind in a buffer of pgconn, that no deadline stays on the socket, and errors that
// say what failed without telling secrets.
//
// Invariants:
//   - a Server is idle (status I), has been sent nothing but its login, and everything it said has been read by us or
//     is still in the socket;
//   - every setting of a Server is the server's own default but for what the DSN names, so that a client which sets
//     nothing sees what it would see on a direct connection (an empty application_name, for one);
//   - an error of Dial or Cancel is an *Error; what its Told says may be shown to a client.
//
// Reading order: config.go (a DSN), dial.go, passthrough.go (logins without a password), cancel.go, asker.go (questions of
// our own), equal.go, error.go, socket_linux.go.
package dial
