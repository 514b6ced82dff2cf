-- in: account text, mailbox bigint, reason text
-- locks: the account, the mailbox's counters
SELECT pgbox.mailbox_delete(pgbox.account_find($1), $2, $3)
