package router

// Verdict is what is known of a text. It never changes once made, so it may be kept and shared.
type Verdict struct {
	Parsed bool   // false: not understood, by mistake of the text or of the grammar's age; nothing else is set
	Count  int    // how many statements; 0 for comments and nothing
	Parts  []Part // what they do to the session, in the order of the text
}

// Part is one thing that a statement does to the session. Which fields are set depends on Kind.
type Part struct {
	Kind     Kind
	Stmt     int      // which statement of the text, from 0
	At, End  int      // where it stands in the text: the call where it is one, else the statement; no blanks, no semicolon
	Name     string   // of the parameter (lower case), statement, channel, savepoint, cursor, function
	Value    string   // of the parameter as set_config takes it; see Kind for others
	HasValue bool     // Value is the whole truth; else it is the default, an expression, or a list only the server can spell
	Unknown  bool     // Name, how long it holds, or the process meant, is an expression nobody can tell beforehand
	Harmless bool     // Do: no word in the body that could change the session by itself; functions it calls may
	Args     Span     // between the parentheses of PREPARE's types or EXECUTE's arguments; the pid where it is a literal
	Body     Span     // PREPARE: the statement prepared
	Text     string   // Do: the body, unquoted; Notify: the payload
	Inner    *Verdict // Prepare: of Body on its own, positions relative to it
	CallSite          // where Kind is a function
}

// CallSite is more about a Part that is a call of a function.
type CallSite struct {
	Arg      int  // n where $n is the name given to set_config, the channel of pg_notify or the pid to end; 0: none
	ValueArg int  // n where $n is the value given to set_config; 0: none
	LocalArg int  // n where $n says whether set_config is for the transaction; 0: none
	PID      int  // the pid to end where it is a literal; 0: none
	Alone    bool // it is an unnamed column of a SELECT or RETURNING, which takes its name from the function: a replacement needs AS; At and End include parentheses around it
	Names    bool // the column takes the function's name although the call is inside a cast: a replacement would rename it
	From     bool // it stands in FROM, where no other expression could
	Once     bool // it runs exactly once if the statement succeeds: SELECT without FROM, WHERE or the like
	Stored   bool // it is part of a definition the server keeps: it may run now, later or never, and must not be rewritten
}

// Span is a range of bytes in a text. The zero Span is none.
type Span struct{ At, End int }

// In returns the bytes of text it stands for.
func (s Span) In(text string) string { return text[s.At:s.End] }

// Empty tells that there is none, or nothing in it.
func (s Span) Empty() bool { return s.At >= s.End }
