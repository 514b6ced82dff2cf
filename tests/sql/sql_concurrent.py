"""Two sessions at a time: who waits for whom, and what comes out."""

import collections
import hashlib
import random
import uuid

from sqllib import (FLAGGED, SEEN, STEP, SqlError, append_sql, appended, content_sql, create_sql, refused, save_sql,
                    store_sql, with_store)
from tap import eq, timeout


@with_store
def test_deliveries_wait_in_line(store):
    """UIDs and modseqs are given in the order of commits."""
    inbox = store.account()[2]
    other = store.session()
    store.db.sql("BEGIN; " + save_sql(inbox, b"one"))
    other.start(save_sql(inbox, b"two"))
    store.wait_blocked(other)
    store.db.sql("COMMIT")
    eq(appended(other.finish()), (2 * STEP, 3 * STEP, [2]))
    store.db.sql("BEGIN; " + save_sql(inbox, b"three"))
    other.start(save_sql(inbox, b"four"))
    store.wait_blocked(other)
    store.db.sql("ROLLBACK")
    eq(appended(other.finish()), (3 * STEP, 4 * STEP, [3]), "a UID that nobody saw is used again")


@with_store
def test_deliveries_to_two_mailboxes_do_not_wait(store):
    first, second = store.account()[2], store.account()[2]
    other = store.session()
    store.db.sql("BEGIN; " + save_sql(first, b"one"))
    eq(appended(other.sql(save_sql(second, b"another body")))[2], [1])
    store.db.sql("COMMIT")


@with_store
def test_the_same_body_twice_at_once(store):
    first, second = store.account()[2], store.account()[2]
    other = store.session()
    for end, body in (("COMMIT", uuid.uuid4().bytes), ("ROLLBACK", uuid.uuid4().bytes)):
        store.db.sql("BEGIN; " + save_sql(first, body))
        other.start(save_sql(second, body))
        store.wait_blocked(other)
        store.db.sql(end)
        other.finish()
        eq(store.db.value("SELECT count(*) FROM pgbox.body WHERE digest = '\\x%s'"
                          % hashlib.sha256(body).hexdigest()), "1", end)


@with_store
def test_store_and_store(store):
    """Changes are deltas on the current row: both win."""
    inbox = store.account()[2]
    store.save(inbox)
    other = store.session()
    store.db.sql("BEGIN; " + store_sql(inbox, [1], add=SEEN, keywords_add="a"))
    other.start(store_sql(inbox, [1], add=FLAGGED, keywords_add="b"))
    store.wait_blocked(other)
    store.db.sql("COMMIT")
    other.finish()
    eq(store.keywords(inbox, 1), ["a", "b"])
    eq(store.db.value("SELECT flags FROM pgbox.message_state WHERE mailbox_id = %d" % inbox), str(SEEN | FLAGGED))


@with_store
def test_unchangedsince_of_two(store):
    """Of two that saw the same modseq, one wins."""
    inbox = store.account()[2]
    level = store.save(inbox)[1]
    other = store.session()
    store.db.sql("BEGIN; " + store_sql(inbox, [1], add=SEEN, unchangedsince=level))
    other.start(store_sql(inbox, [1], remove=31, unchangedsince=level))
    store.wait_blocked(other)
    store.db.sql("COMMIT")
    eq([row[:2] for row in other.finish()], [["2", "1"], ["0", str(level + STEP)]])


@with_store
def test_delete_against_delivery(store):
    _, account, _ = store.account()
    other = store.session()
    mailbox = store.create(account, "x")
    delete = "SELECT pgbox.mailbox_delete(%d, %d)" % (account, mailbox)
    # the delivery is first: the deletion waits, and takes it along
    store.db.sql("BEGIN; " + save_sql(mailbox, b"one"))
    other.start(delete)
    store.wait_blocked(other)
    store.db.sql("COMMIT")
    other.finish()
    # the deletion is first: the delivery finds no mailbox
    mailbox = store.create(account, "x")
    store.db.sql("BEGIN; SELECT pgbox.mailbox_delete(%d, %d)" % (account, mailbox))
    other.start(save_sql(mailbox, b"two"))
    store.wait_blocked(other)
    store.db.sql("COMMIT")
    refused("PB002", other.finish)
    eq(store.uids(mailbox), [])


