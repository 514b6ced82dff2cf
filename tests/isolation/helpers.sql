-- What the specs call. Each function runs the plugin's own statement, which
-- iso_run.py has wrapped into a function of schema "stmt", on mailboxes that go
-- by names, and shows nothing that another run would show differently: modseqs
-- are counted in steps, ids and UIDVALIDITYs stay hidden.

CREATE SCHEMA iso;
GRANT USAGE ON SCHEMA iso TO pgbox_dovecot;

CREATE TABLE iso.run (account_id bigint NOT NULL, account text NOT NULL);
-- What a session knows of a mailbox: its id, whatever its name becomes.
CREATE TABLE iso.box (name text PRIMARY KEY, mailbox_id bigint NOT NULL);
-- Copies of mailboxes as nodes have them, one for each session.
CREATE TABLE iso.node (pid integer, mailbox_id bigint, modseq bigint NOT NULL, uid_next bigint NOT NULL,
                       PRIMARY KEY (pid, mailbox_id));
CREATE TABLE iso.copy (pid integer, mailbox_id bigint, uid bigint, modseq bigint, flags smallint, keywords smallint[],
                       PRIMARY KEY (pid, mailbox_id, uid));
-- UIDVALIDITYs seen, to be compared
CREATE TABLE iso.seen (what text, value bigint);
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA iso TO pgbox_dovecot;

-- Begin a permutation: a new account with these mailboxes besides INBOX.
CREATE PROCEDURE iso.start(VARIADIC p_names text[] DEFAULT '{}')
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  v_account text := gen_random_uuid()::text;
  v_id bigint;
BEGIN
  DELETE FROM iso.run;
  DELETE FROM iso.box;
  DELETE FROM iso.node;
  DELETE FROM iso.copy;
  DELETE FROM iso.seen;
  -- what a permutation before left to be purged isn't this one's
  PERFORM pgbox.purge(100000);
  v_id := pgbox.account_create(v_account);
  INSERT INTO iso.run VALUES (v_id, v_account);
  INSERT INTO iso.box
  SELECT n.name, CASE WHEN n.name = 'INBOX' THEN (SELECT m.mailbox_id FROM pgbox.mailbox AS m WHERE m.account_id = v_id)
                      ELSE pgbox.mailbox_create(v_id, n.name, true, NULL, NULL, NULL) END
    FROM unnest(ARRAY['INBOX'] || p_names) WITH ORDINALITY AS n (name, ord)
   ORDER BY n.ord;
END
$$;

CREATE FUNCTION iso.account() RETURNS text LANGUAGE sql STABLE AS 'SELECT account FROM iso.run';

CREATE FUNCTION iso.box(p_name text) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_id bigint;
BEGIN
  SELECT b.mailbox_id INTO STRICT v_id FROM iso.box AS b WHERE b.name = p_name;
  RETURN v_id;
END
$$;

-- Look a name up anew, as an opening of the mailbox does.
CREATE PROCEDURE iso.open(p_name text) LANGUAGE sql AS $$
  INSERT INTO iso.box
  SELECT p_name, f.mailbox_id FROM stmt.mailbox_find(iso.account(), p_name) AS f
  ON CONFLICT (name) DO UPDATE SET mailbox_id = EXCLUDED.mailbox_id
$$;

-- An uuid that is this permutation's own.
CREATE FUNCTION iso.uuid(p_name text) RETURNS uuid LANGUAGE sql STABLE AS 'SELECT md5(iso.account() || p_name)::uuid';

CREATE FUNCTION iso.bytes(p_body text) RETURNS bytea LANGUAGE sql STABLE AS
$$ SELECT convert_to(iso.account() || p_body, 'UTF8') $$;

-- -- new messages

CREATE FUNCTION iso.deliver(p_box text, p_body text DEFAULT 'body', p_token text DEFAULT NULL, p_uid bigint DEFAULT 0,
                            p_keywords text DEFAULT '')
