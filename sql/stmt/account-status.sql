-- What doveadm shows of an account, as text; no row: there is none.
-- in: account text
-- out: enabled text, deleted text, mailboxes text, messages text, unseen text, bytes text
-- out: quota_messages text, quota_bytes text, retention text, legal_hold text
-- out: restorable_messages text, restorable_mailboxes text
SELECT s.enabled::text, s.deleted_at::text, s.mailboxes::text, s.messages::text, s.unseen::text, s.bytes::text,
       s.quota_messages::text, s.quota_bytes::text, s.retention, s.legal_hold::text,
       s.restorable_messages::text, s.restorable_mailboxes::text
  FROM pgbox.account_status($1) AS s
