"""Retention of accounts, legal holds, policies."""

import hashlib
import uuid

from cluster import quote
from sqllib import FLAGGED, FORCE, SEEN, complaint, refused, save_sql, with_store
from tap import eq, has, true


def rows(store, call):
    """Rows of a function."""
    return store.admin.sql("SELECT * FROM pgbox." + call)


def there(store, body):
    """Is this body stored?"""
    return store.db.value("SELECT count(*) FROM pgbox.body WHERE digest = '\\x%s'" % hashlib.sha256(body).hexdigest()) == "1"


def age(store, mailbox, days):
    """Messages, tombstones, and the deletion of a mailbox are so old."""
    for what, table in (("saved_at", "message"), ("expunged_at", "expunged"), ("deleted_at", "mailbox")):
        store.force("UPDATE pgbox.%s SET %s = now() - '%d days'::interval WHERE mailbox_id = %d%s" % (
            table, what, days, mailbox, " AND deleted_at IS NOT NULL" if table == "mailbox" else ""))


def gone_since(store, days):
    """An account with a tombstone and a deleted mailbox of that age; name, account, inbox, [bodies], deleted mailbox."""
    name, account, inbox = store.account()
    box = store.create(account, "box")
    bodies = [uuid.uuid4().bytes for _ in range(2)]
    store.save(inbox, bodies[0])
    store.save(box, bodies[1])
    store.expunge(inbox, [1])
    store.admin.sql("SELECT pgbox.folder_delete('%s', 'box')" % name)
    age(store, inbox, days)
    age(store, box, days)
    return name, account, inbox, bodies, box


@with_store
def test_retention_of_an_account(store):
    """Longer, shorter, off, and as the store says, which is 14 days."""
    for retention, days, kept in (("'30 days'", 20, True), ("'30 days'", 31, False), ("'1 day'", 2, False),
                                  ("'1 day'", 0, True), ("'0'", 0, False), ("NULL", 13, True), ("NULL", 15, False)):
        name, _, _, bodies, _ = gone_since(store, days)
        other = gone_since(store, 13)[3]
        store.admin.sql("SELECT pgbox.account_set_retention('%s', %s)" % (name, retention))
        store.purge()
        eq([there(store, body) for body in bodies], [kept] * 2, "%s, %d days" % (retention, days))
        eq([there(store, body) for body in other], [True] * 2, "another account")


@with_store
def test_what_is_no_retention(store):
    """A forgotten unit, and times that there aren't: nothing that asks for it fails."""
    name, _, inbox = store.account()
    store.save(inbox)
    store.expunge(inbox, [1])
    store.admin.sql("SELECT pgbox.account_set_retention('%s', '2 hours')" % name)
    for wrong in ("5", "14", "59 minutes", "-1 day", "1001 years", "100000000 years"):
        refused("22023", store.admin.sql, "SELECT pgbox.account_set_retention('%s', '%s')" % (name, wrong))
        refused("22023", store.admin.sql, "UPDATE pgbox.account SET retention = '%s' WHERE name = '%s'" % (wrong, name))
        refused("22023", store.admin.sql, "UPDATE pgbox.store SET retention = '%s'" % wrong)
        refused("22023", store.admin.sql, "UPDATE pgbox.store SET job_retention = '%s'" % wrong)
        has("A number without one is seconds", complaint(store, "pgbox.account_set_retention('%s', '%s')" % (name, wrong)))
    for column in ("store SET retention", "store SET job_retention", "account SET retention"):
        refused("23514", store.admin.sql, FORCE + "UPDATE pgbox.%s = '1001 years'" % column)
        store.admin.sql("RESET session_replication_role")
    # the longest that there is
    store.admin.sql("SELECT pgbox.account_set_retention('%s', '1000 years')" % name)
    store.admin.sql("BEGIN; UPDATE pgbox.store SET retention = '1000 years', job_retention = '1000 years'")
    for call in ("purge()", "garbage_overview", "store_status()", "account_status('%s')" % name,
                 "mail_history WHERE account = '%s'" % name, "restore_preview('%s', 'INBOX', now())" % name):
        rows(store, call)
    store.admin.sql("ROLLBACK")


@with_store
def test_hold_of_an_account(store):
    name, account, inbox, bodies, _ = gone_since(store, 1000)
    store.admin.sql("SELECT pgbox.account_set_hold('%s', true)" % name)
    store.admin.sql("SELECT pgbox.account_set_retention('%s', '0')" % name)
    # clients may expunge
    more = uuid.uuid4().bytes
    store.save(inbox, more)
    store.expunge(inbox, store.uids(inbox))
    store.purge()
    eq([there(store, body) for body in bodies + [more]], [True] * 3)
    for call in ("account_delete('%s')", "messages_expunge('%s', 'INBOX')", "folder_empty('%s', 'INBOX')",
                 "messages_expire('%s', 'INBOX', '1 hour')"):
        refused("PB013", store.admin.sql, "SELECT * FROM pgbox." + call % name)
    store.admin.sql("SELECT pgbox.tombstone_prune(now() + '1 day'::interval, 100000)")
    eq(store.admin.value("SELECT count(*) FROM pgbox.expunged WHERE mailbox_id = %d" % inbox), "2")
    store.admin.sql("SELECT pgbox.account_set_hold('%s', false)" % name)
    store.purge()
    eq([there(store, body) for body in bodies + [more]], [False] * 3)
    refused("PB001", store.admin.sql, "SELECT pgbox.account_set_hold('nobody', true)")


