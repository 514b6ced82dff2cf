-- pgbox schema as commit 49f3ef5 installed it, with a small store. Written by
-- dump, which README tells about: don't edit.

CREATE ROLE pgbox_admin;
ALTER ROLE pgbox_admin WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE pgbox_dovecot;
ALTER ROLE pgbox_dovecot WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE pgbox_owner;
ALTER ROLE pgbox_owner WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE pgbox_reader;
ALTER ROLE pgbox_reader WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
ALTER ROLE pgbox_dovecot SET statement_timeout TO '60s';
ALTER ROLE pgbox_dovecot SET lock_timeout TO '20s';
ALTER ROLE pgbox_dovecot SET idle_in_transaction_session_timeout TO '60s';
ALTER ROLE pgbox_dovecot SET tcp_keepalives_idle TO '60';
ALTER ROLE pgbox_dovecot SET tcp_keepalives_interval TO '10';
ALTER ROLE pgbox_dovecot SET tcp_keepalives_count TO '3';
ALTER ROLE pgbox_dovecot SET default_transaction_isolation TO 'read committed';
ALTER ROLE pgbox_dovecot SET plan_cache_mode TO 'force_generic_plan';
ALTER ROLE pgbox_dovecot SET jit TO 'off';
--
-- PostgreSQL database dump
--

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE SCHEMA pgbox;

ALTER SCHEMA pgbox OWNER TO pgbox_owner;

COMMENT ON SCHEMA pgbox IS 'Mail storage for Dovecot: mailboxes, messages and their change counters';

