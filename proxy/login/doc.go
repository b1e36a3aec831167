// Package login is the client's side of a login: from the first byte of an accepted connection to the point where the
// client is who it says it is, or has been told why not.
//
// Login runs on an ordinary goroutine, because handshakes and proofs are slow and wait for the client, and reads and
// writes the connection it was given through net.Conn only. What it leaves behind is small: a Client. The buffers of a
// login belong to the Server and are used again for the next one.
//
// Invariants:
//   - nothing received in plain text is ever read as if it had come through TLS: a byte that arrives together with an
//     SSLRequest or a GSSENCRequest ends the login;
//   - what an unknown user is asked and told is what a known user with a wrong password is asked and told;
//   - no length is believed before it is checked, and no password, proof or verifier is part of an error;
//   - a client is asked for a proof only where a rule lets it in, and from where many have failed only after a while;
//   - PBKDF2 runs at most once per secret in plain text, and never on more goroutines than the Server allows;
//   - every answer and every SQLSTATE is PostgreSQL's own, byte for byte where its version does not differ.
//
// Login closes no connection: whoever gave it closes it after an error and after a cancel request.
//
// Reading order: config.go (what an operator chooses), login.go (the life of one login), startup.go and tls.go (until
// the startup packet), params.go (what it says), auth.go, backoff.go, scram.go, message.go and certificate.go (the proof),
// secret.go and userlist.go (what it is checked against), buffer.go, error.go and stats.go.
package login
