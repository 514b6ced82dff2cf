-- in: count integer
-- out: i integer, filler text
SELECT i, repeat('x', 100) FROM generate_series(1, $1) i
