// Package hba decides how a client may prove who it is, by an ordered list of rules as in pg_hba.conf, and which names a
// certificate may log in as, by maps as in pg_ident.conf. It also reads both files.
//
// The first rule that matches a connection decides; where none does, nobody is let in. What a rule says is decided here
// without asking anybody, but for the membership in roles, which the caller knows or finds out.
//
// Invariants: rules and maps are immutable once made; a file is taken as a whole or not at all, and every mistake in it
// is told with its place; where PostgreSQL's own files mean something, it means the same here, or is refused.
//
// Reading order: rule.go, name.go, address.go, maps.go (what is decided), scanner.go, file.go, parse.go (what is read).
package hba
