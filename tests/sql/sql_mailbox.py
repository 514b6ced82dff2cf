"""The tree: create, rename, delete, subscribe, attributes, counters."""

import os

from cluster import quote
from sqllib import SQL_DIR, STEP, complaint, create_sql, refused, with_store
from tap import eq, has, true

ODD = ("100%", "a_b", "a%b_c", "back\\slash", "qu'ote", 'dou"ble', "star*", "Entwürfe", "日本語",
       "INBOX.dot", "inbox.dot", "Inboxes", " space ", "~x", "&amp-", "x" * 255, "\U0001f4e8")


def rename(store, account, old, new):
    """Call mailbox_rename."""
    store.db.sql("SELECT pgbox.mailbox_rename(%d, %s, %s)" % (account, quote(old), quote(new)))


def delete(store, account, name):
    """Call mailbox_delete."""
    store.db.sql("SELECT pgbox.mailbox_delete(%d, %d)" % (account, store.mailbox(account, name)))


def list_modseq(store, account):
    """Change counter of the tree."""
    return int(store.db.value("SELECT list_modseq FROM pgbox.account WHERE account_id = %d" % account))


def identity(store, mailbox):
    """(guid, uidvalidity)"""
    return tuple(store.db.sql("SELECT guid, uidvalidity FROM pgbox.mailbox WHERE mailbox_id = %d" % mailbox)[0])


@with_store
def test_odd_names(store):
    account = store.account()[1]
    for name in ODD:
        store.create(account, name)
        store.create(account, name + "/child")
        refused("PB003", store.db.sql, create_sql(account, name))
    for name in ODD:
        rename(store, account, name, "new/" + name)
    wanted = [base + tail for base in ("new/" + name for name in ODD) for tail in ("", "/child")]
    eq(store.names(account), sorted(wanted + ["INBOX", "[new]"], key=str.encode))


@with_store
def test_bad_names(store):
    account = store.account()[1]
    name = store.admin.value("SELECT name FROM pgbox.account WHERE account_id = %d" % account)
    store.create(account, "old")
    store.create(account, "gone")
    delete(store, account, "gone")
    store.save(store.mailbox(account, "INBOX"))
    store.expunge(store.mailbox(account, "INBOX"), [1])
    store.force("UPDATE pgbox.message SET saved_at = now() - '1 hour'::interval; UPDATE pgbox.expunged SET saved_at = now() - '1 hour'::interval")
    for bad in ("", "x" * 4097, "/", "/bad", "bad/", "/bad/", "a//b", "inbox", "Inbox", "Inbox/sub", "iNBOX/sub", "a\nb", "a\tb", "\x1f"):
        refused("PB008", store.db.sql, create_sql(account, bad))
        refused("PB008", rename, store, account, "old", bad)
        refused("PB008", store.admin.sql, "UPDATE pgbox.mailbox SET name = %s WHERE mailbox_id = %d" % (quote(bad), store.mailbox(account, "old")))
        refused("PB008", store.admin.sql, "SELECT pgbox.folder_create('%s', %s)" % (name, quote(bad)))
        refused("PB008", store.admin.sql, "SELECT pgbox.folder_rename('%s', 'old', %s)" % (name, quote(bad)))
        refused("PB008", store.admin.sql, "SELECT pgbox.folder_undelete('%s', 'gone', %s)" % (name, quote(bad)))
        if bad.upper() != "INBOX":
            refused("PB008", store.admin.sql, "SELECT * FROM pgbox.restore_mailbox('%s', 'INBOX', now() - '1 minute'::interval, %s)" % (name, quote(bad)))
            refused("PB008", store.admin.sql, "SELECT * FROM pgbox.folder_move('%s', 'old', '%s', %s)" % (name, store.account()[0], quote(bad)))
    refused("PB008", store.admin.sql, "SELECT pgbox.folder_create('%s', NULL)" % name)
    refused("PB008", store.admin.sql, "SELECT pgbox.folder_rename('%s', 'old', NULL)" % name)
    has("INBOX is written in capitals", complaint(store, "pgbox.folder_create('%s', 'Inbox')" % name))
    # which of the two is the matter
    has('there is no mailbox "Nix"', complaint(store, "pgbox.folder_rename('%s', 'Nix', 'old')" % name))
    eq(store.names(account), ["INBOX", "old"])
    store.create(account, "x" * 4096)
    refused("PB001", store.db.sql, create_sql(0, "x"))


