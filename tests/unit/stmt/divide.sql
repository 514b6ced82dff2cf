-- Fails at the row whose number is given.
-- in: row integer
-- out: i integer
SELECT 1 / (i - $1) FROM generate_series(1, 100) i