@with_store
def test_hold_of_a_mailbox(store):
    """Deleted ones of its name too; moved away and expunged elsewhere is no way around."""
    name, account, inbox, bodies, _ = gone_since(store, 1000)
    store.create(account, "box")
    eq(store.admin.value("SELECT pgbox.folder_set_hold('%s', 'box', true)" % name), "2")
    held = store.mailbox(account, "box")
    moved = uuid.uuid4().bytes
    store.save(held, moved)
    store.append(inbox, {"source": (held, 1), "move": True})
    store.expunge(inbox, store.uids(inbox))
    for mailbox in (inbox, held):
        age(store, mailbox, 1000)
    store.purge()
    eq([there(store, body) for body in bodies + [moved]], [False, True, True])
    refused("PB013", store.admin.sql, "SELECT * FROM pgbox.account_delete('%s')" % name)
    refused("PB013", store.admin.sql, "SELECT * FROM pgbox.folder_empty('%s', 'box')" % name)
    refused("PB002", store.admin.sql, "SELECT pgbox.folder_set_hold('%s', 'nowhere', true)" % name)


@with_store
def test_hold_waits_for_a_purge(store):
    """A purge that has begun ends before the hold is promised."""
    name = gone_since(store, 1)[0]
    other = store.session("postgres")
    store.db.sql("BEGIN; SELECT pgbox.purge()")
    other.start("SELECT pgbox.account_set_hold('%s', true)" % name)
    store.wait_blocked(other)
    store.db.sql("COMMIT")
    other.finish()


def policy(store, name, mailbox, older_than, what="all", by_received=False):
    """A new policy; its number."""
    return store.admin.value(
        "INSERT INTO pgbox.policy (account, mailbox, older_than, what, by_received) VALUES (%s, %s, '%s', '%s', %s)"
        " RETURNING policy_id" % (quote(name), quote(mailbox), older_than, what, by_received))


def aged(store, mailbox, count):
    """So many messages, UID n saved n days ago."""
    for _ in range(count):
        store.save(mailbox)
    store.force("UPDATE pgbox.message SET saved_at = now() - uid * '1 day'::interval WHERE mailbox_id = %d" % mailbox)


def with_policies(test):
    """Decorator: no policy but the test's own."""
    def run(store):
        try:
            test(store)
        finally:
            store.admin.sql("DELETE FROM pgbox.policy")
    run.__name__, run.__module__ = test.__name__, test.__module__
    run.__code__ = run.__code__.replace(co_firstlineno=test.__code__.co_firstlineno)
    return run


@with_store
@with_policies
def test_policies(store):
    name, account, inbox = store.account()
    trash, other = store.create(account, "Trash"), store.create(account, "Trash/old")
    for mailbox in (inbox, trash, other):
        aged(store, mailbox, 5)
    number = policy(store, name, "Trash", "60 hours")
    eq([row[:4] for row in rows(store, "policy_pending")], [[number, name, "Trash", "3"]])
    eq(rows(store, "policy_apply(2)"), [["2", "0", "t"]])
    eq(rows(store, "policy_apply(2)"), [["1", "0", "f"]])
    eq(rows(store, "policy_apply(2)"), [["0", "0", "f"]])
    eq((store.uids(inbox), store.uids(trash), store.uids(other)), ([1, 2, 3, 4, 5], [1, 2], [1, 2, 3, 4, 5]))
    eq(rows(store, "policy_pending"), [])
    eq(store.admin.sql("SELECT DISTINCT reason FROM pgbox.expunged WHERE mailbox_id = %d" % trash), [["policy " + number]])
    eq(store.admin.sql("SELECT counts ->> 'policy %s', outcome FROM pgbox.job ORDER BY job_id DESC LIMIT 2" % number),
       [["1", "done"], ["2", "more"]])
    # patterns; by INTERNALDATE, which is in 2023; flags
    store.store(inbox, [1, 2], add=SEEN)
    policy(store, name, "INBOX", "1 hour", "seen", True)
    store.store(other, [4], add=FLAGGED)
    policy(store, name, "Trash/%", "3 hours", "unflagged")
    eq(rows(store, "policy_apply()"), [["6", "0", "f"]])
    eq((store.uids(inbox), store.uids(other)), ([3, 4, 5], [4]))


