-- The plugin writes through functions only, which run as their owner; it
-- reads tables itself, except passwords. Administrators may change by plain DML
-- what triggers guard (65-triggers.sql), and call functions for the rest.

DO $$
DECLARE
  v_function regprocedure;
BEGIN
  FOR v_function IN
    SELECT p.oid FROM pg_catalog.pg_proc AS p
     WHERE p.pronamespace = 'pgbox'::regnamespace
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', v_function);
  END LOOP;
  -- the guard (60-rules.sql)
  FOR v_function IN
    SELECT p.oid FROM pg_catalog.pg_proc AS p
     WHERE p.pronamespace = 'pgbox'::regnamespace AND p.provolatile = 'v'
  LOOP
    EXECUTE pg_catalog.format('ALTER FUNCTION %s SET vacuum_multixact_freeze_table_age = 1885823608', v_function);
  END LOOP;
  FOR v_function IN
    SELECT p.oid FROM pg_catalog.pg_proc AS p
     WHERE p.pronamespace = 'pgbox'::regnamespace
       AND p.proname IN ('schema_check', 'link_check', 'mailbox_create', 'mailbox_delete', 'mailbox_delete_node', 'mailbox_rename',
                         'mailbox_update', 'subscription_set', 'recent_claim', 'attribute_set', 'account_find',
                         'body_chunk_put', 'content_put', 'message_store', 'message_expunge',
                         'message_append', 'message_save', 'commit_claim', 'mailbox_pull', 'purge', 'quota_usage',
                         -- for doveadm
                         'store_status', 'account_status', 'rows_verify', 'account_verify', 'content_verify',
                         'policy_apply', 'message_undelete', 'folder_undelete')
  LOOP
    EXECUTE pg_catalog.format('ALTER FUNCTION %s SECURITY DEFINER', v_function);
    EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO pgbox_dovecot, pgbox_admin', v_function);
  END LOOP;
  FOR v_function IN
    SELECT p.oid FROM pg_catalog.pg_proc AS p
     WHERE p.pronamespace = 'pgbox'::regnamespace
       AND p.proname IN ('account_create', 'account_set_password', 'account_lock', 'account_repair', 'mailbox_lock',
                         'tombstone_prune', 'mailbox_lock_many', 'mailbox_repair', 'keyword_use', 'keywords_change',
                         'modseq_step', 'account_rename', 'account_disable', 'account_enable', 'account_delete',
                         'account_set_hold', 'account_set_quota', 'account_set_retention', 'folder_create',
                         'folder_rename', 'folder_delete', 'folder_empty', 'folder_move',
                         'folder_set_hold', 'message_search', 'message_copy', 'messages_expire',
                         'messages_expunge', 'restore_preview', 'restore_mailbox', 'restore_account',
                         'after_restore', 'after_failover', 'base64_length', 'base64_lines', 'body_bytes', 'body_read')
  LOOP
    -- what only computes runs as its caller, so that it can be inlined
    IF (SELECT p.provolatile <> 'i' FROM pg_catalog.pg_proc AS p WHERE p.oid = v_function) THEN
      EXECUTE pg_catalog.format('ALTER FUNCTION %s SECURITY DEFINER', v_function);
    END IF;
    EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO pgbox_admin', v_function);
  END LOOP;
END
$$;

-- the view asks it, as whoever reads the view
GRANT EXECUTE ON FUNCTION pgbox.violations(bigint[], bigint[], bigint[]) TO pgbox_admin, pgbox_reader;
GRANT USAGE ON SCHEMA pgbox TO pgbox_dovecot, pgbox_admin, pgbox_reader;
GRANT SELECT ON pgbox.schema_version, pgbox.store TO pgbox_dovecot, pgbox_admin, pgbox_reader;
GRANT SELECT (account_id, name, enabled, list_modseq) ON pgbox.account TO pgbox_dovecot;
GRANT SELECT ON pgbox.mailbox, pgbox.mailbox_counter, pgbox.mailbox_keyword, pgbox.subscription,
                pgbox.mailbox_attribute, pgbox.message, pgbox.message_state, pgbox.content,
                pgbox.body, pgbox.body_chunk, pgbox.account_quota,
                pgbox.dovecot_passdb, pgbox.dovecot_userdb, pgbox.dovecot_account
  TO pgbox_dovecot;
GRANT SELECT (account_id, name, enabled, list_modseq, created_at) ON pgbox.account TO pgbox_reader;
GRANT SELECT ON pgbox.mailbox, pgbox.mailbox_counter, pgbox.mailbox_keyword, pgbox.message,
                pgbox.message_state, pgbox.expunged, pgbox.invariant_violations
  TO pgbox_reader;
GRANT SELECT (content_id, body_id, size, virtual_size) ON pgbox.content TO pgbox_reader;
GRANT SELECT (body_id, digest, size) ON pgbox.body TO pgbox_reader;
-- without content and subjects
GRANT SELECT ON pgbox.account_overview,
                pgbox.folder_overview,
                pgbox.message_overview,
                pgbox.storage_overview,
                pgbox.garbage_overview,
                pgbox.table_health,
                pgbox.replica_lag
  TO pgbox_reader;

GRANT SELECT (account_id, name, enabled, last_uidvalidity, list_modseq, created_at), UPDATE (enabled, password_hash)
  ON pgbox.account TO pgbox_admin;
GRANT SELECT ON pgbox.mailbox, pgbox.mailbox_counter, pgbox.mailbox_keyword, pgbox.subscription,
                pgbox.mailbox_attribute, pgbox.message, pgbox.message_state, pgbox.expunged, pgbox.content,
                pgbox.body, pgbox.body_chunk, pgbox.dovecot_userdb, pgbox.dovecot_account,
                pgbox.invariant_violations
  TO pgbox_admin;
GRANT UPDATE (flags, keywords) ON pgbox.message_state TO pgbox_admin;
GRANT INSERT (mailbox_id, content_id, guid, received_at, saved_at, pop3_uidl, pop3_order), DELETE ON pgbox.message TO pgbox_admin;
GRANT UPDATE (name, special_use, deleted_at, deleted_reason), DELETE ON pgbox.mailbox TO pgbox_admin;
GRANT INSERT, UPDATE, DELETE ON pgbox.subscription, pgbox.mailbox_attribute TO pgbox_admin;
GRANT UPDATE (job_retention) ON pgbox.store TO pgbox_admin;
GRANT UPDATE (expunged_at, reason, revived_at) ON pgbox.expunged TO pgbox_admin;
GRANT UPDATE (retention, base64_decoded) ON pgbox.store TO pgbox_admin;
GRANT SELECT (username) ON pgbox.dovecot_passdb TO pgbox_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON pgbox.policy TO pgbox_admin;
GRANT SELECT ON pgbox.job, pgbox.account_quota, pgbox.account_overview, pgbox.folder_overview, pgbox.message_overview,
                pgbox.sender_overview, pgbox.mail_history, pgbox.folder_history, pgbox.revivable, pgbox.policy_target, pgbox.policy_pending,
                pgbox.storage_overview, pgbox.garbage_overview, pgbox.table_health, pgbox.replica_lag
  TO pgbox_admin;
-- views and arguments that are left out ask these, as whoever reads or calls
GRANT EXECUTE ON FUNCTION pgbox.who(), pgbox.done_by(), pgbox.header_field(bytea, text), pgbox.header_address(bytea),
                          pgbox.header_text(bytea, text), pgbox.header_word(text, text, text),
                          pgbox.folder_label(bigint), pgbox.message_now_in(bigint, bigint, uuid) TO pgbox_admin;
