-- pgbox schema, migration 2: indexes, made while others are at work.

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
