-- Views that a person reads. In those with "account" name one, if there are many.
-- Flags are spelt out: whoever reads a view needs the right to call its functions.

-- Bytes above 127 become escapes: a header may be no valid UTF-8.
CREATE OR REPLACE FUNCTION pgbox.header_field(p_header bytea, p_name text)
RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT regexp_replace(btrim((regexp_match(replace(encode(p_header, 'escape'), E'\r', ''),
                                            '(?:^|\n)' || p_name || '[ \t]*:((?:[^\n]|\n[ \t])*)', 'i'))[1], E' \t\n'),
                        '\n[ \t]+', ' ', 'g')
$$;
COMMENT ON FUNCTION pgbox.header_field(bytea, text) IS 'The first header field of this name, unfolded; bytes above 127 as escapes. NULL: there is none';

CREATE OR REPLACE FUNCTION pgbox.header_address(p_header bytea)
RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT lower(COALESCE(substring(f.value FROM '<([^<>@]+@[^<>]+)>'), substring(f.value FROM '[^ <>,;:"()]+@[^ <>,;:"()]+')))
    FROM (SELECT pgbox.header_field(p_header, 'from') AS value) AS f
$$;
COMMENT ON FUNCTION pgbox.header_address(bytea) IS 'The first address of From, lower case';

-- What isn't understood stays as it is: a charset that PostgreSQL doesn't know,
-- bytes that aren't of it.
CREATE OR REPLACE FUNCTION pgbox.header_word(p_charset text, p_encoding text, p_text text)
RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_bytes bytea;
BEGIN
  IF upper(p_encoding) = 'B' THEN
    v_bytes := decode(p_text, 'base64');
  ELSE
    SELECT decode(string_agg(CASE WHEN m.part[1] ~ '^=..$' THEN substr(m.part[1], 2)
                                  ELSE encode(convert_to(replace(m.part[1], '_', ' '), 'UTF8'), 'hex') END, '' ORDER BY m.ord), 'hex')
      INTO v_bytes
      FROM regexp_matches(p_text, '=[0-9A-Fa-f]{2}|[^=]+|=', 'g') WITH ORDINALITY AS m (part, ord);
  END IF;
  -- a language may follow the charset (RFC 2231)
  RETURN COALESCE(convert_from(v_bytes, split_part(replace(lower(p_charset), 'us-ascii', 'utf-8'), '*', 1)), '');
EXCEPTION WHEN OTHERS THEN
  RETURN format('=?%s?%s?%s?=', p_charset, p_encoding, p_text);
END
$$;
COMMENT ON FUNCTION pgbox.header_word(text, text, text) IS 'An encoded-word of RFC 2047, decoded; as it was, if that can''t be done';

CREATE OR REPLACE FUNCTION pgbox.header_text(p_header bytea, p_name text)
RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_rest text := pgbox.header_field(p_header, p_name);
  v_text text := '';
  v_part text[];
BEGIN
  IF v_rest ~ '\\' THEN
    BEGIN
      v_rest := convert_from(decode(v_rest, 'escape'), 'UTF8');
    EXCEPTION WHEN OTHERS THEN
      NULL; -- no UTF-8: they stay escapes
    END;
  END IF;
  -- space between two encoded-words isn't part of the text
  v_rest := regexp_replace(v_rest, '\?=\s+=\?', '?==?', 'g');
  LOOP
    v_part := regexp_match(v_rest, '^(.*?)=\?([^?\s]+)\?([bq])\?([^?\s]*)\?=(.*)$', 'i');
    EXIT WHEN v_part IS NULL;
    v_text := v_text || v_part[1] || pgbox.header_word(v_part[2], v_part[3], v_part[4]);
    v_rest := v_part[5];
  END LOOP;
  RETURN v_text || v_rest;
END
$$;
COMMENT ON FUNCTION pgbox.header_text(bytea, text) IS 'The first header field of this name as a person reads it, encoded-words decoded. NULL: there is none';

