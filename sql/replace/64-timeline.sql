-- Commits that are lost: by a failover to a standby that hadn't got them, or by a
-- restore. Clients and nodes then know UIDs and modseqs that this database would
-- give out again, and they would mean something else.
--
-- PostgreSQL begins a new timeline whenever a standby is promoted, and at the end of
-- a restore from WAL. Each link of a node begins with link_check(), which compares
-- it with the one that the store noted; if it is another one counters jump past
-- what can have been given out, in the transaction of that link's first request.
-- Whoever else comes waits for the store's row meanwhile. What doesn't come through
-- link_check (a pooler's backend that was made anew behind a link, psql) is refused
-- by a trigger as soon as it takes a UID, modseq or UIDVALIDITY. Reading before the
-- jump does no harm: what is there was given out before the timelines parted.
--
-- Whether anything was lost can't be told from here, so counters jump at each
-- failover.

-- it has one more argument now
DROP FUNCTION IF EXISTS pgbox.after_restore(bigint, bigint);

CREATE OR REPLACE FUNCTION pgbox.timeline_now()
RETURNS integer
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer $$;
COMMENT ON FUNCTION pgbox.timeline_now() IS 'The timeline that this server writes; an error on a standby';

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

-- Numbers of rows that were lost are held by sessions that go on, for a mailbox they
-- have open for instance: another user's mailbox mustn't get the same.
CREATE OR REPLACE FUNCTION pgbox.identities_jump(p_rows bigint)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT setval(c.oid::regclass, COALESCE(pg_sequence_last_value(c.oid), 0) + p_rows)
    FROM pg_class AS c
   WHERE c.relnamespace = 'pgbox'::regnamespace AND c.relkind = 'S'
$$;
COMMENT ON FUNCTION pgbox.identities_jump(bigint) IS 'Leave out so many numbers of mailboxes, contents and all other rows';

-- One transaction: nobody is served by a store that has jumped by half. Triggers
-- are off meanwhile: one signal tells everybody to look.
CREATE OR REPLACE FUNCTION pgbox.counters_jump(
  p_uids bigint, p_changes bigint, p_seen bigint,
  OUT mailboxes bigint, OUT messages bigint, OUT new_uidvalidity bigint, OUT epoch integer)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  v_full bigint[];
BEGIN
  PERFORM 1 FROM pgbox.store AS s FOR NO KEY UPDATE;
  LOCK TABLE pgbox.account, pgbox.mailbox_counter IN EXCLUSIVE MODE;
  ALTER TABLE pgbox.account DISABLE TRIGGER USER;
  ALTER TABLE pgbox.mailbox DISABLE TRIGGER USER;
  ALTER TABLE pgbox.mailbox_counter DISABLE TRIGGER USER;

  PERFORM pgbox.identities_jump(p_uids);
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
  new_uidvalidity := cardinality(v_full);
  -- Flags that clients have seen changed and that are as before again: only what
  -- has a modseq above all of theirs is told to them. That is message_floor; to
  -- write all rows of message_state would take minutes, and an outage lasts as long.
  WITH jumped AS (
    UPDATE pgbox.mailbox_counter AS c
       SET uid_next = c.uid_next + p_uids,
           highest_modseq = c.highest_modseq + p_changes * pgbox.modseq_step(),
           message_floor = c.highest_modseq + p_changes * pgbox.modseq_step(),
           pruned_modseq = c.highest_modseq + (p_changes - 1) * pgbox.modseq_step()
     WHERE NOT c.mailbox_id = ANY (v_full)
    RETURNING c.messages)
  SELECT count(*), COALESCE(sum(j.messages), 0) INTO mailboxes, messages FROM jumped AS j;

  ALTER TABLE pgbox.account ENABLE TRIGGER USER;
  ALTER TABLE pgbox.mailbox ENABLE TRIGGER USER;
  ALTER TABLE pgbox.mailbox_counter ENABLE TRIGGER USER;
  UPDATE pgbox.store AS s
     SET epoch = pgbox.epoch_next(s.epoch),
         timeline = pgbox.timeline_now(),
         generation = GREATEST(s.generation + 1, p_seen + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
  RETURNING s.epoch INTO epoch;
END
$$;
COMMENT ON FUNCTION pgbox.counters_jump(bigint, bigint, bigint) IS 'Let UIDs jump by p_uids and modseqs by p_changes changes in all mailboxes; the store gets a new epoch, and a generation above p_seen (NULL: any)';

CREATE OR REPLACE FUNCTION pgbox.timeline_adopt(p_seen bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_timeline integer;
  v_jump record;
BEGIN
  PERFORM 1 FROM pgbox.store AS s FOR NO KEY UPDATE;
  -- a statement of its own: it sees what another link did while this one waited
  SELECT s.timeline INTO v_timeline FROM pgbox.store AS s;
  IF v_timeline IS NULL THEN
    UPDATE pgbox.store AS s SET timeline = pgbox.timeline_now();
  ELSIF v_timeline <> pgbox.timeline_now() THEN
    SELECT j.mailboxes, j.messages, j.new_uidvalidity, j.epoch
      INTO v_jump
      FROM pgbox.counters_jump(1000000, 1073741824, p_seen) AS j;
    PERFORM pgbox.job_record('failover', format('timeline %s after %s', pgbox.timeline_now(), v_timeline), to_jsonb(v_jump), 'done');
    RAISE LOG 'pgbox: timeline % after %: UIDs and modseqs of % mailboxes have jumped', pgbox.timeline_now(), v_timeline, v_jump.mailboxes;
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.timeline_adopt(bigint) IS 'Make the counters good for the timeline that this server writes: note it if none was, let them jump if it is another one';

-- On a standby nothing is adopted: it shows what was given out before.
CREATE OR REPLACE FUNCTION pgbox.link_check(
  p_oldest integer, p_newest integer, p_stores uuid[], p_generations bigint[])
RETURNS TABLE (store_guid uuid, generation bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  v_timeline integer;
  v_seen bigint;
BEGIN
  PERFORM pgbox.schema_check(p_oldest, p_newest);
  SELECT s.timeline, s.store_guid, s.generation,
         (SELECT max(u.generation) FROM unnest(p_stores, p_generations) AS u (store_guid, generation) WHERE u.store_guid = s.store_guid)
    INTO v_timeline, store_guid, generation, v_seen
    FROM pgbox.store AS s;
  IF NOT pg_is_in_recovery() AND v_timeline IS DISTINCT FROM pgbox.timeline_now() THEN
    PERFORM pgbox.timeline_adopt(v_seen);
    SELECT s.generation INTO generation FROM pgbox.store AS s;
  END IF;
  IF generation < v_seen THEN
    RAISE EXCEPTION 'this server was left behind by a failover: its mail is of %, this node has seen that of %',
                    CASE WHEN generation = 0 THEN 'before the first one' ELSE to_timestamp(generation / 1000000)::text END,
                    to_timestamp(v_seen / 1000000)
      USING ERRCODE = 'PB015', HINT = 'Let pgbox_db lead to the new primary, and stop this server or make it a standby.';
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.link_check(integer, integer, uuid[], bigint[]) IS 'What each link of a node begins with: is the schema of one of these versions, are the counters good for this timeline (else they jump), and is this store as new as the node has seen it? Returns what it is to remember';

-- Each write runs this: so it is STABLE, for what is VOLATILE gets one more setting
-- (90-grants.sql), and timeline_now() is written out, which is a tenth of the time. With
-- arguments it is rule_refuse_others() as well: two looks in one function, for each
-- change of messages runs it.
CREATE OR REPLACE FUNCTION pgbox.timeline_guard()
RETURNS trigger
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_timeline integer;
BEGIN
  IF TG_NARGS > 0
     AND (current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner') THEN
    RAISE EXCEPTION '%', TG_ARGV[0]
      USING ERRCODE = 'PB010', HINT = TG_ARGV[1], TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
  END IF;
  SELECT s.timeline INTO v_timeline FROM pgbox.store AS s;
  IF v_timeline <> ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer THEN
    RAISE EXCEPTION 'the counters are not good for this timeline: commits may have been lost'
      USING ERRCODE = 'PB014', HINT = 'The next new connection of Dovecot mends it, and so does SELECT pgbox.after_failover().';
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.timeline_guard() IS 'Trigger: after a failover counters have to jump before they are used; with arguments, as those of rule_refuse(), they are not changed by hand either';

CREATE OR REPLACE TRIGGER account_timeline
  BEFORE UPDATE OF last_uidvalidity, list_modseq ON pgbox.account
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.timeline_guard();
COMMENT ON TRIGGER account_timeline ON pgbox.account IS 'No UIDVALIDITY is given out twice after a failover';

CREATE OR REPLACE FUNCTION pgbox.after_failover()
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT pgbox.timeline_adopt(NULL) $$;
COMMENT ON FUNCTION pgbox.after_failover() IS 'What the first link of a node does after a failover: counters jump if this is a timeline they haven''t been on. For stores so large that a link would give up before it is done';

-- Whose session it is pg_stat_activity tells everybody.
CREATE OR REPLACE FUNCTION pgbox.after_restore(
  p_uids bigint DEFAULT 1000000, p_changes bigint DEFAULT 1073741824, p_force boolean DEFAULT false)
RETURNS TABLE (mailboxes bigint, messages bigint, new_uidvalidity bigint, epoch integer)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
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
  SELECT j.mailboxes, j.messages, j.new_uidvalidity, j.epoch
    INTO mailboxes, messages, new_uidvalidity, epoch
    FROM pgbox.counters_jump(p_uids, p_changes, NULL) AS j;
  PERFORM pgbox.job_record('after_restore', 'all mailboxes',
                           jsonb_build_object('mailboxes', mailboxes, 'messages', messages, 'new_uidvalidity', new_uidvalidity, 'epoch', epoch), 'done');
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.after_restore(bigint, bigint, boolean) IS 'After a restore, before Dovecot is let in: UIDs jump by p_uids and modseqs by p_changes changes, in all mailboxes, so that none is given out twice; where there is no room UIDVALIDITY changes. Nodes drop their caches: epoch is above all that this database knows of, and another one in each copy of a dump. Refused while Dovecot is connected, unless p_force';
