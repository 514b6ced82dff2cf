"""Administrators and clients at the same time: no deadlock, and sums stay right.

PGBOX_TEST_SEED makes other histories."""

import collections
import os
import random
import uuid

from sqllib import SqlError, append_sql, save_sql, store_sql, with_store
from tap import eq, timeout, true

# what may be heard: gone, exists already, a message is gone, quota, under hold
FAIR = {"done", "PB001", "PB002", "PB003", "PB004", "PB011", "PB013"}


def client_change(dice, boxes, bodies):
    """One statement of the plugin."""
    first, second = dice.choice(boxes), dice.choice(boxes)
    uids = [dice.randrange(1, 80) for _ in range(3)]
    return dice.choice((
        save_sql(first, dice.choice(bodies)),
        save_sql(first, dice.choice(bodies), keywords="k%d" % dice.randrange(5)),
        store_sql(first, uids, add=dice.randrange(32), keywords_add="k%d" % dice.randrange(5)),
        append_sql(first, {"source": (second, uids[0])}),
        append_sql(first, {"source": (second, uids[0]), "move": True}, {"source": (second, uids[1]), "move": True}),
        "SELECT 1 FROM pgbox.message_expunge(%d, '{%d,%d}', 'test')" % (first, uids[0], uids[1])))


def admin_change(dice, names):
    """One call of an administrator or of cron."""
    one, other = dice.sample(names, 2)
    box = dice.choice(("INBOX", "a", "b"))
    back = "now() - '%d milliseconds'::interval" % dice.randrange(3000)
    call = dice.choice((
        "purge(5)", "purge(50)", "policy_apply(3)", "tombstone_prune(now(), 5)",
        "message_undelete('%s', '%s', p_limit => 5)" % (one, box),
        "restore_mailbox('%s', '%s', %s, p_limit => 5)" % (one, box, back),
        "restore_account('%s', %s, 'old', 5)" % (one, back),
        "folder_move('%s', '%s', '%s', NULL, 3)" % (one, box, other),
        "messages_expunge('%s', '%s', p_with => '\\Seen', p_limit => 3)" % (one, box),
        "folder_delete('%s', '%s')" % (one, box), "folder_undelete('%s', '%s')" % (one, box),
        "folder_create('%s', '%s')" % (one, box), "folder_set_hold('%s', '%s', %s)" % (one, box, dice.random() < 0.3),
        "account_set_hold('%s', %s)" % (one, dice.random() < 0.3),
        "account_set_quota('%s', %d, NULL)" % (one, dice.randrange(20, 40)),
        "account_delete('%s', 5)" % names[-1]))
    return "SELECT * FROM pgbox." + call


def orphans(store):
    """Contents and bodies that nobody refers to."""
    return {tuple(row) for row in store.admin.sql(
        "SELECT 'content', c.content_id FROM pgbox.content AS c"
        " WHERE NOT EXISTS (SELECT 1 FROM pgbox.message AS g WHERE g.content_id = c.content_id)"
        " AND NOT EXISTS (SELECT 1 FROM pgbox.expunged AS e WHERE e.content_id = c.content_id)"
        " UNION ALL SELECT 'body', b.body_id FROM pgbox.body AS b"
        " WHERE NOT EXISTS (SELECT 1 FROM pgbox.content AS c WHERE c.body_id = b.body_id)")}


@timeout(180)
@with_store
def test_all_at_once(store):
    names, boxes, before = [], [], orphans(store)
    for _ in range(4):
        name, account, inbox = store.account()
        names.append(name)
        boxes += [inbox, store.create(account, "a"), store.create(account, "b")]
        store.admin.sql("SELECT pgbox.account_set_quota('%s', 40, NULL)" % name)
    # too short to be set
    store.force("UPDATE pgbox.store SET retention = '500 milliseconds'")
    store.admin.sql("INSERT INTO pgbox.policy (account, mailbox, older_than) VALUES ('%s', 'a', '1 hour')" % names[0])
    bodies = [uuid.uuid4().bytes for _ in range(4)]
    dice = random.Random(int(os.environ.get("PGBOX_TEST_SEED") or 1))
    clients = [store.session() for _ in range(5)]
    admins = [store.session("postgres") for _ in range(4)]
    outcome, wrong = collections.Counter(), []
    for _ in range(150):
        texts = [client_change(dice, boxes, bodies) for _ in clients] + [admin_change(dice, names) for _ in admins]
        for session, text in zip(clients + admins, texts):
            session.start(text)
        for session, text in zip(clients + admins, texts):
            try:
                session.finish()
                outcome["done"] += 1
            except SqlError as error:
                outcome[error.state] += 1
                if error.state not in FAIR:
                    wrong.append((error.state, text))
    store.admin.sql("UPDATE pgbox.store SET retention = '0'; DELETE FROM pgbox.policy;"
                    " UPDATE pgbox.account SET legal_hold = false; UPDATE pgbox.mailbox SET legal_hold = false")
    eq(wrong, [], outcome)
    true(outcome["done"] > 300 and outcome["PB011"] > 0, outcome)
    over = store.admin.sql("SELECT account FROM pgbox.account_overview WHERE messages > 40 AND quota_messages IS NOT NULL"
                           " AND account = ANY ('{%s}')" % ",".join(names))
    eq(over, [], "never above the highest limit that there was")
    for name in names:
        while store.admin.sql("SELECT 1 FROM pgbox.account WHERE name = '%s'" % name):
            store.admin.sql("SELECT * FROM pgbox.account_delete('%s')" % name)
    store.purge()
    store.admin.sql("UPDATE pgbox.store SET retention = '14 days'")
    eq(orphans(store) - before, set(), "contents and bodies of nobody")
