"""Plans and amounts of work: nothing may depend on the size of the rest."""

import json
import re

from sqllib import STEP, with_store
from sql_statement import statements
from tap import eq, has, timeout, true

# A mailbox with many messages among others: contents of a few bytes.
FILL = """
DO $$
DECLARE
  v_contents bigint[];
BEGIN
  SELECT array_agg(pgbox.content_put('Subject: x', true, sha256(convert_to(i::text, 'UTF8')), 1, 'x', 11, 11, NULL, NULL))
    INTO v_contents FROM generate_series(1, %(count)d) AS i;
  PERFORM pgbox.message_append(%(mailbox)d, gen_random_uuid(), 'fill', %(modseq)d,
    array_fill(0::bigint, ARRAY[%(count)d]), ARRAY(SELECT gen_random_uuid() FROM generate_series(1, %(count)d)),
    v_contents, array_fill(NULL::bigint, ARRAY[%(count)d]), array_fill(NULL::bigint, ARRAY[%(count)d]),
    array_fill(false, ARRAY[%(count)d]), array_fill(1::bigint, ARRAY[%(count)d]),
    array_fill(1::bigint, ARRAY[%(count)d]), array_fill(0::smallint, ARRAY[%(count)d]),
    array_fill(''::text, ARRAY[%(count)d]), array_fill(NULL::text, ARRAY[%(count)d]),
    array_fill(NULL::bigint, ARRAY[%(count)d]));
END
$$
"""
COUNT = 20000


def fill(store):
    """A large mailbox of low modseqs, and one as large with modseqs far above."""
    boxes = store.account()[2], store.account()[2]
    for mailbox, modseq in zip(boxes, (0, 1000000 * STEP)):
        store.admin.sql(FILL % {"count": COUNT, "mailbox": mailbox, "modseq": modseq})
    account = store.account()[1]
    store.admin.sql("SELECT pgbox.mailbox_create(%d, 'box' || i, true, NULL, NULL, NULL)"
                    " FROM generate_series(1, 2000) AS i" % account)
    store.admin.sql("SELECT pgbox.account_create('plan' || random()) FROM generate_series(1, 500)")
    store.admin.sql("SELECT pgbox.subscription_set(account_id, 'x' || i, true)"
                    " FROM pgbox.account, generate_series(1, 4) AS i WHERE deleted_at IS NULL")
    store.admin.sql("VACUUM ANALYZE")
    return boxes[0], account


