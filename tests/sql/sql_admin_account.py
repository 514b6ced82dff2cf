"""Accounts as an administrator handles them: names, deletion, quota."""

import threading
import uuid

from cluster import quote
from sqllib import SqlError, complaint, refused, save_sql, with_store
from tap import eq, has, true


def call(store, function, *args):
    """Rows of a function that takes SQL text."""
    return store.admin.sql("SELECT * FROM pgbox.%s(%s)" % (function, ", ".join(args)))


def delete(store, name, limit=10000):
    """One call of account_delete: {what: (removed, [kept])}"""
    return {row[0]: (int(row[1]), [int(word) for word in row[2].strip("{}").split(",") if word])
            for row in call(store, "account_delete", quote(name), str(limit))}


def count(store, table, where):
    """Number of rows."""
    return int(store.admin.value("SELECT count(*) FROM pgbox.%s WHERE %s" % (table, where)))


@with_store
def test_rename(store):
    name, account, inbox = store.account()
    other = store.account()[0]
    store.save(inbox)
    call(store, "account_rename", quote(name), quote("new-" + name))
    eq(store.db.value("SELECT pgbox.account_find('new-%s')" % name), str(account))
    refused("PB001", store.admin.sql, "SELECT pgbox.account_rename('%s', 'x')" % name)
    refused("PB003", store.admin.sql, "SELECT pgbox.account_rename('%s', 'new-%s')" % (other, name))
    refused("PB012", store.admin.sql, "SELECT pgbox.account_rename('%s', 'Anna')" % other)


@with_store
def test_disable_and_enable(store):
    name = store.account()[0]
    seen = "SELECT count(*) FROM pgbox.dovecot_userdb WHERE username = '%s'" % name
    call(store, "account_disable", quote(name))
    eq(store.db.value(seen), "0")
    call(store, "account_disable", quote(name))
    call(store, "account_enable", quote(name))
    eq(store.db.value(seen), "1")
    eq(count(store, "job", "target = '%s' AND what IN ('account_disable', 'account_enable')" % name), 2, "what changed nothing isn't recorded")
    refused("PB001", store.admin.sql, "SELECT pgbox.account_disable('nobody')")


@with_store
def test_delete_in_steps_with_proof(store):
    name, account, inbox = store.account()
    other = store.account()[2]
    shared, own = uuid.uuid4().bytes, uuid.uuid4().bytes
    for _ in range(3):
        store.save(inbox, own)
    store.save(inbox, shared)
    store.append(other, {"source": (inbox, 4)})
    content = int(store.db.value("SELECT content_id FROM pgbox.message WHERE mailbox_id = %d" % other))
    body = int(store.db.value("SELECT body_id FROM pgbox.content WHERE content_id = %d" % content))
    store.expunge(inbox, [1])
    store.create(account, "a/b")
    call(store, "account_set_quota", quote(name), "10", "NULL")
    store.db.sql("SELECT pgbox.subscription_set(%d, 'a', true)" % account)
    eq(delete(store, name), {"closed": (1, [])})
    eq(store.pull(inbox)[0], [], "sessions find the mailbox gone")
    refused("PB002", store.save, inbox)
    refused("PB001", store.create, account, "later")
    refused("PB001", store.db.sql, "SELECT pgbox.account_find('%s')" % name)
    refused("PB003", store.admin.sql, "SELECT pgbox.account_create('%s')" % name)
    for function in ("account_enable", "account_disable"):
        refused("PB001", store.admin.sql, "SELECT pgbox.%s('%s')" % (function, name))
        said = complaint(store, "pgbox.%s('%s')" % (function, name))
        has('the deletion of account "%s" has begun' % name, said)
        has("Call pgbox.account_delete()", said)
    steps = []
    while not steps or steps[-1]["account"][0] == 0:
        steps.append(delete(store, name, 2))
    total = {what: (sum(step[what][0] for step in steps), sum((step[what][1] for step in steps), []))
             for what in steps[0]}
    eq(total, {"messages": (3, []), "tombstones": (1, []), "contents": (3, [content]), "bodies": (1, []),
               "mailboxes": (2, []), "account": (1, [])})
    eq(len(steps), 2)
    eq(count(store, "body", "body_id = %d" % body), 1, "the other's body")
    eq(store.uids(other), [1])
    eq([row[0] for row in store.admin.sql("SELECT outcome FROM pgbox.job WHERE target = '%s'"
                                          " AND what = 'account_delete' ORDER BY job_id" % name)],
       ["more", "more", "done"])
    refused("PB001", store.admin.sql, "SELECT pgbox.account_delete('%s')" % name)
    store.admin.sql("SELECT pgbox.account_create('%s')" % name)


@with_store
def test_delete_tells_of_bodies_that_others_have(store):
    """Another header, the same body."""
    name, _, inbox = store.account()
    other = store.account()[2]
    shared = uuid.uuid4().bytes
    store.save(inbox, shared)
    store.save(other, shared)
    body = store.db.value("SELECT c.body_id FROM pgbox.message g JOIN pgbox.content c USING (content_id)"
                          " WHERE g.mailbox_id = %d" % other)
    delete(store, name)
    done = delete(store, name)
    eq((done["contents"], done["bodies"]), ((1, []), (0, [int(body)])))


