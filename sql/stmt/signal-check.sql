-- How new is what sessions of a node wait for? Row kinds: 0 a mailbox (modseq
-- 0: it is deleted), 1 an account (the number changes with its tree and with
-- each of its mailboxes), 2 the store's epoch. What is gone has no row.
-- in: mailboxes bigint[], accounts text[]
-- out: kind smallint, mailbox bigint, modseq bigint, account text
-- locks: none   plan: mailbox_counter_pkey
SELECT 0::smallint, c.mailbox_id, CASE WHEN m.deleted_at IS NULL THEN c.highest_modseq ELSE 0 END, NULL::text
  FROM pgbox.mailbox_counter AS c
  JOIN pgbox.mailbox AS m ON m.mailbox_id = c.mailbox_id
 WHERE c.mailbox_id = ANY ($1)
UNION ALL
SELECT 1::smallint, 0::bigint,
       a.list_modseq + COALESCE((SELECT sum(c.highest_modseq) % 4611686018427387904
                                   FROM pgbox.mailbox AS m
                                   JOIN pgbox.mailbox_counter AS c ON c.mailbox_id = m.mailbox_id
                                  WHERE m.account_id = a.account_id AND m.deleted_at IS NULL), 0)::bigint,
       a.name
  FROM pgbox.account AS a
 WHERE a.name = ANY ($2)
UNION ALL
SELECT 2::smallint, 0::bigint, s.epoch::bigint, NULL::text
  FROM pgbox.store AS s