def buffers(session, sql):
    """Pages that a statement touches: the least of three times, for an ANALYZE in
    the background makes functions plan anew, and that reads catalogs."""
    session.sql(sql)
    counts = []
    for _ in range(3):
        text = "\n".join(row[0] for row in session.sql("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + sql))
        plan = json.loads(text)[0]["Plan"]
        counts.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
    return min(counts)


@timeout(180)
@with_store
def test_plans(store):
    mailbox, account = fill(store)
    for stmt in statements():
        store.db.sql(stmt.prepare())
        # plans don't depend on the arguments: the role wants generic ones
        plan = "\n".join(row[0] for row in store.db.sql("EXPLAIN " + stmt.execute()))
        eq(re.findall(r"Seq Scan on (account|mailbox|mailbox_counter|message|message_state|content|body)\b", plan), [],
           "%s\n%s" % (stmt.name, plan))
        if stmt.plan:
            # the table may be empty here
            plan = store.db.sql("DISCARD PLANS; SET enable_seqscan = off; EXPLAIN " + stmt.execute())
            store.db.sql("RESET enable_seqscan")
            has(stmt.plan, str(plan), stmt.name)
    pull_of_all(store, mailbox)
    pulls(store, mailbox)
    small_changes(store, mailbox)
    lookups(store, account)
    history(store, mailbox)


def pull_of_all(store, mailbox):
    """Messages are sent while they are read, after the counters: nothing is sorted, nothing runs in parallel."""
    store.db.sql("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0")
    plan = "\n".join(row[0] for row in store.db.sql("EXPLAIN EXECUTE stmt_mailbox_pull_all(%d, 0)" % mailbox))
    store.db.sql("RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size")
    true(plan.startswith("Append"), plan)
    true(plan.index("Function Scan on mailbox_pull") < plan.index("message_state_pkey"), plan)
    eq(re.findall("Sort|Parallel|Gather", plan), [], plan)


def pulls(store, mailbox):
    """What a pull reads depends on what changed."""
    level = store.modseq(mailbox)
    pull = "SELECT count(*) FROM pgbox.mailbox_pull(%d, %d, 0)"
    true(buffers(store.db, pull % (mailbox, level)) < 30, "nothing new")
    store.store(mailbox, [17], add=1)
    store.expunge(mailbox, [18])
    used = buffers(store.db, pull % (mailbox, level))
    true(used < 60, "two changes read %d pages" % used)
    eq(len(store.pull(mailbox, level)[1]), 1)
    # many tombstones, all of them old
    store.expunge(mailbox, list(range(10000, 15000)))
    # as autovacuum does by itself, some time: plans that were made while there
    # were no tombstones are made anew
    store.admin.sql("ANALYZE pgbox.expunged, pgbox.message_state")
    level = store.modseq(mailbox)
    store.store(mailbox, [19], add=1)
    used = buffers(store.db, pull % (mailbox, level))
    true(used < 60, "a change after many expunges reads %d pages" % used)


def small_changes(store, mailbox):
    """One flag, one message more: the size of the mailbox doesn't matter."""
    change = ("SELECT count(*) FROM pgbox.message_store(%d, NULL, '{%d}', '{0}', '{%d}', '{0}', '{\"\"}', '{\"\"}',"
              " '{f}')")
    store.db.sql(change % (mailbox, 5, 1))
    used = buffers(store.db, change % (mailbox, 5, 2))
    true(used < 100, "a flag reads %d pages" % used)
    expunge = "SELECT count(*) FROM pgbox.message_expunge(%d, '{%d}', 'x')"
    used = buffers(store.db, expunge % (mailbox, 6))
    true(used < 200, "an expunge reads %d pages" % used)


def lookups(store, account):
    """Looking for a name in a large account."""
    used = buffers(store.db, "SELECT pgbox.subscription_set(%d, 'x3', false)" % account)
    true(used < 60, "a subscription reads %d pages" % used)
    used = buffers(store.admin, "SELECT pgbox.mailbox_has_children(%d, 'box7')" % account)
    true(used < 300, "a look for children reads %d pages" % used)
    used = buffers(store.db, "SELECT count(*) FROM pgbox.purge()")
    true(used < 300, "a purge with nothing to do reads %d pages" % used)


def history(store, mailbox):
    """One message of a large mailbox, and one that was brought back; a whole mailbox isn't compiled by JIT."""
    name = store.admin.value("SELECT a.name FROM pgbox.account AS a JOIN pgbox.mailbox AS m USING (account_id)"
                             " WHERE m.mailbox_id = %d" % mailbox)
    store.admin.sql("SELECT * FROM pgbox.message_undelete('%s', 'INBOX', '{11000}')" % name)
    ask = "SELECT * FROM pgbox.mail_history WHERE account = '%s' AND folder = 'INBOX'%s"
    for uid, now_in in ((100, ""), (11000, "INBOX UID %d" % (COUNT + 1))):
        sql = ask % (name, " AND uid = %d" % uid)
        eq([row[-3] for row in store.admin.sql(sql)], [now_in])
        used = buffers(store.admin, sql)
        true(used < 100, "the history of a message reads %d pages" % used)
    cost = float(re.search(r"cost=[0-9.]+\.\.([0-9.]+) ", store.admin.value("EXPLAIN " + ask % (name, ""))).group(1))
    true(cost < float(store.admin.value("SHOW jit_above_cost")), "cost of a mailbox's history: %d" % cost)
