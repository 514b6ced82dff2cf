"""What administrators read, and what the statistics role may."""

from sqllib import SEEN, Session, refused, with_store
from tap import eq, has, true

READER = ("account_overview", "folder_overview", "message_overview", "storage_overview", "garbage_overview",
          "table_health", "replica_lag")
HEADER = (b"Received: x\r\nfrom: \"A, B\" <Anna@Example.org>\r\nSubject: \xff\r\n"
          b"Message-ID:\r\n <1@example.org>\r\nX-Message-ID: <2@x>\r\n\r\n")


def of_account(store, columns, view, name):
    """Columns of the account's rows."""
    return store.admin.sql("SELECT %s FROM pgbox.%s WHERE account = '%s' ORDER BY 1, 2" % (columns, view, name))


@with_store
def test_accounts_and_folders(store):
    name, account, inbox = store.account()
    store.create(account, "a/b")
    store.save(inbox)
    store.save(inbox)
    store.store(inbox, [1], add=SEEN)
    size = 2 * len(b"Subject: x\r\n\r\nbody\r\n")
    store.admin.sql("SELECT pgbox.account_set_quota('%s', 5, NULL)" % name)
    eq(of_account(store, "mailboxes, messages, unseen, bytes, quota_messages, quota_bytes, retention, enabled", "account_overview", name),
       [["2", "2", "1", str(size), "5", "", "14 days", "t"]])
    store.admin.sql("SELECT pgbox.account_set_retention('%s', '2 days'); SELECT pgbox.folder_delete('%s', 'a/b')" % (name, name))
    eq(of_account(store, "folder, messages, restorable_until - deleted_at", "folder_overview", name),
       [["INBOX", "2", ""], ["a/b", "0", "2 days"]])
    eq(of_account(store, "uid, flags", "message_overview", name), [["1", "\\Seen"], ["2", ""]])


@with_store
def test_history(store):
    """Why is this mail gone? One SELECT."""
    name, account, inbox = store.account()
    other, _, _ = store.account()
    box = store.create(account, "box")
    for _ in range(4):
        store.save(inbox, header=HEADER)
    store.expunge(inbox, [1], "imap, 192.0.2.1")
    store.admin.sql("SELECT * FROM pgbox.message_copy('%s', 'INBOX', '{2}', '%s', 'INBOX', true)" % (name, other))
    store.append(box, {"source": (inbox, 3)})
    store.admin.sql("SELECT pgbox.folder_delete('%s', 'box')" % name)
    eq(of_account(store, "folder, uid, state, reason, moved_to, message_id", "mail_history", name), [
        ["INBOX", "1", "expunged", "imap, 192.0.2.1", "", "<1@example.org>"],
        ["INBOX", "2", "moved", "SQL by postgres", other + ": INBOX", "<1@example.org>"],
        ["INBOX", "3", "there", "", "", "<1@example.org>"],
        ["INBOX", "4", "there", "", "", "<1@example.org>"],
        ["box", "1", "deleted with its mailbox", "SQL by postgres", "", "<1@example.org>"]])
    eq(of_account(store, "uid, restorable_until - gone_at", "mail_history", name)[0], ["1", "14 days"])
    store.admin.sql("SELECT pgbox.account_set_hold('%s', true)" % name)
    eq(of_account(store, "uid, restorable_until", "mail_history", name)[0], ["1", "infinity"])


@with_store
def test_senders(store):
    name, _, inbox = store.account()
    store.save(inbox, header=HEADER)
    store.save(inbox, header=HEADER)
    store.save(inbox, header=b"From: bob@example.org (Bob)\n\n")
    store.save(inbox)
    eq(of_account(store, "sender, messages", "sender_overview", name), [["anna@example.org", "2"], ["bob@example.org", "1"], ["", "1"]])


@with_store
def test_garbage(store):
    name, _, inbox = store.account()
    for _ in range(3):
        store.save(inbox)
    store.expunge(inbox, [1, 2, 3])
    columns = "tombstones, purgeable, in_retention, held, prunable"
    store.admin.sql("UPDATE pgbox.expunged SET expunged_at = now() - '15 days'::interval WHERE mailbox_id = %d AND uid < 3" % inbox)
    eq(of_account(store, columns, "garbage_overview", name), [["3", "2", "1", "0", "0"]])
    store.admin.sql("SELECT pgbox.account_set_hold('%s', true)" % name)
    eq(of_account(store, columns, "garbage_overview", name), [["3", "0", "0", "3", "0"]])
    store.admin.sql("SELECT pgbox.account_set_hold('%s', false)" % name)
    store.purge()
    eq(of_account(store, columns, "garbage_overview", name), [["3", "0", "1", "0", "2"]])


