-- in: b boolean, i integer, l bigint, t text, a bytea, u uuid, ba boolean[],
-- in: sa smallint[], ia integer[], la bigint[], ta text[], ua uuid[], aa bytea[]
-- out: b boolean, i integer, l bigint, t text, a bytea, u uuid
-- out: sa smallint[], ia integer[], la bigint[], ta text[]
-- out: s smallint, others text
SELECT $1, $2, $3, $4, $5, $6, $8, $9, $10, $11, 7::smallint,
  $7::text || $12::text || $13::text -- a comment