CREATE OR REPLACE VIEW pgbox.account_overview AS
SELECT a.name AS account, a.account_id, a.enabled, a.deleted_at, u.mailboxes, u.messages, u.unseen, u.bytes,
       q.messages AS quota_messages, q.bytes AS quota_bytes,
       COALESCE(a.retention, s.retention) AS retention, a.legal_hold, a.created_at
  FROM pgbox.account AS a
 CROSS JOIN pgbox.store AS s
  LEFT JOIN pgbox.account_quota AS q ON q.account_id = a.account_id
 CROSS JOIN LATERAL (
        SELECT count(*) AS mailboxes, COALESCE(sum(c.messages), 0)::bigint AS messages, COALESCE(sum(c.unseen), 0)::bigint AS unseen,
               COALESCE(sum(c.virtual_size), 0)::bigint AS bytes
          FROM pgbox.mailbox AS m
          JOIN pgbox.mailbox_counter AS c ON c.mailbox_id = m.mailbox_id
         WHERE m.account_id = a.account_id AND m.deleted_at IS NULL) AS u;
COMMENT ON VIEW pgbox.account_overview IS 'Accounts with what they use and what is set';
COMMENT ON COLUMN pgbox.account_overview.account IS 'Its name';
COMMENT ON COLUMN pgbox.account_overview.account_id IS 'Its number';
COMMENT ON COLUMN pgbox.account_overview.enabled IS 'May log in and get mail';
COMMENT ON COLUMN pgbox.account_overview.deleted_at IS 'When its deletion began';
COMMENT ON COLUMN pgbox.account_overview.mailboxes IS 'How many, without nodes';
COMMENT ON COLUMN pgbox.account_overview.messages IS 'How many';
COMMENT ON COLUMN pgbox.account_overview.unseen IS 'Without \Seen';
COMMENT ON COLUMN pgbox.account_overview.bytes IS 'Sum of virtual sizes: what quota counts';
COMMENT ON COLUMN pgbox.account_overview.quota_messages IS 'Limit, NULL: none';
COMMENT ON COLUMN pgbox.account_overview.quota_bytes IS 'Limit, NULL: none';
COMMENT ON COLUMN pgbox.account_overview.retention IS 'What holds for it: its own or the store''s';
COMMENT ON COLUMN pgbox.account_overview.legal_hold IS 'Is the whole account under legal hold?';
COMMENT ON COLUMN pgbox.account_overview.created_at IS 'When it was made';

CREATE OR REPLACE VIEW pgbox.folder_overview AS
SELECT a.name AS account, m.name AS folder, m.mailbox_id, c.messages, c.unseen, c.virtual_size AS bytes,
       m.uidvalidity, c.uid_next, c.highest_modseq, m.special_use, m.legal_hold OR a.legal_hold AS legal_hold, m.created_at, m.deleted_at,
       CASE WHEN NOT (m.legal_hold OR a.legal_hold) THEN m.deleted_at + COALESCE(a.retention, s.retention) END AS restorable_until,
       m.deleted_reason, m.guid IS NULL AS node
  FROM pgbox.account AS a
 CROSS JOIN pgbox.store AS s
  JOIN pgbox.mailbox AS m ON m.account_id = a.account_id
  LEFT JOIN pgbox.mailbox_counter AS c ON c.mailbox_id = m.mailbox_id;
COMMENT ON VIEW pgbox.folder_overview IS 'Mailboxes with their counters, deleted ones too while they can be brought back; and nodes of the tree, which take a name without being a mailbox';
COMMENT ON COLUMN pgbox.folder_overview.account IS 'Name of the account';
COMMENT ON COLUMN pgbox.folder_overview.folder IS 'Full name';
COMMENT ON COLUMN pgbox.folder_overview.mailbox_id IS 'Its number';
COMMENT ON COLUMN pgbox.folder_overview.node IS 'True: it only holds children and can''t be selected; it has no counters';
COMMENT ON COLUMN pgbox.folder_overview.messages IS 'How many';
COMMENT ON COLUMN pgbox.folder_overview.unseen IS 'Without \Seen';
COMMENT ON COLUMN pgbox.folder_overview.bytes IS 'Sum of virtual sizes';
COMMENT ON COLUMN pgbox.folder_overview.uidvalidity IS 'UIDVALIDITY';
COMMENT ON COLUMN pgbox.folder_overview.uid_next IS 'UIDNEXT';
COMMENT ON COLUMN pgbox.folder_overview.highest_modseq IS 'HIGHESTMODSEQ';
COMMENT ON COLUMN pgbox.folder_overview.special_use IS 'RFC 6154 attributes';
COMMENT ON COLUMN pgbox.folder_overview.legal_hold IS 'Is it, or its account, under legal hold?';
COMMENT ON COLUMN pgbox.folder_overview.created_at IS 'When it was made';
COMMENT ON COLUMN pgbox.folder_overview.deleted_at IS 'When it was deleted';
COMMENT ON COLUMN pgbox.folder_overview.restorable_until IS 'Until when folder_undelete works; NULL: it isn''t deleted, or under hold';
COMMENT ON COLUMN pgbox.folder_overview.deleted_reason IS 'What deleted it: service and client, or "SQL by" and role';