RETURNS TABLE (uid bigint, modseq bigint) LANGUAGE sql AS $$
  SELECT s.uids[1], s.modseq / 65536
    FROM stmt.message_save(
           iso.box(p_box), COALESCE(iso.uuid(p_token), gen_random_uuid()), 'spec', 0, p_uid, gen_random_uuid(), 1700000000, 1700000001,
           0::smallint, p_keywords, NULL, NULL, '\x780d0a0d0a', true,
           sha256(iso.bytes(p_body)), length(iso.bytes(p_body)), iso.bytes(p_body),
           5 + length(iso.bytes(p_body)), 5 + length(iso.bytes(p_body)), NULL, NULL, NULL) AS s
$$;

-- Messages that are there when a permutation begins.
CREATE PROCEDURE iso.given(p_box text, VARIADIC p_bodies text[]) LANGUAGE plpgsql AS $$
DECLARE
  v_body text;
BEGIN
  FOREACH v_body IN ARRAY p_bodies LOOP
    PERFORM iso.deliver(p_box, v_body);
  END LOOP;
END
$$;

-- Send a content, as an upload of several messages does; p_known: without the
-- bytes, because the store was seen to have them.
CREATE FUNCTION iso.upload(p_body text, p_known boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  v_content bigint;
BEGIN
  SELECT c.content_id INTO v_content
    FROM stmt.content_put('\x780d0a0d0a', true, sha256(iso.bytes(p_body)), length(iso.bytes(p_body)),
                          CASE WHEN NOT p_known THEN iso.bytes(p_body) END,
                          5 + length(iso.bytes(p_body)), 5 + length(iso.bytes(p_body)), NULL, NULL, NULL) AS c;
  PERFORM set_config('iso.contents', concat_ws(',', NULLIF(current_setting('iso.contents', true), ''), v_content), true);
  RETURN 'sent';
END
$$;

-- Of the bodies "one" and "two", that with the lower SHA-256, and the other.
CREATE FUNCTION iso.low() RETURNS text LANGUAGE sql STABLE AS
$$ SELECT b FROM unnest(ARRAY['one', 'two']) AS b ORDER BY sha256(iso.bytes(b)) LIMIT 1 $$;
CREATE FUNCTION iso.high() RETURNS text LANGUAGE sql STABLE AS
$$ SELECT b FROM unnest(ARRAY['one', 'two']) AS b ORDER BY sha256(iso.bytes(b)) DESC LIMIT 1 $$;

-- When this session looks whether it is in a deadlock; only a superuser may say.
CREATE FUNCTION iso.deadlock_timeout(p_time text) RETURNS text LANGUAGE sql SECURITY DEFINER AS
$$ SELECT set_config('deadlock_timeout', p_time, false) $$;

-- Does the store have the body?
CREATE FUNCTION iso.known(p_body text) RETURNS boolean LANGUAGE sql AS
$$ SELECT EXISTS (SELECT 1 FROM stmt.body_known(ARRAY[sha256(iso.bytes(p_body))])) $$;

CREATE FUNCTION iso.append_all(p_box text, p_contents bigint[], p_sources bigint[], p_uids bigint[], p_move boolean,
                               p_token text DEFAULT NULL)
RETURNS TABLE (uids bigint[], modseq bigint) LANGUAGE sql AS $$
  SELECT a.uids, a.modseq / 65536
    FROM (SELECT array_agg(0::bigint) AS zero,
                 array_agg(CASE WHEN u.content IS NULL THEN '00000000-0000-0000-0000-000000000000'::uuid
                                ELSE gen_random_uuid() END) AS guid,
                 array_agg(CASE WHEN u.content IS NULL THEN -1::bigint ELSE 1700000000 END) AS received,
                 array_agg(1700000001::bigint) AS saved, array_agg(0::smallint) AS flag, array_agg(''::text) AS keyword,
                 array_agg(NULL::text) AS uidl, array_agg(NULL::bigint) AS pop3, array_agg(p_move) AS move
            FROM unnest(p_contents) AS u (content)) AS n
   CROSS JOIN LATERAL stmt.message_append(
           iso.box(p_box), COALESCE(iso.uuid(p_token), gen_random_uuid()), 'spec', 0, n.zero, n.guid, p_contents, p_sources, p_uids, n.move,
           n.received, n.saved, n.flag, n.keyword, n.uidl, n.pop3) AS a
$$;

-- Append what iso.upload() sent in this transaction.
CREATE FUNCTION iso.append(p_box text, p_token text DEFAULT NULL)
RETURNS TABLE (uids bigint[], modseq bigint) LANGUAGE sql AS $$
  SELECT a.uids, a.modseq
    FROM (SELECT string_to_array(current_setting('iso.contents'), ',')::bigint[] AS contents) AS c
   CROSS JOIN LATERAL iso.append_all(p_box, c.contents, array_fill(NULL::bigint, ARRAY[cardinality(c.contents)]),
                                     array_fill(NULL::bigint, ARRAY[cardinality(c.contents)]), false, p_token) AS a
$$;

CREATE FUNCTION iso.copy(p_from text, p_uids bigint[], p_to text)
RETURNS TABLE (uids bigint[], modseq bigint) LANGUAGE sql AS $$
  SELECT a.uids, a.modseq
    FROM iso.append_all(p_to, array_fill(NULL::bigint, ARRAY[cardinality(p_uids)]),
                        array_fill(iso.box(p_from), ARRAY[cardinality(p_uids)]), p_uids, false) AS a
$$;

CREATE FUNCTION iso.move(p_from text, p_uids bigint[], p_to text)
RETURNS TABLE (uids bigint[], modseq bigint) LANGUAGE sql AS $$
  SELECT a.uids, a.modseq
    FROM iso.append_all(p_to, array_fill(NULL::bigint, ARRAY[cardinality(p_uids)]),
                        array_fill(iso.box(p_from), ARRAY[cardinality(p_uids)]), p_uids, true) AS a
$$;

CREATE FUNCTION iso.claim(p_token text)
RETURNS TABLE (uids bigint[], modseq bigint) LANGUAGE sql AS $$
  SELECT c.uids, c.modseq / 65536 FROM stmt.commit_claim(iso.uuid(p_token)) AS c
$$;

-- -- changes

CREATE FUNCTION iso.keywords(p_box bigint, p_numbers smallint[]) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT string_agg(k.name, ' ' ORDER BY k.number)
    FROM pgbox.mailbox_keyword AS k WHERE k.mailbox_id = p_box AND k.number = ANY (p_numbers)
$$;

-- The last row says which modseq the store took; none: it changed nothing.
CREATE FUNCTION iso.store(p_box text, p_uids bigint[], p_add integer DEFAULT 0, p_remove integer DEFAULT 0,
                          p_keywords text DEFAULT '', p_unchangedsince bigint DEFAULT NULL)
RETURNS TABLE (what text, uid bigint, modseq bigint, flags smallint, keywords text) LANGUAGE sql AS $$
  SELECT CASE s.kind WHEN 0 THEN 'taken' WHEN 1 THEN 'changed' ELSE 'refused' END,
         CASE WHEN s.kind <> 0 THEN s.uid END, NULLIF(s.modseq, 0) / 65536, s.flags, iso.keywords(iso.box(p_box), s.keywords)
    FROM stmt.message_store(iso.box(p_box), p_unchangedsince * 65536, p_uids, array_fill(0, ARRAY[cardinality(p_uids)]),
                            ARRAY[p_add]::smallint[], ARRAY[p_remove]::smallint[],
                            ARRAY[p_keywords], ARRAY[''], ARRAY[false]) AS s
   ORDER BY s.kind = 0, s.uid
$$;

CREATE FUNCTION iso.expunge(p_box text, p_uids bigint[]) RETURNS TABLE (modseq bigint) LANGUAGE sql AS
$$ SELECT NULLIF(e.modseq, 0) / 65536 FROM stmt.message_expunge(iso.box(p_box), p_uids, 'spec', '{}') AS e $$;

CREATE FUNCTION iso.recent(p_box text, p_uid_next bigint) RETURNS TABLE (first_recent_uid bigint) LANGUAGE sql AS
$$ SELECT r.first_recent_uid FROM stmt.recent_claim(iso.box(p_box), p_uid_next) AS r (first_recent_uid) $$;

-- -- the tree

CREATE FUNCTION iso.create(p_name text) RETURNS text LANGUAGE sql AS $$
  SELECT stmt.mailbox_create(iso.account(), p_name, true, NULL, NULL, NULL);
  SELECT 'made'
$$;
CREATE FUNCTION iso.delete(p_box text) RETURNS text LANGUAGE sql AS $$
  SELECT stmt.mailbox_delete(iso.account(), iso.box(p_box), 'deleted');
  SELECT 'deleted'
$$;
CREATE FUNCTION iso.rename(p_old text, p_new text) RETURNS text LANGUAGE sql AS $$
  SELECT stmt.mailbox_rename(iso.account(), p_old, p_new, 'renamed');
  SELECT 'renamed'
$$;
CREATE FUNCTION iso.update(p_box text, p_uid_next bigint DEFAULT NULL, p_modseq bigint DEFAULT NULL)
RETURNS text LANGUAGE sql AS $$
  SELECT stmt.mailbox_update(iso.account(), iso.box(p_box), NULL, NULL, p_uid_next, NULL, p_modseq * 65536);
  SELECT 'updated'
$$;
CREATE FUNCTION iso.subscribe(p_name text, p_subscribed boolean) RETURNS TABLE (changed boolean) LANGUAGE sql AS
$$ SELECT s.changed FROM stmt.subscription_set(iso.account(), p_name, p_subscribed) AS s (changed) $$;
CREATE FUNCTION iso.attribute(p_box text, p_key text, p_value text) RETURNS text LANGUAGE sql AS $$
  SELECT stmt.attribute_set(iso.box(p_box), false, p_key, convert_to(p_value, 'UTF8'), NULL);
  SELECT 'set'
$$;

-- Names in use with the mailbox that has them; [] around those of nodes.
CREATE FUNCTION iso.tree() RETURNS TABLE (name text, box text, uids text, subscribed boolean) LANGUAGE sql AS $$
  SELECT CASE WHEN t.mailbox_id IS NOT NULL AND t.guid IS NULL THEN '[' || t.name || ']' ELSE t.name END, b.name,
         (SELECT string_agg(g.uid::text, ' ' ORDER BY g.uid) FROM pgbox.message AS g WHERE g.mailbox_id = t.mailbox_id),
         t.subscribed
    FROM stmt.mailbox_tree(iso.account()) AS t
    LEFT JOIN iso.box AS b ON b.mailbox_id = t.mailbox_id
   ORDER BY t.name
$$;
CREATE FUNCTION iso.list_modseq() RETURNS bigint LANGUAGE sql AS
$$ SELECT DISTINCT t.list_modseq FROM stmt.mailbox_tree(iso.account()) AS t $$;
-- Attributes with the name that their mailbox has now.
CREATE FUNCTION iso.attributes() RETURNS TABLE (name text, key text, value text) LANGUAGE sql STABLE SECURITY DEFINER AS $$
  SELECT m.name || CASE WHEN m.deleted_at IS NULL THEN '' ELSE ' (deleted)' END, a.key, convert_from(a.value, 'UTF8')
    FROM pgbox.mailbox AS m
    JOIN pgbox.mailbox_attribute AS a USING (mailbox_id)
   WHERE m.account_id = (SELECT r.account_id FROM iso.run AS r)
   ORDER BY 1, 2
$$;
-- Remember the UIDVALIDITY that a name has now.
CREATE FUNCTION iso.note_uidvalidity(p_name text) RETURNS text LANGUAGE sql AS $$
  INSERT INTO iso.seen SELECT 'uidvalidity', f.uidvalidity FROM stmt.mailbox_find(iso.account(), p_name) AS f;
  SELECT 'noted'
$$;
CREATE FUNCTION iso.uidvalidities() RETURNS TABLE (noted bigint, different bigint) LANGUAGE sql STABLE AS
$$ SELECT count(*), count(DISTINCT s.value) FROM iso.seen AS s $$;

-- -- reading

-- What a node asks: mailbox-pull, or mailbox-pull-all if it has nothing.
CREATE FUNCTION iso.pulled(p_box bigint, p_since bigint)
RETURNS TABLE (kind smallint, uid bigint, modseq bigint, flags smallint, keywords smallint[], info bigint[], keyword text)
LANGUAGE plpgsql AS $$
BEGIN
  IF p_since = 0 THEN
    RETURN QUERY SELECT p.* FROM stmt.mailbox_pull_all(p_box, 0) AS p;
  ELSE
    RETURN QUERY SELECT p.* FROM stmt.mailbox_pull(p_box, p_since, 0) AS p;
  END IF;
END
$$;

-- What that says.
CREATE FUNCTION iso.pull(p_box text, p_since bigint)
RETURNS TABLE (what text, uid bigint, modseq bigint, flags smallint, keywords text) LANGUAGE sql AS $$
  SELECT CASE p.kind WHEN 0 THEN 'counters' WHEN 1 THEN 'message' WHEN 2 THEN 'expunged' ELSE 'keyword' END,
         p.uid, p.modseq / 65536, p.flags, COALESCE(p.keyword, iso.keywords(iso.box(p_box), p.keywords))
    FROM iso.pulled(iso.box(p_box), p_since * 65536) AS p
   ORDER BY p.kind NOT IN (0, 3), p.kind = 3, p.uid
$$;

-- Bring this session's copy of the mailbox to now, as a node does. The columns
-- that must be 0: late, messages that came with a UID below the UIDNEXT seen
-- before; missed, messages and expunges that the copy doesn't have although it
-- claims to be as far; ahead, 1 if the counters are beyond what the rows tell.
-- Where others write meanwhile, call it in a REPEATABLE READ transaction: it
-- looks several times.
CREATE FUNCTION iso.sync(p_box text)
RETURNS TABLE (uid_next bigint, modseq bigint, came text, gone text, late bigint, missed bigint, ahead integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_box bigint := iso.box(p_box);
  v_since bigint;
  v_next bigint;
  v_row record;
BEGIN
  SELECT n.modseq, n.uid_next INTO v_since, v_next FROM iso.node AS n WHERE n.pid = pg_backend_pid() AND n.mailbox_id = v_box;
  v_since := COALESCE(v_since, 0);
  late := 0;
  FOR v_row IN SELECT p.* FROM iso.pulled(v_box, v_since) AS p LOOP
    IF v_row.kind = 0 THEN
      uid_next := v_row.uid;
      modseq := v_row.modseq;
    ELSIF v_row.kind = 1 THEN
      came := concat_ws(' ', came, v_row.uid);
      IF v_row.uid < v_next AND NOT EXISTS (SELECT 1 FROM iso.copy AS c WHERE c.pid = pg_backend_pid()
                                               AND c.mailbox_id = v_box AND c.uid = v_row.uid) THEN
        late := late + 1;
      END IF;
      INSERT INTO iso.copy VALUES (pg_backend_pid(), v_box, v_row.uid, v_row.modseq, v_row.flags, v_row.keywords)
      ON CONFLICT ON CONSTRAINT copy_pkey
      DO UPDATE SET modseq = EXCLUDED.modseq, flags = EXCLUDED.flags, keywords = EXCLUDED.keywords;
    ELSIF v_row.kind = 2 THEN
      gone := concat_ws(' ', gone, v_row.uid);
      DELETE FROM iso.copy AS c WHERE c.pid = pg_backend_pid() AND c.mailbox_id = v_box AND c.uid = v_row.uid;
    END IF;
  END LOOP;
  IF modseq IS NULL THEN
    RETURN; -- the mailbox is gone
  END IF;
  INSERT INTO iso.node VALUES (pg_backend_pid(), v_box, modseq, uid_next)
  ON CONFLICT ON CONSTRAINT node_pkey DO UPDATE SET modseq = EXCLUDED.modseq, uid_next = EXCLUDED.uid_next;
  SELECT count(*) INTO missed
    FROM (SELECT c.uid, c.modseq, c.flags, c.keywords FROM iso.copy AS c WHERE c.pid = pg_backend_pid() AND c.mailbox_id = v_box) AS c
    FULL JOIN (SELECT s.uid, s.modseq, s.flags, s.keywords FROM pgbox.message_state AS s WHERE s.mailbox_id = v_box) AS s
      ON c.uid = s.uid
   WHERE (c.modseq, c.flags, c.keywords) IS DISTINCT FROM (s.modseq, s.flags, s.keywords);
  ahead := iso.ahead(v_box, uid_next, modseq);
  modseq := modseq / 65536;
  RETURN NEXT;
END
$$;

-- Do counters name a change or a UID that no row shows? A mailbox has modseq 1
-- and UIDNEXT 1 when it is made; mailbox_update() is in no spec that syncs.
CREATE FUNCTION iso.ahead(p_box bigint, p_uid_next bigint, p_modseq bigint)
RETURNS integer LANGUAGE sql STABLE SECURITY DEFINER AS $$
  SELECT (p_uid_next - 1 <> COALESCE(max(r.uid), 0) OR p_modseq <> COALESCE(max(r.modseq), 65536))::integer
    FROM (SELECT s.uid, s.modseq FROM pgbox.message_state AS s WHERE s.mailbox_id = p_box
          UNION ALL
          SELECT e.uid, e.modseq FROM pgbox.expunged AS e WHERE e.mailbox_id = p_box) AS r
$$;

-- Messages of these mailboxes, from one snapshot. A message is told by its
-- GUID, which copies and moved ones keep.
CREATE FUNCTION iso.look(VARIADIC p_boxes text[])
RETURNS TABLE (box text, uid bigint, message bigint, modseq bigint, flags smallint, keywords text)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
  SELECT b.name, g.uid, dense_rank() OVER (ORDER BY f.first_box, f.first_uid), s.modseq / 65536, s.flags,
         iso.keywords(b.mailbox_id, s.keywords)
    FROM iso.box AS b
    JOIN pgbox.message AS g USING (mailbox_id)
    JOIN pgbox.message_state AS s USING (mailbox_id, uid)
   CROSS JOIN LATERAL (SELECT r.mailbox_id AS first_box, r.uid AS first_uid
                         FROM (SELECT i.mailbox_id, i.uid FROM pgbox.message AS i WHERE i.guid = g.guid
                               UNION ALL
                               SELECT i.mailbox_id, i.uid FROM pgbox.expunged AS i WHERE i.guid = g.guid) AS r
                        ORDER BY r.mailbox_id, r.uid LIMIT 1) AS f
   WHERE b.name = ANY (p_boxes)
   ORDER BY b.name, g.uid
$$;

-- Tombstones of a mailbox.
CREATE FUNCTION iso.tombstones(p_box text) RETURNS TABLE (uid bigint, modseq bigint, moved_to text)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
  SELECT e.uid, e.modseq / 65536, b.name
    FROM pgbox.expunged AS e
    LEFT JOIN iso.box AS b ON b.mailbox_id = e.moved_to
   WHERE e.mailbox_id = iso.box(p_box)
   ORDER BY e.uid
$$;

CREATE FUNCTION iso.counters(p_box text)
RETURNS TABLE (uid_next bigint, modseq bigint, messages integer, unseen integer, first_recent_uid bigint)
LANGUAGE sql STABLE AS $$
  SELECT c.uid_next, c.highest_modseq / 65536, c.messages, c.unseen, c.first_recent_uid
    FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = iso.box(p_box)
$$;

-- -- purge

-- Tombstones, and the mailbox if it is deleted, become older than retention.
CREATE PROCEDURE iso.age(p_box text) LANGUAGE sql SECURITY DEFINER AS $$
  UPDATE pgbox.expunged SET expunged_at = now() - '15 days'::interval WHERE mailbox_id = iso.box(p_box);
  UPDATE pgbox.mailbox SET deleted_at = now() - '15 days'::interval WHERE mailbox_id = iso.box(p_box) AND deleted_at IS NOT NULL
$$;

-- An administrator's plain statement on one message, of a deleted mailbox too.
CREATE PROCEDURE iso.flag_plain(p_box text, p_uid bigint, p_flags integer) LANGUAGE sql SECURITY DEFINER AS $$
  UPDATE pgbox.message_state SET flags = flags | p_flags::smallint WHERE mailbox_id = iso.box(p_box) AND uid = p_uid
$$;

-- What an administrator does who locks first, and his DELETE of a mailbox.
CREATE PROCEDURE iso.lock_all() LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  v_account bigint := (SELECT r.account_id FROM iso.run AS r);
BEGIN
  PERFORM pgbox.account_lock(v_account);
  PERFORM pgbox.mailbox_lock_many(ARRAY(SELECT m.mailbox_id FROM pgbox.mailbox AS m WHERE m.account_id = v_account));
END
$$;
CREATE PROCEDURE iso.delete_plain(p_box text) LANGUAGE sql SECURITY DEFINER AS $$
  DELETE FROM pgbox.mailbox WHERE mailbox_id = iso.box(p_box)
$$;

CREATE FUNCTION iso.purge() RETURNS TABLE (tombstones bigint, mailboxes bigint, contents bigint, bodies bigint) LANGUAGE sql AS
$$ SELECT p.* FROM stmt.purge(1000) AS p $$;

-- Deletions as a function of ours would do them that has forgotten to look: past the
-- rules for plain statements, as the owner with the guard set.
CREATE FUNCTION iso.delete_blindly(p_table text, p_column text, p_id bigint) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
SET vacuum_multixact_freeze_table_age = 1885823608 AS $$
BEGIN
  EXECUTE format('DELETE FROM pgbox.%I WHERE %I = $1', p_table, p_column) USING p_id;
  RETURN 'deleted';
END
$$;
ALTER FUNCTION iso.delete_blindly(text, text, bigint) OWNER TO pgbox_owner;
CREATE FUNCTION iso.content_of(p_body text) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER AS $$
  SELECT c.content_id FROM pgbox.content AS c JOIN pgbox.body AS b USING (body_id) WHERE b.digest = sha256(iso.bytes(p_body))
$$;
CREATE FUNCTION iso.drop_mailbox(p_box text) RETURNS text LANGUAGE sql AS
$$ SELECT iso.delete_blindly('mailbox', 'mailbox_id', iso.box(p_box)) $$;
CREATE FUNCTION iso.drop_content(p_body text) RETURNS text LANGUAGE sql AS
$$ SELECT iso.delete_blindly('content', 'content_id', iso.content_of(p_body)) $$;
-- The messages and tombstones with a content go, so that nothing refers to it.
CREATE PROCEDURE iso.unrefer(p_body text) LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  SET LOCAL session_replication_role = replica;
  UPDATE pgbox.expunged SET content_id = NULL WHERE content_id = iso.content_of(p_body);
  SET LOCAL session_replication_role = origin;
END
$$;

-- An administrator's plain INSERT of a message, and undelete.
CREATE FUNCTION iso.insert_plain(p_box text, p_body text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO pgbox.message (mailbox_id, content_id) VALUES (iso.box(p_box), iso.content_of(p_body));
  RETURN 'inserted';
END
$$;
CREATE PROCEDURE iso.expunge_plain(p_box text) LANGUAGE sql SECURITY DEFINER AS $$
  DELETE FROM pgbox.message WHERE mailbox_id = iso.box(p_box)
$$;
CREATE FUNCTION iso.undelete(p_box text, p_into text) RETURNS TABLE (uid bigint, new_uid bigint) LANGUAGE sql SECURITY DEFINER AS $$
  SELECT u.uid, u.new_uid FROM pgbox.message_undelete(iso.account(), p_box, NULL, '-infinity', p_into, 100) AS u
$$;

-- A body, and how many refer to it.
CREATE FUNCTION iso.body(p_body text) RETURNS TABLE (bodies bigint, contents bigint, messages bigint, tombstones bigint)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
  SELECT count(DISTINCT b.body_id), count(DISTINCT c.content_id), count(DISTINCT (g.mailbox_id, g.uid)) FILTER (WHERE g.uid > 0),
         count(DISTINCT (e.mailbox_id, e.uid)) FILTER (WHERE e.uid > 0)
    FROM pgbox.body AS b
    LEFT JOIN pgbox.content AS c USING (body_id)
    LEFT JOIN pgbox.message AS g USING (content_id)
    LEFT JOIN pgbox.expunged AS e USING (content_id)
   WHERE b.digest = sha256(iso.bytes(p_body))
$$;

-- -- the end of each permutation: view iso.problems is made of
-- sql/verify/20-rows.sql and of this
CREATE VIEW iso.orphans (problem) AS
SELECT format('content %s belongs to no message', c.content_id)
  FROM pgbox.content AS c
 WHERE NOT EXISTS (SELECT 1 FROM pgbox.message AS g WHERE g.content_id = c.content_id)
   AND NOT EXISTS (SELECT 1 FROM pgbox.expunged AS e WHERE e.content_id = c.content_id)
UNION ALL
SELECT format('body %s belongs to no content', b.body_id)
  FROM pgbox.body AS b
 WHERE NOT EXISTS (SELECT 1 FROM pgbox.content AS c WHERE c.body_id = b.body_id);
