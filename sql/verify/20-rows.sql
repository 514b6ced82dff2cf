-- Do counters equal rows, and is what messages refer to complete?
SELECT pg_catalog.format('mailbox %s: counters say %s messages, %s unseen, %s bytes; its rows say %s, %s, %s',
                         c.mailbox_id, c.messages, c.unseen, c.virtual_size,
                         COALESCE(r.messages, 0), COALESCE(r.unseen, 0), COALESCE(r.virtual_size, 0))
  FROM pgbox.mailbox_counter AS c
  JOIN pgbox.mailbox AS m ON m.mailbox_id = c.mailbox_id AND m.deleted_at IS NULL
  LEFT JOIN (SELECT g.mailbox_id, count(*) AS messages,
                    count(*) FILTER (WHERE s.flags & 8 = 0) AS unseen,
                    sum(t.virtual_size) AS virtual_size
               FROM pgbox.message AS g
               JOIN pgbox.content AS t ON t.content_id = g.content_id
               LEFT JOIN pgbox.message_state AS s ON s.mailbox_id = g.mailbox_id AND s.uid = g.uid
              GROUP BY g.mailbox_id) AS r ON r.mailbox_id = c.mailbox_id
 WHERE (c.messages, c.unseen, c.virtual_size)
       IS DISTINCT FROM (COALESCE(r.messages, 0), COALESCE(r.unseen, 0), COALESCE(r.virtual_size, 0))
UNION ALL
SELECT pg_catalog.format('mailbox %s: UIDNEXT %s is not above UID %s', c.mailbox_id, c.uid_next, u.uid)
  FROM pgbox.mailbox_counter AS c
 CROSS JOIN LATERAL (SELECT GREATEST((SELECT max(g.uid) FROM pgbox.message AS g WHERE g.mailbox_id = c.mailbox_id),
                                     (SELECT max(e.uid) FROM pgbox.expunged AS e WHERE e.mailbox_id = c.mailbox_id)) AS uid) AS u
 WHERE u.uid >= c.uid_next
UNION ALL
SELECT pg_catalog.format('mailbox %s: its modseq %s is below that of a change, %s', c.mailbox_id, c.highest_modseq, u.modseq)
  FROM pgbox.mailbox_counter AS c
 CROSS JOIN LATERAL (SELECT GREATEST((SELECT max(s.modseq) FROM pgbox.message_state AS s WHERE s.mailbox_id = c.mailbox_id),
                                     (SELECT max(e.modseq) FROM pgbox.expunged AS e WHERE e.mailbox_id = c.mailbox_id)) AS modseq) AS u
 WHERE u.modseq > c.highest_modseq
UNION ALL
SELECT pg_catalog.format('message %s of mailbox %s has no state', g.uid, g.mailbox_id)
  FROM pgbox.message AS g
 WHERE NOT EXISTS (SELECT 1 FROM pgbox.message_state AS s WHERE s.mailbox_id = g.mailbox_id AND s.uid = g.uid)
UNION ALL
SELECT pg_catalog.format('message %s of mailbox %s is both there and expunged', g.uid, g.mailbox_id)
  FROM pgbox.message AS g
  JOIN pgbox.expunged AS e ON e.mailbox_id = g.mailbox_id AND e.uid = g.uid
UNION ALL
SELECT pg_catalog.format('message %s of mailbox %s has a keyword without a name', s.uid, s.mailbox_id)
  FROM pgbox.message_state AS s
 WHERE s.keywords IS NOT NULL
   AND EXISTS (SELECT 1 FROM pg_catalog.unnest(s.keywords) AS k (number)
                WHERE NOT EXISTS (SELECT 1 FROM pgbox.mailbox_keyword AS n
                                   WHERE n.mailbox_id = s.mailbox_id AND n.number = k.number))
UNION ALL
SELECT pg_catalog.format('mailbox %s of account %s has no counters', m.mailbox_id, m.account_id)
  FROM pgbox.mailbox AS m
 WHERE m.guid IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = m.mailbox_id)
UNION ALL
SELECT pg_catalog.format('account %s has no INBOX', a.account_id)
  FROM pgbox.account AS a
 WHERE NOT EXISTS (SELECT 1 FROM pgbox.mailbox AS m
                    WHERE m.account_id = a.account_id AND m.name = 'INBOX' AND m.guid IS NOT NULL AND m.deleted_at IS NULL)
UNION ALL
SELECT pg_catalog.format('mailbox %s: UIDVALIDITY %s is above the highest its account has given', m.mailbox_id, m.uidvalidity)
  FROM pgbox.mailbox AS m
  JOIN pgbox.account AS a ON a.account_id = m.account_id
 WHERE m.uidvalidity > a.last_uidvalidity
   -- values near the end of the range were asked for, and aren't counted
   AND m.uidvalidity < 4278190080
UNION ALL
SELECT pg_catalog.format('body %s has %s bytes in chunks, and should have %s', b.body_id, COALESCE(k.bytes, 0), b.size - pg_catalog.octet_length(b.head))
  FROM pgbox.body AS b
  LEFT JOIN (SELECT h.body_id, sum(pg_catalog.octet_length(h.data)) AS bytes, count(*) AS chunks, max(h.number) AS last
               FROM pgbox.body_chunk AS h
              GROUP BY h.body_id) AS k ON k.body_id = b.body_id
 WHERE COALESCE(k.bytes, 0) <> b.size - pg_catalog.octet_length(b.head) OR k.chunks <> k.last;
