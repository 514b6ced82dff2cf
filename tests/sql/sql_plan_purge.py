"""What purge and tombstone_prune read depends on what they have to do, not on the
tombstones that stay. Each test has its control: the index of former times, and far
more is read."""

import json
import re

from sql_tombstone import prune_all
from sqllib import FORCE, with_store
from tap import eq, timeout, true

MANY, FEW = 30000, 6
# (mailbox_id, uid, ...) of so many tombstones, the oldest of them first
BURY = """
INSERT INTO pgbox.expunged (mailbox_id, uid, modseq, content_id, guid, received_at, saved_at, flags, expunged_at, reason)
SELECT %(mailbox)d, c.uid_next - 1 + n, c.highest_modseq, %(content)s, gen_random_uuid(), now(), now(), 0,
       now() - '%(age)s'::interval + n * '1 second'::interval, 'imap 127.0.0.1'
  FROM pgbox.mailbox_counter AS c, generate_series(1, %(count)d) AS n
 WHERE c.mailbox_id = %(mailbox)d;
UPDATE pgbox.mailbox_counter SET uid_next = uid_next + %(count)d WHERE mailbox_id = %(mailbox)d
"""
# so many copies of one message
COPY = """
INSERT INTO pgbox.message (mailbox_id, uid, content_id, guid, received_at, saved_at)
SELECT c.mailbox_id, c.uid_next - 1 + n, m.content_id, gen_random_uuid(), now(), now()
  FROM pgbox.mailbox_counter AS c, pgbox.message AS m, generate_series(1, %(count)d) AS n
 WHERE c.mailbox_id = %(mailbox)d AND m.mailbox_id = %(mailbox)d AND m.uid = 1;
INSERT INTO pgbox.message_state (mailbox_id, uid, modseq, flags)
SELECT c.mailbox_id, c.uid_next - 1 + n, c.highest_modseq, 8
  FROM pgbox.mailbox_counter AS c, generate_series(1, %(count)d) AS n
 WHERE c.mailbox_id = %(mailbox)d;
UPDATE pgbox.mailbox_counter AS c
   SET uid_next = c.uid_next + %(count)d, messages = c.messages + %(count)d, virtual_size = c.virtual_size * (1 + %(count)d)
 WHERE c.mailbox_id = %(mailbox)d
"""
CONTENT = "pgbox.content_put('Subject: x', true, NULL, NULL, NULL, 10, 10, NULL, NULL)"


def bury(store, mailboxes, count, age, content="NULL"):
    """Add tombstones as they are after some time, so many to each; content: SQL of theirs."""
    for mailbox in mailboxes:
        store.force(BURY % {"mailbox": mailbox, "count": count, "age": age, "content": content})
    store.admin.sql("VACUUM ANALYZE")


def pages(session, call, before=""):
    """Pages that a call touches: the least of three times, each rolled back."""
    counts = []
    for _ in range(4):
        session.sql("BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; " + before)
        rows = session.sql("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM pgbox." + call)
        session.sql("ROLLBACK")
        plan = json.loads("\n".join(row[0] for row in rows))[0]["Plan"]
        counts.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
    return min(counts[1:])


def with_clean_store(test):
    """Decorator: nothing to purge or prune before, and no tombstones of the test's after it."""
    def run(store):
        store.purge()
        prune_all(store)
        try:
            test(store)
        finally:
            store.admin.sql("%sDELETE FROM pgbox.expunged WHERE reason = 'imap 127.0.0.1'; DELETE FROM pgbox.content AS c"
                            " WHERE NOT EXISTS (SELECT 1 FROM pgbox.expunged AS e WHERE e.content_id = c.content_id)"
                            " AND NOT EXISTS (SELECT 1 FROM pgbox.message AS g WHERE g.content_id = c.content_id);"
                            " RESET session_replication_role;"
                            " UPDATE pgbox.account SET retention = NULL WHERE retention IS NOT NULL;"
                            " VACUUM ANALYZE" % FORCE)
    run.__name__, run.__module__ = test.__name__, test.__module__
    run.__code__ = run.__code__.replace(co_firstlineno=test.__code__.co_firstlineno)
    return run


