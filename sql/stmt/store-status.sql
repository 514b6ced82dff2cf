-- What doveadm shows of the store, as text.
-- out: schema_version text, server_version text, standby text, guid text, epoch text, retention text
-- out: accounts text, mailboxes text, messages text, bytes text, disk_bytes text
-- out: purgeable_messages text, purgeable_mailboxes text, policies text, last_job text
SELECT s.schema_version::text, s.server_version, s.standby::text, s.store_guid::text, s.epoch::text, s.retention,
       s.accounts::text, s.mailboxes::text, s.messages::text, s.bytes::text, s.disk_bytes::text,
       s.purgeable_messages::text, s.purgeable_mailboxes::text, s.policies::text, s.last_job
  FROM pgbox.store_status() AS s
