-- Which trigger is where: those that keep the rules, and those that refuse.
-- 60-rules.sql tells what their WHEN is about.

-- No guard here: our functions give each row that they change another modseq. To
-- see that costs less than to look at the guard for each row.
CREATE OR REPLACE TRIGGER message_state_rule_update
  BEFORE UPDATE ON pgbox.message_state
  FOR EACH ROW
  WHEN (NEW.modseq = OLD.modseq)
  EXECUTE FUNCTION pgbox.rule_state_update();
COMMENT ON TRIGGER message_state_rule_update ON pgbox.message_state IS 'Plain UPDATE of flags and keywords keeps the rules';

CREATE OR REPLACE TRIGGER message_state_rule_updated
  AFTER UPDATE ON pgbox.message_state
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_state_updated();
COMMENT ON TRIGGER message_state_rule_updated ON pgbox.message_state IS 'Plain UPDATE of flags and keywords keeps the rules';

CREATE OR REPLACE TRIGGER message_rule_insert
  BEFORE INSERT ON pgbox.message
  FOR EACH ROW
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_message_insert();
COMMENT ON TRIGGER message_rule_insert ON pgbox.message IS 'Plain INSERT of messages keeps the rules';

CREATE OR REPLACE TRIGGER message_rule_inserted
  AFTER INSERT ON pgbox.message
  REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_message_inserted();
COMMENT ON TRIGGER message_rule_inserted ON pgbox.message IS 'Plain INSERT of messages keeps the rules';

CREATE OR REPLACE TRIGGER message_rule_delete
  BEFORE DELETE ON pgbox.message
  FOR EACH ROW
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_message_delete();
COMMENT ON TRIGGER message_rule_delete ON pgbox.message IS 'Plain DELETE of messages keeps the rules';

CREATE OR REPLACE TRIGGER message_rule_deleted
  AFTER DELETE ON pgbox.message
  REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_message_deleted();
COMMENT ON TRIGGER message_rule_deleted ON pgbox.message IS 'Plain DELETE of messages keeps the rules';

CREATE OR REPLACE TRIGGER policy_rule_write
  BEFORE INSERT OR UPDATE ON pgbox.policy
  FOR EACH ROW
  EXECUTE FUNCTION pgbox.rule_policy_write();
COMMENT ON TRIGGER policy_rule_write ON pgbox.policy IS 'Policies make sense';

-- no guard: functions may be given what can't be, too
CREATE OR REPLACE TRIGGER account_rule_write
  BEFORE UPDATE OF name, password_hash, enabled, deleted_at, retention, legal_hold ON pgbox.account
  FOR EACH ROW
  EXECUTE FUNCTION pgbox.rule_account_write();
COMMENT ON TRIGGER account_rule_write ON pgbox.account IS 'Accounts make sense, and errors don''t show hashes';

CREATE OR REPLACE TRIGGER store_rule_write
  BEFORE UPDATE OF retention, job_retention ON pgbox.store
  FOR EACH ROW
  EXECUTE FUNCTION pgbox.rule_store_write();
COMMENT ON TRIGGER store_rule_write ON pgbox.store IS 'Retentions make sense';

