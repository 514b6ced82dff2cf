-- No row: there is no such node. Each DELETE of a mailbox asks, so that isn't an
-- error, which the server would log.
-- in: account text, name text, reason text
-- locks: the account
SELECT pgbox.mailbox_delete_node(a.account_id, $2, $3)
  FROM pgbox.account AS a
 WHERE a.name = $1
   AND EXISTS (SELECT 1 FROM pgbox.mailbox AS m
                WHERE m.account_id = a.account_id AND m.name = $2 AND m.guid IS NULL AND m.deleted_at IS NULL)
