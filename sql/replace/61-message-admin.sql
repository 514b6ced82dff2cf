-- What administrators do with messages and mailboxes, by name. "folder" in a
-- function's name: it takes the name of the account and the full name of the
-- mailbox; "mailbox": it is the plugin's and takes numbers.

CREATE OR REPLACE FUNCTION pgbox.folder_find(p_account text, p_folder text)
RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_mailbox bigint;
BEGIN
  SELECT m.mailbox_id INTO v_mailbox
    FROM pgbox.mailbox AS m
   WHERE m.account_id = pgbox.account_find(p_account)
     AND m.name = CASE WHEN upper(p_folder) = 'INBOX' THEN 'INBOX' ELSE p_folder END
     AND m.guid IS NOT NULL AND m.deleted_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'account "%" has no mailbox "%"', p_account, p_folder USING ERRCODE = 'PB002';
  END IF;
  RETURN v_mailbox;
END
$$;
COMMENT ON FUNCTION pgbox.folder_find(text, text) IS 'mailbox_id of an account''s mailbox; an error if there is none';

CREATE OR REPLACE FUNCTION pgbox.folder_held(p_mailbox bigint)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT m.legal_hold OR a.legal_hold
    FROM pgbox.mailbox AS m
    JOIN pgbox.account AS a ON a.account_id = m.account_id
   WHERE m.mailbox_id = p_mailbox
$$;
COMMENT ON FUNCTION pgbox.folder_held(bigint) IS 'Is the mailbox or its account under legal hold?';

CREATE OR REPLACE FUNCTION pgbox.flags_sum(p_flags text)
RETURNS smallint
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_names CONSTANT text[] := '{\\answered,\\flagged,\\deleted,\\seen,\\draft}';
  v_flag text;
  v_sum integer := 0;
BEGIN
  FOREACH v_flag IN ARRAY array_remove(string_to_array(lower(p_flags), ' '), '') LOOP
    IF NOT v_flag = ANY (v_names) THEN
      RAISE EXCEPTION '"%" is no flag of IMAP', v_flag
        USING ERRCODE = '22023', HINT = 'Write \Answered, \Flagged, \Deleted, \Seen or \Draft, separated by spaces.';
    END IF;
    v_sum := v_sum | (1 << (array_position(v_names, v_flag) - 1));
  END LOOP;
  RETURN v_sum;
END
$$;
COMMENT ON FUNCTION pgbox.flags_sum(text) IS 'The sum of flags that are given by names';

CREATE OR REPLACE FUNCTION pgbox.flags_names(p_flags smallint)
RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT concat_ws(' ', CASE WHEN p_flags & 1 <> 0 THEN '\Answered' END, CASE WHEN p_flags & 2 <> 0 THEN '\Flagged' END,
                   CASE WHEN p_flags & 4 <> 0 THEN '\Deleted' END, CASE WHEN p_flags & 8 <> 0 THEN '\Seen' END,
                   CASE WHEN p_flags & 16 <> 0 THEN '\Draft' END)
$$;
COMMENT ON FUNCTION pgbox.flags_names(smallint) IS 'Names of the flags of a sum';

-- -- search and expunge

CREATE OR REPLACE FUNCTION pgbox.message_search(
  p_account text, p_folder text,
  p_saved_before timestamptz DEFAULT NULL, p_received_before timestamptz DEFAULT NULL,
  p_with text DEFAULT '', p_without text DEFAULT '', p_keyword text DEFAULT NULL,
  p_larger bigint DEFAULT NULL, p_limit bigint DEFAULT NULL)
RETURNS TABLE (uid bigint, received_at timestamptz, saved_at timestamptz, size bigint, flags text, guid uuid)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_mailbox bigint := pgbox.folder_find(p_account, p_folder);
  v_with smallint := pgbox.flags_sum(p_with);
  v_without smallint := pgbox.flags_sum(p_without);
  v_keyword smallint;
BEGIN
  IF p_keyword IS NOT NULL THEN
    SELECT k.number INTO v_keyword
      FROM pgbox.mailbox_keyword AS k
     WHERE k.mailbox_id = v_mailbox AND lower(k.name) = lower(p_keyword COLLATE "C");
    IF NOT FOUND THEN
      RETURN;
    END IF;
  END IF;
  RETURN QUERY
  SELECT g.uid, g.received_at, g.saved_at, c.virtual_size, pgbox.flags_names(s.flags), g.guid
    FROM pgbox.message AS g
    JOIN pgbox.message_state AS s ON s.mailbox_id = g.mailbox_id AND s.uid = g.uid
    JOIN pgbox.content AS c ON c.content_id = g.content_id
   WHERE g.mailbox_id = v_mailbox
     AND (p_saved_before IS NULL OR g.saved_at < p_saved_before)
     AND (p_received_before IS NULL OR g.received_at < p_received_before)
     AND s.flags & v_with = v_with AND s.flags & v_without = 0
     AND (v_keyword IS NULL OR v_keyword = ANY (s.keywords))
     AND (p_larger IS NULL OR c.virtual_size > p_larger)
   ORDER BY g.uid
   LIMIT p_limit;
