-- in: body bigint, first integer, last integer
-- out: number integer, data bytea
-- plan: body_chunk_pkey
SELECT c.number, c.data
  FROM pgbox.body_chunk AS c
 WHERE c.body_id = $1 AND c.number BETWEEN $2 AND $3
 ORDER BY c.number
