-- What must be true of the rows, as a function and a view that name what isn't;
-- and repairs.

-- In ranges, so that a large store is looked at in steps. A plan doesn't know how
-- much is in a range: joins are written so that indexes will do whatever it expects
-- (LATERAL, tables and no CTEs of many rows).
CREATE OR REPLACE FUNCTION pgbox.violations(p_mailboxes bigint[], p_accounts bigint[], p_contents bigint[])
RETURNS TABLE (rule text, relation text, ids jsonb, problem text, remedy text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN QUERY
  WITH
  -- how each kind of row is mended
  remedy (kind, text) AS (VALUES
    ('mailbox', 'SELECT pgbox.mailbox_repair(%s)'),
    ('account', 'SELECT pgbox.account_repair(%s)'),
    ('name', 'UPDATE pgbox.mailbox SET name = ''a name that can be opened'' WHERE mailbox_id = %s'),
    ('lost', 'nothing refers to it: delete the row with triggers off, or restore what it belongs to from a backup'),
    ('backup', 'restore the missing rows from a backup')),
  found (rule, relation, ids, problem, kind, target) AS (
    SELECT 'counters equal rows', 'mailbox_counter', jsonb_build_object('mailbox_id', c.mailbox_id),
           format('mailbox %s: counters say %s messages, %s unseen, %s bytes; its rows say %s, %s, %s',
                  c.mailbox_id, c.messages, c.unseen, c.virtual_size,
                  r.messages, r.unseen, r.virtual_size),
           'mailbox', c.mailbox_id
      FROM pgbox.mailbox_counter AS c
      JOIN pgbox.mailbox AS m ON m.mailbox_id = c.mailbox_id AND m.deleted_at IS NULL
     CROSS JOIN LATERAL (SELECT count(*) AS messages, count(*) FILTER (WHERE s.flags & 8 = 0) AS unseen,
                                COALESCE(sum(t.virtual_size), 0) AS virtual_size
                           FROM pgbox.message AS g
                           JOIN pgbox.content AS t ON t.content_id = g.content_id
                           LEFT JOIN pgbox.message_state AS s ON s.mailbox_id = g.mailbox_id AND s.uid = g.uid
                          WHERE g.mailbox_id = c.mailbox_id) AS r
     WHERE c.mailbox_id >= p_mailboxes[1] AND c.mailbox_id < p_mailboxes[2]
       AND (c.messages, c.unseen, c.virtual_size) IS DISTINCT FROM (r.messages, r.unseen, r.virtual_size)
    UNION ALL
    SELECT 'UIDNEXT is above all UIDs', 'mailbox_counter', jsonb_build_object('mailbox_id', c.mailbox_id, 'uid', u.uid),
           format('mailbox %s: UIDNEXT %s is not above UID %s', c.mailbox_id, c.uid_next, u.uid), 'mailbox', c.mailbox_id
      FROM pgbox.mailbox_counter AS c
     CROSS JOIN LATERAL (SELECT GREATEST((SELECT max(g.uid) FROM pgbox.message AS g WHERE g.mailbox_id = c.mailbox_id),
                              (SELECT max(e.uid) FROM pgbox.expunged AS e WHERE e.mailbox_id = c.mailbox_id)) AS uid) AS u
     WHERE c.mailbox_id >= p_mailboxes[1] AND c.mailbox_id < p_mailboxes[2] AND u.uid >= c.uid_next
    UNION ALL
    SELECT 'no change is above highest_modseq', 'mailbox_counter', jsonb_build_object('mailbox_id', c.mailbox_id),
           format('mailbox %s: its modseq %s is below that of a change, %s', c.mailbox_id, c.highest_modseq, u.modseq),
           'mailbox', c.mailbox_id
      FROM pgbox.mailbox_counter AS c
     CROSS JOIN LATERAL (SELECT GREATEST((SELECT max(s.modseq) FROM pgbox.message_state AS s WHERE s.mailbox_id = c.mailbox_id),
                              (SELECT max(e.modseq) FROM pgbox.expunged AS e WHERE e.mailbox_id = c.mailbox_id)) AS modseq) AS u
     WHERE c.mailbox_id >= p_mailboxes[1] AND c.mailbox_id < p_mailboxes[2] AND u.modseq > c.highest_modseq
    UNION ALL
    SELECT 'modseqs are multiples of 65536', 'message_state', jsonb_build_object('mailbox_id', s.mailbox_id, 'uid', s.uid),
           format('message %s of mailbox %s has modseq %s', s.uid, s.mailbox_id, s.modseq), 'mailbox', s.mailbox_id
      FROM pgbox.message_state AS s
     WHERE s.mailbox_id >= p_mailboxes[1] AND s.mailbox_id < p_mailboxes[2] AND (s.modseq <= 0 OR s.modseq % 65536 <> 0)
    UNION ALL
    SELECT 'modseqs are multiples of 65536', 'expunged', jsonb_build_object('mailbox_id', e.mailbox_id, 'uid', e.uid),
           format('tombstone %s of mailbox %s has modseq %s', e.uid, e.mailbox_id, e.modseq), 'mailbox', e.mailbox_id
      FROM pgbox.expunged AS e
     WHERE e.mailbox_id >= p_mailboxes[1] AND e.mailbox_id < p_mailboxes[2] AND (e.modseq <= 0 OR e.modseq % 65536 <> 0)
    UNION ALL
    SELECT 'a message has a state', 'message', jsonb_build_object('mailbox_id', g.mailbox_id, 'uid', g.uid),
           format('message %s of mailbox %s has no state', g.uid, g.mailbox_id), 'mailbox', g.mailbox_id
      FROM pgbox.message AS g
     WHERE g.mailbox_id >= p_mailboxes[1] AND g.mailbox_id < p_mailboxes[2]
       AND NOT EXISTS (SELECT 1 FROM pgbox.message_state AS s WHERE s.mailbox_id = g.mailbox_id AND s.uid = g.uid)
    UNION ALL
    SELECT 'a state has a message', 'message_state', jsonb_build_object('mailbox_id', s.mailbox_id, 'uid', s.uid),
           format('state %s of mailbox %s has no message', s.uid, s.mailbox_id), 'mailbox', s.mailbox_id
      FROM pgbox.message_state AS s
     WHERE s.mailbox_id >= p_mailboxes[1] AND s.mailbox_id < p_mailboxes[2]
       AND NOT EXISTS (SELECT 1 FROM pgbox.message AS g WHERE g.mailbox_id = s.mailbox_id AND g.uid = s.uid)
    UNION ALL
    SELECT 'an expunged UID stays expunged', 'message', jsonb_build_object('mailbox_id', g.mailbox_id, 'uid', g.uid),
           format('message %s of mailbox %s is both there and expunged', g.uid, g.mailbox_id), 'mailbox', g.mailbox_id
      FROM pgbox.message AS g
      JOIN pgbox.expunged AS e ON e.mailbox_id = g.mailbox_id AND e.uid = g.uid
     WHERE g.mailbox_id >= p_mailboxes[1] AND g.mailbox_id < p_mailboxes[2]
    UNION ALL
    SELECT 'a keyword has a name', 'message_state', jsonb_build_object('mailbox_id', s.mailbox_id, 'uid', s.uid),
           format('message %s of mailbox %s has a keyword without a name', s.uid, s.mailbox_id), 'mailbox', s.mailbox_id
      FROM pgbox.message_state AS s
     WHERE s.mailbox_id >= p_mailboxes[1] AND s.mailbox_id < p_mailboxes[2] AND s.keywords IS NOT NULL
       AND EXISTS (SELECT 1 FROM unnest(s.keywords) AS k (number)
                    WHERE NOT EXISTS (SELECT 1 FROM pgbox.mailbox_keyword AS n
                            WHERE n.mailbox_id = s.mailbox_id AND n.number = k.number))
    UNION ALL
    SELECT 'keywords are in order', 'message_state', jsonb_build_object('mailbox_id', s.mailbox_id, 'uid', s.uid),
           format('message %s of mailbox %s has keywords out of order: %s', s.uid, s.mailbox_id, s.keywords),
           'mailbox', s.mailbox_id
      FROM pgbox.message_state AS s
     WHERE s.mailbox_id >= p_mailboxes[1] AND s.mailbox_id < p_mailboxes[2] AND s.keywords IS NOT NULL
       AND s.keywords IS DISTINCT FROM ARRAY(SELECT DISTINCT k.number FROM unnest(s.keywords) AS k (number) ORDER BY k.number)
    UNION ALL
    SELECT 'a mailbox has counters', 'mailbox', jsonb_build_object('mailbox_id', m.mailbox_id),
           format('mailbox %s of account %s has no counters', m.mailbox_id, m.account_id), 'mailbox', m.mailbox_id
      FROM pgbox.mailbox AS m
     WHERE m.mailbox_id >= p_mailboxes[1] AND m.mailbox_id < p_mailboxes[2] AND m.guid IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = m.mailbox_id)
    UNION ALL
    SELECT 'a node has no messages', 'mailbox', jsonb_build_object('mailbox_id', m.mailbox_id),
           format('node %s of account %s has counters or messages, and no GUID', m.mailbox_id, m.account_id),
           'mailbox', m.mailbox_id
      FROM pgbox.mailbox AS m
     WHERE m.mailbox_id >= p_mailboxes[1] AND m.mailbox_id < p_mailboxes[2] AND m.guid IS NULL
       AND (EXISTS (SELECT 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = m.mailbox_id)
            OR EXISTS (SELECT 1 FROM pgbox.message AS g WHERE g.mailbox_id = m.mailbox_id))
    UNION ALL
    SELECT 'a client can open a mailbox by its name', 'mailbox', jsonb_build_object('mailbox_id', m.mailbox_id),
           format('mailbox %s of account %s: no client can open %s', m.mailbox_id, m.account_id, to_json(m.name)), 'name', m.mailbox_id
      FROM pgbox.mailbox AS m
     WHERE m.mailbox_id >= p_mailboxes[1] AND m.mailbox_id < p_mailboxes[2] AND m.deleted_at IS NULL
       AND NOT pgbox.mailbox_name_usable(m.name)
    UNION ALL
    SELECT 'an account has an INBOX', 'account', jsonb_build_object('account_id', a.account_id),
           format('account %s has no INBOX', a.account_id), 'account', a.account_id
      FROM pgbox.account AS a
     WHERE a.account_id >= p_accounts[1] AND a.account_id < p_accounts[2] AND a.deleted_at IS NULL
       AND NOT EXISTS (SELECT 1 FROM pgbox.mailbox AS m
                        WHERE m.account_id = a.account_id AND m.name = 'INBOX' AND m.guid IS NOT NULL AND m.deleted_at IS NULL)
    UNION ALL
    SELECT 'a mailbox has its parents', 'mailbox', jsonb_build_object('mailbox_id', m.mailbox_id),
           format('mailbox %s of account %s, "%s", has no parent', m.mailbox_id, m.account_id, m.name),
           'account', m.account_id
      FROM pgbox.mailbox AS m
     WHERE m.account_id >= p_accounts[1] AND m.account_id < p_accounts[2] AND m.deleted_at IS NULL AND m.name ~ '^[^/].*/'
       -- NOT IN makes a hash: of two indexes for EXISTS, the one of names isn't
       -- sure to be taken before there are statistics
       AND (m.account_id, regexp_replace(m.name, '/[^/]*$', ''))
           NOT IN (SELECT p.account_id, p.name
                     FROM pgbox.mailbox AS p
                    WHERE p.account_id >= p_accounts[1] AND p.account_id < p_accounts[2] AND p.deleted_at IS NULL)
    UNION ALL
    SELECT 'a node goes when it is deleted', 'mailbox', jsonb_build_object('mailbox_id', m.mailbox_id),
           format('node %s of account %s is marked as deleted', m.mailbox_id, m.account_id), 'account', m.account_id
      FROM pgbox.mailbox AS m
     WHERE m.account_id >= p_accounts[1] AND m.account_id < p_accounts[2] AND m.guid IS NULL AND m.deleted_at IS NOT NULL
    UNION ALL
    SELECT 'UIDVALIDITY is given once', 'account', jsonb_build_object('account_id', a.account_id, 'mailbox_id', m.mailbox_id),
           format('mailbox %s: UIDVALIDITY %s is above the highest its account has given', m.mailbox_id, m.uidvalidity),
           'account', a.account_id
      FROM pgbox.mailbox AS m
      JOIN pgbox.account AS a ON a.account_id = m.account_id
     WHERE a.account_id >= p_accounts[1] AND a.account_id < p_accounts[2] AND m.uidvalidity > a.last_uidvalidity
       -- values near the end of the range were asked for, and aren't counted
       AND m.uidvalidity < 4278190080
    UNION ALL
    SELECT 'a body has all its bytes', 'body', jsonb_build_object('body_id', b.body_id),
           format('body %s has %s bytes in chunks, and should have %s',
                  b.body_id, k.bytes, GREATEST(b.size - 131072, 0)), 'backup', NULL::bigint
      FROM pgbox.body AS b
     CROSS JOIN LATERAL (SELECT COALESCE(sum(CASE WHEN h.base64 IS NULL THEN octet_length(h.data)
                                                  ELSE pgbox.base64_length(octet_length(h.data), h.base64) END), 0) AS bytes,
                                count(*) AS chunks, max(h.number) AS last
                           FROM pgbox.body_chunk AS h WHERE h.body_id = b.body_id) AS k
     WHERE b.body_id >= p_contents[1] AND b.body_id < p_contents[2]
       AND (k.bytes <> GREATEST(b.size - 131072, 0) OR k.chunks <> k.last)
    UNION ALL
    SELECT 'header and body make up the size', 'content', jsonb_build_object('content_id', c.content_id),
           format('content %s has size %s, its header and body have %s',
                  c.content_id, c.size, octet_length(c.header) + COALESCE(b.size, 0)), 'backup', NULL
      FROM pgbox.content AS c
      LEFT JOIN pgbox.body AS b ON b.body_id = c.body_id
     WHERE c.content_id >= p_contents[1] AND c.content_id < p_contents[2] AND c.header_complete AND (c.body_id IS NULL OR b.body_id IS NOT NULL)
       AND c.size <> octet_length(c.header) + COALESCE(b.size, 0)
    UNION ALL
    SELECT 'a message has a content', 'message', jsonb_build_object('mailbox_id', g.mailbox_id, 'uid', g.uid, 'content_id', g.content_id),
           format('message %s of mailbox %s has no content: %s is missing', g.uid, g.mailbox_id, g.content_id), 'backup', NULL
      FROM pgbox.message AS g
     WHERE g.mailbox_id >= p_mailboxes[1] AND g.mailbox_id < p_mailboxes[2]
       AND NOT EXISTS (SELECT 1 FROM pgbox.content AS c WHERE c.content_id = g.content_id)
    UNION ALL
    SELECT 'a tombstone has its content or none', 'expunged', jsonb_build_object('mailbox_id', e.mailbox_id, 'uid', e.uid, 'content_id', e.content_id),
           format('tombstone %s of mailbox %s has no content: %s is missing', e.uid, e.mailbox_id, e.content_id),
           'mailbox', e.mailbox_id
      FROM pgbox.expunged AS e
     WHERE e.mailbox_id >= p_mailboxes[1] AND e.mailbox_id < p_mailboxes[2] AND e.content_id IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM pgbox.content AS c WHERE c.content_id = e.content_id)
    UNION ALL
    SELECT 'a content has a body', 'content', jsonb_build_object('content_id', c.content_id, 'body_id', c.body_id),
           format('content %s has no body: %s is missing', c.content_id, c.body_id), 'backup', NULL
      FROM pgbox.content AS c
     WHERE c.content_id >= p_contents[1] AND c.content_id < p_contents[2] AND c.body_id IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM pgbox.body AS b WHERE b.body_id = c.body_id)
    UNION ALL
    SELECT 'what is in a mailbox has a mailbox', o.relation, o.ids,
           format('%s %s: there is no such mailbox', o.relation, o.ids), 'lost', NULL
      FROM (SELECT 'mailbox_counter', jsonb_build_object('mailbox_id', r.mailbox_id), r.mailbox_id FROM pgbox.mailbox_counter AS r
            UNION ALL
            SELECT 'mailbox_keyword', jsonb_build_object('mailbox_id', r.mailbox_id, 'number', r.number), r.mailbox_id FROM pgbox.mailbox_keyword AS r
            UNION ALL
            SELECT 'mailbox_attribute', jsonb_build_object('mailbox_id', r.mailbox_id, 'key', r.key), r.mailbox_id FROM pgbox.mailbox_attribute AS r
            UNION ALL
            SELECT 'message', jsonb_build_object('mailbox_id', r.mailbox_id, 'uid', r.uid), r.mailbox_id FROM pgbox.message AS r
            UNION ALL
            SELECT 'expunged', jsonb_build_object('mailbox_id', r.mailbox_id, 'uid', r.uid), r.mailbox_id FROM pgbox.expunged AS r)
           AS o (relation, ids, mailbox_id)
     WHERE o.mailbox_id >= p_mailboxes[1] AND o.mailbox_id < p_mailboxes[2]
       AND NOT EXISTS (SELECT 1 FROM pgbox.mailbox AS m WHERE m.mailbox_id = o.mailbox_id)
    UNION ALL
    SELECT 'what belongs to an account has an account', o.relation, o.ids,
           format('%s %s: there is no such account', o.relation, o.ids), 'lost', NULL
      FROM (SELECT 'mailbox', jsonb_build_object('account_id', r.account_id, 'mailbox_id', r.mailbox_id), r.account_id FROM pgbox.mailbox AS r
            UNION ALL
            SELECT 'subscription', jsonb_build_object('account_id', r.account_id, 'name', r.name), r.account_id FROM pgbox.subscription AS r)
           AS o (relation, ids, account_id)
     WHERE o.account_id >= p_accounts[1] AND o.account_id < p_accounts[2]
       AND NOT EXISTS (SELECT 1 FROM pgbox.account AS a WHERE a.account_id = o.account_id)
    UNION ALL
    SELECT 'a chunk has a body', 'body_chunk', jsonb_build_object('body_id', h.body_id),
           format('body_chunk: there is no body %s', h.body_id), 'lost', NULL
      FROM pgbox.body_chunk AS h
     WHERE h.body_id >= p_contents[1] AND h.body_id < p_contents[2]
       AND NOT EXISTS (SELECT 1 FROM pgbox.body AS b WHERE b.body_id = h.body_id)
     GROUP BY h.body_id
    UNION ALL
    SELECT 'the store describes itself', 'store', '{}'::jsonb, 'table store has no row', 'backup', NULL
     -- once in a walk over all ranges, with the first
     WHERE p_accounts[1] < 0 AND NOT EXISTS (SELECT 1 FROM pgbox.store))
  SELECT f.rule, f.relation, f.ids, f.problem, format(r.text, f.target)
    FROM found AS f
    JOIN remedy AS r ON r.kind = f.kind;
