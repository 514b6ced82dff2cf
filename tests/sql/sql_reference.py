"""Messages, states, tombstones and contents have no foreign keys to mailboxes, contents,
messages and bodies: what holds instead. The same beside others: isolation/reference-*."""

from sqllib import SqlError, with_store
from tap import eq, true

# Who adds or deletes rows that refer to others, or what they refer to. A new name
# here is to be thought through as 66-references.sql does it for these.
WRITERS = {
    "INSERT INTO pgbox.message ": ["mailbox_repair", "message_append", "message_append_copy", "message_save"],
    "INSERT INTO pgbox.message_state ": ["mailbox_repair", "message_append", "message_append_copy", "message_save", "rule_message_inserted"],
    "INSERT INTO pgbox.expunged ": ["mailbox_repair", "message_bury", "rule_message_delete"],
    "DELETE FROM pgbox.message ": ["account_remove", "mailbox_repair", "message_bury", "purge"],
    "DELETE FROM pgbox.message_state ": ["account_remove", "mailbox_repair", "message_bury", "purge", "rule_message_delete"],
    "DELETE FROM pgbox.content ": ["content_drop"],
    "INSERT INTO pgbox.content ": ["content_put"],
    "DELETE FROM pgbox.body ": ["content_drop"],
    "UPDATE pgbox.message ": [],
}


def refused(store, sql):
    """By a rule, and not for another reason."""
    try:
        store.admin.sql("BEGIN; %s" % sql)
    except SqlError as error:
        return error.state in ("PB002", "PB004", "PB010")
    finally:
        store.admin.sql("ROLLBACK")
    return False


@with_store
def test_these_functions_and_no_other_write(store):
    for words, names in WRITERS.items():
        eq([row[0] for row in store.admin.sql(
            "SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'pgbox'::regnamespace"
            " AND strpos(p.prosrc, '%s') > 0 ORDER BY 1" % words)], names, words)
    eq(store.admin.sql("SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'pgbox'::regnamespace"
                       " AND p.prosrc ~ 'UPDATE pgbox\\.content\\M[^;]*SET'"), [])
    for column in ("mailbox_id =", "uid =", "content_id = [^N]"):
        eq(store.admin.sql(
            "SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'pgbox'::regnamespace"
            " AND p.prosrc ~ 'UPDATE pgbox\\.(message_state|expunged)[^;]*SET ([a-z_]+ = [^;]*, *)?%s'" % column), [], column)


@with_store
def test_foreign_keys_are_gone(store):
    """After an upgrade too: sql_upgrade compares."""
    eq(store.admin.sql("SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid IN"
                       " ('pgbox.message'::regclass, 'pgbox.message_state'::regclass, 'pgbox.expunged'::regclass,"
                       " 'pgbox.content'::regclass)"), [])


