-- in: header bytea, header_complete boolean, digest bytea, body_size bigint, head bytea
-- in: size bigint, virtual_size bigint, envelope bytea, bodystructure bytea, base64 integer[]
-- out: content_id bigint
SELECT pgbox.content_put($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
