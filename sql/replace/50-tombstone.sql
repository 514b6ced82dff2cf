-- Tombstones that nobody needs any more.

-- As in tombstone_empty: down an index and no further than p_limit.
CREATE OR REPLACE FUNCTION pgbox.tombstone_oldest(p_before timestamptz, p_limit integer)
RETURNS TABLE (mailbox_id bigint, uid bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_sort = off
SET enable_incremental_sort = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
  SELECT e.mailbox_id, e.uid
    FROM pgbox.expunged AS e
    JOIN pgbox.mailbox AS m ON m.mailbox_id = e.mailbox_id
   WHERE e.expunged_at < p_before AND e.content_id IS NULL AND m.deleted_at IS NULL
   ORDER BY e.expunged_at
   LIMIT p_limit
$$;
COMMENT ON FUNCTION pgbox.tombstone_oldest(timestamptz, integer) IS 'The oldest tombstones without content that are older than that; not those of deleted mailboxes, which go with them';

-- busy counts mailboxes that somebody is changing at this moment: theirs are
-- left for another call, so that nobody waits for us while we wait for him.
CREATE OR REPLACE FUNCTION pgbox.tombstone_prune(p_before timestamptz, p_limit integer DEFAULT 1000)
RETURNS TABLE (tombstones bigint, mailboxes bigint, busy bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_mailboxes bigint[];
  v_uids bigint[];
  v_locked bigint[];
BEGIN
  PERFORM pgbox.limit_check(p_limit);
  SELECT array_agg(o.mailbox_id), array_agg(o.uid) INTO v_mailboxes, v_uids
    FROM pgbox.tombstone_oldest(p_before, p_limit) AS o;
  v_locked := ARRAY(SELECT c.mailbox_id
                      FROM pgbox.mailbox_counter AS c
                     WHERE c.mailbox_id = ANY (v_mailboxes)
                     ORDER BY c.mailbox_id
                       FOR NO KEY UPDATE SKIP LOCKED);
  WITH gone AS (
    DELETE FROM pgbox.expunged AS e
     USING unnest(v_mailboxes, v_uids) AS o (mailbox_id, uid)
     WHERE e.mailbox_id = o.mailbox_id AND e.uid = o.uid
       AND e.mailbox_id = ANY (v_locked)
    RETURNING e.mailbox_id, e.modseq),
  raised AS (
    UPDATE pgbox.mailbox_counter AS c
       SET pruned_modseq = GREATEST(c.pruned_modseq, g.modseq)
      FROM (SELECT o.mailbox_id, max(o.modseq) AS modseq FROM gone AS o GROUP BY o.mailbox_id) AS g
     WHERE c.mailbox_id = g.mailbox_id
    RETURNING 1)
  SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM raised) INTO tombstones, mailboxes;
  SELECT count(DISTINCT o.mailbox_id) INTO busy
    FROM unnest(v_mailboxes) AS o (mailbox_id)
   WHERE NOT o.mailbox_id = ANY (v_locked);
  IF tombstones > 0 THEN
    PERFORM pgbox.job_record('tombstone_prune', 'all accounts, before ' || p_before,
                             jsonb_build_object('tombstones', tombstones, 'mailboxes', mailboxes, 'busy', busy),
                             CASE WHEN cardinality(v_uids) >= p_limit THEN 'more' WHEN busy > 0 THEN 'busy' ELSE 'done' END);
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.tombstone_prune(timestamptz, integer) IS 'Remove tombstones of messages expunged before a time, at most p_limit, if their content was purged already. Nodes that slept longer compare all messages. Call again until tombstones and busy are 0; busy: mailboxes in use, left for another call';
