-- Plain DML is safe: what an administrator changes in SQL, row by row or a
-- million at once, keeps the rules that the functions keep.
--
-- How. A BEFORE trigger on each row locks the mailbox's counters, or the
-- account, and gives the row its modseq or UID. It reads the counters and leaves
-- them as they are, so all rows that one statement changes in a mailbox get one
-- modseq. An AFTER trigger for the statement brings counters up to date, with
-- one UPDATE; signals follow from that (50-signal.sql). What must not be changed
-- is refused before anything is done.
--
-- The plans of the AFTER triggers are kept by a session, whether they were made
-- for one row or for a million: they are written so that only indexes will do
-- (LATERAL with LIMIT, ANY of an array).
--
-- The guard. Our functions keep the rules themselves, in bulk, so the triggers
-- stay out of their way: each of our functions that writes has a setting of its
-- own, vacuum_multixact_freeze_table_age = 1885823608 ("pgbx" in ASCII), which
-- 90-grants.sql gives it and the triggers' WHEN looks at. PostgreSQL sets it when
-- the function is entered and takes it back at its end, whatever happens: nothing
-- is left for later statements, and a pooler never sees it. It counts together
-- with the owner's role, as which those functions run: who isn't the owner gains
-- nothing by setting it. Why that one: a setting by a name of ours would need a
-- superuser; this one does nothing outside of VACUUM, which no function can run;
-- and nobody has this value by accident.

CREATE OR REPLACE FUNCTION pgbox.rule_refuse()
RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION '%', TG_ARGV[0]
    USING ERRCODE = 'PB010', HINT = TG_ARGV[1], TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
END
$$;
COMMENT ON FUNCTION pgbox.rule_refuse() IS 'Trigger: this is not to be done by hand; its arguments say what, and what to do instead';

-- Where our functions write one row all the time: a WHEN is read from its text and
-- planned by each statement, which takes longer than to look at the guard here. STABLE,
-- or it would have the guard itself (90-grants.sql).
CREATE OR REPLACE FUNCTION pgbox.rule_refuse_others()
RETURNS trigger
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner' THEN
    RAISE EXCEPTION '%', TG_ARGV[0]
      USING ERRCODE = 'PB010', HINT = TG_ARGV[1], TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.rule_refuse_others() IS 'Trigger, for statements: rule_refuse() for all but our own functions';

-- ---- flags and keywords --------------------------------------------------

