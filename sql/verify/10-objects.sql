-- Is everything there, ours, valid and guarded as the files say?
-- :functions is the hash of replace/, :expected the list of its and
-- migrate/'s objects, :indexes how indexes are made.
WITH admin (names) AS (
  -- functions of administrators alone
  VALUES (ARRAY['account_create', 'account_set_password', 'account_lock', 'account_repair', 'mailbox_lock',
                'tombstone_prune', 'mailbox_lock_many', 'mailbox_repair', 'keyword_use', 'keywords_change',
                'modseq_step', 'account_rename', 'account_disable', 'account_enable', 'account_delete',
                'account_set_hold', 'account_set_quota', 'account_set_retention', 'folder_create', 'folder_rename',
                'folder_delete', 'folder_empty', 'folder_move', 'folder_set_hold',
                'message_search', 'message_copy', 'messages_expire', 'messages_expunge',
                'restore_preview', 'restore_mailbox', 'restore_account', 'after_restore', 'after_failover',
                'base64_length', 'base64_lines', 'body_bytes', 'body_read']))
SELECT 'functions and views are not those of this version'
 WHERE NOT EXISTS (SELECT 1 FROM pgbox.schema_version AS v WHERE v.version = 0 AND v.sha256 = :'functions')
UNION ALL
SELECT e.kind || ' ' || e.name || ' is missing'
       || CASE e.kind WHEN 'index' THEN ': ' || (SELECT x.sql FROM (VALUES :indexes) AS x (name, sql) WHERE x.name = e.name)
                      -- upgrade makes the rest
                      WHEN 'table' THEN ': restore it from a backup' ELSE '' END
  FROM (VALUES :expected) AS e (kind, name)
 WHERE CASE e.kind
       WHEN 'function' THEN NOT EXISTS (SELECT 1 FROM pg_catalog.pg_proc AS p
                                         WHERE p.pronamespace = 'pgbox'::regnamespace AND p.proname = e.name)
       WHEN 'trigger' THEN NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS t
                                         JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
                                        WHERE c.relnamespace = 'pgbox'::regnamespace AND t.tgname = e.name)
       ELSE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class AS c
                         WHERE c.relnamespace = 'pgbox'::regnamespace AND c.relname = e.name
                           AND c.relkind = CASE e.kind WHEN 'table' THEN 'r' WHEN 'index' THEN 'i' ELSE 'v' END)
       END
UNION ALL
SELECT 'function ' || p.oid::regprocedure || ' is not of this version'
  FROM pg_catalog.pg_proc AS p
 WHERE p.pronamespace = 'pgbox'::regnamespace
   AND ('function', p.proname::text) NOT IN (VALUES :expected)
UNION ALL
SELECT 'trigger ' || t.tgname || ' of ' || t.tgrelid::regclass || ' is not of this version'
  FROM pg_catalog.pg_trigger AS t
  JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
 WHERE c.relnamespace = 'pgbox'::regnamespace AND NOT t.tgisinternal
   AND ('trigger', t.tgname::text) NOT IN (VALUES :expected)
UNION ALL
SELECT o.name || ' does not belong to pgbox_owner'
  FROM (SELECT c.oid::regclass::text, c.relowner FROM pg_catalog.pg_class AS c
         WHERE c.relnamespace = 'pgbox'::regnamespace
         UNION ALL
        SELECT p.oid::regprocedure::text, p.proowner FROM pg_catalog.pg_proc AS p
         WHERE p.pronamespace = 'pgbox'::regnamespace
         UNION ALL
        SELECT 'schema pgbox', n.nspowner FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'pgbox') AS o (name, owner)
 WHERE o.owner <> 'pgbox_owner'::regrole
UNION ALL
SELECT 'constraint ' || c.conname || ' of ' || c.conrelid::regclass || ' is not validated'
  FROM pg_catalog.pg_constraint AS c
 WHERE c.connamespace = 'pgbox'::regnamespace AND NOT c.convalidated
UNION ALL
SELECT 'index ' || i.indexrelid::regclass || ' is invalid: REINDEX it'
  FROM pg_catalog.pg_index AS i
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
 WHERE c.relnamespace = 'pgbox'::regnamespace AND NOT (i.indisvalid AND i.indisready)
UNION ALL
SELECT 'trigger ' || t.tgname || ' of ' || t.tgrelid::regclass || ' is switched off'
  FROM pg_catalog.pg_trigger AS t
  JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
 WHERE c.relnamespace = 'pgbox'::regnamespace AND t.tgenabled = 'D'
