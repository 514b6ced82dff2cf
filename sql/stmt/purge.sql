-- in: limit integer
-- out: tombstones bigint, mailboxes bigint, contents bigint, bodies bigint
SELECT p.tombstones, p.mailboxes, p.contents, p.bodies
  FROM pgbox.purge($1) AS p
