-- in: digest bytea, number integer, data bytea, base64 integer[]
SELECT pgbox.body_chunk_put($1, $2, $3, $4)
