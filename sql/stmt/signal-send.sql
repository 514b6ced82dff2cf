-- Tell other nodes of changes that are committed; sql/replace/50-signal.sql has
-- the form. The transaction writes nothing else, so its commit waits for no
-- flush.
-- in: signals text[]
SELECT pg_catalog.pg_notify('pgbox', u.signal)
  FROM pg_catalog.unnest($1) AS u (signal)
