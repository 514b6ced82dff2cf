-- Changes to the messages of a mailbox. Each takes one modseq from the
-- mailbox's counter row, which it locks first and holds to COMMIT.

CREATE OR REPLACE FUNCTION pgbox.modseq_step()
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS 'SELECT 65536::bigint';
COMMENT ON FUNCTION pgbox.modseq_step() IS 'Distance of two modseqs: room for the modseqs that a node''s local log counts in between';

CREATE OR REPLACE FUNCTION pgbox.keyword_numbers(p_mailbox bigint, p_names text[])
RETURNS smallint[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_numbers smallint[];
  v_new text[];
  v_last integer;
BEGIN
  IF COALESCE(cardinality(p_names), 0) = 0 THEN
    RETURN NULL;
  END IF;
  -- usually all are known
  v_numbers := ARRAY(SELECT k.number
                       FROM pgbox.mailbox_keyword AS k
                      WHERE k.mailbox_id = p_mailbox
                        AND lower(k.name) = ANY (ARRAY(SELECT lower(u.name COLLATE "C") FROM unnest(p_names) AS u (name)))
                      ORDER BY k.number);
  IF cardinality(v_numbers) = cardinality(p_names) THEN
    RETURN v_numbers;
  END IF;
  -- lower() of collation C: ASCII only, as IMAP wants it
  SELECT array_agg(n.name ORDER BY n.ord) INTO v_new
    FROM (SELECT DISTINCT ON (lower(u.name COLLATE "C")) u.name, u.ord
            FROM unnest(p_names) WITH ORDINALITY AS u (name, ord)
           ORDER BY lower(u.name COLLATE "C"), u.ord) AS n
   WHERE NOT EXISTS (SELECT 1 FROM pgbox.mailbox_keyword AS k
                      WHERE k.mailbox_id = p_mailbox AND lower(k.name) = lower(n.name COLLATE "C"));
  IF v_new IS NOT NULL THEN
    SELECT COALESCE(max(k.number), 0) INTO v_last
      FROM pgbox.mailbox_keyword AS k WHERE k.mailbox_id = p_mailbox;
    IF v_last + cardinality(v_new) > 32767 THEN
      RAISE EXCEPTION 'too many different keywords in mailbox %', p_mailbox USING ERRCODE = 'PB008';
    END IF;
    INSERT INTO pgbox.mailbox_keyword (mailbox_id, number, name)
    SELECT p_mailbox, v_last + n.ord, n.name
      FROM unnest(v_new) WITH ORDINALITY AS n (name, ord);
  END IF;
  RETURN (SELECT array_agg(k.number ORDER BY k.number)
            FROM pgbox.mailbox_keyword AS k
           WHERE k.mailbox_id = p_mailbox
             AND lower(k.name) = ANY (SELECT lower(u.name COLLATE "C") FROM unnest(p_names) AS u (name)));
END
$$;
COMMENT ON FUNCTION pgbox.keyword_numbers(bigint, text[]) IS 'Numbers of keywords, ascending, new ones for names not seen before. The caller has locked the mailbox';

CREATE OR REPLACE FUNCTION pgbox.keywords_change(p_old smallint[], p_add smallint[], p_remove smallint[], p_replace boolean)
RETURNS smallint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
-- in PL/pgSQL, which keeps the plan from call to call
BEGIN
  RETURN (SELECT pg_catalog.array_agg(k.number ORDER BY k.number)
            FROM (SELECT u.number FROM pg_catalog.unnest(p_old) AS u (number)
                   WHERE NOT p_replace AND NOT u.number = ANY (COALESCE(p_remove, '{}'))
                   UNION
                  SELECT u.number FROM pg_catalog.unnest(p_add) AS u (number)) AS k);
END
$$;
COMMENT ON FUNCTION pgbox.keywords_change(smallint[], smallint[], smallint[], boolean) IS 'A keyword set after a change, NULL when empty';

-- A list of operations, each on some of the messages; no message has two.
-- p_remove and p_add are flag sums, applied in this order (8 is \Seen);
-- keywords come as names separated by spaces. p_ops counts from 0.
-- Row kinds: 0 the counters (uid = the modseq before, modseq = the modseq
-- taken, 0 when nothing changed), 1 a changed message with its new state,
-- 2 a message left alone because its modseq is above p_unchangedsince.
CREATE OR REPLACE FUNCTION pgbox.message_store(
  p_mailbox bigint, p_unchangedsince bigint,
  p_uids bigint[], p_ops integer[],
  p_add smallint[], p_remove smallint[],
  p_keywords_add text[], p_keywords_remove text[], p_keywords_replace boolean[])
RETURNS TABLE (kind smallint, uid bigint, modseq bigint, flags smallint, keywords smallint[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  v_counter pgbox.mailbox_counter;
  v_modseq bigint;
  v_op record;
  v_number integer;
  v_add smallint[];
  v_remove smallint[];
  v_had smallint;
  v_had_keywords smallint[];
  v_flags smallint;
  v_keywords smallint[];
  v_changed bigint := 0;
  v_rows bigint;
  v_unseen bigint := 0;
BEGIN
  v_counter := pgbox.mailbox_lock(p_mailbox);
  v_modseq := v_counter.highest_modseq + pgbox.modseq_step();
  IF cardinality(p_uids) = 1 THEN
    -- As is usual. What is below would be planned anew at each call: that there is
    -- one UID is worth knowing, PostgreSQL finds. Between look and change the row
    -- stays as it is, for who changes rows has the counters.
    SELECT s.uid, GREATEST(s.modseq, v_counter.message_floor), s.flags, s.keywords INTO uid, modseq, v_had, v_had_keywords
      FROM pgbox.message_state AS s
     WHERE s.mailbox_id = p_mailbox AND s.uid = p_uids[1];
    v_number := p_ops[1] + 1;
    v_flags := (v_had & ~p_remove[v_number]) | p_add[v_number];
    v_keywords := v_had_keywords;
    IF p_keywords_replace[v_number] OR p_keywords_add[v_number] <> '' OR p_keywords_remove[v_number] <> '' THEN
      v_add := pgbox.keyword_numbers(p_mailbox, array_remove(string_to_array(p_keywords_add[v_number], ' '), ''));
      IF p_keywords_remove[v_number] <> '' THEN
        v_remove := ARRAY(SELECT k.number
                            FROM pgbox.mailbox_keyword AS k
                           WHERE k.mailbox_id = p_mailbox
                             AND lower(k.name) = ANY (string_to_array(lower(p_keywords_remove[v_number] COLLATE "C"), ' ')));
      END IF;
      v_keywords := pgbox.keywords_change(v_had_keywords, v_add, v_remove, p_keywords_replace[v_number]);
    END IF;
    IF modseq > p_unchangedsince THEN
      kind := 2;
      flags := v_had;
      keywords := v_had_keywords;
      RETURN NEXT;
    ELSIF v_had IS NOT NULL AND (v_flags <> v_had OR v_keywords IS DISTINCT FROM v_had_keywords) THEN
      UPDATE pgbox.message_state AS s
         SET flags = v_flags, keywords = v_keywords, modseq = v_modseq
       WHERE s.mailbox_id = p_mailbox AND s.uid = p_uids[1];
      kind := 1;
      modseq := v_modseq;
      flags := v_flags;
      keywords := v_keywords;
      RETURN NEXT;
      v_changed := 1;
      v_unseen := ((v_had & 8) - (v_flags & 8)) / 8;
    END IF;
  ELSE
    IF p_unchangedsince IS NOT NULL THEN
      IF p_unchangedsince < v_counter.message_floor THEN
        p_unchangedsince := 0;
      END IF;
      RETURN QUERY
      SELECT 2::smallint, s.uid, GREATEST(s.modseq, v_counter.message_floor), s.flags, s.keywords
        FROM pgbox.message_state AS s
       WHERE s.mailbox_id = p_mailbox AND s.uid = ANY (p_uids) AND s.modseq > p_unchangedsince;
    END IF;
    FOR v_op IN
      SELECT u.op + 1 AS number, array_agg(u.uid) AS uids
        FROM unnest(p_uids, p_ops) AS u (uid, op)
       GROUP BY u.op
       ORDER BY u.op
    LOOP
      -- read only, before the update: what does the mailbox's unseen change by?
      IF (p_add[v_op.number] | p_remove[v_op.number]) & 8 <> 0 THEN
        SELECT CASE WHEN p_add[v_op.number] & 8 <> 0
                    THEN -count(*) FILTER (WHERE s.flags & 8 = 0)
                    ELSE count(*) FILTER (WHERE s.flags & 8 <> 0) END
          INTO v_rows
          FROM pgbox.message_state AS s
         WHERE s.mailbox_id = p_mailbox AND s.uid = ANY (v_op.uids)
           AND (p_unchangedsince IS NULL OR s.modseq <= p_unchangedsince);
        v_unseen := v_unseen + v_rows;
      END IF;
      IF p_keywords_replace[v_op.number] OR p_keywords_add[v_op.number] <> '' OR p_keywords_remove[v_op.number] <> '' THEN
        v_add := pgbox.keyword_numbers(p_mailbox, array_remove(string_to_array(p_keywords_add[v_op.number], ' '), ''));
        v_remove := ARRAY(SELECT k.number
                            FROM pgbox.mailbox_keyword AS k
                           WHERE k.mailbox_id = p_mailbox
                             AND lower(k.name) = ANY (string_to_array(lower(p_keywords_remove[v_op.number] COLLATE "C"), ' ')));
        -- messages have few different sets of keywords: change each set once
        RETURN QUERY
        WITH old AS MATERIALIZED (
          SELECT d.keywords, pgbox.keywords_change(d.keywords, v_add, v_remove, p_keywords_replace[v_op.number]) AS changed
            FROM (SELECT DISTINCT COALESCE(s.keywords, '{}') AS keywords
                    FROM pgbox.message_state AS s
                   WHERE s.mailbox_id = p_mailbox AND s.uid = ANY (v_op.uids)) AS d)
        UPDATE pgbox.message_state AS s
           SET flags = (s.flags & ~p_remove[v_op.number]) | p_add[v_op.number],
               keywords = o.changed,
               modseq = v_modseq
          FROM old AS o
         WHERE s.mailbox_id = p_mailbox AND s.uid = ANY (v_op.uids)
           AND (p_unchangedsince IS NULL OR s.modseq <= p_unchangedsince)
           AND COALESCE(s.keywords, '{}') = o.keywords
           AND ((s.flags & ~p_remove[v_op.number]) | p_add[v_op.number] <> s.flags
                OR COALESCE(o.changed, '{}') <> o.keywords)
        RETURNING 1::smallint, s.uid, s.modseq, s.flags, s.keywords;
      ELSE
        RETURN QUERY
        UPDATE pgbox.message_state AS s
           SET flags = (s.flags & ~p_remove[v_op.number]) | p_add[v_op.number],
               modseq = v_modseq
         WHERE s.mailbox_id = p_mailbox AND s.uid = ANY (v_op.uids)
           AND (p_unchangedsince IS NULL OR s.modseq <= p_unchangedsince)
           AND (s.flags & ~p_remove[v_op.number]) | p_add[v_op.number] <> s.flags
        RETURNING 1::smallint, s.uid, s.modseq, s.flags, s.keywords;
      END IF;
      GET DIAGNOSTICS v_rows = ROW_COUNT;
      v_changed := v_changed + v_rows;
    END LOOP;
  END IF;
  IF v_changed > 0 THEN
    UPDATE pgbox.mailbox_counter AS c
       SET highest_modseq = v_modseq,
           unseen = c.unseen + v_unseen
     WHERE c.mailbox_id = p_mailbox;
  ELSE
    v_modseq := 0;
  END IF;
  kind := 0;
  uid := v_counter.highest_modseq;
  modseq := v_modseq;
  flags := NULL;
  keywords := NULL;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.message_store(bigint, bigint, bigint[], integer[], smallint[], smallint[], text[], text[], boolean[]) IS 'Change flags and keywords of messages, atomically with the check of UNCHANGEDSINCE (RFC 7162)';

-- Makes tombstones of messages of a locked mailbox; returns their UIDs.
-- The plan is the same for one and for many, and to make it anew was half of the time
-- of one: PostgreSQL would at each call, for one UID is less than it expects.
CREATE OR REPLACE FUNCTION pgbox.message_bury(p_mailbox bigint, p_uids bigint[], p_modseq bigint, p_reason text, p_moved_to bigint)
RETURNS bigint[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  v_uids bigint[];
  v_messages integer;
  v_unseen integer;
  v_virtual_size bigint;
BEGIN
  -- What is deleted second is found by its key for each that was deleted first. Two
  -- sets that are joined afterwards are compared each with each, once statistics
  -- say that a mailbox and a UID are one row.
  WITH state AS (
    DELETE FROM pgbox.message_state AS s
     WHERE s.mailbox_id = p_mailbox AND s.uid = ANY (p_uids)
    RETURNING s.uid, s.flags, s.keywords),
  gone AS (
    DELETE FROM pgbox.message AS g
     USING state AS s
     WHERE g.mailbox_id = p_mailbox AND g.uid = s.uid
    RETURNING g.uid, g.content_id, g.guid, g.received_at, g.saved_at, s.flags, s.keywords),
  buried AS (
    INSERT INTO pgbox.expunged (mailbox_id, uid, modseq, content_id, guid, received_at, saved_at, flags, keywords, reason, moved_to)
    SELECT p_mailbox, g.uid, p_modseq, g.content_id, g.guid, g.received_at, g.saved_at, g.flags, g.keywords, p_reason, p_moved_to
      FROM gone AS g)
  SELECT array_agg(g.uid ORDER BY g.uid), count(*), COALESCE(sum(c.virtual_size), 0), count(*) FILTER (WHERE g.flags & 8 = 0)
    INTO v_uids, v_messages, v_virtual_size, v_unseen
    FROM gone AS g
    LEFT JOIN pgbox.content AS c ON c.content_id = g.content_id;
  IF v_messages > 0 THEN
    UPDATE pgbox.mailbox_counter AS c
       SET highest_modseq = p_modseq,
           messages = c.messages - v_messages,
           unseen = c.unseen - v_unseen,
           virtual_size = c.virtual_size - v_virtual_size
     WHERE c.mailbox_id = p_mailbox;
  END IF;
  RETURN COALESCE(v_uids, '{}');
END
$$;
COMMENT ON FUNCTION pgbox.message_bury(bigint, bigint[], bigint, text, bigint) IS 'Turn messages of a locked mailbox into tombstones with this modseq; returns the UIDs of those that were there';

-- p_if_deleted: more messages, to be expunged only if they are \Deleted now. A
-- client's EXPUNGE means those, and another device may have taken the flag away
-- without the client's node knowing it yet.
CREATE OR REPLACE FUNCTION pgbox.message_expunge(
  p_mailbox bigint, p_uids bigint[], p_reason text, p_if_deleted bigint[] DEFAULT '{}')
RETURNS TABLE (prev_modseq bigint, modseq bigint, uids bigint[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_counter pgbox.mailbox_counter;
BEGIN
  v_counter := pgbox.mailbox_lock(p_mailbox);
  prev_modseq := v_counter.highest_modseq;
  modseq := v_counter.highest_modseq + pgbox.modseq_step();
  uids := p_uids;
  IF cardinality(p_if_deleted) > 0 THEN
    uids := uids || ARRAY(SELECT s.uid
                            FROM pgbox.message_state AS s
                           WHERE s.mailbox_id = p_mailbox AND s.uid = ANY (p_if_deleted) AND s.flags & 4 <> 0);
  END IF;
  uids := pgbox.message_bury(p_mailbox, uids, modseq, p_reason, NULL);
  IF cardinality(uids) = 0 THEN
    modseq := 0;
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.message_expunge(bigint, bigint[], text, bigint[]) IS 'Expunge messages, and those of p_if_deleted that are \Deleted. Returns the modseq before, the one taken (0: there was nothing to expunge), and the UIDs that this call expunged';

-- What arrives is given by parallel arrays, one element a message:
-- p_content, or the message p_source_mailbox/p_source_uid to copy or, with
-- p_move, to move. A copy whose GUID is all zeros or whose time of reception is
-- -1 has that of its source. p_uids: 0, or the UID it shall have if it isn't below
-- UIDNEXT. Times are seconds since 1970; a negative one in p_saved is the present
-- time by the caller's clock. Policies and restores compare saved_at with this
-- server's: if they are a minute apart a node's clock is wrong, and ours counts. 256 in p_flags: a copy has the flags
-- and keywords that its source has now; those given are what the caller
-- believes it has, and differ tells whether one of them was wrong.
CREATE OR REPLACE FUNCTION pgbox.message_append(
  p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint,
  p_uids bigint[], p_guids uuid[], p_contents bigint[],
  p_source_mailboxes bigint[], p_source_uids bigint[], p_moves boolean[],
  p_received bigint[], p_saved bigint[],
  p_flags smallint[], p_keywords text[], p_pop3_uidls text[], p_pop3_orders bigint[])
RETURNS TABLE (prev_modseq bigint, modseq bigint, uids bigint[], differ boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_counter pgbox.mailbox_counter;
  v_source record;
  v_count integer := cardinality(p_uids);
  v_now CONSTANT numeric := extract(epoch FROM clock_timestamp());
  v_found bigint;
  v_uid_next bigint;
  v_uids bigint[];
  v_guid_source CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
  v_unseen bigint;
  v_virtual_size bigint;
  v_limited bigint;
  v_usage record;
BEGIN
  IF v_count = 1 AND p_contents[1] IS NULL THEN
    RETURN QUERY
    SELECT a.prev_modseq, a.modseq, a.uids, a.differ
      FROM pgbox.message_append_copy(p_mailbox, p_token, p_reason, p_min_modseq, p_uids[1], p_guids[1], p_source_mailboxes[1],
                                     p_source_uids[1], p_moves[1], p_received[1], p_saved[1], p_flags[1], p_keywords[1],
                                     p_pop3_uidls[1], p_pop3_orders[1]) AS a;
    RETURN;
  END IF;
  -- lock every mailbox concerned in order of mailbox_id
  IF true = ANY (p_moves) THEN
    PERFORM 1
      FROM pgbox.mailbox_counter AS c
     WHERE c.mailbox_id = ANY (ARRAY(SELECT DISTINCT s.id
                                       FROM unnest(p_source_mailboxes || p_mailbox, p_moves || true) AS s (id, move)
                                      WHERE s.move))
     ORDER BY c.mailbox_id
       FOR NO KEY UPDATE;
  END IF;
  v_counter := pgbox.mailbox_lock(p_mailbox);
  -- and after them, if the account has limits, those: one at a time adds to it
  SELECT q.account_id INTO v_limited
    FROM pgbox.mailbox AS m
    JOIN pgbox.account_quota AS q ON q.account_id = m.account_id
   WHERE m.mailbox_id = p_mailbox
     FOR NO KEY UPDATE OF q;
  IF v_limited IS NOT NULL THEN
    SELECT u.messages, u.bytes INTO v_usage FROM pgbox.quota_usage(v_limited) AS u;
  END IF;
  prev_modseq := v_counter.highest_modseq;
  modseq := GREATEST(v_counter.highest_modseq, (p_min_modseq + 65535) / 65536 * 65536) + pgbox.modseq_step();

  -- as lib-index does it: a UID that is asked for and still free is kept,
  -- all others come after the highest of those
  v_uid_next := GREATEST(v_counter.uid_next, (SELECT max(u.uid) + 1 FROM unnest(p_uids) AS u (uid)));
  v_uids := ARRAY(SELECT CASE WHEN u.uid >= v_counter.uid_next THEN u.uid
                              ELSE v_uid_next - 1 + count(*) FILTER (WHERE u.uid < v_counter.uid_next) OVER (ORDER BY u.ord) END
                    FROM unnest(p_uids) WITH ORDINALITY AS u (uid, ord)
                   ORDER BY u.ord);
  v_uid_next := v_uid_next + (SELECT count(*) FROM unnest(p_uids) AS u (uid) WHERE u.uid < v_counter.uid_next);
  IF v_uid_next > 4294967296 THEN
    RAISE EXCEPTION 'mailbox % has no UIDs left', p_mailbox USING ERRCODE = 'PB008';
  END IF;

  -- Fails if the token was claimed: then nobody believes in this transaction. Or
  -- if it was committed: a delivery that the MTA repeats. Before the quota, which
  -- must not refuse what is there.
  INSERT INTO pgbox.commit_token (token, mailbox_id, prev_modseq, modseq, uids)
  VALUES (p_token, p_mailbox, prev_modseq, modseq, v_uids);

  -- not PB002, which speaks of the mailbox that messages are added to
  IF EXISTS (SELECT 1 FROM pgbox.mailbox AS m
              WHERE m.mailbox_id = ANY (p_source_mailboxes) AND m.deleted_at IS NOT NULL) THEN
    RAISE EXCEPTION 'a message to be copied is gone' USING ERRCODE = 'PB004';
  END IF;
  -- All in one statement: arrays in between, and more looks at the same rows, took
  -- a third of the time of a copy of many.
  -- The locks are what the references to contents rest on (66-references.sql). A
  -- purge locks contents of messages that are gone, and may want bodies of
  -- somebody who waits for our counters: don't wait for it.
  WITH source AS MATERIALIZED (
    SELECT u.new_uid AS uid, c.content_id, c.virtual_size,
           CASE WHEN u.guid = v_guid_source THEN g.guid ELSE u.guid END AS guid,
           CASE WHEN u.received = -1 THEN g.received_at ELSE to_timestamp(u.received) END AS received_at,
           to_timestamp(CASE WHEN u.saved >= 0 THEN u.saved
                             WHEN v_now + u.saved BETWEEN -60 AND 60 THEN -u.saved
                             ELSE ceil(v_now) END) AS saved_at, u.pop3_uidl, u.pop3_order,
           CASE WHEN u.flags & 256 <> 0 THEN s.flags ELSE u.flags END AS flags,
           -- names are looked up for those alone that have some
           CASE WHEN u.flags & 256 = 0 THEN u.keywords
                WHEN s.keywords IS NULL THEN ''
                ELSE COALESCE((SELECT string_agg(w.name, ' ') FROM pgbox.mailbox_keyword AS w
                                WHERE w.mailbox_id = u.mailbox_id AND w.number = ANY (s.keywords)), '') END AS keywords,
           u.flags & 256 <> 0
           AND (u.flags & 255 <> s.flags
                OR CASE WHEN u.keywords = '' AND s.keywords IS NULL THEN false
                        ELSE COALESCE((SELECT string_agg(lower(w.name COLLATE "C"), ' ' ORDER BY lower(w.name COLLATE "C"))
                                         FROM unnest(string_to_array(u.keywords, ' ')) AS w (name)), '')
                             <> COALESCE((SELECT string_agg(lower(w.name), ' ' ORDER BY lower(w.name))
                                            FROM pgbox.mailbox_keyword AS w
                                           WHERE w.mailbox_id = u.mailbox_id AND w.number = ANY (s.keywords)), '') END) AS differ
      FROM unnest(v_uids, p_contents, p_source_mailboxes, p_source_uids, p_guids, p_received, p_saved, p_flags, p_keywords,
                  p_pop3_uidls, p_pop3_orders)
           AS u (new_uid, content_id, mailbox_id, uid, guid, received, saved, flags, keywords, pop3_uidl, pop3_order)
      LEFT JOIN pgbox.message AS g ON g.mailbox_id = u.mailbox_id AND g.uid = u.uid
      LEFT JOIN pgbox.message_state AS s ON s.mailbox_id = g.mailbox_id AND s.uid = g.uid
      JOIN pgbox.content AS c ON c.content_id = COALESCE(u.content_id, g.content_id)
       FOR KEY SHARE OF c SKIP LOCKED),
  named AS MATERIALIZED (
    SELECT d.keywords, pgbox.keyword_numbers(p_mailbox, array_remove(string_to_array(d.keywords, ' '), '')) AS numbers
      FROM (SELECT DISTINCT s.keywords FROM source AS s WHERE s.keywords <> '') AS d),
  added AS (
    INSERT INTO pgbox.message (mailbox_id, uid, content_id, guid, received_at, saved_at, pop3_uidl, pop3_order)
    SELECT p_mailbox, s.uid, s.content_id, s.guid, s.received_at, s.saved_at, s.pop3_uidl, s.pop3_order
      FROM source AS s),
  stated AS (
    INSERT INTO pgbox.message_state (mailbox_id, uid, modseq, flags, keywords)
    SELECT p_mailbox, s.uid, modseq, s.flags, n.numbers
      FROM source AS s
      -- each of named is of one of source, so that LEFT is the same; but this can't
      -- become a nested loop, each with each
      FULL JOIN named AS n ON n.keywords = s.keywords)
  SELECT count(*), count(*) FILTER (WHERE s.flags & 8 = 0), sum(s.virtual_size), COALESCE(bool_or(s.differ), false)
    INTO v_found, v_unseen, v_virtual_size, differ
    FROM source AS s;
  IF v_found <> v_count THEN
    RAISE EXCEPTION 'a message to be copied is gone' USING ERRCODE = 'PB004';
  END IF;
  UPDATE pgbox.mailbox_counter AS c
     SET uid_next = v_uid_next,
         highest_modseq = message_append.modseq,
         messages = c.messages + v_count,
         unseen = c.unseen + v_unseen,
         virtual_size = c.virtual_size + v_virtual_size
   WHERE c.mailbox_id = p_mailbox;

  FOR v_source IN
    SELECT s.id, array_agg(s.uid) AS uids
      FROM unnest(p_source_mailboxes, p_source_uids, p_moves) AS s (id, uid, move)
     WHERE s.move
     GROUP BY s.id
     ORDER BY s.id
  LOOP
    -- a modseq of its own, within one mailbox too: whoever has seen that of
    -- the copies still has the expunge before him
    PERFORM pgbox.message_bury(v_source.id, v_source.uids,
                               (pgbox.mailbox_lock(v_source.id)).highest_modseq + pgbox.modseq_step(),
                               p_reason, p_mailbox);
  END LOOP;

  IF v_limited IS NOT NULL THEN
    PERFORM pgbox.quota_check(v_limited, v_usage.messages, v_usage.bytes);
  END IF;

  uids := v_uids;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.message_append(bigint, uuid, text, bigint, bigint[], uuid[], bigint[], bigint[], bigint[], boolean[], bigint[], bigint[], smallint[], text[], text[], bigint[]) IS 'Add messages to a mailbox in one transaction: saved, copied or moved. Returns the modseq before, the one taken, the UIDs given, and whether a copy has other flags or keywords than the caller believed';

-- What message_append() does with a single copy, without its arrays: LMTP's further
-- recipients, a client's MOVE into the trash. tests/sql/sql_append.py compares what
-- both leave behind.
CREATE OR REPLACE FUNCTION pgbox.message_append_copy(
  p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint,
  p_uid bigint, p_guid uuid, p_source_mailbox bigint, p_source_uid bigint, p_move boolean,
  p_received bigint, p_saved bigint,
  p_flags smallint, p_keywords text, p_pop3_uidl text, p_pop3_order bigint)
RETURNS TABLE (prev_modseq bigint, modseq bigint, uids bigint[], differ boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
  v_now CONSTANT numeric := extract(epoch FROM clock_timestamp());
  v_uid bigint;
  v_uid_next bigint;
  v_limited bigint;
  v_usage record;
  v_source record;
  v_flags smallint := p_flags;
  v_keywords text := p_keywords;
BEGIN
  -- in order of mailbox_id, as all do
  IF p_move AND p_source_mailbox < p_mailbox THEN
    PERFORM 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = p_source_mailbox FOR NO KEY UPDATE;
  END IF;
  SELECT c.highest_modseq, c.uid_next INTO prev_modseq, v_uid_next
    FROM pgbox.mailbox_counter AS c
   WHERE c.mailbox_id = p_mailbox
     FOR NO KEY UPDATE;
  IF p_move AND p_source_mailbox > p_mailbox THEN
    PERFORM 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = p_source_mailbox FOR NO KEY UPDATE;
  END IF;
  -- a statement of its own: it sees a deletion that the lock waited for
  SELECT q.account_id INTO v_limited
    FROM pgbox.mailbox AS m
    LEFT JOIN pgbox.account_quota AS q ON q.account_id = m.account_id
   WHERE m.mailbox_id = p_mailbox AND m.deleted_at IS NULL;
  IF NOT FOUND OR prev_modseq IS NULL THEN
    RAISE EXCEPTION 'mailbox % is gone', p_mailbox USING ERRCODE = 'PB002';
  END IF;
  IF v_limited IS NOT NULL THEN
    PERFORM 1 FROM pgbox.account_quota AS q WHERE q.account_id = v_limited FOR NO KEY UPDATE;
    SELECT u.messages, u.bytes INTO v_usage FROM pgbox.quota_usage(v_limited) AS u;
  END IF;

  modseq := GREATEST(prev_modseq, (p_min_modseq + 65535) / 65536 * 65536) + pgbox.modseq_step();
  v_uid := GREATEST(v_uid_next, p_uid);
  IF v_uid >= 4294967296 THEN
    RAISE EXCEPTION 'mailbox % has no UIDs left', p_mailbox USING ERRCODE = 'PB008';
  END IF;
  -- from here on as in message_append()
  uids := ARRAY[v_uid];
  INSERT INTO pgbox.commit_token (token, mailbox_id, prev_modseq, modseq, uids)
  VALUES (p_token, p_mailbox, prev_modseq, modseq, uids);
  SELECT c.content_id, c.virtual_size, g.guid, g.received_at, s.flags, s.keywords INTO v_source
    FROM pgbox.message AS g
    JOIN pgbox.message_state AS s ON s.mailbox_id = g.mailbox_id AND s.uid = g.uid
    JOIN pgbox.content AS c ON c.content_id = g.content_id
   WHERE g.mailbox_id = p_source_mailbox AND g.uid = p_source_uid
     AND NOT EXISTS (SELECT 1 FROM pgbox.mailbox AS m WHERE m.mailbox_id = p_source_mailbox AND m.deleted_at IS NOT NULL)
     FOR KEY SHARE OF c SKIP LOCKED;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'a message to be copied is gone' USING ERRCODE = 'PB004';
  END IF;
  differ := false;
  IF p_flags & 256 <> 0 THEN
    v_flags := v_source.flags;
    v_keywords := '';
    IF v_source.keywords IS NOT NULL THEN
      SELECT COALESCE(string_agg(w.name, ' '), '') INTO v_keywords
        FROM pgbox.mailbox_keyword AS w
       WHERE w.mailbox_id = p_source_mailbox AND w.number = ANY (v_source.keywords);
    END IF;
    differ := p_flags & 255 <> v_flags;
    IF NOT differ AND (p_keywords <> '' OR v_keywords <> '') THEN
      differ := ARRAY(SELECT lower(w.name COLLATE "C") FROM unnest(string_to_array(p_keywords, ' ')) AS w (name) ORDER BY 1)
             <> ARRAY(SELECT lower(w.name COLLATE "C") FROM unnest(string_to_array(v_keywords, ' ')) AS w (name) ORDER BY 1);
    END IF;
  END IF;

  INSERT INTO pgbox.message (mailbox_id, uid, content_id, guid, received_at, saved_at, pop3_uidl, pop3_order)
  VALUES (p_mailbox, v_uid, v_source.content_id,
          CASE WHEN p_guid = '00000000-0000-0000-0000-000000000000' THEN v_source.guid ELSE p_guid END,
          CASE WHEN p_received = -1 THEN v_source.received_at ELSE to_timestamp(p_received) END,
          to_timestamp(CASE WHEN p_saved >= 0 THEN p_saved
                            WHEN v_now + p_saved BETWEEN -60 AND 60 THEN -p_saved
                            ELSE ceil(v_now) END), p_pop3_uidl, p_pop3_order);
  INSERT INTO pgbox.message_state (mailbox_id, uid, modseq, flags, keywords)
  VALUES (p_mailbox, v_uid, modseq, v_flags,
          CASE WHEN v_keywords <> '' THEN pgbox.keyword_numbers(p_mailbox, array_remove(string_to_array(v_keywords, ' '), '')) END);
  UPDATE pgbox.mailbox_counter AS c
     SET uid_next = v_uid + 1,
         highest_modseq = modseq,
         messages = c.messages + 1,
         unseen = c.unseen + CASE WHEN v_flags & 8 = 0 THEN 1 ELSE 0 END,
         virtual_size = c.virtual_size + v_source.virtual_size
   WHERE c.mailbox_id = p_mailbox;
  IF p_move THEN
    PERFORM pgbox.message_bury(p_source_mailbox, ARRAY[p_source_uid],
                               (pgbox.mailbox_lock(p_source_mailbox)).highest_modseq + pgbox.modseq_step(),
                               p_reason, p_mailbox);
  END IF;

  IF v_limited IS NOT NULL THEN
    PERFORM pgbox.quota_check(v_limited, v_usage.messages, v_usage.bytes);
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.message_append_copy(bigint, uuid, text, bigint, bigint, uuid, bigint, bigint, boolean, bigint, bigint, smallint, text, text, bigint) IS 'Copy or move one message: message_append() calls it for that';

-- What message_append() does with a single new message, without its arrays: half
-- of the time. tests/sql/sql_append.py compares what both leave behind.
CREATE OR REPLACE FUNCTION pgbox.message_save(
  p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint,
  p_uid bigint, p_guid uuid, p_received bigint, p_saved bigint,
  p_flags smallint, p_keywords text, p_pop3_uidl text, p_pop3_order bigint,
  p_header bytea, p_header_complete boolean,
  p_digest bytea, p_body_size bigint, p_head bytea,
  p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea, p_base64 integer[])
RETURNS TABLE (prev_modseq bigint, modseq bigint, uids bigint[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
  v_content bigint;
  v_now CONSTANT numeric := extract(epoch FROM clock_timestamp());
  v_uid bigint;
  v_uid_next bigint;
  v_limited bigint;
  v_usage record;
BEGIN
  v_content := pgbox.content_put(p_header, p_header_complete, p_digest, p_body_size, p_head,
                                 p_size, p_virtual_size, p_envelope, p_bodystructure, p_base64);

  SELECT c.highest_modseq, c.uid_next INTO prev_modseq, v_uid_next
    FROM pgbox.mailbox_counter AS c
   WHERE c.mailbox_id = p_mailbox
     FOR NO KEY UPDATE;
  -- a statement of its own: it sees a deletion that the lock waited for
  SELECT q.account_id INTO v_limited
    FROM pgbox.mailbox AS m
    LEFT JOIN pgbox.account_quota AS q ON q.account_id = m.account_id
   WHERE m.mailbox_id = p_mailbox AND m.deleted_at IS NULL;
  IF NOT FOUND OR prev_modseq IS NULL THEN
    RAISE EXCEPTION 'mailbox % is gone', p_mailbox USING ERRCODE = 'PB002';
  END IF;

  -- and after it, if the account has limits, those: one at a time adds to it
  IF v_limited IS NOT NULL THEN
    PERFORM 1 FROM pgbox.account_quota AS q WHERE q.account_id = v_limited FOR NO KEY UPDATE;
    SELECT u.messages, u.bytes INTO v_usage FROM pgbox.quota_usage(v_limited) AS u;
  END IF;

  modseq := GREATEST(prev_modseq, (p_min_modseq + 65535) / 65536 * 65536) + 65536;
  v_uid := GREATEST(v_uid_next, p_uid);
  IF v_uid >= 4294967296 THEN
    RAISE EXCEPTION 'mailbox % has no UIDs left', p_mailbox USING ERRCODE = 'PB008';
  END IF;

  -- as in message_append()
  uids := ARRAY[v_uid];
  INSERT INTO pgbox.commit_token (token, mailbox_id, prev_modseq, modseq, uids)
  VALUES (p_token, p_mailbox, prev_modseq, modseq, uids);

  INSERT INTO pgbox.message (mailbox_id, uid, content_id, guid, received_at, saved_at, pop3_uidl, pop3_order)
  VALUES (p_mailbox, v_uid, v_content, p_guid, to_timestamp(p_received),
          to_timestamp(CASE WHEN p_saved >= 0 THEN p_saved
                            WHEN v_now + p_saved BETWEEN -60 AND 60 THEN -p_saved
                            ELSE ceil(v_now) END), p_pop3_uidl, p_pop3_order);
  INSERT INTO pgbox.message_state (mailbox_id, uid, modseq, flags, keywords)
  VALUES (p_mailbox, v_uid, modseq, p_flags,
          CASE WHEN p_keywords <> '' THEN pgbox.keyword_numbers(p_mailbox, array_remove(string_to_array(p_keywords, ' '), '')) END);
  UPDATE pgbox.mailbox_counter AS c
     SET uid_next = v_uid + 1,
         highest_modseq = modseq,
         messages = c.messages + 1,
         unseen = c.unseen + CASE WHEN p_flags & 8 = 0 THEN 1 ELSE 0 END,
         virtual_size = c.virtual_size + p_virtual_size
   WHERE c.mailbox_id = p_mailbox;

  IF v_limited IS NOT NULL THEN
    PERFORM pgbox.quota_check(v_limited, v_usage.messages, v_usage.bytes);
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.message_save(bigint, uuid, text, bigint, bigint, uuid, bigint, bigint, smallint, text, text, bigint, bytea, boolean, bytea, bigint, bytea, bigint, bigint, bytea, bytea, integer[]) IS 'Add one message whose body fits in its first chunk: the usual delivery, one round trip';

-- As a plugin of version 1 calls it.
CREATE OR REPLACE FUNCTION pgbox.message_save(
  p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint,
  p_uid bigint, p_guid uuid, p_received bigint, p_saved bigint,
  p_flags smallint, p_keywords text, p_pop3_uidl text, p_pop3_order bigint,
  p_header bytea, p_header_complete boolean,
  p_digest bytea, p_body_size bigint, p_head bytea,
  p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea)
RETURNS TABLE (prev_modseq bigint, modseq bigint, uids bigint[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN QUERY
  SELECT s.prev_modseq, s.modseq, s.uids
    FROM pgbox.message_save(p_mailbox, p_token, p_reason, p_min_modseq, p_uid, p_guid, p_received, p_saved,
                            p_flags, p_keywords, p_pop3_uidl, p_pop3_order, p_header, p_header_complete,
                            p_digest, p_body_size, p_head, p_size, p_virtual_size, p_envelope, p_bodystructure, NULL) AS s;
END
$$;
COMMENT ON FUNCTION pgbox.message_save(bigint, uuid, text, bigint, bigint, uuid, bigint, bigint, smallint, text, text, bigint, bytea, boolean, bytea, bigint, bytea, bigint, bigint, bytea, bytea) IS 'The same without base64 that is decoded';

-- Returns the result if the transaction with this token committed, and
-- nothing if it never will: inserting the token waits for a transaction that
-- holds it, and if that rolled back, takes its place for good. A token that is there
-- is written nevertheless: so with synchronous replication this waits for the
-- standby, and what it says isn't lost with the primary.
CREATE OR REPLACE FUNCTION pgbox.commit_claim(p_token uuid)
RETURNS TABLE (prev_modseq bigint, modseq bigint, uids bigint[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO pgbox.commit_token (token) VALUES (p_token)
  ON CONFLICT ON CONSTRAINT commit_token_pkey DO UPDATE SET token = EXCLUDED.token;
  RETURN QUERY
  SELECT t.prev_modseq, t.modseq, t.uids
    FROM pgbox.commit_token AS t
   WHERE t.token = p_token AND t.mailbox_id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION pgbox.commit_claim(uuid) IS 'After a lost connection: what did the transaction with this token do? No row: nothing, and it never will';

-- Row kinds: 0 first, the counters: uid = UIDNEXT, modseq = HIGHESTMODSEQ,
-- info = {UIDVALIDITY, first recent UID, pruned modseq, epoch, messages, 1 if
-- messages were expunged after p_since}; 3 a keyword numbered above
-- p_keywords: uid = its number; then by UID: 1 a message that changed after
-- p_since, 2 one expunged after p_since.
-- No row at all: the mailbox is gone.
-- p_since 0: all messages. Below 0: none, for a statement that reads them itself.
-- STABLE: everything comes from one snapshot, the calling statement's. Function, not
-- UNION: the order of the kinds is certain, and an idle poll stops after the counters.
CREATE OR REPLACE FUNCTION pgbox.mailbox_pull(p_mailbox bigint, p_since bigint, p_keywords integer)
RETURNS TABLE (kind smallint, uid bigint, modseq bigint, flags smallint, keywords smallint[], info bigint[], keyword text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  v_floor bigint;
  v_since bigint;
BEGIN
  SELECT 0, c.uid_next, c.highest_modseq,
         -- the newest tombstone, not EXISTS: statistics mix the modseqs of all
         -- mailboxes, and for EXISTS they may prefer to read the whole table
         ARRAY[m.uidvalidity, c.first_recent_uid, c.pruned_modseq, s.epoch, c.messages,
               (p_since > 0 AND c.highest_modseq > p_since
                AND COALESCE((SELECT e.modseq FROM pgbox.expunged AS e
                               WHERE e.mailbox_id = p_mailbox
                               ORDER BY e.modseq DESC LIMIT 1), 0) > p_since)::integer],
         c.message_floor
    INTO kind, uid, modseq, info, v_floor
    FROM pgbox.mailbox AS m
    JOIN pgbox.mailbox_counter AS c ON c.mailbox_id = m.mailbox_id
   CROSS JOIN pgbox.store AS s
   WHERE m.mailbox_id = p_mailbox AND m.deleted_at IS NULL;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  RETURN NEXT;
  IF modseq = p_since THEN
    RETURN;
  END IF;
  RETURN QUERY
  SELECT 3::smallint, k.number::bigint, 0::bigint, NULL::smallint, NULL::smallint[], NULL::bigint[], k.name
    FROM pgbox.mailbox_keyword AS k
   WHERE k.mailbox_id = p_mailbox AND k.number > p_keywords
   ORDER BY k.number;
  IF p_since < 0 THEN
    RETURN;
  END IF;
  IF p_since = 0 THEN
    -- no tombstones, and the primary key gives the order
    RETURN QUERY
    SELECT 1::smallint, s.uid, GREATEST(s.modseq, v_floor), s.flags, s.keywords, NULL::bigint[], NULL::text
      FROM pgbox.message_state AS s
     WHERE s.mailbox_id = p_mailbox
     ORDER BY s.uid;
    RETURN;
  END IF;
  v_since := CASE WHEN p_since < v_floor THEN 0 ELSE p_since END;
  -- The inner order makes the planner take the index on modseq. Statistics
  -- mix the modseqs of all mailboxes: by them it would often take all of this
  -- mailbox for new, and read it in the order of the primary key.
  RETURN QUERY
  SELECT n.kind, n.uid, n.modseq, n.flags, n.keywords, NULL::bigint[], NULL::text
    FROM ((SELECT 1::smallint AS kind, s.uid, GREATEST(s.modseq, v_floor) AS modseq, s.flags, s.keywords
             FROM pgbox.message_state AS s
            WHERE s.mailbox_id = p_mailbox AND s.modseq > v_since
            ORDER BY s.modseq
           OFFSET 0)
          UNION ALL
          (SELECT 2::smallint, e.uid, e.modseq, NULL::smallint, NULL::smallint[]
             FROM pgbox.expunged AS e
            WHERE e.mailbox_id = p_mailbox AND e.modseq > p_since
            ORDER BY e.modseq
           OFFSET 0)) AS n
   ORDER BY n.uid;
END
$$;
COMMENT ON FUNCTION pgbox.mailbox_pull(bigint, bigint, integer) IS 'What a node needs to bring its copy of a mailbox from modseq p_since (0: nothing there, -1: counters and keywords alone) to now';