-- Dovecot's user names have no spaces, so the first ": " ends the account's name.
-- A purge removes one mailbox at most.
CREATE OR REPLACE VIEW pgbox.folder_history AS
SELECT split_part(t.target, ': ', 1) AS account, substr(t.target, strpos(t.target, ': ') + 2) AS folder, t.what,
       t.counts ->> 'new' AS new_name, (t.counts ->> 'messages')::bigint AS messages, t.done_at, t.done_by,
       (t.counts ->> 'mailbox_id')::bigint AS mailbox_id
  FROM (SELECT CASE j.what WHEN 'folder_create' THEN 'made' WHEN 'folder_rename' THEN 'renamed' WHEN 'folder_delete' THEN 'deleted'
                           WHEN 'folder_undelete' THEN 'restored' WHEN 'folder_move' THEN 'moved' ELSE 'purged' END AS what,
               COALESCE(j.counts ->> 'mailbox', j.target) AS target, j.counts, j.ended_at AS done_at, j.done_by
          FROM pgbox.job AS j
         WHERE j.what IN ('folder_create', 'folder_rename', 'folder_delete', 'folder_undelete', 'folder_move')
            OR (j.what = 'purge' AND j.counts ? 'mailbox')) AS t;
COMMENT ON VIEW pgbox.folder_history IS 'Where did my folder go? What job says of folders that were made by an administrator, renamed, moved to another account, deleted, restored or purged, by their names of that time. What is below a renamed one moves along and has no row';
COMMENT ON COLUMN pgbox.folder_history.account IS 'Name of the account';
COMMENT ON COLUMN pgbox.folder_history.folder IS 'Full name, before it was renamed';
COMMENT ON COLUMN pgbox.folder_history.what IS 'made, renamed, moved (to another account; its mailbox, empty then, is deleted next), deleted, restored or purged';
COMMENT ON COLUMN pgbox.folder_history.new_name IS 'The name that it got, if it was renamed or restored; if it was moved, account and name';
COMMENT ON COLUMN pgbox.folder_history.messages IS 'How many were in it when it was deleted or restored; NULL: a node';
COMMENT ON COLUMN pgbox.folder_history.done_at IS 'When';
COMMENT ON COLUMN pgbox.folder_history.done_by IS 'Role, and for the plugin''s role service and client';
COMMENT ON COLUMN pgbox.folder_history.mailbox_id IS 'Number of the mailbox, whatever it was called';

CREATE OR REPLACE VIEW pgbox.message_overview AS
SELECT a.name AS account, m.name AS folder, g.uid, c.virtual_size AS bytes, concat_ws(' ', CASE WHEN s.flags & 1 <> 0 THEN '\Answered' END, CASE WHEN s.flags & 2 <> 0 THEN '\Flagged' END,
                 CASE WHEN s.flags & 4 <> 0 THEN '\Deleted' END, CASE WHEN s.flags & 8 <> 0 THEN '\Seen' END, CASE WHEN s.flags & 16 <> 0 THEN '\Draft' END) AS flags,
       g.received_at, g.saved_at, g.guid, g.content_id
  FROM pgbox.message AS g
  JOIN pgbox.message_state AS s ON s.mailbox_id = g.mailbox_id AND s.uid = g.uid
  JOIN pgbox.content AS c ON c.content_id = g.content_id
  JOIN pgbox.mailbox AS m ON m.mailbox_id = g.mailbox_id AND m.deleted_at IS NULL
  JOIN pgbox.account AS a ON a.account_id = m.account_id;
