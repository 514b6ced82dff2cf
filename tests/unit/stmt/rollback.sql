-- Give up an explicit transaction.
ROLLBACK
