-- The tree of mailboxes. Lock order: account, then counters by mailbox_id.

CREATE OR REPLACE FUNCTION pgbox.account_lock(p_account bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE pgbox.account AS a
     SET list_modseq = a.list_modseq + 1
   WHERE a.account_id = p_account AND a.deleted_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no account %', p_account USING ERRCODE = 'PB001';
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.account_lock(bigint) IS 'Begin a change of an account''s tree: lock the account until COMMIT and count the change';

CREATE OR REPLACE FUNCTION pgbox.account_find(p_name text)
RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_account bigint;
BEGIN
  SELECT a.account_id INTO v_account FROM pgbox.account AS a WHERE a.name = p_name AND a.deleted_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no account "%"', p_name
      USING ERRCODE = 'PB001', HINT = 'Create it with pgbox.account_create().';
  END IF;
  RETURN v_account;
END
$$;
COMMENT ON FUNCTION pgbox.account_find(text) IS 'account_id of a name; an error if there is none';

CREATE OR REPLACE FUNCTION pgbox.uidvalidity_next(p_account bigint)
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE pgbox.account AS a
     SET last_uidvalidity = GREATEST(a.last_uidvalidity + 1, extract(epoch FROM clock_timestamp())::bigint)
   WHERE a.account_id = p_account
  RETURNING a.last_uidvalidity
$$;
COMMENT ON FUNCTION pgbox.uidvalidity_next(bigint) IS 'A UIDVALIDITY that no mailbox of the account ever had';

CREATE OR REPLACE FUNCTION pgbox.mailbox_add_parents(p_account bigint, p_name text)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO pgbox.mailbox (account_id, name)
  SELECT p_account, array_to_string(n.levels[1:i], '/')
    FROM (SELECT string_to_array(p_name, '/') AS levels) AS n
   CROSS JOIN LATERAL generate_series(1, cardinality(n.levels) - 1) AS i
   WHERE n.levels[1] <> ''
  ON CONFLICT (account_id, name) WHERE deleted_at IS NULL DO NOTHING
$$;
COMMENT ON FUNCTION pgbox.mailbox_add_parents(bigint, text) IS 'Make nodes of the names above a mailbox where there are none (RFC 3501 6.3.3); they stay when it goes';

-- What Dovecot takes for a new name, and finds again under it: it writes a first
-- level of "inbox" in capitals, however the client does.
CREATE OR REPLACE FUNCTION pgbox.mailbox_name_usable(p_name text)
RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT p_name <> '' AND octet_length(p_name) <= 4096
         AND NOT '' = ANY (string_to_array(p_name, '/'))
         AND (split_part(p_name, '/', 1) = 'INBOX' OR lower(split_part(p_name, '/', 1) COLLATE "C") <> 'inbox')
         AND p_name COLLATE "C" !~ '[\u0001-\u001f]'
$$;
COMMENT ON FUNCTION pgbox.mailbox_name_usable(text) IS 'Can IMAP have a mailbox of this name?';

CREATE OR REPLACE FUNCTION pgbox.mailbox_name_check(p_name text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF p_name IS NULL OR NOT pgbox.mailbox_name_usable(p_name) THEN
    RAISE EXCEPTION '% can''t be the name of a mailbox', COALESCE('"' || left(p_name, 300) || '"', 'NULL')
      USING ERRCODE = 'PB008',
            HINT = 'Levels are separated by single slashes; INBOX is written in capitals; no control characters, at most 4096 bytes.';
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.mailbox_name_check(text) IS 'Fails for a name that no client could open';

CREATE OR REPLACE FUNCTION pgbox.mailbox_create(
  p_account bigint, p_name text, p_selectable boolean,
  p_guid uuid, p_uidvalidity bigint, p_special_use text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_mailbox bigint;
  v_guid uuid;
BEGIN
  PERFORM pgbox.mailbox_name_check(p_name);
  PERFORM pgbox.account_lock(p_account);
  SELECT m.mailbox_id, m.guid INTO v_mailbox, v_guid
    FROM pgbox.mailbox AS m
   WHERE m.account_id = p_account AND m.name = p_name AND m.deleted_at IS NULL;
  IF FOUND AND (v_guid IS NOT NULL OR NOT p_selectable) THEN
    RAISE EXCEPTION 'mailbox "%" exists already', p_name USING ERRCODE = 'PB003';
  END IF;
  IF v_mailbox IS NULL THEN
    PERFORM pgbox.mailbox_add_parents(p_account, p_name);
    INSERT INTO pgbox.mailbox (account_id, name, special_use)
    VALUES (p_account, p_name, p_special_use)
    RETURNING mailbox_id INTO v_mailbox;
  END IF;
  IF p_selectable THEN
    UPDATE pgbox.mailbox AS m
       SET guid = COALESCE(p_guid, gen_random_uuid()),
           uidvalidity = COALESCE(p_uidvalidity, pgbox.uidvalidity_next(p_account)),
           special_use = COALESCE(p_special_use, m.special_use)
     WHERE m.mailbox_id = v_mailbox;
    UPDATE pgbox.account AS a
       SET last_uidvalidity = GREATEST(a.last_uidvalidity, p_uidvalidity)
     -- a value near the end of the range would leave none for others
     WHERE a.account_id = p_account AND p_uidvalidity < 4278190080;
    INSERT INTO pgbox.mailbox_counter (mailbox_id) VALUES (v_mailbox)
    ON CONFLICT ON CONSTRAINT mailbox_counter_pkey DO NOTHING;
  END IF;
  RETURN v_mailbox;
EXCEPTION
  WHEN unique_violation THEN
    RAISE EXCEPTION 'there is a mailbox with GUID % already', p_guid USING ERRCODE = 'PB003';
  WHEN check_violation THEN
    RAISE EXCEPTION 'the UIDVALIDITY of a mailbox is a number of 1 to 4294967295, not %', p_uidvalidity USING ERRCODE = 'PB008';
END
$$;
COMMENT ON FUNCTION pgbox.mailbox_create(bigint, text, boolean, uuid, bigint, text) IS 'Make a mailbox, or a node of the tree that only holds children; NULL guid and uidvalidity: new ones. Returns its mailbox_id';

-- What Dovecot keeps for the server as a whole hangs on INBOX and stays there.
CREATE OR REPLACE FUNCTION pgbox.inbox_remake(p_account bigint, p_old bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_mailbox bigint;
BEGIN
  v_mailbox := pgbox.mailbox_create(p_account, 'INBOX', true, NULL, NULL, NULL);
  UPDATE pgbox.mailbox_attribute AS a
     SET mailbox_id = v_mailbox
   WHERE a.mailbox_id = p_old
     AND starts_with(a.key, 'vendor/vendor.dovecot/pvt/server/');
END
$$;
COMMENT ON FUNCTION pgbox.inbox_remake(bigint, bigint) IS 'Make an empty INBOX in place of the old one, which was renamed or deleted: every account has one';

CREATE OR REPLACE FUNCTION pgbox.mailbox_has_children(p_account bigint, p_name text)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT EXISTS (SELECT 1 FROM pgbox.mailbox AS m
                  WHERE m.account_id = p_account AND m.deleted_at IS NULL
                    AND m.name >= p_name || '/' AND m.name < p_name || '0')
$$;
COMMENT ON FUNCTION pgbox.mailbox_has_children(bigint, text) IS 'Are there mailboxes below this one?';

-- With children below, a \Noselect node takes the place of a mailbox.
CREATE OR REPLACE FUNCTION pgbox.mailbox_fill_gap(p_account bigint, p_mailbox bigint, p_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- a node isn't enough of an INBOX; inbox_remake makes a mailbox of it
  IF EXISTS (SELECT 1 FROM pgbox.mailbox AS m
              WHERE m.account_id = p_account AND m.name = p_name AND m.deleted_at IS NULL
                AND (p_name <> 'INBOX' OR m.guid IS NOT NULL)) THEN
    RETURN;
  END IF;
  IF p_name = 'INBOX' THEN
    PERFORM pgbox.inbox_remake(p_account, p_mailbox);
  ELSIF pgbox.mailbox_has_children(p_account, p_name) THEN
    INSERT INTO pgbox.mailbox (account_id, name) VALUES (p_account, p_name);
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.mailbox_fill_gap(bigint, bigint, text) IS 'Make what has to be where a mailbox was, which is gone from this name: an INBOX, or a node with its children';

CREATE OR REPLACE FUNCTION pgbox.mailbox_delete(p_account bigint, p_mailbox bigint, p_reason text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_name text;
BEGIN
  PERFORM pgbox.account_lock(p_account);
  -- writers hold this lock while they add messages: after it none will
  PERFORM 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = p_mailbox FOR NO KEY UPDATE;
  UPDATE pgbox.mailbox AS m
     SET deleted_at = clock_timestamp(), deleted_reason = COALESCE(p_reason, pgbox.who())
   WHERE m.mailbox_id = p_mailbox AND m.account_id = p_account
     AND m.guid IS NOT NULL AND m.deleted_at IS NULL
  RETURNING m.name INTO v_name;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'mailbox % is gone', p_mailbox USING ERRCODE = 'PB002';
  END IF;
  PERFORM pgbox.mailbox_fill_gap(p_account, p_mailbox, v_name);
  PERFORM pgbox.job_record_folder('folder_delete', p_account, v_name,
                                  jsonb_build_object('mailbox_id', c.mailbox_id, 'messages', c.messages), p_reason)
     FROM pgbox.mailbox_counter AS c
    WHERE c.mailbox_id = p_mailbox;
END
$$;
COMMENT ON FUNCTION pgbox.mailbox_delete(bigint, bigint, text) IS 'Delete a mailbox; it stays restorable until it is purged. p_reason NULL: the role that is logged in';

CREATE OR REPLACE FUNCTION pgbox.mailbox_delete(p_account bigint, p_mailbox bigint)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'SELECT pgbox.mailbox_delete(p_account, p_mailbox, NULL)';
COMMENT ON FUNCTION pgbox.mailbox_delete(bigint, bigint) IS 'mailbox_delete as plugins of version 1 call it';

CREATE OR REPLACE FUNCTION pgbox.mailbox_delete_node(p_account bigint, p_name text, p_reason text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_mailbox bigint;
BEGIN
  PERFORM pgbox.account_lock(p_account);
  IF pgbox.mailbox_has_children(p_account, p_name) THEN
    RAISE EXCEPTION 'mailbox "%" has children', p_name USING ERRCODE = 'PB007';
  END IF;
  DELETE FROM pgbox.mailbox AS m
   WHERE m.account_id = p_account AND m.name = p_name
     AND m.guid IS NULL AND m.deleted_at IS NULL
  RETURNING m.mailbox_id INTO v_mailbox;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no node "%"', p_name USING ERRCODE = 'PB002';
  END IF;
  PERFORM pgbox.job_record_folder('folder_delete', p_account, p_name,
                                  jsonb_build_object('mailbox_id', v_mailbox, 'node', true), p_reason);
END
$$;
COMMENT ON FUNCTION pgbox.mailbox_delete_node(bigint, text, text) IS 'Delete a node of the tree that is no mailbox and has no children. p_reason NULL: the role that is logged in';

CREATE OR REPLACE FUNCTION pgbox.mailbox_delete_node(p_account bigint, p_name text)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'SELECT pgbox.mailbox_delete_node(p_account, p_name, NULL)';
COMMENT ON FUNCTION pgbox.mailbox_delete_node(bigint, text) IS 'mailbox_delete_node as plugins of version 1 call it';

CREATE OR REPLACE FUNCTION pgbox.mailbox_rename(p_account bigint, p_old text, p_new text, p_reason text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_count bigint;
BEGIN
  PERFORM pgbox.mailbox_name_check(p_new);
  PERFORM pgbox.account_lock(p_account);
  IF NOT EXISTS (SELECT 1 FROM pgbox.mailbox AS m
                  WHERE m.account_id = p_account AND m.name = p_old AND m.deleted_at IS NULL)
     AND NOT pgbox.mailbox_has_children(p_account, p_old) THEN
    RAISE EXCEPTION 'there is no mailbox "%"', p_old USING ERRCODE = 'PB002';
  END IF;
  IF EXISTS (SELECT 1 FROM pgbox.mailbox AS m
              WHERE m.account_id = p_account AND m.name = p_new AND m.deleted_at IS NULL)
     OR pgbox.mailbox_has_children(p_account, p_new) THEN
    RAISE EXCEPTION 'mailbox "%" exists already', p_new USING ERRCODE = 'PB003';
  END IF;
  PERFORM pgbox.mailbox_add_parents(p_account, p_new);
  -- RFC 3501 6.3.5: renaming INBOX moves its messages and leaves its children
  IF p_old <> 'INBOX' AND starts_with(p_new, p_old || '/') THEN
    RAISE EXCEPTION 'a mailbox can''t move below itself' USING ERRCODE = 'PB006';
  END IF;
  UPDATE pgbox.mailbox AS m
     SET name = p_new || substr(m.name, length(p_old) + 1)
   WHERE m.account_id = p_account AND m.deleted_at IS NULL
     AND (m.name = p_old
          OR (p_old <> 'INBOX' AND m.name >= p_old || '/' AND m.name < p_old || '0'));
  GET DIAGNOSTICS v_count = ROW_COUNT;
  PERFORM pgbox.job_record_folder('folder_rename', p_account, p_old,
                                  jsonb_build_object('mailbox_id', m.mailbox_id, 'new', p_new, 'mailboxes', v_count), p_reason)
     FROM pgbox.mailbox AS m
    WHERE m.account_id = p_account AND m.name = p_new AND m.deleted_at IS NULL;
  IF p_old = 'INBOX' THEN
    PERFORM pgbox.inbox_remake(p_account, m.mailbox_id)
       FROM pgbox.mailbox AS m
      WHERE m.account_id = p_account AND m.name = p_new AND m.deleted_at IS NULL;
  END IF;
EXCEPTION WHEN check_violation THEN
  RAISE EXCEPTION 'the name of a mailbox below the new name would be too long' USING ERRCODE = 'PB008';
END
$$;
COMMENT ON FUNCTION pgbox.mailbox_rename(bigint, text, text, text) IS 'Rename a mailbox with all below it; INBOX leaves an empty INBOX and its children behind. p_reason NULL: the role that is logged in';

CREATE OR REPLACE FUNCTION pgbox.mailbox_rename(p_account bigint, p_old text, p_new text)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'SELECT pgbox.mailbox_rename(p_account, p_old, p_new, NULL)';
COMMENT ON FUNCTION pgbox.mailbox_rename(bigint, text, text) IS 'mailbox_rename as plugins of version 1 call it';

CREATE OR REPLACE FUNCTION pgbox.subscription_set(p_account bigint, p_name text, p_subscribed boolean)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF p_subscribed = EXISTS (SELECT 1 FROM pgbox.subscription AS s
                             WHERE s.account_id = p_account AND s.name = p_name) THEN
    RETURN false;
  END IF;
  PERFORM pgbox.account_lock(p_account);
  IF p_subscribed THEN
    INSERT INTO pgbox.subscription (account_id, name) VALUES (p_account, p_name)
    ON CONFLICT ON CONSTRAINT subscription_pkey DO NOTHING;
  ELSE
    DELETE FROM pgbox.subscription AS s WHERE s.account_id = p_account AND s.name = p_name;
  END IF;
  RETURN FOUND;
EXCEPTION WHEN check_violation THEN
  RAISE EXCEPTION 'the name is too long' USING ERRCODE = 'PB008';
END
$$;
COMMENT ON FUNCTION pgbox.subscription_set(bigint, text, boolean) IS 'Subscribe or unsubscribe a name; returns whether that changed anything';

CREATE OR REPLACE FUNCTION pgbox.mailbox_lock(p_mailbox bigint)
RETURNS pgbox.mailbox_counter
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_counter pgbox.mailbox_counter;
BEGIN
  SELECT c.* INTO v_counter
    FROM pgbox.mailbox_counter AS c
   WHERE c.mailbox_id = p_mailbox
     FOR NO KEY UPDATE;
  IF FOUND THEN
    -- a statement of its own: it sees a deletion that the lock waited for
    PERFORM 1 FROM pgbox.mailbox AS m WHERE m.mailbox_id = p_mailbox AND m.deleted_at IS NULL;
  END IF;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'mailbox % is gone', p_mailbox USING ERRCODE = 'PB002';
  END IF;
  RETURN v_counter;
END
$$;
COMMENT ON FUNCTION pgbox.mailbox_lock(bigint) IS 'Begin a change of a mailbox''s messages: lock its counters until COMMIT and return them';

CREATE OR REPLACE FUNCTION pgbox.mailbox_lock_many(p_mailboxes bigint[])
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_count integer;
BEGIN
  PERFORM 1
     FROM pgbox.mailbox_counter AS c
    WHERE c.mailbox_id = ANY (p_mailboxes)
    ORDER BY c.mailbox_id
      FOR NO KEY UPDATE;
  GET DIAGNOSTICS v_count = ROW_COUNT;
  RETURN v_count;
END
$$;
COMMENT ON FUNCTION pgbox.mailbox_lock_many(bigint[]) IS 'Lock the counters of mailboxes in the right order, until COMMIT, before plain DML on many of them; deleted ones too. Returns how many there are';

CREATE OR REPLACE FUNCTION pgbox.mailbox_update(
  p_account bigint, p_mailbox bigint, p_uidvalidity bigint, p_guid uuid,
  p_min_uid_next bigint, p_min_first_recent_uid bigint, p_min_modseq bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_counter pgbox.mailbox_counter;
  v_uid_next bigint;
BEGIN
  PERFORM pgbox.account_lock(p_account);
  v_counter := pgbox.mailbox_lock(p_mailbox);
  UPDATE pgbox.mailbox AS m
     SET uidvalidity = COALESCE(p_uidvalidity, m.uidvalidity),
         guid = COALESCE(p_guid, m.guid)
   WHERE m.mailbox_id = p_mailbox AND m.account_id = p_account;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'mailbox % is gone', p_mailbox USING ERRCODE = 'PB002';
  END IF;
  UPDATE pgbox.account AS a
     SET last_uidvalidity = GREATEST(a.last_uidvalidity, p_uidvalidity)
   -- as in mailbox_create
   WHERE a.account_id = p_account AND p_uidvalidity < 4278190080;
  v_uid_next := GREATEST(v_counter.uid_next, p_min_uid_next);
  UPDATE pgbox.mailbox_counter AS c
     SET uid_next = v_uid_next,
         first_recent_uid = LEAST(v_uid_next, GREATEST(c.first_recent_uid, p_min_first_recent_uid)),
         highest_modseq = GREATEST(c.highest_modseq, (p_min_modseq + 65535) / 65536 * 65536) + 65536
   WHERE c.mailbox_id = p_mailbox;
END
$$;
COMMENT ON FUNCTION pgbox.mailbox_update(bigint, bigint, bigint, uuid, bigint, bigint, bigint) IS 'Change identity (NULL: keep) and raise counters of a mailbox, for dsync and doveadm mailbox update';

CREATE OR REPLACE FUNCTION pgbox.recent_claim(p_mailbox bigint, p_uid_next bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_first bigint;
  v_counter pgbox.mailbox_counter;
BEGIN
  -- usually all is claimed, and it never goes back: that takes no lock
  SELECT c.first_recent_uid INTO v_first
    FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = p_mailbox;
  IF v_first >= p_uid_next THEN
    RETURN v_first;
  END IF;
  v_counter := pgbox.mailbox_lock(p_mailbox);
  IF v_counter.first_recent_uid < LEAST(p_uid_next, v_counter.uid_next) THEN
    UPDATE pgbox.mailbox_counter AS c
       SET first_recent_uid = LEAST(p_uid_next, c.uid_next)
     WHERE c.mailbox_id = p_mailbox;
  END IF;
  RETURN v_counter.first_recent_uid;
END
$$;
COMMENT ON FUNCTION pgbox.recent_claim(bigint, bigint) IS 'Claim \Recent of all UIDs below the given one for a session. Returns the first UID that is the session''s';

CREATE OR REPLACE FUNCTION pgbox.attribute_set(p_mailbox bigint, p_shared boolean, p_key text, p_value bytea, p_changed_at bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_mailbox bigint;
BEGIN
  -- FOR SHARE: a rename or a deletion is waited for, or waits and sees the
  -- attribute
  SELECT m.mailbox_id INTO v_mailbox
    FROM pgbox.mailbox AS m
   WHERE m.mailbox_id = p_mailbox AND m.deleted_at IS NULL
     AND (m.name = 'INBOX' OR NOT starts_with(p_key, 'vendor/vendor.dovecot/pvt/server/'))
     FOR SHARE;
  IF NOT FOUND AND starts_with(p_key, 'vendor/vendor.dovecot/pvt/server/') THEN
    -- this isn't INBOX any more: another one took its place
    SELECT i.mailbox_id INTO v_mailbox
      FROM pgbox.mailbox AS m
      JOIN pgbox.mailbox AS i ON i.account_id = m.account_id AND i.name = 'INBOX' AND i.deleted_at IS NULL
     WHERE m.mailbox_id = p_mailbox
       FOR SHARE OF i;
  END IF;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'mailbox % is gone', p_mailbox USING ERRCODE = 'PB002';
  END IF;
  IF p_value IS NULL THEN
    DELETE FROM pgbox.mailbox_attribute AS a
     WHERE a.mailbox_id = v_mailbox AND a.shared = p_shared AND a.key = p_key;
  ELSE
    INSERT INTO pgbox.mailbox_attribute (mailbox_id, shared, key, value, changed_at)
    VALUES (v_mailbox, p_shared, p_key, p_value, COALESCE(to_timestamp(p_changed_at), now()))
    ON CONFLICT ON CONSTRAINT mailbox_attribute_pkey
    DO UPDATE SET value = EXCLUDED.value, changed_at = EXCLUDED.changed_at;
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.attribute_set(bigint, boolean, text, bytea, bigint) IS 'Set an attribute of a mailbox; NULL value: remove it. changed_at in seconds since 1970, NULL: now. What Dovecot keeps for the server as a whole goes to INBOX';