@with_store
def test_rename_does_not_wait_for_delivery(store):
    _, account, _ = store.account()
    mailbox = store.create(account, "x")
    other = store.session()
    store.db.sql("BEGIN; " + save_sql(mailbox, b"one"))
    other.sql("SELECT pgbox.mailbox_rename(%d, 'x', 'y')" % account)
    store.db.sql("COMMIT")
    eq((store.names(account), store.uids(mailbox)), (["INBOX", "y"], [1]))
    store.db.sql("BEGIN; SELECT pgbox.mailbox_rename(%d, 'y', 'z')" % account)
    other.sql(save_sql(mailbox, b"two"))
    store.db.sql("COMMIT")
    eq(store.uids(mailbox), [1, 2])


@with_store
def test_two_create_the_same_name(store):
    account = store.account()[1]
    other = store.session()
    store.db.sql("BEGIN; " + create_sql(account, "x"))
    other.start(create_sql(account, "x"))
    store.wait_blocked(other)
    store.db.sql("COMMIT")
    refused("PB003", other.finish)
    store.db.sql("BEGIN; SELECT pgbox.mailbox_rename(%d, 'x', 'y')" % account)
    other.start(create_sql(account, "y"))
    store.wait_blocked(other)
    store.db.sql("COMMIT")
    refused("PB003", other.finish)


