-- By digest, not by id: a node may know the digest alone, and it can't mean
-- another body after the database was restored.
-- in: digest bytea, first integer, last integer
-- out: number integer, data bytea, base64 integer[]
-- plan: body_digest_key, body_chunk_pkey
SELECT c.number, c.data, c.base64
  FROM pgbox.body AS b
  JOIN pgbox.body_chunk AS c ON c.body_id = b.body_id
 WHERE b.digest = $1 AND c.number BETWEEN $2 AND $3
 ORDER BY c.number
