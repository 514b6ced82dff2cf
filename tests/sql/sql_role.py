"""Each role tries what it must not do."""

from sqllib import Session, literal, refused, save_sql, store_sql, with_store
from sql_statement import statements
from tap import eq

TABLES = ("account", "mailbox", "mailbox_counter", "mailbox_keyword", "body", "body_chunk", "content", "message",
          "message_state", "expunged", "subscription", "mailbox_attribute", "commit_token", "schema_version", "store")
DENIED = "42501"
ADMINISTRATION = ("account_create('x')", "account_set_password('x', 'y')", "password_hash('x')",
                  "message_bury(1, '{}', 1, '', NULL)", "mailbox_lock(1)", "account_lock(1)", "body_put('', 1, '')",
                  "keyword_numbers(1, '{}')", "uidvalidity_next(1)", "tombstone_prune(now())")


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
            eq(getattr(error, "state", error) in ("PB001", "PB002", "22004", "23502", "23514"), True,
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
                       "name FROM pgbox.subscription", "token FROM pgbox.commit_token"):
            refused(DENIED, session.sql, "SELECT " + denied)
        for call in (save_sql(inbox, b"x"), store_sql(inbox, [1], add=1), "SELECT pgbox.purge()",
                     "SELECT 1 FROM pgbox.message_expunge(%d, '{1}', 'x')" % inbox,
                     "SELECT 1 FROM pgbox.mailbox_pull(%d, 0, 0)" % inbox):
            refused(DENIED, session.sql, call)
    finally:
        session.close()


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
