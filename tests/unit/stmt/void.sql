-- in: seconds integer
SELECT pg_sleep($1)
