"""Tombstones go in the end, and nobody is misled by that."""

from sqllib import save_sql, with_store
from tap import eq, true

PRUNE = "SELECT tombstones, mailboxes, busy FROM pgbox.tombstone_prune(%s, %d)"
PRUNED = "SELECT pruned_modseq FROM pgbox.mailbox_counter WHERE mailbox_id = %d"


def age(store, mailbox, days=100):
    """The mailbox's tombstones lose their contents, as they do with time."""
    store.admin.sql("UPDATE pgbox.expunged SET expunged_at = now() - '%d days'::interval WHERE mailbox_id = %d"
                    % (days, mailbox))
    store.purge()


def prune(store, before="now() - '90 days'::interval", limit=1000, session=None):
    """(tombstones, mailboxes, busy)"""
    return tuple(int(field) for field in (session or store.admin).sql(PRUNE % (before, limit))[0])


def prune_all(store, before="now() + '1 day'::interval"):
    """Until nothing is left, so that a test sees its own only."""
    total = 0
    while True:
        done = prune(store, before)
        total += done[0]
        if done[0] == 0:
            return total


def tombstones(store, mailbox):
    """UIDs of the tombstones."""
    return [int(row[0]) for row in store.admin.sql(
        "SELECT uid FROM pgbox.expunged WHERE mailbox_id = %d ORDER BY uid" % mailbox)]


def filled(store, count):
    """A mailbox with so many messages."""
    inbox = store.account()[2]
    for _ in range(count):
        store.save(inbox)
    return inbox


@with_store
def test_prune_raises_the_mark(store):
    prune_all(store)
    inbox = filled(store, 4)
    first = store.expunge(inbox, [1, 2])[1]
    age(store, inbox)
    last = store.expunge(inbox, [3])[1]
    eq(store.admin.value(PRUNED % inbox), "0")
    eq(prune(store), (2, 1, 0))
    eq(tombstones(store, inbox), [3])
    eq(store.admin.value(PRUNED % inbox), str(first))
    eq(store.counters(inbox)[:3], (5, last, 1), "nothing else changes")
    eq(store.pull(inbox, first)[0][0][4].strip("{}").split(",")[2], str(first), "a pull tells")
    eq(prune(store), (0, 0, 0))


@with_store
def test_prune_leaves_what_can_be_restored(store):
    prune_all(store)
    inbox = filled(store, 2)
    store.expunge(inbox, [1])
    eq(prune(store, "now() + '1 day'::interval")[0], 0, "its content is there")
    store.admin.sql("UPDATE pgbox.expunged SET expunged_at = now() - '100 days'::interval WHERE mailbox_id = %d" % inbox)
    eq(prune(store)[0], 0, "past retention, but the content would be an orphan")
    store.purge()
    eq(prune(store, "now() - '101 days'::interval")[0], 0, "too young")
    eq(prune(store)[0], 1)


@with_store
def test_prune_in_steps(store):
    prune_all(store)
    inbox = filled(store, 5)
    modseqs = [store.expunge(inbox, [uid])[1] for uid in range(1, 6)]
    age(store, inbox)
    store.admin.sql("UPDATE pgbox.expunged SET expunged_at = expunged_at + uid * '1 minute'::interval"
                    " WHERE mailbox_id = %d" % inbox)
    eq(prune(store, limit=2), (2, 1, 0))
    eq((tombstones(store, inbox), store.admin.value(PRUNED % inbox)), ([3, 4, 5], str(modseqs[1])))
    eq(prune(store, limit=2), (2, 1, 0))
    eq(prune(store, limit=2), (1, 1, 0))
    eq(store.admin.value(PRUNED % inbox), str(modseqs[4]))
    # the mark never goes down
    store.save(inbox)
    store.expunge(inbox, [6])
    age(store, inbox)
    eq(prune(store), (1, 1, 0))
    true(int(store.admin.value(PRUNED % inbox)) > modseqs[4], "raised")


@with_store
def test_prune_beside_a_writer(store):
    """A mailbox in use is left alone, and that is told."""
    prune_all(store)
    used, idle = filled(store, 2), filled(store, 2)
    for inbox in (used, idle):
        store.expunge(inbox, [1])
        age(store, inbox)
    store.db.sql("BEGIN; " + save_sql(used, b"x"))
    eq(prune(store), (1, 1, 1))
    eq((tombstones(store, used), tombstones(store, idle)), ([1], []))
    store.db.sql("COMMIT")
    eq(prune(store), (1, 1, 0))
    eq(tombstones(store, used), [])


@with_store
def test_writers_wait_for_a_prune(store):
    """Whoever comes after it sees its mark."""
    prune_all(store)
    inbox = filled(store, 2)
    mark = store.expunge(inbox, [1])[1]
    age(store, inbox)
    store.admin.sql("BEGIN")
    prune(store)
    other = store.session()
    other.start(save_sql(inbox, b"x"))
    # our own connection to look with is the one that holds the lock
    eq(store.db.value("SELECT count(*) FROM pgbox.mailbox_pull(%d, 65536, 0) AS p WHERE p.kind = 2" % inbox), "1",
       "a pull meanwhile: one snapshot, before it")
    store.admin.sql("COMMIT")
    other.finish()
    eq(store.admin.value(PRUNED % inbox), str(mark))


@with_store
def test_prune_of_deleted_mailboxes(store):
    """They go as a whole, by purge."""
    prune_all(store)
    _, account, _ = store.account()
    mailbox = store.create(account, "gone")
    store.save(mailbox)
    store.expunge(mailbox, [1])
    age(store, mailbox)
    store.db.sql("SELECT pgbox.mailbox_delete(%d, %d)" % (account, mailbox))
    eq(prune(store), (0, 0, 0))
