-- Contents and bodies.

-- encode() has lines of 76 characters that end in LF; others are made one by one. It
-- has no end behind a line that is short or padded, and nor have we.
CREATE OR REPLACE FUNCTION pgbox.base64_lines(p_bytes bytea, p_line integer, p_end integer)
RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN p_line <> 76
            THEN (SELECT string_agg(translate(encode(substr(p_bytes, l.at, p_line / 4 * 3), 'base64'), E'\n', '')
                                    || CASE WHEN l.at + p_line / 4 * 3 - 1 > octet_length(p_bytes) THEN ''
                                            WHEN p_end = 1 THEN E'\n' ELSE E'\r\n' END, '' ORDER BY l.at)
                    FROM generate_series(1, octet_length(p_bytes), p_line / 4 * 3) AS l (at))
            WHEN p_end = 1 THEN encode(p_bytes, 'base64')
            ELSE replace(encode(p_bytes, 'base64'), E'\n', E'\r\n') END
$$;
COMMENT ON FUNCTION pgbox.base64_lines(bytea, integer, integer) IS 'Bytes as lines of base64: characters in a line, bytes in a line''s end (1 LF, 2 CRLF)';

CREATE OR REPLACE FUNCTION pgbox.body_bytes(p_stored bytea, p_base64 integer[])
RETURNS bytea
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_bytes bytea := '';
  v_at integer := 0;
BEGIN
  IF p_base64 IS NULL THEN
    RETURN p_stored;
  ELSIF pgbox.base64_length(octet_length(p_stored), p_base64) = 0 THEN
    RAISE EXCEPTION 'base64 doesn''t fit the bytes stored' USING ERRCODE = 'data_corrupted';
  END IF;
  FOR i IN 1 .. cardinality(p_base64) BY 4 LOOP
    v_bytes := v_bytes || substr(p_stored, v_at + 1, p_base64[i] - v_at)
               || convert_to(pgbox.base64_lines(substr(p_stored, p_base64[i] + 1, p_base64[i + 1]), p_base64[i + 2], p_base64[i + 3]), 'UTF8');
    v_at := p_base64[i] + p_base64[i + 1];
  END LOOP;
  RETURN v_bytes || substr(p_stored, v_at + 1);
END
$$;
COMMENT ON FUNCTION pgbox.body_bytes(bytea, integer[]) IS 'A piece of a body as it was sent, from what is stored of it: head and base64 of body, or data and base64 of body_chunk';

CREATE OR REPLACE FUNCTION pgbox.body_read(p_body bigint)
RETURNS bytea
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT pgbox.body_bytes(b.head, b.base64)
       || COALESCE((SELECT string_agg(pgbox.body_bytes(k.data, k.base64), ''::bytea ORDER BY k.number)
                      FROM pgbox.body_chunk AS k WHERE k.body_id = b.body_id), ''::bytea)
  FROM pgbox.body AS b
 WHERE b.body_id = p_body
$$;
COMMENT ON FUNCTION pgbox.body_read(bigint) IS 'A whole body as it was sent, all of it in memory';