END
$$;
COMMENT ON FUNCTION pgbox.violations(bigint[], bigint[], bigint[]) IS 'What is wrong with the rows of mailboxes, accounts, and contents and bodies, each given as the lowest number and the one after the highest';

-- The collation that the column had in version 1: it can't be changed.
CREATE OR REPLACE VIEW pgbox.invariant_violations AS
SELECT v.rule, v.relation, v.ids, v.problem COLLATE "C" AS problem, v.remedy
  FROM pgbox.violations('{-9223372036854775808,9223372036854775807}', '{-9223372036854775808,9223372036854775807}',
                        '{-9223372036854775808,9223372036854775807}') AS v;
COMMENT ON VIEW pgbox.invariant_violations IS 'What is wrong with the rows: empty on a healthy store. Reads all tables but the bytes of mail';
COMMENT ON COLUMN pgbox.invariant_violations.rule IS 'What must be true';
COMMENT ON COLUMN pgbox.invariant_violations.relation IS 'The table with the row';
COMMENT ON COLUMN pgbox.invariant_violations.ids IS 'Which row';
COMMENT ON COLUMN pgbox.invariant_violations.problem IS 'What is wrong with it, in words';
COMMENT ON COLUMN pgbox.invariant_violations.remedy IS 'What to do';

-- All kinds of rows are numbered on their own, and small numbers are in all of
-- them: one range goes over all, to the end of the longest.
CREATE OR REPLACE FUNCTION pgbox.rows_verify(p_after bigint DEFAULT 0, p_limit bigint DEFAULT 10000)
RETURNS TABLE (next_after bigint, wrong jsonb)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- the first step looks below the first number too: nothing should be there
  v_range bigint[] := ARRAY[CASE WHEN p_after > 0 THEN p_after + 1 ELSE -9223372036854775808 END, p_after + p_limit + 1];
