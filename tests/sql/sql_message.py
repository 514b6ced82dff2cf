"""Flags, keywords, expunges, and what a node pulls of them."""

import os
import random
import time

from sqllib import (ANSWERED, DELETED, FLAGGED, SEEN, SQL_DIR, STEP, array, refused, with_store)
from tap import eq

SEED = int(os.environ.get("PGBOX_TEST_SEED") or time.time())
NOBODY = 4294967295


def filled(store, count=3, **more):
    """INBOX of a new account with messages."""
    inbox = store.account()[2]
    for _ in range(count):
        store.save(inbox, **more)
    return inbox


@with_store
def test_flags(store):
    inbox = filled(store)
    before = store.modseq(inbox)
    changed, _, taken = store.store(inbox, [1, 3], add=FLAGGED | ANSWERED)
    eq(taken, before + STEP)
    eq(changed, {1: (taken, 3, ""), 3: (taken, 3, "")})
    # remove first, then add: replacing is both
    changed = store.store(inbox, [1, 2, 3], add=DELETED, remove=31)[0]
    eq([row[1] for row in changed.values()], [DELETED] * 3)
    changed = store.store(inbox, [1, 2], add=FLAGGED, remove=FLAGGED)[0]
    eq({uid: row[1] for uid, row in changed.items()}, {1: 6, 2: 6})


@with_store
def test_noop_takes_no_modseq(store):
    inbox = filled(store)
    store.store(inbox, [1], add=SEEN, keywords_add="foo")
    before = store.counters(inbox)
    for more in ({"add": SEEN}, {"remove": FLAGGED}, {"keywords_add": "FOO"}, {"keywords_remove": "bar"},
                 {"keywords_add": "foo", "replace": True}, {}, {"add": SEEN, "remove": 31}):
        eq(store.store(inbox, [1], **more), ({}, [], 0), more)
    eq(store.store(inbox, [99], add=SEEN), ({}, [], 0), "an unknown UID")
    eq(store.store(inbox, [], add=SEEN), ({}, [], 0), "no UID")
    eq(store.counters(inbox), before)
    # of several, those that change
    changed, _, taken = store.store(inbox, [1, 2, 3], add=SEEN)
    eq((sorted(changed), taken), ([2, 3], before[1] + STEP))


@with_store
def test_unseen(store):
    inbox = filled(store)
    unseen = lambda: store.counters(inbox)[3]
    eq(unseen(), 3)
    for more, wanted in (({"add": SEEN}, 0), ({"add": SEEN}, 0), ({"add": FLAGGED}, 0), ({"remove": SEEN}, 3),
                         ({"add": SEEN, "remove": 31}, 0), ({"add": FLAGGED, "remove": 31}, 3)):
        store.store(inbox, [1, 2, 3], **more)
        eq(unseen(), wanted, more)
    store.store(inbox, [2], add=SEEN, keywords_add="x")
    eq(unseen(), 2)
    store.expunge(inbox, [1])
    eq(unseen(), 1)
    store.expunge(inbox, [2])
    eq(unseen(), 1)


@with_store
def test_unchangedsince(store):
    inbox = filled(store)
    level = store.modseq(inbox)
    store.store(inbox, [2], add=FLAGGED)
    changed, refused_uids, taken = store.store(inbox, [1, 2, 3], add=SEEN, unchangedsince=level)
    eq((sorted(changed), refused_uids, taken), ([1, 3], [2], level + 2 * STEP))
    eq(store.counters(inbox)[3], 1, "unseen counts what was changed only")
    eq(store.store(inbox, [1, 2, 3], add=SEEN, unchangedsince=0), ({}, [1, 2, 3], 0))
    changed, refused_uids, _ = store.store(inbox, [1, 2], keywords_add="kw", unchangedsince=level + STEP)
    eq((sorted(changed), refused_uids), ([2], [1]))
    # what fails the test fails it also if it wouldn't change
    eq(store.store(inbox, [3], add=SEEN, unchangedsince=level)[1], [3])


# what a change of flags leaves behind, by mailbox
CHANGED = (
    "SELECT uid, modseq, flags, keywords FROM pgbox.message_state WHERE mailbox_id = %d ORDER BY uid",
    "SELECT number, name FROM pgbox.mailbox_keyword WHERE mailbox_id = %d ORDER BY number",
    "SELECT highest_modseq, messages, unseen FROM pgbox.mailbox_counter WHERE mailbox_id = %d",
)


