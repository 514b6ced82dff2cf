"""The record: who deleted and renamed what, and who had what done and set."""

import json

from cluster import quote
from sql_job import newest
from sqllib import refused, with_store
from tap import eq, true

CLIENT = "imap eve@example.org from 192.0.2.1"
PLUGIN = "pgbox_dovecot: " + CLIENT


def jobs(store, after):
    """What was written down since: [(what, target, done_by, counts)]"""
    return [(*row[:3], json.loads(row[3])) for row in store.admin.sql(
        "SELECT j.what, j.target, j.done_by, j.counts FROM pgbox.job AS j WHERE j.job_id > %d ORDER BY j.job_id" % after)]


def reason(store, mailbox):
    """deleted_reason"""
    return store.admin.value("SELECT COALESCE(deleted_reason, 'none') FROM pgbox.mailbox WHERE mailbox_id = %d" % mailbox)


def restore(store, mailbox):
    """By plain DML."""
    store.admin.sql("UPDATE pgbox.mailbox SET deleted_at = NULL WHERE mailbox_id = %d" % mailbox)


def acting(store, role="pgbox_admin"):
    """A session of postgres that acts as another role."""
    session = store.session("postgres")
    session.sql("SET ROLE " + role)
    return session


@with_store
def test_who_deleted_a_folder(store):
    """By the plugin, by a plugin of version 1, by a function, by UPDATE and DELETE."""
    name, account, _ = store.account()
    box = store.create(account, "box")
    store.save(box)
    admin = acting(store)
    last = newest(store)
    ways = ((store.db, "SELECT pgbox.mailbox_delete(%d, %d, %s)" % (account, box, quote(CLIENT)), CLIENT, PLUGIN),
            (store.db, "SELECT pgbox.mailbox_delete(%d, %d)" % (account, box), "SQL by pgbox_dovecot", "pgbox_dovecot"),
            (store.admin, "SELECT pgbox.folder_delete('%s', 'box')" % name, "SQL by postgres", "postgres"),
            (admin, "SELECT pgbox.folder_delete('%s', 'box')" % name, "SQL by postgres as pgbox_admin", "postgres as pgbox_admin"),
            (admin, "UPDATE pgbox.mailbox SET deleted_at = now() WHERE mailbox_id = %d" % box, "SQL by postgres as pgbox_admin",
             "postgres as pgbox_admin"),
            (admin, "UPDATE pgbox.mailbox SET deleted_at = now(), deleted_reason = 'ticket 17' WHERE mailbox_id = %d" % box, "ticket 17",
             "postgres as pgbox_admin"),
            (admin, "DELETE FROM pgbox.mailbox WHERE mailbox_id = %d" % box, "SQL by postgres as pgbox_admin", "postgres as pgbox_admin"))
    for session, sql, wanted, done_by in ways:
        session.sql(sql)
        eq(reason(store, box), wanted, sql)
        eq(store.admin.sql("SELECT state, reason FROM pgbox.mail_history WHERE account = '%s' AND folder = 'box'" % name),
           [["deleted with its mailbox", wanted]], "why is this mail gone?")
        eq(store.admin.value("SELECT deleted_reason FROM pgbox.folder_overview WHERE mailbox_id = %d" % box), wanted)
        eq(jobs(store, last)[-1], ("folder_delete", name + ": box", done_by, {"mailbox_id": box, "messages": 1}), sql)
        restore(store, box)
        eq(reason(store, box), "none", "a mailbox that is there again")
    eq(len(jobs(store, last)), 2 * len(ways), "a row for each")


@with_store
def test_a_message_keeps_its_own_reason(store):
    """What was expunged before its folder was deleted."""
    name, account, _ = store.account()
    box = store.create(account, "box")
    store.save(box)
    store.expunge(box, [1], "imap, before")
    store.db.sql("SELECT pgbox.mailbox_delete(%d, %d, 'later')" % (account, box))
    eq(store.admin.sql("SELECT state, reason FROM pgbox.mail_history WHERE account = '%s'" % name), [["expunged", "imap, before"]])