BEGIN
  PERFORM pgbox.limit_check(p_limit);
  SELECT CASE WHEN GREATEST((SELECT max(m.mailbox_id) FROM pgbox.mailbox AS m), (SELECT max(a.account_id) FROM pgbox.account AS a),
                            (SELECT max(c.content_id) FROM pgbox.content AS c), (SELECT max(b.body_id) FROM pgbox.body AS b))
                   > p_after + p_limit
              THEN p_after + p_limit END
    INTO next_after;
  IF next_after IS NULL THEN
    v_range[2] := 9223372036854775807;
  END IF;
  SELECT COALESCE(jsonb_agg(jsonb_build_object('problem', v.problem, 'remedy', v.remedy)), '[]')
    INTO wrong
    FROM pgbox.violations(v_range, v_range, v_range) AS v;
  IF wrong <> '[]' THEN
    PERFORM pgbox.job_record('rows_verify', 'rows after ' || p_after, jsonb_build_object('wrong', wrong),
                             CASE WHEN next_after IS NULL THEN 'done' ELSE 'more' END);
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.rows_verify(bigint, bigint) IS 'What invariant_violations says of accounts, mailboxes, contents and bodies whose numbers are after p_after, p_limit numbers at a time. Go on with next_after until that is NULL. wrong: problems and remedies';

