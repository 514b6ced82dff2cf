-- in: account text, name text, selectable boolean, guid uuid, uidvalidity bigint, special_use text
-- out: mailbox_id bigint
-- locks: the account
SELECT pgbox.mailbox_create(pgbox.account_find($1), $2, $3, $4, $5, $6)
