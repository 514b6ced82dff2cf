-- in: mailbox bigint, shared boolean, key text
-- out: value bytea, changed_at bigint
SELECT a.value, extract(epoch FROM a.changed_at)::bigint
  FROM pgbox.mailbox_attribute AS a
 WHERE a.mailbox_id = $1 AND a.shared = $2 AND a.key = $3