@with_store
def test_one_is_as_many(store):
    """message_store() has other statements for a single message: the same as with a
    UID beside it that isn't there."""
    dice = random.Random(SEED)
    print("# seed %d" % SEED)
    one, many = filled(store), filled(store)
    kinds = set()
    for _ in range(300):
        uid = dice.choice((1, 2, 3, 3, 99))
        more = {
            "add": dice.choice((0, 0, SEEN, dice.randrange(32))), "remove": dice.choice((0, SEEN, 31, dice.randrange(32))),
            "keywords_add": dice.choice(("", "", "a", "A b", "c b")), "keywords_remove": dice.choice(("", "", "B", "d a")),
            "replace": dice.random() < 0.2,
            "unchangedsince": dice.choice((None, None, store.modseq(one), store.modseq(one) - 3 * STEP)),
        }
        result = store.store(one, [uid], **more)
        eq(result, store.store(many, [uid, NOBODY], **more), (uid, more))
        kinds.add((len(result[0]), len(result[1]), result[2] > 0))
        for sql in CHANGED:
            eq(store.admin.sql(sql % one), store.admin.sql(sql % many), (uid, more))
    eq(kinds, {(1, 0, True), (0, 1, False), (0, 0, False)})


@with_store
def test_several_operations(store):
    inbox = filled(store, 4)
    before = store.modseq(inbox)
    rows = store.db.sql(
        "SELECT kind, uid, modseq, flags FROM pgbox.message_store(%d, NULL, %s, %s, %s, %s, %s, %s, %s)" % (
            inbox, array([1, 2, 3, 4], "bigint"), array([0, 1, 2, 1], "integer"),
            array([SEEN, FLAGGED, 0], "smallint"), array([0, 0, SEEN], "smallint"),
            array(["", "a b", ""], "text"), array(["", "", "c"], "text"), array([False, True, False], "boolean")))
    taken = str(before + STEP)
    eq(sorted(rows), [["0", str(before), taken, ""], ["1", "1", taken, "8"],
                      ["1", "2", taken, "2"], ["1", "4", taken, "2"]])
    eq(store.keywords(inbox, 4), ["a", "b"])


@with_store
def test_keywords(store):
    inbox = filled(store)
    steps = (({"keywords_add": "$Junk Work work WORK"}, ["$Junk", "Work"]),
             ({"keywords_add": "$JUNK later"}, ["$Junk", "Work", "later"]),
             ({"keywords_remove": "WORK nothere"}, ["$Junk", "later"]),
             ({"keywords_remove": "later", "keywords_add": "Neu"}, ["$Junk", "Neu"]),
             ({"keywords_add": "one two", "replace": True}, ["one", "two"]),
             ({"keywords_add": "", "replace": True}, []))
    for more, wanted in steps:
        store.store(inbox, [1], **more)
        eq(store.keywords(inbox, 1), wanted, more)
    # ASCII letters have two cases, others are compared as they are
    store.store(inbox, [2], keywords_add="Größe GRÖßE größe")
    eq(store.keywords(inbox, 2), sorted(["Größe", "GRÖßE"], key=str.encode))
    # messages with different sets in one change
    store.store(inbox, [1, 3], keywords_add="a")
    store.store(inbox, [1, 2, 3], keywords_add="b", keywords_remove="größe")
    eq([store.keywords(inbox, uid) for uid in (1, 2, 3)], [["a", "b"], ["GRÖßE", "b"], ["a", "b"]])


@with_store
def test_keyword_numbers(store):
    inbox = filled(store, 1, keywords="x y")
    store.store(inbox, [1], keywords_add="z Y")
    eq(store.pull(inbox, 0, 0)[3], [["1", "0", "", "", "", "x"], ["2", "0", "", "", "", "y"], ["3", "0", "", "", "", "z"]])
    eq([row[0] for row in store.pull(inbox, 0, 2)[3]], ["3"])
    names = " ".join("k%d" % number for number in range(32765))
    refused("PB008", store.store, inbox, [1], keywords_add=names)
    refused("23514", store.store, inbox, [1], keywords_add="a\tb")


