// Package difftest holds the differential tests of the proxy: the same bytes go to PostgreSQL directly and through the
// proxy in transaction mode, where two clients share one server connection, and the answers are compared message by
// message. PostgreSQL is the oracle: nothing here says what is right, except that a transcript also shows what the server
// said, so that a reader sees what it is about.
//
// The proxy is a program and an address: the tests start `sarnic serve --upstream … --listen … --pool-size 1`, built from
// cmd/sarnic with the tests' own build tags and race detector, or the program that SARNIC_BIN names.
//
// # Transcripts
//
// testdata/*.txt, named by the group of protocol traps they belong to, one step per line, indented lines continue:
//
//	# a comment
//	pool-size 2                              server connections of the proxy, else 1
//	since 18 / up-to 15                      major versions of PostgreSQL the transcript is true for
//	setup SQL                                by the superuser, before the first client comes
//	A connect version=3.2 name=value         log in; without it a client logs in with its first step
//	A> Parse s "SELECT $1::int" | Sync       client A sends these messages in one write
//	A cut 7> Query "SELECT 1"                … only their first seven bytes; `A rest` sends the others
//	A< ParseComplete | ReadyForQuery I       client A reads these messages
//	A nothing                                nothing has come that A has not read
//	A leaves / vanishes / resets             Terminate and read the end / FIN / RST
//	A cancels / miscancels                   a CancelRequest with A's key / with a wrong secret
//	super SQL / super until SQL              by the superuser / repeated until it says true
//
// 250x(Parse s{i} "SELECT {i}" | Sync) repeats, {pad 1000} is a text of a thousand letters. Every transcript runs three
// times: directly, through the proxy, and through the proxy with all writes cut into small pieces and client A behind TLS.
// A client that the transcript leaves connected says Terminate at the end, and may then see nothing but the end of its
// connection.
// `go test -run TestTranscripts -rewrite` writes what the server said into the files.
//
// # The rest
//
// What a text cannot express is Go: cancels that race (cancel_test.go), messages of many megabytes and peers that stop
// reading (large_test.go, slow_test.go), servers that end (terminate_test.go), lie (lying_test.go) and say more than they
// should (talkative_test.go), clients that vanish (vanish_test.go), garbage and wrong passwords (garbage_test.go,
// password_test.go), the queue (queue_test.go), random pipelines (random_test.go) and the canary, where every client owns
// secrets that no other may ever see (canary_test.go).
//
// compare_test.go holds the closed list of permitted differences.
package difftest
