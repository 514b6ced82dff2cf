-- in: account text, old text, new text, reason text
-- locks: the account
SELECT pgbox.mailbox_rename(pgbox.account_find($1), $2, $3, $4)
