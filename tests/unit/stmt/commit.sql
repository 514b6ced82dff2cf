-- End an explicit transaction. The server answers ROLLBACK instead of COMMIT
-- if a statement of the transaction had failed.
COMMIT
