-- One mailbox or node of an account by its name; no row: no such name.
-- in: account text, name text
-- out: account_id bigint, mailbox_id bigint, guid uuid, uidvalidity bigint, special_use text, uid_next bigint
-- out: highest_modseq bigint, messages integer, unseen integer, virtual_size bigint, first_recent_uid bigint, epoch integer
-- out: store_guid uuid
-- locks: none   plan: mailbox_account_id_name_key
SELECT m.account_id, m.mailbox_id, m.guid, m.uidvalidity, m.special_use,
       c.uid_next, c.highest_modseq, c.messages, c.unseen, c.virtual_size, c.first_recent_uid, s.epoch,
       s.store_guid
  FROM pgbox.account AS a
 CROSS JOIN pgbox.store AS s
  JOIN pgbox.mailbox AS m ON m.account_id = a.account_id
  LEFT JOIN pgbox.mailbox_counter AS c ON c.mailbox_id = m.mailbox_id
 WHERE a.name = $1 AND m.name = $2 AND m.deleted_at IS NULL
