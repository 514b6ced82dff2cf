-- in: msecs integer
-- out: slept boolean
SELECT pg_sleep($1 / 1000.0) IS NULL
