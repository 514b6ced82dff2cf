-- All of a mailbox, as mailbox-pull with since 0. Messages are sent while they are
-- read: a function would have to collect them first. The function that is left can't
-- run in parallel, so no part of this does, and the parts come in their order. A limit
-- that the planner doesn't know makes it prefer the primary key's order to a sort, which
-- would have to read all first.
-- in: mailbox bigint, keywords integer
-- out: kind smallint, uid bigint, modseq bigint, flags smallint, keywords smallint[], info bigint[], keyword text
-- locks: none   plan: message_state_pkey
SELECT p.kind, p.uid, p.modseq, p.flags, p.keywords, p.info, p.keyword
  FROM pgbox.mailbox_pull($1, -1, $2) AS p
 UNION ALL
(SELECT 1::smallint, s.uid,
        GREATEST(s.modseq, (SELECT c.message_floor FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = $1)),
        s.flags, s.keywords, NULL::bigint[], NULL::text
   FROM pgbox.message_state AS s
  WHERE s.mailbox_id = (SELECT m.mailbox_id FROM pgbox.mailbox AS m WHERE m.mailbox_id = $1 AND m.deleted_at IS NULL)
  ORDER BY s.uid
  LIMIT (SELECT NULL::bigint))
