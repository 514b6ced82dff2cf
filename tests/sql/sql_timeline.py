"""A timeline that the store hasn't been on: counters jump before they are used."""

from sqllib import FLAGGED, SEEN, STEP, refused, with_store
from tap import eq, true

CHECK = "SELECT generation FROM pgbox.link_check(2, 3, %s, %s)"
JUMP = (1000000, (1 << 30) * STEP)


def check(store, session=None, seen=None):
    """What a link begins with; seen: the generation that the node has seen. Returns the store's."""
    guid = store.admin.value("SELECT store_guid FROM pgbox.store")
    stores = "ARRAY['%s']::uuid[]" % guid if seen is not None else "'{}'"
    generations = "ARRAY[%d]::bigint[]" % seen if seen is not None else "'{}'"
    return int((session or store.db).value(CHECK % (stores, generations)))


def promoted(store):
    """As if this server had been promoted since."""
    check(store)
    store.force("UPDATE pgbox.store SET timeline = timeline + 1")


def jumped(store, box, before):
    """The mailbox's counters have jumped once since."""
    eq(store.counters(box), (before[0] + JUMP[0], before[1] + JUMP[1]) + before[2:])


@with_store
def test_the_first_timeline_is_noted(store):
    _, _, inbox = store.account()
    store.force("UPDATE pgbox.store SET timeline = NULL")
    before = store.counters(inbox)
    check(store)
    eq(store.counters(inbox), before)
    eq(store.admin.value("SELECT timeline = pgbox.timeline_now() FROM pgbox.store"), "t")


@with_store
def test_nothing_is_given_out_on_a_new_timeline(store):
    """Whoever comes past link_check: a pooler's backend, an administrator."""
    _, account, inbox = store.account()
    store.save(inbox)
    promoted(store)
    before = store.counters(inbox)
    refused("PB014", store.save, inbox)
    refused("PB014", store.store, inbox, [1], add=SEEN)
    refused("PB014", store.expunge, inbox, [1])
    refused("PB014", store.create, account, "new")
    refused("PB014", store.admin.sql, "UPDATE pgbox.message_state SET flags = 8 WHERE mailbox_id = %d" % inbox)
    refused("PB014", store.admin.sql, "DELETE FROM pgbox.message WHERE mailbox_id = %d" % inbox)
    eq(store.counters(inbox), before)
    check(store)
    jumped(store, inbox, before)
    store.save(inbox)
    store.create(account, "new")


@with_store
def test_after_failover(store):
    """An administrator does it; twice is once."""
    _, _, inbox = store.account()
    promoted(store)
    before = store.counters(inbox)
    store.admin.sql("SET ROLE pgbox_admin; SELECT pgbox.after_failover(); SELECT pgbox.after_failover(); RESET ROLE")
    check(store)
    jumped(store, inbox, before)
    eq(store.admin.sql("SELECT tgname FROM pg_trigger WHERE tgenabled = 'D'"), [], "triggers are on again")


@with_store
def test_links_at_once(store):
    """All that come meanwhile wait, and find that it is done."""
    _, _, inbox = store.account()
    promoted(store)
    before = store.counters(inbox)
    first, second = store.session(), store.session()
    first.sql("BEGIN")
    generation = check(store, first)
    second.start(CHECK % ("'{}'", "'{}'"))
    store.wait_blocked(second)
    first.sql("COMMIT")
    eq(int(second.finish()[0][0]), generation)
    jumped(store, inbox, before)
    # the transaction of the link that did it fails
    promoted(store)
    before = store.counters(inbox)
    first.sql("BEGIN")
    generation = check(store, first)
    second.start(CHECK % ("'{}'", "'{}'"))
    store.wait_blocked(second)
    first.sql("ROLLBACK")
    true(int(second.finish()[0][0]) > generation, "another one does it")
    jumped(store, inbox, before)


@with_store
def test_numbers_of_lost_rows(store):
    """A session that goes on has a lost mailbox's number: nobody else's gets it."""
    _, account, _ = store.account()
    last = store.create(account, "last")
    promoted(store)
    check(store)
    true(store.create(account, "next") > last + 1000000, "left out")


@with_store
def test_left_behind(store):
    """A database that is older than what the node has seen is refused."""
    now = check(store)
    check(store, seen=now)
    check(store, seen=now - 1)
    refused("PB015", check, store, seen=now + 1)
    # of another store the node may have seen anything
    store.db.sql(CHECK % ("ARRAY[gen_random_uuid()]", "ARRAY[%d::bigint]" % (now + 1)))
    # one that is promoted is newer, whatever the clocks say
    promoted(store)
    far = now + 10 ** 15
    eq(check(store, seen=far), far + 1)
    # and so is one that was restored
    store.admin.sql("SELECT pgbox.after_restore(1, 1, true)")
    true(check(store, seen=far + 1) > far + 1, "after a restore")
    store.force("UPDATE pgbox.store SET generation = %d" % now)


@with_store
def test_messages_have_the_floor(store):
    """All messages have the modseq of the jump, until they change."""
    _, _, inbox = store.account()
    for _ in range(3):
        store.save(inbox)
    own = store.modseq(inbox)
    promoted(store)
    check(store)
    floor = store.modseq(inbox)
    eq([(row[0], row[1]) for row in store.pull(inbox)[1]], [(str(uid), str(floor)) for uid in (1, 2, 3)])
    # who knows what was lost hears of every message
    eq([row[1] for row in store.pull(inbox, floor - STEP)[1]], [str(floor)] * 3)
    eq(store.pull(inbox, floor)[1], [])
    # lost changes have changed them
    changed, left, taken = store.store(inbox, [1], add=FLAGGED, unchangedsince=own)
    eq((changed, left, taken), ({}, [1], 0))
    changed, left, taken = store.store(inbox, [1], add=FLAGGED, unchangedsince=floor - STEP)
    eq((changed, left, taken), ({}, [1], 0))
    changed, left, taken = store.store(inbox, [1], add=FLAGGED, unchangedsince=floor)
    eq((sorted(changed), left, taken), ([1], [], floor + STEP))
    eq([(row[0], row[1]) for row in store.pull(inbox, floor)[1]], [("1", str(floor + STEP))])
