-- Which of these bodies are stored already?
-- in: digests bytea[]
-- out: digest bytea
SELECT b.digest
  FROM pgbox.body AS b
 WHERE b.digest = ANY ($1)