@with_store
def test_create_with_identity(store):
    account = store.account()[1]
    guid = "12345678-1234-1234-1234-123456789abc"
    mailbox = store.create(account, "a", guid=guid, uidvalidity=4000000000, special_use="\\Sent")
    eq(identity(store, mailbox), (guid, "4000000000"))
    # UIDVALIDITY goes on from the highest
    eq(identity(store, store.create(account, "b"))[1], "4000000001")
    # one near the end of the range doesn't use it up
    eq(identity(store, store.create(account, "end", uidvalidity=4294967295))[1], "4294967295")
    refused("PB003", store.db.sql, create_sql(account, "c", guid=guid))
    refused("PB008", store.db.sql, create_sql(account, "c", uidvalidity=4294967296))
    refused("PB008", store.db.sql, create_sql(account, "c", uidvalidity=0))
    # the same name again: another mailbox, another UIDVALIDITY
    delete(store, account, "b")
    eq(identity(store, store.create(account, "b"))[1], "4000000002")


@with_store
def test_nodes(store):
    account = store.account()[1]
    node = store.create(account, "dir", selectable=False)
    refused("PB003", store.db.sql, create_sql(account, "dir", selectable=False))
    store.create(account, "dir/sub")
    eq(store.names(account), ["INBOX", "[dir]", "dir/sub"])
    refused("PB007", store.db.sql, "SELECT pgbox.mailbox_delete_node(%d, 'dir')" % account)
    refused("PB002", store.db.sql, "SELECT pgbox.mailbox_delete(%d, %d)" % (account, node))
    # a node becomes a mailbox
    eq(store.create(account, "dir", special_use="\\Junk"), node)
    eq(store.counters(node)[0], 1)
    refused("PB002", store.db.sql, "SELECT pgbox.mailbox_delete_node(%d, 'INBOX')" % account)
    # and with children left, the mailbox becomes a node
    delete(store, account, "dir")
    eq(store.names(account), ["INBOX", "[dir]", "dir/sub"])
    delete(store, account, "dir/sub")
    store.db.sql("SELECT pgbox.mailbox_delete_node(%d, 'dir')" % account)
    refused("PB002", store.db.sql, "SELECT pgbox.mailbox_delete_node(%d, 'dir')" % account)
    eq(store.names(account), ["INBOX"])


@with_store
def test_delete(store):
    _, account, inbox = store.account()
    # every account has an INBOX: an empty one takes its place
    store.save(inbox)
    delete(store, account, "INBOX")
    fresh = store.mailbox(account, "INBOX")
    true(fresh != inbox, "another INBOX")
    eq(store.uids(fresh), [])
    mailbox = store.create(account, "x")
    store.save(mailbox)
    delete(store, account, "x")
    refused("PB002", store.db.sql, "SELECT pgbox.mailbox_delete(%d, %d)" % (account, mailbox))
    refused("PB002", store.save, mailbox)
    refused("PB002", store.store, mailbox, [1], add=1)
    refused("PB002", store.expunge, mailbox, [1])
    eq(store.pull(mailbox)[0], [], "a deleted mailbox")
    # another account can't
    other = store.account()[1]
    mine = store.create(account, "mine")
    refused("PB002", store.db.sql, "SELECT pgbox.mailbox_delete(%d, %d)" % (other, mine))
    eq(store.names(account), ["INBOX", "mine"])


@with_store
def test_rename_subtree(store):
    account = store.account()[1]
    for name in ("a", "a/b", "a/b/c", "ab", "a0", "a-", "A", "a.b"):
        store.create(account, name)
    before = identity(store, store.mailbox(account, "a/b/c"))
    rename(store, account, "a", "x/y")
    eq(store.names(account), ["A", "INBOX", "[x]", "a-", "a.b", "a0", "ab", "x/y", "x/y/b", "x/y/b/c"])
    eq(identity(store, store.mailbox(account, "x/y/b/c")), before)
    # x was made for its children, and moves with them
    rename(store, account, "x", "z")
    eq(store.names(account), ["A", "INBOX", "[z]", "a-", "a.b", "a0", "ab", "z/y", "z/y/b", "z/y/b/c"])


@with_store
def test_rename_refused(store):
    account = store.account()[1]
    for name in ("a", "a/b", "c/d"):
        store.create(account, name)
    for old, new, state in (("a", "a", "PB003"), ("a", "c", "PB003"), ("a", "c/d", "PB003"), ("a", "INBOX", "PB003"),
                            ("a", "a/x", "PB006"), ("a", "a/b/c", "PB006"), ("no", "new", "PB002"),
                            ("a", "", "PB008"), ("a", "x" * 4096, "PB008")):
        refused(state, rename, store, account, old, new)
    eq(store.names(account), ["INBOX", "[c]", "a", "a/b", "c/d"])


@with_store
def test_rename_inbox(store):
    _, account, inbox = store.account()
    store.create(account, "INBOX/child")
    store.save(inbox)
    before = identity(store, inbox)
    rename(store, account, "INBOX", "old/mail")
    eq(store.names(account), ["INBOX", "INBOX/child", "[old]", "old/mail"])
    eq(store.mailbox(account, "old/mail"), inbox)
    eq(identity(store, inbox), before)
    fresh = store.mailbox(account, "INBOX")
    eq(store.uids(fresh), [])
    true(int(identity(store, fresh)[1]) > int(before[1]), "the new INBOX has a higher UIDVALIDITY")
    rename(store, account, "INBOX", "INBOX/old")
    eq(store.names(account), ["INBOX", "INBOX/child", "INBOX/old", "[old]", "old/mail"])