CREATE OR REPLACE FUNCTION pgbox.keyword_use(p_mailbox bigint, VARIADIC p_names text[])
RETURNS smallint[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pgbox.mailbox_lock(p_mailbox);
  RETURN pgbox.keyword_numbers(p_mailbox, p_names);
END
$$;
COMMENT ON FUNCTION pgbox.keyword_use(bigint, text[]) IS 'Numbers of keywords in a mailbox, ascending, for message_state.keywords; names not seen before get one. Locks the mailbox';

CREATE OR REPLACE FUNCTION pgbox.rule_state_update()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_number smallint;
BEGIN
  IF NEW.keywords IS DISTINCT FROM OLD.keywords THEN
    -- in the form that the functions give it
    NEW.keywords := (SELECT array_agg(DISTINCT k.number ORDER BY k.number) FROM unnest(NEW.keywords) AS k (number));
    SELECT k.number INTO v_number
      FROM unnest(NEW.keywords) AS k (number)
     WHERE NOT EXISTS (SELECT 1 FROM pgbox.mailbox_keyword AS n
                        WHERE n.mailbox_id = NEW.mailbox_id AND n.number = k.number);
    IF FOUND THEN
      RAISE EXCEPTION 'mailbox % has no keyword with the number %', NEW.mailbox_id, v_number
        USING ERRCODE = 'PB006', HINT = 'Take numbers from pgbox.keyword_use().';
    END IF;
  END IF;
  IF NEW.flags = OLD.flags AND NEW.keywords IS NOT DISTINCT FROM OLD.keywords THEN
    RETURN NEW;
  END IF;
  SELECT c.highest_modseq + pgbox.modseq_step() INTO NEW.modseq
    FROM pgbox.mailbox_counter AS c
   WHERE c.mailbox_id = NEW.mailbox_id
     FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'mailbox % is gone', NEW.mailbox_id USING ERRCODE = 'PB002';
  END IF;
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION pgbox.rule_state_update() IS 'Trigger: flags or keywords change: lock the mailbox, give the row its modseq';

CREATE OR REPLACE FUNCTION pgbox.rule_state_updated()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- old rows count negatively; those that didn't change add up to nothing
  UPDATE pgbox.mailbox_counter AS c
     SET highest_modseq = GREATEST(c.highest_modseq, d.modseq),
         unseen = c.unseen + d.unseen
    FROM (SELECT u.mailbox_id, max(u.modseq) AS modseq, sum(u.unseen) AS unseen
            FROM (SELECT n.mailbox_id, n.modseq, CASE WHEN n.flags & 8 = 0 THEN 1 ELSE 0 END AS unseen FROM new_rows AS n
                  UNION ALL
                  SELECT o.mailbox_id, 0, CASE WHEN o.flags & 8 = 0 THEN -1 ELSE 0 END FROM old_rows AS o) AS u
           GROUP BY u.mailbox_id) AS d
   WHERE c.mailbox_id = d.mailbox_id
     AND c.mailbox_id = ANY (ARRAY(SELECT DISTINCT n.mailbox_id FROM new_rows AS n))
     AND (d.modseq > c.highest_modseq OR d.unseen <> 0);
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.rule_state_updated() IS 'Trigger: bring counters up to date after flags or keywords have changed';

-- ---- messages ------------------------------------------------------------

CREATE OR REPLACE FUNCTION pgbox.rule_message_insert()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_uid_next bigint;
BEGIN
  IF NEW.uid IS NOT NULL THEN
    RAISE EXCEPTION 'the UID of a message is not to be given by hand'
      USING ERRCODE = 'PB010', HINT = 'Leave the column out; INSERT ... RETURNING uid tells it.';
  END IF;
  v_uid_next := (pgbox.mailbox_lock(NEW.mailbox_id)).uid_next;
  -- above what this statement has added so far: counters follow at its end
  NEW.uid := GREATEST(v_uid_next, (SELECT max(g.uid) + 1 FROM pgbox.message AS g WHERE g.mailbox_id = NEW.mailbox_id));
  IF NEW.uid > 4294967295 THEN
    RAISE EXCEPTION 'mailbox % has no UIDs left', NEW.mailbox_id USING ERRCODE = 'PB008';
  END IF;
  -- as message_append: don't wait for a purge that removes the content
  PERFORM 1 FROM pgbox.content AS c WHERE c.content_id = NEW.content_id FOR KEY SHARE SKIP LOCKED;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'content % is gone', NEW.content_id USING ERRCODE = 'PB004';
  END IF;
  NEW.guid := COALESCE(NEW.guid, gen_random_uuid());
  -- whole seconds, as the plugin has them
  NEW.received_at := date_trunc('second', COALESCE(NEW.received_at, clock_timestamp()));
  NEW.saved_at := date_trunc('second', COALESCE(NEW.saved_at, clock_timestamp()));
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION pgbox.rule_message_insert() IS 'Trigger: a message is added: lock the mailbox, give it the next UID';

CREATE OR REPLACE FUNCTION pgbox.rule_message_inserted()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO pgbox.message_state (mailbox_id, uid, modseq, flags)
  SELECT n.mailbox_id, n.uid, c.modseq, 0
    FROM new_rows AS n
    JOIN (SELECT i.mailbox_id, i.highest_modseq + pgbox.modseq_step() AS modseq
            FROM pgbox.mailbox_counter AS i
           WHERE i.mailbox_id = ANY (ARRAY(SELECT DISTINCT n.mailbox_id FROM new_rows AS n))) AS c ON c.mailbox_id = n.mailbox_id;
  UPDATE pgbox.mailbox_counter AS c
     SET uid_next = GREATEST(c.uid_next, d.uid + 1),
         highest_modseq = c.highest_modseq + pgbox.modseq_step(),
         messages = c.messages + d.messages,
         unseen = c.unseen + d.messages,
         virtual_size = c.virtual_size + d.virtual_size
    FROM (SELECT n.mailbox_id, max(n.uid) AS uid, count(*) AS messages, sum(t.virtual_size) AS virtual_size
            FROM new_rows AS n
           CROSS JOIN LATERAL (SELECT i.virtual_size FROM pgbox.content AS i
                                WHERE i.content_id = n.content_id LIMIT 1) AS t
           GROUP BY n.mailbox_id) AS d
   WHERE c.mailbox_id = d.mailbox_id
     AND c.mailbox_id = ANY (ARRAY(SELECT DISTINCT n.mailbox_id FROM new_rows AS n));
  -- after the counters, as message_append does
  PERFORM pgbox.quota_check(q.account_id, 0, 0)
     FROM (SELECT l.account_id
             FROM pgbox.account_quota AS l
            WHERE l.account_id = ANY (ARRAY(SELECT m.account_id
                                              FROM pgbox.mailbox AS m
                                             WHERE m.mailbox_id = ANY (ARRAY(SELECT DISTINCT n.mailbox_id FROM new_rows AS n))))
            ORDER BY l.account_id
              FOR NO KEY UPDATE) AS q;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.rule_message_inserted() IS 'Trigger: give added messages their state, without flags, and bring counters up to date';

CREATE OR REPLACE FUNCTION pgbox.rule_message_delete()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_modseq bigint;
  v_flags smallint;
  v_keywords smallint[];
BEGIN
  SELECT c.highest_modseq + pgbox.modseq_step() INTO v_modseq
    FROM pgbox.mailbox_counter AS c
   WHERE c.mailbox_id = OLD.mailbox_id
     FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'mailbox % is gone', OLD.mailbox_id USING ERRCODE = 'PB002';
  END IF;
  DELETE FROM pgbox.message_state AS s
   WHERE s.mailbox_id = OLD.mailbox_id AND s.uid = OLD.uid
  RETURNING s.flags, s.keywords INTO v_flags, v_keywords;
  INSERT INTO pgbox.expunged (mailbox_id, uid, modseq, content_id, guid, received_at, saved_at, flags, keywords, reason)
  VALUES (OLD.mailbox_id, OLD.uid, v_modseq, OLD.content_id, OLD.guid, OLD.received_at, OLD.saved_at,
          COALESCE(v_flags, 0), v_keywords, pgbox.who());
  RETURN OLD;
END
$$;
COMMENT ON FUNCTION pgbox.rule_message_delete() IS 'Trigger: a message is deleted: lock the mailbox, leave a tombstone';

CREATE OR REPLACE FUNCTION pgbox.rule_message_deleted()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE pgbox.mailbox_counter AS c
     SET highest_modseq = GREATEST(c.highest_modseq, d.modseq),
         messages = c.messages - d.messages,
         unseen = c.unseen - d.unseen,
         virtual_size = c.virtual_size - d.virtual_size
    FROM (SELECT o.mailbox_id, max(e.modseq) AS modseq, count(*) AS messages,
                 count(*) FILTER (WHERE e.flags & 8 = 0) AS unseen, sum(t.virtual_size) AS virtual_size
            FROM old_rows AS o
           CROSS JOIN LATERAL (SELECT i.modseq, i.flags FROM pgbox.expunged AS i
                                WHERE i.mailbox_id = o.mailbox_id AND i.uid = o.uid LIMIT 1) AS e
           CROSS JOIN LATERAL (SELECT i.virtual_size FROM pgbox.content AS i
                                WHERE i.content_id = o.content_id LIMIT 1) AS t
           GROUP BY o.mailbox_id) AS d
   WHERE c.mailbox_id = d.mailbox_id
     AND c.mailbox_id = ANY (ARRAY(SELECT DISTINCT o.mailbox_id FROM old_rows AS o));
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.rule_message_deleted() IS 'Trigger: bring counters up to date after messages were deleted';

-- ---- the tree ------------------------------------------------------------

CREATE OR REPLACE FUNCTION pgbox.rule_mailbox_update()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM 1 FROM pgbox.account AS a WHERE a.account_id = NEW.account_id FOR NO KEY UPDATE;
  IF (OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL) THEN
    IF NEW.guid IS NULL THEN
      RAISE EXCEPTION '"%" is a node without messages: it is not to be marked as deleted by hand', NEW.name
        USING ERRCODE = 'PB010', HINT = 'DELETE the row.';
    END IF;
    -- writers hold this lock while they add messages: after it none will
    PERFORM 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = NEW.mailbox_id FOR NO KEY UPDATE;
  END IF;
  IF NEW.deleted_at IS NOT NULL THEN
    NEW.deleted_reason := COALESCE(NEW.deleted_reason, pgbox.who());
    RETURN NEW;
  END IF;
  NEW.deleted_reason := NULL;
  IF OLD.deleted_at IS NOT NULL THEN
    -- a node that has taken the place of the mailbox gives way
    DELETE FROM pgbox.mailbox AS m
     WHERE m.account_id = NEW.account_id AND m.name = NEW.name AND m.guid IS NULL AND m.deleted_at IS NULL;
  END IF;
  IF (OLD.deleted_at IS NOT NULL OR NEW.name <> OLD.name)
     AND EXISTS (SELECT 1 FROM pgbox.mailbox AS m
                  WHERE m.account_id = NEW.account_id AND m.deleted_at IS NULL
                    AND (m.name = NEW.name OR m.guid = NEW.guid) AND m.mailbox_id <> NEW.mailbox_id) THEN
    RAISE EXCEPTION 'mailbox "%" exists already', NEW.name USING ERRCODE = 'PB003';
  END IF;
  IF OLD.deleted_at IS NULL AND OLD.name <> 'INBOX' AND starts_with(NEW.name, OLD.name || '/') THEN
    RAISE EXCEPTION 'a mailbox can''t move below itself' USING ERRCODE = 'PB006';
  END IF;
  IF NEW.name IS DISTINCT FROM OLD.name THEN
    PERFORM pgbox.mailbox_name_check(NEW.name);
  END IF;
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION pgbox.rule_mailbox_update() IS 'Trigger: a mailbox is renamed, deleted or restored: lock the account, and the mailbox''s counters, and check the name';

CREATE OR REPLACE FUNCTION pgbox.rule_mailbox_updated()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_box record;
BEGIN
  PERFORM pgbox.account_lock(d.account_id)
     FROM (SELECT DISTINCT n.account_id
             FROM new_rows AS n
             JOIN old_rows AS o ON o.mailbox_id = n.mailbox_id
            WHERE (n.deleted_at IS NULL) <> (o.deleted_at IS NULL)
               OR (n.deleted_at IS NULL AND (n.name, n.special_use) IS DISTINCT FROM (o.name, o.special_use))
            ORDER BY n.account_id) AS d;
  -- what is below a renamed mailbox moves along, unless it was renamed too
  FOR v_box IN
    SELECT n.account_id, n.name, o.name AS old_name
      FROM new_rows AS n
      JOIN old_rows AS o ON o.mailbox_id = n.mailbox_id
     WHERE n.deleted_at IS NULL AND o.deleted_at IS NULL AND n.name <> o.name
     ORDER BY n.account_id, length(o.name) DESC, o.name
  LOOP
    PERFORM pgbox.mailbox_add_parents(v_box.account_id, v_box.name);
    UPDATE pgbox.mailbox AS m
       SET name = v_box.name || substr(m.name, length(v_box.old_name) + 1)
     WHERE m.account_id = v_box.account_id AND m.deleted_at IS NULL AND v_box.old_name <> 'INBOX'
       AND m.name >= v_box.old_name || '/' AND m.name < v_box.old_name || '0';
  END LOOP;
  FOR v_box IN
    SELECT n.account_id, n.mailbox_id, n.name, o.name AS old_name, n.deleted_at
      FROM new_rows AS n
      JOIN old_rows AS o ON o.mailbox_id = n.mailbox_id
     WHERE (n.deleted_at IS NULL) <> (o.deleted_at IS NULL)
        OR (o.deleted_at IS NULL AND o.name = 'INBOX' AND n.name <> 'INBOX')
     ORDER BY n.account_id, n.mailbox_id
  LOOP
    IF v_box.old_name = 'INBOX' OR v_box.deleted_at IS NOT NULL THEN
      PERFORM pgbox.mailbox_fill_gap(v_box.account_id, v_box.mailbox_id, v_box.old_name);
    END IF;
    IF v_box.deleted_at IS NULL AND v_box.name <> 'INBOX' THEN
      PERFORM pgbox.mailbox_add_parents(v_box.account_id, v_box.name);
    END IF;
  END LOOP;
  -- a purge may have removed messages, and tombstones
  PERFORM pgbox.mailbox_recount(n.mailbox_id, pgbox.mailbox_recount(n.mailbox_id, false)
                                              OR o.deleted_at < clock_timestamp() - t.retention)
     FROM new_rows AS n
     JOIN old_rows AS o ON o.mailbox_id = n.mailbox_id
    CROSS JOIN pgbox.store AS t
    WHERE n.deleted_at IS NULL AND o.deleted_at IS NOT NULL;
  PERFORM pgbox.quota_check_restored(ARRAY(SELECT n.mailbox_id
                                             FROM new_rows AS n
                                             JOIN old_rows AS o ON o.mailbox_id = n.mailbox_id
                                            WHERE n.deleted_at IS NULL AND o.deleted_at IS NOT NULL));
  PERFORM pgbox.job_record_folder(
            d.what, d.account_id, d.name,
            jsonb_build_object('mailbox_id', d.mailbox_id)
            || CASE d.what WHEN 'folder_delete' THEN jsonb_build_object('messages', c.messages)
                           WHEN 'folder_rename' THEN jsonb_build_object('new', d.new)
                           ELSE jsonb_build_object('new', d.new, 'messages', c.messages, 'deleted_at', d.deleted_at,
                                                   'deleted_reason', d.deleted_reason) END)
     FROM (SELECT o.account_id, o.mailbox_id, o.name, n.name AS new, o.deleted_at, o.deleted_reason,
                  CASE WHEN (n.deleted_at IS NULL) = (o.deleted_at IS NULL) THEN 'folder_rename'
                       WHEN n.deleted_at IS NULL THEN 'folder_undelete' ELSE 'folder_delete' END AS what
             FROM new_rows AS n
             JOIN old_rows AS o ON o.mailbox_id = n.mailbox_id
            WHERE (n.deleted_at IS NULL) <> (o.deleted_at IS NULL) OR n.name <> o.name
            ORDER BY o.account_id, o.name) AS d
     -- none: a node
     LEFT JOIN LATERAL (SELECT i.messages FROM pgbox.mailbox_counter AS i WHERE i.mailbox_id = d.mailbox_id LIMIT 1) AS c ON true;
  RETURN NULL;
EXCEPTION
  WHEN unique_violation THEN
    RAISE EXCEPTION 'a mailbox below the new name exists already' USING ERRCODE = 'PB003';
  WHEN check_violation THEN
    RAISE EXCEPTION 'the name of a mailbox would be too long' USING ERRCODE = 'PB008';
END
$$;
COMMENT ON FUNCTION pgbox.rule_mailbox_updated() IS 'Trigger: count the change of the tree; mailboxes below a renamed one follow; INBOX and nodes above are made where they are missing; counters of a restored mailbox are counted anew';

CREATE OR REPLACE FUNCTION pgbox.rule_mailbox_delete()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF OLD.deleted_at IS NOT NULL THEN
    -- it goes with the purge
    RETURN NULL;
  END IF;
  PERFORM 1 FROM pgbox.account AS a WHERE a.account_id = OLD.account_id FOR NO KEY UPDATE;
  IF OLD.guid IS NULL THEN
    PERFORM pgbox.job_record_folder('folder_delete', OLD.account_id, OLD.name,
                                    jsonb_build_object('mailbox_id', OLD.mailbox_id, 'node', true));
    RETURN OLD;
  END IF;
  PERFORM 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = OLD.mailbox_id FOR NO KEY UPDATE;
  UPDATE pgbox.mailbox AS m
     SET deleted_at = statement_timestamp(), deleted_reason = pgbox.who()
   WHERE m.mailbox_id = OLD.mailbox_id;
  PERFORM pgbox.job_record_folder('folder_delete', OLD.account_id, OLD.name,
                                  jsonb_build_object('mailbox_id', c.mailbox_id, 'messages', c.messages))
     FROM pgbox.mailbox_counter AS c
    WHERE c.mailbox_id = OLD.mailbox_id;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.rule_mailbox_delete() IS 'Trigger: DELETE of a mailbox sets deleted_at instead, the rows stay until they are purged; a node goes';

-- deleted_at, which is the time of the statement, tells which those are.
CREATE OR REPLACE FUNCTION pgbox.rule_mailbox_deleted()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_name text;
BEGIN
  PERFORM pgbox.account_lock(d.account_id)
     FROM (SELECT o.account_id FROM old_rows AS o
           UNION
           SELECT m.account_id FROM pgbox.mailbox AS m WHERE m.deleted_at = statement_timestamp()
            ORDER BY account_id) AS d;
  SELECT o.name INTO v_name
    FROM old_rows AS o
   WHERE pgbox.mailbox_has_children(o.account_id, o.name);
  IF FOUND THEN
    RAISE EXCEPTION 'mailbox "%" has children', v_name USING ERRCODE = 'PB007';
  END IF;
  PERFORM pgbox.mailbox_fill_gap(m.account_id, m.mailbox_id, m.name)
     FROM (SELECT b.account_id, b.mailbox_id, b.name FROM pgbox.mailbox AS b
            WHERE b.deleted_at = statement_timestamp()
            ORDER BY b.account_id, b.mailbox_id) AS m;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.rule_mailbox_deleted() IS 'Trigger: count the change of the tree after DELETE; INBOX and nodes with children are made anew';

CREATE OR REPLACE FUNCTION pgbox.rule_subscription()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM 1
     FROM pgbox.account AS a
    WHERE a.account_id = CASE TG_OP WHEN 'DELETE' THEN OLD.account_id ELSE NEW.account_id END
      FOR NO KEY UPDATE;
  IF TG_OP = 'DELETE' THEN
    RETURN OLD;
  END IF;
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION pgbox.rule_subscription() IS 'Trigger: a subscription changes: lock the account';

CREATE OR REPLACE FUNCTION pgbox.rule_subscription_inserted()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pgbox.account_lock(d.account_id) FROM (SELECT n.account_id FROM new_rows AS n GROUP BY 1 ORDER BY 1) AS d;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.rule_subscription_inserted() IS 'Trigger: count a change of the subscriptions';

CREATE OR REPLACE FUNCTION pgbox.rule_subscription_deleted()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pgbox.account_lock(d.account_id) FROM (SELECT o.account_id FROM old_rows AS o GROUP BY 1 ORDER BY 1) AS d;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.rule_subscription_deleted() IS 'Trigger: count a change of the subscriptions';

CREATE OR REPLACE FUNCTION pgbox.rule_subscription_updated()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pgbox.account_lock(d.account_id) FROM (SELECT n.account_id FROM (TABLE new_rows EXCEPT TABLE old_rows) AS n GROUP BY 1 ORDER BY 1) AS d;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.rule_subscription_updated() IS 'Trigger: count a change of the subscriptions';

-- ---- settings --------------------------------------------------------------

-- The table's constraints say the same, but PostgreSQL shows the whole row with
-- their errors, hash of the password and all, to the caller of a function that
-- runs as its owner, and in the log. So no constraint of this table may be the
-- first to find out.
CREATE OR REPLACE FUNCTION pgbox.rule_account_write()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NEW.name IS DISTINCT FROM OLD.name THEN
    PERFORM pgbox.account_name_check(NEW.name);
  END IF;
  IF NEW.password_hash IS DISTINCT FROM OLD.password_hash THEN
    PERFORM pgbox.password_check(NEW.password_hash);
  END IF;
  IF NEW.retention IS DISTINCT FROM OLD.retention THEN
    PERFORM pgbox.retention_check('retention', NEW.retention);
  END IF;
  PERFORM pgbox.hold_check(NEW.legal_hold);
  IF NEW.enabled IS NULL THEN
    RAISE EXCEPTION 'account "%" is enabled or not: true or false, not NULL', NEW.name USING ERRCODE = '22023';
  ELSIF NEW.enabled AND NEW.deleted_at IS NOT NULL THEN
    RAISE EXCEPTION 'an account whose deletion has begun can''t be enabled: "%"', NEW.name USING ERRCODE = 'PB001';
  END IF;
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION pgbox.rule_account_write() IS 'Trigger: what an account can''t be is refused before a constraint shows the row';

CREATE OR REPLACE FUNCTION pgbox.rule_store_write()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NEW.retention IS DISTINCT FROM OLD.retention THEN
    PERFORM pgbox.retention_check('retention', NEW.retention);
  END IF;
  IF NEW.job_retention IS DISTINCT FROM OLD.job_retention THEN
    PERFORM pgbox.retention_check('job_retention', NEW.job_retention);
  END IF;
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION pgbox.rule_store_write() IS 'Trigger: what can''t be a retention is refused with what to write instead';

-- A password's hash is a way to guess the password, so the record has neither.
CREATE OR REPLACE FUNCTION pgbox.rule_recorded()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_old jsonb := '{}';
  v_new jsonb := '{}';
  v_row jsonb;
  v_counts jsonb;
BEGIN
  IF TG_OP <> 'INSERT' THEN
    v_old := to_jsonb(OLD);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    v_new := to_jsonb(NEW);
  END IF;
  v_row := v_old || v_new;
  SELECT jsonb_object_agg(c.name, CASE WHEN c.name = 'password_hash' THEN to_jsonb('not shown'::text)
                                       WHEN TG_OP = 'UPDATE' THEN jsonb_build_object('old', v_old -> c.name, 'new', v_new -> c.name)
                                       ELSE v_row -> c.name END)
    INTO v_counts
    FROM jsonb_object_keys(v_row) AS c (name)
   WHERE v_old -> c.name IS DISTINCT FROM v_new -> c.name;
  IF v_counts IS NOT NULL THEN
    PERFORM pgbox.job_record(
      lower(TG_OP) || ' ' || TG_TABLE_NAME,
      CASE TG_TABLE_NAME
      WHEN 'store' THEN 'store'
      WHEN 'policy' THEN format('policy %s: %s: %s', v_row ->> 'policy_id', v_row ->> 'account', v_row ->> 'mailbox')
      WHEN 'account' THEN COALESCE(v_old ->> 'name', v_new ->> 'name')
      ELSE COALESCE((SELECT a.name FROM pgbox.account AS a WHERE a.account_id = (v_row ->> 'account_id')::bigint), 'account ' || (v_row ->> 'account_id'))
           || COALESCE(': ' || (v_row ->> 'name'), '')
      END,
      v_counts, 'done');
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.rule_recorded() IS 'Trigger: write down in job what plain DML has set: for UPDATE the columns that have changed';
