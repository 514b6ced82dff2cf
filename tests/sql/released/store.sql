-- A small store with a bit of everything, made by the functions that the plugin
-- calls. dump runs it on the schema of a release.

CREATE FUNCTION pg_temp.message(p_mailbox bigint, p_body bytea, p_subject text, p_flags integer DEFAULT 0, p_keywords text DEFAULT '')
RETURNS bigint
LANGUAGE sql
AS $$
  SELECT s.uids[1]
    FROM (SELECT convert_to('Subject: ' || p_subject || E'\r\nFrom: Anna <anna@example.org>\r\n\r\n', 'UTF8') AS header) AS h
   CROSS JOIN LATERAL pgbox.message_save(
           p_mailbox, gen_random_uuid(), 'imap 127.0.0.1', 0, 0, gen_random_uuid(), 1700000000, 1700000001,
           p_flags::smallint, p_keywords, NULL, NULL, h.header, true,
           CASE WHEN p_body <> '' THEN sha256(p_body) END, NULLIF(octet_length(p_body), 0), NULLIF(p_body, ''),
           octet_length(h.header || p_body), octet_length(h.header || p_body),
           convert_to('"x"', 'UTF8'), NULL) AS s
$$;

-- anna can log in, bert can't
SELECT pgbox.account_create('anna@example.org', 'a password');
SELECT pgbox.account_create('bert');
SELECT a.account_id AS anna FROM pgbox.account AS a WHERE a.name = 'anna@example.org' \gset
SELECT a.account_id AS bert FROM pgbox.account AS a WHERE a.name = 'bert' \gset
SELECT m.mailbox_id AS inbox FROM pgbox.mailbox AS m WHERE m.account_id = :anna AND m.name = 'INBOX' \gset
SELECT m.mailbox_id AS other FROM pgbox.mailbox AS m WHERE m.account_id = :bert AND m.name = 'INBOX' \gset
-- "Work" becomes a node
SELECT pgbox.mailbox_create(:anna, 'Work/Über & <x>', true, NULL, NULL, NULL) AS work \gset
SELECT pgbox.mailbox_create(:anna, 'Sent', true, NULL, NULL, '\Sent') AS sent \gset
SELECT pgbox.mailbox_create(:anna, 'Gone', true, NULL, NULL, NULL) AS gone \gset

-- 1: all flags and keywords; 2: no body; 3: to be expunged; 4: to be moved
SELECT pg_temp.message(:inbox, 'of one', 'one', 31, '$Junk Work');
SELECT pg_temp.message(:inbox, '', 'no body');
SELECT pg_temp.message(:inbox, 'of three', 'expunged', 8, 'work');
SELECT pg_temp.message(:inbox, 'of four', 'moved');
-- the same body in another account
SELECT pg_temp.message(:other, 'of one', 'one, to bert');

-- 5: a body of three chunks and ten bytes, with the UIDL of another server
BEGIN;
SELECT convert_to(repeat('sixteen bytes..' || E'\n', 16384) || 'and a tail', 'UTF8') AS large \gset
SELECT pgbox.content_put(E'Subject: large\r\n\r\n', true, sha256(:'large'::bytea), octet_length(:'large'::bytea),
                         substr(:'large'::bytea, 1, 131072), 18 + octet_length(:'large'::bytea), 18 + octet_length(:'large'::bytea),
                         NULL, NULL) AS content \gset
SELECT pgbox.body_chunk_put(sha256(:'large'::bytea), n, substr(:'large'::bytea, n * 131072 + 1, 131072)) FROM generate_series(1, 2) AS n;
SELECT a.uids FROM pgbox.message_append(:inbox, gen_random_uuid(), 'imap', 0, '{0}', ARRAY[gen_random_uuid()], ARRAY[:content::bigint],
                                        '{NULL}', '{NULL}', '{f}', '{1700000000}', '{1700000001}', '{0}', '{""}', '{uidl-5}', '{5}') AS a;
COMMIT;

-- a copy by reference, a move, an expunge, flags that change later
SELECT a.uids FROM pgbox.message_append(:work, gen_random_uuid(), 'imap', 0, '{0}', ARRAY[gen_random_uuid()], '{NULL}', ARRAY[:inbox::bigint],
                                        '{1}', '{f}', '{1700000000}', '{1700000002}', '{0}', '{""}', '{NULL}', '{NULL}') AS a;
SELECT a.uids FROM pgbox.message_append(:sent, gen_random_uuid(), 'imap', 0, '{0}', ARRAY[gen_random_uuid()], '{NULL}', ARRAY[:inbox::bigint],
                                        '{4}', '{t}', '{1700000000}', '{1700000002}', '{0}', '{""}', '{NULL}', '{NULL}') AS a;
SELECT e.modseq FROM pgbox.message_expunge(:inbox, '{3}', 'imap 127.0.0.1') AS e;
SELECT s.modseq FROM pgbox.message_store(:inbox, NULL, '{2}', '{0}', '{8}', '{0}', '{"later"}', '{""}', '{f}') AS s;
SELECT pgbox.recent_claim(:inbox, 6);

-- a deleted mailbox with a message and a tombstone
SELECT pg_temp.message(:gone, 'of the deleted one', 'deleted with its mailbox');
SELECT pg_temp.message(:gone, 'of the deleted two', 'expunged before');
SELECT e.modseq FROM pgbox.message_expunge(:gone, '{2}', 'pop3') AS e;
SELECT pgbox.mailbox_delete(:anna, :gone);

-- a tombstone that purge has emptied already
SELECT pg_temp.message(:other, 'of the emptied one', 'emptied');
SELECT e.modseq FROM pgbox.message_expunge(:other, '{2}', 'lmtp') AS e;
UPDATE pgbox.expunged SET expunged_at = now() - '15 days'::interval WHERE mailbox_id = :other;
SELECT * FROM pgbox.purge();

SELECT pgbox.subscription_set(:anna, s.name, true) FROM (VALUES ('INBOX'), ('Work/Über & <x>'), ('not there')) AS s (name);
SELECT pgbox.attribute_set(:inbox, false, 'comment', 'private', 1700000003);
SELECT pgbox.attribute_set(:inbox, true, 'vendor/x', '\x00ff', 1700000003);
-- a commit that was given up
SELECT * FROM pgbox.commit_claim(gen_random_uuid());