@with_store
def test_delete_waits_for_a_delivery(store):
    name, account, inbox = store.account()
    other = store.session("postgres")
    store.db.sql("BEGIN; " + save_sql(inbox, uuid.uuid4().bytes))
    other.start("SELECT * FROM pgbox.account_delete('%s')" % name)
    store.wait_blocked(other)
    store.db.sql("COMMIT")
    other.finish()
    eq(delete(store, name)["messages"], (1, []))
    eq(count(store, "account", "account_id = %d" % account), 0)


@with_store
def test_quota_of_messages(store):
    name, account, inbox = store.account()
    box = store.create(account, "box")
    call(store, "account_set_quota", quote(name), "3", "NULL")
    store.save(inbox)
    store.save(box)
    store.save(inbox)
    before = store.counters(box)
    refused("PB011", store.save, box)
    eq(store.counters(box), before, "nothing is left of it")
    refused("PB011", store.append, box, {"source": (inbox, 1)})
    store.append(box, {"source": (inbox, 1), "move": True})
    # what is there stays, and may be moved, when the limit is lowered
    call(store, "account_set_quota", quote(name), "1", "NULL")
    store.append(inbox, {"source": (box, 1), "move": True})
    refused("PB011", store.save, box)
    # tombstones and deleted mailboxes don't count
    store.expunge(inbox, store.uids(inbox))
    store.db.sql("SELECT pgbox.mailbox_delete(%d, %d)" % (account, box))
    store.save(inbox)
    refused("PB011", store.save, inbox)
    call(store, "account_set_quota", quote(name), "NULL", "NULL")
    store.save(inbox)
    eq(count(store, "account_quota", "account_id = %d" % account), 0)


@with_store
def test_quota_below_zero(store):
    name = store.account()[0]
    for limits in (("-1", "NULL"), ("NULL", "-1"), ("5", "-5")):
        refused("22023", call, store, "account_set_quota", quote(name), *limits)
    eq(store.admin.sql("SELECT count(*) FROM pgbox.account_quota AS q JOIN pgbox.account AS a USING (account_id) WHERE a.name = '%s'" % name), [["0"]])


@with_store
def test_quota_of_bytes(store):
    name, _, inbox = store.account()
    other = store.account()[2]
    size = len(b"Subject: x\r\n\r\n") + 100
    call(store, "account_set_quota", quote(name), "NULL", str(2 * size))
    store.save(inbox, b"x" * 100)
    refused("PB011", store.save, inbox, b"x" * 101)
    store.save(inbox, b"x" * 100)
    store.append(other, {"source": (inbox, 1), "move": True})
    refused("PB011", store.append, inbox, {"source": (other, 1), "move": True}, {"source": (inbox, 2)})
    store.append(inbox, {"source": (other, 1), "move": True})


@with_store
def test_quota_of_plain_inserts(store):
    name, _, inbox = store.account()
    store.save(inbox)
    call(store, "account_set_quota", quote(name), "3", "NULL")
    copy = ("INSERT INTO pgbox.message (mailbox_id, content_id) SELECT mailbox_id, content_id FROM pgbox.message"
            " WHERE mailbox_id = %d AND uid <= 2" % inbox)
    store.admin.sql(copy)
    store.admin.sql(copy.replace("<= 2", "= 1"))
    refused("PB011", store.admin.sql, copy)
    eq(len(store.uids(inbox)), 3)


@with_store
def test_quota_of_concurrent_deliveries(store):
    """Eight sessions, four mailboxes, a limit of 30: never more, and never fewer."""
    name, account, inbox = store.account()
    boxes = [inbox] + [store.create(account, "b%d" % n) for n in range(3)]
    call(store, "account_set_quota", quote(name), "30", "NULL")
    states = []

    def deliver(session, number):
        for turn in range(10):
            try:
                session.sql(save_sql(boxes[(number + turn) % 4], uuid.uuid4().bytes))
                states.append("done")
            except SqlError as error:
                states.append(error.state)

    threads = [threading.Thread(target=deliver, args=(store.session(), number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eq((states.count("done"), states.count("PB011"), len(states)), (30, 50, 80))
    eq(sum(len(store.uids(box)) for box in boxes), 30)


@with_store
def test_quota_waits_for_the_other_mailbox(store):
    """Two deliveries to two mailboxes: the second one knows what became of the first."""
    name, account, inbox = store.account()
    box = store.create(account, "box")
    call(store, "account_set_quota", quote(name), "1", "NULL")
    other = store.session()
    for end, state in (("ROLLBACK", "done"), ("COMMIT", "PB011")):
        store.expunge(box, store.uids(box))
        store.db.sql("BEGIN; " + save_sql(inbox, b"one"))
        other.start(save_sql(box, b"two"))
        store.wait_blocked(other)
        store.db.sql(end)
        if state == "done":
            other.finish()
        else:
            refused(state, other.finish)
    true(store.uids(inbox) == [1] and store.uids(box) == [], "one message in all")
