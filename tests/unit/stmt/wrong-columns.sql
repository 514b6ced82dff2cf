-- out: n bigint
SELECT 1::integer
