-- The first statement of a link, in tests of that.
-- in: stores uuid[], generations bigint[]
-- out: store_guid uuid, generation bigint
SELECT '00000000-0000-0000-0000-000000000001'::uuid, 1::bigint
 WHERE pg_catalog.cardinality($1) = pg_catalog.cardinality($2)
