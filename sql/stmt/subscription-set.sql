-- in: account text, name text, subscribed boolean
-- out: changed boolean
-- locks: the account, if that changes anything
SELECT pgbox.subscription_set(pgbox.account_find($1), $2, $3)