@with_store
def test_reason_and_deletion_agree(store):
    """As far as they can: what was deleted before the upgrade has none."""
    _, account, _ = store.account()
    box = store.create(account, "box")
    refused("23514", store.admin.sql, "UPDATE pgbox.mailbox SET deleted_reason = 'x' WHERE mailbox_id = %d" % box)
    store.db.sql("SELECT pgbox.mailbox_delete(%d, %d, 'x')" % (account, box))
    refused("23514", store.force, "UPDATE pgbox.mailbox SET deleted_at = NULL WHERE mailbox_id = %d" % box)
    store.admin.sql("ROLLBACK; RESET session_replication_role")
    store.force("UPDATE pgbox.mailbox SET deleted_reason = NULL WHERE mailbox_id = %d" % box)
    restore(store, box)


@with_store
def test_an_account_that_is_deleted(store):
    name, _, inbox = store.account()
    last = newest(store)
    acting(store).sql("SELECT * FROM pgbox.account_delete('%s')" % name)
    eq(reason(store, inbox), "SQL by postgres as pgbox_admin")
    eq(jobs(store, last), [("account_delete", name, "postgres as pgbox_admin", {"closed": 1})])


@with_store
def test_nodes(store):
    """They leave nothing but the record."""
    name, account, _ = store.account()
    for child in ("a/x", "b/x"):
        store.db.sql("SELECT pgbox.mailbox_delete(%d, %d)" % (account, store.create(account, child)))
    first, second = store.mailbox(account, "a"), store.mailbox(account, "b")
    last = newest(store)
    store.db.sql("SELECT pgbox.mailbox_delete_node(%d, 'a', %s)" % (account, quote(CLIENT)))
    store.admin.sql("DELETE FROM pgbox.mailbox WHERE account_id = %d AND name = 'b'" % account)
    eq(jobs(store, last), [("folder_delete", name + ": a", PLUGIN, {"mailbox_id": first, "node": True}),
                           ("folder_delete", name + ": b", "postgres", {"mailbox_id": second, "node": True})])


@with_store
def test_who_renamed_a_folder(store):
    name, account, _ = store.account()
    box = store.create(account, "a")
    store.create(account, "a/b")
    last = newest(store)
    store.db.sql("SELECT pgbox.mailbox_rename(%d, 'a', 'c', %s)" % (account, quote(CLIENT)))
    store.db.sql("SELECT pgbox.mailbox_rename(%d, 'c', 'd')" % account)
    acting(store).sql("SELECT pgbox.folder_rename('%s', 'd', 'e')" % name)
    acting(store).sql("UPDATE pgbox.mailbox SET name = 'f' WHERE mailbox_id = %d" % box)
    eq(store.names(account), ["INBOX", "f", "f/b"])
    eq(jobs(store, last), [
        ("folder_rename", name + ": a", PLUGIN, {"mailbox_id": box, "new": "c", "mailboxes": 2}),
        ("folder_rename", name + ": c", "pgbox_dovecot", {"mailbox_id": box, "new": "d", "mailboxes": 2}),
        ("folder_rename", name + ": d", "postgres as pgbox_admin", {"mailbox_id": box, "new": "e", "mailboxes": 2}),
        ("folder_rename", name + ": e", "postgres as pgbox_admin", {"mailbox_id": box, "new": "f"})])
    store.db.sql("SELECT pgbox.mailbox_rename(%d, 'f', 'g', %s)" % (account, quote(CLIENT)))
    eq(store.db.value("SELECT split_part(last_job, ' at ', 1) FROM pgbox.store_status()"), "folder_rename by postgres as pgbox_admin",
       "not what a client did")
    store.db.sql("SELECT pgbox.mailbox_rename(%d, 'g', 'f', %s)" % (account, quote(CLIENT)))
    refused("PB003", store.db.sql, "SELECT pgbox.mailbox_rename(%d, 'f', 'INBOX', 'x')" % account)
    eq(len(jobs(store, last)), 6, "what was refused isn't recorded")


