-- Policies: what is expunged by age, as rows of pgbox.policy.

-- The table's constraints say the same, but not what to do. A pattern that ends
-- within an escape would end each policy_apply with an error.
CREATE OR REPLACE FUNCTION pgbox.rule_policy_write()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_pattern text;
BEGIN
  FOREACH v_pattern IN ARRAY ARRAY[NEW.account, NEW.mailbox] LOOP
    IF v_pattern = '' OR right(regexp_replace(v_pattern, '\\.', '', 'g'), 1) = '\' THEN
      RAISE EXCEPTION '"%" can''t be a name or pattern of a policy', v_pattern
        USING ERRCODE = '22023', HINT = 'account and mailbox are patterns of LIKE: % stands for anything, \% and \_ for the characters themselves.';
    END IF;
  END LOOP;
  IF NEW.account COLLATE "C" <> lower(NEW.account COLLATE "C") THEN
    RAISE EXCEPTION 'accounts have no capital letters, so a policy for "%" is for none', NEW.account
      USING ERRCODE = '22023', HINT = format('Write %L.', lower(NEW.account COLLATE "C"));
  END IF;
  -- with less, mail would go before anybody has seen it, and most who write that
  -- mean days: an interval without a unit has seconds
  PERFORM pgbox.age_check('older_than of a policy', NEW.older_than);
  IF NOT NEW.what IN ('all', 'seen', 'unflagged') THEN
    RAISE EXCEPTION 'a policy can''t be about "%"', NEW.what
      USING ERRCODE = '22023', HINT = 'what is all, seen (messages with \Seen) or unflagged (those without \Flagged).';
  END IF;
  NEW.created_by := CASE TG_OP WHEN 'INSERT' THEN pgbox.done_by() ELSE OLD.created_by END;
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION pgbox.rule_policy_write() IS 'Trigger: a policy that makes no sense is refused with what to write instead; who makes one is written down';

CREATE OR REPLACE VIEW pgbox.policy_target AS
SELECT p.policy_id, p.account AS account_pattern, p.older_than, p.by_received, p.what,
       a.name AS account, m.name AS folder, m.mailbox_id
  FROM pgbox.policy AS p
  JOIN pgbox.account AS a ON a.name LIKE p.account
  JOIN pgbox.mailbox AS m ON m.account_id = a.account_id AND m.name LIKE p.mailbox
 WHERE p.enabled AND a.deleted_at IS NULL AND m.deleted_at IS NULL AND m.guid IS NOT NULL
   AND NOT a.legal_hold AND NOT m.legal_hold;
COMMENT ON VIEW pgbox.policy_target IS 'Which mailboxes policies are for; not those under legal hold';
COMMENT ON COLUMN pgbox.policy_target.policy_id IS 'The policy';
COMMENT ON COLUMN pgbox.policy_target.account_pattern IS 'Its pattern of accounts';
COMMENT ON COLUMN pgbox.policy_target.older_than IS 'Its age';
COMMENT ON COLUMN pgbox.policy_target.by_received IS 'By which time it counts';
COMMENT ON COLUMN pgbox.policy_target.what IS 'Which messages it is about';
COMMENT ON COLUMN pgbox.policy_target.account IS 'An account that it is for';
COMMENT ON COLUMN pgbox.policy_target.folder IS 'A mailbox that it is for';
COMMENT ON COLUMN pgbox.policy_target.mailbox_id IS 'Number of that mailbox';

-- A message that several policies want goes by the first of them, as policy_apply
-- has it. Names are in DISTINCT ON so that one account's don't take a look at all.
CREATE OR REPLACE VIEW pgbox.policy_pending AS
SELECT o.policy_id, o.account, o.folder, count(*) AS messages, sum(c.virtual_size)::bigint AS bytes, min(o.since) AS oldest
  FROM (SELECT DISTINCT ON (t.account, t.folder, g.mailbox_id, g.uid)
               t.policy_id, t.account, t.folder, g.content_id,
               CASE WHEN t.by_received THEN g.received_at ELSE g.saved_at END AS since
          FROM pgbox.policy_target AS t
          JOIN pgbox.message AS g ON g.mailbox_id = t.mailbox_id
          JOIN pgbox.message_state AS s ON s.mailbox_id = g.mailbox_id AND s.uid = g.uid
         WHERE CASE WHEN t.by_received THEN g.received_at ELSE g.saved_at END < pg_catalog.now() - t.older_than
           AND CASE t.what WHEN 'seen' THEN s.flags & 8 <> 0 WHEN 'unflagged' THEN s.flags & 2 = 0 ELSE true END
         ORDER BY t.account, t.folder, g.mailbox_id, g.uid, t.policy_id) AS o
  JOIN pgbox.content AS c ON c.content_id = o.content_id
 GROUP BY o.policy_id, o.account, o.folder;
