"""Each role tries what it must not do."""

from sqllib import Session, literal, refused, save_sql, store_sql, with_store
from sql_statement import statements
from tap import eq

TABLES = ("account", "mailbox", "mailbox_counter", "mailbox_keyword", "body", "body_chunk", "content", "message",
          "message_state", "expunged", "subscription", "mailbox_attribute", "commit_token", "schema_version", "store")
DENIED = "42501"
ADMINISTRATION = ("account_create('x')", "account_set_password('x', 'y')", "password_hash('x')",
                  "message_bury(1, '{}', 1, '', NULL)", "mailbox_lock(1)", "mailbox_lock_many('{1}')", "account_lock(1)",
                  "body_put('', 1, '')",
                  "keyword_numbers(1, '{}')", "uidvalidity_next(1)", "tombstone_prune(now())", "mailbox_repair(1)", "account_repair(1)",
                  "mailbox_recount(1, true)", "mailbox_fill_gap(1, 1, 'x')", "keyword_use(1, 'x')")
# what an administrator may do, and nobody else but the owner
ADMIN_MAY = (
    "UPDATE pgbox.message_state SET flags = flags | 8, keywords = pgbox.keyword_use(mailbox_id, 'k') WHERE mailbox_id = %(inbox)d",
    "DELETE FROM pgbox.message WHERE mailbox_id = %(inbox)d AND uid = 1",
    "INSERT INTO pgbox.message (mailbox_id, content_id, guid, received_at, saved_at, pop3_uidl, pop3_order)"
    " SELECT mailbox_id, content_id, guid, received_at, saved_at, pop3_uidl, pop3_order FROM pgbox.message"
    " WHERE mailbox_id = %(inbox)d RETURNING uid",
    "UPDATE pgbox.mailbox SET name = 'y', special_use = '\\Sent' WHERE mailbox_id = %(box)d",
    "UPDATE pgbox.mailbox SET deleted_at = now() WHERE mailbox_id = %(box)d",
    "UPDATE pgbox.mailbox SET deleted_at = NULL WHERE mailbox_id = %(box)d",
    "DELETE FROM pgbox.mailbox WHERE mailbox_id = %(box)d",
    "INSERT INTO pgbox.subscription VALUES (%(account)d, 'x')", "DELETE FROM pgbox.subscription WHERE account_id = %(account)d",
    "INSERT INTO pgbox.mailbox_attribute VALUES (%(inbox)d, true, 'comment', 'x')",
    "DELETE FROM pgbox.mailbox_attribute WHERE mailbox_id = %(inbox)d",
    "UPDATE pgbox.account SET enabled = false WHERE account_id = %(account)d",
    "UPDATE pgbox.account SET password_hash = '{PLAIN}x' WHERE account_id = %(account)d",
    "UPDATE pgbox.store SET retention = '14 days', job_retention = '1 year', base64_decoded = true",
    "UPDATE pgbox.expunged SET reason = 'spam' WHERE mailbox_id = %(inbox)d",
    "SELECT pgbox.account_create('by-admin-%(account)d', 'x')", "SELECT pgbox.account_set_password('by-admin-%(account)d', NULL)",
    "SELECT pgbox.mailbox_lock(%(inbox)d)", "SELECT pgbox.mailbox_lock_many('{%(inbox)d}')", "SELECT pgbox.account_lock(%(account)d)",
    "SELECT pgbox.mailbox_repair(%(inbox)d)",
    "SELECT pgbox.account_repair(%(account)d)", "SELECT pgbox.mailbox_create(%(account)d, 'new', true, NULL, NULL, NULL)",
    "SELECT pgbox.mailbox_rename(%(account)d, 'new', 'newer')", "SELECT modseq FROM pgbox.message_expunge(%(inbox)d, '{2}', 'x')",
    "SELECT bodies FROM pgbox.purge()", "SELECT count(*) FROM pgbox.invariant_violations", "SELECT count(header) FROM pgbox.content",
    "SELECT count(pgbox.body_bytes(head, base64)) FROM pgbox.body", "SELECT pgbox.body_read(body_id) FROM pgbox.body LIMIT 1", "SELECT username FROM pgbox.dovecot_userdb",
    "SELECT enabled FROM pgbox.dovecot_account")