@with_store
def test_expunge(store):
    inbox = filled(store, keywords="kept")
    store.store(inbox, [2], add=FLAGGED)
    before = store.counters(inbox)
    eq(store.expunge(inbox, [2, 99], "imap 'x'"), (before[1], before[1] + STEP))
    eq(store.uids(inbox), [1, 3])
    eq(store.admin.sql("SELECT uid, modseq, flags, keywords, reason, moved_to, content_id IS NOT NULL"
                       " FROM pgbox.expunged WHERE mailbox_id = %d" % inbox),
       [["2", str(before[1] + STEP), "2", "{1}", "imap 'x'", "", "t"]])
    eq(store.expunge(inbox, [2, 99]), (before[1] + STEP, 0), "nothing to expunge: no modseq")
    eq(store.db.value("SELECT uids FROM pgbox.message_expunge(%d, '{2, 4}', 'x')" % inbox), "{}", "nor UIDs")
    eq(store.modseq(inbox), before[1] + STEP)
    store.store(inbox, [3], add=DELETED)
    level = store.modseq(inbox)
    eq(store.db.value("SELECT uids FROM pgbox.message_expunge(%d, '{}', 'x', '{1}')" % inbox), "{}", "not \\Deleted")
    eq(store.modseq(inbox), level)
    store.store(inbox, [3], remove=DELETED)
    store.expunge(inbox, [1, 3, 3])
    eq(store.counters(inbox), (4, before[1] + 4 * STEP, 0, 0, 0))
    eq(store.save(inbox)[2], [4], "UIDs aren't used again")
    store.save(inbox)
    store.store(inbox, [5], add=DELETED)
    eq(store.db.value("SELECT uids FROM pgbox.message_expunge(%d, '{}', 'x', '{4,5}')" % inbox), "{5}")


@with_store
def test_pull(store):
    inbox = filled(store)
    first = store.pull(inbox)
    uidvalidity = store.db.value("SELECT uidvalidity FROM pgbox.mailbox WHERE mailbox_id = %d" % inbox)
    eq(first[0], [["4", str(4 * STEP), "", "", "{%s,1,0,1,3,0}" % uidvalidity, ""]])
    eq([row[:3] for row in first[1]], [[str(n), str((n + 1) * STEP), "0"] for n in (1, 2, 3)])
    level = store.modseq(inbox)
    eq([len(rows) for rows in store.pull(inbox, level).values()], [1, 0, 0, 0])
    store.store(inbox, [3, 1], add=SEEN)
    store.expunge(inbox, [2])
    store.save(inbox)
    delta = store.pull(inbox, level)
    eq([row[0] for row in delta[1]], ["1", "3", "4"])
    eq([row[:2] for row in delta[2]], [["2", str(level + 2 * STEP)]])
    eq(store.pull(inbox)[2], [], "a cold node needs no tombstones")
    # a node that is ahead, after a restore, hears the counters
    eq(len(store.pull(inbox, level * 1000)[0]), 1)
    eq(sum(map(len, store.pull(0).values())), 0)


@with_store
def test_pull_of_everything(store):
    """The statement says what the function does, in the same order; and nothing of a mailbox that is gone."""
    inbox = filled(store, 5)
    store.store(inbox, [2, 4], add=SEEN, keywords_add="foo")
    store.store(inbox, [3], keywords_add="bar")
    store.expunge(inbox, [1])
    with open(os.path.join(SQL_DIR, "stmt", "mailbox-pull-all.sql")) as handle:
        store.db.sql("PREPARE pull_all (bigint, integer) AS\n" + handle.read())
    for keywords in (0, 1, 2):
        rows = store.db.sql("EXECUTE pull_all(%d, %d)" % (inbox, keywords))
        eq(rows, store.db.sql("SELECT * FROM pgbox.mailbox_pull(%d, 0, %d)" % (inbox, keywords)))
        eq([row[0] for row in rows], ["0"] + ["3"] * (2 - keywords) + ["1"] * 4)
    eq([row[1] for row in rows if row[0] == "1"], ["2", "3", "4", "5"])
    # the messages are left to the statement
    eq([len(found) for found in store.pull(inbox, -1).values()], [1, 0, 0, 2])
    eq(store.pull(inbox, -1)[0], store.pull(inbox)[0])
    store.admin.sql("UPDATE pgbox.mailbox SET deleted_at = now() WHERE mailbox_id = %d" % inbox)
    eq(store.db.sql("EXECUTE pull_all(%d, 0)" % inbox), [])


@with_store
def test_pull_is_one_snapshot(store):
    """The function is STABLE: it sees what the calling statement sees."""
    eq(store.admin.value("SELECT provolatile FROM pg_proc WHERE proname = 'mailbox_pull'"), "s")


@with_store
def test_bad_arguments(store):
    inbox = filled(store, 1)
    refused("23514", store.store, inbox, [1], add=32)
    refused("PB002", store.store, 0, [1], add=1)
    refused("PB002", store.expunge, 0, [1])
