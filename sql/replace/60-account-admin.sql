-- What administrators do with accounts, by name. Each function is one
-- transaction; those that may have much to do take a limit and say what is left.
-- They are no procedures that COMMIT: such may not pin their search_path.

CREATE OR REPLACE FUNCTION pgbox.limit_check(p_limit bigint)
RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF p_limit IS NULL OR p_limit < 1 THEN
    RAISE EXCEPTION 'p_limit can''t be %: it says how much one call does, 1 or more', COALESCE(p_limit::text, 'NULL')
      USING ERRCODE = '22023';
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.limit_check(bigint) IS 'Fails for NULL, which would be no limit, and for what is below 1';

CREATE OR REPLACE FUNCTION pgbox.account_rename(p_name text, p_new text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_account bigint := pgbox.account_find(p_name);
BEGIN
  PERFORM pgbox.account_name_check(p_new);
  IF p_new = p_name THEN
    RETURN;
  END IF;
  PERFORM pgbox.account_lock(v_account);
  UPDATE pgbox.account AS a SET name = p_new WHERE a.name = p_name;
  -- sessions of the old name wait for signals under it
  PERFORM pg_notify('pgbox', '0 0 ' || p_name);
  PERFORM pgbox.job_record('account_rename', p_name, jsonb_build_object('new', p_new), 'done');
EXCEPTION WHEN unique_violation THEN
  RAISE EXCEPTION 'account "%" exists already', p_new USING ERRCODE = 'PB003';
END
$$;
COMMENT ON FUNCTION pgbox.account_rename(text, text) IS 'Give an account another name, with all its mail. Sessions of the old name fail from now on';

CREATE OR REPLACE FUNCTION pgbox.account_set_enabled(p_name text, p_enabled boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- account_find would say that there is none, and to create it: the name is taken
  IF EXISTS (SELECT 1 FROM pgbox.account AS a WHERE a.name = p_name AND a.deleted_at IS NOT NULL) THEN
    RAISE EXCEPTION 'the deletion of account "%" has begun: there is no way back', p_name
      USING ERRCODE = 'PB001', HINT = 'Call pgbox.account_delete() until "account" is 1, then the name is free.';
  END IF;
  UPDATE pgbox.account AS a
     SET enabled = p_enabled
   WHERE a.account_id = pgbox.account_find(p_name) AND a.enabled <> p_enabled;
  IF FOUND THEN
    PERFORM pgbox.job_record(CASE WHEN p_enabled THEN 'account_enable' ELSE 'account_disable' END, p_name, '{}', 'done');
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.account_set_enabled(text, boolean) IS 'What account_enable and account_disable do';

CREATE OR REPLACE FUNCTION pgbox.account_disable(p_name text)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'SELECT pgbox.account_set_enabled(p_name, false)';
COMMENT ON FUNCTION pgbox.account_disable(text) IS 'No login and no delivery from now on; the mail stays. Open sessions go on: doveadm kick';

CREATE OR REPLACE FUNCTION pgbox.account_enable(p_name text)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'SELECT pgbox.account_set_enabled(p_name, true)';
COMMENT ON FUNCTION pgbox.account_enable(text) IS 'Undo account_disable';

-- -- retention, legal hold, quota

CREATE OR REPLACE FUNCTION pgbox.account_set_retention(p_name text, p_retention interval)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_account bigint := pgbox.account_find(p_name);
  v_old interval;
BEGIN
  PERFORM pgbox.retention_check('retention', p_retention);
  SELECT a.retention INTO v_old FROM pgbox.account AS a WHERE a.account_id = v_account FOR NO KEY UPDATE;
  IF v_old IS DISTINCT FROM p_retention THEN
    UPDATE pgbox.account AS a SET retention = p_retention WHERE a.account_id = v_account;
    PERFORM pgbox.job_record('account_set_retention', p_name,
                             jsonb_build_object('retention', jsonb_build_object('old', v_old::text, 'new', p_retention::text)), 'done');
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.account_set_retention(text, interval) IS 'How long what an account expunges and deletes stays restorable; NULL: as the store says, 0: not at all';

CREATE OR REPLACE FUNCTION pgbox.hold_check(p_hold boolean)
RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF p_hold IS NULL THEN
    RAISE EXCEPTION 'a legal hold is true or false, not NULL' USING ERRCODE = '22023';
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.hold_check(boolean) IS 'Fails for NULL';

-- The store's row first: a purge that is at work ends before the hold begins,
-- and the next one sees it.
CREATE OR REPLACE FUNCTION pgbox.account_set_hold(p_name text, p_hold boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_old boolean;
BEGIN
  PERFORM pgbox.hold_check(p_hold);
  PERFORM 1 FROM pgbox.store AS s FOR NO KEY UPDATE;
  SELECT a.legal_hold INTO v_old FROM pgbox.account AS a WHERE a.name = p_name FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no account "%"', p_name USING ERRCODE = 'PB001';
  ELSIF v_old <> p_hold THEN
    UPDATE pgbox.account AS a SET legal_hold = p_hold WHERE a.name = p_name;
    PERFORM pgbox.job_record('account_set_hold', p_name,
                             jsonb_build_object('hold', jsonb_build_object('old', v_old, 'new', p_hold)), 'done');
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.account_set_hold(text, boolean) IS 'Begin or end a legal hold: no content of the account is removed, whoever expunges what';

CREATE OR REPLACE FUNCTION pgbox.folder_set_hold(p_account text, p_folder text, p_hold boolean)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_mailboxes bigint[];
  v_count integer;
BEGIN
  PERFORM pgbox.hold_check(p_hold);
  PERFORM 1 FROM pgbox.store AS s FOR NO KEY UPDATE;
  v_mailboxes := ARRAY(SELECT m.mailbox_id
                         FROM pgbox.account AS a
                         JOIN pgbox.mailbox AS m ON m.account_id = a.account_id
                        WHERE a.name = p_account AND m.guid IS NOT NULL
                          AND m.name = CASE WHEN upper(p_folder) = 'INBOX' THEN 'INBOX' ELSE p_folder END);
  IF v_mailboxes = '{}' THEN
    RAISE EXCEPTION 'account "%" has no mailbox "%"', p_account, p_folder USING ERRCODE = 'PB002';
  END IF;
  UPDATE pgbox.mailbox AS m SET legal_hold = p_hold WHERE m.mailbox_id = ANY (v_mailboxes) AND m.legal_hold <> p_hold;
  GET DIAGNOSTICS v_count = ROW_COUNT;
  IF v_count > 0 THEN
    PERFORM pgbox.job_record('folder_set_hold', p_account || ': ' || p_folder,
                             jsonb_build_object('hold', jsonb_build_object('old', NOT p_hold, 'new', p_hold), 'mailboxes', v_count), 'done');
  END IF;
  RETURN cardinality(v_mailboxes);
END
$$;
COMMENT ON FUNCTION pgbox.folder_set_hold(text, text, boolean) IS 'The same for a mailbox, and for deleted ones of that name. Returns how many there are';

CREATE OR REPLACE FUNCTION pgbox.account_set_quota(p_name text, p_messages bigint, p_bytes bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_account bigint := pgbox.account_find(p_name);
  v_old record;
BEGIN
  IF LEAST(p_messages, p_bytes) < 0 THEN
    RAISE EXCEPTION 'a limit can''t be below 0: %', LEAST(p_messages, p_bytes)
      USING ERRCODE = '22023', HINT = 'NULL is no limit; 0 lets nothing in.';
  END IF;
  -- no row: no limits
  SELECT q.messages, q.bytes INTO v_old FROM pgbox.account_quota AS q WHERE q.account_id = v_account FOR NO KEY UPDATE;
  IF (v_old.messages, v_old.bytes) IS NOT DISTINCT FROM (p_messages, p_bytes) THEN
    RETURN;
  ELSIF p_messages IS NULL AND p_bytes IS NULL THEN
    DELETE FROM pgbox.account_quota AS q WHERE q.account_id = v_account;
  ELSE
    INSERT INTO pgbox.account_quota (account_id, messages, bytes) VALUES (v_account, p_messages, p_bytes)
    ON CONFLICT ON CONSTRAINT account_quota_pkey
    DO UPDATE SET messages = EXCLUDED.messages, bytes = EXCLUDED.bytes;
  END IF;
  PERFORM pgbox.job_record('account_set_quota', p_name,
                           jsonb_build_object('messages', jsonb_build_object('old', v_old.messages, 'new', p_messages),
                                              'bytes', jsonb_build_object('old', v_old.bytes, 'new', p_bytes)), 'done');
END
$$;
COMMENT ON FUNCTION pgbox.account_set_quota(text, bigint, bigint) IS 'Limit the number of messages and the sum of their sizes; NULL: no limit. What is there stays, whatever the limit';

-- plpgsql, which keeps the plan
CREATE OR REPLACE FUNCTION pgbox.quota_usage(p_account bigint, OUT messages bigint, OUT bytes bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  SELECT COALESCE(sum(c.messages), 0), COALESCE(sum(c.virtual_size), 0) INTO messages, bytes
    FROM pgbox.mailbox AS m
    JOIN pgbox.mailbox_counter AS c ON c.mailbox_id = m.mailbox_id
   WHERE m.account_id = p_account AND m.deleted_at IS NULL;
END
$$;
COMMENT ON FUNCTION pgbox.quota_usage(bigint) IS 'What counts for the quota of an account. VOLATILE: who has waited for the lock sees what the other one has committed';

CREATE OR REPLACE FUNCTION pgbox.quota_check(p_account bigint, p_messages bigint, p_bytes bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_now record;
  v_limit record;
BEGIN
  SELECT u.messages, u.bytes INTO v_now FROM pgbox.quota_usage(p_account) AS u;
  SELECT q.messages, q.bytes, a.name INTO v_limit
    FROM pgbox.account_quota AS q
    JOIN pgbox.account AS a ON a.account_id = q.account_id
   WHERE q.account_id = p_account;
  -- who is above the limit already may still move messages
  IF (v_now.messages > v_limit.messages AND v_now.messages > p_messages)
     OR (v_now.bytes > v_limit.bytes AND v_now.bytes > p_bytes) THEN
    RAISE EXCEPTION 'quota of account "%" exceeded', v_limit.name
      USING ERRCODE = 'PB011',
            DETAIL = format('It would have %s messages of %s, %s bytes of %s.', v_now.messages,
                            COALESCE(v_limit.messages::text, 'any number'), v_now.bytes, COALESCE(v_limit.bytes::text, 'any number'));
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.quota_check(bigint, bigint, bigint) IS 'Fails if an account is above its limits and has more than it had before. The caller has locked the row of account_quota';

-- The mailboxes count already, so what there was before is what there is without
-- them. As in message_append() the limits are locked after the counters.
CREATE OR REPLACE FUNCTION pgbox.quota_check_restored(p_mailboxes bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pgbox.quota_check(q.account_id, u.messages - r.messages, u.bytes - r.bytes)
     FROM (SELECT l.account_id
             FROM pgbox.account_quota AS l
            WHERE l.account_id = ANY (ARRAY(SELECT m.account_id FROM pgbox.mailbox AS m WHERE m.mailbox_id = ANY (p_mailboxes)))
            ORDER BY l.account_id
              FOR NO KEY UPDATE) AS q
    CROSS JOIN LATERAL pgbox.quota_usage(q.account_id) AS u
    CROSS JOIN LATERAL (SELECT sum(c.messages)::bigint AS messages, sum(c.virtual_size)::bigint AS bytes
                          FROM pgbox.mailbox AS m
                          JOIN pgbox.mailbox_counter AS c ON c.mailbox_id = m.mailbox_id
                         WHERE m.account_id = q.account_id AND m.mailbox_id = ANY (p_mailboxes)) AS r;
END
$$;
COMMENT ON FUNCTION pgbox.quota_check_restored(bigint[]) IS 'Fails if an account is above its limits by mailboxes that were deleted and are there again';

-- -- deletion

-- The first call closes the account; it waits for whoever writes to it. Those
-- after it remove rows and take no counters before bodies, as purge doesn't.
CREATE OR REPLACE FUNCTION pgbox.account_close(p_account bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE pgbox.account AS a
     SET enabled = false, deleted_at = clock_timestamp(), list_modseq = a.list_modseq + 1
   WHERE a.account_id = p_account;
  PERFORM 1
    FROM pgbox.mailbox_counter AS c
   WHERE c.mailbox_id IN (SELECT m.mailbox_id FROM pgbox.mailbox AS m WHERE m.account_id = p_account AND m.deleted_at IS NULL)
   ORDER BY c.mailbox_id
     FOR NO KEY UPDATE;
  DELETE FROM pgbox.mailbox AS m WHERE m.account_id = p_account AND m.guid IS NULL;
  UPDATE pgbox.mailbox AS m
     SET deleted_at = clock_timestamp(), deleted_reason = pgbox.who()
   WHERE m.account_id = p_account AND m.deleted_at IS NULL;
END
$$;
COMMENT ON FUNCTION pgbox.account_close(bigint) IS 'Begin to delete an account: nobody logs in, nothing comes in, its mailboxes are deleted';

CREATE OR REPLACE FUNCTION pgbox.account_used_elsewhere(p_account bigint, p_contents bigint[])
RETURNS bigint[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT ARRAY(SELECT u.content_id
                 FROM (SELECT DISTINCT d.content_id FROM unnest(p_contents) AS d (content_id)) AS u
                WHERE EXISTS (SELECT 1
                                FROM (SELECT g.mailbox_id FROM pgbox.message AS g WHERE g.content_id = u.content_id
                                       UNION ALL
                                      SELECT e.mailbox_id FROM pgbox.expunged AS e WHERE e.content_id = u.content_id) AS r
                                JOIN pgbox.mailbox AS m ON m.mailbox_id = r.mailbox_id
                               WHERE m.account_id <> p_account)
                ORDER BY u.content_id)
$$;
COMMENT ON FUNCTION pgbox.account_used_elsewhere(bigint, bigint[]) IS 'Those of the contents that other accounts have too';

CREATE OR REPLACE FUNCTION pgbox.account_remove(p_account bigint, p_limit integer)
RETURNS TABLE (what text, removed bigint, kept bigint[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_box record;
  v_contents bigint[];
  v_tombstones bigint[];
  v_dropped record;
  v_emptied bigint[];
BEGIN
  -- by mailbox, so that indexes will do
  FOR v_box IN
    SELECT o.mailbox_id, array_agg(o.uid) AS uids
      FROM (SELECT i.mailbox_id, i.uid
              FROM pgbox.mailbox AS m
              JOIN pgbox.message AS i ON i.mailbox_id = m.mailbox_id
             WHERE m.account_id = p_account
             LIMIT p_limit) AS o
     GROUP BY o.mailbox_id
  LOOP
    WITH gone AS (
      DELETE FROM pgbox.message AS g
       WHERE g.mailbox_id = v_box.mailbox_id AND g.uid = ANY (v_box.uids)
      RETURNING g.content_id)
    SELECT v_contents || array_agg(g.content_id) INTO v_contents FROM gone AS g;
    DELETE FROM pgbox.message_state AS s
     WHERE s.mailbox_id = v_box.mailbox_id AND s.uid = ANY (v_box.uids);
  END LOOP;
  RETURN QUERY SELECT 'messages', COALESCE(cardinality(v_contents), 0)::bigint, '{}'::bigint[];
  WITH gone AS (
    DELETE FROM pgbox.expunged AS g
     USING (SELECT i.mailbox_id, i.uid
              FROM pgbox.mailbox AS m
              JOIN pgbox.expunged AS i ON i.mailbox_id = m.mailbox_id
             WHERE m.account_id = p_account
             LIMIT p_limit) AS o
     WHERE g.mailbox_id = o.mailbox_id AND g.uid = o.uid
    RETURNING g.content_id)
  SELECT array_agg(g.content_id) INTO v_tombstones FROM gone AS g;
  RETURN QUERY SELECT 'tombstones', COALESCE(cardinality(v_tombstones), 0)::bigint, '{}'::bigint[];
  v_contents := v_contents || v_tombstones;

  SELECT d.contents, d.bodies, d.bodies_used INTO v_dropped FROM pgbox.content_drop(v_contents) AS d;
  RETURN QUERY SELECT 'contents', cardinality(v_dropped.contents)::bigint, pgbox.account_used_elsewhere(p_account, v_contents);
  RETURN QUERY
  SELECT 'bodies', cardinality(v_dropped.bodies)::bigint,
         ARRAY(SELECT u.body_id FROM unnest(v_dropped.bodies_used) AS u (body_id)
                WHERE pgbox.account_used_elsewhere(p_account, ARRAY(SELECT c.content_id FROM pgbox.content AS c
                                                                     WHERE c.body_id = u.body_id)) <> '{}'
                ORDER BY u.body_id);

  -- counters last, and only those that nobody has, as in purge
  v_emptied := ARRAY(
    SELECT c.mailbox_id
      FROM pgbox.mailbox AS m
      JOIN pgbox.mailbox_counter AS c ON c.mailbox_id = m.mailbox_id
     WHERE m.account_id = p_account
       AND (SELECT g.uid FROM pgbox.message AS g WHERE g.mailbox_id = m.mailbox_id ORDER BY g.uid LIMIT 1) IS NULL
       AND (SELECT g.uid FROM pgbox.expunged AS g WHERE g.mailbox_id = m.mailbox_id ORDER BY g.uid LIMIT 1) IS NULL
       FOR UPDATE OF c SKIP LOCKED);
  DELETE FROM pgbox.mailbox AS m WHERE m.mailbox_id = ANY (v_emptied);
  RETURN QUERY SELECT 'mailboxes', cardinality(v_emptied)::bigint, '{}'::bigint[];
  RETURN QUERY
  WITH gone AS (
    DELETE FROM pgbox.account AS a
     WHERE a.account_id = p_account
       AND NOT EXISTS (SELECT 1 FROM pgbox.mailbox AS m WHERE m.account_id = p_account)
    RETURNING 1)
  SELECT 'account', count(*), '{}'::bigint[] FROM gone;
END
$$;
COMMENT ON FUNCTION pgbox.account_remove(bigint, integer) IS 'Remove rows of an account that was closed, in steps; kept lists contents and bodies that other accounts have too. The caller has locked the store''s row';

CREATE OR REPLACE FUNCTION pgbox.account_delete(p_name text, p_limit integer DEFAULT 10000)
RETURNS TABLE (what text, removed bigint, kept bigint[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_account pgbox.account;
  v_counts jsonb := '{}';
BEGIN
  PERFORM pgbox.limit_check(p_limit);
  -- before the account's row, as everybody who takes both
  PERFORM 1 FROM pgbox.store AS s FOR NO KEY UPDATE;
  SELECT a.* INTO v_account FROM pgbox.account AS a WHERE a.name = p_name FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no account "%"', p_name USING ERRCODE = 'PB001';
  ELSIF v_account.legal_hold
        OR EXISTS (SELECT 1 FROM pgbox.mailbox AS m WHERE m.account_id = v_account.account_id AND m.legal_hold) THEN
    RAISE EXCEPTION 'account "%" or a mailbox of it is under legal hold', p_name USING ERRCODE = 'PB013';
  ELSIF v_account.deleted_at IS NULL THEN
    PERFORM pgbox.account_close(v_account.account_id);
    PERFORM pgbox.job_record('account_delete', p_name, '{"closed": 1}', 'more');
    RETURN QUERY SELECT 'closed', 1::bigint, '{}'::bigint[];
    RETURN;
  END IF;
  FOR what, removed, kept IN SELECT r.what, r.removed, r.kept FROM pgbox.account_remove(v_account.account_id, p_limit) AS r LOOP
    v_counts := v_counts || jsonb_build_object(what, removed)
                || CASE WHEN kept = '{}' THEN '{}' ELSE jsonb_build_object(what || ' kept', kept) END;
    RETURN NEXT;
  END LOOP;
  PERFORM pgbox.job_record('account_delete', p_name, v_counts, CASE WHEN v_counts ->> 'account' = '1' THEN 'done' ELSE 'more' END);
END
$$;
COMMENT ON FUNCTION pgbox.account_delete(text, integer) IS 'Delete an account with all its mail, whatever the retention. The first call closes it, each further one removes at most p_limit messages and tombstones; call again until "account" is 1. Returns what was removed, and which contents and bodies stay because other accounts have them';