ADMIN_MAY_NOT = (
    "SELECT password_hash FROM pgbox.account", "SELECT password FROM pgbox.dovecot_passdb", "SELECT a.* FROM pgbox.account AS a",
    "UPDATE pgbox.account SET enabled = true WHERE password_hash IS NULL",
    "UPDATE pgbox.account SET password_hash = password_hash || 'x'", "UPDATE pgbox.account SET password_hash = '' RETURNING password_hash",
    "UPDATE pgbox.account SET name = 'x'", "UPDATE pgbox.account SET list_modseq = 1", "DELETE FROM pgbox.account",
    "UPDATE pgbox.message_state SET modseq = 1", "UPDATE pgbox.message_state SET uid = 1", "DELETE FROM pgbox.message_state",
    "INSERT INTO pgbox.message_state VALUES (1, 1, 1)", "UPDATE pgbox.message SET uid = 1", "UPDATE pgbox.message SET guid = NULL",
    "INSERT INTO pgbox.message (mailbox_id, uid, content_id) VALUES (1, 1, 1)", "UPDATE pgbox.mailbox SET guid = NULL",
    "INSERT INTO pgbox.mailbox (account_id, name) VALUES (1, 'x')", "UPDATE pgbox.mailbox_counter SET unseen = 0",
    "DELETE FROM pgbox.mailbox_counter", "DELETE FROM pgbox.expunged", "UPDATE pgbox.expunged SET content_id = NULL",
    "DELETE FROM pgbox.content", "UPDATE pgbox.content SET header = ''", "DELETE FROM pgbox.body", "UPDATE pgbox.body SET head = ''",
    "DELETE FROM pgbox.mailbox_keyword", "INSERT INTO pgbox.mailbox_keyword VALUES (1, 1, 'x')", "UPDATE pgbox.store SET epoch = 2",
    "DELETE FROM pgbox.store", "SELECT 1 FROM pgbox.commit_token", "DELETE FROM pgbox.schema_version",
    "TRUNCATE pgbox.message CASCADE", "TRUNCATE pgbox.subscription", "DROP TABLE pgbox.subscription",
    "ALTER TABLE pgbox.message DISABLE TRIGGER message_rule_delete", "DROP TRIGGER message_rule_delete ON pgbox.message",
    "CREATE TABLE pgbox.x (y integer)", "SET session_replication_role = replica", "SET ROLE pgbox_owner", "SET ROLE pgbox_dovecot",
    "CREATE ROLE more", "ALTER ROLE pgbox_dovecot PASSWORD 'x'", "GRANT pgbox_owner TO CURRENT_USER",
    "SELECT pgbox.message_bury(1, '{}', 1, '', NULL)", "SELECT pgbox.mailbox_recount(1, true)", "SELECT pgbox.uidvalidity_next(1)",
    "SELECT rolpassword FROM pg_authid")


# what README.md and sql/README tell an administrator to call, in this order
ADMIN_CALLS = (
    "message_search('%(name)s', 'INBOX')", "message_copy('%(name)s', 'INBOX', '{2}', '%(name)s', 'INBOX', true)",
    "messages_expunge('%(name)s', 'INBOX', p_limit => 1)", "messages_expire('%(name)s', 'INBOX', '1 day')",
    "message_undelete('%(name)s', 'INBOX')", "restore_preview('%(name)s', 'INBOX', now())",
    "restore_mailbox('%(name)s', 'INBOX', now())", "restore_account('%(name)s', now())", "folder_create('%(name)s', 'x')",
    "folder_rename('%(name)s', 'x', 'y')", "folder_delete('%(name)s', 'y')", "folder_undelete('%(name)s', 'y')",
    "folder_set_hold('%(name)s', 'y', false)", "folder_empty('%(name)s', 'INBOX')", "folder_move('%(name)s', 'y', '%(other)s')",
    "policy_apply()", "content_verify()", "purge()", "tombstone_prune(now())", "account_set_quota('%(name)s', 100, NULL)",
    "account_set_retention('%(name)s', '1 day')", "account_set_hold('%(name)s', true)", "account_set_hold('%(name)s', false)",
    "account_rename('%(name)s', '%(name)s-new')", "account_disable('%(name)s-new')", "account_enable('%(name)s-new')",
    "account_delete('%(name)s-new')", "keywords_change('{1}', '{2}', NULL, false)", "modseq_step()")
# tables with passwords or without use to him
ADMIN_READS_NOT = ("account", "dovecot_passdb", "commit_token")


def reader(store):
    """A session of somebody who was granted pgbox_reader."""
    store.admin.sql("DO $$ BEGIN CREATE ROLE somebody LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
                    " GRANT pgbox_reader TO somebody")
    return Session(store.cluster, "somebody")


