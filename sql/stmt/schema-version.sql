-- in:
-- out: version integer
SELECT pg_catalog.max(v.version)
  FROM pgbox.schema_version AS v