CREATE OR REPLACE TRIGGER mailbox_rule_update
  BEFORE UPDATE ON pgbox.mailbox
  FOR EACH ROW
  WHEN (((NEW.deleted_at IS NULL) <> (OLD.deleted_at IS NULL)
         OR (NEW.deleted_at IS NULL AND (NEW.name, NEW.special_use) IS DISTINCT FROM (OLD.name, OLD.special_use)))
        AND (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner'))
  EXECUTE FUNCTION pgbox.rule_mailbox_update();
COMMENT ON TRIGGER mailbox_rule_update ON pgbox.mailbox IS 'Plain UPDATE of mailboxes keeps the rules';

CREATE OR REPLACE TRIGGER mailbox_rule_updated
  AFTER UPDATE ON pgbox.mailbox
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_mailbox_updated();
COMMENT ON TRIGGER mailbox_rule_updated ON pgbox.mailbox IS 'Plain UPDATE of mailboxes keeps the rules';

CREATE OR REPLACE TRIGGER mailbox_rule_delete
  BEFORE DELETE ON pgbox.mailbox
  FOR EACH ROW
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_mailbox_delete();
COMMENT ON TRIGGER mailbox_rule_delete ON pgbox.mailbox IS 'Plain DELETE of mailboxes keeps the rules';

CREATE OR REPLACE TRIGGER mailbox_rule_deleted
  AFTER DELETE ON pgbox.mailbox
  REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_mailbox_deleted();
COMMENT ON TRIGGER mailbox_rule_deleted ON pgbox.mailbox IS 'Plain DELETE of mailboxes keeps the rules';

CREATE OR REPLACE TRIGGER subscription_rule
  BEFORE INSERT OR UPDATE OR DELETE ON pgbox.subscription
  FOR EACH ROW
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_subscription();
COMMENT ON TRIGGER subscription_rule ON pgbox.subscription IS 'Plain DML on subscriptions keeps the rules';

CREATE OR REPLACE TRIGGER subscription_rule_inserted
  AFTER INSERT ON pgbox.subscription
  REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_subscription_inserted();
COMMENT ON TRIGGER subscription_rule_inserted ON pgbox.subscription IS 'Plain DML on subscriptions keeps the rules';

CREATE OR REPLACE TRIGGER subscription_rule_updated
  AFTER UPDATE ON pgbox.subscription
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_subscription_updated();
COMMENT ON TRIGGER subscription_rule_updated ON pgbox.subscription IS 'Plain DML on subscriptions keeps the rules';

CREATE OR REPLACE TRIGGER subscription_rule_deleted
  AFTER DELETE ON pgbox.subscription
  REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_subscription_deleted();
COMMENT ON TRIGGER subscription_rule_deleted ON pgbox.subscription IS 'Plain DML on subscriptions keeps the rules';

-- Not what is changed all the time: counters, names of mailboxes. Those who write
-- them pay for no trigger here.

CREATE OR REPLACE TRIGGER store_rule_recorded
  AFTER UPDATE ON pgbox.store
  FOR EACH ROW
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_recorded();
COMMENT ON TRIGGER store_rule_recorded ON pgbox.store IS 'Plain DML on settings is written down';

CREATE OR REPLACE TRIGGER policy_rule_recorded
  AFTER INSERT OR UPDATE OR DELETE ON pgbox.policy
  FOR EACH ROW
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_recorded();
COMMENT ON TRIGGER policy_rule_recorded ON pgbox.policy IS 'Plain DML on settings is written down';

CREATE OR REPLACE TRIGGER account_rule_recorded
  AFTER DELETE OR UPDATE OF name, password_hash, enabled, deleted_at, retention, legal_hold ON pgbox.account
  FOR EACH ROW
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_recorded();
COMMENT ON TRIGGER account_rule_recorded ON pgbox.account IS 'Plain DML on settings is written down';

CREATE OR REPLACE TRIGGER account_quota_rule_recorded
  AFTER INSERT OR UPDATE OR DELETE ON pgbox.account_quota
  FOR EACH ROW
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_recorded();
COMMENT ON TRIGGER account_quota_rule_recorded ON pgbox.account_quota IS 'Plain DML on settings is written down';

CREATE OR REPLACE TRIGGER mailbox_rule_recorded
  AFTER UPDATE OF legal_hold ON pgbox.mailbox
  FOR EACH ROW
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_recorded();
COMMENT ON TRIGGER mailbox_rule_recorded ON pgbox.mailbox IS 'Plain DML on settings is written down';

-- ---- what is refused -------------------------------------------------------
--
-- For rows where a foreign key cascades: a statement that touches none must pass.
-- Else for statements: a row that has a trigger before its change is locked first,
-- which costs a look and a WAL record each.

CREATE OR REPLACE TRIGGER message_state_refuse_update
  BEFORE UPDATE OF mailbox_id, uid, modseq ON pgbox.message_state
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse_others(
    'UIDs and modseqs are not to be changed by hand',
    'Change flags and keywords; the modseq follows.');
COMMENT ON TRIGGER message_state_refuse_update ON pgbox.message_state IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER message_state_refuse_insert
  BEFORE INSERT ON pgbox.message_state
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse_others(
    'the state of a message is not to be added by hand',
    'INSERT the message; its state is there then, without flags.');
COMMENT ON TRIGGER message_state_refuse_insert ON pgbox.message_state IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER message_state_refuse_delete
  BEFORE DELETE ON pgbox.message_state
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse_others(
    'the state of a message is not to be deleted by hand',
    'DELETE the message.');
COMMENT ON TRIGGER message_state_refuse_delete ON pgbox.message_state IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER message_refuse_update
  BEFORE UPDATE ON pgbox.message
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_refuse(
    'a message is not to be changed by hand: it is immutable',
    'INSERT a copy and DELETE the original.');
COMMENT ON TRIGGER message_refuse_update ON pgbox.message IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER expunged_refuse_update
  BEFORE UPDATE OF mailbox_id, uid, modseq, content_id, guid, received_at, saved_at, flags, keywords ON pgbox.expunged
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_refuse(
    'what a tombstone stands for is not to be changed by hand',
    'expunged_at, reason, moved_to and revived_at may be changed.');
COMMENT ON TRIGGER expunged_refuse_update ON pgbox.expunged IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER expunged_refuse_insert
  BEFORE INSERT ON pgbox.expunged
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse_others(
    'tombstones are not to be added by hand',
    'DELETE the message.');
COMMENT ON TRIGGER expunged_refuse_insert ON pgbox.expunged IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER expunged_refuse_delete
  BEFORE DELETE ON pgbox.expunged
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_refuse(
    'tombstones are not to be deleted by hand',
    'pgbox.purge() frees the space of expunged messages; the tombstone stays.');
COMMENT ON TRIGGER expunged_refuse_delete ON pgbox.expunged IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER mailbox_refuse_update
  BEFORE UPDATE OF mailbox_id, account_id, guid, uidvalidity, created_at ON pgbox.mailbox
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_refuse(
    'the identity of a mailbox is not to be changed by hand',
    'Call pgbox.mailbox_update() for GUID and UIDVALIDITY.');
COMMENT ON TRIGGER mailbox_refuse_update ON pgbox.mailbox IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER mailbox_refuse_insert
  BEFORE INSERT ON pgbox.mailbox
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_refuse(
    'mailboxes are not to be added by hand',
    'Call pgbox.mailbox_create().');
COMMENT ON TRIGGER mailbox_refuse_insert ON pgbox.mailbox IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER mailbox_counter_refuse_write
  BEFORE INSERT OR UPDATE ON pgbox.mailbox_counter
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.timeline_guard(
    'counters are not to be changed by hand',
    'They follow from what is changed; pgbox.mailbox_repair() counts anew.');
COMMENT ON TRIGGER mailbox_counter_refuse_write ON pgbox.mailbox_counter IS 'Not to be done by hand, and no UID or modseq is given out twice after a failover';

CREATE OR REPLACE TRIGGER mailbox_counter_refuse_delete
  BEFORE DELETE ON pgbox.mailbox_counter
  FOR EACH ROW
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_refuse(
    'counters are not to be deleted by hand',
    'DELETE the mailbox.');
COMMENT ON TRIGGER mailbox_counter_refuse_delete ON pgbox.mailbox_counter IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER mailbox_keyword_refuse_write
  BEFORE INSERT OR UPDATE ON pgbox.mailbox_keyword
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_refuse(
    'names of keywords are not to be changed by hand: nodes know them by number',
    'Call pgbox.keyword_use() for a new one.');
COMMENT ON TRIGGER mailbox_keyword_refuse_write ON pgbox.mailbox_keyword IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER mailbox_keyword_refuse_delete
  BEFORE DELETE ON pgbox.mailbox_keyword
  FOR EACH ROW
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_refuse(
    'names of keywords are not to be deleted by hand: numbers are never reused',
    'Take the number out of message_state.keywords.');
COMMENT ON TRIGGER mailbox_keyword_refuse_delete ON pgbox.mailbox_keyword IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER account_refuse_update
  BEFORE UPDATE OF account_id, last_uidvalidity, list_modseq, created_at ON pgbox.account
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_refuse(
    'counters of an account are not to be changed by hand',
    'They follow from what is changed.');
COMMENT ON TRIGGER account_refuse_update ON pgbox.account IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER account_refuse_insert
  BEFORE INSERT ON pgbox.account
  FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_refuse(
    'accounts are not to be added by hand',
    'Call pgbox.account_create().');
COMMENT ON TRIGGER account_refuse_insert ON pgbox.account IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER content_refuse
  BEFORE INSERT OR UPDATE OR DELETE ON pgbox.content
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse_others(
    'the content of messages is not to be changed by hand',
    'pgbox.content_put() adds, pgbox.purge() removes what nobody uses.');
COMMENT ON TRIGGER content_refuse ON pgbox.content IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER body_refuse
  BEFORE INSERT OR UPDATE OR DELETE ON pgbox.body
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse_others(
    'bodies are not to be changed by hand',
    'pgbox.content_put() adds, pgbox.purge() removes what nobody uses.');
COMMENT ON TRIGGER body_refuse ON pgbox.body IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER body_chunk_refuse_write
  BEFORE INSERT OR UPDATE ON pgbox.body_chunk
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse_others(
    'bodies are not to be changed by hand',
    'pgbox.body_chunk_put() adds, pgbox.purge() removes what nobody uses.');
COMMENT ON TRIGGER body_chunk_refuse_write ON pgbox.body_chunk IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER body_chunk_refuse_delete
  BEFORE DELETE ON pgbox.body_chunk
  FOR EACH ROW
  WHEN (pg_catalog.current_setting('vacuum_multixact_freeze_table_age') <> '1885823608' OR current_user <> 'pgbox_owner')
  EXECUTE FUNCTION pgbox.rule_refuse(
    'bodies are not to be changed by hand',
    'pgbox.body_chunk_put() adds, pgbox.purge() removes what nobody uses.');
COMMENT ON TRIGGER body_chunk_refuse_delete ON pgbox.body_chunk IS 'Not to be done by hand';

-- TRUNCATE knows no rows: nobody could tell what is gone.

CREATE OR REPLACE TRIGGER message_refuse_truncate
  BEFORE TRUNCATE ON pgbox.message
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse('message is not to be truncated', 'DELETE the rows, if they may be deleted.');
COMMENT ON TRIGGER message_refuse_truncate ON pgbox.message IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER message_state_refuse_truncate
  BEFORE TRUNCATE ON pgbox.message_state
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse('message_state is not to be truncated', 'DELETE the rows, if they may be deleted.');
COMMENT ON TRIGGER message_state_refuse_truncate ON pgbox.message_state IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER expunged_refuse_truncate
  BEFORE TRUNCATE ON pgbox.expunged
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse('expunged is not to be truncated', 'DELETE the rows, if they may be deleted.');
COMMENT ON TRIGGER expunged_refuse_truncate ON pgbox.expunged IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER mailbox_refuse_truncate
  BEFORE TRUNCATE ON pgbox.mailbox
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse('mailbox is not to be truncated', 'DELETE the rows, if they may be deleted.');
COMMENT ON TRIGGER mailbox_refuse_truncate ON pgbox.mailbox IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER mailbox_counter_refuse_truncate
  BEFORE TRUNCATE ON pgbox.mailbox_counter
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse('mailbox_counter is not to be truncated', 'DELETE the rows, if they may be deleted.');
COMMENT ON TRIGGER mailbox_counter_refuse_truncate ON pgbox.mailbox_counter IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER mailbox_keyword_refuse_truncate
  BEFORE TRUNCATE ON pgbox.mailbox_keyword
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse('mailbox_keyword is not to be truncated', 'DELETE the rows, if they may be deleted.');
COMMENT ON TRIGGER mailbox_keyword_refuse_truncate ON pgbox.mailbox_keyword IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER mailbox_attribute_refuse_truncate
  BEFORE TRUNCATE ON pgbox.mailbox_attribute
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse('mailbox_attribute is not to be truncated', 'DELETE the rows, if they may be deleted.');
COMMENT ON TRIGGER mailbox_attribute_refuse_truncate ON pgbox.mailbox_attribute IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER account_refuse_truncate
  BEFORE TRUNCATE ON pgbox.account
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse('account is not to be truncated', 'DELETE the rows, if they may be deleted.');
COMMENT ON TRIGGER account_refuse_truncate ON pgbox.account IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER subscription_refuse_truncate
  BEFORE TRUNCATE ON pgbox.subscription
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse('subscription is not to be truncated', 'DELETE the rows, if they may be deleted.');
COMMENT ON TRIGGER subscription_refuse_truncate ON pgbox.subscription IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER content_refuse_truncate
  BEFORE TRUNCATE ON pgbox.content
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse('content is not to be truncated', 'DELETE the rows, if they may be deleted.');
COMMENT ON TRIGGER content_refuse_truncate ON pgbox.content IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER body_refuse_truncate
  BEFORE TRUNCATE ON pgbox.body
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse('body is not to be truncated', 'DELETE the rows, if they may be deleted.');
COMMENT ON TRIGGER body_refuse_truncate ON pgbox.body IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER body_chunk_refuse_truncate
  BEFORE TRUNCATE ON pgbox.body_chunk
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse('body_chunk is not to be truncated', 'DELETE the rows, if they may be deleted.');
COMMENT ON TRIGGER body_chunk_refuse_truncate ON pgbox.body_chunk IS 'Not to be done by hand';

CREATE OR REPLACE TRIGGER store_refuse_truncate
  BEFORE TRUNCATE ON pgbox.store
  FOR EACH STATEMENT
  EXECUTE FUNCTION pgbox.rule_refuse('store is not to be truncated', 'DELETE the rows, if they may be deleted.');
COMMENT ON TRIGGER store_refuse_truncate ON pgbox.store IS 'Not to be done by hand';