def cannot_change(session):
    """No DML on any table, no DDL, no administration."""
    for table in TABLES:
        refused(DENIED, session.sql, "DELETE FROM pgbox." + table)
        refused(DENIED, session.sql, "INSERT INTO pgbox.%s DEFAULT VALUES" % table)
        refused(DENIED, session.sql, "TRUNCATE pgbox." + table)
    refused(DENIED, session.sql, "UPDATE pgbox.account SET password_hash = ''")
    refused(DENIED, session.sql, "UPDATE pgbox.message_state SET flags = 0")
    refused(DENIED, session.sql, "UPDATE pgbox.mailbox SET deleted_at = NULL")
    refused(DENIED, session.sql, "UPDATE pgbox.dovecot_passdb SET password = ''")
    refused(DENIED, session.sql, "CREATE TABLE pgbox.x (y integer)")
    refused(DENIED, session.sql, "CREATE FUNCTION pgbox.x() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
    refused("42501", session.sql, "DROP TABLE pgbox.message")
    refused(DENIED, session.sql, "SET ROLE pgbox_owner")
    for call in ADMINISTRATION:
        refused(DENIED, session.sql, "SELECT pgbox." + call)


@with_store
def test_dovecot(store):
    cannot_change(store.db)
    refused(DENIED, store.db.sql, "SELECT password_hash FROM pgbox.account")
    refused(DENIED, store.db.sql, "SELECT a.* FROM pgbox.account a")
    refused(DENIED, store.db.sql, "SELECT 1 FROM pgbox.commit_token")
    refused(DENIED, store.db.sql, "SELECT 1 FROM pgbox.expunged")


@with_store
def test_dovecot_may_run_every_statement(store):
    """Real arguments aren't needed to see that nothing is denied."""
    for stmt in statements():
        values = ", ".join(literal(None, kind) for _, kind in stmt.inputs)
        store.db.sql(stmt.prepare())
        store.db.sql("BEGIN")
        try:
            store.db.sql("EXECUTE %s%s" % (stmt.prepared, "(%s)" % values if values else ""))
        except Exception as error:
            eq(getattr(error, "state", error) in ("PB001", "PB002", "PB008", "22004", "22023", "23502", "23514"), True,
               "%s: %s" % (stmt.name, error))
        store.db.sql("ROLLBACK")


@with_store
def test_reader(store):
    inbox = store.account()[2]
    store.save(inbox)
    session = reader(store)
    try:
        cannot_change(session)
        for allowed in ("SELECT count(*) FROM pgbox.message", "SELECT name, enabled FROM pgbox.account",
                        "SELECT sum(virtual_size) FROM pgbox.content", "SELECT sum(size) FROM pgbox.body",
                        "SELECT c.* FROM pgbox.mailbox_counter c", "SELECT e.* FROM pgbox.expunged e",
                        "SELECT max(version) FROM pgbox.schema_version"):
            session.sql(allowed)
        for denied in ("password_hash FROM pgbox.account", "header FROM pgbox.content", "envelope FROM pgbox.content",
                       "bodystructure FROM pgbox.content", "head FROM pgbox.body", "data FROM pgbox.body_chunk",
                       "password FROM pgbox.dovecot_passdb", "value FROM pgbox.mailbox_attribute",
                       "name FROM pgbox.subscription", "token FROM pgbox.commit_token",
                       "bytes FROM pgbox.account_quota"):
            refused(DENIED, session.sql, "SELECT " + denied)
        for call in (save_sql(inbox, b"x"), store_sql(inbox, [1], add=1), "SELECT pgbox.purge()",
                     "SELECT 1 FROM pgbox.message_expunge(%d, '{1}', 'x')" % inbox,
                     "SELECT 1 FROM pgbox.mailbox_pull(%d, 0, 0)" % inbox, "SELECT pgbox.quota_usage(1)"):
            refused(DENIED, session.sql, call)
    finally:
        session.close()


@with_store
def test_admin(store):
    """By plain DML what triggers guard, by functions the rest; no passwords, no roles."""
    store.admin.sql("DO $$ BEGIN CREATE ROLE helper LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
                    " GRANT pgbox_admin TO helper")
    _, account, inbox = store.account()
    box = store.create(account, "x")
    for _ in range(3):
        store.save(inbox)
    session = Session(store.cluster, "helper")
    try:
        for sql in ADMIN_MAY:
            try:
                session.sql(sql % {"account": account, "inbox": inbox, "box": box})
            except Exception as error:
                raise AssertionError("%s: %s" % (sql, error)) from error
        for sql in ADMIN_MAY_NOT:
            try:
                refused(DENIED, session.sql, sql)
            except AssertionError as error:
                raise AssertionError("%s: %s" % (sql, error)) from error
        # deliberately set, the guard's setting lets nobody write what he may not
        session.sql("SET vacuum_multixact_freeze_table_age = 1885823608")
        refused(DENIED, session.sql, "UPDATE pgbox.mailbox_counter SET unseen = 0")
    finally:
        session.close()
    eq(store.admin.value("SELECT DISTINCT reason FROM pgbox.expunged WHERE mailbox_id = %d AND uid = 1" % inbox), "spam")


@with_store
def test_admin_calls_and_reads_all(store):
    """Each function that is his, with what it has by default, each view, and policies."""
    store.admin.sql("DO $$ BEGIN CREATE ROLE helper LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
                    " GRANT pgbox_admin TO helper")
    name, _, inbox = store.account()
    for _ in range(3):
        store.save(inbox)
    session = Session(store.cluster, "helper")
    calls = ["SELECT * FROM pgbox." + call % {"name": name, "other": store.account()[0]} for call in ADMIN_CALLS]
    reads = ["SELECT * FROM pgbox." + row[0] for row in store.admin.sql(
        "SELECT relname FROM pg_class WHERE relnamespace = 'pgbox'::regnamespace AND relkind IN ('r', 'v')")
             if row[0] not in ADMIN_READS_NOT]
    writes = ["INSERT INTO pgbox.policy (account, mailbox, older_than) VALUES ('nobody', 'Trash', '30 days')",
              "UPDATE pgbox.policy SET enabled = false WHERE account = 'nobody'", "DELETE FROM pgbox.policy WHERE account = 'nobody'",
              "SELECT username FROM pgbox.dovecot_passdb"]
    try:
        for sql in reads + writes + calls:
            try:
                session.sql(sql)
            except Exception as error:
                raise AssertionError("%s: %s" % (sql, error)) from error
    finally:
        session.close()


@with_store
def test_guard_set_by_hand(store):
    """By a member of pgbox_admin: it does him no good."""
    inbox = store.account()[2]
    store.save(inbox)
    store.admin.sql("DO $$ BEGIN CREATE ROLE helper LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
                    " GRANT pgbox_admin TO helper")
    session = Session(store.cluster, "helper")
    try:
        session.sql("SET vacuum_multixact_freeze_table_age = 1885823608")
        session.sql("UPDATE pgbox.message_state SET flags = 8 WHERE mailbox_id = %d" % inbox)
        session.sql("DELETE FROM pgbox.message WHERE mailbox_id = %d" % inbox)
    finally:
        session.close()
    eq(store.counters(inbox)[2:4], (0, 0))


@with_store
def test_everybody_else(store):
    store.admin.sql("DO $$ BEGIN CREATE ROLE nobody_special LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    session = Session(store.cluster, "nobody_special")
    try:
        for table in TABLES:
            refused(DENIED, session.sql, "SELECT 1 FROM pgbox." + table)
        refused(DENIED, session.sql, "SELECT pgbox.purge()")
    finally:
        session.close()


@with_store
def test_a_hostile_search_path(store):
    """Functions of the owner use nothing that the caller put in their way."""
    inbox = store.account()[2]
    store.admin.sql("CREATE SCHEMA trap; GRANT ALL ON SCHEMA trap TO pgbox_dovecot")
    try:
        store.db.sql("CREATE FUNCTION trap.cardinality(anyarray) RETURNS integer LANGUAGE plpgsql AS"
                     " $$ BEGIN RAISE EXCEPTION 'caught'; END $$")
        store.db.sql("CREATE FUNCTION trap.lower(text) RETURNS text LANGUAGE plpgsql AS"
                     " $$ BEGIN RAISE EXCEPTION 'caught'; END $$")
        store.db.sql("SET search_path = trap, pg_catalog, public")
        store.save(inbox, keywords="a b")
        store.store(inbox, [1], keywords_remove="A", add=1)
        eq(store.keywords(inbox, 1), ["b"])
    finally:
        store.admin.sql("DROP SCHEMA trap CASCADE")


@with_store
def test_session_settings_of_the_plugin(store):
    for name, wanted in (("statement_timeout", "1min"), ("lock_timeout", "20s"),
                         ("idle_in_transaction_session_timeout", "1min"), ("jit", "off"),
                         ("default_transaction_isolation", "read committed"),
                         ("plan_cache_mode", "force_generic_plan")):
        eq(store.db.value("SHOW " + name), wanted, name)
