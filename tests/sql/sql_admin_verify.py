"""Bodies against their digests, rows against the rules; counters after a restore."""

import hashlib
import json
import uuid

import proc
from cluster import quote
from sqllib import CHUNK, SEEN, STEP, Session, content_sql, refused, with_store
from tap import eq, true


def verify(store, *args):
    """(checked, next_after or None, {body_id: problem})"""
    checked, after, wrong = store.admin.sql("SELECT * FROM pgbox.content_verify(%s)" % ", ".join(map(str, args)))[0]
    return int(checked), int(after) if after else None, json.loads(wrong)


def large(store, mailbox):
    """Store a body of two chunks; its body_id."""
    body = uuid.uuid4().bytes + b"x" * CHUNK
    store.db.sql("BEGIN")
    content = int(store.db.value(content_sql(body)))
    store.db.sql("SELECT pgbox.body_chunk_put('\\x%s', 1, '\\x%s')" % (hashlib.sha256(body).hexdigest(), body[CHUNK:].hex()))
    store.append(mailbox, {"content": content})
    store.db.sql("COMMIT")
    return int(store.db.value("SELECT body_id FROM pgbox.content WHERE content_id = %d" % content))


@with_store
def test_verify_in_steps(store):
    inbox = store.account()[2]
    first = large(store, inbox)
    store.save(inbox, uuid.uuid4().bytes)
    last = large(store, inbox)
    eq(verify(store, first - 1, 2), (2, last - 1, {}))
    eq(verify(store, last - 1, 2), (1, None, {}))
    eq(verify(store, first - 1, 3, 0), (0, last, {}), "no percent")
    # three kinds of damage
    damage = (("UPDATE pgbox.body_chunk SET data = set_byte(data, 3, 1) WHERE body_id = %d", "is not what its SHA-256 says"),
              ("DELETE FROM pgbox.body_chunk WHERE body_id = %d", "has 131072 bytes, and should have 131088"),
              ("UPDATE pgbox.content SET size = size + 1 WHERE body_id = %d", "does not fit the size of a content that refers to it"))
    for sql, said in damage:
        store.admin.sql("BEGIN; SET LOCAL session_replication_role = replica; " + sql % last)
        eq(verify(store, first - 1, 10), (3, None, {str(last): said}))
        eq(store.admin.value("SELECT counts -> 'wrong' ->> '%d' FROM pgbox.job ORDER BY job_id DESC LIMIT 1" % last), said)
        store.admin.sql("ROLLBACK")


@with_store
def test_verify_one_account(store):
    name, account, inbox = store.account()
    other, _, other_inbox = store.account()
    mine, theirs = large(store, inbox), large(store, other_inbox)
    store.admin.sql("BEGIN; SET LOCAL session_replication_role = replica;"
                    " UPDATE pgbox.body_chunk SET data = 'x' WHERE body_id IN (%d, %d);"
                    " UPDATE pgbox.mailbox_counter SET virtual_size = 1 WHERE mailbox_id IN (%d, %d)" % (mine, theirs, inbox, other_inbox))
    eq(sorted(verify(store, 0, 10, 100, quote(name))[2]), [str(mine)])
    found = json.loads(store.admin.value("SELECT wrong FROM pgbox.account_verify('%s')" % name))
    eq([row["remedy"] for row in found], ["SELECT pgbox.mailbox_repair(%d)" % inbox])
    store.admin.sql("ROLLBACK")
    eq(store.admin.value("SELECT wrong FROM pgbox.account_verify('%s')" % name), "[]")
    refused("PB001", store.admin.sql, "SELECT pgbox.account_verify('never')")


def walk(store, step):
    """What rows_verify finds in steps, and how many steps it took."""
    after, found, steps = 0, [], 0
    while after is not None:
        row = store.db.sql("SELECT next_after, wrong FROM pgbox.rows_verify(%d, %d)" % (after, step))[0]
        after = int(row[0]) if row[0] else None
        found += [(item["problem"], item["remedy"]) for item in json.loads(row[1])]
        steps += 1
    return sorted(found), steps


@with_store
def test_rows_in_steps_and_at_once(store):
    """All kinds of numbers are gone through, from below the first to above the last."""
    _, account, inbox = store.account()
    for _ in range(3):
        store.save(inbox)
    eq(walk(store, 7)[0], [])
    store.force("UPDATE pgbox.mailbox_counter SET unseen = 0 WHERE mailbox_id = %d;"
                "UPDATE pgbox.account SET last_uidvalidity = 1 WHERE account_id = %d;"
                "INSERT INTO pgbox.mailbox_counter (mailbox_id) VALUES (-5), (4000000000);"
                "INSERT INTO pgbox.body_chunk VALUES (-5, 1, 'x'), (0, 1, 'x'), (4000000000, 1, 'x')" % (inbox, account))
    try:
        at_once = sorted((row[0], row[1]) for row in store.admin.sql("SELECT problem, remedy FROM pgbox.invariant_violations"))
        true(len(at_once) >= 7, at_once)
        in_steps, steps = walk(store, 7)
        eq(in_steps, at_once)
        true(steps > 3, "%d steps" % steps)
        eq(walk(store, 10 ** 12), (at_once, 1))
    finally:
        store.force("DELETE FROM pgbox.mailbox_counter WHERE mailbox_id IN (-5, 4000000000);"
                    "DELETE FROM pgbox.body_chunk WHERE body_id IN (-5, 0, 4000000000)")
        store.admin.sql("SELECT pgbox.mailbox_repair(%d); SELECT pgbox.account_repair(%d)" % (inbox, account))


