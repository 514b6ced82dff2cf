-- in: digest bytea, number integer, data bytea
SELECT pgbox.body_chunk_put($1, $2, $3)
