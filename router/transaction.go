package router

import pgquery "github.com/pganalyze/pg_query_go/v6"

// transaction notes where a transaction or a part of one begins or ends.
func (a *analysis) transaction(n *pgquery.TransactionStmt) {
	switch n.GetKind() {
	case pgquery.TransactionStmtKind_TRANS_STMT_BEGIN, pgquery.TransactionStmtKind_TRANS_STMT_START:
		a.add(Part{Kind: Begin})
	case pgquery.TransactionStmtKind_TRANS_STMT_COMMIT:
		a.ended(n, Commit, CommitAndChain)
	case pgquery.TransactionStmtKind_TRANS_STMT_ROLLBACK:
		a.ended(n, Rollback, RollbackAndChain)
	case pgquery.TransactionStmtKind_TRANS_STMT_SAVEPOINT:
		a.add(Part{Kind: Savepoint, Name: n.GetSavepointName()})
	case pgquery.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:
		a.add(Part{Kind: RollbackTo, Name: n.GetSavepointName()})
	case pgquery.TransactionStmtKind_TRANS_STMT_RELEASE:
		a.add(Part{Kind: Release, Name: n.GetSavepointName()})
	case pgquery.TransactionStmtKind_TRANS_STMT_PREPARE:
		a.add(Part{Kind: PrepareTransaction, Name: n.GetGid()})
	case pgquery.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED:
		a.add(Part{Kind: CommitPrepared, Name: n.GetGid()})
	case pgquery.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED:
		a.add(Part{Kind: RollbackPrepared, Name: n.GetGid()})
	}
}

func (a *analysis) ended(n *pgquery.TransactionStmt, plain, chained Kind) {
	if n.GetChain() {
		plain = chained
	}
	a.add(Part{Kind: plain})
}
