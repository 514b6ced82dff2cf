-- in: mailbox bigint, shared boolean, key text, value bytea, changed_at bigint
SELECT pgbox.attribute_set($1, $2, $3, $4, $5)