COMMENT ON VIEW pgbox.message_overview IS 'Messages with their sizes; for the largest: ORDER BY bytes DESC LIMIT 20';
COMMENT ON COLUMN pgbox.message_overview.account IS 'Name of the account';
COMMENT ON COLUMN pgbox.message_overview.folder IS 'Mailbox';
COMMENT ON COLUMN pgbox.message_overview.uid IS 'UID';
COMMENT ON COLUMN pgbox.message_overview.bytes IS 'Virtual size';
COMMENT ON COLUMN pgbox.message_overview.flags IS 'Flags by name';
COMMENT ON COLUMN pgbox.message_overview.received_at IS 'IMAP INTERNALDATE';
COMMENT ON COLUMN pgbox.message_overview.saved_at IS 'When it came into the mailbox';
COMMENT ON COLUMN pgbox.message_overview.guid IS 'Message GUID';
COMMENT ON COLUMN pgbox.message_overview.content_id IS 'Its bytes, shared by copies';

CREATE OR REPLACE VIEW pgbox.sender_overview AS
SELECT a.name AS account, pgbox.header_address(c.header) AS sender, count(*) AS messages, sum(c.virtual_size)::bigint AS bytes
  FROM pgbox.account AS a
  JOIN pgbox.mailbox AS m ON m.account_id = a.account_id AND m.deleted_at IS NULL
  JOIN pgbox.message AS g ON g.mailbox_id = m.mailbox_id
  JOIN pgbox.content AS c ON c.content_id = g.content_id
 GROUP BY 1, 2;
COMMENT ON VIEW pgbox.sender_overview IS 'Who sent what is there, by the addresses in From; reads all headers that it is asked for, so name the account';
COMMENT ON COLUMN pgbox.sender_overview.account IS 'Name of the account';
COMMENT ON COLUMN pgbox.sender_overview.sender IS 'Address in From, lower case; NULL: none found';
COMMENT ON COLUMN pgbox.sender_overview.messages IS 'How many';
COMMENT ON COLUMN pgbox.sender_overview.bytes IS 'Sum of virtual sizes';

-- What follows are functions and not subqueries of mail_history: those would be
-- counted once for each row that may come, and their sum made PostgreSQL compile
-- (JIT) for seconds what takes milliseconds.
CREATE OR REPLACE FUNCTION pgbox.folder_label(p_mailbox bigint)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (SELECT a.name || ': ' || m.name
            FROM pgbox.mailbox AS m
            JOIN pgbox.account AS a ON a.account_id = m.account_id
           WHERE m.mailbox_id = p_mailbox);
END
$$;
COMMENT ON FUNCTION pgbox.folder_label(bigint) IS 'Account and name of a mailbox; NULL: it is gone';

-- By content, which has an index, as GUIDs have none.
CREATE OR REPLACE FUNCTION pgbox.message_now_in(p_account bigint, p_content bigint, p_guid uuid)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (SELECT string_agg(m.name || ' UID ' || g.uid, ', ' ORDER BY m.name, g.uid)
            FROM pgbox.message AS g
            JOIN pgbox.mailbox AS m ON m.mailbox_id = g.mailbox_id
           WHERE g.content_id = p_content AND g.guid = p_guid AND m.account_id = p_account AND m.deleted_at IS NULL);
END
$$;
COMMENT ON FUNCTION pgbox.message_now_in(bigint, bigint, uuid) IS 'Mailboxes of an account, and UIDs, where a message is; NULL: nowhere';

