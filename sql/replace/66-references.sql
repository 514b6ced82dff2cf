-- Messages, their states and tombstones refer to mailboxes and contents without
-- foreign keys, which are a query and a lock for each row: half of the time of an
-- EXPUNGE or COPY of many. Nor do contents have one to their bodies: what it looks
-- with is planned once in a session, and if statistics are of an empty store, reads
-- all bodies for each new mail. What holds instead, whoever writes:
--
--   message, expunged -> mailbox. Who adds a row holds the mailbox's counters, a
--     row that does have a foreign key: deleting the mailbox deletes them first,
--     and so waits for him, and he for it. Then the trigger here looks for rows.
--   message -> content. Who adds a row has locked the content FOR KEY SHARE until
--     COMMIT (message_append, with one statement for all; message_append_copy,
--     rule_message_insert), or
--     has just added it himself (message_save), or deletes another row with that
--     content in the same transaction (mailbox_repair).
--   expunged -> content. A tombstone is added by who deletes the message, in the
--     same transaction: whoever looks sees one of the two, whenever he looks. So
--     the content is referred to all the time, and there is nothing to be locked.
--   content_drop locks contents FOR UPDATE, looks for rows again, and the trigger
--     here once more after the deletion.
--   content -> body. Who adds a content has locked the body FOR KEY SHARE until COMMIT,
--     or has just added it himself (body_put). content_drop locks bodies FOR UPDATE,
--     looks for contents again, and the trigger here once more.
--   message_state -> message. Who deletes messages deletes their states; both hold
--     the mailbox's counters, or are sure that nobody else does (purge and account_remove,
--     of deleted mailboxes).
--
-- By hand all that is refused or done by triggers (65-triggers.sql): rows of
-- message_state and expunged are neither added nor deleted, no row changes what it
-- refers to. tests/sql/sql_reference.py knows which functions add and delete rows.

-- In this transaction, for it is the functions of this version that do without.
DO $$
BEGIN
  IF EXISTS (SELECT 1 FROM pg_catalog.pg_constraint AS c
              WHERE c.connamespace = 'pgbox'::regnamespace
                AND c.conname IN ('message_mailbox_id_fkey', 'message_content_id_fkey', 'expunged_mailbox_id_fkey',
                                  'expunged_content_id_fkey', 'message_state_mailbox_id_uid_fkey', 'content_body_id_fkey')) THEN
    ALTER TABLE pgbox.message
      DROP CONSTRAINT IF EXISTS message_mailbox_id_fkey,
      DROP CONSTRAINT IF EXISTS message_content_id_fkey;
    ALTER TABLE pgbox.expunged
      DROP CONSTRAINT IF EXISTS expunged_mailbox_id_fkey,
      DROP CONSTRAINT IF EXISTS expunged_content_id_fkey;
    ALTER TABLE pgbox.message_state
      DROP CONSTRAINT IF EXISTS message_state_mailbox_id_uid_fkey;
    ALTER TABLE pgbox.content
      DROP CONSTRAINT IF EXISTS content_body_id_fkey;
  END IF;
END
$$;

CREATE OR REPLACE FUNCTION pgbox.reference_to_mailbox()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- usually they are gone with the mailbox by now; who has them is waited for
  PERFORM 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = OLD.mailbox_id FOR UPDATE;
  -- as in purge: nothing but the index will do
  IF (SELECT g.uid FROM pgbox.message AS g WHERE g.mailbox_id = OLD.mailbox_id ORDER BY g.uid LIMIT 1) IS NOT NULL
     OR (SELECT g.uid FROM pgbox.expunged AS g WHERE g.mailbox_id = OLD.mailbox_id ORDER BY g.uid LIMIT 1) IS NOT NULL THEN
    RAISE EXCEPTION 'mailbox % has messages or tombstones', OLD.mailbox_id
      USING ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.reference_to_mailbox() IS 'Trigger: a mailbox is deleted: it has no messages and no tombstones';

CREATE OR REPLACE FUNCTION pgbox.reference_to_content()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF (SELECT g.content_id FROM pgbox.message AS g WHERE g.content_id = OLD.content_id ORDER BY g.content_id LIMIT 1) IS NOT NULL
     OR (SELECT g.content_id FROM pgbox.expunged AS g WHERE g.content_id = OLD.content_id ORDER BY g.content_id LIMIT 1) IS NOT NULL THEN
    RAISE EXCEPTION 'content % belongs to a message or tombstone', OLD.content_id
      USING ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.reference_to_content() IS 'Trigger: a content is deleted: no message and no tombstone has it';

CREATE OR REPLACE FUNCTION pgbox.reference_to_body()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF (SELECT c.body_id FROM pgbox.content AS c WHERE c.body_id = OLD.body_id ORDER BY c.body_id LIMIT 1) IS NOT NULL THEN
    RAISE EXCEPTION 'body % belongs to a content', OLD.body_id
      USING ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.reference_to_body() IS 'Trigger: a body is deleted: no content has it';

-- No guard: a mistake of ours is to be seen, too. For rows, for a table of the old
-- ones would hold their headers.
CREATE OR REPLACE TRIGGER mailbox_reference
  AFTER DELETE OR UPDATE OF mailbox_id ON pgbox.mailbox
  FOR EACH ROW
  EXECUTE FUNCTION pgbox.reference_to_mailbox();
COMMENT ON TRIGGER mailbox_reference ON pgbox.mailbox IS 'Messages and tombstones have a mailbox';

CREATE OR REPLACE TRIGGER content_reference
  AFTER DELETE OR UPDATE OF content_id ON pgbox.content
  FOR EACH ROW
  EXECUTE FUNCTION pgbox.reference_to_content();
COMMENT ON TRIGGER content_reference ON pgbox.content IS 'Messages and tombstones have their content';

CREATE OR REPLACE TRIGGER body_reference
  AFTER DELETE OR UPDATE OF body_id ON pgbox.body
  FOR EACH ROW
  EXECUTE FUNCTION pgbox.reference_to_body();
COMMENT ON TRIGGER body_reference ON pgbox.body IS 'Contents have their body';
