-- in: account text, mailbox bigint, uidvalidity bigint, guid uuid, min_uid_next bigint, min_first_recent_uid bigint, min_modseq bigint
-- locks: the account, the mailbox's counters
SELECT pgbox.mailbox_update(pgbox.account_find($1), $2, $3, $4, $5, $6, $7)