@with_store
def test_where_did_my_folder_go(store):
    """One SELECT, until job_retention is over."""
    name, account, _ = store.account()
    store.admin.sql("SELECT pgbox.folder_create('%s', 'a: b')" % name)
    box = store.mailbox(account, "a: b")
    store.save(box)
    store.db.sql("SELECT pgbox.mailbox_rename(%d, 'a: b', 'c', %s)" % (account, quote(CLIENT)))
    store.db.sql("SELECT pgbox.mailbox_delete(%d, %d, %s)" % (account, box, quote(CLIENT)))
    last = newest(store)
    store.admin.sql("SELECT pgbox.folder_undelete('%s', 'c', 'd')" % name)
    counts = jobs(store, last)[0][3]
    eq((counts["mailbox_id"], counts["new"], counts["messages"], counts["deleted_reason"]), (box, "d", 1, CLIENT))
    store.admin.sql("DELETE FROM pgbox.mailbox WHERE mailbox_id = %d" % box)
    store.admin.sql("UPDATE pgbox.mailbox SET deleted_at = NULL, name = 'e' WHERE mailbox_id = %d" % box)
    eq(jobs(store, last)[-1][3]["deleted_reason"], "SQL by postgres")
    store.db.sql("SELECT pgbox.mailbox_delete(%d, %d, %s)" % (account, box, quote(CLIENT)))
    store.force("UPDATE pgbox.mailbox SET deleted_at = now() - '100 days'::interval WHERE mailbox_id = %d" % box)
    store.purge()
    eq(store.admin.sql("SELECT folder, what, new_name, messages, done_by FROM pgbox.folder_history WHERE account = '%s'"
                       " ORDER BY done_at" % name), [
        ["a: b", "made", "", "", "postgres"], ["a: b", "renamed", "c", "", PLUGIN], ["c", "deleted", "", "1", PLUGIN],
        ["c", "restored", "d", "1", "postgres"], ["d", "deleted", "", "1", "postgres"], ["d", "restored", "e", "1", "postgres"],
        ["e", "deleted", "", "1", PLUGIN], ["e", "purged", "", "", "pgbox_dovecot"]])
    eq(store.admin.value("SELECT count(*) FROM pgbox.folder_history WHERE mailbox_id = %d" % box), "8", "by its number, too")
    eq(store.admin.value("SELECT counts ->> 'deleted_reason' FROM pgbox.job WHERE counts ->> 'mailbox' = '%s: e'" % name), CLIENT,
       "purge's record says who had deleted it")


@with_store
def test_where_did_it_move(store):
    name, account, _ = store.account()
    other, to_account, _ = store.account()
    box = store.create(account, "Werk")
    store.create(account, "Werk/below")
    store.save(box)
    for _ in range(2):
        store.admin.sql("SELECT * FROM pgbox.folder_move('%s', 'Werk', '%s', 'From Eve')" % (name, other))
    history = "SELECT folder, what, new_name, messages FROM pgbox.folder_history WHERE account = '%s' ORDER BY done_at"
    eq(store.admin.sql(history % name), [["Werk", "moved", other + ": From Eve", ""], ["Werk", "deleted", "", "0"]])
    eq(store.admin.sql(history % other), [["From Eve", "made", "", ""]])
    eq(store.admin.value("SELECT counts ->> 'new_mailbox_id' FROM pgbox.job WHERE what = 'folder_move' AND target = '%s: Werk'" % name),
       str(store.mailbox(to_account, "From Eve")))
    eq(store.names(account), ["INBOX", "Werk/below", "[Werk]"], "what is below stays")


@with_store
def test_accounts(store):
    """Never a password, nor what it could be guessed from."""
    last = newest(store)
    name = "rec-" + store.account()[0]
    admin = acting(store)
    admin.sql("SELECT pgbox.account_create('%s', 'sEcret 1')" % name)
    account = int(store.admin.value("SELECT pgbox.account_find('%s')" % name))
    admin.sql("SELECT pgbox.account_set_password('%s', 'sEcret 2')" % name)
    for _ in range(2):
        admin.sql("SELECT pgbox.account_set_password('%s', NULL)" % name)
    admin.sql("UPDATE pgbox.account SET password_hash = '{PLAIN}sEcret 3', enabled = false WHERE name = '%s'" % name)
    admin.sql("UPDATE pgbox.account SET enabled = false WHERE name = '%s'" % name)
    eq(jobs(store, last)[1:], [(what, name, "postgres as pgbox_admin", counts) for what, counts in (
        ("account_create", {"account_id": account, "password": True}),
        ("account_set_password", {"password": True}),
        ("account_set_password", {"password": False}),
        ("update account", {"password_hash": "not shown", "enabled": {"old": True, "new": False}}))])
    store.admin.sql("UPDATE pgbox.account SET legal_hold = true WHERE name = '%s';"
                    " INSERT INTO pgbox.account_quota (account_id, messages) VALUES (%d, 5);"
                    " UPDATE pgbox.mailbox SET legal_hold = true WHERE account_id = %d" % (name, account, account))
    eq([job[:2] for job in jobs(store, last)[5:]],
       [("update account", name), ("insert account_quota", name), ("update mailbox", name + ": INBOX")])
    found = store.admin.value("SELECT string_agg(j::text, ' ') FROM pgbox.job AS j WHERE j.job_id > %d" % last)
    true("sEcret" not in found and "SCRAM" not in found, found)


