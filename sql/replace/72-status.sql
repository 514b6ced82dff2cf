-- What doveadm shows: the store, or an account, in one row. As cheap as can be:
-- counters are added up, no message is looked at but those that purge would take.

-- What purge counts as tombstones. Counters of a deleted mailbox may be wrong by
-- then, so its rows are counted. Settings and row comparisons are for the plan, as
-- in tombstone_empty: what stays isn't looked at.
CREATE OR REPLACE FUNCTION pgbox.purgeable(OUT messages bigint, OUT mailboxes bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_sort = off
SET enable_incremental_sort = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
  WITH past AS MATERIALIZED (
    SELECT m.mailbox_id
      FROM pgbox.store AS s
      JOIN pgbox.mailbox AS m ON m.deleted_at < now() - LEAST(s.retention, (SELECT min(r.retention) FROM pgbox.account AS r))
      JOIN pgbox.account AS a ON a.account_id = m.account_id
     WHERE m.deleted_at < now() - COALESCE(a.retention, s.retention) AND NOT m.legal_hold AND NOT a.legal_hold),
  of_store AS (
    SELECT count(*) AS tombstones
      FROM (SELECT e.mailbox_id, e.expunged_at
              FROM pgbox.expunged AS e
             WHERE e.expunged_at < (SELECT now() - s.retention FROM pgbox.store AS s) AND e.content_id IS NOT NULL
             ORDER BY e.expunged_at
            OFFSET 0) AS o
      JOIN pgbox.mailbox AS m ON m.mailbox_id = o.mailbox_id
      JOIN pgbox.account AS a ON a.account_id = m.account_id
     CROSS JOIN pgbox.store AS s
     WHERE o.expunged_at < now() - COALESCE(a.retention, s.retention) AND NOT m.legal_hold AND NOT a.legal_hold
       AND (m.deleted_at IS NULL OR m.deleted_at >= now() - COALESCE(a.retention, s.retention))),
  of_accounts AS (
    SELECT COALESCE(sum(o.tombstones), 0)::bigint AS tombstones
      FROM pgbox.store AS s
      JOIN pgbox.account AS a ON a.retention < s.retention
      JOIN pgbox.mailbox AS m ON m.account_id = a.account_id
     CROSS JOIN LATERAL (SELECT count(*) AS tombstones
                           FROM pgbox.expunged AS e
                          WHERE (e.mailbox_id, e.expunged_at) >= (m.mailbox_id, now() - s.retention)
                            AND (e.mailbox_id, e.expunged_at) < (m.mailbox_id, now() - a.retention)
                            AND e.content_id IS NOT NULL) AS o
     WHERE NOT m.legal_hold AND NOT a.legal_hold AND (m.deleted_at IS NULL OR m.deleted_at >= now() - a.retention)),
  in_mailboxes AS (
    SELECT COALESCE(sum(g.messages + e.tombstones), 0)::bigint AS messages
      FROM past AS p
     CROSS JOIN LATERAL (SELECT count(*) AS messages FROM pgbox.message AS o WHERE o.mailbox_id = p.mailbox_id) AS g
     CROSS JOIN LATERAL (SELECT count(*) AS tombstones FROM pgbox.expunged AS o WHERE o.mailbox_id = p.mailbox_id) AS e)
  SELECT s.tombstones + a.tombstones + i.messages, (SELECT count(*) FROM past)
    FROM of_store AS s
   CROSS JOIN of_accounts AS a
   CROSS JOIN in_mailboxes AS i
$$;
COMMENT ON FUNCTION pgbox.purgeable() IS 'What purge would take now, in all its calls: contents of tombstones, mailboxes that were deleted too long ago, and all that is in them';

CREATE OR REPLACE FUNCTION pgbox.store_status()
RETURNS TABLE (
  schema_version integer, server_version text, standby boolean, store_guid uuid, epoch integer,
  retention text, accounts bigint, mailboxes bigint, messages bigint, bytes bigint, disk_bytes bigint,
  purgeable_messages bigint, purgeable_mailboxes bigint, policies bigint, last_job text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT (SELECT max(v.version) FROM pgbox.schema_version AS v), current_setting('server_version'), pg_is_in_recovery(),
         s.store_guid, s.epoch, s.retention::text, (SELECT count(*) FROM pgbox.account AS a WHERE a.deleted_at IS NULL),
         n.mailboxes, n.messages, n.bytes,
         (SELECT sum(pg_total_relation_size(r.oid))::bigint FROM pg_class AS r
           WHERE r.relnamespace = 'pgbox'::regnamespace AND r.relkind = 'r'),
         u.messages, u.mailboxes,
         (SELECT count(*) FROM pgbox.policy AS p WHERE p.enabled),
         (SELECT format('%s by %s at %s: %s', j.what, j.done_by, date_trunc('second', j.ended_at), j.outcome)
            -- not what clients did with their folders
            FROM pgbox.job AS j WHERE strpos(j.done_by, ': ') = 0 ORDER BY j.ended_at DESC LIMIT 1)
    FROM pgbox.store AS s
   CROSS JOIN (SELECT count(*) AS mailboxes, COALESCE(sum(c.messages), 0)::bigint AS messages,
                      COALESCE(sum(c.virtual_size), 0)::bigint AS bytes
                 FROM pgbox.mailbox AS m
                 JOIN pgbox.mailbox_counter AS c ON c.mailbox_id = m.mailbox_id
                WHERE m.deleted_at IS NULL) AS n
   CROSS JOIN pgbox.purgeable() AS u
$$;
COMMENT ON FUNCTION pgbox.store_status() IS 'The store in one row: versions, sizes, what purge would take now, the latest entry of job that isn''t a client''s';

CREATE OR REPLACE FUNCTION pgbox.account_status(p_account text)
RETURNS TABLE (
  enabled boolean, deleted_at timestamptz, mailboxes bigint, messages bigint, unseen bigint, bytes bigint,
  quota_messages bigint, quota_bytes bigint, retention text, legal_hold boolean,
  restorable_messages bigint, restorable_mailboxes bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT o.enabled, o.deleted_at, o.mailboxes, o.messages, o.unseen, o.bytes, o.quota_messages, o.quota_bytes, o.retention::text,
         o.legal_hold,
         (SELECT count(*)
            FROM pgbox.mailbox AS m
            JOIN pgbox.expunged AS e ON e.mailbox_id = m.mailbox_id AND e.content_id IS NOT NULL AND e.moved_to IS NULL
                                        AND e.revived_at IS NULL
           WHERE m.account_id = o.account_id),
         (SELECT count(*) FROM pgbox.mailbox AS m
           WHERE m.account_id = o.account_id AND m.guid IS NOT NULL AND m.deleted_at IS NOT NULL)
    FROM pgbox.account_overview AS o
   WHERE o.account = p_account
$$;
COMMENT ON FUNCTION pgbox.account_status(text) IS 'An account in one row: what account_overview says, and what can be brought back';