END
$$;
COMMENT ON FUNCTION pgbox.message_search(text, text, timestamptz, timestamptz, text, text, text, bigint, bigint) IS 'Messages of a mailbox that fit all that is given: in it since before a time, received before a time, with and without flags, with a keyword, larger than so many bytes';

CREATE OR REPLACE FUNCTION pgbox.messages_expunge(
  p_account text, p_folder text,
  p_saved_before timestamptz DEFAULT NULL, p_received_before timestamptz DEFAULT NULL,
  p_with text DEFAULT '', p_without text DEFAULT '', p_keyword text DEFAULT NULL,
  p_larger bigint DEFAULT NULL, p_limit bigint DEFAULT 10000, p_reason text DEFAULT pgbox.who())
RETURNS TABLE (expunged bigint, more boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_mailbox bigint := pgbox.folder_find(p_account, p_folder);
  v_uids bigint[];
BEGIN
  PERFORM pgbox.limit_check(p_limit);
  -- flags may change until the lock is ours
  PERFORM pgbox.mailbox_lock(v_mailbox);
  IF pgbox.folder_held(v_mailbox) THEN
    RAISE EXCEPTION 'mailbox "%" of account "%" is under legal hold', p_folder, p_account USING ERRCODE = 'PB013';
  END IF;
  v_uids := ARRAY(SELECT s.uid
                    FROM pgbox.message_search(p_account, p_folder, p_saved_before, p_received_before, p_with, p_without,
                                              p_keyword, p_larger, p_limit + 1) AS s
                   ORDER BY s.uid);
  more := cardinality(v_uids) > p_limit;
  SELECT cardinality(e.uids) INTO expunged
    FROM pgbox.message_expunge(v_mailbox, v_uids[:p_limit], p_reason) AS e;
  IF expunged > 0 THEN
    PERFORM pgbox.job_record('messages_expunge', p_account || ': ' || p_folder, jsonb_build_object('messages', expunged),
                             CASE WHEN more THEN 'more' ELSE 'done' END);
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.messages_expunge(text, text, timestamptz, timestamptz, text, text, text, bigint, bigint, text) IS 'Expunge what message_search finds, at most p_limit; call again while more is true. It stays restorable';

-- NULL is no age either: now() less NULL would be no limit.
CREATE OR REPLACE FUNCTION pgbox.age_check(p_what text, p_age interval)
RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF p_age BETWEEN '1 hour'::interval AND '1000 years'::interval THEN
    RETURN;
  END IF;
  RAISE EXCEPTION '% can''t be %: it is an hour to 1000 years', p_what, COALESCE(p_age::text, 'NULL')
    USING ERRCODE = '22023',
          HINT = 'It says how old messages become, with a unit: ''30 days''. A number alone is seconds. '
                 'pgbox.folder_empty() is for all of a mailbox.';
END
$$;
COMMENT ON FUNCTION pgbox.age_check(text, interval) IS 'Fails for what can''t be the age at which messages go: NULL, below an hour, or above 1000 years';

CREATE OR REPLACE FUNCTION pgbox.messages_expire(p_account text, p_folder text, p_older_than interval, p_limit bigint DEFAULT 10000)
RETURNS TABLE (expunged bigint, more boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pgbox.age_check('the age', p_older_than);
  RETURN QUERY
  SELECT e.expunged, e.more
    FROM pgbox.messages_expunge(p_account, p_folder, now() - p_older_than, NULL, '', '', NULL, NULL, p_limit) AS e;
END
$$;
COMMENT ON FUNCTION pgbox.messages_expire(text, text, interval, bigint) IS 'Expunge what has been in a mailbox for longer than that, which is an hour at least; at most p_limit, call again while more is true';

-- -- copy

-- Times are counted in seconds: rounded up, for a restore "as of" a moment
-- before must never take what it has added for what was there.
CREATE OR REPLACE FUNCTION pgbox.messages_add(
  p_mailbox bigint, p_contents bigint[], p_sources bigint[], p_source_uids bigint[], p_move boolean,
  p_guids uuid[], p_received timestamptz[], p_flags smallint[], p_keywords text[])
RETURNS bigint[]
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT a.uids
    FROM (SELECT array_agg(0::bigint) AS zeros, array_agg(NULL::bigint) AS nothing, array_agg(NULL::text) AS no_text,
                 array_agg(p_move) AS moves, array_agg(ceil(extract(epoch FROM clock_timestamp()))::bigint) AS saved,
                 array_agg(COALESCE(extract(epoch FROM u.received)::bigint, -1) ORDER BY u.ord) AS received
            FROM unnest(p_received) WITH ORDINALITY AS u (received, ord)) AS n
   CROSS JOIN LATERAL pgbox.message_append(
           p_mailbox, gen_random_uuid(), pgbox.who(), 0, n.zeros, p_guids, p_contents, p_sources, p_source_uids, n.moves,
           n.received, n.saved, p_flags, p_keywords, n.no_text, n.nothing) AS a
$$;
COMMENT ON FUNCTION pgbox.messages_add(bigint, bigint[], bigint[], bigint[], boolean, uuid[], timestamptz[], smallint[], text[]) IS 'message_append with what is the same for all messages filled in; returns the UIDs given';

CREATE OR REPLACE FUNCTION pgbox.message_copy(
  p_account text, p_folder text, p_uids bigint[], p_to_account text, p_to_folder text, p_move boolean DEFAULT false)
RETURNS TABLE (uid bigint, new_uid bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_from bigint := pgbox.folder_find(p_account, p_folder);
  v_to bigint := pgbox.folder_find(p_to_account, p_to_folder);
  v_count integer := COALESCE(cardinality(p_uids), 0);
  v_uids bigint[];
BEGIN
  IF v_count = 0 THEN
    RETURN;
  END IF;
  v_uids := pgbox.messages_add(
    v_to, array_fill(NULL::bigint, ARRAY[v_count]), array_fill(v_from, ARRAY[v_count]), p_uids, p_move,
    array_fill('00000000-0000-0000-0000-000000000000'::uuid, ARRAY[v_count]), array_fill(NULL::timestamptz, ARRAY[v_count]),
    array_fill(256::smallint, ARRAY[v_count]), array_fill(''::text, ARRAY[v_count]));
  PERFORM pgbox.job_record(CASE WHEN p_move THEN 'message_move' ELSE 'message_copy' END,
                           format('%s: %s to %s: %s', p_account, p_folder, p_to_account, p_to_folder),
                           jsonb_build_object('messages', v_count), 'done');
  RETURN QUERY SELECT u.uid, u.new_uid FROM unnest(p_uids, v_uids) AS u (uid, new_uid);
END
$$;
COMMENT ON FUNCTION pgbox.message_copy(text, text, bigint[], text, text, boolean) IS 'Copy (or move) messages into a mailbox of the same or another account, with flags, keywords and dates; returns old and new UIDs';

-- -- undelete, restore

-- What is to come back is given as tombstones, or messages of deleted
-- mailboxes, by mailbox and UID. Their contents are locked as message_append
-- does it: whoever has counters doesn't wait for a purge.
CREATE OR REPLACE FUNCTION pgbox.messages_revive(p_mailbox bigint, p_sources bigint[], p_source_uids bigint[])
RETURNS TABLE (mailbox_id bigint, uid bigint, new_uid bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  v_contents bigint[];
  v_old record;
  v_uids bigint[];
BEGIN
  PERFORM pgbox.mailbox_lock(p_mailbox);
  -- OFFSET 0: each is looked for by its key. What is found by contents would be
  -- compared with each that is asked for.
  v_contents := ARRAY(SELECT c.content_id
                        FROM pgbox.content AS c
                       WHERE c.content_id IN (SELECT o.content_id
                                                FROM unnest(p_sources, p_source_uids) AS u (mailbox_id, uid)
                                               CROSS JOIN LATERAL (SELECT r.content_id FROM pgbox.revivable AS r
                                                                    WHERE r.mailbox_id = u.mailbox_id AND r.uid = u.uid
                                                                   OFFSET 0) AS o)
                         FOR KEY SHARE SKIP LOCKED);
  SELECT array_agg(o.mailbox_id ORDER BY u.ord) AS mailboxes, array_agg(o.uid ORDER BY u.ord) AS uids,
         array_agg(o.content_id ORDER BY u.ord) AS contents, array_agg(o.guid ORDER BY u.ord) AS guids,
         array_agg(o.received_at ORDER BY u.ord) AS received,
         array_agg((o.flags & ~4)::smallint ORDER BY u.ord) AS flags, array_agg(COALESCE(k.names, '') ORDER BY u.ord) AS keywords,
         array_agg(NULL::bigint) AS nothing
    INTO v_old
    FROM unnest(p_sources, p_source_uids) WITH ORDINALITY AS u (mailbox_id, uid, ord)
   CROSS JOIN LATERAL (SELECT r.* FROM pgbox.revivable AS r
                        WHERE r.mailbox_id = u.mailbox_id AND r.uid = u.uid
                       OFFSET 0) AS o
    LEFT JOIN LATERAL (SELECT string_agg(w.name, ' ') AS names
                         FROM pgbox.mailbox_keyword AS w
                        WHERE w.mailbox_id = o.mailbox_id AND w.number = ANY (o.keywords)) AS k ON true
   WHERE o.content_id = ANY (v_contents);
  IF v_old.uids IS NULL THEN
    RETURN;
  END IF;
  v_uids := pgbox.messages_add(p_mailbox, v_old.contents, v_old.nothing, v_old.nothing, false, v_old.guids, v_old.received,
                               v_old.flags, v_old.keywords);
  -- a purge that has a tombstone leaves nothing in it that could come back again
  WITH free AS (
    SELECT o.mailbox_id, o.uid
      FROM unnest(v_old.mailboxes, v_old.uids) AS u (mailbox_id, uid)
      JOIN pgbox.expunged AS o ON o.mailbox_id = u.mailbox_id AND o.uid = u.uid
       FOR NO KEY UPDATE OF o SKIP LOCKED)
  UPDATE pgbox.expunged AS e
     SET revived_at = clock_timestamp()
    FROM free AS f
   WHERE e.mailbox_id = f.mailbox_id AND e.uid = f.uid;
  RETURN QUERY SELECT n.mailbox_id, n.uid, n.new_uid FROM unnest(v_old.mailboxes, v_old.uids, v_uids) AS n (mailbox_id, uid, new_uid);
END
$$;
COMMENT ON FUNCTION pgbox.messages_revive(bigint, bigint[], bigint[]) IS 'Add messages that were expunged, or are in deleted mailboxes, to a mailbox: new UIDs, flags and keywords as they were, without \Deleted. What a purge has or is about to take is left out';

CREATE OR REPLACE VIEW pgbox.revivable AS
SELECT e.mailbox_id, e.uid, e.content_id, e.guid, e.received_at, e.saved_at, e.flags, e.keywords,
       e.expunged_at AS gone_at, e.moved_to
  FROM pgbox.expunged AS e
 WHERE e.content_id IS NOT NULL
 UNION ALL
SELECT g.mailbox_id, g.uid, g.content_id, g.guid, g.received_at, g.saved_at, s.flags, s.keywords,
       m.deleted_at, NULL
  FROM pgbox.mailbox AS m
  JOIN pgbox.message AS g ON g.mailbox_id = m.mailbox_id
  JOIN pgbox.message_state AS s ON s.mailbox_id = g.mailbox_id AND s.uid = g.uid
 WHERE m.deleted_at IS NOT NULL;
COMMENT ON VIEW pgbox.revivable IS 'Messages that can be brought back: expunged ones with content, and those of deleted mailboxes';
COMMENT ON COLUMN pgbox.revivable.mailbox_id IS 'The mailbox it was in';
COMMENT ON COLUMN pgbox.revivable.uid IS 'The UID it had';
COMMENT ON COLUMN pgbox.revivable.content_id IS 'Its bytes';
COMMENT ON COLUMN pgbox.revivable.guid IS 'Its GUID';
COMMENT ON COLUMN pgbox.revivable.received_at IS 'IMAP INTERNALDATE';
COMMENT ON COLUMN pgbox.revivable.saved_at IS 'When it had come into the mailbox';
COMMENT ON COLUMN pgbox.revivable.flags IS 'The flags it had';
COMMENT ON COLUMN pgbox.revivable.keywords IS 'The keywords it had, numbers of mailbox_keyword';
COMMENT ON COLUMN pgbox.revivable.gone_at IS 'When it was expunged, or the mailbox was deleted';
COMMENT ON COLUMN pgbox.revivable.moved_to IS 'Mailbox that it was moved to, if it was moved';

-- A tombstone comes back once: the copy that it became has one of its own when it
-- is expunged. Both mailboxes are locked, as by COPY in the order of their numbers,
-- so that nobody else brings the same ones back meanwhile.
CREATE OR REPLACE FUNCTION pgbox.message_undelete(
  p_account text, p_folder text, p_uids bigint[] DEFAULT NULL, p_since timestamptz DEFAULT '-infinity',
  p_into text DEFAULT NULL, p_limit integer DEFAULT 1000)
RETURNS TABLE (uid bigint, new_uid bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_from bigint := pgbox.folder_find(p_account, p_folder);
  v_to bigint := pgbox.folder_find(p_account, COALESCE(p_into, p_folder));
  v_found bigint[];
  v_count bigint;
BEGIN
  PERFORM pgbox.limit_check(p_limit);
  IF p_since > clock_timestamp() THEN
    RAISE EXCEPTION '% is in the future: nothing was expunged since then', p_since USING ERRCODE = '22023';
  END IF;
  PERFORM pgbox.mailbox_lock(LEAST(v_from, v_to));
  PERFORM pgbox.mailbox_lock(GREATEST(v_from, v_to));
  v_found := ARRAY(
    SELECT e.uid
      FROM pgbox.expunged AS e
     WHERE e.mailbox_id = v_from AND e.content_id IS NOT NULL AND e.revived_at IS NULL AND e.expunged_at >= p_since
       AND (e.uid = ANY (p_uids) OR (p_uids IS NULL AND e.moved_to IS NULL))
     ORDER BY e.uid
     LIMIT p_limit);
  RETURN QUERY
  SELECT r.uid, r.new_uid
    FROM pgbox.messages_revive(v_to, array_fill(v_from, ARRAY[cardinality(v_found)]), v_found) AS r;
  GET DIAGNOSTICS v_count = ROW_COUNT;
  IF v_count > 0 THEN
    PERFORM pgbox.job_record('message_undelete', concat(p_account, ': ', p_folder, ' to ' || p_into), jsonb_build_object('messages', v_count),
                             CASE WHEN v_count < p_limit THEN 'done' ELSE 'more' END);
    PERFORM pgbox.signal_from_doveadm(ARRAY[v_to]);
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.message_undelete(text, text, bigint[], timestamptz, text, integer) IS 'Bring expunged messages back into their mailbox or p_into: those with these UIDs, or all expunged since a time that weren''t moved elsewhere, each of them once; at most p_limit, call again until there is no row. Returns old and new UIDs';

-- What can't be asked for is an error, and not an answer without rows: who
-- restores mail is in a hurry.
CREATE OR REPLACE FUNCTION pgbox.restore_check(p_account text, p_folder text, p_as_of timestamptz)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_account bigint := pgbox.account_find(p_account);
BEGIN
  IF p_as_of IS NULL OR p_as_of > clock_timestamp() THEN
    RAISE EXCEPTION 'only what was there at a moment that has passed can be restored, not %', COALESCE(p_as_of::text, 'NULL')
      USING ERRCODE = '22023', HINT = 'Give a time: now() - interval ''2 days''.';
  END IF;
  IF p_folder IS NOT NULL AND NOT EXISTS (
       SELECT 1
         FROM pgbox.mailbox AS m
        WHERE m.account_id = v_account AND m.guid IS NOT NULL
          AND m.name = CASE WHEN upper(p_folder) = 'INBOX' THEN 'INBOX' ELSE p_folder END) THEN
    RAISE EXCEPTION 'account "%" has no mailbox "%", nor had it one within its retention', p_account, p_folder
      USING ERRCODE = 'PB002', HINT = format('SELECT folder, deleted_at FROM pgbox.folder_overview WHERE account = %L shows all.', p_account);
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.restore_check(text, text, timestamptz) IS 'Fails if there is no such account, no mailbox of this name (NULL: any), deleted ones included, or the moment is none in the past';

-- For each GUID as many as were in the mailbox at that moment, less those that
-- have come back there or are in the target: none is restored twice.
CREATE OR REPLACE FUNCTION pgbox.restore_find(p_account text, p_folder text, p_as_of timestamptz, p_into text)
RETURNS TABLE (mailbox_id bigint, uid bigint, guid uuid, received_at timestamptz, saved_at timestamptz, gone_at timestamptz, size bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  WITH names AS (
    SELECT pgbox.account_find(p_account) AS account_id,
           CASE WHEN upper(p_folder) = 'INBOX' THEN 'INBOX' ELSE p_folder END AS source,
           CASE WHEN upper(COALESCE(p_into, p_folder)) = 'INBOX' THEN 'INBOX' ELSE COALESCE(p_into, p_folder) END AS target),
  there AS (
    SELECT o.*, row_number() OVER (PARTITION BY o.guid ORDER BY o.gone_at DESC, o.mailbox_id, o.uid) AS number
      FROM names AS n
      JOIN pgbox.mailbox AS m ON m.account_id = n.account_id AND m.name = n.source
      JOIN pgbox.revivable AS o ON o.mailbox_id = m.mailbox_id
     WHERE o.saved_at <= p_as_of AND o.gone_at > p_as_of),
  -- copies of the same message that never left the mailbox aren't its replacement
  back AS (
    SELECT g.guid, count(*) AS messages
      FROM names AS n
      JOIN pgbox.mailbox AS m ON m.account_id = n.account_id AND m.name IN (n.source, n.target) AND m.deleted_at IS NULL
      JOIN pgbox.message AS g ON g.mailbox_id = m.mailbox_id
     WHERE m.name <> n.source OR g.saved_at > p_as_of
     GROUP BY g.guid)
  SELECT t.mailbox_id, t.uid, t.guid, t.received_at, t.saved_at, t.gone_at, c.virtual_size
    FROM there AS t
    JOIN pgbox.content AS c ON c.content_id = t.content_id
    LEFT JOIN back AS b ON b.guid = t.guid
   WHERE t.number > COALESCE(b.messages, 0)
   ORDER BY t.saved_at, t.mailbox_id, t.uid
$$;
COMMENT ON FUNCTION pgbox.restore_find(text, text, timestamptz, text) IS 'What restore_preview shows, without its errors and warnings';

-- Once for a restore: with the preview, and with the last call of those that
-- restore, when all that could come back is back. What was moved, copied or
-- brought back before its tombstone was purged isn't lost: the account has the
-- GUID elsewhere. There is no index of GUIDs, so all that the account has is
-- looked at, but only if there is something to look for.
CREATE OR REPLACE FUNCTION pgbox.restore_warn(p_account text, p_folder text, p_as_of timestamptz)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_account bigint := pgbox.account_find(p_account);
  v_folder text := CASE WHEN upper(p_folder) = 'INBOX' THEN 'INBOX' ELSE p_folder END;
  v_emptied uuid[];
  v_purged bigint := 0;
  v_oldest timestamptz;
BEGIN
  v_emptied := ARRAY(
    SELECT DISTINCT e.guid
      FROM pgbox.mailbox AS m
      JOIN pgbox.expunged AS e ON e.mailbox_id = m.mailbox_id
     WHERE m.account_id = v_account AND (m.name = v_folder OR v_folder IS NULL)
       AND e.content_id IS NULL AND e.saved_at <= p_as_of AND e.expunged_at > p_as_of);
  IF v_emptied <> '{}' THEN
    SELECT count(*) INTO v_purged
      FROM (SELECT u.guid FROM unnest(v_emptied) AS u (guid)
            EXCEPT
            SELECT g.guid
              FROM pgbox.mailbox AS m
              JOIN pgbox.message AS g ON g.mailbox_id = m.mailbox_id
             WHERE m.account_id = v_account
            EXCEPT
            SELECT e.guid
              FROM pgbox.mailbox AS m
              JOIN pgbox.expunged AS e ON e.mailbox_id = m.mailbox_id
             WHERE m.account_id = v_account AND e.content_id IS NOT NULL) AS p;
  END IF;
  IF v_purged > 0 THEN
    RAISE WARNING 'messages that were there at % and can''t come back, because purge has removed their content: %', p_as_of, v_purged
      USING HINT = format('pgbox.mail_history has them: account = %L%s AND bytes IS NULL.', p_account,
                          CASE WHEN v_folder IS NOT NULL THEN format(' AND folder = %L', v_folder) END);
  END IF;
  SELECT now() - COALESCE(a.retention, s.retention) INTO v_oldest
    FROM pgbox.account AS a
   CROSS JOIN pgbox.store AS s
   WHERE a.account_id = v_account AND NOT a.legal_hold
     AND NOT EXISTS (SELECT 1 FROM pgbox.mailbox AS m WHERE m.account_id = v_account AND m.name = v_folder AND m.legal_hold);
  IF p_as_of < v_oldest THEN
    RAISE WARNING '% is before retention, which reaches back to %: what was expunged or deleted in between may be gone for good',
      p_as_of, v_oldest;
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.restore_warn(text, text, timestamptz) IS 'Warns of what can''t be restored to a mailbox (NULL: all of the account): how many messages purge has taken, and that a moment is before what retention keeps';

CREATE OR REPLACE FUNCTION pgbox.restore_preview(p_account text, p_folder text, p_as_of timestamptz, p_into text DEFAULT NULL)
RETURNS TABLE (mailbox_id bigint, uid bigint, guid uuid, received_at timestamptz, saved_at timestamptz, gone_at timestamptz, size bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pgbox.restore_check(p_account, p_folder, p_as_of);
  PERFORM pgbox.restore_warn(p_account, p_folder, p_as_of);
  RETURN QUERY
  SELECT f.mailbox_id, f.uid, f.guid, f.received_at, f.saved_at, f.gone_at, f.size
    FROM pgbox.restore_find(p_account, p_folder, p_as_of, p_into) AS f;
END
$$;
COMMENT ON FUNCTION pgbox.restore_preview(text, text, timestamptz, text) IS 'What restore_mailbox would bring back: messages that were in a mailbox of this name at that time and are gone since, in deleted mailboxes too, as far as purge left their content. Warns of those whose content is gone';

CREATE OR REPLACE FUNCTION pgbox.restore_step(p_account text, p_folder text, p_as_of timestamptz, p_into text, p_limit integer)
RETURNS TABLE (restored bigint, more boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_target text := COALESCE(p_into, p_folder);
  v_to bigint;
  v_old record;
BEGIN
  restored := 0;
  more := false;
  IF EXISTS (SELECT 1 FROM pgbox.restore_find(p_account, p_folder, p_as_of, p_into)) THEN
    PERFORM pgbox.folder_ensure(p_account, v_target);
    v_to := pgbox.folder_find(p_account, v_target);
    PERFORM pgbox.mailbox_lock(v_to);
    SELECT array_agg(r.mailbox_id ORDER BY r.ord) AS mailboxes, array_agg(r.uid ORDER BY r.ord) AS uids
      INTO v_old
      FROM (SELECT f.mailbox_id, f.uid, row_number() OVER () AS ord
              FROM pgbox.restore_find(p_account, p_folder, p_as_of, p_into) AS f
             LIMIT p_limit + 1) AS r;
    more := COALESCE(cardinality(v_old.uids) > p_limit, false);
    SELECT count(*) INTO restored
      FROM pgbox.messages_revive(v_to, v_old.mailboxes[:p_limit], v_old.uids[:p_limit]);
    PERFORM pgbox.job_record('restore_mailbox', p_account || ': ' || p_folder || ' to ' || v_target,
                             jsonb_build_object('as_of', p_as_of, 'messages', restored), CASE WHEN more THEN 'more' ELSE 'done' END);
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.restore_step(text, text, timestamptz, text, integer) IS 'What restore_mailbox does, without its errors and warnings';

CREATE OR REPLACE FUNCTION pgbox.restore_mailbox(
  p_account text, p_folder text, p_as_of timestamptz, p_into text DEFAULT NULL, p_limit integer DEFAULT 1000)
RETURNS TABLE (restored bigint, more boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pgbox.limit_check(p_limit);
  PERFORM pgbox.restore_check(p_account, p_folder, p_as_of);
  SELECT s.restored, s.more INTO restored, more
    FROM pgbox.restore_step(p_account, p_folder, p_as_of, p_into, p_limit) AS s;
  IF NOT more THEN
    PERFORM pgbox.restore_warn(p_account, p_folder, p_as_of);
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.restore_mailbox(text, text, timestamptz, text, integer) IS 'Bring back what restore_preview shows, into the same mailbox or p_into, which are made if they aren''t there and something is restored; at most p_limit, call again while more is true. What is there stays. The last call warns of what can''t come back';

-- more is true while any mailbox has something: no call is needed to find out
-- that the former was the last one.
CREATE OR REPLACE FUNCTION pgbox.restore_account(p_account text, p_as_of timestamptz, p_below text DEFAULT NULL, p_limit integer DEFAULT 1000)
RETURNS TABLE (folder text, restored bigint, more boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_folder text;
BEGIN
  PERFORM pgbox.limit_check(p_limit);
  PERFORM pgbox.restore_check(p_account, NULL, p_as_of);
  restored := 0;
  more := false;
  FOR v_folder IN
    SELECT DISTINCT m.name
      FROM pgbox.mailbox AS m
     WHERE m.account_id = pgbox.account_find(p_account) AND m.guid IS NOT NULL
       AND (m.deleted_at IS NULL OR m.deleted_at > p_as_of)
     ORDER BY m.name
  LOOP
    IF restored = 0 THEN
      SELECT s.restored, s.more AND s.restored > 0 INTO restored, more
        FROM pgbox.restore_step(p_account, v_folder, p_as_of, p_below || '/' || v_folder, p_limit) AS s;
      folder := v_folder;
    ELSE
      more := EXISTS (SELECT 1 FROM pgbox.restore_find(p_account, v_folder, p_as_of, p_below || '/' || v_folder));
    END IF;
    EXIT WHEN more;
  END LOOP;
  IF NOT more THEN
    PERFORM pgbox.restore_warn(p_account, NULL, p_as_of);
  END IF;
  IF restored > 0 THEN
    RETURN NEXT;
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.restore_account(text, timestamptz, text, integer) IS 'restore_mailbox for the first mailbox of the account that has something to restore, one mailbox a call so that it locks one; call again while more is true. No row: there was nothing to restore. p_below: into mailboxes below this name. The last call warns of what can''t come back';

-- -- mailboxes

CREATE OR REPLACE FUNCTION pgbox.folder_create(p_account text, p_folder text, p_special_use text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_mailbox bigint := pgbox.mailbox_create(pgbox.account_find(p_account), p_folder, true, NULL, NULL, p_special_use);
BEGIN
  PERFORM pgbox.job_record('folder_create', p_account || ': ' || p_folder,
                           jsonb_strip_nulls(jsonb_build_object('mailbox_id', v_mailbox, 'special_use', p_special_use)), 'done');
  RETURN v_mailbox;
END
$$;
COMMENT ON FUNCTION pgbox.folder_create(text, text, text) IS 'Make a mailbox; returns its mailbox_id';

CREATE OR REPLACE FUNCTION pgbox.folder_ensure(p_account text, p_folder text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_account bigint := pgbox.account_find(p_account);
BEGIN
  IF upper(p_folder) = 'INBOX' OR EXISTS (SELECT 1 FROM pgbox.mailbox AS m
                                           WHERE m.account_id = v_account AND m.name = p_folder
                                             AND m.guid IS NOT NULL AND m.deleted_at IS NULL) THEN
    RETURN;
  END IF;
  PERFORM pgbox.folder_create(p_account, p_folder);
END
$$;
COMMENT ON FUNCTION pgbox.folder_ensure(text, text) IS 'Make a mailbox if it isn''t there';

CREATE OR REPLACE FUNCTION pgbox.folder_rename(p_account text, p_folder text, p_new text)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT pgbox.mailbox_rename(pgbox.account_find(p_account), p_folder, p_new, NULL) $$;
COMMENT ON FUNCTION pgbox.folder_rename(text, text, text) IS 'Rename a mailbox with all below it';

CREATE OR REPLACE FUNCTION pgbox.folder_delete(p_account text, p_folder text)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT pgbox.mailbox_delete(pgbox.account_find(p_account), pgbox.folder_find(p_account, p_folder), NULL) $$;
COMMENT ON FUNCTION pgbox.folder_delete(text, text) IS 'Delete a mailbox; folder_undelete brings it back within retention';

CREATE OR REPLACE FUNCTION pgbox.folder_empty(p_account text, p_folder text, p_limit bigint DEFAULT 10000)
RETURNS TABLE (expunged bigint, more boolean)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT e.expunged, e.more FROM pgbox.messages_expunge(p_account, p_folder, p_limit => p_limit) AS e $$;
COMMENT ON FUNCTION pgbox.folder_empty(text, text, bigint) IS 'Expunge all messages of a mailbox, at most p_limit; call again while more is true';

-- The messages move, not the mailbox: sessions of the former owner that have it
-- open would otherwise go on reading it.
CREATE OR REPLACE FUNCTION pgbox.folder_move(
  p_account text, p_folder text, p_to_account text, p_to_folder text DEFAULT NULL, p_limit integer DEFAULT 1000)
RETURNS TABLE (moved bigint, more boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_target text := COALESCE(p_to_folder, p_folder);
  v_from bigint := pgbox.folder_find(p_account, p_folder);
  v_uids bigint[];
BEGIN
  PERFORM pgbox.limit_check(p_limit);
  IF p_account = p_to_account THEN
    RAISE EXCEPTION 'use folder_rename within an account' USING ERRCODE = 'PB006';
  END IF;
  PERFORM pgbox.folder_ensure(p_to_account, v_target);
  v_uids := ARRAY(SELECT g.uid FROM pgbox.message AS g WHERE g.mailbox_id = v_from ORDER BY g.uid LIMIT p_limit);
  moved := cardinality(v_uids);
  more := moved > 0;
  IF more THEN
    PERFORM 1 FROM pgbox.message_copy(p_account, p_folder, v_uids, p_to_account, v_target, true);
  ELSIF upper(p_folder) <> 'INBOX' THEN
    INSERT INTO pgbox.mailbox_attribute (mailbox_id, shared, key, value, changed_at)
    SELECT pgbox.folder_find(p_to_account, v_target), a.shared, a.key, a.value, a.changed_at
      FROM pgbox.mailbox_attribute AS a
     WHERE a.mailbox_id = v_from
    ON CONFLICT ON CONSTRAINT mailbox_attribute_pkey DO NOTHING;
    PERFORM pgbox.job_record('folder_move', p_account || ': ' || p_folder,
                             jsonb_build_object('mailbox_id', v_from, 'new', p_to_account || ': ' || v_target,
                                                'new_mailbox_id', pgbox.folder_find(p_to_account, v_target)), 'done');
    PERFORM pgbox.folder_delete(p_account, p_folder);
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.folder_move(text, text, text, text, integer) IS 'Move a mailbox, without those below it, to another account: at most p_limit messages a call, call again while more is true; the last call deletes it. It becomes a new mailbox there, with new UIDs; if there is one of that name, messages are added to it';

-- A mailbox that purge has begun with has lost messages without tombstones, and
-- caches may have them: it gets another identity.
CREATE OR REPLACE FUNCTION pgbox.folder_undelete(p_account text, p_folder text, p_new text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_account bigint := pgbox.account_find(p_account);
  v_new text := COALESCE(p_new, p_folder);
  v_mailbox bigint;
  v_deletion jsonb;
  v_rows record;
BEGIN
  PERFORM pgbox.mailbox_name_check(v_new);
  PERFORM pgbox.account_lock(v_account);
  -- the mailbox before its counters: purge has it, and never waits for counters
  SELECT m.mailbox_id, jsonb_build_object('mailbox_id', m.mailbox_id, 'deleted_at', m.deleted_at, 'deleted_reason', m.deleted_reason)
    INTO v_mailbox, v_deletion
    FROM pgbox.mailbox AS m
   WHERE m.account_id = v_account AND m.name = p_folder AND m.deleted_at IS NOT NULL AND m.guid IS NOT NULL
   ORDER BY m.deleted_at DESC
   LIMIT 1
     FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'account "%" has no deleted mailbox "%"', p_account, p_folder USING ERRCODE = 'PB002';
  END IF;
  PERFORM 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = v_mailbox FOR NO KEY UPDATE;
  DELETE FROM pgbox.mailbox AS m
   WHERE m.account_id = v_account AND m.name = v_new AND m.guid IS NULL AND m.deleted_at IS NULL;
  PERFORM pgbox.mailbox_add_parents(v_account, v_new);
  UPDATE pgbox.mailbox AS m SET deleted_at = NULL, deleted_reason = NULL, name = v_new WHERE m.mailbox_id = v_mailbox;
  SELECT count(*) AS messages, count(*) FILTER (WHERE s.flags & 8 = 0) AS unseen, COALESCE(sum(t.virtual_size), 0) AS virtual_size
    INTO v_rows
    FROM pgbox.message AS g
    JOIN pgbox.message_state AS s ON s.mailbox_id = g.mailbox_id AND s.uid = g.uid
    JOIN pgbox.content AS t ON t.content_id = g.content_id
   WHERE g.mailbox_id = v_mailbox;
  UPDATE pgbox.mailbox_counter AS c
     SET messages = v_rows.messages, unseen = v_rows.unseen, virtual_size = v_rows.virtual_size,
         highest_modseq = c.highest_modseq + pgbox.modseq_step(), pruned_modseq = c.highest_modseq
   WHERE c.mailbox_id = v_mailbox AND c.messages <> v_rows.messages;
  IF FOUND THEN
    UPDATE pgbox.mailbox AS m
       SET uidvalidity = pgbox.uidvalidity_next(v_account), guid = gen_random_uuid()
     WHERE m.mailbox_id = v_mailbox;
  END IF;
  PERFORM pgbox.quota_check_restored(ARRAY[v_mailbox]);
  PERFORM pgbox.job_record('folder_undelete', p_account || ': ' || p_folder,
                           v_deletion || jsonb_build_object('new', v_new, 'messages', v_rows.messages), 'done');
  PERFORM pgbox.signal_from_doveadm(ARRAY[v_mailbox]);
  RETURN v_mailbox;
EXCEPTION WHEN unique_violation THEN
  RAISE EXCEPTION 'mailbox "%" exists already', v_new USING ERRCODE = 'PB003', HINT = 'Give a new name.';
END
$$;
COMMENT ON FUNCTION pgbox.folder_undelete(text, text, text) IS 'Bring back the mailbox of this name that was deleted last, under its old or a new name, with its UIDs. Returns its mailbox_id';
