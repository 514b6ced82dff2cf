-- A violation shows at the commit only.
-- in: id integer
-- out: id integer
INSERT INTO deferred VALUES ($1) RETURNING id
