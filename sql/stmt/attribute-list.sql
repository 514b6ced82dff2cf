-- in: mailbox bigint, shared boolean, prefix text
-- out: key text
SELECT a.key
  FROM pgbox.mailbox_attribute AS a
 WHERE a.mailbox_id = $1 AND a.shared = $2 AND pg_catalog.starts_with(a.key, $3)
 ORDER BY a.key
