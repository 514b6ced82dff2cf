-- in: account text, folder text, new_name text
-- out: mailbox_id bigint
-- locks: the account, the mailbox, its counters
SELECT pgbox.folder_undelete($1, $2, $3)