COMMENT ON VIEW pgbox.policy_pending IS 'What policy_apply would expunge now; a message counts once, for the first policy that it fits';
COMMENT ON COLUMN pgbox.policy_pending.policy_id IS 'The policy by which they go: of several that of the lowest number';
COMMENT ON COLUMN pgbox.policy_pending.account IS 'The account';
COMMENT ON COLUMN pgbox.policy_pending.folder IS 'The mailbox';
COMMENT ON COLUMN pgbox.policy_pending.messages IS 'How many messages';
COMMENT ON COLUMN pgbox.policy_pending.bytes IS 'Sum of their virtual sizes';
COMMENT ON COLUMN pgbox.policy_pending.oldest IS 'Time of the oldest of them';

-- Mailboxes in use are left alone and counted, so the order of locks doesn't
-- matter: nobody is waited for. One policy's work in a mailbox is at most what is
-- left of p_limit.
CREATE OR REPLACE FUNCTION pgbox.policy_apply(p_limit bigint DEFAULT 10000)
RETURNS TABLE (expunged bigint, busy bigint, more boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_target record;
  v_uids bigint[];
  v_busy bigint[] := '{}';
  v_counts jsonb := '{}';
BEGIN
  PERFORM pgbox.limit_check(p_limit);
  expunged := 0;
  more := false;
  FOR v_target IN
    SELECT t.policy_id, t.older_than, t.by_received, t.what, t.mailbox_id
      FROM pgbox.policy_target AS t
      JOIN pgbox.mailbox_counter AS c ON c.mailbox_id = t.mailbox_id AND c.messages > 0
     ORDER BY t.mailbox_id, t.policy_id
  LOOP
    v_uids := ARRAY(
      SELECT g.uid
        FROM pgbox.message AS g
        JOIN pgbox.message_state AS s ON s.mailbox_id = g.mailbox_id AND s.uid = g.uid
       WHERE g.mailbox_id = v_target.mailbox_id
         AND CASE WHEN v_target.by_received THEN g.received_at ELSE g.saved_at END < now() - v_target.older_than
         AND CASE v_target.what WHEN 'seen' THEN s.flags & 8 <> 0 WHEN 'unflagged' THEN s.flags & 2 = 0 ELSE true END
       ORDER BY g.uid
       LIMIT p_limit - expunged + 1);
    CONTINUE WHEN v_uids = '{}' OR v_target.mailbox_id = ANY (v_busy);
    more := cardinality(v_uids) > p_limit - expunged;
    EXIT WHEN expunged = p_limit;
    PERFORM 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = v_target.mailbox_id FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
      v_busy := v_busy || v_target.mailbox_id;
      more := false;
      CONTINUE;
    END IF;
    -- with the lock: flags may have changed, the mailbox may be gone or under hold
    v_uids := ARRAY(
      SELECT s.uid
        FROM pgbox.message_state AS s
       WHERE s.mailbox_id = v_target.mailbox_id AND s.uid = ANY (v_uids[:p_limit - expunged])
         AND CASE v_target.what WHEN 'seen' THEN s.flags & 8 <> 0 WHEN 'unflagged' THEN s.flags & 2 = 0 ELSE true END
         AND EXISTS (SELECT 1 FROM pgbox.policy_target AS t
                      WHERE t.policy_id = v_target.policy_id AND t.mailbox_id = v_target.mailbox_id));
    IF v_uids = '{}' THEN
      more := false;
      CONTINUE;
    END IF;
    PERFORM 1 FROM pgbox.message_expunge(v_target.mailbox_id, v_uids, 'policy ' || v_target.policy_id);
    PERFORM pgbox.signal_from_doveadm(ARRAY[v_target.mailbox_id]);
    expunged := expunged + cardinality(v_uids);
    v_counts := jsonb_set(v_counts, ARRAY['policy ' || v_target.policy_id],
                          to_jsonb(COALESCE((v_counts ->> ('policy ' || v_target.policy_id))::bigint, 0) + cardinality(v_uids)));
    EXIT WHEN more;
  END LOOP;
  busy := cardinality(v_busy);
  IF expunged > 0 OR busy > 0 THEN
    PERFORM pgbox.job_record('policy_apply', 'all policies', v_counts || jsonb_build_object('messages', expunged, 'busy', busy),
                             CASE WHEN more THEN 'more' WHEN busy > 0 THEN 'busy' ELSE 'done' END);
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.policy_apply(bigint) IS 'Expunge what policies say, at most p_limit messages; call again while more is true. busy counts mailboxes in use, left for another call. Contents go when purge finds them past retention';
