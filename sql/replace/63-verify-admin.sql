-- Is what is stored what was sent, and what to do after a restore.

-- it has one more argument now
DROP FUNCTION IF EXISTS pgbox.after_restore(bigint, bigint);

-- One body at a time is in memory as a whole.
CREATE OR REPLACE FUNCTION pgbox.body_problem(p_body bigint)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_digest bytea;
  v_size bigint;
  v_bytes bytea;
BEGIN
  SELECT b.digest, b.size,
         b.head || COALESCE((SELECT string_agg(k.data, ''::bytea ORDER BY k.number)
                               FROM pgbox.body_chunk AS k WHERE k.body_id = b.body_id), ''::bytea)
    INTO v_digest, v_size, v_bytes
    FROM pgbox.body AS b
   WHERE b.body_id = p_body;
  IF octet_length(v_bytes) <> v_size THEN
    RETURN format('has %s bytes, and should have %s', octet_length(v_bytes), v_size);
  ELSIF sha256(v_bytes) <> v_digest THEN
    RETURN 'is not what its SHA-256 says';
  ELSIF EXISTS (SELECT 1 FROM pgbox.content AS c
                 WHERE c.body_id = p_body AND c.header_complete AND c.size <> octet_length(c.header) + v_size) THEN
    RETURN 'does not fit the size of a content that refers to it';
  END IF;
  RETURN NULL;
EXCEPTION WHEN data_corrupted OR index_corrupted OR internal_error THEN
  -- what PostgreSQL says of damaged TOAST data
  RETURN 'can''t be read: ' || SQLERRM;
END
$$;
COMMENT ON FUNCTION pgbox.body_problem(bigint) IS 'What is wrong with a body; NULL: nothing';