@with_store
def test_store_and_policies(store):
    last = newest(store)
    admin = acting(store)
    admin.sql("UPDATE pgbox.store SET retention = '15 days'")
    admin.sql("UPDATE pgbox.store SET retention = '15 days'")
    admin.sql("UPDATE pgbox.store SET retention = '14 days'")
    admin.sql("INSERT INTO pgbox.policy (account, mailbox, older_than, created_by) VALUES ('nobody', 'Trash', '30 days', 'somebody else')")
    policy = int(store.admin.value("SELECT max(policy_id) FROM pgbox.policy"))
    store.admin.sql("UPDATE pgbox.policy SET enabled = false, created_by = 'x' WHERE policy_id = %d" % policy)
    eq(store.admin.value("SELECT created_by FROM pgbox.policy WHERE policy_id = %d" % policy), "postgres as pgbox_admin")
    store.admin.sql("DELETE FROM pgbox.policy WHERE policy_id = %d" % policy)
    done = jobs(store, last)
    target = "policy %d: nobody: Trash" % policy
    eq([job[:3] for job in done], [("update store", "store", "postgres as pgbox_admin")] * 2
       + [("insert policy", target, "postgres as pgbox_admin"), ("update policy", target, "postgres"), ("delete policy", target, "postgres")])
    eq([job[3] for job in done[:2]], [{"retention": {"old": old, "new": new}} for old, new in (("14 days", "15 days"), ("15 days", "14 days"))])
    eq((done[2][3]["older_than"], done[2][3]["created_by"]), ("30 days", "postgres as pgbox_admin"))
    eq(done[3][3], {"enabled": {"old": True, "new": False}})
    eq(done[4][3]["older_than"], "30 days")
    # functions write their own
    last = newest(store)
    name = store.account()[0]
    calls = (("account_set_hold('%s', true)", {"hold": {"old": False, "new": True}}),
             ("account_set_hold('%s', false)", {"hold": {"old": True, "new": False}}),
             ("folder_set_hold('%s', 'INBOX', true)", {"hold": {"old": False, "new": True}, "mailboxes": 1}),
             ("folder_set_hold('%s', 'INBOX', false)", {"hold": {"old": True, "new": False}, "mailboxes": 1}),
             ("account_set_retention('%s', '2 days')", {"retention": {"old": None, "new": "2 days"}}),
             ("account_set_retention('%s', NULL)", {"retention": {"old": "2 days", "new": None}}),
             ("account_set_quota('%s', 5, NULL)", {"messages": {"old": None, "new": 5}, "bytes": {"old": None, "new": None}}),
             ("account_set_quota('%s', 6, 7)", {"messages": {"old": 5, "new": 6}, "bytes": {"old": None, "new": 7}}),
             ("account_set_quota('%s', NULL, NULL)", {"messages": {"old": 6, "new": None}, "bytes": {"old": 7, "new": None}}))
    for call, _ in calls:
        # what changes nothing is not written down
        for _ in range(2):
            store.admin.sql("SELECT pgbox." + call % name)
    store.admin.sql("SELECT pgbox.account_set_password('%s', NULL); SELECT pgbox.account_rename('%s', '%s')" % (name, name, name))
    eq([(job[0], job[3]) for job in jobs(store, last)[1:]], [(call.split("(")[0], counts) for call, counts in calls])


@with_store
def test_the_role_itself(store):
    """SET ROLE to oneself changes nothing."""
    session = acting(store, "postgres")
    eq(session.sql("SELECT pgbox.done_by(), pgbox.who()"), [["postgres", "SQL by postgres"]])
