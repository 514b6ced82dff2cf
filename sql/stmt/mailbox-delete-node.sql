-- in: account text, name text, reason text
-- locks: the account
SELECT pgbox.mailbox_delete_node(pgbox.account_find($1), $2, $3)
