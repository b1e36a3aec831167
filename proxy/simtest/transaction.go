package simtest

import (
	"strings"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

func (b *Backend) transactionCommand(st *statement) (tag string, err *wire.Error) {
	switch st.op {
	case opBegin:
		if b.tx.block {
			b.notice("WARNING", "25001", "there is already a transaction in progress")
		}
		b.tx.block, b.tx.implicit = true, false
		return "BEGIN", nil
	case opCommit:
		return b.endBlock("COMMIT"), nil
	case opRollback:
		return b.endBlock("ROLLBACK"), nil
	}
	if !b.tx.block {
		return "", noBlock(strings.ToUpper(map[op]string{
			opSavepoint: "savepoint", opRelease: "release savepoint", opRollbackTo: "rollback to savepoint",
		}[st.op]))
	}
	if st.op == opSavepoint {
		b.savepoint(st.text)
		return "SAVEPOINT", nil
	}
	i := b.saved(st.text)
	if i < 0 {
		return "", &wire.Error{Code: "3B001", Message: "savepoint does not exist"}
	}
	if st.op == opRelease {
		b.tx.saves = b.tx.saves[:i]
		return "RELEASE", nil
	}
	b.rollbackTo(i)
	return "ROLLBACK", nil
}

// endBlock is COMMIT and ROLLBACK. Outside a block they warn, and end what has been done all the same.
func (b *Backend) endBlock(how string) (tag string) {
	if !b.tx.block {
		b.notice("WARNING", wire.CodeNoActiveTransaction, "there is no transaction in progress")
	}
	if how == "COMMIT" && !b.tx.failed {
		b.commit()
		return "COMMIT"
	}
	b.rollback()
	return "ROLLBACK"
}