CREATE OR REPLACE VIEW pgbox.mail_history AS
SELECT a.name AS account, m.name AS folder, m.deleted_at AS folder_deleted_at, h.uid, h.guid,
       CASE WHEN h.moved_to IS NOT NULL THEN 'moved' WHEN h.expunged_at IS NOT NULL THEN 'expunged'
            WHEN m.deleted_at IS NOT NULL THEN 'deleted with its mailbox' ELSE 'there' END AS state,
       h.saved_at, COALESCE(h.expunged_at, m.deleted_at) AS gone_at,
       CASE WHEN h.expunged_at IS NULL THEN m.deleted_reason ELSE h.reason END AS reason,
       CASE WHEN h.moved_to IS NOT NULL THEN pgbox.folder_label(h.moved_to) END AS moved_to,
       concat_ws(' ', CASE WHEN h.flags & 1 <> 0 THEN '\Answered' END, CASE WHEN h.flags & 2 <> 0 THEN '\Flagged' END,
                 CASE WHEN h.flags & 4 <> 0 THEN '\Deleted' END, CASE WHEN h.flags & 8 <> 0 THEN '\Seen' END, CASE WHEN h.flags & 16 <> 0 THEN '\Draft' END) AS flags, c.virtual_size AS bytes,
       CASE WHEN c.content_id IS NULL THEN NULL
            WHEN m.legal_hold OR a.legal_hold THEN 'infinity'
            ELSE COALESCE(h.expunged_at, m.deleted_at) + COALESCE(a.retention, s.retention) END AS restorable_until,
       pgbox.header_field(c.header, 'message-id') AS message_id,
       CASE WHEN h.expunged_at IS NOT NULL OR m.deleted_at IS NOT NULL
            THEN pgbox.message_now_in(a.account_id, h.content_id, h.guid) END AS now_in,
       pgbox.header_text(c.header, 'from') AS sender,
       pgbox.header_text(c.header, 'subject') AS subject
  FROM pgbox.account AS a
 CROSS JOIN pgbox.store AS s
  JOIN pgbox.mailbox AS m ON m.account_id = a.account_id
  -- LATERAL: one account's history doesn't take a look at all messages
 CROSS JOIN LATERAL (
        SELECT g.uid, g.guid, g.content_id, g.saved_at, t.flags, NULL::timestamptz AS expunged_at,
               NULL::text AS reason, NULL::bigint AS moved_to
          FROM pgbox.message AS g
          JOIN pgbox.message_state AS t ON t.mailbox_id = g.mailbox_id AND t.uid = g.uid
         WHERE g.mailbox_id = m.mailbox_id
         UNION ALL
        SELECT e.uid, e.guid, e.content_id, e.saved_at, e.flags, e.expunged_at, e.reason, e.moved_to
          FROM pgbox.expunged AS e
         WHERE e.mailbox_id = m.mailbox_id) AS h
  LEFT JOIN pgbox.content AS c ON c.content_id = h.content_id;
COMMENT ON VIEW pgbox.mail_history IS 'Why is this mail gone? Each message that is or was in a mailbox, as far as tombstones go back: by account, folder, uid, guid or message_id; by sender and subject, for which all headers that it is asked for are read, so name the account. Of a deleted mailbox nothing is here once purge has removed it: folder_history tells of that';
COMMENT ON COLUMN pgbox.mail_history.account IS 'Name of the account';
COMMENT ON COLUMN pgbox.mail_history.folder IS 'Mailbox, by its name now';
COMMENT ON COLUMN pgbox.mail_history.folder_deleted_at IS 'When the mailbox was deleted';
COMMENT ON COLUMN pgbox.mail_history.uid IS 'UID';
COMMENT ON COLUMN pgbox.mail_history.guid IS 'Message GUID; copies and moves keep it';
COMMENT ON COLUMN pgbox.mail_history.state IS 'there, expunged, moved, or deleted with its mailbox';
COMMENT ON COLUMN pgbox.mail_history.saved_at IS 'When it came into the mailbox';
COMMENT ON COLUMN pgbox.mail_history.gone_at IS 'When it was expunged or moved, or the mailbox deleted';
COMMENT ON COLUMN pgbox.mail_history.reason IS 'What did it, or deleted the mailbox: service and client, "SQL by" and role, or policy and its number';
COMMENT ON COLUMN pgbox.mail_history.moved_to IS 'Account and mailbox that it was moved to';
COMMENT ON COLUMN pgbox.mail_history.flags IS 'Flags, or those that it had';
COMMENT ON COLUMN pgbox.mail_history.bytes IS 'Virtual size; NULL: its content is gone';
COMMENT ON COLUMN pgbox.mail_history.restorable_until IS 'Until when its content stays; infinity under legal hold';
COMMENT ON COLUMN pgbox.mail_history.message_id IS 'Message-ID of the header; NULL: content is gone, or none there';
COMMENT ON COLUMN pgbox.mail_history.now_in IS 'Where the account has the same message now, if it went from here: mailboxes and UIDs, of undeleted ones, of where it was moved to and of copies. NULL: nowhere, or purge has taken the content from this row';
COMMENT ON COLUMN pgbox.mail_history.sender IS 'From of the header, name and address, decoded; NULL: content is gone, or none there';
COMMENT ON COLUMN pgbox.mail_history.subject IS 'Subject, decoded; NULL: content is gone, or none there';

