-- in: value integer
-- out: value integer
SELECT $1
