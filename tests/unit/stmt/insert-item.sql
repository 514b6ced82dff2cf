-- in: id integer, body bytea
-- out: id integer
INSERT INTO item VALUES ($1, $2) RETURNING id
