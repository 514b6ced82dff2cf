-- in: mailbox bigint, uid_next bigint
-- out: first_recent_uid bigint
-- locks: the mailbox's counters
SELECT pgbox.recent_claim($1, $2)