CREATE OR REPLACE FUNCTION pgbox.account_verify(p_account text)
RETURNS TABLE (wrong jsonb)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_account bigint := pgbox.account_find(p_account);
  v_none CONSTANT bigint[] := '{0,0}';
BEGIN
  SELECT COALESCE(jsonb_agg(jsonb_build_object('problem', v.problem, 'remedy', v.remedy) ORDER BY r.mailboxes), '[]')
    INTO wrong
    FROM (SELECT v_none AS mailboxes, ARRAY[v_account, v_account + 1] AS accounts
           UNION ALL
          SELECT ARRAY[m.mailbox_id, m.mailbox_id + 1], v_none FROM pgbox.mailbox AS m WHERE m.account_id = v_account) AS r
   CROSS JOIN LATERAL pgbox.violations(r.mailboxes, r.accounts, v_none) AS v;
  IF wrong <> '[]' THEN
    PERFORM pgbox.job_record('account_verify', p_account, jsonb_build_object('wrong', wrong), 'done');
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.account_verify(text) IS 'What invariant_violations says of an account and its mailboxes. wrong: problems and remedies';

-- The caller has locked the mailbox.
CREATE OR REPLACE FUNCTION pgbox.mailbox_recount(p_mailbox bigint, p_anew boolean)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
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
COMMENT ON FUNCTION pgbox.mailbox_recount(bigint, boolean) IS 'Make the counters of a locked mailbox equal its rows; returns whether they didn''t. p_anew: nodes may have seen what the rows don''t tell, so they are to read the mailbox anew';

CREATE OR REPLACE FUNCTION pgbox.mailbox_repair(p_mailbox bigint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
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
    DELETE FROM pgbox.message_state AS s WHERE s.mailbox_id = p_mailbox AND s.uid = v_message.uid;
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
COMMENT ON FUNCTION pgbox.mailbox_repair(bigint) IS 'Mend what can be told from the rows of a mailbox: counters, states, keywords, modseqs, UIDs that were expunged. Returns whether anything was wrong';

CREATE OR REPLACE FUNCTION pgbox.account_repair(p_account bigint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
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
COMMENT ON FUNCTION pgbox.account_repair(bigint) IS 'Mend the tree of an account: INBOX, nodes above mailboxes, UIDVALIDITY to be given next. Returns whether anything was wrong';