UNION ALL
-- Whatever isn't listed here nobody but the owner may do.
SELECT pg_catalog.format('%s may %s %s', COALESCE(r.rolname, 'PUBLIC'), a.privilege_type, o.name)
  FROM (SELECT 'table ' || c.relname, COALESCE(c.relacl, pg_catalog.acldefault('r', c.relowner)),
               ARRAY['pgbox_dovecot SELECT', 'pgbox_reader SELECT']
               || CASE WHEN c.relname IN ('account', 'commit_token', 'dovecot_passdb') THEN '{}' ELSE ARRAY['pgbox_admin SELECT'] END
               || CASE WHEN c.relname IN ('message', 'mailbox') THEN ARRAY['pgbox_admin DELETE']
                       WHEN c.relname IN ('subscription', 'mailbox_attribute', 'policy')
                       THEN ARRAY['pgbox_admin INSERT', 'pgbox_admin UPDATE', 'pgbox_admin DELETE'] ELSE '{}' END
          FROM pg_catalog.pg_class AS c WHERE c.relnamespace = 'pgbox'::regnamespace
         UNION ALL
        SELECT 'column ' || c.relname || '.' || t.attname, t.attacl,
               ARRAY['pgbox_dovecot SELECT', 'pgbox_reader SELECT', 'pgbox_admin SELECT']
               || CASE WHEN (c.relname, t.attname) IN (('account', 'enabled'), ('account', 'password_hash'),
                                                       ('message_state', 'flags'), ('message_state', 'keywords'),
                                                       ('mailbox', 'name'), ('mailbox', 'special_use'), ('mailbox', 'deleted_at'), ('mailbox', 'deleted_reason'),
                                                       ('expunged', 'expunged_at'), ('expunged', 'reason'), ('expunged', 'revived_at'), ('store', 'retention'),
                                                       ('store', 'job_retention'), ('store', 'base64_decoded'))
                       THEN ARRAY['pgbox_admin UPDATE']
                       WHEN c.relname = 'message' AND t.attname <> 'uid' THEN ARRAY['pgbox_admin INSERT'] ELSE '{}' END
          FROM pg_catalog.pg_attribute AS t
          JOIN pg_catalog.pg_class AS c ON c.oid = t.attrelid
         WHERE c.relnamespace = 'pgbox'::regnamespace AND t.attacl IS NOT NULL
         UNION ALL
        SELECT 'function ' || p.proname, COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner)),
               CASE WHEN p.prorettype = 'trigger'::regtype THEN '{}'
                    -- a view of theirs asks it
                    WHEN p.proname = 'violations' THEN ARRAY['pgbox_admin EXECUTE', 'pgbox_reader EXECUTE']
                    WHEN p.proname = ANY (x.names) THEN ARRAY['pgbox_admin EXECUTE']
                    WHEN p.proname IN ('who', 'done_by', 'header_field', 'header_address', 'header_text', 'header_word', 'folder_label', 'message_now_in') THEN ARRAY['pgbox_admin EXECUTE']
                    WHEN p.prosecdef THEN ARRAY['pgbox_admin EXECUTE', 'pgbox_dovecot EXECUTE'] ELSE '{}' END
          FROM pg_catalog.pg_proc AS p CROSS JOIN admin AS x WHERE p.pronamespace = 'pgbox'::regnamespace
         UNION ALL
        SELECT 'schema pgbox', n.nspacl, ARRAY['pgbox_dovecot USAGE', 'pgbox_reader USAGE', 'pgbox_admin USAGE']
          FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'pgbox') AS o (name, acl, allowed)
 CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) AS a
  LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
 WHERE a.grantee <> 'pgbox_owner'::regrole
   AND (a.grantee = 0 OR r.rolname IN ('pgbox_dovecot', 'pgbox_reader', 'pgbox_admin'))
   AND NOT COALESCE(r.rolname, 'PUBLIC') || ' ' || a.privilege_type = ANY (o.allowed)
UNION ALL
SELECT r.role || ' may not execute ' || p.oid::regprocedure
  FROM pg_catalog.pg_proc AS p
 CROSS JOIN admin AS x
 CROSS JOIN (VALUES ('pgbox_dovecot'), ('pgbox_admin')) AS r (role)
 WHERE p.pronamespace = 'pgbox'::regnamespace AND p.prosecdef
   -- whoever fires a trigger needs no right to call its function
   AND p.prorettype <> 'trigger'::regtype
   AND NOT (r.role = 'pgbox_dovecot' AND p.proname = ANY (x.names || 'violations'::text))
   AND NOT pg_catalog.has_function_privilege(r.role, p.oid, 'EXECUTE')