@with_store
def test_tree_changes_are_counted(store):
    _, account, inbox = store.account()
    calls = (create_sql(account, "a"), "SELECT pgbox.mailbox_rename(%d, 'a', 'b')" % account,
             "SELECT pgbox.subscription_set(%d, 'x', true)" % account,
             "SELECT pgbox.subscription_set(%d, 'x', false)" % account)
    for call in calls:
        before = list_modseq(store, account)
        store.db.sql(call)
        true(list_modseq(store, account) > before, call)
    before = list_modseq(store, account)
    store.save(inbox)
    eq(list_modseq(store, account), before, "messages are not the tree")


@with_store
def test_subscriptions(store):
    name, account, _ = store.account()
    call = "SELECT pgbox.subscription_set(%d, %s, %s)"
    for odd in ODD:
        eq(store.db.value(call % (account, quote(odd), True)), "t")
        eq(store.db.value(call % (account, quote(odd), True)), "f", "twice")
    eq(store.db.value(call % (account, "'nothing'", False)), "f")
    refused("PB008", store.db.sql, call % (account, quote("x" * 4097), True))
    eq(store.db.value(call % (account, quote(ODD[0]), False)), "t")
    with open(os.path.join(SQL_DIR, "stmt", "mailbox-tree.sql")) as handle:
        store.db.sql("PREPARE tree(text) AS " + handle.read())
    tree = store.db.sql("EXECUTE tree('%s')" % name)
    eq(sorted((row[2], row[3], row[4] != "") for row in tree),
       sorted([(odd, "t", False) for odd in ODD[1:]] + [("INBOX", "f", True)]))


@with_store
def test_mailbox_update(store):
    _, account, inbox = store.account()
    store.save(inbox)
    call = "SELECT pgbox.mailbox_update(%d, %d, %s, %s, %s, %s, %s)"
    guid = "12345678-1234-1234-1234-123456789abc"
    store.db.sql(call % (account, inbox, 4100000000, quote(guid), 100, 50, 10 * STEP + 1))
    eq(identity(store, inbox), (guid, "4100000000"))
    uid_next, modseq = store.counters(inbox)[:2]
    eq(uid_next, 100)
    true(modseq >= 11 * STEP, modseq)
    # lower ones change nothing
    store.db.sql(call % (account, inbox, "NULL", "NULL", 5, 5, 5))
    eq(store.counters(inbox)[0], 100)
    eq(store.save(inbox)[2], [100])
    eq(identity(store, store.create(account, "new"))[1], "4100000001")
    refused("PB002", store.db.sql, call % (store.account()[1], inbox, 1, "NULL", 1, 1, 1))
    refused("PB002", store.db.sql, call % (account, 0, 1, "NULL", 1, 1, 1))


@with_store
def test_recent(store):
    inbox = store.account()[2]
    claim = "SELECT pgbox.recent_claim(%d, %%d)" % inbox
    store.save(inbox)
    store.save(inbox)
    eq([store.db.value(claim % 3) for _ in range(3)], ["1", "3", "3"])
    store.save(inbox)
    eq([store.db.value(claim % uid) for uid in (2, 4, 4)], ["3", "3", "4"])
    eq(store.db.value(claim % 1000), "4", "not beyond UIDNEXT")
    eq(store.db.value(claim % 4), "4")
    refused("PB002", store.db.sql, "SELECT pgbox.recent_claim(0, 5)")


@with_store
def test_attributes(store):
    inbox = store.account()[2]
    call = "SELECT pgbox.attribute_set(%d, %%s, %%s, %%s, %%s)" % inbox
    read = ("SELECT encode(value, 'escape'), extract(epoch FROM changed_at)::bigint FROM pgbox.mailbox_attribute"
            " WHERE mailbox_id = %d AND shared = %%s AND key = 'comment'" % inbox)
    store.db.sql(call % (True, "'comment'", "'\\x6100ff'::bytea", 1000))
    eq(store.db.sql(read % True), [["a\\000\\377", "1000"]])
    eq(store.db.sql(read % False), [])
    store.db.sql(call % (True, "'comment'", "'b'::bytea", "NULL"))
    eq(store.db.sql(read % True)[0][0], "b")
    modseq = store.modseq(inbox)
    store.db.sql(call % (True, "'comment'", "NULL", "NULL"))
    eq(store.db.sql(read % True), [])
    eq(store.modseq(inbox), modseq, "attributes take no modseq")
    refused("PB002", store.db.sql, "SELECT pgbox.attribute_set(0, true, 'x', 'y', NULL)")