@with_store
def test_what_purge_would_take(store):
    """Tombstones, and mailboxes that were deleted too long ago, with all that is in them."""
    store.purge()
    name, account, inbox = store.account()
    boxes = {box: store.create(account, box) for box in ("old", "held", "young", "there")}
    for mailbox in (inbox, *boxes.values()):
        for _ in range(4):
            store.save(mailbox)
        # the content of one is gone
        store.expunge(mailbox, [1])
        store.admin.sql("UPDATE pgbox.expunged SET expunged_at = now() - '20 days'::interval WHERE mailbox_id = %d" % mailbox)
    store.purge()
    for mailbox in boxes.values():
        store.expunge(mailbox, [2])
    store.admin.sql("SELECT pgbox.folder_set_hold('%s', 'held', true)" % name)
    for box in ("old", "held", "young"):
        store.admin.sql("SELECT pgbox.folder_delete('%s', '%s')" % (name, box))
    store.admin.sql("UPDATE pgbox.mailbox SET deleted_at = now() - '15 days'::interval WHERE mailbox_id IN (%(old)d, %(held)d);"
                    " UPDATE pgbox.expunged SET expunged_at = now() - '15 days'::interval WHERE uid = 2 AND"
                    " mailbox_id IN (%(old)d, %(held)d, %(there)d)" % boxes)
    # of old two messages and two tombstones, of there a tombstone
    columns = "tombstones, purgeable, in_retention, held, prunable, deleted_mailboxes"
    eq(of_account(store, columns, "garbage_overview", name), [["9", "5", "3", "3", "2", "3"]])
    status = "SELECT purgeable_messages, purgeable_mailboxes FROM pgbox.store_status()"
    eq(store.admin.sql(status), [["5", "1"]])
    for retention, wanted in (("16 days", ["0", "0"]), ("0", ["9", "2"]), ("15 days", ["5", "1"])):
        store.admin.sql("SELECT pgbox.account_set_retention('%s', '%s')" % (name, retention))
        eq(store.admin.sql(status), [wanted], retention)
        eq(of_account(store, "purgeable, held", "garbage_overview", name), [[wanted[0], "3"]], retention)
    eq(store.db.sql("SELECT tombstones, mailboxes FROM pgbox.purge()"), [["5", "1"]])
    eq(of_account(store, columns, "garbage_overview", name), [["7", "0", "3", "3", "3", "2"]])
    eq(store.admin.sql(status), [["0", "0"]])


@with_store
def test_storage_and_tables(store):
    inbox = store.account()[2]
    body = b"shared by ten messages " * 200
    store.save(inbox, body)
    before = [float(field) for field in store.admin.sql("SELECT messages, message_bytes, stored_bytes FROM pgbox.storage_overview")[0]]
    for _ in range(9):
        store.append(inbox, {"source": (inbox, 1)})
    after = [float(field) for field in store.admin.sql("SELECT messages, message_bytes, stored_bytes FROM pgbox.storage_overview")[0]]
    eq([b - a for a, b in zip(before, after)], [9, 9 * (len(body) + 14), 0], "copies take no bytes")
    tables = [row[0] for row in store.admin.sql("SELECT table_name FROM pgbox.table_health WHERE bytes > 0")]
    for table in ("message_state", "mailbox_counter", "expunged"):
        has(table, tables)
    eq(store.admin.sql("SELECT * FROM pgbox.replica_lag"), [], "this server has no standby")


@with_store
def test_what_the_reader_may(store):
    inbox = store.account()[2]
    store.save(inbox)
    store.admin.sql("DO $$ BEGIN CREATE ROLE viewer LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
                    " GRANT pgbox_reader TO viewer")
    session = Session(store.cluster, "viewer")
    try:
        for view in READER:
            session.sql("SELECT * FROM pgbox." + view)
        for view in ("mail_history", "sender_overview", "policy_pending", "revivable", "job", "policy", "account_quota"):
            refused("42501", session.sql, "SELECT * FROM pgbox." + view)
        for call in ("account_delete('x')", "message_search('x', 'y')", "policy_apply()", "restore_mailbox('x', 'y', now())"):
            refused("42501", session.sql, "SELECT * FROM pgbox." + call)
    finally:
        session.close()
    for call in ("account_delete('x')", "message_search('x', 'y')", "restore_mailbox('x', 'y', now())", "account_set_hold('x', true)"):
        refused("42501", store.db.sql, "SELECT * FROM pgbox." + call)
    true(store.admin.value("SELECT count(*) FROM pgbox.account_overview") != "0", "the owner sees them")