UNION ALL
SELECT 'function ' || p.oid::regprocedure || ' writes and has no guard: triggers would keep the rules a second time'
  FROM pg_catalog.pg_proc AS p
 WHERE p.pronamespace = 'pgbox'::regnamespace AND p.provolatile = 'v'
   AND NOT 'vacuum_multixact_freeze_table_age=1885823608' = ANY (COALESCE(p.proconfig, '{}'))
UNION ALL
SELECT 'function ' || p.oid::regprocedure || ' runs as its owner without a search_path of its own'
  FROM pg_catalog.pg_proc AS p
 WHERE p.pronamespace = 'pgbox'::regnamespace AND p.prosecdef
   AND NOT 'search_path=pg_catalog, pg_temp' = ANY (COALESCE(p.proconfig, '{}'))
UNION ALL
SELECT w.role || ' may not read ' || w.relation
  FROM (VALUES ('pgbox_dovecot', 'pgbox.schema_version'), ('pgbox_dovecot', 'pgbox.store'),
               ('pgbox_dovecot', 'pgbox.mailbox'), ('pgbox_dovecot', 'pgbox.mailbox_counter'),
               ('pgbox_dovecot', 'pgbox.mailbox_keyword'), ('pgbox_dovecot', 'pgbox.subscription'),
               ('pgbox_dovecot', 'pgbox.mailbox_attribute'), ('pgbox_dovecot', 'pgbox.message'),
               ('pgbox_dovecot', 'pgbox.message_state'), ('pgbox_dovecot', 'pgbox.content'),
               ('pgbox_dovecot', 'pgbox.body'), ('pgbox_dovecot', 'pgbox.body_chunk'),
               ('pgbox_dovecot', 'pgbox.account_quota'),
               ('pgbox_dovecot', 'pgbox.dovecot_passdb'), ('pgbox_dovecot', 'pgbox.dovecot_userdb'),
               ('pgbox_dovecot', 'pgbox.dovecot_account'),
               ('pgbox_reader', 'pgbox.mailbox'), ('pgbox_reader', 'pgbox.mailbox_counter'),
               ('pgbox_reader', 'pgbox.message'), ('pgbox_reader', 'pgbox.message_state'),
               ('pgbox_reader', 'pgbox.expunged'), ('pgbox_reader', 'pgbox.invariant_violations'),
               ('pgbox_admin', 'pgbox.mailbox'), ('pgbox_admin', 'pgbox.mailbox_counter'),
               ('pgbox_admin', 'pgbox.message'), ('pgbox_admin', 'pgbox.message_state'),
               ('pgbox_admin', 'pgbox.expunged'), ('pgbox_admin', 'pgbox.subscription'),
               ('pgbox_admin', 'pgbox.invariant_violations'), ('pgbox_admin', 'pgbox.job'), ('pgbox_admin', 'pgbox.policy'),
               ('pgbox_admin', 'pgbox.mail_history'), ('pgbox_admin', 'pgbox.folder_history'), ('pgbox_admin', 'pgbox.policy_pending')) AS w (role, relation)
  JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(w.relation)
 WHERE NOT pg_catalog.has_table_privilege(w.role, c.oid, 'SELECT')
UNION ALL
SELECT w.role || ' may read ' || w.relation || '.' || w.name
  FROM (VALUES ('pgbox_dovecot', 'pgbox.account', 'password_hash'), ('pgbox_reader', 'pgbox.account', 'password_hash'),
               ('pgbox_admin', 'pgbox.account', 'password_hash'), ('pgbox_admin', 'pgbox.dovecot_passdb', 'password'),
               ('pgbox_reader', 'pgbox.content', 'header'), ('pgbox_reader', 'pgbox.content', 'envelope'),
               ('pgbox_reader', 'pgbox.body', 'head'), ('pgbox_reader', 'pgbox.body_chunk', 'data')) AS w (role, relation, name)
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = pg_catalog.to_regclass(w.relation) AND a.attname = w.name
 WHERE pg_catalog.has_column_privilege(w.role, a.attrelid, a.attnum, 'SELECT');