CREATE OR REPLACE FUNCTION pgbox.body_put(p_digest bytea, p_size bigint, p_head bytea, p_base64 integer[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_body bigint;
BEGIN
  IF p_base64 IS NOT NULL AND NOT (SELECT s.base64_decoded FROM pgbox.store AS s) THEN
    p_head := pgbox.body_bytes(p_head, p_base64);
    p_base64 := NULL;
  END IF;
  LOOP
    -- usually it is new
    IF p_head IS NOT NULL THEN
      INSERT INTO pgbox.body (digest, size, head, base64) VALUES (p_digest, p_size, p_head, p_base64)
      ON CONFLICT ON CONSTRAINT body_digest_key DO NOTHING
      RETURNING body_id INTO v_body;
      IF FOUND THEN
        RETURN v_body;
      END IF;
    END IF;
    -- FOR KEY SHARE: it can't be purged before we refer to it
    SELECT b.body_id INTO v_body FROM pgbox.body AS b WHERE b.digest = p_digest FOR KEY SHARE;
    IF FOUND THEN
      RETURN v_body;
    END IF;
    IF p_head IS NULL THEN
      RAISE EXCEPTION 'the body was purged meanwhile' USING ERRCODE = '40001';
    END IF;
    -- purged since the insert met it: once more
  END LOOP;
END
$$;
COMMENT ON FUNCTION pgbox.body_put(bytea, bigint, bytea, integer[]) IS 'Find or store a body by its SHA-256; NULL head: it must be there. Base64 is stored decoded only if the store says so. Returns its body_id';

CREATE OR REPLACE FUNCTION pgbox.body_chunk_put(p_digest bytea, p_number integer, p_data bytea, p_base64 integer[])
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
-- in PL/pgSQL, which keeps the plan from chunk to chunk
BEGIN
  IF p_base64 IS NOT NULL AND NOT (SELECT s.base64_decoded FROM pgbox.store AS s) THEN
    p_data := pgbox.body_bytes(p_data, p_base64);
    p_base64 := NULL;
  END IF;
  INSERT INTO pgbox.body_chunk (body_id, number, data, base64)
  SELECT b.body_id, p_number, p_data, p_base64 FROM pgbox.body AS b WHERE b.digest = p_digest
  ON CONFLICT ON CONSTRAINT body_chunk_pkey DO NOTHING;
END
$$;
COMMENT ON FUNCTION pgbox.body_chunk_put(bytea, integer, bytea, integer[]) IS 'Store a later chunk of a body, in the transaction that stored the body';

CREATE OR REPLACE FUNCTION pgbox.content_put(
  p_header bytea, p_header_complete boolean,
  p_digest bytea, p_body_size bigint, p_head bytea,
  p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea, p_base64 integer[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_body bigint;
  v_content bigint;
BEGIN
  IF p_digest IS NOT NULL THEN
    v_body := pgbox.body_put(p_digest, p_body_size, p_head, p_base64);
  END IF;
  INSERT INTO pgbox.content (body_id, header_complete, size, virtual_size, header, envelope, bodystructure)
  VALUES (v_body, p_header_complete, p_size, p_virtual_size, p_header, p_envelope, p_bodystructure)
  RETURNING content_id INTO v_content;
  RETURN v_content;
END
$$;
COMMENT ON FUNCTION pgbox.content_put(bytea, boolean, bytea, bigint, bytea, bigint, bigint, bytea, bytea, integer[]) IS 'Store what a message consists of; NULL digest: empty body. Returns its content_id';

-- As a plugin of version 1 calls them, and what such a call may be in the middle of
-- while the schema is upgraded.

CREATE OR REPLACE FUNCTION pgbox.body_put(p_digest bytea, p_size bigint, p_head bytea)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN pgbox.body_put(p_digest, p_size, p_head, NULL);
END
$$;
COMMENT ON FUNCTION pgbox.body_put(bytea, bigint, bytea) IS 'The same without base64 that is decoded';

CREATE OR REPLACE FUNCTION pgbox.body_chunk_put(p_digest bytea, p_number integer, p_data bytea)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pgbox.body_chunk_put(p_digest, p_number, p_data, NULL);
END
$$;
COMMENT ON FUNCTION pgbox.body_chunk_put(bytea, integer, bytea) IS 'The same without base64 that is decoded';

CREATE OR REPLACE FUNCTION pgbox.content_put(
  p_header bytea, p_header_complete boolean,
  p_digest bytea, p_body_size bigint, p_head bytea,
  p_size bigint, p_virtual_size bigint, p_envelope bytea, p_bodystructure bytea)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN pgbox.content_put(p_header, p_header_complete, p_digest, p_body_size, p_head,
                           p_size, p_virtual_size, p_envelope, p_bodystructure, NULL);
END
$$;
COMMENT ON FUNCTION pgbox.content_put(bytea, boolean, bytea, bigint, bytea, bigint, bigint, bytea, bytea) IS 'The same without base64 that is decoded';

-- The caller has locked the store's row, or two that each remove one of the last
-- two references would both see the other's, and the body stay for ever.
CREATE OR REPLACE FUNCTION pgbox.content_drop(p_contents bigint[])
RETURNS TABLE (contents bigint[], bodies bigint[], bodies_used bigint[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_bodies bigint[];
  v_gone bigint[];
BEGIN
  -- A delivery that refers to such a row holds it FOR KEY SHARE: wait for its
  -- COMMIT. Skipping the row would lose sight of it if that rolls back.
  SELECT array_agg(c.content_id) INTO v_gone
    FROM (SELECT c.content_id
            FROM pgbox.content AS c
           WHERE c.content_id = ANY (p_contents)
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
    RETURNING c.content_id, c.body_id)
  SELECT COALESCE(array_agg(g.content_id), '{}'), array_agg(DISTINCT g.body_id) FILTER (WHERE g.body_id IS NOT NULL)
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
    RETURNING b.body_id)
  SELECT COALESCE(array_agg(g.body_id), '{}') INTO bodies FROM gone AS g;
  bodies_used := ARRAY(SELECT u.body_id FROM unnest(v_bodies) AS u (body_id)
                        WHERE NOT u.body_id = ANY (bodies));
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.content_drop(bigint[]) IS 'Remove those of the contents that nothing refers to any more, and then their bodies; returns what went, and bodies that other contents still use. The caller has locked the store''s row';

-- The settings leave no plan but one: each look goes down an index of those that
-- have a content, in its order, and stops at p_limit. PostgreSQL knows neither
-- the limit nor the times when it plans, and takes what reads all tombstones, or
-- all that have a content, for as good.
CREATE OR REPLACE FUNCTION pgbox.tombstone_empty(p_now timestamptz, p_retention interval, p_short bigint[], p_limit integer)
RETURNS bigint[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_sort = off
SET enable_incremental_sort = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
  v_contents bigint[];
BEGIN
  WITH of_store AS (
    SELECT e.mailbox_id, e.uid, e.content_id
      FROM pgbox.expunged AS e
      JOIN pgbox.mailbox AS m ON m.mailbox_id = e.mailbox_id
      JOIN pgbox.account AS a ON a.account_id = m.account_id
     WHERE e.expunged_at < p_now - p_retention
       AND e.expunged_at < p_now - COALESCE(a.retention, p_retention)
       AND NOT m.legal_hold AND NOT a.legal_hold
       AND e.content_id IS NOT NULL
     ORDER BY e.expunged_at
     LIMIT p_limit FOR UPDATE OF e SKIP LOCKED),
  of_accounts AS (
    SELECT o.mailbox_id, o.uid, o.content_id
      FROM unnest(p_short) AS u (mailbox_id)
      JOIN pgbox.mailbox AS m ON m.mailbox_id = u.mailbox_id
      JOIN pgbox.account AS a ON a.account_id = m.account_id
     CROSS JOIN LATERAL (SELECT e.mailbox_id, e.uid, e.content_id
                           FROM pgbox.expunged AS e
                          WHERE (e.mailbox_id, e.expunged_at) >= (m.mailbox_id, p_now - p_retention)
                            AND (e.mailbox_id, e.expunged_at) < (m.mailbox_id, p_now - a.retention)
                            AND e.content_id IS NOT NULL
                          ORDER BY e.mailbox_id, e.expunged_at
                          LIMIT p_limit FOR UPDATE SKIP LOCKED) AS o
     LIMIT p_limit),
  old AS (
    SELECT s.mailbox_id, s.uid, s.content_id FROM of_store AS s
    UNION ALL
    SELECT s.mailbox_id, s.uid, s.content_id FROM of_accounts AS s),
  done AS (
    UPDATE pgbox.expunged AS e
       SET content_id = NULL
      FROM old AS o
     WHERE e.mailbox_id = o.mailbox_id AND e.uid = o.uid)
  SELECT array_agg(o.content_id) INTO v_contents FROM old AS o;
  RETURN COALESCE(v_contents, '{}');
END
$$;
COMMENT ON FUNCTION pgbox.tombstone_empty(timestamptz, interval, bigint[], integer) IS 'Take the contents from tombstones that are past retention and not under legal hold, and return them: the oldest p_limit, and as many of mailboxes with a shorter retention, which p_short has. The caller has locked the store''s row';

CREATE OR REPLACE FUNCTION pgbox.purge(p_limit integer DEFAULT 1000)
RETURNS TABLE (tombstones bigint, mailboxes bigint, contents bigint, bodies bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_now timestamptz;
  v_retention interval;
  v_shortest interval;
  v_mailbox bigint;
  v_short bigint[];
  v_contents bigint[];
  v_gone bigint[];
  v_uids bigint[];
  v_count bigint;
  v_more boolean := false;
  v_jobs interval;
  -- what tells of a mailbox whose rows are gone
  v_removed jsonb := '{}';
BEGIN
  PERFORM pgbox.limit_check(p_limit);
  -- One at a time, see content_drop. Who sets a legal hold waits here too.
  SELECT s.retention, s.job_retention INTO v_retention, v_jobs FROM pgbox.store AS s FOR NO KEY UPDATE;
  v_now := clock_timestamp();
  SELECT LEAST(v_retention, min(a.retention)) INTO v_shortest FROM pgbox.account AS a WHERE a.retention IS NOT NULL;
  tombstones := 0; mailboxes := 0; contents := 0; bodies := 0;
  v_contents := '{}';

  -- Messages of mailboxes deleted too long ago, one mailbox at a time. Its account
  -- too, so as to keep out of the way of administrators who have locked that before
  -- they change messages: theirs is no order of contents. Nobody is waited for here.
  -- The account comes first: of a row that is skipped what was locked before stays
  -- locked, and a mailbox that is in the way of its administrator until a delivery
  -- ends that waits for him is a deadlock.
  SELECT m.mailbox_id INTO v_mailbox
    FROM pgbox.mailbox AS m
    JOIN pgbox.account AS a ON a.account_id = m.account_id
   WHERE m.deleted_at < v_now - v_shortest
     AND m.deleted_at < v_now - COALESCE(a.retention, v_retention)
     AND NOT m.legal_hold AND NOT a.legal_hold
   ORDER BY m.deleted_at
   LIMIT 1 FOR NO KEY UPDATE OF a SKIP LOCKED FOR UPDATE OF m SKIP LOCKED;
  IF FOUND THEN
    -- if not in it, then in another
    v_more := true;
    -- Not those that somebody is changing: who changes messages of deleted
    -- mailboxes has locked their counters, which are not locked here, and goes
    -- over the rows in another order.
    v_uids := ARRAY(SELECT i.uid
                      FROM pgbox.message AS i
                      JOIN pgbox.message_state AS s ON s.mailbox_id = i.mailbox_id AND s.uid = i.uid
                     WHERE i.mailbox_id = v_mailbox
                     ORDER BY i.uid
                     LIMIT p_limit FOR UPDATE OF i, s SKIP LOCKED);
    DELETE FROM pgbox.message_state AS s WHERE s.mailbox_id = v_mailbox AND s.uid = ANY (v_uids);
    WITH gone AS (
      DELETE FROM pgbox.message AS g
       WHERE g.mailbox_id = v_mailbox AND g.uid = ANY (v_uids)
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
  -- Accounts with a shorter one are looked at by themselves: else each purge
  -- would pass over what all others have expunged since.
  v_short := ARRAY(SELECT m.mailbox_id
                     -- by itself, for it is known how many are not NULL, but not
                     -- how many are below what isn't known yet
                     FROM (SELECT i.account_id, i.retention FROM pgbox.account AS i
                            WHERE i.retention IS NOT NULL AND NOT i.legal_hold OFFSET 0) AS a
                     JOIN pgbox.mailbox AS m ON m.account_id = a.account_id
                    WHERE a.retention < v_retention AND NOT m.legal_hold);
  v_gone := pgbox.tombstone_empty(v_now, v_retention, v_short, p_limit);
  tombstones := tombstones + cardinality(v_gone);
  v_more := v_more OR cardinality(v_gone) >= p_limit;
  v_contents := v_contents || v_gone;

  SELECT cardinality(d.contents), cardinality(d.bodies) INTO contents, bodies
    FROM pgbox.content_drop(v_contents) AS d;

  -- The emptied mailbox goes with its counters, and those are locked last: a
  -- delivery that comes too late waits for them and may hold a body. Don't wait
  -- for whoever is just finding out that the mailbox is gone: there will be
  -- another purge. ORDER BY and not EXISTS, so that nothing but the index will do:
  -- a plan that expects rows of each mailbox looks for them in all of the table.
  PERFORM 1
    FROM pgbox.mailbox_counter AS c
   WHERE c.mailbox_id = v_mailbox
     AND (SELECT g.uid FROM pgbox.message AS g WHERE g.mailbox_id = c.mailbox_id ORDER BY g.uid LIMIT 1) IS NULL
     AND (SELECT g.uid FROM pgbox.expunged AS g WHERE g.mailbox_id = c.mailbox_id ORDER BY g.uid LIMIT 1) IS NULL
     FOR UPDATE SKIP LOCKED;
  IF FOUND THEN
    DELETE FROM pgbox.mailbox AS m
     WHERE m.mailbox_id = v_mailbox
    RETURNING jsonb_build_object('mailbox_id', m.mailbox_id, 'deleted_at', m.deleted_at, 'deleted_reason', m.deleted_reason, 'mailbox',
                                 (SELECT a.name FROM pgbox.account AS a WHERE a.account_id = m.account_id) || ': ' || m.name)
      INTO v_removed;
    mailboxes := 1;
  END IF;

  DELETE FROM pgbox.commit_token AS t
   WHERE t.token IN (SELECT o.token FROM pgbox.commit_token AS o
                      WHERE o.created_at < clock_timestamp() - '1 day'::interval
                      LIMIT p_limit);
  DELETE FROM pgbox.job AS j
   WHERE j.job_id IN (SELECT o.job_id FROM pgbox.job AS o
                       WHERE o.ended_at < clock_timestamp() - v_jobs
                       LIMIT p_limit);
  IF tombstones + mailboxes + contents + bodies > 0 THEN
    PERFORM pgbox.job_record('purge', 'all accounts',
                             jsonb_build_object('tombstones', tombstones, 'mailboxes', mailboxes, 'contents', contents, 'bodies', bodies)
                             || v_removed,
                             CASE WHEN v_more THEN 'more' ELSE 'done' END);
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.purge(integer) IS 'Remove what is past retention, not under legal hold, and used by nobody, at most p_limit of each kind; call again until it returns zeros. tombstones counts messages of deleted mailboxes too. The record in job names a mailbox that was removed; records go after store.job_retention';
