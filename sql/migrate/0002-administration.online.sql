-- pgbox schema, migration 2: indexes and statistics, made while others are at work.

CREATE INDEX CONCURRENTLY IF NOT EXISTS mailbox_account_id_idx ON pgbox.mailbox (account_id);
COMMENT ON INDEX pgbox.mailbox_account_id_idx IS 'Finds mailboxes of an account that is being deleted';

-- Tombstones stay when purge has emptied them, and are many: the one index of all
-- gives way to one of those that have a content still, and one of the rest.
CREATE INDEX CONCURRENTLY IF NOT EXISTS expunged_purge_idx ON pgbox.expunged (expunged_at) WHERE content_id IS NOT NULL;
COMMENT ON INDEX pgbox.expunged_purge_idx IS 'Finds what can be purged';
CREATE INDEX CONCURRENTLY IF NOT EXISTS expunged_mailbox_id_purge_idx ON pgbox.expunged (mailbox_id, expunged_at) WHERE content_id IS NOT NULL;
COMMENT ON INDEX pgbox.expunged_mailbox_id_purge_idx IS 'Finds what can be purged of accounts with a shorter retention';
CREATE INDEX CONCURRENTLY IF NOT EXISTS expunged_prune_idx ON pgbox.expunged (expunged_at) WHERE content_id IS NULL;
COMMENT ON INDEX pgbox.expunged_prune_idx IS 'Finds tombstones that can be pruned';
DROP INDEX CONCURRENTLY IF EXISTS pgbox.expunged_expunged_at_idx;

-- In a store of many small mailboxes a mailbox is one row to the planner, as a UID
-- of it is: then any index that begins with mailbox_id will do to find a UID, and in
-- the one large mailbox all of it is read each time. So it is told that a mailbox has
-- hundreds of messages, a UID is there once, and an account has some mailboxes.
ALTER TABLE pgbox.message
  ALTER COLUMN mailbox_id SET (n_distinct = -0.002),
  ALTER COLUMN uid SET (n_distinct = -1);
ALTER TABLE pgbox.message_state
  ALTER COLUMN mailbox_id SET (n_distinct = -0.002),
  ALTER COLUMN uid SET (n_distinct = -1);
ALTER TABLE pgbox.expunged
  ALTER COLUMN mailbox_id SET (n_distinct = -0.002),
  ALTER COLUMN uid SET (n_distinct = -1);
ALTER TABLE pgbox.mailbox_keyword ALTER COLUMN mailbox_id SET (n_distinct = -0.02);
ALTER TABLE pgbox.mailbox ALTER COLUMN account_id SET (n_distinct = -0.2);
-- Empty tables are left alone, as after an installation: once PostgreSQL knows that they
-- are empty, sessions plan for that, and keep those plans.
DO $$
BEGIN
  IF EXISTS (SELECT 1 FROM pgbox.message) THEN
    ANALYZE pgbox.message, pgbox.message_state, pgbox.expunged, pgbox.mailbox_keyword, pgbox.mailbox;
  END IF;
END
$$;
