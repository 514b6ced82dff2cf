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
    eq(of_account(store, "folder, node, messages, restorable_until - deleted_at", "folder_overview", name),
       [["INBOX", "f", "2", ""], ["a", "t", "", ""], ["a/b", "f", "0", "2 days"]])
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
def test_history_tells_where_it_is_now(store):
    """After an undelete and a move, copies too; only in this account."""
    name, account, inbox = store.account()
    other = store.account()[0]
    box = store.create(account, "box")
    for number in range(5):
        store.save(inbox, b"%d" % number)
    history = "SELECT uid, now_in FROM pgbox.mail_history WHERE account = '%s' AND folder = '%s' ORDER BY uid"
    copy = "SELECT * FROM pgbox.message_copy('%s', 'INBOX', '{%d}', '%s', '%s', %s)"
    store.admin.sql(copy % (name, 2, name, "box", True))
    store.admin.sql(copy % (name, 3, other, "INBOX", True))
    store.admin.sql(copy % (name, 4, name, "box", False))
    store.expunge(inbox, [1, 4, 5])
    eq(store.admin.sql(history % (name, "INBOX")), [["1", ""], ["2", "box UID 1"], ["3", ""], ["4", "box UID 2"], ["5", ""]])
    store.admin.sql("SELECT * FROM pgbox.message_undelete('%s', 'INBOX', '{1,4}')" % name)
    eq(store.admin.sql(history % (name, "INBOX")), [
        ["1", "INBOX UID 6"], ["2", "box UID 1"], ["3", ""], ["4", "INBOX UID 7, box UID 2"], ["5", ""], ["6", ""], ["7", ""]])
    store.admin.sql("SELECT * FROM pgbox.folder_move('%s', 'INBOX', '%s', 'x', 1); SELECT pgbox.folder_delete('%s', 'box')"
                    % (name, other, name))
    eq(store.admin.sql(history % (name, "INBOX"))[:2], [["1", ""], ["2", ""]])
    then = store.admin.value("SELECT deleted_at - '1 ms'::interval FROM pgbox.mailbox WHERE mailbox_id = %d" % box)
    store.force("UPDATE pgbox.message SET saved_at = '2020-01-01' WHERE mailbox_id = %d" % box)
    store.admin.sql("SELECT * FROM pgbox.restore_mailbox('%s', 'box', '%s', 'back')" % (name, then))
    eq(store.admin.sql(history % (name, "box")), [["1", "back UID 1"], ["2", "INBOX UID 7, back UID 2"]])


def header(sender, subject):
    """A header with these two fields."""
    return b"From: %s\r\nX-Subject: not this\r\nSubject: %s\r\n\r\n" % (sender, subject)


@with_store
def test_lost_mail_by_sender_and_subject(store):
    """The mail from Bob about invoices that is gone: one SELECT."""
    name, account, inbox = store.account()
    box = store.create(account, "box")
    store.save(inbox, b"1", header=header(b"Bob Smith <b.smith@example.org>", b"Your\r\n invoice"))
    store.save(inbox, b"2", header=header(b"=?utf-8?Q?Bj=C3=B6rn?= <bob@example.org>", b"=?ISO-8859-1?q?F=FCr_Sie:?=\r\n =?utf-8?B?IEludm9pY2U=?= 2"))
    store.save(inbox, b"3", header=header(b"bob@example.org", b"Invoice 3"))
    store.save(inbox, b"4", header=header(b"anna@example.org", b"Invoice 4"))
    store.save(box, b"5", header=header(b"bob@example.org", b"Rechnung, invoice \xc3\xbc"))
    store.save(box, b"6", header=header(b"bob@example.org", b"lunch"))
    store.expunge(inbox, [1, 2, 4])
    store.expunge(box, [1, 2])
    eq(store.admin.sql("SELECT folder, uid, state, subject FROM pgbox.mail_history WHERE account = '%s'"
                       " AND sender ILIKE '%%bob%%' AND subject ILIKE '%%invoice%%' AND state <> 'there' ORDER BY 1, 2" % name), [
                           ["INBOX", "1", "expunged", "Your invoice"], ["INBOX", "2", "expunged", "F\u00fcr Sie: Invoice 2"],
                           ["box", "1", "expunged", "Rechnung, invoice \u00fc"]])
    eq(store.admin.value("SELECT sender FROM pgbox.mail_history WHERE account = '%s' AND folder = 'INBOX' AND uid = 2" % name),
       "Bj\u00f6rn <bob@example.org>")
    # as long as the content is there
    store.admin.sql("UPDATE pgbox.expunged SET expunged_at = now() - '15 days'::interval WHERE mailbox_id = %d" % box)
    store.purge()
    eq(store.admin.sql("SELECT uid, sender, subject FROM pgbox.mail_history WHERE account = '%s' AND folder = 'box'"
                       " ORDER BY 1" % name), [["1", "", ""], ["2", "", ""]])


@with_store
def test_headers_that_are_not_as_they_should_be(store):
    """What can't be decoded stays as it is, and nothing fails."""
    for subject, wanted in (
            (b"=?x-unknown?Q?a=41?=", "=?x-unknown?Q?a=41?="), (b"=?utf-8?B?!!?= b", "=?utf-8?B?!!?= b"),
            (b"=?utf-8?Q?=FF?=", "=?utf-8?Q?=FF?="), (b"=?utf-8?Q??=x", "x"), (b"=?utf-8?Q?a=4?=", "a=4"),
            (b"=?US-ASCII*EN?q?a_b?= c =?us-ascii?b?ZA==?=", "a b c d"), (b"\xff \\", "\\377 \\\\"), (b"a \\ b", "a \\ b"),
            (b"=?utf-8?Q?=00?=", "=?utf-8?Q?=00?="), (b"=?utf-8?Q?no end", "=?utf-8?Q?no end"), (b"", "")):
        eq(store.admin.value("SELECT pgbox.header_text('\\x%s', 'subject')" % (b"Subject: " + subject + b"\r\n\r\n").hex()), wanted, subject)
    eq(store.admin.value("SELECT pgbox.header_text('', 'subject') IS NULL"), "t")


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
    # who wrote to whom about what is told by none of what statistics may read
    eq(store.admin.sql("SELECT attrelid::regclass, attname FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid"
                       " WHERE c.relnamespace = 'pgbox'::regnamespace AND c.relkind IN ('r', 'v')"
                       " AND attname IN ('sender', 'subject', 'message_id', 'header', 'envelope', 'head', 'data')"
                       " AND (has_column_privilege('pgbox_reader', attrelid, attnum, 'SELECT')"
                       " OR c.relkind = 'v' AND has_column_privilege('pgbox_dovecot', attrelid, attnum, 'SELECT'))"), [])
    for function in ("header_text(bytea, text)", "header_word(text, text, text)", "header_field(bytea, text)"):
        eq(store.admin.sql("SELECT has_function_privilege(r, 'pgbox.%s', 'EXECUTE') FROM unnest('{pgbox_reader,pgbox_dovecot,pgbox_admin}'"
                           "::text[]) AS r" % function), [["f"], ["f"], ["t"]])