def same_work(store, call, add, former):
    """The call reads as much after add() as before it; with former indexes far more."""
    before = pages(store.admin, call)
    add()
    after = pages(store.admin, call)
    worse = pages(store.admin, call, former)
    print("# %s: %d pages, %d with many more tombstones, %d with the index of former times" % (call, before, after, worse))
    true(after < before + 100, "%s reads %d pages; %d before there were many more tombstones" % (call, after, before))
    true(worse > after + MANY // 100, "the control: %d pages, hardly more than %d" % (worse, after))


@timeout(120)
@with_store
@with_clean_store
def test_purge_passes_over_no_emptied_tombstones(store):
    inbox, other = store.account()[2], store.account()[2]
    bury(store, [inbox], FEW, "20 days", CONTENT)
    bury(store, [other], MANY, "2 days", CONTENT)
    same_work(store, "purge()", lambda: bury(store, [other], MANY, "100 days"),
              "DROP INDEX pgbox.expunged_purge_idx, pgbox.expunged_mailbox_id_purge_idx;"
              " CREATE INDEX former ON pgbox.expunged (expunged_at);")
    eq(store.purge()[0] >= FEW, True)


@timeout(120)
@with_store
@with_clean_store
def test_purge_of_accounts_with_a_shorter_retention(store):
    """Their own emptied tombstones, which are younger than the store's retention; and all that others have expunged."""
    name, _, inbox = store.account()
    other = store.account()[2]
    store.admin.sql("SELECT pgbox.account_set_retention('%s', '1 day')" % name)
    bury(store, [inbox], FEW, "2 days", CONTENT)
    # so that indexes are as deep as they will be
    bury(store, [other], MANY, "4 days", CONTENT)

    def more():
        bury(store, [inbox], MANY, "5 days")
        bury(store, [other], MANY, "5 days", CONTENT)
    same_work(store, "purge()", more, "DROP INDEX pgbox.expunged_mailbox_id_purge_idx;")
    eq(store.purge()[0] >= FEW, True)


@timeout(120)
@with_store
@with_clean_store
def test_prune_passes_over_no_tombstones_with_content(store):
    """Those of a legal hold, say."""
    inbox, other = store.account()[2], store.account()[2]
    bury(store, [inbox], FEW, "200 days")
    bury(store, [other], MANY, "100 days")
    same_work(store, "tombstone_prune(now() - '150 days'::interval, %d)" % (FEW // 2),
              lambda: bury(store, [other], MANY, "400 days", CONTENT),
              "DROP INDEX pgbox.expunged_prune_idx; CREATE INDEX former ON pgbox.expunged (expunged_at);")


@timeout(120)
@with_store
@with_clean_store
def test_status_counts_what_purge_would_take(store):
    """No tombstones and messages that stay."""
    name, account, inbox = store.account()
    short, _, short_inbox = store.account()
    store.admin.sql("SELECT pgbox.account_set_retention('%s', '1 day')" % short)
    box, other, third = store.create(account, "box"), store.account()[2], store.account()[2]
    bury(store, [inbox, box], FEW, "20 days", CONTENT)
    bury(store, [short_inbox], FEW, "3 days", CONTENT)
    for _ in range(FEW):
        store.save(box)
    store.admin.sql("SELECT pgbox.folder_delete('%s', 'box'); UPDATE pgbox.mailbox SET deleted_at = now() - '15 days'::interval"
                    " WHERE mailbox_id = %d" % (name, box))
    store.save(other)
    store.save(third)
    # so that indexes are as deep as they will be
    store.force(COPY % {"mailbox": other, "count": MANY})
    bury(store, [other], MANY, "2 days", CONTENT)

    def more():
        store.force(COPY % {"mailbox": third, "count": MANY})
        bury(store, [third], MANY, "2 days", CONTENT)
        bury(store, [third], MANY, "100 days")
    same_work(store, "store_status()", more, "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off;"
              " SET LOCAL enable_bitmapscan = off;")
    eq(store.admin.value("SELECT purgeable_messages FROM pgbox.store_status()"), str(4 * FEW))
    for mailbox in (other, third):
        store.force("DELETE FROM pgbox.message WHERE mailbox_id = %(box)d; DELETE FROM pgbox.message_state WHERE mailbox_id = %(box)d;"
                    " UPDATE pgbox.mailbox_counter SET messages = 0, unseen = 0, virtual_size = 0 WHERE mailbox_id = %(box)d" % {"box": mailbox})


@timeout(120)
@with_store
@with_clean_store
def test_views_of_one_account(store):
    name, _, inbox = store.account()
    bury(store, [inbox], FEW, "20 days")
    bury(store, [store.account()[2] for _ in range(100)], MANY // 100, "100 days")
    for view in ("garbage_overview", "mail_history"):
        sql = "SELECT * FROM pgbox.%s WHERE account = '%s'" % (view, name)
        plan = "\n".join(row[0] for row in store.admin.sql("EXPLAIN " + sql))
        eq(re.findall(r"Seq Scan on expunged\b", plan), [], plan)
        true(len(store.admin.sql(sql)) in (1, FEW), view)
