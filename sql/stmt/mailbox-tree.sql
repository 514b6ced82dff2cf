-- The whole tree of an account with counters and subscriptions. A name that
-- is only subscribed has no mailbox_id; a node that holds only children has
-- no guid. Every account has an INBOX: no row means no such account.
-- in: account text
-- out: account_id bigint, list_modseq bigint, name text, subscribed boolean, mailbox_id bigint, guid uuid
-- out: uidvalidity bigint, special_use text, uid_next bigint, highest_modseq bigint, messages integer, unseen integer
-- out: virtual_size bigint, first_recent_uid bigint, store_guid uuid
-- locks: none
SELECT a.account_id, a.list_modseq, n.name, n.subscribed,
       n.mailbox_id, n.guid, n.uidvalidity, n.special_use,
       c.uid_next, c.highest_modseq, c.messages, c.unseen, c.virtual_size, c.first_recent_uid,
       t.store_guid
  FROM pgbox.account AS a
 CROSS JOIN pgbox.store AS t
 CROSS JOIN LATERAL (
        SELECT COALESCE(m.name, s.name) AS name, s.name IS NOT NULL AS subscribed,
               m.mailbox_id, m.guid, m.uidvalidity, m.special_use
          FROM (SELECT b.name, b.mailbox_id, b.guid, b.uidvalidity, b.special_use
                  FROM pgbox.mailbox AS b
                 WHERE b.account_id = a.account_id AND b.deleted_at IS NULL) AS m
          FULL JOIN (SELECT b.name
                       FROM pgbox.subscription AS b
                      WHERE b.account_id = a.account_id) AS s ON s.name = m.name) AS n
  LEFT JOIN pgbox.mailbox_counter AS c ON c.mailbox_id = n.mailbox_id
 WHERE a.name = $1