@with_store
def test_after_restore(store):
    _, account, inbox = store.account()
    gone = store.create(account, "gone")
    full = store.create(account, "full")
    store.save(inbox)
    store.save(inbox)
    store.store(inbox, [1], add=SEEN)
    store.expunge(inbox, [2])
    store.save(full, uid=4278190000)
    store.db.sql("SELECT pgbox.mailbox_delete(%d, %d)" % (account, gone))
    facts = "SELECT uidvalidity FROM pgbox.mailbox WHERE mailbox_id = %d"
    before = {box: (store.counters(box), store.admin.value(facts % box)) for box in (inbox, gone, full)}
    epoch = int(store.admin.value("SELECT epoch FROM pgbox.store"))
    changes = 1 << 30
    # Dovecot is connected
    refused("55006", store.admin.sql, "SELECT * FROM pgbox.after_restore()")
    eq((store.counters(inbox), store.admin.value("SELECT epoch FROM pgbox.store")), (before[inbox][0], str(epoch)))
    done = store.admin.sql("SELECT * FROM pgbox.after_restore(p_force => true)")[0]
    true(int(done[2]) >= 1 and int(done[3]) > epoch, done)
    for box in (inbox, gone):
        uid, modseq, *rest = before[box][0]
        eq(store.counters(box), tuple([uid + 1000000, modseq + changes * STEP] + rest))
        eq(store.admin.value(facts % box), before[box][1])
    eq(store.counters(full), before[full][0])
    true(store.admin.value(facts % full) != before[full][1], "no room for a jump: another UIDVALIDITY")
    # who was ahead of the backup hears of every message, and must compare
    level = before[inbox][0][1] + (changes - 1) * STEP
    pulled = store.pull(inbox, level)
    eq([row[0] for row in pulled[1]], ["1"])
    eq(pulled[0][0][4].strip("{}").split(",")[2], str(level))
    store.admin.sql("SET ROLE pgbox_owner")
    true(int(store.admin.value("SELECT pgbox.uidvalidity_next(%d)" % account)) > int(store.admin.value(facts % full)), "never twice")
    store.admin.sql("RESET ROLE")
    again = store.admin.sql("SELECT epoch FROM pgbox.after_restore(1, 1, true)")
    true(int(again[0][0]) > int(done[3]), "each has an epoch of its own")
    eq(store.admin.sql("SELECT tgname FROM pg_trigger WHERE tgenabled = 'D'"), [], "triggers are on again")
    refused("22023", store.admin.sql, "SELECT pgbox.after_restore(0)")


@with_store
def test_two_copies_have_two_epochs(store):
    """Of one dump, at one time; whether its epoch is behind the clock or ahead of it."""
    copy = "BEGIN; %s; SELECT epoch FROM pgbox.after_restore(1, 1, true); ROLLBACK"
    for before in (1, 1800000000):
        forget = "SET LOCAL session_replication_role = replica; UPDATE pgbox.store SET epoch = %d" % before
        first, second = (int(store.admin.value(copy % forget)) for _ in range(2))
        # fails by chance once in 131072
        true(first != second, "both have %d" % first)
        true(min(first, second) > before and max(first, second) - min(first, second) <= 131072 + 60, (first, second))
    # what was given before a restore of an older backup is below, if it is two days old
    store.admin.sql("SET ROLE pgbox_owner")
    clock = int(store.admin.value("SELECT extract(epoch FROM now() - '2020-01-01 00:00+00'::timestamptz)::bigint"))
    epochs = [int(store.admin.value("SELECT pgbox.epoch_next(1)")) for _ in range(50)]
    store.admin.sql("RESET ROLE")
    true(min(epochs) > clock - 2 and max(epochs) < clock + 131072 + 60, epochs)


@with_store
def test_after_restore_looks_for_sessions_of_dovecot(store):
    """Of any administrator, in this database; a pooler's count, and others' don't."""
    call = "BEGIN; SELECT mailboxes > 0 FROM pgbox.after_restore(); ROLLBACK"
    store.admin.sql("DO $$ BEGIN CREATE ROLE boss LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$; GRANT pgbox_admin TO boss")
    store.account()
    boss = store.session("boss")
    elsewhere = Session(store.cluster, "pgbox_dovecot", "postgres")
    try:
        refused("55006", boss.sql, call)
        boss.sql("ROLLBACK")
        store.db.close()
        proc.wait_for(lambda: store.admin.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %d" % store.db.pid) == "0",
                      20, "the end of a session")
        eq(boss.sql(call), [["t"]])
    finally:
        elsewhere.close()
        store.db = store.session()