CREATE OR REPLACE VIEW pgbox.storage_overview AS
SELECT g.messages, g.bytes AS message_bytes, c.contents, b.bodies, c.header_bytes + b.bytes AS stored_bytes, d.bytes AS disk_bytes,
       round(g.bytes / NULLIF(c.header_bytes + b.bytes, 0), 2) AS shared_ratio,
       round((c.header_bytes + b.bytes) / NULLIF(d.bytes, 0), 2) AS compression_ratio
  FROM (SELECT count(*) AS messages, COALESCE(sum(t.size), 0) AS bytes
          FROM pgbox.message AS m JOIN pgbox.content AS t ON t.content_id = m.content_id) AS g
 CROSS JOIN (SELECT count(*) AS contents, COALESCE(sum(octet_length(t.header)), 0)::numeric AS header_bytes FROM pgbox.content AS t) AS c
 CROSS JOIN (SELECT count(*) AS bodies, COALESCE(sum(t.size), 0) AS bytes FROM pgbox.body AS t) AS b
 CROSS JOIN (SELECT (pg_catalog.pg_total_relation_size('pgbox.body'::regclass) + pg_catalog.pg_total_relation_size('pgbox.body_chunk'::regclass)
                     + pg_catalog.pg_total_relation_size('pgbox.content'::regclass))::numeric AS bytes) AS d;
COMMENT ON VIEW pgbox.storage_overview IS 'How much storing bodies once and compression save; reads all of message, content and body, but no bytes of mail';
COMMENT ON COLUMN pgbox.storage_overview.messages IS 'Messages that are there';
COMMENT ON COLUMN pgbox.storage_overview.message_bytes IS 'What they would take if each were a file';
COMMENT ON COLUMN pgbox.storage_overview.contents IS 'Contents, of tombstones too';
COMMENT ON COLUMN pgbox.storage_overview.bodies IS 'Bodies';
COMMENT ON COLUMN pgbox.storage_overview.stored_bytes IS 'Bytes of bodies and headers, each counted once';
COMMENT ON COLUMN pgbox.storage_overview.disk_bytes IS 'What body, body_chunk and content take on disk, with indexes';
COMMENT ON COLUMN pgbox.storage_overview.shared_ratio IS 'message_bytes / stored_bytes: how often a stored byte is used';
COMMENT ON COLUMN pgbox.storage_overview.compression_ratio IS 'stored_bytes / disk_bytes';

-- Mailbox by mailbox, so that one account doesn't take a look at all tombstones.
-- What is in a deleted mailbox goes with it.
CREATE OR REPLACE VIEW pgbox.garbage_overview AS
SELECT a.name AS account, e.tombstones, e.oldest, e.purgeable, e.in_retention, e.held, e.prunable,
       (SELECT count(*) FROM pgbox.mailbox AS d WHERE d.account_id = a.account_id AND d.deleted_at IS NOT NULL) AS deleted_mailboxes
  FROM pgbox.account AS a
 CROSS JOIN pgbox.store AS s
 CROSS JOIN LATERAL (
        SELECT COALESCE(sum(o.tombstones), 0)::bigint AS tombstones, min(o.oldest) AS oldest,
               COALESCE(sum(CASE WHEN h.past THEN o.tombstones + g.messages ELSE o.past END) FILTER (WHERE NOT h.held), 0)::bigint AS purgeable,
               COALESCE(sum(o.contents - o.past + g.messages) FILTER (WHERE NOT h.held AND NOT h.past), 0)::bigint AS in_retention,
               COALESCE(sum(o.contents + g.messages) FILTER (WHERE h.held), 0)::bigint AS held,
               COALESCE(sum(o.tombstones - o.contents) FILTER (WHERE m.deleted_at IS NULL), 0)::bigint AS prunable
          FROM pgbox.mailbox AS m
         CROSS JOIN LATERAL (SELECT m.legal_hold OR a.legal_hold AS held,
                                    COALESCE(m.deleted_at < pg_catalog.now() - COALESCE(a.retention, s.retention), false) AS past) AS h
         CROSS JOIN LATERAL (
                SELECT count(*) AS tombstones, min(t.expunged_at) AS oldest, count(t.content_id) AS contents,
                       count(t.content_id) FILTER (WHERE t.expunged_at < pg_catalog.now() - COALESCE(a.retention, s.retention)) AS past
                  FROM pgbox.expunged AS t
                 WHERE t.mailbox_id = m.mailbox_id) AS o
         CROSS JOIN LATERAL (
                SELECT count(*) AS messages FROM pgbox.message AS t
                 WHERE t.mailbox_id = m.mailbox_id AND m.deleted_at IS NOT NULL) AS g
         WHERE m.account_id = a.account_id) AS e;
