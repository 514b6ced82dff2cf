-- Tell other nodes of changes that are committed; sql/replace/50-signal.sql has
-- the form. A signal is nothing that must outlive a crash, so that its commit
-- needn't wait for the disk.
-- in: signals text[]
SELECT pg_catalog.pg_notify('pgbox', u.signal)
  FROM pg_catalog.set_config('synchronous_commit', 'off', true),
       pg_catalog.unnest($1) AS u (signal)
