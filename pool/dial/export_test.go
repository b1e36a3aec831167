package dial

import "io"

// Admit is what stands between a server and pgconn.
func Admit(c Config, r io.Reader, w io.Writer) io.Reader { return c.admit(c.proof.now(), r, w) }

// Knows reports whether p has anything to prove a role with.
func Knows(p *Proof) bool { return p.last.Load() != nil }