@with_store
@with_policies
def test_policies_that_make_no_sense(store):
    """Refused when they are written, so that no policy_apply fails by them."""
    write = "INSERT INTO pgbox.policy (account, mailbox, older_than, what) VALUES (%s, %s, '%s', '%s')"
    for account, mailbox, older_than, what in (
            ("%", "", "1 day", "all"), ("", "Trash", "1 day", "all"), ("%", "Trash\\", "1 day", "all"),
            ("a\\\\\\", "Trash", "1 day", "all"), ("Eve@%", "Trash", "1 day", "all"),
            ("%", "Trash", "-1 day", "all"), ("%", "Trash", "1 day", "unseen"),
            # a policy for what has just come, and one for 30 seconds, who meant days
            ("%", "Trash", "0", "all"), ("%", "Trash", "30", "all"), ("%", "Trash", "59 minutes", "all"),
            # a time that there isn't
            ("%", "Trash", "1001 years", "all")):
        refused("22023", store.admin.sql, write % (quote(account), quote(mailbox), older_than, what))
    number = policy(store, "a\\_b\\\\", "Trash\\%", "1 hour")
    for change in ("what = 'x'", "older_than = '1 minute'"):
        refused("22023", store.admin.sql, "UPDATE pgbox.policy SET %s WHERE policy_id = %s" % (change, number))
    for wrong in ("1 minute", "1001 years"):
        refused("23514", store.admin.sql, FORCE + "UPDATE pgbox.policy SET older_than = '%s' WHERE policy_id = %s" % (wrong, number))
        store.admin.sql("RESET session_replication_role")
    store.admin.sql("UPDATE pgbox.policy SET older_than = '1000 years' WHERE policy_id = " + number)
    rows(store, "policy_pending")
    eq(rows(store, "policy_apply()"), [["0", "0", "f"]])


@with_store
@with_policies
def test_pending_counts_each_message_once(store):
    """For the policy by which it goes; as policy_apply does it."""
    name, account, inbox = store.account()
    box = store.create(account, "box")
    for mailbox in (inbox, box):
        aged(store, mailbox, 6)
    store.store(inbox, [1, 4, 6], add=SEEN)
    seen = policy(store, name, "%", "60 hours", "seen")
    old = policy(store, name, "INBOX", "5 hours")
    later = policy(store, name, "%", "100 hours")
    store.admin.sql("UPDATE pgbox.policy SET enabled = false WHERE policy_id = " + policy(store, name, "%", "1 hour"))
    pending = "SELECT policy_id, folder, messages FROM pgbox.policy_pending WHERE account = '%s'%s ORDER BY 2, 1"
    wanted = [[seen, "INBOX", "2"], [old, "INBOX", "4"], [later, "box", "2"]]
    eq(store.admin.sql(pending % (name, "")), wanted)
    eq(store.admin.sql(pending % (name, " AND policy_id = " + old)), wanted[1:2])
    eq(store.admin.sql(pending % (name, " AND folder = 'box'")), wanted[2:])
    eq(store.admin.sql("SELECT sum(bytes) / sum(messages) FROM pgbox.policy_pending WHERE account = '%s'" % name),
       store.admin.sql("SELECT avg(bytes) FROM pgbox.message_overview WHERE account = '%s'" % name))
    eq(rows(store, "policy_apply()"), [["8", "0", "f"]])
    eq(store.admin.sql("SELECT counts ->> 'policy %s', counts ->> 'policy %s', counts ->> 'policy %s' FROM pgbox.job"
                       " ORDER BY job_id DESC LIMIT 1" % (seen, old, later)), [["2", "4", "2"]])


@with_store
@with_policies
def test_policies_skip_what_is_held_or_in_use(store):
    name, account, inbox = store.account()
    held, used = store.create(account, "held"), store.create(account, "used")
    for mailbox in (inbox, held, used):
        aged(store, mailbox, 2)
    store.admin.sql("SELECT pgbox.folder_set_hold('%s', 'held', true)" % name)
    policy(store, name, "%", "1 hour")
    store.db.sql("BEGIN; " + save_sql(used, b"x"))
    eq(rows(store, "policy_apply()"), [["2", "1", "f"]])
    store.db.sql("COMMIT")
    eq((store.uids(inbox), store.uids(held), store.uids(used)), ([], [1, 2], [1, 2, 3]))
    eq(store.admin.value("SELECT outcome FROM pgbox.job ORDER BY job_id DESC LIMIT 1"), "busy")
    store.force("UPDATE pgbox.message SET saved_at = now() WHERE uid = 3")
    eq(rows(store, "policy_apply()"), [["2", "0", "f"]])
    eq(store.uids(used), [3])


@with_store
@with_policies
def test_a_policy_that_is_killed_has_done_nothing(store):
    name, _, inbox = store.account()
    aged(store, inbox, 3)
    number = policy(store, name, "%", "1 hour")
    before = store.counters(inbox)
    store.admin.sql("BEGIN")
    eq(rows(store, "policy_apply()"), [["3", "0", "f"]])
    store.admin.sql("ROLLBACK")
    eq((store.counters(inbox), store.uids(inbox)), (before, [1, 2, 3]))
    eq(store.admin.value("SELECT count(*) FROM pgbox.job WHERE counts ? 'policy %s'" % number), "0")
    true(rows(store, "policy_apply()") == [["3", "0", "f"]], "another call does it")
