-- out: n bigint
SELECT count(*) FROM item