@with_store
def test_by_hand_nothing_loses_what_it_refers_to(store):
    """A superuser, whom no grant stops; as the owner, too."""
    _, account, _ = store.account()
    box = store.create(account, "box")
    store.save(box, b"one")
    store.save(box, b"two")
    store.expunge(box, [2])
    content = store.admin.value("SELECT content_id FROM pgbox.message WHERE mailbox_id = %d" % box)
    for begin in ("", "SET LOCAL ROLE pgbox_owner; "):
        for sql in (
                "INSERT INTO pgbox.message (mailbox_id, content_id) VALUES (-5, %s)" % content,
                "INSERT INTO pgbox.message (mailbox_id, content_id) VALUES (%d, -5)" % box,
                "INSERT INTO pgbox.message_state VALUES (%d, 7, 65536)" % box,
                "INSERT INTO pgbox.expunged SELECT mailbox_id, 7, modseq, -5, guid, now(), now(), 0, NULL, now(), 'x'"
                " FROM pgbox.expunged WHERE mailbox_id = %d" % box,
                "UPDATE pgbox.message SET content_id = -5 WHERE mailbox_id = %d" % box,
                "UPDATE pgbox.message SET mailbox_id = -5 WHERE mailbox_id = %d" % box,
                "UPDATE pgbox.message_state SET uid = 7 WHERE mailbox_id = %d" % box,
                "UPDATE pgbox.message_state SET mailbox_id = -5 WHERE mailbox_id = %d" % box,
                "UPDATE pgbox.expunged SET content_id = -5 WHERE mailbox_id = %d" % box,
                "UPDATE pgbox.expunged SET mailbox_id = -5 WHERE mailbox_id = %d" % box,
                "DELETE FROM pgbox.message_state WHERE mailbox_id = %d" % box,
                "DELETE FROM pgbox.content WHERE content_id = %s" % content,
                "DELETE FROM pgbox.body WHERE body_id = (SELECT body_id FROM pgbox.content WHERE content_id = %s)" % content,
                "UPDATE pgbox.body SET body_id = DEFAULT",
                "UPDATE pgbox.content SET body_id = -5 WHERE content_id = %s" % content,
                "UPDATE pgbox.mailbox SET mailbox_id = DEFAULT WHERE mailbox_id = %d" % box,
                "UPDATE pgbox.content SET content_id = DEFAULT WHERE content_id = %s" % content):
            true(refused(store, begin + sql), "done: " + sql)
    # a mailbox is marked only, and what is in it stays
    store.admin.sql("DELETE FROM pgbox.mailbox WHERE mailbox_id = %d" % box)
    eq(store.admin.value("SELECT count(*) FROM pgbox.mailbox WHERE mailbox_id = %d" % box), "1")
    eq(store.admin.sql("SELECT problem FROM pgbox.invariant_violations"), [])


@with_store
def test_states_go_with_their_messages(store):
    """No foreign key cascades: by a plain DELETE, a purge, account_delete, a repair."""
    name, account, inbox = store.account()
    states = "SELECT count(*) FROM pgbox.message_state WHERE mailbox_id = %d"
    for way in ("plain", "purge", "repair", "account"):
        box = inbox if way == "account" else store.create(account, way)
        for number in range(3):
            store.save(box, b"%d" % number)
        if way == "plain":
            store.admin.sql("DELETE FROM pgbox.message WHERE mailbox_id = %d" % box)
        elif way == "purge":
            store.admin.sql("DELETE FROM pgbox.mailbox WHERE mailbox_id = %d" % box)
            store.admin.sql("UPDATE pgbox.mailbox SET deleted_at = now() - '1 year'::interval WHERE mailbox_id = %d" % box)
            store.admin.sql("SELECT pgbox.purge(2)")
            eq(store.admin.value(states % box), "1", "two of three")
            store.admin.sql("SELECT pgbox.purge(2)")
        elif way == "repair":
            store.expunge(box, [3])
            store.force("UPDATE pgbox.expunged SET uid = 1 WHERE mailbox_id = %d" % box)
            store.admin.sql("SELECT pgbox.mailbox_repair(%d)" % box)
            store.expunge(box, [2, 4])
        else:
            while not [row for row in store.admin.sql("SELECT what, removed FROM pgbox.account_delete('%s', 2)" % name)
                       if row == ["account", "1"]]:
                pass
        eq(store.admin.value(states % box), "0", way)
    eq(store.admin.sql("SELECT problem FROM pgbox.invariant_violations"), [])


@with_store
def test_a_body_stays_with_its_content(store):
    """Even if a function of ours would delete it: the trigger looks."""
    inbox = store.account()[2]
    store.save(inbox, b"stays")
    body = store.admin.value("SELECT c.body_id FROM pgbox.content AS c JOIN pgbox.message AS g USING (content_id)"
                             " WHERE g.mailbox_id = %d" % inbox)
    store.admin.sql("CREATE FUNCTION pg_temp.careless(p_body bigint) RETURNS void LANGUAGE sql"
                    " SET vacuum_multixact_freeze_table_age = 1885823608"
                    " AS 'DELETE FROM pgbox.body WHERE body_id = p_body'")
    state = None
    try:
        store.admin.sql("BEGIN; SET LOCAL ROLE pgbox_owner; SELECT pg_temp.careless(%s)" % body)
    except SqlError as error:
        state = error.state
    store.admin.sql("ROLLBACK")
    eq(state, "23503")
