-- The plugin writes through functions only, which run as their owner; it
-- reads tables itself, except passwords.

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
  FOR v_function IN
    SELECT p.oid FROM pg_catalog.pg_proc AS p
     WHERE p.pronamespace = 'pgbox'::regnamespace
       AND p.proname IN ('schema_check', 'mailbox_create', 'mailbox_delete', 'mailbox_delete_node', 'mailbox_rename',
                         'mailbox_update', 'subscription_set', 'recent_claim', 'attribute_set', 'account_find',
                         'body_chunk_put', 'content_put', 'message_store', 'message_expunge',
                         'message_append', 'message_save', 'commit_claim', 'mailbox_pull', 'purge')
  LOOP
    EXECUTE pg_catalog.format('ALTER FUNCTION %s SECURITY DEFINER', v_function);
    EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO pgbox_dovecot', v_function);
  END LOOP;
END
$$;

GRANT USAGE ON SCHEMA pgbox TO pgbox_dovecot, pgbox_reader;
GRANT SELECT ON pgbox.schema_version, pgbox.store TO pgbox_dovecot, pgbox_reader;
GRANT SELECT (account_id, name, enabled, list_modseq) ON pgbox.account TO pgbox_dovecot;
GRANT SELECT ON pgbox.mailbox, pgbox.mailbox_counter, pgbox.mailbox_keyword, pgbox.subscription,
                pgbox.mailbox_attribute, pgbox.message, pgbox.message_state, pgbox.content,
                pgbox.body, pgbox.body_chunk,
                pgbox.dovecot_passdb, pgbox.dovecot_userdb
  TO pgbox_dovecot;
GRANT SELECT (account_id, name, enabled, list_modseq, created_at) ON pgbox.account TO pgbox_reader;
GRANT SELECT ON pgbox.mailbox, pgbox.mailbox_counter, pgbox.mailbox_keyword, pgbox.message,
                pgbox.message_state, pgbox.expunged
  TO pgbox_reader;
GRANT SELECT (content_id, body_id, size, virtual_size) ON pgbox.content TO pgbox_reader;
GRANT SELECT (body_id, digest, size) ON pgbox.body TO pgbox_reader;