CREATE FUNCTION pgbox.account_create(p_name text, p_password text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
DECLARE
  v_account bigint;
BEGIN
  INSERT INTO pgbox.account (name, password_hash)
  VALUES (p_name, pgbox.password_hash(p_password))
  RETURNING account_id INTO v_account;
  PERFORM pgbox.mailbox_create(v_account, 'INBOX', true, NULL, NULL, NULL);
  RETURN v_account;
EXCEPTION WHEN unique_violation THEN
  RAISE EXCEPTION 'account "%" exists already', p_name USING ERRCODE = 'PB003';
END
$$;

ALTER FUNCTION pgbox.account_create(p_name text, p_password text) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.account_create(p_name text, p_password text) IS 'Make an account with an empty INBOX; without a password nobody logs in by password. Returns its account_id';

CREATE FUNCTION pgbox.account_find(p_name text) RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
  v_account bigint;
BEGIN
  SELECT a.account_id INTO v_account FROM pgbox.account AS a WHERE a.name = p_name;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no account "%"', p_name
      USING ERRCODE = 'PB001', HINT = 'Create it with pgbox.account_create().';
  END IF;
  RETURN v_account;
END
$$;

ALTER FUNCTION pgbox.account_find(p_name text) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.account_find(p_name text) IS 'account_id of a name; an error if there is none';

CREATE FUNCTION pgbox.account_lock(p_account bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  UPDATE pgbox.account AS a
     SET list_modseq = a.list_modseq + 1
   WHERE a.account_id = p_account;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no account %', p_account USING ERRCODE = 'PB001';
  END IF;
END
$$;

ALTER FUNCTION pgbox.account_lock(p_account bigint) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.account_lock(p_account bigint) IS 'Begin a change of an account''s tree: lock the account until COMMIT and count the change';

CREATE FUNCTION pgbox.account_repair(p_account bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
DECLARE
  v_before bigint;
  v_rows bigint;
  v_changed bigint := 0;
BEGIN
  PERFORM pgbox.account_lock(p_account);
  DELETE FROM pgbox.mailbox AS m WHERE m.account_id = p_account AND m.guid IS NULL AND m.deleted_at IS NOT NULL;
  GET DIAGNOSTICS v_rows = ROW_COUNT;
  v_changed := v_changed + v_rows;
  UPDATE pgbox.account AS a
     SET last_uidvalidity = d.uidvalidity
    FROM (SELECT max(m.uidvalidity) AS uidvalidity FROM pgbox.mailbox AS m
           WHERE m.account_id = p_account AND m.uidvalidity < 4278190080) AS d
   WHERE a.account_id = p_account AND a.last_uidvalidity < d.uidvalidity;
  GET DIAGNOSTICS v_rows = ROW_COUNT;
  v_changed := v_changed + v_rows;
  IF NOT EXISTS (SELECT 1 FROM pgbox.mailbox AS m
                  WHERE m.account_id = p_account AND m.name = 'INBOX' AND m.guid IS NOT NULL AND m.deleted_at IS NULL) THEN
    PERFORM pgbox.mailbox_create(p_account, 'INBOX', true, NULL, NULL, NULL);
    v_changed := v_changed + 1;
  END IF;
  SELECT count(*) INTO v_before FROM pgbox.mailbox AS m WHERE m.account_id = p_account;
  PERFORM pgbox.mailbox_add_parents(p_account, m.name)
     FROM pgbox.mailbox AS m WHERE m.account_id = p_account AND m.deleted_at IS NULL;
  SELECT v_changed + count(*) - v_before INTO v_changed FROM pgbox.mailbox AS m WHERE m.account_id = p_account;
  RETURN v_changed > 0;
END
$$;

ALTER FUNCTION pgbox.account_repair(p_account bigint) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.account_repair(p_account bigint) IS 'Mend the tree of an account: INBOX, nodes above mailboxes, UIDVALIDITY to be given next. Returns whether anything was wrong';

CREATE FUNCTION pgbox.account_set_password(p_name text, p_password text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  UPDATE pgbox.account AS a
     SET password_hash = pgbox.password_hash(p_password)
   WHERE a.name = p_name;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no account "%"', p_name USING ERRCODE = 'PB001';
  END IF;
END
$$;

ALTER FUNCTION pgbox.account_set_password(p_name text, p_password text) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.account_set_password(p_name text, p_password text) IS 'Set the password of an account; NULL: no login by password';

CREATE FUNCTION pgbox.attribute_set(p_mailbox bigint, p_shared boolean, p_key text, p_value bytea, p_changed_at bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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

ALTER FUNCTION pgbox.attribute_set(p_mailbox bigint, p_shared boolean, p_key text, p_value bytea, p_changed_at bigint) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.attribute_set(p_mailbox bigint, p_shared boolean, p_key text, p_value bytea, p_changed_at bigint) IS 'Set an attribute of a mailbox; NULL value: remove it. changed_at in seconds since 1970, NULL: now. What Dovecot keeps for the server as a whole goes to INBOX';

CREATE FUNCTION pgbox.body_chunk_put(p_digest bytea, p_number integer, p_data bytea) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
  INSERT INTO pgbox.body_chunk (body_id, number, data)
  SELECT b.body_id, p_number, p_data FROM pgbox.body AS b WHERE b.digest = p_digest
  ON CONFLICT ON CONSTRAINT body_chunk_pkey DO NOTHING
$$;

ALTER FUNCTION pgbox.body_chunk_put(p_digest bytea, p_number integer, p_data bytea) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.body_chunk_put(p_digest bytea, p_number integer, p_data bytea) IS 'Store a later chunk of a body, in the transaction that stored the body';

CREATE FUNCTION pgbox.body_put(p_digest bytea, p_size bigint, p_head bytea) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
DECLARE
  v_body bigint;
BEGIN
  LOOP
    -- FOR KEY SHARE: it can't be purged before we refer to it
    SELECT b.body_id INTO v_body FROM pgbox.body AS b WHERE b.digest = p_digest FOR KEY SHARE;
    IF FOUND THEN
      RETURN v_body;
    END IF;
    IF p_head IS NULL THEN
      RAISE EXCEPTION 'the body was purged meanwhile' USING ERRCODE = '40001';
    END IF;
    INSERT INTO pgbox.body (digest, size, head) VALUES (p_digest, p_size, p_head)
    ON CONFLICT ON CONSTRAINT body_digest_key DO NOTHING
    RETURNING body_id INTO v_body;
    IF FOUND THEN
      RETURN v_body;
    END IF;
    -- somebody else's insert won: look again
  END LOOP;
END
$$;

ALTER FUNCTION pgbox.body_put(p_digest bytea, p_size bigint, p_head bytea) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.body_put(p_digest bytea, p_size bigint, p_head bytea) IS 'Find or store a body by its SHA-256; NULL head: it must be there. Returns its body_id';

CREATE FUNCTION pgbox.commit_claim(p_token uuid) RETURNS TABLE(prev_modseq bigint, modseq bigint, uids bigint[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  INSERT INTO pgbox.commit_token (token) VALUES (p_token)
  ON CONFLICT ON CONSTRAINT commit_token_pkey DO NOTHING;
  RETURN QUERY
  SELECT t.prev_modseq, t.modseq, t.uids
    FROM pgbox.commit_token AS t
   WHERE t.token = p_token AND t.mailbox_id IS NOT NULL;
END
$$;

ALTER FUNCTION pgbox.commit_claim(p_token uuid) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.commit_claim(p_token uuid) IS 'After a lost connection: what did the transaction with this token do? No row: nothing, and it never will';

CREATE FUNCTION pgbox.content_put(p_header bytea, p_header_complete boolean, p_digest bytea, p_body_size bigint, p_head bytea, p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
DECLARE
  v_body bigint;
  v_content bigint;
BEGIN
  IF p_digest IS NOT NULL THEN
    v_body := pgbox.body_put(p_digest, p_body_size, p_head);
  END IF;
  INSERT INTO pgbox.content (body_id, header_complete, size, virtual_size, header, envelope, bodystructure)
  VALUES (v_body, p_header_complete, p_size, p_virtual_size, p_header, p_envelope, p_bodystructure)
  RETURNING content_id INTO v_content;
  RETURN v_content;
END
$$;

ALTER FUNCTION pgbox.content_put(p_header bytea, p_header_complete boolean, p_digest bytea, p_body_size bigint, p_head bytea, p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.content_put(p_header bytea, p_header_complete boolean, p_digest bytea, p_body_size bigint, p_head bytea, p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea) IS 'Store what a message consists of; NULL digest: empty body. Returns its content_id';

CREATE FUNCTION pgbox.hmac_sha256(p_key bytea, p_message bytea) RETURNS bytea
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
  v_key bit(512);
BEGIN
  v_key := ('x' || encode(CASE WHEN octet_length(p_key) > 64 THEN sha256(p_key) ELSE p_key END, 'hex'))::bit(512);
  RETURN sha256(substring(varbit_send(v_key # ('x' || repeat('5c', 64))::bit(512)) FROM 5)
                || sha256(substring(varbit_send(v_key # ('x' || repeat('36', 64))::bit(512)) FROM 5)
                          || p_message));
END
$$;

ALTER FUNCTION pgbox.hmac_sha256(p_key bytea, p_message bytea) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.hmac_sha256(p_key bytea, p_message bytea) IS 'HMAC-SHA-256 (RFC 2104)';

CREATE FUNCTION pgbox.inbox_remake(p_account bigint, p_old bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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

ALTER FUNCTION pgbox.inbox_remake(p_account bigint, p_old bigint) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.inbox_remake(p_account bigint, p_old bigint) IS 'Make an empty INBOX in place of the old one, which was renamed or deleted: every account has one';

CREATE FUNCTION pgbox.keyword_numbers(p_mailbox bigint, p_names text[]) RETURNS smallint[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
DECLARE
  v_new text[];
  v_last integer;
BEGIN
  IF COALESCE(cardinality(p_names), 0) = 0 THEN
    RETURN NULL;
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

ALTER FUNCTION pgbox.keyword_numbers(p_mailbox bigint, p_names text[]) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.keyword_numbers(p_mailbox bigint, p_names text[]) IS 'Numbers of keywords, ascending, new ones for names not seen before. The caller has locked the mailbox';

CREATE FUNCTION pgbox.keyword_use(p_mailbox bigint, VARIADIC p_names text[]) RETURNS smallint[]
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  PERFORM pgbox.mailbox_lock(p_mailbox);
  RETURN pgbox.keyword_numbers(p_mailbox, p_names);
END
$$;

ALTER FUNCTION pgbox.keyword_use(p_mailbox bigint, VARIADIC p_names text[]) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.keyword_use(p_mailbox bigint, VARIADIC p_names text[]) IS 'Numbers of keywords in a mailbox, ascending, for message_state.keywords; names not seen before get one. Locks the mailbox';

CREATE FUNCTION pgbox.keywords_change(p_old smallint[], p_add smallint[], p_remove smallint[], p_replace boolean) RETURNS smallint[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  SELECT pg_catalog.array_agg(k.number ORDER BY k.number)
    FROM (SELECT u.number FROM pg_catalog.unnest(p_old) AS u (number)
           WHERE NOT p_replace AND NOT u.number = ANY (COALESCE(p_remove, '{}'))
           UNION
          SELECT u.number FROM pg_catalog.unnest(p_add) AS u (number)) AS k
$$;

ALTER FUNCTION pgbox.keywords_change(p_old smallint[], p_add smallint[], p_remove smallint[], p_replace boolean) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.keywords_change(p_old smallint[], p_add smallint[], p_remove smallint[], p_replace boolean) IS 'A keyword set after a change, NULL when empty';

CREATE FUNCTION pgbox.mailbox_add_parents(p_account bigint, p_name text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
  INSERT INTO pgbox.mailbox (account_id, name)
  SELECT p_account, array_to_string(n.levels[1:i], '/')
    FROM (SELECT string_to_array(p_name, '/') AS levels) AS n
   CROSS JOIN LATERAL generate_series(1, cardinality(n.levels) - 1) AS i
   WHERE n.levels[1] <> ''
  ON CONFLICT (account_id, name) WHERE deleted_at IS NULL DO NOTHING
$$;

ALTER FUNCTION pgbox.mailbox_add_parents(p_account bigint, p_name text) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.mailbox_add_parents(p_account bigint, p_name text) IS 'Make nodes of the names above a mailbox where there are none (RFC 3501 6.3.3); they stay when it goes';

CREATE FUNCTION pgbox.mailbox_create(p_account bigint, p_name text, p_selectable boolean, p_guid uuid, p_uidvalidity bigint, p_special_use text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
DECLARE
  v_mailbox bigint;
  v_guid uuid;
BEGIN
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
    RAISE EXCEPTION 'name or UIDVALIDITY of the mailbox is out of range' USING ERRCODE = 'PB008';
END
$$;

ALTER FUNCTION pgbox.mailbox_create(p_account bigint, p_name text, p_selectable boolean, p_guid uuid, p_uidvalidity bigint, p_special_use text) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.mailbox_create(p_account bigint, p_name text, p_selectable boolean, p_guid uuid, p_uidvalidity bigint, p_special_use text) IS 'Make a mailbox, or a node of the tree that only holds children; NULL guid and uidvalidity: new ones. Returns its mailbox_id';

CREATE FUNCTION pgbox.mailbox_delete(p_account bigint, p_mailbox bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
DECLARE
  v_name text;
BEGIN
  PERFORM pgbox.account_lock(p_account);
  -- writers hold this lock while they add messages: after it none will
  PERFORM 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = p_mailbox FOR NO KEY UPDATE;
  UPDATE pgbox.mailbox AS m
     SET deleted_at = clock_timestamp()
   WHERE m.mailbox_id = p_mailbox AND m.account_id = p_account
     AND m.guid IS NOT NULL AND m.deleted_at IS NULL
  RETURNING m.name INTO v_name;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'mailbox % is gone', p_mailbox USING ERRCODE = 'PB002';
  END IF;
  PERFORM pgbox.mailbox_fill_gap(p_account, p_mailbox, v_name);
END
$$;

ALTER FUNCTION pgbox.mailbox_delete(p_account bigint, p_mailbox bigint) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.mailbox_delete(p_account bigint, p_mailbox bigint) IS 'Delete a mailbox; it stays restorable until it is purged';

CREATE FUNCTION pgbox.mailbox_delete_node(p_account bigint, p_name text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  PERFORM pgbox.account_lock(p_account);
  IF pgbox.mailbox_has_children(p_account, p_name) THEN
    RAISE EXCEPTION 'mailbox "%" has children', p_name USING ERRCODE = 'PB007';
  END IF;
  DELETE FROM pgbox.mailbox AS m
   WHERE m.account_id = p_account AND m.name = p_name
     AND m.guid IS NULL AND m.deleted_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no node "%"', p_name USING ERRCODE = 'PB002';
  END IF;
END
$$;

ALTER FUNCTION pgbox.mailbox_delete_node(p_account bigint, p_name text) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.mailbox_delete_node(p_account bigint, p_name text) IS 'Delete a node of the tree that is no mailbox and has no children';

CREATE FUNCTION pgbox.mailbox_fill_gap(p_account bigint, p_mailbox bigint, p_name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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

ALTER FUNCTION pgbox.mailbox_fill_gap(p_account bigint, p_mailbox bigint, p_name text) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.mailbox_fill_gap(p_account bigint, p_mailbox bigint, p_name text) IS 'Make what has to be where a mailbox was, which is gone from this name: an INBOX, or a node with its children';

CREATE FUNCTION pgbox.mailbox_has_children(p_account bigint, p_name text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  SELECT EXISTS (SELECT 1 FROM pgbox.mailbox AS m
                  WHERE m.account_id = p_account AND m.deleted_at IS NULL
                    AND m.name >= p_name || '/' AND m.name < p_name || '0')
$$;

ALTER FUNCTION pgbox.mailbox_has_children(p_account bigint, p_name text) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.mailbox_has_children(p_account bigint, p_name text) IS 'Are there mailboxes below this one?';

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE pgbox.mailbox_counter (
    mailbox_id bigint NOT NULL,
    uid_next bigint DEFAULT 1 NOT NULL,
    highest_modseq bigint DEFAULT 65536 NOT NULL,
    messages integer DEFAULT 0 NOT NULL,
    unseen integer DEFAULT 0 NOT NULL,
    virtual_size bigint DEFAULT 0 NOT NULL,
    first_recent_uid bigint DEFAULT 1 NOT NULL,
    pruned_modseq bigint DEFAULT 0 NOT NULL,
    CONSTRAINT mailbox_counter_first_recent_uid_check CHECK (((first_recent_uid >= 1) AND (first_recent_uid <= uid_next))),
    CONSTRAINT mailbox_counter_highest_modseq_check CHECK (((highest_modseq > 0) AND ((highest_modseq % (65536)::bigint) = 0))),
    CONSTRAINT mailbox_counter_messages_check CHECK (((messages >= 0) AND ((unseen >= 0) AND (unseen <= messages)) AND (virtual_size >= 0))),
    CONSTRAINT mailbox_counter_pruned_modseq_check CHECK (((pruned_modseq >= 0) AND (pruned_modseq <= highest_modseq))),
    CONSTRAINT mailbox_counter_uid_next_check CHECK (((uid_next >= 1) AND (uid_next <= '4294967296'::bigint)))
)
WITH (fillfactor='50');

ALTER TABLE pgbox.mailbox_counter OWNER TO pgbox_owner;

COMMENT ON TABLE pgbox.mailbox_counter IS 'The change counters of a mailbox: the row that each change locks first';

COMMENT ON COLUMN pgbox.mailbox_counter.mailbox_id IS 'The mailbox';

COMMENT ON COLUMN pgbox.mailbox_counter.uid_next IS 'The next UID; never goes down';

COMMENT ON COLUMN pgbox.mailbox_counter.highest_modseq IS 'Modseq of the last change (RFC 7162); multiples of 65536';

COMMENT ON COLUMN pgbox.mailbox_counter.messages IS 'Number of messages';

COMMENT ON COLUMN pgbox.mailbox_counter.unseen IS 'Number of messages without \Seen';

COMMENT ON COLUMN pgbox.mailbox_counter.virtual_size IS 'Sum of the messages'' sizes with CRLF line ends, in bytes';

COMMENT ON COLUMN pgbox.mailbox_counter.first_recent_uid IS 'UIDs below it were shown as \Recent to a session already';

COMMENT ON COLUMN pgbox.mailbox_counter.pruned_modseq IS 'Tombstones up to this modseq may be gone: caches synced less far are rebuilt';

CREATE FUNCTION pgbox.mailbox_lock(p_mailbox bigint) RETURNS pgbox.mailbox_counter
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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

ALTER FUNCTION pgbox.mailbox_lock(p_mailbox bigint) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.mailbox_lock(p_mailbox bigint) IS 'Begin a change of a mailbox''s messages: lock its counters until COMMIT and return them';

CREATE FUNCTION pgbox.mailbox_lock_many(p_mailboxes bigint[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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

ALTER FUNCTION pgbox.mailbox_lock_many(p_mailboxes bigint[]) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.mailbox_lock_many(p_mailboxes bigint[]) IS 'Lock the counters of mailboxes in the right order, until COMMIT, before plain DML on many of them; deleted ones too. Returns how many there are';

CREATE FUNCTION pgbox.mailbox_name_usable(p_name text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  SELECT p_name <> '' AND octet_length(p_name) <= 4096
         AND NOT '' = ANY (string_to_array(p_name, '/'))
         AND (p_name = 'INBOX' OR lower(p_name COLLATE "C") <> 'inbox')
$$;

ALTER FUNCTION pgbox.mailbox_name_usable(p_name text) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.mailbox_name_usable(p_name text) IS 'Can IMAP have a mailbox of this name?';

CREATE FUNCTION pgbox.mailbox_pull(p_mailbox bigint, p_since bigint, p_keywords integer) RETURNS TABLE(kind smallint, uid bigint, modseq bigint, flags smallint, keywords smallint[], info bigint[], keyword text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
BEGIN
  SELECT 0, c.uid_next, c.highest_modseq,
         ARRAY[m.uidvalidity, c.first_recent_uid, c.pruned_modseq, s.epoch, c.messages,
               (p_since > 0 AND c.highest_modseq > p_since
                AND EXISTS (SELECT 1 FROM pgbox.expunged AS e
                             WHERE e.mailbox_id = p_mailbox AND e.modseq > p_since))::integer]
    INTO kind, uid, modseq, info
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
  IF p_since = 0 THEN
    -- a cold node: no tombstones, and the primary key gives the order
    RETURN QUERY
    SELECT 1::smallint, s.uid, s.modseq, s.flags, s.keywords, NULL::bigint[], NULL::text
      FROM pgbox.message_state AS s
     WHERE s.mailbox_id = p_mailbox
     ORDER BY s.uid;
    RETURN;
  END IF;
  -- The inner order makes the planner take the index on modseq. Statistics
  -- mix the modseqs of all mailboxes: by them it would often take all of this
  -- mailbox for new, and read it in the order of the primary key.
  RETURN QUERY
  SELECT n.kind, n.uid, n.modseq, n.flags, n.keywords, NULL::bigint[], NULL::text
    FROM ((SELECT 1::smallint AS kind, s.uid, s.modseq, s.flags, s.keywords
             FROM pgbox.message_state AS s
            WHERE s.mailbox_id = p_mailbox AND s.modseq > p_since
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

ALTER FUNCTION pgbox.mailbox_pull(p_mailbox bigint, p_since bigint, p_keywords integer) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.mailbox_pull(p_mailbox bigint, p_since bigint, p_keywords integer) IS 'What a node needs to bring its copy of a mailbox from modseq p_since (0: nothing there) to now';

CREATE FUNCTION pgbox.mailbox_recount(p_mailbox bigint, p_anew boolean) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  WITH counted AS (
    SELECT count(*) AS messages, count(*) FILTER (WHERE s.flags & 8 = 0) AS unseen,
           COALESCE(sum(t.virtual_size), 0) AS virtual_size, max(g.uid) AS uid, max(s.modseq) AS modseq
      FROM pgbox.message AS g
      JOIN pgbox.content AS t ON t.content_id = g.content_id
      LEFT JOIN pgbox.message_state AS s ON s.mailbox_id = g.mailbox_id AND s.uid = g.uid
     WHERE g.mailbox_id = p_mailbox),
  buried AS (
    SELECT max(e.uid) AS uid, max(e.modseq) AS modseq FROM pgbox.expunged AS e WHERE e.mailbox_id = p_mailbox),
  wanted AS (
    SELECT r.messages, r.unseen, r.virtual_size,
           GREATEST(c.uid_next, r.uid + 1, b.uid + 1) AS uid_next,
           GREATEST(c.highest_modseq, (r.modseq + 65535) / 65536 * 65536, (b.modseq + 65535) / 65536 * 65536)
           + CASE WHEN p_anew THEN pgbox.modseq_step() ELSE 0 END AS modseq
      FROM counted AS r
     CROSS JOIN buried AS b
      JOIN pgbox.mailbox_counter AS c ON c.mailbox_id = p_mailbox)
  UPDATE pgbox.mailbox_counter AS c
     SET messages = w.messages, unseen = w.unseen, virtual_size = w.virtual_size,
         uid_next = w.uid_next, highest_modseq = w.modseq,
         pruned_modseq = CASE WHEN p_anew THEN w.modseq ELSE c.pruned_modseq END
    FROM wanted AS w
   WHERE c.mailbox_id = p_mailbox
     AND (p_anew OR (c.messages, c.unseen, c.virtual_size, c.uid_next, c.highest_modseq)
                        IS DISTINCT FROM (w.messages, w.unseen, w.virtual_size, w.uid_next, w.modseq));
  RETURN FOUND;
END
$$;

ALTER FUNCTION pgbox.mailbox_recount(p_mailbox bigint, p_anew boolean) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.mailbox_recount(p_mailbox bigint, p_anew boolean) IS 'Make the counters of a locked mailbox equal its rows; returns whether they didn''t. p_anew: nodes may have seen what the rows don''t tell, so they are to read the mailbox anew';

CREATE FUNCTION pgbox.mailbox_rename(p_account bigint, p_old text, p_new text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  PERFORM pgbox.account_lock(p_account);
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
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no mailbox "%"', p_old USING ERRCODE = 'PB002';
  END IF;
  IF p_old = 'INBOX' THEN
    PERFORM pgbox.inbox_remake(p_account, m.mailbox_id)
       FROM pgbox.mailbox AS m
      WHERE m.account_id = p_account AND m.name = p_new AND m.deleted_at IS NULL;
  END IF;
EXCEPTION WHEN check_violation THEN
  RAISE EXCEPTION 'the name of a mailbox would be too long' USING ERRCODE = 'PB008';
END
$$;

ALTER FUNCTION pgbox.mailbox_rename(p_account bigint, p_old text, p_new text) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.mailbox_rename(p_account bigint, p_old text, p_new text) IS 'Rename a mailbox with all below it; INBOX leaves an empty INBOX and its children behind';

CREATE FUNCTION pgbox.mailbox_repair(p_mailbox bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
DECLARE
  v_account bigint;
  v_modseq bigint;
  v_rows bigint;
  v_changed bigint := 0;
  v_anew boolean;
  v_message record;
BEGIN
  SELECT m.account_id INTO v_account FROM pgbox.mailbox AS m WHERE m.mailbox_id = p_mailbox;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'mailbox % is gone', p_mailbox USING ERRCODE = 'PB002';
  END IF;
  PERFORM pgbox.account_lock(v_account);
  -- a node with messages is a mailbox that lost its identity
  UPDATE pgbox.mailbox AS m
     SET guid = gen_random_uuid(), uidvalidity = pgbox.uidvalidity_next(v_account)
   WHERE m.mailbox_id = p_mailbox AND m.guid IS NULL
     AND (EXISTS (SELECT 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = p_mailbox)
          OR EXISTS (SELECT 1 FROM pgbox.message AS g WHERE g.mailbox_id = p_mailbox));
  GET DIAGNOSTICS v_rows = ROW_COUNT;
  v_changed := v_changed + v_rows;
  INSERT INTO pgbox.mailbox_counter (mailbox_id)
  SELECT m.mailbox_id FROM pgbox.mailbox AS m WHERE m.mailbox_id = p_mailbox AND m.guid IS NOT NULL
  ON CONFLICT ON CONSTRAINT mailbox_counter_pkey DO NOTHING;
  GET DIAGNOSTICS v_rows = ROW_COUNT;
  v_changed := v_changed + v_rows;
  -- what was given out before can't be told then
  v_anew := v_changed > 0;
  SELECT c.highest_modseq INTO v_modseq
    FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = p_mailbox FOR NO KEY UPDATE;
  IF pgbox.mailbox_recount(p_mailbox, false) THEN
    v_changed := v_changed + 1;
  END IF;
  -- all that changes here is above it, so that nodes hear of it
  SELECT v_anew OR c.highest_modseq > v_modseq, c.highest_modseq + pgbox.modseq_step() INTO v_anew, v_modseq
    FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = p_mailbox;

  -- nodes have it for a message: a tombstone tells them that there is none
  WITH lost AS (
    DELETE FROM pgbox.message_state AS s
     WHERE s.mailbox_id = p_mailbox
       AND NOT EXISTS (SELECT 1 FROM pgbox.message AS g WHERE g.mailbox_id = s.mailbox_id AND g.uid = s.uid)
    RETURNING s.uid, s.flags, s.keywords)
  INSERT INTO pgbox.expunged AS e (mailbox_id, uid, modseq, guid, received_at, saved_at, flags, keywords, reason)
  SELECT p_mailbox, l.uid, v_modseq, gen_random_uuid(), now(), now(), l.flags, l.keywords, 'repair: the message was lost'
    FROM lost AS l
  ON CONFLICT ON CONSTRAINT expunged_pkey DO UPDATE SET modseq = EXCLUDED.modseq;
  GET DIAGNOSTICS v_rows = ROW_COUNT;
  v_changed := v_changed + v_rows;
  INSERT INTO pgbox.message_state (mailbox_id, uid, modseq)
  SELECT g.mailbox_id, g.uid, v_modseq
    FROM pgbox.message AS g
   WHERE g.mailbox_id = p_mailbox
     AND NOT EXISTS (SELECT 1 FROM pgbox.message_state AS s WHERE s.mailbox_id = g.mailbox_id AND s.uid = g.uid);
  GET DIAGNOSTICS v_rows = ROW_COUNT;
  v_changed := v_changed + v_rows;
  WITH named AS (
    SELECT s.uid, (SELECT array_agg(DISTINCT k.number ORDER BY k.number)
                     FROM unnest(s.keywords) AS k (number)
                     JOIN pgbox.mailbox_keyword AS n ON n.mailbox_id = s.mailbox_id AND n.number = k.number) AS keywords
      FROM pgbox.message_state AS s
     WHERE s.mailbox_id = p_mailbox AND s.keywords IS NOT NULL)
  UPDATE pgbox.message_state AS s
     SET keywords = n.keywords, modseq = v_modseq
    FROM named AS n
   WHERE s.mailbox_id = p_mailbox AND s.uid = n.uid AND s.keywords IS DISTINCT FROM n.keywords;
  GET DIAGNOSTICS v_rows = ROW_COUNT;
  v_changed := v_changed + v_rows;
  UPDATE pgbox.message_state AS s
     SET modseq = v_modseq
   WHERE s.mailbox_id = p_mailbox AND (s.modseq <= 0 OR s.modseq % 65536 <> 0);
  GET DIAGNOSTICS v_rows = ROW_COUNT;
  v_changed := v_changed + v_rows;
  UPDATE pgbox.expunged AS e
     SET modseq = v_modseq
   WHERE e.mailbox_id = p_mailbox AND (e.modseq <= 0 OR e.modseq % 65536 <> 0);
  GET DIAGNOSTICS v_rows = ROW_COUNT;
  v_changed := v_changed + v_rows;
  UPDATE pgbox.expunged AS e
     SET content_id = NULL
   WHERE e.mailbox_id = p_mailbox AND e.content_id IS NOT NULL
     AND NOT EXISTS (SELECT 1 FROM pgbox.content AS c WHERE c.content_id = e.content_id);
  GET DIAGNOSTICS v_rows = ROW_COUNT;
  v_changed := v_changed + v_rows;
  -- Nodes have dropped an expunged UID for good, so a message that is there
  -- with one gets another.
  FOR v_message IN
    SELECT g.uid, row_number() OVER (ORDER BY g.uid) - 1 + (SELECT c.uid_next FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = p_mailbox) AS new_uid
      FROM pgbox.message AS g
      JOIN pgbox.expunged AS e ON e.mailbox_id = g.mailbox_id AND e.uid = g.uid
     WHERE g.mailbox_id = p_mailbox
     ORDER BY g.uid
  LOOP
    INSERT INTO pgbox.message (mailbox_id, uid, content_id, guid, received_at, saved_at, pop3_uidl, pop3_order)
    SELECT g.mailbox_id, v_message.new_uid, g.content_id, g.guid, g.received_at, g.saved_at, g.pop3_uidl, g.pop3_order
      FROM pgbox.message AS g WHERE g.mailbox_id = p_mailbox AND g.uid = v_message.uid;
    INSERT INTO pgbox.message_state (mailbox_id, uid, modseq, flags, keywords)
    SELECT s.mailbox_id, v_message.new_uid, v_modseq, s.flags, s.keywords
      FROM pgbox.message_state AS s WHERE s.mailbox_id = p_mailbox AND s.uid = v_message.uid;
    DELETE FROM pgbox.message AS g WHERE g.mailbox_id = p_mailbox AND g.uid = v_message.uid;
    UPDATE pgbox.expunged AS e SET modseq = v_modseq WHERE e.mailbox_id = p_mailbox AND e.uid = v_message.uid;
    v_changed := v_changed + 1;
  END LOOP;
  IF v_changed = 0 THEN
    RETURN false;
  END IF;
  PERFORM pgbox.mailbox_recount(p_mailbox, v_anew);
  RETURN true;
END
$$;

ALTER FUNCTION pgbox.mailbox_repair(p_mailbox bigint) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.mailbox_repair(p_mailbox bigint) IS 'Mend what can be told from the rows of a mailbox: counters, states, keywords, modseqs, UIDs that were expunged. Returns whether anything was wrong';

CREATE FUNCTION pgbox.mailbox_update(p_account bigint, p_mailbox bigint, p_uidvalidity bigint, p_guid uuid, p_min_uid_next bigint, p_min_first_recent_uid bigint, p_min_modseq bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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

ALTER FUNCTION pgbox.mailbox_update(p_account bigint, p_mailbox bigint, p_uidvalidity bigint, p_guid uuid, p_min_uid_next bigint, p_min_first_recent_uid bigint, p_min_modseq bigint) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.mailbox_update(p_account bigint, p_mailbox bigint, p_uidvalidity bigint, p_guid uuid, p_min_uid_next bigint, p_min_first_recent_uid bigint, p_min_modseq bigint) IS 'Change identity (NULL: keep) and raise counters of a mailbox, for dsync and doveadm mailbox update';

CREATE FUNCTION pgbox.message_append(p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint, p_uids bigint[], p_guids uuid[], p_contents bigint[], p_source_mailboxes bigint[], p_source_uids bigint[], p_moves boolean[], p_received bigint[], p_saved bigint[], p_flags smallint[], p_keywords text[], p_pop3_uidls text[], p_pop3_orders bigint[]) RETURNS TABLE(prev_modseq bigint, modseq bigint, uids bigint[], differ boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
DECLARE
  v_counter pgbox.mailbox_counter;
  v_source record;
  v_count integer := cardinality(p_uids);
  v_found bigint;
  v_uid_next bigint;
  v_uids bigint[];
  v_contents bigint[];
  v_guids uuid[];
  v_received bigint[];
  v_flags smallint[];
  v_keywords text[];
  v_guid_source CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
  v_unseen bigint;
  v_virtual_size bigint;
BEGIN
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

  v_contents := p_contents;
  v_guids := p_guids;
  v_received := p_received;
  v_flags := p_flags;
  v_keywords := p_keywords;
  differ := false;
  IF EXISTS (SELECT 1 FROM unnest(p_contents) AS u (id) WHERE u.id IS NULL) THEN
    -- not PB002, which speaks of the mailbox that messages are added to
    IF EXISTS (SELECT 1 FROM pgbox.mailbox AS m
                WHERE m.mailbox_id = ANY (p_source_mailboxes) AND m.deleted_at IS NOT NULL) THEN
      RAISE EXCEPTION 'a message to be copied is gone' USING ERRCODE = 'PB004';
    END IF;
    -- A purge locks contents of messages that are gone, and may want bodies
    -- of somebody who waits for our counters: don't wait for it.
    PERFORM 1
      FROM unnest(p_contents, p_source_mailboxes, p_source_uids) AS u (content_id, mailbox_id, uid)
      JOIN pgbox.message AS g ON g.mailbox_id = u.mailbox_id AND g.uid = u.uid
      JOIN pgbox.content AS c ON c.content_id = g.content_id
     WHERE u.content_id IS NULL
       FOR KEY SHARE OF c SKIP LOCKED;
    GET DIAGNOSTICS v_found = ROW_COUNT;
    IF v_found <> (SELECT count(*) FROM unnest(p_contents) AS u (id) WHERE u.id IS NULL) THEN
      RAISE EXCEPTION 'a message to be copied is gone' USING ERRCODE = 'PB004';
    END IF;
    SELECT array_agg(COALESCE(u.content_id, g.content_id) ORDER BY u.ord),
           array_agg(CASE WHEN u.guid = v_guid_source THEN g.guid ELSE u.guid END ORDER BY u.ord),
           array_agg(CASE WHEN u.received = -1 THEN extract(epoch FROM g.received_at)::bigint ELSE u.received END ORDER BY u.ord),
           array_agg(CASE WHEN u.flags & 256 <> 0 THEN s.flags ELSE u.flags END ORDER BY u.ord),
           array_agg(CASE WHEN u.flags & 256 <> 0 THEN COALESCE(k.names, '') ELSE u.keywords END ORDER BY u.ord),
           bool_or(u.flags & 256 <> 0 AND (u.flags & 255 <> s.flags OR COALESCE(b.sorted, '') <> COALESCE(k.sorted, ''))),
           count(COALESCE(u.content_id, g.content_id))
      INTO v_contents, v_guids, v_received, v_flags, v_keywords, differ, v_found
      FROM unnest(p_contents, p_source_mailboxes, p_source_uids, p_guids, p_received, p_flags, p_keywords)
           WITH ORDINALITY AS u (content_id, mailbox_id, uid, guid, received, flags, keywords, ord)
      LEFT JOIN pgbox.message AS g ON g.mailbox_id = u.mailbox_id AND g.uid = u.uid
      LEFT JOIN pgbox.message_state AS s ON s.mailbox_id = u.mailbox_id AND s.uid = u.uid
      LEFT JOIN LATERAL (SELECT string_agg(w.name, ' ') AS names, string_agg(lower(w.name), ' ' ORDER BY lower(w.name)) AS sorted
                           FROM pgbox.mailbox_keyword AS w
                          WHERE w.mailbox_id = s.mailbox_id AND w.number = ANY (s.keywords)) AS k ON u.flags & 256 <> 0
      LEFT JOIN LATERAL (SELECT string_agg(lower(w.name COLLATE "C"), ' ' ORDER BY lower(w.name COLLATE "C")) AS sorted
                           FROM string_to_array(u.keywords, ' ') AS a (names)
                          CROSS JOIN unnest(a.names) AS w (name)) AS b ON u.flags & 256 <> 0;
    IF v_found <> v_count THEN
      RAISE EXCEPTION 'a message to be copied is gone' USING ERRCODE = 'PB004';
    END IF;
  END IF;

  INSERT INTO pgbox.message (mailbox_id, uid, content_id, guid, received_at, saved_at, pop3_uidl, pop3_order)
  SELECT p_mailbox, u.uid, u.content_id, u.guid, to_timestamp(u.received), to_timestamp(u.saved), u.pop3_uidl, u.pop3_order
    FROM unnest(v_uids, v_contents, v_guids, v_received, p_saved, p_pop3_uidls, p_pop3_orders)
         AS u (uid, content_id, guid, received, saved, pop3_uidl, pop3_order);
  IF '' = ALL (v_keywords) THEN
    INSERT INTO pgbox.message_state (mailbox_id, uid, modseq, flags)
    SELECT p_mailbox, u.uid, modseq, u.flags
      FROM unnest(v_uids, v_flags) AS u (uid, flags);
  ELSE
    WITH named AS MATERIALIZED (
      SELECT d.keywords, pgbox.keyword_numbers(p_mailbox, array_remove(string_to_array(d.keywords, ' '), '')) AS numbers
        FROM (SELECT DISTINCT u.keywords FROM unnest(v_keywords) AS u (keywords)) AS d)
    INSERT INTO pgbox.message_state (mailbox_id, uid, modseq, flags, keywords)
    SELECT p_mailbox, u.uid, modseq, u.flags, n.numbers
      FROM unnest(v_uids, v_flags, v_keywords) AS u (uid, flags, keywords)
      LEFT JOIN named AS n ON n.keywords = u.keywords;
  END IF;

  SELECT count(*) FILTER (WHERE u.flags & 8 = 0), sum(c.virtual_size)
    INTO v_unseen, v_virtual_size
    FROM unnest(v_contents, v_flags) AS u (content_id, flags)
    JOIN pgbox.content AS c ON c.content_id = u.content_id;
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

  -- fails if the token was claimed: then nobody believes in this transaction
  INSERT INTO pgbox.commit_token (token, mailbox_id, prev_modseq, modseq, uids)
  VALUES (p_token, p_mailbox, prev_modseq, modseq, v_uids);
  uids := v_uids;
  RETURN NEXT;
END
$$;

ALTER FUNCTION pgbox.message_append(p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint, p_uids bigint[], p_guids uuid[], p_contents bigint[], p_source_mailboxes bigint[], p_source_uids bigint[], p_moves boolean[], p_received bigint[], p_saved bigint[], p_flags smallint[], p_keywords text[], p_pop3_uidls text[], p_pop3_orders bigint[]) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.message_append(p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint, p_uids bigint[], p_guids uuid[], p_contents bigint[], p_source_mailboxes bigint[], p_source_uids bigint[], p_moves boolean[], p_received bigint[], p_saved bigint[], p_flags smallint[], p_keywords text[], p_pop3_uidls text[], p_pop3_orders bigint[]) IS 'Add messages to a mailbox in one transaction: saved, copied or moved. Returns the modseq before, the one taken, the UIDs given, and whether a copy has other flags or keywords than the caller believed';

CREATE FUNCTION pgbox.message_bury(p_mailbox bigint, p_uids bigint[], p_modseq bigint, p_reason text, p_moved_to bigint) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
DECLARE
  v_uids bigint[];
  v_messages integer;
  v_unseen integer;
  v_virtual_size bigint;
BEGIN
  WITH state AS (
    DELETE FROM pgbox.message_state AS s
     WHERE s.mailbox_id = p_mailbox AND s.uid = ANY (p_uids)
    RETURNING s.uid, s.flags, s.keywords),
  gone AS (
    DELETE FROM pgbox.message AS g
     WHERE g.mailbox_id = p_mailbox AND g.uid = ANY (p_uids)
    RETURNING g.uid, g.content_id, g.guid, g.received_at, g.saved_at),
  buried AS (
    INSERT INTO pgbox.expunged (mailbox_id, uid, modseq, content_id, guid, received_at, saved_at, flags, keywords, reason, moved_to)
    SELECT p_mailbox, g.uid, p_modseq, g.content_id, g.guid, g.received_at, g.saved_at, s.flags, s.keywords, p_reason, p_moved_to
      FROM gone AS g
      JOIN state AS s ON s.uid = g.uid
    RETURNING uid, content_id, flags)
  SELECT array_agg(b.uid ORDER BY b.uid), count(*), count(*) FILTER (WHERE b.flags & 8 = 0), COALESCE(sum(c.virtual_size), 0)
    INTO v_uids, v_messages, v_unseen, v_virtual_size
    FROM buried AS b
    JOIN pgbox.content AS c ON c.content_id = b.content_id;
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

ALTER FUNCTION pgbox.message_bury(p_mailbox bigint, p_uids bigint[], p_modseq bigint, p_reason text, p_moved_to bigint) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.message_bury(p_mailbox bigint, p_uids bigint[], p_modseq bigint, p_reason text, p_moved_to bigint) IS 'Turn messages of a locked mailbox into tombstones with this modseq; returns the UIDs of those that were there';

CREATE FUNCTION pgbox.message_expunge(p_mailbox bigint, p_uids bigint[], p_reason text, p_if_deleted bigint[] DEFAULT '{}'::bigint[]) RETURNS TABLE(prev_modseq bigint, modseq bigint, uids bigint[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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

ALTER FUNCTION pgbox.message_expunge(p_mailbox bigint, p_uids bigint[], p_reason text, p_if_deleted bigint[]) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.message_expunge(p_mailbox bigint, p_uids bigint[], p_reason text, p_if_deleted bigint[]) IS 'Expunge messages, and those of p_if_deleted that are \Deleted. Returns the modseq before, the one taken (0: there was nothing to expunge), and the UIDs that this call expunged';

CREATE FUNCTION pgbox.message_save(p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint, p_uid bigint, p_guid uuid, p_received bigint, p_saved bigint, p_flags smallint, p_keywords text, p_pop3_uidl text, p_pop3_order bigint, p_header bytea, p_header_complete boolean, p_digest bytea, p_body_size bigint, p_head bytea, p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea) RETURNS TABLE(prev_modseq bigint, modseq bigint, uids bigint[])
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
  SELECT a.prev_modseq, a.modseq, a.uids
    FROM pgbox.message_append(
           p_mailbox, p_token, p_reason, p_min_modseq,
           ARRAY[p_uid], ARRAY[p_guid],
           ARRAY[pgbox.content_put(p_header, p_header_complete, p_digest, p_body_size, p_head,
                                   p_size, p_virtual_size, p_envelope, p_bodystructure)],
           ARRAY[NULL::bigint], ARRAY[NULL::bigint], ARRAY[false],
           ARRAY[p_received], ARRAY[p_saved], ARRAY[p_flags], ARRAY[p_keywords],
           ARRAY[p_pop3_uidl], ARRAY[p_pop3_order]) AS a
$$;

ALTER FUNCTION pgbox.message_save(p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint, p_uid bigint, p_guid uuid, p_received bigint, p_saved bigint, p_flags smallint, p_keywords text, p_pop3_uidl text, p_pop3_order bigint, p_header bytea, p_header_complete boolean, p_digest bytea, p_body_size bigint, p_head bytea, p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.message_save(p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint, p_uid bigint, p_guid uuid, p_received bigint, p_saved bigint, p_flags smallint, p_keywords text, p_pop3_uidl text, p_pop3_order bigint, p_header bytea, p_header_complete boolean, p_digest bytea, p_body_size bigint, p_head bytea, p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea) IS 'Add one message whose body fits in its first chunk: the usual delivery, one round trip';

CREATE FUNCTION pgbox.message_store(p_mailbox bigint, p_unchangedsince bigint, p_uids bigint[], p_ops integer[], p_add smallint[], p_remove smallint[], p_keywords_add text[], p_keywords_remove text[], p_keywords_replace boolean[]) RETURNS TABLE(kind smallint, uid bigint, modseq bigint, flags smallint, keywords smallint[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
#variable_conflict use_column
DECLARE
  v_counter pgbox.mailbox_counter;
  v_modseq bigint;
  v_op record;
  v_add smallint[];
  v_remove smallint[];
  v_changed bigint := 0;
  v_rows bigint;
  v_unseen bigint := 0;
BEGIN
  v_counter := pgbox.mailbox_lock(p_mailbox);
  v_modseq := v_counter.highest_modseq + pgbox.modseq_step();
  IF p_unchangedsince IS NOT NULL THEN
    RETURN QUERY
    SELECT 2::smallint, s.uid, s.modseq, s.flags, s.keywords
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
  IF v_changed > 0 THEN
    UPDATE pgbox.mailbox_counter AS c
       SET highest_modseq = v_modseq,
           unseen = c.unseen + v_unseen
     WHERE c.mailbox_id = p_mailbox;
  ELSE
    v_modseq := 0;
  END IF;
  RETURN QUERY SELECT 0::smallint, v_counter.highest_modseq, v_modseq, NULL::smallint, NULL::smallint[];
END
$$;

ALTER FUNCTION pgbox.message_store(p_mailbox bigint, p_unchangedsince bigint, p_uids bigint[], p_ops integer[], p_add smallint[], p_remove smallint[], p_keywords_add text[], p_keywords_remove text[], p_keywords_replace boolean[]) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.message_store(p_mailbox bigint, p_unchangedsince bigint, p_uids bigint[], p_ops integer[], p_add smallint[], p_remove smallint[], p_keywords_add text[], p_keywords_remove text[], p_keywords_replace boolean[]) IS 'Change flags and keywords of messages, atomically with the check of UNCHANGEDSINCE (RFC 7162)';

CREATE FUNCTION pgbox.modseq_step() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$SELECT 65536::bigint$$;

ALTER FUNCTION pgbox.modseq_step() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.modseq_step() IS 'Distance of two modseqs: room for the modseqs that a node''s local log counts in between';

CREATE FUNCTION pgbox.password_hash(p_password text, p_iterations integer DEFAULT 4096) RETURNS text
    LANGUAGE plpgsql STRICT PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
DECLARE
  v_salt bytea := uuid_send(gen_random_uuid());
  v_key bit(512);
  v_inner bytea;
  v_outer bytea;
  v_block bytea;
  v_sum bit(256);
  v_salted bytea;
BEGIN
  IF p_iterations < 4096 THEN
    RAISE EXCEPTION 'at least 4096 iterations, please' USING ERRCODE = '22023';
  END IF;
  -- PBKDF2 (RFC 8018) with one block; the padded keys are the same each round
  v_block := convert_to(p_password, 'UTF8');
  v_key := ('x' || encode(CASE WHEN octet_length(v_block) > 64 THEN sha256(v_block) ELSE v_block END, 'hex'))::bit(512);
  v_inner := substring(varbit_send(v_key # ('x' || repeat('36', 64))::bit(512)) FROM 5);
  v_outer := substring(varbit_send(v_key # ('x' || repeat('5c', 64))::bit(512)) FROM 5);
  v_block := sha256(v_outer || sha256(v_inner || v_salt || '\x00000001'::bytea));
  v_sum := ('x' || encode(v_block, 'hex'))::bit(256);
  FOR i IN 2 .. p_iterations LOOP
    v_block := sha256(v_outer || sha256(v_inner || v_block));
    v_sum := v_sum # ('x' || encode(v_block, 'hex'))::bit(256);
  END LOOP;
  v_salted := substring(varbit_send(v_sum) FROM 5);
  RETURN '{SCRAM-SHA-256}' || p_iterations
         || ',' || encode(v_salt, 'base64')
         || ',' || encode(sha256(pgbox.hmac_sha256(v_salted, 'Client Key')), 'base64')
         || ',' || encode(pgbox.hmac_sha256(v_salted, 'Server Key'), 'base64');
END
$$;

ALTER FUNCTION pgbox.password_hash(p_password text, p_iterations integer) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.password_hash(p_password text, p_iterations integer) IS 'Salted hash of a password (RFC 5802/7677) in the form that Dovecot''s SCRAM-SHA-256 scheme verifies';

CREATE FUNCTION pgbox.purge(p_limit integer DEFAULT 1000) RETURNS TABLE(tombstones bigint, mailboxes bigint, contents bigint, bodies bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
DECLARE
  v_before timestamptz;
  v_mailbox bigint;
  v_contents bigint[];
  v_bodies bigint[];
  v_gone bigint[];
  v_count bigint;
BEGIN
  -- One at a time: two that each remove one of the last two references would
  -- both see the other's, and the body stay for ever.
  SELECT clock_timestamp() - s.retention INTO v_before FROM pgbox.store AS s FOR NO KEY UPDATE;
  tombstones := 0; mailboxes := 0; contents := 0; bodies := 0;
  v_contents := '{}';

  -- messages of mailboxes deleted too long ago, one mailbox at a time
  SELECT m.mailbox_id INTO v_mailbox
    FROM pgbox.mailbox AS m
   WHERE m.deleted_at < v_before
   ORDER BY m.deleted_at
   LIMIT 1 FOR UPDATE SKIP LOCKED;
  IF FOUND THEN
    WITH gone AS (
      DELETE FROM pgbox.message AS g
       WHERE g.mailbox_id = v_mailbox
         AND g.uid IN (SELECT i.uid FROM pgbox.message AS i WHERE i.mailbox_id = v_mailbox ORDER BY i.uid LIMIT p_limit)
      RETURNING g.content_id)
    SELECT count(*), array_agg(g.content_id) INTO v_count, v_gone FROM gone AS g;
    tombstones := tombstones + v_count;
    v_contents := v_contents || v_gone;
    WITH gone AS (
      DELETE FROM pgbox.expunged AS g
       WHERE g.mailbox_id = v_mailbox
         AND g.uid IN (SELECT i.uid FROM pgbox.expunged AS i WHERE i.mailbox_id = v_mailbox ORDER BY i.uid LIMIT p_limit)
      RETURNING g.content_id)
    SELECT count(*), array_agg(g.content_id) INTO v_count, v_gone FROM gone AS g;
    tombstones := tombstones + v_count;
    v_contents := v_contents || v_gone;
  END IF;

  -- Contents of tombstones past retention. The tombstone itself stays: it is
  -- small, and it is what tells a node that slept for a year.
  WITH old AS (
    SELECT e.mailbox_id, e.uid, e.content_id
      FROM pgbox.expunged AS e
     WHERE e.expunged_at < v_before AND e.content_id IS NOT NULL
     ORDER BY e.expunged_at
     LIMIT p_limit FOR UPDATE SKIP LOCKED),
  done AS (
    UPDATE pgbox.expunged AS e
       SET content_id = NULL
      FROM old AS o
     WHERE e.mailbox_id = o.mailbox_id AND e.uid = o.uid)
  SELECT count(*), array_agg(o.content_id) INTO v_count, v_gone FROM old AS o;
  tombstones := tombstones + v_count;
  v_contents := v_contents || v_gone;

  -- A delivery that refers to such a row holds it FOR KEY SHARE: wait for its
  -- COMMIT. Skipping the row would lose sight of it if that rolls back.
  SELECT array_agg(c.content_id) INTO v_gone
    FROM (SELECT c.content_id
            FROM pgbox.content AS c
           WHERE c.content_id = ANY (v_contents)
             AND NOT EXISTS (SELECT 1 FROM pgbox.message AS g WHERE g.content_id = c.content_id)
             AND NOT EXISTS (SELECT 1 FROM pgbox.expunged AS g WHERE g.content_id = c.content_id)
           ORDER BY c.content_id
             FOR UPDATE) AS c;
  -- again with the rows locked: what the first look missed is committed now
  WITH gone AS (
    DELETE FROM pgbox.content AS c
     WHERE c.content_id = ANY (v_gone)
       AND NOT EXISTS (SELECT 1 FROM pgbox.message AS g WHERE g.content_id = c.content_id)
       AND NOT EXISTS (SELECT 1 FROM pgbox.expunged AS g WHERE g.content_id = c.content_id)
    RETURNING c.body_id)
  SELECT count(*), array_agg(DISTINCT g.body_id) FILTER (WHERE g.body_id IS NOT NULL)
    INTO contents, v_bodies FROM gone AS g;

  SELECT array_agg(b.body_id) INTO v_gone
    FROM (SELECT b.body_id
            FROM pgbox.body AS b
           WHERE b.body_id = ANY (v_bodies)
             AND NOT EXISTS (SELECT 1 FROM pgbox.content AS c WHERE c.body_id = b.body_id)
           -- the order that an uploader can keep, who doesn't know body_ids
           ORDER BY b.digest
             FOR UPDATE) AS b;
  WITH gone AS (
    DELETE FROM pgbox.body AS b
     WHERE b.body_id = ANY (v_gone)
       AND NOT EXISTS (SELECT 1 FROM pgbox.content AS c WHERE c.body_id = b.body_id)
    RETURNING 1)
  SELECT count(*) INTO bodies FROM gone;

  -- The emptied mailbox goes with its counters, and those are locked last: a
  -- delivery that comes too late waits for them and may hold a body. Don't wait
  -- for whoever is just finding out that the mailbox is gone: there will be
  -- another purge.
  PERFORM 1
    FROM pgbox.mailbox_counter AS c
   WHERE c.mailbox_id = v_mailbox
     AND NOT EXISTS (SELECT 1 FROM pgbox.message AS g WHERE g.mailbox_id = v_mailbox)
     AND NOT EXISTS (SELECT 1 FROM pgbox.expunged AS g WHERE g.mailbox_id = v_mailbox)
     FOR UPDATE SKIP LOCKED;
  IF FOUND THEN
    DELETE FROM pgbox.mailbox AS m WHERE m.mailbox_id = v_mailbox;
    mailboxes := 1;
  END IF;

  DELETE FROM pgbox.commit_token AS t
   WHERE t.token IN (SELECT o.token FROM pgbox.commit_token AS o
                      WHERE o.created_at < clock_timestamp() - '1 day'::interval
                      LIMIT p_limit);
  RETURN NEXT;
END
$$;

ALTER FUNCTION pgbox.purge(p_limit integer) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.purge(p_limit integer) IS 'Remove what is past retention and used by nobody, at most p_limit of each kind; call again until it returns zeros. tombstones counts messages of deleted mailboxes too';

CREATE FUNCTION pgbox.recent_claim(p_mailbox bigint, p_uid_next bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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

ALTER FUNCTION pgbox.recent_claim(p_mailbox bigint, p_uid_next bigint) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.recent_claim(p_mailbox bigint, p_uid_next bigint) IS 'Claim \Recent of all UIDs below the given one for a session. Returns the first UID that is the session''s';

CREATE FUNCTION pgbox.rule_mailbox_delete() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  IF OLD.deleted_at IS NOT NULL THEN
    -- it goes with the purge
    RETURN NULL;
  END IF;
  PERFORM 1 FROM pgbox.account AS a WHERE a.account_id = OLD.account_id FOR NO KEY UPDATE;
  IF OLD.guid IS NULL THEN
    RETURN OLD;
  END IF;
  PERFORM 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = OLD.mailbox_id FOR NO KEY UPDATE;
  UPDATE pgbox.mailbox AS m SET deleted_at = statement_timestamp() WHERE m.mailbox_id = OLD.mailbox_id;
  RETURN NULL;
END
$$;

ALTER FUNCTION pgbox.rule_mailbox_delete() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.rule_mailbox_delete() IS 'Trigger: DELETE of a mailbox sets deleted_at instead, the rows stay until they are purged; a node goes';

CREATE FUNCTION pgbox.rule_mailbox_deleted() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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

ALTER FUNCTION pgbox.rule_mailbox_deleted() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.rule_mailbox_deleted() IS 'Trigger: count the change of the tree after DELETE; INBOX and nodes with children are made anew';

CREATE FUNCTION pgbox.rule_mailbox_update() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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
    RETURN NEW;
  END IF;
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
  IF NEW.name <> OLD.name AND NOT pgbox.mailbox_name_usable(NEW.name) THEN
    RAISE EXCEPTION '"%" can''t be the name of a mailbox', NEW.name
      USING ERRCODE = 'PB008', HINT = 'Levels are separated by single slashes; INBOX is written in capitals.';
  END IF;
  RETURN NEW;
END
$$;

ALTER FUNCTION pgbox.rule_mailbox_update() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.rule_mailbox_update() IS 'Trigger: a mailbox is renamed, deleted or restored: lock the account, and the mailbox''s counters, and check the name';

CREATE FUNCTION pgbox.rule_mailbox_updated() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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
  RETURN NULL;
EXCEPTION
  WHEN unique_violation THEN
    RAISE EXCEPTION 'a mailbox below the new name exists already' USING ERRCODE = 'PB003';
  WHEN check_violation THEN
    RAISE EXCEPTION 'the name of a mailbox would be too long' USING ERRCODE = 'PB008';
END
$$;

ALTER FUNCTION pgbox.rule_mailbox_updated() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.rule_mailbox_updated() IS 'Trigger: count the change of the tree; mailboxes below a renamed one follow; INBOX and nodes above are made where they are missing; counters of a restored mailbox are counted anew';

CREATE FUNCTION pgbox.rule_message_delete() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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
          COALESCE(v_flags, 0), v_keywords,
          'SQL by ' || session_user || CASE current_setting('role') WHEN 'none' THEN '' ELSE ' as ' || current_setting('role') END);
  RETURN OLD;
END
$$;

ALTER FUNCTION pgbox.rule_message_delete() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.rule_message_delete() IS 'Trigger: a message is deleted: lock the mailbox, leave a tombstone';

CREATE FUNCTION pgbox.rule_message_deleted() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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

ALTER FUNCTION pgbox.rule_message_deleted() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.rule_message_deleted() IS 'Trigger: bring counters up to date after messages were deleted';

CREATE FUNCTION pgbox.rule_message_insert() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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

ALTER FUNCTION pgbox.rule_message_insert() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.rule_message_insert() IS 'Trigger: a message is added: lock the mailbox, give it the next UID';

CREATE FUNCTION pgbox.rule_message_inserted() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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
  RETURN NULL;
END
$$;

ALTER FUNCTION pgbox.rule_message_inserted() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.rule_message_inserted() IS 'Trigger: give added messages their state, without flags, and bring counters up to date';

CREATE FUNCTION pgbox.rule_refuse() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  RAISE EXCEPTION '%', TG_ARGV[0]
    USING ERRCODE = 'PB010', HINT = TG_ARGV[1], TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
END
$$;

ALTER FUNCTION pgbox.rule_refuse() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.rule_refuse() IS 'Trigger: this is not to be done by hand; its arguments say what, and what to do instead';

CREATE FUNCTION pgbox.rule_state_update() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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

ALTER FUNCTION pgbox.rule_state_update() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.rule_state_update() IS 'Trigger: flags or keywords change: lock the mailbox, give the row its modseq';

CREATE FUNCTION pgbox.rule_state_updated() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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

ALTER FUNCTION pgbox.rule_state_updated() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.rule_state_updated() IS 'Trigger: bring counters up to date after flags or keywords have changed';

CREATE FUNCTION pgbox.rule_subscription() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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

ALTER FUNCTION pgbox.rule_subscription() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.rule_subscription() IS 'Trigger: a subscription changes: lock the account';

CREATE FUNCTION pgbox.rule_subscription_deleted() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  PERFORM pgbox.account_lock(d.account_id) FROM (SELECT o.account_id FROM old_rows AS o GROUP BY 1 ORDER BY 1) AS d;
  RETURN NULL;
END
$$;

ALTER FUNCTION pgbox.rule_subscription_deleted() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.rule_subscription_deleted() IS 'Trigger: count a change of the subscriptions';

CREATE FUNCTION pgbox.rule_subscription_inserted() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  PERFORM pgbox.account_lock(d.account_id) FROM (SELECT n.account_id FROM new_rows AS n GROUP BY 1 ORDER BY 1) AS d;
  RETURN NULL;
END
$$;

ALTER FUNCTION pgbox.rule_subscription_inserted() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.rule_subscription_inserted() IS 'Trigger: count a change of the subscriptions';

CREATE FUNCTION pgbox.rule_subscription_updated() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  PERFORM pgbox.account_lock(d.account_id) FROM (SELECT n.account_id FROM (TABLE new_rows EXCEPT TABLE old_rows) AS n GROUP BY 1 ORDER BY 1) AS d;
  RETURN NULL;
END
$$;

ALTER FUNCTION pgbox.rule_subscription_updated() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.rule_subscription_updated() IS 'Trigger: count a change of the subscriptions';

CREATE FUNCTION pgbox.schema_check(p_oldest integer, p_newest integer) RETURNS SETOF void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
  v_version integer;
BEGIN
  SELECT max(v.version) INTO v_version FROM pgbox.schema_version AS v;
  IF v_version < p_oldest THEN
    RAISE EXCEPTION 'the schema is at version %, this pgbox needs version %', v_version, p_oldest
      USING ERRCODE = 'PB009', HINT = 'Run pgbox-schema upgrade.';
  ELSIF v_version > p_newest THEN
    RAISE EXCEPTION 'the schema is at version %, newer than this pgbox knows: upgrade pgbox on this node', v_version
      USING ERRCODE = 'PB009';
  END IF;
END
$$;

ALTER FUNCTION pgbox.schema_check(p_oldest integer, p_newest integer) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.schema_check(p_oldest integer, p_newest integer) IS 'Fails unless the schema''s version is one of these; no rows';

CREATE FUNCTION pgbox.signal_account() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  PERFORM pg_notify('pgbox', '0 0 ' || NEW.name);
  RETURN NULL;
END
$$;

ALTER FUNCTION pgbox.signal_account() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.signal_account() IS 'Trigger: tell the nodes that an account''s tree or its subscriptions have changed';

CREATE FUNCTION pgbox.signal_counter() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  PERFORM pg_notify('pgbox', NEW.mailbox_id || ' ' || NEW.highest_modseq || ' ' || a.name)
     FROM pgbox.mailbox AS m
     JOIN pgbox.account AS a ON a.account_id = m.account_id
    WHERE m.mailbox_id = NEW.mailbox_id;
  RETURN NULL;
END
$$;

ALTER FUNCTION pgbox.signal_counter() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.signal_counter() IS 'Trigger: tell the nodes that messages of a mailbox have changed';

CREATE FUNCTION pgbox.signal_mailbox() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  PERFORM pg_notify('pgbox', NEW.mailbox_id || ' 0 ' || a.name)
     FROM pgbox.account AS a
    WHERE a.account_id = NEW.account_id;
  RETURN NULL;
END
$$;

ALTER FUNCTION pgbox.signal_mailbox() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.signal_mailbox() IS 'Trigger: tell the nodes that a mailbox was deleted or became another one';

CREATE FUNCTION pgbox.signal_store() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
BEGIN
  PERFORM pg_notify('pgbox', '0 0 ');
  RETURN NULL;
END
$$;

ALTER FUNCTION pgbox.signal_store() OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.signal_store() IS 'Trigger: tell the nodes that the store has a new epoch';

CREATE FUNCTION pgbox.subscription_set(p_account bigint, p_name text, p_subscribed boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
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

ALTER FUNCTION pgbox.subscription_set(p_account bigint, p_name text, p_subscribed boolean) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.subscription_set(p_account bigint, p_name text, p_subscribed boolean) IS 'Subscribe or unsubscribe a name; returns whether that changed anything';

CREATE FUNCTION pgbox.tombstone_prune(p_before timestamp with time zone, p_limit integer DEFAULT 1000) RETURNS TABLE(tombstones bigint, mailboxes bigint, busy bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
DECLARE
  v_mailboxes bigint[];
  v_uids bigint[];
  v_locked bigint[];
BEGIN
  -- the oldest first; those of deleted mailboxes go with them (purge)
  SELECT array_agg(o.mailbox_id), array_agg(o.uid) INTO v_mailboxes, v_uids
    FROM (SELECT e.mailbox_id, e.uid
            FROM pgbox.expunged AS e
            JOIN pgbox.mailbox AS m ON m.mailbox_id = e.mailbox_id
           WHERE e.expunged_at < p_before AND e.content_id IS NULL AND m.deleted_at IS NULL
           ORDER BY e.expunged_at
           LIMIT p_limit) AS o;
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
  RETURN NEXT;
END
$$;

ALTER FUNCTION pgbox.tombstone_prune(p_before timestamp with time zone, p_limit integer) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.tombstone_prune(p_before timestamp with time zone, p_limit integer) IS 'Remove tombstones of messages expunged before a time, at most p_limit, if their content was purged already. Nodes that slept longer compare all messages. Call again until tombstones and busy are 0; busy: mailboxes in use, left for another call';

CREATE FUNCTION pgbox.uidvalidity_next(p_account bigint) RETURNS bigint
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET vacuum_multixact_freeze_table_age TO '1885823608'
    AS $$
  UPDATE pgbox.account AS a
     SET last_uidvalidity = GREATEST(a.last_uidvalidity + 1, extract(epoch FROM clock_timestamp())::bigint)
   WHERE a.account_id = p_account
  RETURNING a.last_uidvalidity
$$;

ALTER FUNCTION pgbox.uidvalidity_next(p_account bigint) OWNER TO pgbox_owner;

COMMENT ON FUNCTION pgbox.uidvalidity_next(p_account bigint) IS 'A UIDVALIDITY that no mailbox of the account ever had';

CREATE TABLE pgbox.account (
    account_id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    password_hash text,
    enabled boolean DEFAULT true NOT NULL,
    last_uidvalidity bigint DEFAULT 0 NOT NULL,
    list_modseq bigint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT account_name_check CHECK (((name <> ''::text) AND (length(name) <= 255)))
);

ALTER TABLE pgbox.account OWNER TO pgbox_owner;

COMMENT ON TABLE pgbox.account IS 'Owners of mailboxes; the name is the Dovecot username';

COMMENT ON COLUMN pgbox.account.account_id IS 'Identity';

COMMENT ON COLUMN pgbox.account.name IS 'Dovecot username, compared byte for byte';

COMMENT ON COLUMN pgbox.account.password_hash IS 'Password in a scheme that Dovecot verifies, with its {SCHEME} prefix; NULL: no login by password';

COMMENT ON COLUMN pgbox.account.enabled IS 'False: no login and no delivery, the mail stays';

COMMENT ON COLUMN pgbox.account.last_uidvalidity IS 'Highest UIDVALIDITY given to a mailbox of this account; never given twice';

COMMENT ON COLUMN pgbox.account.list_modseq IS 'Change counter of the mailbox tree and the subscriptions';

COMMENT ON COLUMN pgbox.account.created_at IS 'When the account was made';

ALTER TABLE pgbox.account ALTER COLUMN account_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgbox.account_account_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE pgbox.body (
    body_id bigint NOT NULL,
    digest bytea NOT NULL,
    size bigint NOT NULL,
    head bytea NOT NULL,
    CONSTRAINT body_digest_check CHECK ((octet_length(digest) = 32)),
    CONSTRAINT body_size_check CHECK (((size > 0) AND (octet_length(head) = LEAST(size, (131072)::bigint))))
);
ALTER TABLE ONLY pgbox.body ALTER COLUMN head SET COMPRESSION lz4;

ALTER TABLE pgbox.body OWNER TO pgbox_owner;

COMMENT ON TABLE pgbox.body IS 'Bodies of messages: immutable, each stored once whoever received it';

COMMENT ON COLUMN pgbox.body.body_id IS 'Identity';

COMMENT ON COLUMN pgbox.body.digest IS 'SHA-256 of the body''s bytes';

COMMENT ON COLUMN pgbox.body.size IS 'Size in bytes';

COMMENT ON COLUMN pgbox.body.head IS 'The first 131072 bytes; the rest is in body_chunk';

ALTER TABLE pgbox.body ALTER COLUMN body_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgbox.body_body_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE pgbox.body_chunk (
    body_id bigint NOT NULL,
    number integer NOT NULL,
    data bytea NOT NULL,
    CONSTRAINT body_chunk_data_check CHECK (((octet_length(data) >= 1) AND (octet_length(data) <= 131072))),
    CONSTRAINT body_chunk_number_check CHECK ((number > 0))
);
ALTER TABLE ONLY pgbox.body_chunk ALTER COLUMN data SET COMPRESSION lz4;

ALTER TABLE pgbox.body_chunk OWNER TO pgbox_owner;

COMMENT ON TABLE pgbox.body_chunk IS 'Bytes of a body from 131072 on';

COMMENT ON COLUMN pgbox.body_chunk.body_id IS 'The body';

COMMENT ON COLUMN pgbox.body_chunk.number IS 'Position: the chunk starts at byte number * 131072 of the body';

COMMENT ON COLUMN pgbox.body_chunk.data IS '131072 bytes, fewer in the last chunk';

CREATE TABLE pgbox.commit_token (
    token uuid NOT NULL,
    mailbox_id bigint,
    prev_modseq bigint,
    modseq bigint,
    uids bigint[],
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT commit_token_modseq_check CHECK (((modseq IS NULL) = (mailbox_id IS NULL)))
);

ALTER TABLE pgbox.commit_token OWNER TO pgbox_owner;

COMMENT ON TABLE pgbox.commit_token IS 'Settles commits whose answer was lost: a writer leaves its token with the result, or finds it claimed';

COMMENT ON COLUMN pgbox.commit_token.token IS 'Made by the writer';

COMMENT ON COLUMN pgbox.commit_token.mailbox_id IS 'Mailbox that messages were added to; NULL: claimed, the transaction will never commit';

COMMENT ON COLUMN pgbox.commit_token.prev_modseq IS 'The mailbox''s modseq before it';

COMMENT ON COLUMN pgbox.commit_token.modseq IS 'The modseq that the transaction took';

COMMENT ON COLUMN pgbox.commit_token.uids IS 'The UIDs that it gave';

COMMENT ON COLUMN pgbox.commit_token.created_at IS 'When; tokens are purged after a day';

CREATE TABLE pgbox.content (
    content_id bigint NOT NULL,
    body_id bigint,
    header_complete boolean NOT NULL,
    size bigint NOT NULL,
    virtual_size bigint NOT NULL,
    header bytea NOT NULL,
    envelope bytea,
    bodystructure bytea,
    CONSTRAINT content_size_check CHECK (((size >= octet_length(header)) AND (virtual_size >= 0)))
)
WITH (toast_tuple_target='4080');
ALTER TABLE ONLY pgbox.content ALTER COLUMN header SET STORAGE MAIN;
ALTER TABLE ONLY pgbox.content ALTER COLUMN header SET COMPRESSION lz4;
ALTER TABLE ONLY pgbox.content ALTER COLUMN envelope SET COMPRESSION lz4;
ALTER TABLE ONLY pgbox.content ALTER COLUMN bodystructure SET COMPRESSION lz4;

ALTER TABLE pgbox.content OWNER TO pgbox_owner;

COMMENT ON TABLE pgbox.content IS 'What a message consists of: immutable, shared by its copies. The bytes are header followed by the body';

COMMENT ON COLUMN pgbox.content.content_id IS 'Identity';

COMMENT ON COLUMN pgbox.content.body_id IS 'The body; NULL if it is empty';

COMMENT ON COLUMN pgbox.content.header_complete IS 'True: header holds the whole RFC 5322 header with the empty line and nothing else. False: it is empty and all bytes are in the body (very large header, or the stored form is compressed or encrypted)';

COMMENT ON COLUMN pgbox.content.size IS 'Bytes of the message as its reader sees it';

COMMENT ON COLUMN pgbox.content.virtual_size IS 'The same with every line end counted as CRLF (RFC822.SIZE)';

COMMENT ON COLUMN pgbox.content.header IS 'Header bytes';

COMMENT ON COLUMN pgbox.content.envelope IS 'IMAP ENVELOPE, without the outer parentheses; NULL: not computed';

COMMENT ON COLUMN pgbox.content.bodystructure IS 'IMAP BODYSTRUCTURE, without the outer parentheses; NULL: not computed';

ALTER TABLE pgbox.content ALTER COLUMN content_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgbox.content_content_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW pgbox.dovecot_passdb AS
 SELECT a.name AS username,
    a.password_hash AS password
   FROM pgbox.account a
  WHERE (a.enabled AND (a.password_hash IS NOT NULL));

ALTER TABLE pgbox.dovecot_passdb OWNER TO pgbox_owner;

COMMENT ON VIEW pgbox.dovecot_passdb IS 'What Dovecot''s passdb sql reads';

COMMENT ON COLUMN pgbox.dovecot_passdb.username IS 'Dovecot username';

COMMENT ON COLUMN pgbox.dovecot_passdb.password IS 'Password hash with its scheme';

CREATE VIEW pgbox.dovecot_userdb AS
 SELECT a.name AS username
   FROM pgbox.account a
  WHERE a.enabled;

ALTER TABLE pgbox.dovecot_userdb OWNER TO pgbox_owner;

COMMENT ON VIEW pgbox.dovecot_userdb IS 'What Dovecot''s userdb sql reads';

COMMENT ON COLUMN pgbox.dovecot_userdb.username IS 'Dovecot username';

CREATE TABLE pgbox.expunged (
    mailbox_id bigint NOT NULL,
    uid bigint NOT NULL,
    modseq bigint NOT NULL,
    content_id bigint,
    guid uuid NOT NULL,
    received_at timestamp with time zone NOT NULL,
    saved_at timestamp with time zone NOT NULL,
    flags smallint NOT NULL,
    keywords smallint[],
    expunged_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    reason text NOT NULL,
    moved_to bigint
);

ALTER TABLE pgbox.expunged OWNER TO pgbox_owner;

COMMENT ON TABLE pgbox.expunged IS 'Tombstones: what tells other nodes that a message is gone, and brings it back within the retention period';

COMMENT ON COLUMN pgbox.expunged.mailbox_id IS 'The mailbox it was in';

COMMENT ON COLUMN pgbox.expunged.uid IS 'The UID it had';

COMMENT ON COLUMN pgbox.expunged.modseq IS 'Modseq of the expunge';

COMMENT ON COLUMN pgbox.expunged.content_id IS 'Its bytes while it can be restored';

COMMENT ON COLUMN pgbox.expunged.guid IS 'The GUID it had';

COMMENT ON COLUMN pgbox.expunged.received_at IS 'IMAP INTERNALDATE';

COMMENT ON COLUMN pgbox.expunged.saved_at IS 'When it had come into the mailbox';

COMMENT ON COLUMN pgbox.expunged.flags IS 'The flags it had';

COMMENT ON COLUMN pgbox.expunged.keywords IS 'The keywords it had';

COMMENT ON COLUMN pgbox.expunged.expunged_at IS 'When it was expunged';

COMMENT ON COLUMN pgbox.expunged.reason IS 'What expunged it: service and client as the writer gives them';

COMMENT ON COLUMN pgbox.expunged.moved_to IS 'Mailbox that it was moved to, if it was moved';

CREATE TABLE pgbox.mailbox (
    mailbox_id bigint NOT NULL,
    account_id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    guid uuid,
    uidvalidity bigint,
    special_use text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT mailbox_name_check CHECK (((name <> ''::text) AND (octet_length(name) <= 4096))),
    CONSTRAINT mailbox_selectable_check CHECK (((guid IS NULL) = (uidvalidity IS NULL))),
    CONSTRAINT mailbox_uidvalidity_check CHECK (((uidvalidity >= 1) AND (uidvalidity <= '4294967295'::bigint)))
);

ALTER TABLE pgbox.mailbox OWNER TO pgbox_owner;

COMMENT ON TABLE pgbox.mailbox IS 'Mailboxes, and nodes of the tree that can''t be selected';

COMMENT ON COLUMN pgbox.mailbox.mailbox_id IS 'Identity; lock order of several mailboxes';

COMMENT ON COLUMN pgbox.mailbox.account_id IS 'Owner';

COMMENT ON COLUMN pgbox.mailbox.name IS 'Full name in UTF-8, levels separated by /';

COMMENT ON COLUMN pgbox.mailbox.guid IS 'Mailbox GUID; NULL: a node that only holds children (\Noselect)';

COMMENT ON COLUMN pgbox.mailbox.uidvalidity IS 'IMAP UIDVALIDITY (RFC 3501 2.3.1.1); NULL with guid';

COMMENT ON COLUMN pgbox.mailbox.special_use IS 'RFC 6154 attributes, separated by spaces, when set by the client or an administrator';

COMMENT ON COLUMN pgbox.mailbox.created_at IS 'When it was created';

COMMENT ON COLUMN pgbox.mailbox.deleted_at IS 'When it was deleted; its messages stay restorable until purged';

CREATE TABLE pgbox.mailbox_attribute (
    mailbox_id bigint NOT NULL,
    shared boolean NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    value bytea NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT mailbox_attribute_key_check CHECK (((key <> ''::text) AND (octet_length(key) <= 1024)))
);

ALTER TABLE pgbox.mailbox_attribute OWNER TO pgbox_owner;

COMMENT ON TABLE pgbox.mailbox_attribute IS 'IMAP METADATA (RFC 5464) and what Dovecot keeps as mailbox attributes; those of the server hang on INBOX';

COMMENT ON COLUMN pgbox.mailbox_attribute.mailbox_id IS 'The mailbox';

COMMENT ON COLUMN pgbox.mailbox_attribute.shared IS 'True: /shared, false: /private';

COMMENT ON COLUMN pgbox.mailbox_attribute.key IS 'Name of the attribute';

COMMENT ON COLUMN pgbox.mailbox_attribute.value IS 'Its value';

COMMENT ON COLUMN pgbox.mailbox_attribute.changed_at IS 'When it was set';

CREATE TABLE pgbox.mailbox_keyword (
    mailbox_id bigint NOT NULL,
    number smallint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT mailbox_keyword_name_check CHECK (((name <> ''::text) AND (octet_length(name) <= 1024) AND (name !~ '[[:space:]]'::text))),
    CONSTRAINT mailbox_keyword_number_check CHECK ((number > 0))
);

ALTER TABLE pgbox.mailbox_keyword OWNER TO pgbox_owner;

COMMENT ON TABLE pgbox.mailbox_keyword IS 'Names of the keywords used in a mailbox, numbered; numbers are never reused';

COMMENT ON COLUMN pgbox.mailbox_keyword.mailbox_id IS 'The mailbox';

COMMENT ON COLUMN pgbox.mailbox_keyword.number IS 'The number that message_state.keywords holds';

COMMENT ON COLUMN pgbox.mailbox_keyword.name IS 'IMAP keyword; compared without regard to ASCII case';

CREATE TABLE pgbox.message (
    mailbox_id bigint NOT NULL,
    uid bigint NOT NULL,
    content_id bigint NOT NULL,
    guid uuid NOT NULL,
    received_at timestamp with time zone NOT NULL,
    saved_at timestamp with time zone NOT NULL,
    pop3_uidl text,
    pop3_order bigint,
    CONSTRAINT message_uid_check CHECK (((uid >= 1) AND (uid <= '4294967295'::bigint)))
);

ALTER TABLE pgbox.message OWNER TO pgbox_owner;

COMMENT ON TABLE pgbox.message IS 'Messages in mailboxes: what never changes';

COMMENT ON COLUMN pgbox.message.mailbox_id IS 'The mailbox';

COMMENT ON COLUMN pgbox.message.uid IS 'IMAP UID';

COMMENT ON COLUMN pgbox.message.content_id IS 'Its bytes';

COMMENT ON COLUMN pgbox.message.guid IS 'Message GUID; copies have the same';

COMMENT ON COLUMN pgbox.message.received_at IS 'IMAP INTERNALDATE';

COMMENT ON COLUMN pgbox.message.saved_at IS 'When it came into this mailbox (RFC 8514 SAVEDATE)';

COMMENT ON COLUMN pgbox.message.pop3_uidl IS 'POP3 UIDL, if it was imported with one';

COMMENT ON COLUMN pgbox.message.pop3_order IS 'Position in POP3 listings, if it was imported with one';

CREATE TABLE pgbox.message_state (
    mailbox_id bigint NOT NULL,
    uid bigint NOT NULL,
    modseq bigint NOT NULL,
    flags smallint DEFAULT 0 NOT NULL,
    keywords smallint[],
    CONSTRAINT message_state_flags_check CHECK (((flags >= 0) AND (flags <= 31))),
    CONSTRAINT message_state_keywords_check CHECK ((cardinality(keywords) > 0))
);

ALTER TABLE pgbox.message_state OWNER TO pgbox_owner;

COMMENT ON TABLE pgbox.message_state IS 'Messages in mailboxes: what changes. Narrow, because it is rewritten often and read first by a cold node';

COMMENT ON COLUMN pgbox.message_state.mailbox_id IS 'The mailbox';

COMMENT ON COLUMN pgbox.message_state.uid IS 'IMAP UID';

COMMENT ON COLUMN pgbox.message_state.modseq IS 'Modseq of the message''s last change';

COMMENT ON COLUMN pgbox.message_state.flags IS 'Sum of 1 \Answered, 2 \Flagged, 4 \Deleted, 8 \Seen, 16 \Draft';

COMMENT ON COLUMN pgbox.message_state.keywords IS 'Numbers of mailbox_keyword, ascending; NULL: none';

CREATE TABLE pgbox.store (
    singleton boolean DEFAULT true NOT NULL,
    store_guid uuid DEFAULT gen_random_uuid() NOT NULL,
    epoch integer DEFAULT 1 NOT NULL,
    retention interval DEFAULT '14 days'::interval NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT store_epoch_check CHECK ((epoch > 0)),
    CONSTRAINT store_retention_check CHECK ((retention >= '00:00:00'::interval)),
    CONSTRAINT store_singleton_check CHECK (singleton)
);

ALTER TABLE pgbox.store OWNER TO pgbox_owner;

COMMENT ON TABLE pgbox.store IS 'The one row that describes this store';

COMMENT ON COLUMN pgbox.store.singleton IS 'Always true: there is one row';

COMMENT ON COLUMN pgbox.store.store_guid IS 'Identity of the store, kept by dumps and replicas';

COMMENT ON COLUMN pgbox.store.epoch IS 'Raised when commits may have been lost (restore, failover): caches of older epochs are rebuilt';

COMMENT ON COLUMN pgbox.store.retention IS 'How long expunged messages and deleted mailboxes stay restorable';

COMMENT ON COLUMN pgbox.store.created_at IS 'When the store was made';

CREATE TABLE pgbox.subscription (
    account_id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT subscription_name_check CHECK (((name <> ''::text) AND (octet_length(name) <= 4096)))
);

ALTER TABLE pgbox.subscription OWNER TO pgbox_owner;

COMMENT ON TABLE pgbox.subscription IS 'Subscribed names; they need not exist (RFC 3501 6.3.6)';

COMMENT ON COLUMN pgbox.subscription.account_id IS 'Who subscribed';

COMMENT ON COLUMN pgbox.subscription.name IS 'Full name in UTF-8, levels separated by /';

CREATE VIEW pgbox.invariant_violations AS
 WITH live AS (
         SELECT m.mailbox_id,
            m.account_id,
            m.name,
            m.guid
           FROM pgbox.mailbox m
          WHERE (m.deleted_at IS NULL)
        ), counted AS (
         SELECT g.mailbox_id,
            count(*) AS messages,
            count(*) FILTER (WHERE (((s.flags)::integer & 8) = 0)) AS unseen,
            sum(t.virtual_size) AS virtual_size
           FROM ((pgbox.message g
             JOIN pgbox.content t ON ((t.content_id = g.content_id)))
             LEFT JOIN pgbox.message_state s ON (((s.mailbox_id = g.mailbox_id) AND (s.uid = g.uid))))
          GROUP BY g.mailbox_id
        ), chunked AS (
         SELECT h.body_id,
            sum(octet_length(h.data)) AS bytes,
            count(*) AS chunks,
            max(h.number) AS last
           FROM pgbox.body_chunk h
          GROUP BY h.body_id
        ), remedy(kind, text) AS (
         VALUES ('mailbox'::text,'SELECT pgbox.mailbox_repair(%s)'::text), ('account'::text,'SELECT pgbox.account_repair(%s)'::text), ('lost'::text,'nothing refers to it: delete the row with triggers off, or restore what it belongs to from a backup'::text), ('backup'::text,'restore the missing rows from a backup'::text)
        ), found(rule, relation, ids, problem, kind, target) AS (
         SELECT 'counters equal rows'::text AS "?column?",
            'mailbox_counter'::text AS "?column?",
            jsonb_build_object('mailbox_id', c.mailbox_id) AS jsonb_build_object,
            format('mailbox %s: counters say %s messages, %s unseen, %s bytes; its rows say %s, %s, %s'::text, c.mailbox_id, c.messages, c.unseen, c.virtual_size, COALESCE(r_1.messages, (0)::bigint), COALESCE(r_1.unseen, (0)::bigint), COALESCE(r_1.virtual_size, (0)::numeric)) AS format,
            'mailbox'::text AS "?column?",
            c.mailbox_id
           FROM ((pgbox.mailbox_counter c
             JOIN live m ON ((m.mailbox_id = c.mailbox_id)))
             LEFT JOIN counted r_1 ON ((r_1.mailbox_id = c.mailbox_id)))
          WHERE (((c.messages IS DISTINCT FROM COALESCE(r_1.messages, (0)::bigint)) OR (c.unseen IS DISTINCT FROM COALESCE(r_1.unseen, (0)::bigint))) OR ((c.virtual_size)::numeric IS DISTINCT FROM COALESCE(r_1.virtual_size, (0)::numeric)))
        UNION ALL
         SELECT 'UIDNEXT is above all UIDs'::text,
            'mailbox_counter'::text,
            jsonb_build_object('mailbox_id', c.mailbox_id, 'uid', u.uid) AS jsonb_build_object,
            format('mailbox %s: UIDNEXT %s is not above UID %s'::text, c.mailbox_id, c.uid_next, u.uid) AS format,
            'mailbox'::text,
            c.mailbox_id
           FROM (pgbox.mailbox_counter c
             CROSS JOIN LATERAL ( SELECT GREATEST(( SELECT max(g.uid) AS max
                           FROM pgbox.message g
                          WHERE (g.mailbox_id = c.mailbox_id)), ( SELECT max(e.uid) AS max
                           FROM pgbox.expunged e
                          WHERE (e.mailbox_id = c.mailbox_id))) AS uid) u)
          WHERE (u.uid >= c.uid_next)
        UNION ALL
         SELECT 'no change is above highest_modseq'::text,
            'mailbox_counter'::text,
            jsonb_build_object('mailbox_id', c.mailbox_id) AS jsonb_build_object,
            format('mailbox %s: its modseq %s is below that of a change, %s'::text, c.mailbox_id, c.highest_modseq, u.modseq) AS format,
            'mailbox'::text,
            c.mailbox_id
           FROM (pgbox.mailbox_counter c
             CROSS JOIN LATERAL ( SELECT GREATEST(( SELECT max(s.modseq) AS max
                           FROM pgbox.message_state s
                          WHERE (s.mailbox_id = c.mailbox_id)), ( SELECT max(e.modseq) AS max
                           FROM pgbox.expunged e
                          WHERE (e.mailbox_id = c.mailbox_id))) AS modseq) u)
          WHERE (u.modseq > c.highest_modseq)
        UNION ALL
         SELECT 'modseqs are multiples of 65536'::text,
            'message_state'::text,
            jsonb_build_object('mailbox_id', s.mailbox_id, 'uid', s.uid) AS jsonb_build_object,
            format('message %s of mailbox %s has modseq %s'::text, s.uid, s.mailbox_id, s.modseq) AS format,
            'mailbox'::text,
            s.mailbox_id
           FROM pgbox.message_state s
          WHERE ((s.modseq <= 0) OR ((s.modseq % (65536)::bigint) <> 0))
        UNION ALL
         SELECT 'modseqs are multiples of 65536'::text,
            'expunged'::text,
            jsonb_build_object('mailbox_id', e.mailbox_id, 'uid', e.uid) AS jsonb_build_object,
            format('tombstone %s of mailbox %s has modseq %s'::text, e.uid, e.mailbox_id, e.modseq) AS format,
            'mailbox'::text,
            e.mailbox_id
           FROM pgbox.expunged e
          WHERE ((e.modseq <= 0) OR ((e.modseq % (65536)::bigint) <> 0))
        UNION ALL
         SELECT 'a message has a state'::text,
            'message'::text,
            jsonb_build_object('mailbox_id', g.mailbox_id, 'uid', g.uid) AS jsonb_build_object,
            format('message %s of mailbox %s has no state'::text, g.uid, g.mailbox_id) AS format,
            'mailbox'::text,
            g.mailbox_id
           FROM pgbox.message g
          WHERE (NOT (EXISTS ( SELECT 1
                   FROM pgbox.message_state s
                  WHERE ((s.mailbox_id = g.mailbox_id) AND (s.uid = g.uid)))))
        UNION ALL
         SELECT 'a state has a message'::text,
            'message_state'::text,
            jsonb_build_object('mailbox_id', s.mailbox_id, 'uid', s.uid) AS jsonb_build_object,
            format('state %s of mailbox %s has no message'::text, s.uid, s.mailbox_id) AS format,
            'mailbox'::text,
            s.mailbox_id
           FROM pgbox.message_state s
          WHERE (NOT (EXISTS ( SELECT 1
                   FROM pgbox.message g
                  WHERE ((g.mailbox_id = s.mailbox_id) AND (g.uid = s.uid)))))
        UNION ALL
         SELECT 'an expunged UID stays expunged'::text,
            'message'::text,
            jsonb_build_object('mailbox_id', g.mailbox_id, 'uid', g.uid) AS jsonb_build_object,
            format('message %s of mailbox %s is both there and expunged'::text, g.uid, g.mailbox_id) AS format,
            'mailbox'::text,
            g.mailbox_id
           FROM (pgbox.message g
             JOIN pgbox.expunged e ON (((e.mailbox_id = g.mailbox_id) AND (e.uid = g.uid))))
        UNION ALL
         SELECT 'a keyword has a name'::text,
            'message_state'::text,
            jsonb_build_object('mailbox_id', s.mailbox_id, 'uid', s.uid) AS jsonb_build_object,
            format('message %s of mailbox %s has a keyword without a name'::text, s.uid, s.mailbox_id) AS format,
            'mailbox'::text,
            s.mailbox_id
           FROM pgbox.message_state s
          WHERE ((s.keywords IS NOT NULL) AND (EXISTS ( SELECT 1
                   FROM unnest(s.keywords) k(number)
                  WHERE (NOT (EXISTS ( SELECT 1
                           FROM pgbox.mailbox_keyword n
                          WHERE ((n.mailbox_id = s.mailbox_id) AND (n.number = k.number))))))))
        UNION ALL
         SELECT 'keywords are in order'::text,
            'message_state'::text,
            jsonb_build_object('mailbox_id', s.mailbox_id, 'uid', s.uid) AS jsonb_build_object,
            format('message %s of mailbox %s has keywords out of order: %s'::text, s.uid, s.mailbox_id, s.keywords) AS format,
            'mailbox'::text,
            s.mailbox_id
           FROM pgbox.message_state s
          WHERE ((s.keywords IS NOT NULL) AND (s.keywords IS DISTINCT FROM ARRAY( SELECT DISTINCT k.number
                   FROM unnest(s.keywords) k(number)
                  ORDER BY k.number)))
        UNION ALL
         SELECT 'a mailbox has counters'::text,
            'mailbox'::text,
            jsonb_build_object('mailbox_id', m.mailbox_id) AS jsonb_build_object,
            format('mailbox %s of account %s has no counters'::text, m.mailbox_id, m.account_id) AS format,
            'mailbox'::text,
            m.mailbox_id
           FROM pgbox.mailbox m
          WHERE ((m.guid IS NOT NULL) AND (NOT (EXISTS ( SELECT 1
                   FROM pgbox.mailbox_counter c
                  WHERE (c.mailbox_id = m.mailbox_id)))))
        UNION ALL
         SELECT 'a node has no messages'::text,
            'mailbox'::text,
            jsonb_build_object('mailbox_id', m.mailbox_id) AS jsonb_build_object,
            format('node %s of account %s has counters or messages, and no GUID'::text, m.mailbox_id, m.account_id) AS format,
            'mailbox'::text,
            m.mailbox_id
           FROM pgbox.mailbox m
          WHERE ((m.guid IS NULL) AND ((EXISTS ( SELECT 1
                   FROM pgbox.mailbox_counter c
                  WHERE (c.mailbox_id = m.mailbox_id))) OR (EXISTS ( SELECT 1
                   FROM pgbox.message g
                  WHERE (g.mailbox_id = m.mailbox_id)))))
        UNION ALL
         SELECT 'an account has an INBOX'::text,
            'account'::text,
            jsonb_build_object('account_id', a.account_id) AS jsonb_build_object,
            format('account %s has no INBOX'::text, a.account_id) AS format,
            'account'::text,
            a.account_id
           FROM pgbox.account a
          WHERE (NOT (EXISTS ( SELECT 1
                   FROM live m
                  WHERE ((m.account_id = a.account_id) AND (m.name = 'INBOX'::text) AND (m.guid IS NOT NULL)))))
        UNION ALL
         SELECT 'a mailbox has its parents'::text,
            'mailbox'::text,
            jsonb_build_object('mailbox_id', m.mailbox_id) AS jsonb_build_object,
            format('mailbox %s of account %s, "%s", has no parent'::text, m.mailbox_id, m.account_id, m.name) AS format,
            'account'::text,
            m.account_id
           FROM live m
          WHERE ((m.name ~ '^[^/].*/'::text) AND (NOT (EXISTS ( SELECT 1
                   FROM live p
                  WHERE ((p.account_id = m.account_id) AND (p.name = regexp_replace(m.name, '/[^/]*$'::text, ''::text)))))))
        UNION ALL
         SELECT 'a node goes when it is deleted'::text,
            'mailbox'::text,
            jsonb_build_object('mailbox_id', m.mailbox_id) AS jsonb_build_object,
            format('node %s of account %s is marked as deleted'::text, m.mailbox_id, m.account_id) AS format,
            'account'::text,
            m.account_id
           FROM pgbox.mailbox m
          WHERE ((m.guid IS NULL) AND (m.deleted_at IS NOT NULL))
        UNION ALL
         SELECT 'UIDVALIDITY is given once'::text,
            'account'::text,
            jsonb_build_object('account_id', a.account_id, 'mailbox_id', m.mailbox_id) AS jsonb_build_object,
            format('mailbox %s: UIDVALIDITY %s is above the highest its account has given'::text, m.mailbox_id, m.uidvalidity) AS format,
            'account'::text,
            a.account_id
           FROM (pgbox.mailbox m
             JOIN pgbox.account a ON ((a.account_id = m.account_id)))
          WHERE ((m.uidvalidity > a.last_uidvalidity) AND (m.uidvalidity < '4278190080'::bigint))
        UNION ALL
         SELECT 'a body has all its bytes'::text,
            'body'::text,
            jsonb_build_object('body_id', b.body_id) AS jsonb_build_object,
            format('body %s has %s bytes in chunks, and should have %s'::text, b.body_id, COALESCE(k.bytes, (0)::bigint), (b.size - octet_length(b.head))) AS format,
            'backup'::text,
            NULL::bigint AS int8
           FROM (pgbox.body b
             LEFT JOIN chunked k ON ((k.body_id = b.body_id)))
          WHERE ((COALESCE(k.bytes, (0)::bigint) <> (b.size - octet_length(b.head))) OR (k.chunks <> k.last))
        UNION ALL
         SELECT 'header and body make up the size'::text,
            'content'::text,
            jsonb_build_object('content_id', c.content_id) AS jsonb_build_object,
            format('content %s has size %s, its header and body have %s'::text, c.content_id, c.size, (octet_length(c.header) + COALESCE(b.size, (0)::bigint))) AS format,
            'backup'::text,
            NULL::bigint
           FROM (pgbox.content c
             LEFT JOIN pgbox.body b ON ((b.body_id = c.body_id)))
          WHERE (c.header_complete AND ((c.body_id IS NULL) OR (b.body_id IS NOT NULL)) AND (c.size <> (octet_length(c.header) + COALESCE(b.size, (0)::bigint))))
        UNION ALL
         SELECT 'a message has a content'::text,
            'message'::text,
            jsonb_build_object('mailbox_id', g.mailbox_id, 'uid', g.uid, 'content_id', g.content_id) AS jsonb_build_object,
            format('message %s of mailbox %s has no content: %s is missing'::text, g.uid, g.mailbox_id, g.content_id) AS format,
            'backup'::text,
            NULL::bigint
           FROM pgbox.message g
          WHERE (NOT (EXISTS ( SELECT 1
                   FROM pgbox.content c
                  WHERE (c.content_id = g.content_id))))
        UNION ALL
         SELECT 'a tombstone has its content or none'::text,
            'expunged'::text,
            jsonb_build_object('mailbox_id', e.mailbox_id, 'uid', e.uid, 'content_id', e.content_id) AS jsonb_build_object,
            format('tombstone %s of mailbox %s has no content: %s is missing'::text, e.uid, e.mailbox_id, e.content_id) AS format,
            'mailbox'::text,
            e.mailbox_id
           FROM pgbox.expunged e
          WHERE ((e.content_id IS NOT NULL) AND (NOT (EXISTS ( SELECT 1
                   FROM pgbox.content c
                  WHERE (c.content_id = e.content_id)))))
        UNION ALL
         SELECT 'a content has a body'::text,
            'content'::text,
            jsonb_build_object('content_id', c.content_id, 'body_id', c.body_id) AS jsonb_build_object,
            format('content %s has no body: %s is missing'::text, c.content_id, c.body_id) AS format,
            'backup'::text,
            NULL::bigint
           FROM pgbox.content c
          WHERE ((c.body_id IS NOT NULL) AND (NOT (EXISTS ( SELECT 1
                   FROM pgbox.body b
                  WHERE (b.body_id = c.body_id)))))
        UNION ALL
         SELECT 'what is in a mailbox has a mailbox'::text,
            o.relation,
            o.ids,
            format('%s %s: there is no such mailbox'::text, o.relation, o.ids) AS format,
            'lost'::text,
            NULL::bigint
           FROM ( SELECT 'mailbox_counter'::text AS "?column?",
                    jsonb_build_object('mailbox_id', r_1.mailbox_id) AS jsonb_build_object,
                    r_1.mailbox_id
                   FROM pgbox.mailbox_counter r_1
                UNION ALL
                 SELECT 'mailbox_keyword'::text,
                    jsonb_build_object('mailbox_id', r_1.mailbox_id, 'number', r_1.number) AS jsonb_build_object,
                    r_1.mailbox_id
                   FROM pgbox.mailbox_keyword r_1
                UNION ALL
                 SELECT 'mailbox_attribute'::text,
                    jsonb_build_object('mailbox_id', r_1.mailbox_id, 'key', r_1.key) AS jsonb_build_object,
                    r_1.mailbox_id
                   FROM pgbox.mailbox_attribute r_1
                UNION ALL
                 SELECT 'message'::text,
                    jsonb_build_object('mailbox_id', r_1.mailbox_id, 'uid', r_1.uid) AS jsonb_build_object,
                    r_1.mailbox_id
                   FROM pgbox.message r_1
                UNION ALL
                 SELECT 'expunged'::text,
                    jsonb_build_object('mailbox_id', r_1.mailbox_id, 'uid', r_1.uid) AS jsonb_build_object,
                    r_1.mailbox_id
                   FROM pgbox.expunged r_1) o(relation, ids, mailbox_id)
          WHERE (NOT (EXISTS ( SELECT 1
                   FROM pgbox.mailbox m
                  WHERE (m.mailbox_id = o.mailbox_id))))
        UNION ALL
         SELECT 'what belongs to an account has an account'::text,
            o.relation,
            o.ids,
            format('%s %s: there is no such account'::text, o.relation, o.ids) AS format,
            'lost'::text,
            NULL::bigint
           FROM ( SELECT 'mailbox'::text AS "?column?",
                    jsonb_build_object('account_id', r_1.account_id, 'mailbox_id', r_1.mailbox_id) AS jsonb_build_object,
                    r_1.account_id
                   FROM pgbox.mailbox r_1
                UNION ALL
                 SELECT 'subscription'::text,
                    jsonb_build_object('account_id', r_1.account_id, 'name', r_1.name) AS jsonb_build_object,
                    r_1.account_id
                   FROM pgbox.subscription r_1) o(relation, ids, account_id)
          WHERE (NOT (EXISTS ( SELECT 1
                   FROM pgbox.account a
                  WHERE (a.account_id = o.account_id))))
        UNION ALL
         SELECT 'a chunk has a body'::text,
            'body_chunk'::text,
            jsonb_build_object('body_id', h.body_id) AS jsonb_build_object,
            format('body_chunk: there is no body %s'::text, h.body_id) AS format,
            'lost'::text,
            NULL::bigint
           FROM pgbox.body_chunk h
          WHERE (NOT (EXISTS ( SELECT 1
                   FROM pgbox.body b
                  WHERE (b.body_id = h.body_id))))
          GROUP BY h.body_id
        UNION ALL
         SELECT 'the store describes itself'::text,
            'store'::text,
            '{}'::jsonb AS jsonb,
            'table store has no row'::text,
            'backup'::text,
            NULL::bigint
          WHERE (NOT (EXISTS ( SELECT 1
                   FROM pgbox.store)))
        )
 SELECT f.rule,
    f.relation,
    f.ids,
    f.problem,
    format(r.text, f.target) AS remedy
   FROM (found f
     JOIN remedy r ON ((r.kind = f.kind)));

ALTER TABLE pgbox.invariant_violations OWNER TO pgbox_owner;

COMMENT ON VIEW pgbox.invariant_violations IS 'What is wrong with the rows: empty on a healthy store. Reads all tables but the bytes of mail';

COMMENT ON COLUMN pgbox.invariant_violations.rule IS 'What must be true';

COMMENT ON COLUMN pgbox.invariant_violations.relation IS 'The table with the row';

COMMENT ON COLUMN pgbox.invariant_violations.ids IS 'Which row';

COMMENT ON COLUMN pgbox.invariant_violations.problem IS 'What is wrong with it, in words';

COMMENT ON COLUMN pgbox.invariant_violations.remedy IS 'What to do';

ALTER TABLE pgbox.mailbox ALTER COLUMN mailbox_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgbox.mailbox_mailbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE pgbox.schema_version (
    version integer NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE pgbox.schema_version OWNER TO pgbox_owner;

COMMENT ON TABLE pgbox.schema_version IS 'Migrations that were applied, one row each';

COMMENT ON COLUMN pgbox.schema_version.version IS 'Number of the migration file';

COMMENT ON COLUMN pgbox.schema_version.name IS 'Name of the migration file';

COMMENT ON COLUMN pgbox.schema_version.sha256 IS 'SHA-256 of the file as it was applied';

COMMENT ON COLUMN pgbox.schema_version.applied_at IS 'When it was applied';

INSERT INTO pgbox.account OVERRIDING SYSTEM VALUE VALUES (2, 'bert', NULL, true, 1795840555, 2, '2026-11-28 04:35:55.016522+00');
INSERT INTO pgbox.account OVERRIDING SYSTEM VALUE VALUES (1, 'anna@example.org', '{SCRAM-SHA-256}4096,tgfVCZ0oRW+EuGVelMOycQ==,wXqDLr3exfX8UakhuDDiswvJd0tP0mH1e+52Kv6rW3I=,Twl1R6xs4B9xSopWVG3d8KT4ZMNpiW/XQdvH4g2R5OA=', true, 1795840558, 9, '2026-11-28 04:35:54.992442+00');

INSERT INTO pgbox.body OVERRIDING SYSTEM VALUE VALUES (1, '\x36519b01657d6cf8e54adf3de3d68101d88190249ac6044d455b34d6724d8271', 6, '\x6f66206f6e65');
INSERT INTO pgbox.body OVERRIDING SYSTEM VALUE VALUES (2, '\x18f9fe0a0523b633b093a0ea53c3ebf2763713c105bbafdd7cfa33f3faa44b6a', 8, '\x6f66207468726565');
INSERT INTO pgbox.body OVERRIDING SYSTEM VALUE VALUES (3, '\x76eb10dc1f9d6ecb32f083b489d47032cc7a9c1919fbec9179a66226e539b52e', 7, '\x6f6620666f7572');
INSERT INTO pgbox.body OVERRIDING SYSTEM VALUE VALUES (4, '\x09b14110993966b7b894fdd1e7d5693b9708978313a34e6f61f16c112512cf79', 262154, pg_catalog.decode(pg_catalog.repeat('7369787465656e2062797465732e2e0a', 8192) || '', 'hex'));
INSERT INTO pgbox.body OVERRIDING SYSTEM VALUE VALUES (5, '\x7ad5c9ca6916d019e634638ef647c035ab743a947f6e686aa0d7a9afc9fa4985', 18, '\x6f66207468652064656c65746564206f6e65');
INSERT INTO pgbox.body OVERRIDING SYSTEM VALUE VALUES (6, '\x300a193cd2684e8c03e9105246359546ce19eda0a6794f9fdac4db76b653528a', 18, '\x6f66207468652064656c657465642074776f');

INSERT INTO pgbox.body_chunk VALUES (4, 1, pg_catalog.decode(pg_catalog.repeat('7369787465656e2062797465732e2e0a', 8192) || '', 'hex'));
INSERT INTO pgbox.body_chunk VALUES (4, 2, '\x616e642061207461696c');

INSERT INTO pgbox.commit_token VALUES ('0bbea888-b782-4e1a-b42e-40f037f11af5', 1, 65536, 131072, '{1}', '2026-11-28 04:35:55.021999+00');
INSERT INTO pgbox.commit_token VALUES ('664737cc-3429-4c08-a333-741c2e7568a5', 1, 131072, 196608, '{2}', '2026-11-28 04:35:55.034714+00');
INSERT INTO pgbox.commit_token VALUES ('b821c343-a909-4764-a16e-f16af9035d62', 1, 196608, 262144, '{3}', '2026-11-28 04:35:55.037158+00');
INSERT INTO pgbox.commit_token VALUES ('b6610c98-247e-4c95-ba0d-59b02fd92553', 1, 262144, 327680, '{4}', '2026-11-28 04:35:55.040494+00');
INSERT INTO pgbox.commit_token VALUES ('b143ce75-67b5-4660-8281-d409f5073379', 2, 65536, 131072, '{1}', '2026-11-28 04:35:55.046017+00');
INSERT INTO pgbox.commit_token VALUES ('dc48a5aa-3777-4047-84fb-d50b314524bc', 1, 327680, 393216, '{5}', '2026-11-28 04:35:55.048408+00');
INSERT INTO pgbox.commit_token VALUES ('cec1fcba-429c-4fd5-b010-eb9d07b35994', 4, 65536, 131072, '{1}', '2026-11-28 04:35:55.169649+00');
INSERT INTO pgbox.commit_token VALUES ('ac01aee0-4834-4bb7-9bf1-65a620b3e562', 5, 65536, 131072, '{1}', '2026-11-28 04:35:55.172912+00');
INSERT INTO pgbox.commit_token VALUES ('2247dd1f-6a23-4110-8270-5a34873a19be', 6, 65536, 131072, '{1}', '2026-11-28 04:35:55.185307+00');
INSERT INTO pgbox.commit_token VALUES ('a7af9db8-379c-45af-aaae-6dc728812729', 6, 131072, 196608, '{2}', '2026-11-28 04:35:55.187495+00');
INSERT INTO pgbox.commit_token VALUES ('51bd5d12-23f1-456a-90c4-a1cafffb145b', 2, 131072, 196608, '{2}', '2026-11-28 04:35:55.196337+00');
INSERT INTO pgbox.commit_token VALUES ('2fa7c417-95ae-44d0-b42d-63f24d84cce4', NULL, NULL, NULL, NULL, '2026-11-28 04:35:55.210575+00');

INSERT INTO pgbox.content OVERRIDING SYSTEM VALUE VALUES (1, 1, true, 53, 53, '\x5375626a6563743a206f6e650d0a46726f6d3a20416e6e61203c616e6e61406578616d706c652e6f72673e0d0a0d0a', '\x227822', NULL);
INSERT INTO pgbox.content OVERRIDING SYSTEM VALUE VALUES (2, NULL, true, 51, 51, '\x5375626a6563743a206e6f20626f64790d0a46726f6d3a20416e6e61203c616e6e61406578616d706c652e6f72673e0d0a0d0a', '\x227822', NULL);
INSERT INTO pgbox.content OVERRIDING SYSTEM VALUE VALUES (3, 2, true, 60, 60, '\x5375626a6563743a20657870756e6765640d0a46726f6d3a20416e6e61203c616e6e61406578616d706c652e6f72673e0d0a0d0a', '\x227822', NULL);
INSERT INTO pgbox.content OVERRIDING SYSTEM VALUE VALUES (4, 3, true, 56, 56, '\x5375626a6563743a206d6f7665640d0a46726f6d3a20416e6e61203c616e6e61406578616d706c652e6f72673e0d0a0d0a', '\x227822', NULL);
INSERT INTO pgbox.content OVERRIDING SYSTEM VALUE VALUES (5, 1, true, 62, 62, '\x5375626a6563743a206f6e652c20746f20626572740d0a46726f6d3a20416e6e61203c616e6e61406578616d706c652e6f72673e0d0a0d0a', '\x227822', NULL);
INSERT INTO pgbox.content OVERRIDING SYSTEM VALUE VALUES (6, 4, true, 262172, 262172, '\x5375626a6563743a206c617267650d0a0d0a', NULL, NULL);
INSERT INTO pgbox.content OVERRIDING SYSTEM VALUE VALUES (7, 5, true, 86, 86, '\x5375626a6563743a2064656c65746564207769746820697473206d61696c626f780d0a46726f6d3a20416e6e61203c616e6e61406578616d706c652e6f72673e0d0a0d0a', '\x227822', NULL);
INSERT INTO pgbox.content OVERRIDING SYSTEM VALUE VALUES (8, 6, true, 77, 77, '\x5375626a6563743a20657870756e676564206265666f72650d0a46726f6d3a20416e6e61203c616e6e61406578616d706c652e6f72673e0d0a0d0a', '\x227822', NULL);

INSERT INTO pgbox.expunged VALUES (1, 4, 458752, 4, '48de722a-4128-4fce-81f3-4245d465af45', '2023-11-14 22:13:20+00', '2023-11-14 22:13:21+00', 0, NULL, '2026-11-28 04:35:55.176234+00', 'imap', 5);
INSERT INTO pgbox.expunged VALUES (1, 3, 524288, 3, '82df1454-7315-49a4-ac59-dbb8b6b1f563', '2023-11-14 22:13:20+00', '2023-11-14 22:13:21+00', 8, '{2}', '2026-11-28 04:35:55.179301+00', 'imap 127.0.0.1', NULL);
INSERT INTO pgbox.expunged VALUES (6, 2, 262144, 8, '30a59025-25a0-4623-b9d3-fefc4d8276a9', '2023-11-14 22:13:20+00', '2023-11-14 22:13:21+00', 0, NULL, '2026-11-28 04:35:55.189502+00', 'pop3', NULL);
INSERT INTO pgbox.expunged VALUES (2, 2, 262144, NULL, 'a0bc3a9d-ec48-4078-b27f-d597da5880ed', '2023-11-14 22:13:20+00', '2023-11-14 22:13:21+00', 0, NULL, '2026-11-13 04:35:55.200235+00', 'lmtp', NULL);

INSERT INTO pgbox.mailbox OVERRIDING SYSTEM VALUE VALUES (1, 1, 'INBOX', '12f726d3-571f-4c06-9440-16c12498faf9', 1795840555, NULL, '2026-11-28 04:35:54.992442+00', NULL);
INSERT INTO pgbox.mailbox OVERRIDING SYSTEM VALUE VALUES (2, 2, 'INBOX', '0dedc8be-d354-4e83-be60-91165a0ae19b', 1795840555, NULL, '2026-11-28 04:35:55.016522+00', NULL);
INSERT INTO pgbox.mailbox OVERRIDING SYSTEM VALUE VALUES (3, 1, 'Work', NULL, NULL, NULL, '2026-11-28 04:35:55.018575+00', NULL);
INSERT INTO pgbox.mailbox OVERRIDING SYSTEM VALUE VALUES (4, 1, 'Work/Über & <x>', '796ea546-ae1c-46a0-bf63-3ae92f3924bb', 1795840556, NULL, '2026-11-28 04:35:55.018575+00', NULL);
INSERT INTO pgbox.mailbox OVERRIDING SYSTEM VALUE VALUES (5, 1, 'Sent', '29b8eb0c-7d07-409f-af99-065b17b97ac5', 1795840557, '\Sent', '2026-11-28 04:35:55.019834+00', NULL);
INSERT INTO pgbox.mailbox OVERRIDING SYSTEM VALUE VALUES (6, 1, 'Gone', 'a8b73f79-e709-4e51-816e-d6882291754a', 1795840558, NULL, '2026-11-28 04:35:55.020884+00', '2026-11-28 04:35:55.191075+00');

INSERT INTO pgbox.mailbox_attribute VALUES (1, false, 'comment', '\x70726976617465', '2023-11-14 22:13:23+00');
INSERT INTO pgbox.mailbox_attribute VALUES (1, true, 'vendor/x', '\x00ff', '2023-11-14 22:13:23+00');

INSERT INTO pgbox.mailbox_counter VALUES (4, 2, 131072, 1, 1, 53, 1, 0);
INSERT INTO pgbox.mailbox_counter VALUES (5, 2, 131072, 1, 1, 56, 1, 0);
INSERT INTO pgbox.mailbox_counter VALUES (1, 6, 589824, 3, 1, 262276, 6, 0);
INSERT INTO pgbox.mailbox_counter VALUES (6, 3, 262144, 1, 1, 86, 1, 0);
INSERT INTO pgbox.mailbox_counter VALUES (2, 3, 262144, 1, 1, 62, 1, 0);

INSERT INTO pgbox.mailbox_keyword VALUES (1, 1, '$Junk');
INSERT INTO pgbox.mailbox_keyword VALUES (1, 2, 'Work');
INSERT INTO pgbox.mailbox_keyword VALUES (1, 3, 'later');

INSERT INTO pgbox.message VALUES (1, 1, 1, 'a6b6f19f-5a03-4a00-98eb-060a4abab1de', '2023-11-14 22:13:20+00', '2023-11-14 22:13:21+00', NULL, NULL);
INSERT INTO pgbox.message VALUES (1, 2, 2, 'e103573a-ae1c-490e-9955-22770190bdcd', '2023-11-14 22:13:20+00', '2023-11-14 22:13:21+00', NULL, NULL);
INSERT INTO pgbox.message VALUES (2, 1, 5, '66ddd873-01e5-4a8d-9134-4c93d24a3ad0', '2023-11-14 22:13:20+00', '2023-11-14 22:13:21+00', NULL, NULL);
INSERT INTO pgbox.message VALUES (1, 5, 6, '4188e761-0793-45ea-87cd-383614f885b1', '2023-11-14 22:13:20+00', '2023-11-14 22:13:21+00', 'uidl-5', 5);
INSERT INTO pgbox.message VALUES (4, 1, 1, '00cdb7c1-f394-48f8-8e46-108bc57e6374', '2023-11-14 22:13:20+00', '2023-11-14 22:13:22+00', NULL, NULL);
INSERT INTO pgbox.message VALUES (5, 1, 4, 'de502c15-ee5c-4863-b32c-23ecaf739a36', '2023-11-14 22:13:20+00', '2023-11-14 22:13:22+00', NULL, NULL);
INSERT INTO pgbox.message VALUES (6, 1, 7, '436a0cd3-5c25-415e-87e6-fee0c54f918b', '2023-11-14 22:13:20+00', '2023-11-14 22:13:21+00', NULL, NULL);

INSERT INTO pgbox.message_state VALUES (1, 1, 131072, 31, '{1,2}');
INSERT INTO pgbox.message_state VALUES (2, 1, 131072, 0, NULL);
INSERT INTO pgbox.message_state VALUES (1, 5, 393216, 0, NULL);
INSERT INTO pgbox.message_state VALUES (4, 1, 131072, 0, NULL);
INSERT INTO pgbox.message_state VALUES (5, 1, 131072, 0, NULL);
INSERT INTO pgbox.message_state VALUES (1, 2, 589824, 8, '{3}');
INSERT INTO pgbox.message_state VALUES (6, 1, 131072, 0, NULL);

INSERT INTO pgbox.schema_version VALUES (1, '0001-base', 'ee407891dcde67ea0ac4c6b676dcc946f484654d24eee3270e62d67b8fd3d7da', '2026-11-28 04:35:54.718453+00');
INSERT INTO pgbox.schema_version VALUES (0, 'replace', 'fadc603635ebf887765062a7b1c7abf3b16c5c8ff07a56b588ae405b00d08e6f', '2026-11-28 04:35:54.85855+00');

INSERT INTO pgbox.store VALUES (true, 'c53e19cc-75d0-4ef0-9964-8b6254e61783', 1, '14 days', '2026-11-28 04:35:54.718453+00');

INSERT INTO pgbox.subscription VALUES (1, 'INBOX');
INSERT INTO pgbox.subscription VALUES (1, 'Work/Über & <x>');
INSERT INTO pgbox.subscription VALUES (1, 'not there');

SELECT pg_catalog.setval('pgbox.account_account_id_seq', 2, true);

SELECT pg_catalog.setval('pgbox.body_body_id_seq', 7, true);

SELECT pg_catalog.setval('pgbox.content_content_id_seq', 9, true);

SELECT pg_catalog.setval('pgbox.mailbox_mailbox_id_seq', 6, true);

ALTER TABLE ONLY pgbox.account
    ADD CONSTRAINT account_name_key UNIQUE (name);

ALTER TABLE ONLY pgbox.account
    ADD CONSTRAINT account_pkey PRIMARY KEY (account_id);

ALTER TABLE ONLY pgbox.body_chunk
    ADD CONSTRAINT body_chunk_pkey PRIMARY KEY (body_id, number);

ALTER TABLE ONLY pgbox.body
    ADD CONSTRAINT body_digest_key UNIQUE (digest);

ALTER TABLE ONLY pgbox.body
    ADD CONSTRAINT body_pkey PRIMARY KEY (body_id);

ALTER TABLE ONLY pgbox.commit_token
    ADD CONSTRAINT commit_token_pkey PRIMARY KEY (token);

ALTER TABLE ONLY pgbox.content
    ADD CONSTRAINT content_pkey PRIMARY KEY (content_id);

ALTER TABLE ONLY pgbox.expunged
    ADD CONSTRAINT expunged_pkey PRIMARY KEY (mailbox_id, uid);

ALTER TABLE ONLY pgbox.mailbox_attribute
    ADD CONSTRAINT mailbox_attribute_pkey PRIMARY KEY (mailbox_id, shared, key);

ALTER TABLE ONLY pgbox.mailbox_counter
    ADD CONSTRAINT mailbox_counter_pkey PRIMARY KEY (mailbox_id);

ALTER TABLE ONLY pgbox.mailbox_keyword
    ADD CONSTRAINT mailbox_keyword_pkey PRIMARY KEY (mailbox_id, number);

ALTER TABLE ONLY pgbox.mailbox
    ADD CONSTRAINT mailbox_pkey PRIMARY KEY (mailbox_id);

ALTER TABLE ONLY pgbox.message
    ADD CONSTRAINT message_pkey PRIMARY KEY (mailbox_id, uid);

ALTER TABLE ONLY pgbox.message_state
    ADD CONSTRAINT message_state_pkey PRIMARY KEY (mailbox_id, uid);

ALTER TABLE ONLY pgbox.schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (version);

ALTER TABLE ONLY pgbox.store
    ADD CONSTRAINT store_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY pgbox.subscription
    ADD CONSTRAINT subscription_pkey PRIMARY KEY (account_id, name);

CREATE INDEX commit_token_created_at_idx ON pgbox.commit_token USING btree (created_at);

COMMENT ON INDEX pgbox.commit_token_created_at_idx IS 'Finds tokens that can be purged';

CREATE INDEX content_body_id_idx ON pgbox.content USING btree (body_id);

COMMENT ON INDEX pgbox.content_body_id_idx IS 'Finds bodies that nobody uses any more';

CREATE INDEX expunged_content_id_idx ON pgbox.expunged USING btree (content_id);

COMMENT ON INDEX pgbox.expunged_content_id_idx IS 'Finds contents that nobody uses any more';

CREATE INDEX expunged_expunged_at_idx ON pgbox.expunged USING btree (expunged_at);

COMMENT ON INDEX pgbox.expunged_expunged_at_idx IS 'Finds what can be purged';

CREATE INDEX expunged_mailbox_id_modseq_idx ON pgbox.expunged USING btree (mailbox_id, modseq);

COMMENT ON INDEX pgbox.expunged_mailbox_id_modseq_idx IS 'What was expunged since a modseq';

CREATE UNIQUE INDEX mailbox_account_id_guid_key ON pgbox.mailbox USING btree (account_id, guid) WHERE (deleted_at IS NULL);

COMMENT ON INDEX pgbox.mailbox_account_id_guid_key IS 'A GUID is used once in an account';

CREATE UNIQUE INDEX mailbox_account_id_name_key ON pgbox.mailbox USING btree (account_id, name) WHERE (deleted_at IS NULL);

COMMENT ON INDEX pgbox.mailbox_account_id_name_key IS 'A name is used once in an account';

CREATE INDEX mailbox_deleted_at_idx ON pgbox.mailbox USING btree (deleted_at) WHERE (deleted_at IS NOT NULL);

COMMENT ON INDEX pgbox.mailbox_deleted_at_idx IS 'Finds what can be purged';

CREATE UNIQUE INDEX mailbox_keyword_mailbox_id_name_key ON pgbox.mailbox_keyword USING btree (mailbox_id, lower(name));

COMMENT ON INDEX pgbox.mailbox_keyword_mailbox_id_name_key IS 'A keyword has one number in a mailbox';

CREATE INDEX message_content_id_idx ON pgbox.message USING btree (content_id);

COMMENT ON INDEX pgbox.message_content_id_idx IS 'Finds contents that nobody uses any more';

CREATE INDEX message_state_mailbox_id_modseq_idx ON pgbox.message_state USING btree (mailbox_id, modseq);

COMMENT ON INDEX pgbox.message_state_mailbox_id_modseq_idx IS 'What changed since a modseq';

CREATE TRIGGER account_refuse_insert BEFORE INSERT ON pgbox.account FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('accounts are not to be added by hand', 'Call pgbox.account_create().');

COMMENT ON TRIGGER account_refuse_insert ON pgbox.account IS 'Not to be done by hand';

CREATE TRIGGER account_refuse_truncate BEFORE TRUNCATE ON pgbox.account FOR EACH STATEMENT EXECUTE FUNCTION pgbox.rule_refuse('account is not to be truncated', 'DELETE the rows, if they may be deleted.');

COMMENT ON TRIGGER account_refuse_truncate ON pgbox.account IS 'Not to be done by hand';

CREATE TRIGGER account_refuse_update BEFORE UPDATE OF account_id, last_uidvalidity, list_modseq, created_at ON pgbox.account FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('counters of an account are not to be changed by hand', 'They follow from what is changed.');

COMMENT ON TRIGGER account_refuse_update ON pgbox.account IS 'Not to be done by hand';

CREATE TRIGGER account_signal AFTER UPDATE OF list_modseq ON pgbox.account FOR EACH ROW WHEN (((new.list_modseq <> old.list_modseq) AND (SESSION_USER <> 'pgbox_dovecot'::name))) EXECUTE FUNCTION pgbox.signal_account();

COMMENT ON TRIGGER account_signal ON pgbox.account IS 'Changes of the tree that didn''t come from the plugin are signalled at once';

CREATE TRIGGER body_chunk_refuse_delete BEFORE DELETE ON pgbox.body_chunk FOR EACH ROW WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('bodies are not to be changed by hand', 'pgbox.body_chunk_put() adds, pgbox.purge() removes what nobody uses.');

COMMENT ON TRIGGER body_chunk_refuse_delete ON pgbox.body_chunk IS 'Not to be done by hand';

CREATE TRIGGER body_chunk_refuse_truncate BEFORE TRUNCATE ON pgbox.body_chunk FOR EACH STATEMENT EXECUTE FUNCTION pgbox.rule_refuse('body_chunk is not to be truncated', 'DELETE the rows, if they may be deleted.');

COMMENT ON TRIGGER body_chunk_refuse_truncate ON pgbox.body_chunk IS 'Not to be done by hand';

CREATE TRIGGER body_chunk_refuse_write BEFORE INSERT OR UPDATE ON pgbox.body_chunk FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('bodies are not to be changed by hand', 'pgbox.body_chunk_put() adds, pgbox.purge() removes what nobody uses.');

COMMENT ON TRIGGER body_chunk_refuse_write ON pgbox.body_chunk IS 'Not to be done by hand';

CREATE TRIGGER body_refuse BEFORE INSERT OR DELETE OR UPDATE ON pgbox.body FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('bodies are not to be changed by hand', 'pgbox.content_put() adds, pgbox.purge() removes what nobody uses.');

COMMENT ON TRIGGER body_refuse ON pgbox.body IS 'Not to be done by hand';

CREATE TRIGGER body_refuse_truncate BEFORE TRUNCATE ON pgbox.body FOR EACH STATEMENT EXECUTE FUNCTION pgbox.rule_refuse('body is not to be truncated', 'DELETE the rows, if they may be deleted.');

COMMENT ON TRIGGER body_refuse_truncate ON pgbox.body IS 'Not to be done by hand';

CREATE TRIGGER content_refuse BEFORE INSERT OR DELETE OR UPDATE ON pgbox.content FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('the content of messages is not to be changed by hand', 'pgbox.content_put() adds, pgbox.purge() removes what nobody uses.');

COMMENT ON TRIGGER content_refuse ON pgbox.content IS 'Not to be done by hand';

CREATE TRIGGER content_refuse_truncate BEFORE TRUNCATE ON pgbox.content FOR EACH STATEMENT EXECUTE FUNCTION pgbox.rule_refuse('content is not to be truncated', 'DELETE the rows, if they may be deleted.');

COMMENT ON TRIGGER content_refuse_truncate ON pgbox.content IS 'Not to be done by hand';

CREATE TRIGGER expunged_refuse_delete BEFORE DELETE ON pgbox.expunged FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('tombstones are not to be deleted by hand', 'pgbox.purge() frees the space of expunged messages; the tombstone stays.');

COMMENT ON TRIGGER expunged_refuse_delete ON pgbox.expunged IS 'Not to be done by hand';

CREATE TRIGGER expunged_refuse_insert BEFORE INSERT ON pgbox.expunged FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('tombstones are not to be added by hand', 'DELETE the message.');

COMMENT ON TRIGGER expunged_refuse_insert ON pgbox.expunged IS 'Not to be done by hand';

CREATE TRIGGER expunged_refuse_truncate BEFORE TRUNCATE ON pgbox.expunged FOR EACH STATEMENT EXECUTE FUNCTION pgbox.rule_refuse('expunged is not to be truncated', 'DELETE the rows, if they may be deleted.');

COMMENT ON TRIGGER expunged_refuse_truncate ON pgbox.expunged IS 'Not to be done by hand';

CREATE TRIGGER expunged_refuse_update BEFORE UPDATE OF mailbox_id, uid, modseq, content_id, guid, received_at, saved_at, flags, keywords ON pgbox.expunged FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('what a tombstone stands for is not to be changed by hand', 'expunged_at, reason and moved_to may be changed.');

COMMENT ON TRIGGER expunged_refuse_update ON pgbox.expunged IS 'Not to be done by hand';

CREATE TRIGGER mailbox_attribute_refuse_truncate BEFORE TRUNCATE ON pgbox.mailbox_attribute FOR EACH STATEMENT EXECUTE FUNCTION pgbox.rule_refuse('mailbox_attribute is not to be truncated', 'DELETE the rows, if they may be deleted.');

COMMENT ON TRIGGER mailbox_attribute_refuse_truncate ON pgbox.mailbox_attribute IS 'Not to be done by hand';

CREATE TRIGGER mailbox_counter_refuse_delete BEFORE DELETE ON pgbox.mailbox_counter FOR EACH ROW WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('counters are not to be deleted by hand', 'DELETE the mailbox.');

COMMENT ON TRIGGER mailbox_counter_refuse_delete ON pgbox.mailbox_counter IS 'Not to be done by hand';

CREATE TRIGGER mailbox_counter_refuse_truncate BEFORE TRUNCATE ON pgbox.mailbox_counter FOR EACH STATEMENT EXECUTE FUNCTION pgbox.rule_refuse('mailbox_counter is not to be truncated', 'DELETE the rows, if they may be deleted.');

COMMENT ON TRIGGER mailbox_counter_refuse_truncate ON pgbox.mailbox_counter IS 'Not to be done by hand';

CREATE TRIGGER mailbox_counter_refuse_write BEFORE INSERT OR UPDATE ON pgbox.mailbox_counter FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('counters are not to be changed by hand', 'They follow from what is changed; pgbox.mailbox_repair() counts anew.');

COMMENT ON TRIGGER mailbox_counter_refuse_write ON pgbox.mailbox_counter IS 'Not to be done by hand';

CREATE TRIGGER mailbox_counter_signal AFTER UPDATE OF highest_modseq ON pgbox.mailbox_counter FOR EACH ROW WHEN (((new.highest_modseq <> old.highest_modseq) AND (SESSION_USER <> 'pgbox_dovecot'::name))) EXECUTE FUNCTION pgbox.signal_counter();

COMMENT ON TRIGGER mailbox_counter_signal ON pgbox.mailbox_counter IS 'Changes that didn''t come from the plugin are signalled at once';

CREATE TRIGGER mailbox_keyword_refuse_delete BEFORE DELETE ON pgbox.mailbox_keyword FOR EACH ROW WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('names of keywords are not to be deleted by hand: numbers are never reused', 'Take the number out of message_state.keywords.');

COMMENT ON TRIGGER mailbox_keyword_refuse_delete ON pgbox.mailbox_keyword IS 'Not to be done by hand';

CREATE TRIGGER mailbox_keyword_refuse_truncate BEFORE TRUNCATE ON pgbox.mailbox_keyword FOR EACH STATEMENT EXECUTE FUNCTION pgbox.rule_refuse('mailbox_keyword is not to be truncated', 'DELETE the rows, if they may be deleted.');

COMMENT ON TRIGGER mailbox_keyword_refuse_truncate ON pgbox.mailbox_keyword IS 'Not to be done by hand';

CREATE TRIGGER mailbox_keyword_refuse_write BEFORE INSERT OR UPDATE ON pgbox.mailbox_keyword FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('names of keywords are not to be changed by hand: nodes know them by number', 'Call pgbox.keyword_use() for a new one.');

COMMENT ON TRIGGER mailbox_keyword_refuse_write ON pgbox.mailbox_keyword IS 'Not to be done by hand';

CREATE TRIGGER mailbox_refuse_insert BEFORE INSERT ON pgbox.mailbox FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('mailboxes are not to be added by hand', 'Call pgbox.mailbox_create().');

COMMENT ON TRIGGER mailbox_refuse_insert ON pgbox.mailbox IS 'Not to be done by hand';

CREATE TRIGGER mailbox_refuse_truncate BEFORE TRUNCATE ON pgbox.mailbox FOR EACH STATEMENT EXECUTE FUNCTION pgbox.rule_refuse('mailbox is not to be truncated', 'DELETE the rows, if they may be deleted.');

COMMENT ON TRIGGER mailbox_refuse_truncate ON pgbox.mailbox IS 'Not to be done by hand';

CREATE TRIGGER mailbox_refuse_update BEFORE UPDATE OF mailbox_id, account_id, guid, uidvalidity, created_at ON pgbox.mailbox FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('the identity of a mailbox is not to be changed by hand', 'Call pgbox.mailbox_update() for GUID and UIDVALIDITY.');

COMMENT ON TRIGGER mailbox_refuse_update ON pgbox.mailbox IS 'Not to be done by hand';

CREATE TRIGGER mailbox_rule_delete BEFORE DELETE ON pgbox.mailbox FOR EACH ROW WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_mailbox_delete();

COMMENT ON TRIGGER mailbox_rule_delete ON pgbox.mailbox IS 'Plain DELETE of mailboxes keeps the rules';

CREATE TRIGGER mailbox_rule_deleted AFTER DELETE ON pgbox.mailbox REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_mailbox_deleted();

COMMENT ON TRIGGER mailbox_rule_deleted ON pgbox.mailbox IS 'Plain DELETE of mailboxes keeps the rules';

CREATE TRIGGER mailbox_rule_update BEFORE UPDATE ON pgbox.mailbox FOR EACH ROW WHEN (((((new.deleted_at IS NULL) <> (old.deleted_at IS NULL)) OR ((new.deleted_at IS NULL) AND ((new.name IS DISTINCT FROM old.name) OR (new.special_use IS DISTINCT FROM old.special_use)))) AND ((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name)))) EXECUTE FUNCTION pgbox.rule_mailbox_update();

COMMENT ON TRIGGER mailbox_rule_update ON pgbox.mailbox IS 'Plain UPDATE of mailboxes keeps the rules';

CREATE TRIGGER mailbox_rule_updated AFTER UPDATE ON pgbox.mailbox REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_mailbox_updated();

COMMENT ON TRIGGER mailbox_rule_updated ON pgbox.mailbox IS 'Plain UPDATE of mailboxes keeps the rules';

CREATE TRIGGER mailbox_signal AFTER UPDATE OF deleted_at, guid, uidvalidity ON pgbox.mailbox FOR EACH ROW WHEN ((SESSION_USER <> 'pgbox_dovecot'::name)) EXECUTE FUNCTION pgbox.signal_mailbox();

COMMENT ON TRIGGER mailbox_signal ON pgbox.mailbox IS 'Who has the mailbox open is to look';

CREATE TRIGGER message_refuse_truncate BEFORE TRUNCATE ON pgbox.message FOR EACH STATEMENT EXECUTE FUNCTION pgbox.rule_refuse('message is not to be truncated', 'DELETE the rows, if they may be deleted.');

COMMENT ON TRIGGER message_refuse_truncate ON pgbox.message IS 'Not to be done by hand';

CREATE TRIGGER message_refuse_update BEFORE UPDATE ON pgbox.message FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('a message is not to be changed by hand: it is immutable', 'INSERT a copy and DELETE the original.');

COMMENT ON TRIGGER message_refuse_update ON pgbox.message IS 'Not to be done by hand';

CREATE TRIGGER message_rule_delete BEFORE DELETE ON pgbox.message FOR EACH ROW WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_message_delete();

COMMENT ON TRIGGER message_rule_delete ON pgbox.message IS 'Plain DELETE of messages keeps the rules';

CREATE TRIGGER message_rule_deleted AFTER DELETE ON pgbox.message REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_message_deleted();

COMMENT ON TRIGGER message_rule_deleted ON pgbox.message IS 'Plain DELETE of messages keeps the rules';

CREATE TRIGGER message_rule_insert BEFORE INSERT ON pgbox.message FOR EACH ROW WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_message_insert();

COMMENT ON TRIGGER message_rule_insert ON pgbox.message IS 'Plain INSERT of messages keeps the rules';

CREATE TRIGGER message_rule_inserted AFTER INSERT ON pgbox.message REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_message_inserted();

COMMENT ON TRIGGER message_rule_inserted ON pgbox.message IS 'Plain INSERT of messages keeps the rules';

CREATE TRIGGER message_state_refuse_delete BEFORE DELETE ON pgbox.message_state FOR EACH ROW WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('the state of a message is not to be deleted by hand', 'DELETE the message.');

COMMENT ON TRIGGER message_state_refuse_delete ON pgbox.message_state IS 'Not to be done by hand';

CREATE TRIGGER message_state_refuse_insert BEFORE INSERT ON pgbox.message_state FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('the state of a message is not to be added by hand', 'INSERT the message; its state is there then, without flags.');

COMMENT ON TRIGGER message_state_refuse_insert ON pgbox.message_state IS 'Not to be done by hand';

CREATE TRIGGER message_state_refuse_truncate BEFORE TRUNCATE ON pgbox.message_state FOR EACH STATEMENT EXECUTE FUNCTION pgbox.rule_refuse('message_state is not to be truncated', 'DELETE the rows, if they may be deleted.');

COMMENT ON TRIGGER message_state_refuse_truncate ON pgbox.message_state IS 'Not to be done by hand';

CREATE TRIGGER message_state_refuse_update BEFORE UPDATE OF mailbox_id, uid, modseq ON pgbox.message_state FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_refuse('UIDs and modseqs are not to be changed by hand', 'Change flags and keywords; the modseq follows.');

COMMENT ON TRIGGER message_state_refuse_update ON pgbox.message_state IS 'Not to be done by hand';

CREATE TRIGGER message_state_rule_update BEFORE UPDATE ON pgbox.message_state FOR EACH ROW WHEN ((new.modseq = old.modseq)) EXECUTE FUNCTION pgbox.rule_state_update();

COMMENT ON TRIGGER message_state_rule_update ON pgbox.message_state IS 'Plain UPDATE of flags and keywords keeps the rules';

CREATE TRIGGER message_state_rule_updated AFTER UPDATE ON pgbox.message_state REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_state_updated();

COMMENT ON TRIGGER message_state_rule_updated ON pgbox.message_state IS 'Plain UPDATE of flags and keywords keeps the rules';

CREATE TRIGGER store_refuse_truncate BEFORE TRUNCATE ON pgbox.store FOR EACH STATEMENT EXECUTE FUNCTION pgbox.rule_refuse('store is not to be truncated', 'DELETE the rows, if they may be deleted.');

COMMENT ON TRIGGER store_refuse_truncate ON pgbox.store IS 'Not to be done by hand';

CREATE TRIGGER store_signal AFTER UPDATE OF epoch ON pgbox.store FOR EACH ROW WHEN ((new.epoch <> old.epoch)) EXECUTE FUNCTION pgbox.signal_store();

COMMENT ON TRIGGER store_signal ON pgbox.store IS 'All sessions are to look';

CREATE TRIGGER subscription_refuse_truncate BEFORE TRUNCATE ON pgbox.subscription FOR EACH STATEMENT EXECUTE FUNCTION pgbox.rule_refuse('subscription is not to be truncated', 'DELETE the rows, if they may be deleted.');

COMMENT ON TRIGGER subscription_refuse_truncate ON pgbox.subscription IS 'Not to be done by hand';

CREATE TRIGGER subscription_rule BEFORE INSERT OR DELETE OR UPDATE ON pgbox.subscription FOR EACH ROW WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_subscription();

COMMENT ON TRIGGER subscription_rule ON pgbox.subscription IS 'Plain DML on subscriptions keeps the rules';

CREATE TRIGGER subscription_rule_deleted AFTER DELETE ON pgbox.subscription REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_subscription_deleted();

COMMENT ON TRIGGER subscription_rule_deleted ON pgbox.subscription IS 'Plain DML on subscriptions keeps the rules';

CREATE TRIGGER subscription_rule_inserted AFTER INSERT ON pgbox.subscription REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_subscription_inserted();

COMMENT ON TRIGGER subscription_rule_inserted ON pgbox.subscription IS 'Plain DML on subscriptions keeps the rules';

CREATE TRIGGER subscription_rule_updated AFTER UPDATE ON pgbox.subscription REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT WHEN (((current_setting('vacuum_multixact_freeze_table_age'::text) <> '1885823608'::text) OR (CURRENT_USER <> 'pgbox_owner'::name))) EXECUTE FUNCTION pgbox.rule_subscription_updated();

COMMENT ON TRIGGER subscription_rule_updated ON pgbox.subscription IS 'Plain DML on subscriptions keeps the rules';

ALTER TABLE ONLY pgbox.body_chunk
    ADD CONSTRAINT body_chunk_body_id_fkey FOREIGN KEY (body_id) REFERENCES pgbox.body(body_id) ON DELETE CASCADE;

ALTER TABLE ONLY pgbox.content
    ADD CONSTRAINT content_body_id_fkey FOREIGN KEY (body_id) REFERENCES pgbox.body(body_id);

ALTER TABLE ONLY pgbox.expunged
    ADD CONSTRAINT expunged_content_id_fkey FOREIGN KEY (content_id) REFERENCES pgbox.content(content_id);

ALTER TABLE ONLY pgbox.expunged
    ADD CONSTRAINT expunged_mailbox_id_fkey FOREIGN KEY (mailbox_id) REFERENCES pgbox.mailbox(mailbox_id);

ALTER TABLE ONLY pgbox.mailbox
    ADD CONSTRAINT mailbox_account_id_fkey FOREIGN KEY (account_id) REFERENCES pgbox.account(account_id);

ALTER TABLE ONLY pgbox.mailbox_attribute
    ADD CONSTRAINT mailbox_attribute_mailbox_id_fkey FOREIGN KEY (mailbox_id) REFERENCES pgbox.mailbox(mailbox_id) ON DELETE CASCADE;

ALTER TABLE ONLY pgbox.mailbox_counter
    ADD CONSTRAINT mailbox_counter_mailbox_id_fkey FOREIGN KEY (mailbox_id) REFERENCES pgbox.mailbox(mailbox_id) ON DELETE CASCADE;

ALTER TABLE ONLY pgbox.mailbox_keyword
    ADD CONSTRAINT mailbox_keyword_mailbox_id_fkey FOREIGN KEY (mailbox_id) REFERENCES pgbox.mailbox(mailbox_id) ON DELETE CASCADE;

ALTER TABLE ONLY pgbox.message
    ADD CONSTRAINT message_content_id_fkey FOREIGN KEY (content_id) REFERENCES pgbox.content(content_id);

ALTER TABLE ONLY pgbox.message
    ADD CONSTRAINT message_mailbox_id_fkey FOREIGN KEY (mailbox_id) REFERENCES pgbox.mailbox(mailbox_id);

ALTER TABLE ONLY pgbox.message_state
    ADD CONSTRAINT message_state_mailbox_id_uid_fkey FOREIGN KEY (mailbox_id, uid) REFERENCES pgbox.message(mailbox_id, uid) ON DELETE CASCADE;

ALTER TABLE ONLY pgbox.subscription
    ADD CONSTRAINT subscription_account_id_fkey FOREIGN KEY (account_id) REFERENCES pgbox.account(account_id) ON DELETE CASCADE;

GRANT USAGE ON SCHEMA pgbox TO pgbox_dovecot;
GRANT USAGE ON SCHEMA pgbox TO pgbox_admin;
GRANT USAGE ON SCHEMA pgbox TO pgbox_reader;

REVOKE ALL ON FUNCTION pgbox.account_create(p_name text, p_password text) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.account_create(p_name text, p_password text) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.account_find(p_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.account_find(p_name text) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.account_find(p_name text) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.account_lock(p_account bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.account_lock(p_account bigint) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.account_repair(p_account bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.account_repair(p_account bigint) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.account_set_password(p_name text, p_password text) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.account_set_password(p_name text, p_password text) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.attribute_set(p_mailbox bigint, p_shared boolean, p_key text, p_value bytea, p_changed_at bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.attribute_set(p_mailbox bigint, p_shared boolean, p_key text, p_value bytea, p_changed_at bigint) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.attribute_set(p_mailbox bigint, p_shared boolean, p_key text, p_value bytea, p_changed_at bigint) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.body_chunk_put(p_digest bytea, p_number integer, p_data bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.body_chunk_put(p_digest bytea, p_number integer, p_data bytea) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.body_chunk_put(p_digest bytea, p_number integer, p_data bytea) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.body_put(p_digest bytea, p_size bigint, p_head bytea) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.commit_claim(p_token uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.commit_claim(p_token uuid) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.commit_claim(p_token uuid) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.content_put(p_header bytea, p_header_complete boolean, p_digest bytea, p_body_size bigint, p_head bytea, p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.content_put(p_header bytea, p_header_complete boolean, p_digest bytea, p_body_size bigint, p_head bytea, p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.content_put(p_header bytea, p_header_complete boolean, p_digest bytea, p_body_size bigint, p_head bytea, p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.hmac_sha256(p_key bytea, p_message bytea) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.inbox_remake(p_account bigint, p_old bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.keyword_numbers(p_mailbox bigint, p_names text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.keyword_use(p_mailbox bigint, VARIADIC p_names text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.keyword_use(p_mailbox bigint, VARIADIC p_names text[]) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.keywords_change(p_old smallint[], p_add smallint[], p_remove smallint[], p_replace boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.keywords_change(p_old smallint[], p_add smallint[], p_remove smallint[], p_replace boolean) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.mailbox_add_parents(p_account bigint, p_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.mailbox_create(p_account bigint, p_name text, p_selectable boolean, p_guid uuid, p_uidvalidity bigint, p_special_use text) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.mailbox_create(p_account bigint, p_name text, p_selectable boolean, p_guid uuid, p_uidvalidity bigint, p_special_use text) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.mailbox_create(p_account bigint, p_name text, p_selectable boolean, p_guid uuid, p_uidvalidity bigint, p_special_use text) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.mailbox_delete(p_account bigint, p_mailbox bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.mailbox_delete(p_account bigint, p_mailbox bigint) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.mailbox_delete(p_account bigint, p_mailbox bigint) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.mailbox_delete_node(p_account bigint, p_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.mailbox_delete_node(p_account bigint, p_name text) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.mailbox_delete_node(p_account bigint, p_name text) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.mailbox_fill_gap(p_account bigint, p_mailbox bigint, p_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.mailbox_has_children(p_account bigint, p_name text) FROM PUBLIC;

GRANT SELECT ON TABLE pgbox.mailbox_counter TO pgbox_dovecot;
GRANT SELECT ON TABLE pgbox.mailbox_counter TO pgbox_reader;
GRANT SELECT ON TABLE pgbox.mailbox_counter TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.mailbox_lock(p_mailbox bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.mailbox_lock(p_mailbox bigint) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.mailbox_lock_many(p_mailboxes bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.mailbox_lock_many(p_mailboxes bigint[]) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.mailbox_name_usable(p_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.mailbox_pull(p_mailbox bigint, p_since bigint, p_keywords integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.mailbox_pull(p_mailbox bigint, p_since bigint, p_keywords integer) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.mailbox_pull(p_mailbox bigint, p_since bigint, p_keywords integer) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.mailbox_recount(p_mailbox bigint, p_anew boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.mailbox_rename(p_account bigint, p_old text, p_new text) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.mailbox_rename(p_account bigint, p_old text, p_new text) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.mailbox_rename(p_account bigint, p_old text, p_new text) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.mailbox_repair(p_mailbox bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.mailbox_repair(p_mailbox bigint) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.mailbox_update(p_account bigint, p_mailbox bigint, p_uidvalidity bigint, p_guid uuid, p_min_uid_next bigint, p_min_first_recent_uid bigint, p_min_modseq bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.mailbox_update(p_account bigint, p_mailbox bigint, p_uidvalidity bigint, p_guid uuid, p_min_uid_next bigint, p_min_first_recent_uid bigint, p_min_modseq bigint) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.mailbox_update(p_account bigint, p_mailbox bigint, p_uidvalidity bigint, p_guid uuid, p_min_uid_next bigint, p_min_first_recent_uid bigint, p_min_modseq bigint) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.message_append(p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint, p_uids bigint[], p_guids uuid[], p_contents bigint[], p_source_mailboxes bigint[], p_source_uids bigint[], p_moves boolean[], p_received bigint[], p_saved bigint[], p_flags smallint[], p_keywords text[], p_pop3_uidls text[], p_pop3_orders bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.message_append(p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint, p_uids bigint[], p_guids uuid[], p_contents bigint[], p_source_mailboxes bigint[], p_source_uids bigint[], p_moves boolean[], p_received bigint[], p_saved bigint[], p_flags smallint[], p_keywords text[], p_pop3_uidls text[], p_pop3_orders bigint[]) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.message_append(p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint, p_uids bigint[], p_guids uuid[], p_contents bigint[], p_source_mailboxes bigint[], p_source_uids bigint[], p_moves boolean[], p_received bigint[], p_saved bigint[], p_flags smallint[], p_keywords text[], p_pop3_uidls text[], p_pop3_orders bigint[]) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.message_bury(p_mailbox bigint, p_uids bigint[], p_modseq bigint, p_reason text, p_moved_to bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.message_expunge(p_mailbox bigint, p_uids bigint[], p_reason text, p_if_deleted bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.message_expunge(p_mailbox bigint, p_uids bigint[], p_reason text, p_if_deleted bigint[]) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.message_expunge(p_mailbox bigint, p_uids bigint[], p_reason text, p_if_deleted bigint[]) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.message_save(p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint, p_uid bigint, p_guid uuid, p_received bigint, p_saved bigint, p_flags smallint, p_keywords text, p_pop3_uidl text, p_pop3_order bigint, p_header bytea, p_header_complete boolean, p_digest bytea, p_body_size bigint, p_head bytea, p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.message_save(p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint, p_uid bigint, p_guid uuid, p_received bigint, p_saved bigint, p_flags smallint, p_keywords text, p_pop3_uidl text, p_pop3_order bigint, p_header bytea, p_header_complete boolean, p_digest bytea, p_body_size bigint, p_head bytea, p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.message_save(p_mailbox bigint, p_token uuid, p_reason text, p_min_modseq bigint, p_uid bigint, p_guid uuid, p_received bigint, p_saved bigint, p_flags smallint, p_keywords text, p_pop3_uidl text, p_pop3_order bigint, p_header bytea, p_header_complete boolean, p_digest bytea, p_body_size bigint, p_head bytea, p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.message_store(p_mailbox bigint, p_unchangedsince bigint, p_uids bigint[], p_ops integer[], p_add smallint[], p_remove smallint[], p_keywords_add text[], p_keywords_remove text[], p_keywords_replace boolean[]) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.message_store(p_mailbox bigint, p_unchangedsince bigint, p_uids bigint[], p_ops integer[], p_add smallint[], p_remove smallint[], p_keywords_add text[], p_keywords_remove text[], p_keywords_replace boolean[]) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.message_store(p_mailbox bigint, p_unchangedsince bigint, p_uids bigint[], p_ops integer[], p_add smallint[], p_remove smallint[], p_keywords_add text[], p_keywords_remove text[], p_keywords_replace boolean[]) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.modseq_step() FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.modseq_step() TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.password_hash(p_password text, p_iterations integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.purge(p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.purge(p_limit integer) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.purge(p_limit integer) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.recent_claim(p_mailbox bigint, p_uid_next bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.recent_claim(p_mailbox bigint, p_uid_next bigint) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.recent_claim(p_mailbox bigint, p_uid_next bigint) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.rule_mailbox_delete() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.rule_mailbox_deleted() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.rule_mailbox_update() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.rule_mailbox_updated() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.rule_message_delete() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.rule_message_deleted() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.rule_message_insert() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.rule_message_inserted() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.rule_refuse() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.rule_state_update() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.rule_state_updated() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.rule_subscription() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.rule_subscription_deleted() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.rule_subscription_inserted() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.rule_subscription_updated() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.schema_check(p_oldest integer, p_newest integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.schema_check(p_oldest integer, p_newest integer) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.schema_check(p_oldest integer, p_newest integer) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.signal_account() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.signal_counter() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.signal_mailbox() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.signal_store() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgbox.subscription_set(p_account bigint, p_name text, p_subscribed boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.subscription_set(p_account bigint, p_name text, p_subscribed boolean) TO pgbox_dovecot;
GRANT ALL ON FUNCTION pgbox.subscription_set(p_account bigint, p_name text, p_subscribed boolean) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.tombstone_prune(p_before timestamp with time zone, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pgbox.tombstone_prune(p_before timestamp with time zone, p_limit integer) TO pgbox_admin;

REVOKE ALL ON FUNCTION pgbox.uidvalidity_next(p_account bigint) FROM PUBLIC;

GRANT SELECT(account_id) ON TABLE pgbox.account TO pgbox_dovecot;
GRANT SELECT(account_id) ON TABLE pgbox.account TO pgbox_reader;
GRANT SELECT(account_id) ON TABLE pgbox.account TO pgbox_admin;

GRANT SELECT(name) ON TABLE pgbox.account TO pgbox_dovecot;
GRANT SELECT(name) ON TABLE pgbox.account TO pgbox_reader;
GRANT SELECT(name) ON TABLE pgbox.account TO pgbox_admin;

GRANT UPDATE(password_hash) ON TABLE pgbox.account TO pgbox_admin;

GRANT SELECT(enabled) ON TABLE pgbox.account TO pgbox_dovecot;
GRANT SELECT(enabled) ON TABLE pgbox.account TO pgbox_reader;
GRANT SELECT(enabled),UPDATE(enabled) ON TABLE pgbox.account TO pgbox_admin;

GRANT SELECT(last_uidvalidity) ON TABLE pgbox.account TO pgbox_admin;

GRANT SELECT(list_modseq) ON TABLE pgbox.account TO pgbox_dovecot;
GRANT SELECT(list_modseq) ON TABLE pgbox.account TO pgbox_reader;
GRANT SELECT(list_modseq) ON TABLE pgbox.account TO pgbox_admin;

GRANT SELECT(created_at) ON TABLE pgbox.account TO pgbox_reader;
GRANT SELECT(created_at) ON TABLE pgbox.account TO pgbox_admin;

GRANT SELECT ON TABLE pgbox.body TO pgbox_dovecot;
GRANT SELECT ON TABLE pgbox.body TO pgbox_admin;

GRANT SELECT(body_id) ON TABLE pgbox.body TO pgbox_reader;

GRANT SELECT(digest) ON TABLE pgbox.body TO pgbox_reader;

GRANT SELECT(size) ON TABLE pgbox.body TO pgbox_reader;

GRANT SELECT ON TABLE pgbox.body_chunk TO pgbox_dovecot;
GRANT SELECT ON TABLE pgbox.body_chunk TO pgbox_admin;

GRANT SELECT ON TABLE pgbox.content TO pgbox_dovecot;
GRANT SELECT ON TABLE pgbox.content TO pgbox_admin;

GRANT SELECT(content_id) ON TABLE pgbox.content TO pgbox_reader;

GRANT SELECT(body_id) ON TABLE pgbox.content TO pgbox_reader;

GRANT SELECT(size) ON TABLE pgbox.content TO pgbox_reader;

GRANT SELECT(virtual_size) ON TABLE pgbox.content TO pgbox_reader;

GRANT SELECT ON TABLE pgbox.dovecot_passdb TO pgbox_dovecot;

GRANT SELECT ON TABLE pgbox.dovecot_userdb TO pgbox_dovecot;
GRANT SELECT ON TABLE pgbox.dovecot_userdb TO pgbox_admin;

GRANT SELECT ON TABLE pgbox.expunged TO pgbox_reader;
GRANT SELECT ON TABLE pgbox.expunged TO pgbox_admin;

GRANT UPDATE(expunged_at) ON TABLE pgbox.expunged TO pgbox_admin;

GRANT UPDATE(reason) ON TABLE pgbox.expunged TO pgbox_admin;

GRANT SELECT ON TABLE pgbox.mailbox TO pgbox_dovecot;
GRANT SELECT ON TABLE pgbox.mailbox TO pgbox_reader;
GRANT SELECT,DELETE ON TABLE pgbox.mailbox TO pgbox_admin;

GRANT UPDATE(name) ON TABLE pgbox.mailbox TO pgbox_admin;

GRANT UPDATE(special_use) ON TABLE pgbox.mailbox TO pgbox_admin;

GRANT UPDATE(deleted_at) ON TABLE pgbox.mailbox TO pgbox_admin;

GRANT SELECT ON TABLE pgbox.mailbox_attribute TO pgbox_dovecot;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgbox.mailbox_attribute TO pgbox_admin;

GRANT SELECT ON TABLE pgbox.mailbox_keyword TO pgbox_dovecot;
GRANT SELECT ON TABLE pgbox.mailbox_keyword TO pgbox_reader;
GRANT SELECT ON TABLE pgbox.mailbox_keyword TO pgbox_admin;

GRANT SELECT ON TABLE pgbox.message TO pgbox_dovecot;
GRANT SELECT ON TABLE pgbox.message TO pgbox_reader;
GRANT SELECT,DELETE ON TABLE pgbox.message TO pgbox_admin;

GRANT INSERT(mailbox_id) ON TABLE pgbox.message TO pgbox_admin;

GRANT INSERT(content_id) ON TABLE pgbox.message TO pgbox_admin;

GRANT INSERT(guid) ON TABLE pgbox.message TO pgbox_admin;

GRANT INSERT(received_at) ON TABLE pgbox.message TO pgbox_admin;

GRANT INSERT(saved_at) ON TABLE pgbox.message TO pgbox_admin;

GRANT INSERT(pop3_uidl) ON TABLE pgbox.message TO pgbox_admin;

GRANT INSERT(pop3_order) ON TABLE pgbox.message TO pgbox_admin;

GRANT SELECT ON TABLE pgbox.message_state TO pgbox_dovecot;
GRANT SELECT ON TABLE pgbox.message_state TO pgbox_reader;
GRANT SELECT ON TABLE pgbox.message_state TO pgbox_admin;

GRANT UPDATE(flags) ON TABLE pgbox.message_state TO pgbox_admin;

GRANT UPDATE(keywords) ON TABLE pgbox.message_state TO pgbox_admin;

GRANT SELECT ON TABLE pgbox.store TO pgbox_dovecot;
GRANT SELECT ON TABLE pgbox.store TO pgbox_admin;
GRANT SELECT ON TABLE pgbox.store TO pgbox_reader;

GRANT UPDATE(retention) ON TABLE pgbox.store TO pgbox_admin;

GRANT SELECT ON TABLE pgbox.subscription TO pgbox_dovecot;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE pgbox.subscription TO pgbox_admin;

GRANT SELECT ON TABLE pgbox.invariant_violations TO pgbox_reader;
GRANT SELECT ON TABLE pgbox.invariant_violations TO pgbox_admin;

GRANT SELECT ON TABLE pgbox.schema_version TO pgbox_dovecot;
GRANT SELECT ON TABLE pgbox.schema_version TO pgbox_admin;
GRANT SELECT ON TABLE pgbox.schema_version TO pgbox_reader;

--
-- PostgreSQL database dump complete
--