@with_store
def test_moves_across_do_not_deadlock(store):
    _, account, inbox = store.account()
    second = store.create(account, "second")
    sessions = [store.session() for _ in range(4)]
    for _ in range(40):
        store.save(inbox)
        store.save(second)
    for uid in range(1, 21):
        for number, session in enumerate(sessions):
            source, target = (inbox, second) if number % 2 else (second, inbox)
            session.start(append_sql(target, {"source": (source, uid * 2 - number // 2), "move": True}))
        for session in sessions:
            session.finish()
    eq((len(store.uids(inbox)), len(store.uids(second))), (40, 40))


@with_store
def test_move_of_a_message_that_is_being_expunged(store):
    _, account, inbox = store.account()
    target = store.create(account, "target")
    store.save(inbox)
    other = store.session()
    store.db.sql("BEGIN; SELECT 1 FROM pgbox.message_expunge(%d, ARRAY[1]::bigint[], 'test')" % inbox)
    other.start(append_sql(target, {"source": (inbox, 1), "move": True}))
    store.wait_blocked(other)
    store.db.sql("COMMIT")
    refused("PB004", other.finish)
    eq(store.uids(target), [])


@with_store
def test_claim_waits_for_the_writer(store):
    inbox = store.account()[2]
    other = store.session()
    for end, wanted in (("COMMIT", 1), ("ROLLBACK", 0)):
        token = uuid.uuid4()
        store.db.sql("BEGIN; " + save_sql(inbox, b"x", token=token))
        other.start("SELECT modseq FROM pgbox.commit_claim('%s')" % token)
        store.wait_blocked(other)
        store.db.sql(end)
        eq(len(other.finish()), wanted, end)


@with_store
def test_purge_against_delivery(store):
    """A body that loses its last message while another delivery takes it."""
    inbox, second = store.account()[2], store.account()[2]
    other = store.session()
    for end, left in (("COMMIT", "1"), ("ROLLBACK", "0")):
        body = uuid.uuid4().bytes
        digest = "digest = '\\x%s'" % hashlib.sha256(body).hexdigest()
        uid = store.save(inbox, body)[2][0]
        store.expunge(inbox, [uid])
        store.admin.sql("UPDATE pgbox.expunged SET expunged_at = now() - '15 days'::interval"
                        " WHERE mailbox_id = %d" % inbox)
        store.db.sql("BEGIN; " + save_sql(second, body))
        other.start("SELECT bodies FROM pgbox.purge()")
        store.wait_blocked(other)
        store.db.sql(end)
        other.finish()
        eq(store.db.value("SELECT count(*) FROM pgbox.body WHERE " + digest), left, end)
    # the purge is first: the delivery that counted on the body sends it again
    body = uuid.uuid4().bytes
    store.save(inbox, body)
    store.expunge(inbox, store.uids(inbox))
    store.admin.sql("UPDATE pgbox.expunged SET expunged_at = now() - '15 days'::interval WHERE mailbox_id = %d" % inbox)
    store.db.sql("BEGIN; SELECT bodies FROM pgbox.purge()")
    other.start(content_sql(body, chunks=False))
    store.wait_blocked(other)
    store.db.sql("COMMIT")
    refused("40001", other.finish)
    other.sql(save_sql(second, body))


@with_store
def test_two_purges(store):
    """Each removes one of the last two references to a body."""
    boxes = [store.account()[2] for _ in range(2)]
    body = uuid.uuid4().bytes
    for number, box in enumerate(boxes):
        store.save(box, body)
        store.expunge(box, [1])
        store.admin.sql("UPDATE pgbox.expunged SET expunged_at = now() - '%d days'::interval"
                        " WHERE mailbox_id = %d" % (1000 - number, box))
    other = store.session()
    store.db.sql("BEGIN; SELECT contents FROM pgbox.purge(1)")
    other.start("SELECT contents FROM pgbox.purge(1)")
    store.wait_blocked(other)
    store.db.sql("COMMIT")
    other.finish()
    eq(store.db.value("SELECT count(*) FROM pgbox.body WHERE digest = '\\x%s'" % hashlib.sha256(body).hexdigest()), "0")


@with_store
def test_waiting_ends(store):
    """lock_timeout of the role."""
    inbox = store.account()[2]
    other = store.session()
    store.db.sql("BEGIN; " + save_sql(inbox, b"one"))
    other.start("SET lock_timeout = '200ms'; " + save_sql(inbox, b"two"))
    refused("55P03", other.finish)
    store.db.sql("COMMIT")
    eq(store.db.value("SHOW lock_timeout"), "20s")


@timeout(120)
@with_store
def test_random_mix(store):
    """Everything at once on few mailboxes and bodies: no deadlock, no orphan, and sums stay right."""
    _, account, inbox = store.account()
    boxes = [inbox, store.create(account, "a"), store.create(account, "b")]
    store.admin.sql("UPDATE pgbox.store SET retention = '0'")
    bodies = [uuid.uuid4().bytes for _ in range(4)]
    dice = random.Random(1)
    sessions = [store.session() for _ in range(6)]
    outcome = collections.Counter()
    for _ in range(150):
        for session in sessions:
            session.start(random_change(dice, boxes, bodies))
        for session in sessions:
            try:
                session.finish()
                outcome["done"] += 1
            except SqlError as error:
                outcome[error.state] += 1
    store.expunge(boxes[0], store.uids(boxes[0]))
    store.expunge(boxes[1], store.uids(boxes[1]))
    store.expunge(boxes[2], store.uids(boxes[2]))
    store.purge()
    store.admin.sql("UPDATE pgbox.store SET retention = '14 days'")
    eq(set(outcome) - {"done", "PB004"}, set(), outcome)
    eq(store.db.value("SELECT count(*) FROM pgbox.body WHERE digest IN (%s)" % ", ".join(
        "'\\x%s'" % hashlib.sha256(body).hexdigest() for body in bodies)), "0")


def random_change(dice, boxes, bodies):
    """One statement of a client, an LMTP server or cron."""
    first, second = dice.choice(boxes), dice.choice(boxes)
    uids = [dice.randrange(1, 60) for _ in range(3)]
    return dice.choice((
        save_sql(first, dice.choice(bodies)),
        save_sql(first, dice.choice(bodies), keywords="k%d" % dice.randrange(9)),
        store_sql(first, uids, add=dice.randrange(32), remove=31, keywords_add="k%d" % dice.randrange(9)),
        append_sql(first, {"source": (second, uids[0])}),
        append_sql(first, {"source": (second, uids[0]), "move": True},
                   {"source": (dice.choice(boxes), uids[1]), "move": True}),
        "SELECT 1 FROM pgbox.message_expunge(%d, '{%d}', 'test')" % (first, uids[0]),
        "SELECT 1 FROM pgbox.purge(5)"))
