package simtest

import "time"

// op is what a statement does.
type op uint8

const (
	opEmpty     op = iota
	opSelect       // the value n, or the first parameter
	opText         // the key, which is a text here
	opSeries       // 1 to n
	opTexts        // the key and 1 to n behind it
	opTextFails    // n-1 rows, then an error
	opLookup       // the row of a key
	opInsert       // a row
	opPut          // a row, in the place of one that is there
	opUpdate       // v = v + n
	opDelete       // a row
	opDivide       // 1/0, which planning finds out
	opFails        // two rows, then an error
	opSleep        // for d
	opNotice       // a notice that says text
	opCopyIn       // into kv
	opCopyOut      // the rows whose keys begin with text
	opCopyTexts    // as opTexts
	opSet          // application_name to text
	opSetLocal     // the same until the end of the transaction
	opReset        // application_name
	opConfig       // application_name to value if text says so, else to what it was at start: how a pool sets it
	opShow         // application_name
	opListen       // to channel text
	opUnlisten     // to all
	opNotify       // channel text, payload value
	opBegin
	opCommit
	opRollback
	opSavepoint
	opRelease
	opRollbackTo
	opDiscardAll
	opDeallocate    // statement text
	opDeallocateAll // statements
	opPrepare       // statement text, made of inner
	opExecute       // statement text
	opDeclare       // cursor text over inner
	opFetch         // n rows of cursor text
	opCloseCursor   // text
	opNoTable       // an error of analysis
	opStock         // what is in the session: the items of text
	opIdle          // nothing, for there is nothing of what it is about; text is its tag
	opUnlockAll     // of the locks that nobody takes here
)

// statement is one command of the small SQL.
type statement struct {
	op     op
	mark   string // the comment before it, which says whose it is
	text   string
	value  string // a literal beside text
	n      int32
	d      time.Duration
	key    arg
	val    arg
	params []uint32 // types of its parameters
	cols   []column // of its result; nil: it has none
	inner  *statement
	bySQL  bool // made by PREPARE
}

// arg is a literal or a parameter.
type arg struct {
	param int // from 1; 0: the literal
	text  string
	n     int32
}

// column describes one column of a result.
type column struct {
	name string
	oid  uint32
	size int16
}

// The type identifiers of PostgreSQL.
const (
	oidBool = 16
	oidInt4 = 23
	oidText = 25
	oidVoid = 2278
)

func int4(name string) []column { return []column{{name, oidInt4, 4}} }
func text(name string) []column { return []column{{name, oidText, -1}} }

func boolean(name string) []column { return []column{{name, oidBool, 1}} }

// endsTransaction reports whether s is allowed in a transaction that has failed.
func (s *statement) endsTransaction() bool {
	return s.op == opCommit || s.op == opRollback || s.op == opRollbackTo
}

// controls reports whether s is a command whose Execute ends what Sync would end.
func (s *statement) controls() bool {
	switch s.op {
	case opBegin, opCommit, opRollback, opSavepoint, opRelease, opRollbackTo:
		return true
	}
	return false
}

// plain reports whether s is a SELECT: its portal can be run again and stopped between rows.
func (s *statement) plain() bool {
	switch s.op {
	case opSelect, opText, opSeries, opTexts, opTextFails, opLookup, opDivide, opFails, opSleep, opUnlockAll:
		return true
	}
	return false
}