CREATE OR REPLACE FUNCTION pgbox.bodies_after(p_after bigint, p_limit integer, p_account text)
RETURNS TABLE (body_id bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF p_account IS NULL THEN
    RETURN QUERY
    SELECT b.body_id FROM pgbox.body AS b WHERE b.body_id > p_after ORDER BY b.body_id LIMIT p_limit;
  ELSE
    RETURN QUERY
    SELECT DISTINCT c.body_id
      FROM pgbox.mailbox AS m
      JOIN pgbox.message AS g ON g.mailbox_id = m.mailbox_id
      JOIN pgbox.content AS c ON c.content_id = g.content_id
     WHERE m.account_id = pgbox.account_find(p_account) AND c.body_id > p_after
     ORDER BY 1
     LIMIT p_limit;
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.bodies_after(bigint, integer, text) IS 'The next body_ids after one, of all bodies or of an account''s messages, ascending';

CREATE OR REPLACE FUNCTION pgbox.content_verify(
  p_after bigint DEFAULT 0, p_limit integer DEFAULT 1000, p_percent numeric DEFAULT 100, p_account text DEFAULT NULL)
RETURNS TABLE (checked bigint, next_after bigint, wrong jsonb)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_body bigint;
  v_seen integer := 0;
  v_problem text;
BEGIN
  PERFORM pgbox.limit_check(p_limit);
  IF p_percent IS NULL OR NOT p_percent BETWEEN 0 AND 100 THEN
    RAISE EXCEPTION 'p_percent can''t be %: it is 0 to 100', COALESCE(p_percent::text, 'NULL') USING ERRCODE = '22023';
  END IF;
  checked := 0;
  wrong := '{}';
  FOR v_body IN SELECT b.body_id FROM pgbox.bodies_after(p_after, p_limit, p_account) AS b LOOP
    v_seen := v_seen + 1;
    next_after := v_body;
    CONTINUE WHEN random() * 100 >= p_percent;
    checked := checked + 1;
    v_problem := pgbox.body_problem(v_body);
    IF v_problem IS NOT NULL THEN
      wrong := wrong || jsonb_build_object(v_body::text, v_problem);
    END IF;
  END LOOP;
  IF v_seen < p_limit THEN
    next_after := NULL;
  END IF;
  IF wrong <> '{}' THEN
    PERFORM pgbox.job_record('content_verify', 'bodies after ' || p_after, jsonb_build_object('checked', checked, 'wrong', wrong),
                             CASE WHEN next_after IS NULL THEN 'done' ELSE 'more' END);
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.content_verify(bigint, integer, numeric, text) IS 'Compare bodies with their digests and sizes: of p_limit bodies after a body_id, of all or of one account''s messages, so many percent, chosen at random. Go on with next_after until that is NULL. wrong: body_id and what is wrong';

-- Nodes drop what they have cached if the epoch is another one, so none may come
-- twice: not in this database, nor in another copy of what was restored here.
-- The clock alone would give two copies of one dump, restored at once, the same
-- one, and a node that was led from one to the other would take its cache for
-- good. Chance alone would repeat what was given before the restore, which this
-- database has forgotten. So it is both: seconds, and up to 131071 by chance,
-- which is a day and a half of seconds. Two copies agree by one chance in 131072;
-- what was given longer ago than that is below for sure, and so is what is known
-- here. Chance is added in each case, for copies of a store whose epoch is ahead
-- of the clock have the same number to go on from. Seconds since 2020 last till
-- 2088, in 31 bits.
-- store_guid stays: caches don't hold it, and services for signals, which read
-- it once, would refuse the sessions that go on through a p_force.
CREATE OR REPLACE FUNCTION pgbox.epoch_next(p_epoch integer)
RETURNS integer
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT (GREATEST(p_epoch + 1, extract(epoch FROM clock_timestamp() - '2020-01-01 00:00+00'::timestamptz)::bigint)
          + floor(random() * 131072))::integer
$$;
COMMENT ON FUNCTION pgbox.epoch_next(integer) IS 'An epoch above one: the clock and some chance, so that two copies of one dump don''t get the same';

-- One transaction: nobody is served by a store that has jumped by half. Triggers
-- are off meanwhile: one signal tells everybody to look. Whose session it is
-- pg_stat_activity tells everybody.
CREATE OR REPLACE FUNCTION pgbox.after_restore(
  p_uids bigint DEFAULT 1000000, p_changes bigint DEFAULT 1073741824, p_force boolean DEFAULT false)
RETURNS TABLE (mailboxes bigint, messages bigint, new_uidvalidity bigint, epoch integer)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  v_full bigint[];
  v_sessions bigint;
BEGIN
  IF p_uids < 1 OR p_changes < 1 THEN
    RAISE EXCEPTION 'the margins must be above 0' USING ERRCODE = '22023';
  END IF;
  SELECT count(*) INTO v_sessions
    FROM pg_stat_activity AS a
   WHERE a.datname = current_database() AND a.usename = 'pgbox_dovecot' AND a.pid <> pg_backend_pid();
  IF v_sessions > 0 AND NOT p_force THEN
    RAISE EXCEPTION 'Dovecot is connected: role pgbox_dovecot has % sessions in this database', v_sessions
      USING ERRCODE = '55006',
            HINT = 'This is for the time between a restore and the start of Dovecot: stop all nodes, and poolers. On a store that wasn''t '
                   'restored it makes all clients compare all their messages; p_force => true does it nevertheless.';
  END IF;
  PERFORM 1 FROM pgbox.store AS s FOR NO KEY UPDATE;
  LOCK TABLE pgbox.account, pgbox.mailbox_counter IN EXCLUSIVE MODE;
  ALTER TABLE pgbox.account DISABLE TRIGGER USER;
  ALTER TABLE pgbox.mailbox DISABLE TRIGGER USER;
  ALTER TABLE pgbox.mailbox_counter DISABLE TRIGGER USER;
  ALTER TABLE pgbox.message_state DISABLE TRIGGER USER;

  -- names that were given since: UIDVALIDITY is the clock, or counts on from there
  UPDATE pgbox.account AS a
     SET last_uidvalidity = GREATEST(a.last_uidvalidity, extract(epoch FROM clock_timestamp())::bigint) + 86400,
         list_modseq = a.list_modseq + p_changes;
  -- no room for a jump: clients of these mailboxes have to begin anew
  v_full := ARRAY(SELECT c.mailbox_id
                    FROM pgbox.mailbox_counter AS c
                   WHERE c.uid_next + p_uids > 4278190080 OR c.highest_modseq > 4611686018427387904 - p_changes * pgbox.modseq_step());
  UPDATE pgbox.mailbox AS m
     SET uidvalidity = pgbox.uidvalidity_next(m.account_id)
   WHERE m.mailbox_id = ANY (v_full);
  UPDATE pgbox.mailbox_counter AS c
     SET uid_next = c.uid_next + p_uids,
         highest_modseq = c.highest_modseq + p_changes * pgbox.modseq_step(),
         pruned_modseq = c.highest_modseq + (p_changes - 1) * pgbox.modseq_step()
   WHERE NOT c.mailbox_id = ANY (v_full);
  GET DIAGNOSTICS mailboxes = ROW_COUNT;
  -- flags that clients have seen changed and that are as before again: only what
  -- has a modseq above all of theirs is told to them
  UPDATE pgbox.message_state AS s
     SET modseq = c.highest_modseq
    FROM pgbox.mailbox_counter AS c
   WHERE c.mailbox_id = s.mailbox_id AND NOT c.mailbox_id = ANY (v_full);
  GET DIAGNOSTICS messages = ROW_COUNT;
  new_uidvalidity := cardinality(v_full);

  ALTER TABLE pgbox.account ENABLE TRIGGER USER;
  ALTER TABLE pgbox.mailbox ENABLE TRIGGER USER;
  ALTER TABLE pgbox.mailbox_counter ENABLE TRIGGER USER;
  ALTER TABLE pgbox.message_state ENABLE TRIGGER USER;
  UPDATE pgbox.store AS s
     SET epoch = pgbox.epoch_next(s.epoch)
  RETURNING s.epoch INTO epoch;
  PERFORM pgbox.job_record('after_restore', 'all mailboxes',
                           jsonb_build_object('mailboxes', mailboxes, 'messages', messages, 'new_uidvalidity', new_uidvalidity, 'epoch', epoch), 'done');
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.after_restore(bigint, bigint, boolean) IS 'After a restore or a failover that lost commits, before Dovecot is let in: UIDs jump by p_uids and modseqs by p_changes changes, in all mailboxes, so that none is given out twice; where there is no room UIDVALIDITY changes. Nodes drop their caches: epoch is above all that this database knows of, and another one in each copy of a dump. Refused while Dovecot is connected, unless p_force';