COMMENT ON VIEW pgbox.garbage_overview IS 'Tombstones and deleted mailboxes by account: what purge would take now, what is kept and why, how old they are';
COMMENT ON COLUMN pgbox.garbage_overview.account IS 'Name of the account';
COMMENT ON COLUMN pgbox.garbage_overview.tombstones IS 'All of them';
COMMENT ON COLUMN pgbox.garbage_overview.oldest IS 'When the oldest was expunged';
COMMENT ON COLUMN pgbox.garbage_overview.purgeable IS 'What purge takes with its next calls: contents of tombstones, and all that is in mailboxes deleted too long ago';
COMMENT ON COLUMN pgbox.garbage_overview.in_retention IS 'Tombstones and messages of deleted mailboxes whose content stays for retention';
COMMENT ON COLUMN pgbox.garbage_overview.held IS 'The same for a legal hold';
COMMENT ON COLUMN pgbox.garbage_overview.prunable IS 'Tombstones without content that tombstone_prune may take; those of deleted mailboxes go with them';
COMMENT ON COLUMN pgbox.garbage_overview.deleted_mailboxes IS 'Mailboxes that are deleted and not purged';

CREATE OR REPLACE VIEW pgbox.table_health AS
SELECT t.relname::text AS table_name, t.n_live_tup AS rows, t.n_dead_tup AS dead_rows,
       pg_catalog.pg_total_relation_size(t.relid) AS bytes, t.n_tup_upd AS updates,
       round(t.n_tup_hot_upd::numeric / NULLIF(t.n_tup_upd, 0), 3) AS hot_ratio, t.last_autovacuum, t.last_autoanalyze
  FROM pg_catalog.pg_stat_user_tables AS t
 WHERE t.schemaname = 'pgbox';
COMMENT ON VIEW pgbox.table_health IS 'Dead rows and HOT updates of the tables; mailbox_counter should be near 1, message_state too while mailboxes aren''t full of changes';
COMMENT ON COLUMN pgbox.table_health.table_name IS 'Table';
COMMENT ON COLUMN pgbox.table_health.rows IS 'Live rows, as estimated';
COMMENT ON COLUMN pgbox.table_health.dead_rows IS 'Dead rows, as estimated';
COMMENT ON COLUMN pgbox.table_health.bytes IS 'Size with indexes and TOAST';
COMMENT ON COLUMN pgbox.table_health.updates IS 'Updates since statistics began';
COMMENT ON COLUMN pgbox.table_health.hot_ratio IS 'Part of them that needed no index entry';
COMMENT ON COLUMN pgbox.table_health.last_autovacuum IS 'When autovacuum was there';
COMMENT ON COLUMN pgbox.table_health.last_autoanalyze IS 'When statistics were made';

CREATE OR REPLACE VIEW pgbox.replica_lag AS
SELECT r.application_name AS standby, r.state, r.sync_state,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), r.flush_lsn)::bigint AS behind_bytes, r.flush_lag AS behind,
       r.replay_lag AS unseen
  FROM pg_catalog.pg_stat_replication AS r;
COMMENT ON VIEW pgbox.replica_lag IS 'How far standbys are behind: mail that a failover to them would lose. Others than superusers need pg_monitor to see it';
COMMENT ON COLUMN pgbox.replica_lag.standby IS 'application_name of the standby';
COMMENT ON COLUMN pgbox.replica_lag.state IS 'streaming, catchup and so on';
COMMENT ON COLUMN pgbox.replica_lag.sync_state IS 'sync: commits wait for it, so it loses none; async: it may';
COMMENT ON COLUMN pgbox.replica_lag.behind_bytes IS 'WAL that it hasn''t written to disk yet';
COMMENT ON COLUMN pgbox.replica_lag.unseen IS 'Time until what was committed could be read there; NULL: idle';
COMMENT ON COLUMN pgbox.replica_lag.behind IS 'Time until it had written what was committed; NULL: idle';
