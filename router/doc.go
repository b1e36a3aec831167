// Package router reads SQL by PostgreSQL's own grammar and says what a text would do to the session that runs it: which
// settings it changes and for how long, where its transaction begins and ends, what it prepares, listens to, locks or creates
// for this session alone. It is pure: a text in, a verdict out, the same one each time.
//
// Two types matter. A Verdict is all that is known of a text. A Part is one thing that one of its statements does. What the
// grammar cannot tell (what a function of the user's own does inside, whether a name means a temporary table) is in no
// verdict; the package comment of whoever uses it says how that is found out.
//
// Three things to know:
//   - A text that was not understood says so (Verdict.Parsed) and says nothing else. Newer syntax than the grammar's and plain
//     mistakes look alike: neither is anything to be sure about.
//   - The grammar is PostgreSQL 17's own C code, natively or as WebAssembly where the program is built without C. Neither
//     bounds its recursion, so a text that nests too deep is refused before it gets there (nesting.go); one parse runs at a
//     time (parse.go).
//   - A verdict is for the encoding the text was read in: UTF-8, or one whose multi-byte characters contain no ASCII.
//
// Reading order: verdict.go and kind.go are what callers see; analyze.go goes through the statements; statement.go,
// settings.go, prepared.go, transaction.go and objects.go read one statement each; calls.go and functions.go look for
// functions anywhere inside; tokens.go finds where things stand in the text.
package router
