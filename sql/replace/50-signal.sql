-- Signals: what tells the nodes that something has changed, so that they look.
--
-- A NOTIFY makes the transactions that send one commit one after another, each
-- with its flush. Therefore the plugin's own transactions send none: a node's
-- service does it after them, for many at a time (src/notify/README). What
-- others change in SQL is signalled from here, in their transaction. Nothing
-- depends on a signal but how soon a change is seen.
--
-- The channel is "pgbox", the text "MAILBOX MODSEQ ACCOUNT": mailbox_id (0: the
-- account's tree), the modseq that was taken (0: none, look in any case), and
-- the account's name, which goes to the end ("": everybody is to look).

CREATE OR REPLACE FUNCTION pgbox.signal_counter()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pg_notify('pgbox', NEW.mailbox_id || ' ' || NEW.highest_modseq || ' ' || a.name)
     FROM pgbox.mailbox AS m
     JOIN pgbox.account AS a ON a.account_id = m.account_id
    WHERE m.mailbox_id = NEW.mailbox_id;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.signal_counter() IS 'Trigger: tell the nodes that messages of a mailbox have changed';

CREATE OR REPLACE FUNCTION pgbox.signal_mailbox()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pg_notify('pgbox', NEW.mailbox_id || ' 0 ' || a.name)
     FROM pgbox.account AS a
    WHERE a.account_id = NEW.account_id;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.signal_mailbox() IS 'Trigger: tell the nodes that a mailbox was deleted or became another one';

CREATE OR REPLACE FUNCTION pgbox.signal_account()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pg_notify('pgbox', '0 0 ' || NEW.name);
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.signal_account() IS 'Trigger: tell the nodes that an account''s tree or its subscriptions have changed';

CREATE OR REPLACE FUNCTION pgbox.signal_store()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pg_notify('pgbox', '0 0 ');
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgbox.signal_store() IS 'Trigger: tell the nodes that the store has a new epoch';

-- doveadm's changes come from the plugin's role, and no node's service hears of
-- them: functions that it calls signal by themselves.
CREATE OR REPLACE FUNCTION pgbox.signal_from_doveadm(p_mailboxes bigint[])
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT pg_notify('pgbox', m.mailbox_id || ' 0 ' || a.name), pg_notify('pgbox', '0 0 ' || a.name)
    FROM pgbox.mailbox AS m
    JOIN pgbox.account AS a ON a.account_id = m.account_id
   WHERE m.mailbox_id = ANY (p_mailboxes) AND session_user = 'pgbox_dovecot'
$$;
COMMENT ON FUNCTION pgbox.signal_from_doveadm(bigint[]) IS 'Tell the nodes that mailboxes and their accounts have changed, if triggers don''t because it is the plugin''s role that changed them';

CREATE OR REPLACE TRIGGER mailbox_counter_signal
  AFTER UPDATE OF highest_modseq ON pgbox.mailbox_counter
  FOR EACH ROW
  WHEN (NEW.highest_modseq <> OLD.highest_modseq AND session_user <> 'pgbox_dovecot')
  EXECUTE FUNCTION pgbox.signal_counter();
COMMENT ON TRIGGER mailbox_counter_signal ON pgbox.mailbox_counter IS 'Changes that didn''t come from the plugin are signalled at once';

CREATE OR REPLACE TRIGGER mailbox_signal
  AFTER UPDATE OF deleted_at, guid, uidvalidity ON pgbox.mailbox
  FOR EACH ROW
  WHEN (session_user <> 'pgbox_dovecot')
  EXECUTE FUNCTION pgbox.signal_mailbox();
COMMENT ON TRIGGER mailbox_signal ON pgbox.mailbox IS 'Who has the mailbox open is to look';

CREATE OR REPLACE TRIGGER account_signal
  AFTER UPDATE OF list_modseq ON pgbox.account
  FOR EACH ROW
  WHEN (NEW.list_modseq <> OLD.list_modseq AND session_user <> 'pgbox_dovecot')
  EXECUTE FUNCTION pgbox.signal_account();
COMMENT ON TRIGGER account_signal ON pgbox.account IS 'Changes of the tree that didn''t come from the plugin are signalled at once';

CREATE OR REPLACE TRIGGER store_signal
  AFTER UPDATE OF epoch ON pgbox.store
  FOR EACH ROW
  WHEN (NEW.epoch <> OLD.epoch)
  EXECUTE FUNCTION pgbox.signal_store();
COMMENT ON TRIGGER store_signal ON pgbox.store IS 'All sessions are to look';
