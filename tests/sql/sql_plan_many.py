"""Statements on many rows do work in proportion to them, whatever the statistics say.

Those are of a store of many small mailboxes, where a mailbox and a UID are one row,
and a nested loop over two sets of a thousand looks as good as anything."""

import json
import re
import time

from sql_plan import FILL
from sqllib import SEEN, append_sql, array, store_sql, with_store
from tap import eq, timeout, true

SMALL = 150
COUNT = 1200
# rows that a node of a plan may look at for each row that the call is about; a copy looks at
# the keywords of its mailbox, which are 14 here
FACTOR = 20
EXPLAIN = """
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_analyze = on;
SET auto_explain.log_timing = off;
SET auto_explain.log_format = json;
SET plan_cache_mode = force_generic_plan
"""


def nodes(plan):
    """All nodes of a plan."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def looked_at(node):
    """Rows that a node has seen, whether it passed them on or not. A table of some
    pages is rightly read as a whole."""
    if node["Node Type"] == "Seq Scan" and node["Actual Rows"] + node.get("Rows Removed by Filter", 0) < 3 * SMALL:
        return 0
    kept = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck")
    return sum(node.get(what, 0) for what in kept) * node["Actual Loops"]


class Plans:
    """What auto_explain writes into the server's log."""

    def __init__(self, store):
        self._path = store.cluster.log
        self._session = store.session("postgres")
        self._session.sql(EXPLAIN)

    def _plans(self, offset):
        with open(self._path, encoding="utf-8", errors="replace") as handle:
            handle.seek(offset)
            text = handle.read()
        for found in re.finditer(r" \[%d\] .*duration: .* plan:\n((?:\t.*\n)+)" % self._session.pid, text):
            yield json.loads(found.group(1))

    def of(self, name, sql, count=COUNT):
        """Run it; no node of its plans may look at many more rows than count. Returns its rows."""
        with open(self._path, "rb") as handle:
            offset = handle.seek(0, 2)
        found = self._session.sql(sql)
        plans = list(self._plans(offset))
        true(plans, "%s: no plan in the log" % name)
        for plan in plans:
            for node in nodes(plan["Plan"]):
                rows = looked_at(node)
                true(rows <= FACTOR * count, "%s: %s looks at %d rows\n%s\n%s" % (
                    name, node["Node Type"], rows, plan["Query Text"], json.dumps(node, indent=1)[:3000]))
        return found


def many_small(store):
    """Statistics: each mailbox has one message, and one tombstone."""
    account = store.account()[1]
    for number in range(SMALL):
        mailbox = store.create(account, "small%d" % number)
        store.save(mailbox, b"%d\r\n" % number, keywords="$Label%d" % number)
        store.save(mailbox, b"%d gone\r\n" % number)
        store.expunge(mailbox, [2])
    store.admin.sql("ANALYZE")


def pairs(mailbox, uids, **more):
    """Messages of a mailbox, for message_append()."""
    return [dict(source=(mailbox, uid), flags=256, **more) for uid in uids]


@timeout(120)
@with_store
def test_many_rows(store):
    store.cluster.set(autovacuum="off")
    try:
        time.sleep(0.2)
        many_small(store)
        name, account, inbox = store.account()
        store.admin.sql(FILL % {"count": COUNT, "mailbox": inbox, "modseq": 0})
        plans = Plans(store)
        changes(store, plans, account, inbox)
        admin_changes(store, plans, name, inbox)
    finally:
        store.cluster.set(autovacuum="on")


def changes(store, plans, account, inbox):
    """What the plugin asks for."""
    everything = list(range(1, COUNT + 1))
    plans.of("flags", store_sql(inbox, everything, add=SEEN))
    # a set of keywords for each twelfth
    for number in range(12):
        plans.of("keywords", store_sql(inbox, everything[number::12], keywords_add="k%d all" % number))
    plans.of("keywords of all", store_sql(inbox, everything, keywords_add="more"))
    plans.of("conditional store", store_sql(inbox, everything, remove=SEEN, unchangedsince=store.modseq(inbox)))
    plans.of("pull", "SELECT * FROM pgbox.mailbox_pull(%d, 0, 0)" % inbox)
    copies, moved = store.create(account, "copies"), store.create(account, "moved")
    plans.of("copy", append_sql(copies, *pairs(inbox, everything)))
    plans.of("move", append_sql(moved, *pairs(copies, everything, move=True)))
    eq((store.counters(copies)[2], store.counters(moved)[2]), (0, COUNT))
    plans.of("expunge", "SELECT * FROM pgbox.message_expunge(%d, '{}', 'test', %s)" % (
        moved, array(everything, "bigint")))
    eq(store.counters(moved)[2], COUNT)
    plans.of("expunge", "SELECT * FROM pgbox.message_expunge(%d, %s, 'test')" % (moved, array(everything, "bigint")))
    eq(store.counters(moved)[2], 0)
    plans.of("pull of tombstones", "SELECT * FROM pgbox.mailbox_pull(%d, 0, 0)" % moved)


def admin_changes(store, plans, name, inbox):
    """What an administrator asks for."""
    everything = array(range(1, COUNT + 1), "bigint")
    plans.of("undelete", "SELECT * FROM pgbox.message_undelete('%s', 'moved', %s)" % (name, everything))
    store.admin.sql("SELECT pgbox.folder_create('%s', 'by hand')" % name)
    plans.of("copy by hand", "SELECT * FROM pgbox.message_copy('%s', 'INBOX', %s, '%s', 'by hand')" % (
        name, everything, name))
    plans.of("empty", "SELECT * FROM pgbox.folder_empty('%s', 'moved')" % name)
    plans.of("plain update", "UPDATE pgbox.message_state SET flags = flags | 16 WHERE mailbox_id = %d" % inbox)
    plans.of("plain delete", "DELETE FROM pgbox.message WHERE mailbox_id = %d" % inbox)
    plans.of("verify", "SELECT * FROM pgbox.account_verify('%s')" % name, 4 * COUNT)
    plans.of("purge", "SELECT * FROM pgbox.purge(%d)" % COUNT, 4 * COUNT)
