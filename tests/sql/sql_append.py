"""Messages that arrive: saved, copied, moved; tokens."""

import os
import random
import time
import uuid

from sqllib import CHUNK, SEEN, STEP, SqlError, append_sql, content_sql, refused, save_sql, with_store
from tap import eq, true

SEED = int(os.environ.get("PGBOX_TEST_SEED") or time.time())


def content(store, body=b"body\r\n"):
    """content_id of a new content."""
    return int(store.db.value(content_sql(body)))


@with_store
def test_save(store):
    inbox = store.account()[2]
    eq(store.save(inbox), (STEP, 2 * STEP, [1]))
    eq(store.save(inbox, flags=SEEN, keywords="a b"), (2 * STEP, 3 * STEP, [2]))
    size = len(b"Subject: x\r\n\r\nbody\r\n")
    eq(store.counters(inbox), (3, 3 * STEP, 2, 1, 2 * size))
    eq(store.keywords(inbox, 2), ["a", "b"])
    store.save(inbox, b"", keywords="B c")
    eq(store.keywords(inbox, 3), ["b", "c"])
    eq(store.db.sql("SELECT c.body_id, c.size FROM pgbox.message m JOIN pgbox.content c USING (content_id)"
                    " WHERE mailbox_id = %d AND uid = 3" % inbox), [["", "14"]])


# each table that a message arrives in, by mailbox and without ids
ARRIVED = (
    "SELECT uid_next, highest_modseq, messages, unseen, virtual_size, first_recent_uid, pruned_modseq"
    " FROM pgbox.mailbox_counter WHERE mailbox_id = %d",
    "SELECT uid, body_id, guid, received_at, saved_at, pop3_uidl, pop3_order, header, header_complete, size, virtual_size"
    " FROM pgbox.message JOIN pgbox.content USING (content_id) WHERE mailbox_id = %d ORDER BY uid",
    "SELECT uid, modseq, flags, keywords FROM pgbox.message_state WHERE mailbox_id = %d ORDER BY uid",
    "SELECT number, name FROM pgbox.mailbox_keyword WHERE mailbox_id = %d ORDER BY number",
    "SELECT prev_modseq, modseq, uids FROM pgbox.commit_token WHERE mailbox_id = %d ORDER BY modseq",
)


@with_store
def test_save_is_an_append(store):
    """message_save() and message_append() leave the same rows behind."""
    dice = random.Random(SEED)
    print("# seed %d" % SEED)
    saved, appended = store.account()[2], store.account()[2]
    store.admin.sql("SELECT pgbox.account_set_quota(a.name, 190, NULL)"
                    " FROM pgbox.mailbox m JOIN pgbox.account a USING (account_id) WHERE m.mailbox_id IN (%d, %d)"
                    % (saved, appended))
    outcomes = set()
    for number in range(200):
        more = {
            "uid": dice.choice((0, 0, 3, number + 5, 1000 + number * 3)), "flags": dice.randrange(32),
            "keywords": dice.choice(("", "", "a", "A b", "b c d")), "guid": str(uuid.UUID(int=dice.getrandbits(128))),
            "uidl": dice.choice((None, "uidl%d" % number)), "order": dice.choice((None, number)),
        }
        body = b"" if number % 7 == 0 else b"body %d\r\n" % (number // 2)
        min_modseq = dice.choice((0, 0, number * 2 * STEP + 1))
        one = outcome(lambda: store.save(saved, body, min_modseq=min_modseq, **more))
        two = outcome(lambda: store.append(appended, dict(more, content=content(store, body)), min_modseq=min_modseq))
        eq(one, two)
        outcomes.add(one if isinstance(one, str) else "done")
    eq(outcomes, {"done", "PB011"})
    for sql in ARRIVED:
        eq(store.admin.sql(sql % saved), store.admin.sql(sql % appended))


# flags and keywords, by name
NAMED = ("SELECT s.uid, s.flags, ARRAY(SELECT lower(k.name) FROM pgbox.mailbox_keyword AS k WHERE k.mailbox_id = s.mailbox_id"
         " AND k.number = ANY (s.keywords) ORDER BY 1) FROM pgbox.message_state AS s WHERE s.mailbox_id = %d ORDER BY s.uid")


def copy_sql(mailbox, messages):
    """Call of message_append() for copies; whether flags differed from what the caller believed."""
    return append_sql(mailbox, *messages).replace("SELECT prev_modseq, modseq, uids", "SELECT differ")


def a_copy(dice, uid, wanted):
    """A copy or move of a message, as the plugin may ask for it; wanted: the UID it shall have."""
    return {"uid": wanted, "flags": dice.choice((256, 256 + 8, 0, 13)),
            "keywords": dice.choice(("", "", "A b", "c", "d e")), "move": dice.random() < 0.4,
            "received": dice.choice((-1, 1600000000)), "uidl": dice.choice((None, "uidl%d" % uid)),
            "guid": dice.choice((str(uuid.UUID(int=0)), str(uuid.UUID(int=dice.getrandbits(128))))),
            "order": dice.choice((None, uid))}


@with_store
def test_copy_is_an_append(store):
    """A single copy, or move, leaves behind what it does together with another one."""
    dice = random.Random(SEED)
    print("# seed %d" % SEED)
    account, inbox = store.account()[1:]
    for number in range(40):
        store.save(inbox, b"body %d\r\n" % number, flags=dice.randrange(32), keywords=dice.choice(("", "a", "B a", "c")))
    single, pairs, first, second = [store.create(account, name) for name in ("single", "pairs", "first", "second")]
    everything = [{"source": (inbox, uid), "flags": 256, "guid": uuid.UUID(int=0)} for uid in range(1, 41)]
    for source in (first, second):
        store.append(source, *everything)
    differed = set()
    for number in range(30):
        # what isn't asked for comes after what is, in one append
        wanted = 3 * number if dice.random() < 0.5 else 0
        asked = [(uid, a_copy(dice, uid, wanted and wanted + place))
                 for place, uid in enumerate(dice.sample(store.uids(first), 2))]
        ones = [store.db.value(copy_sql(single, [dict(more, source=(first, uid))])) for uid, more in asked]
        both = store.db.value(copy_sql(pairs, [dict(more, source=(second, uid)) for uid, more in asked]))
        eq("t" if "t" in ones else "f", both)
        differed.add(both)
    eq(differed, {"t", "f"})
    true(len(store.uids(first)) < 40, "nothing was moved")
    # two changes here are one there, moves have the modseqs of each of them, and keywords
    # that come together get their numbers in any order
    for sql in ARRIVED[:2] + (NAMED,):
        sql = sql.replace(" highest_modseq,", "")
        for one, other in ((single, pairs), (first, second)):
            eq(store.admin.sql(sql % one), store.admin.sql(sql % other))


@with_store
def test_copy_refused(store):
    """One copy: of what is gone, of a deleted mailbox, into one, above the quota, with a token that is used."""
    name, account, inbox = store.account()
    for _ in range(3):
        store.save(inbox)
    store.expunge(inbox, [2])
    doomed, copies = store.create(account, "doomed"), store.create(account, "copies")
    token = str(uuid.uuid4())
    store.append(doomed, {"source": (inbox, 1)}, token=token)
    refused("23505", store.append, doomed, {"source": (inbox, 1)}, token=token)
    refused("PB004", store.append, copies, {"source": (inbox, 2)})
    refused("PB004", store.append, copies, {"source": (inbox, 2), "move": True})
    store.db.sql("SELECT pgbox.mailbox_delete(%d, %d, 'test')" % (account, doomed))
    refused("PB004", store.append, copies, {"source": (doomed, 1)})
    refused("PB002", store.append, doomed, {"source": (inbox, 1)})
    refused("PB008", store.append, copies, {"source": (inbox, 1), "uid": 4294967296})
    store.admin.sql("SELECT pgbox.account_set_quota('%s', 3, NULL)" % name)
    store.append(copies, {"source": (inbox, 1)})
    refused("PB011", store.append, copies, {"source": (inbox, 1)})
    # a move adds nothing
    store.append(copies, {"source": (inbox, 3), "move": True})
    eq((store.uids(inbox), store.uids(copies)), ([1], [1, 2]))


@with_store
def test_save_time(store):
    """A time that is given is kept; that of a clock which is wrong isn't."""
    inbox = store.account()[2]
    now = int(store.db.value("SELECT extract(epoch FROM clock_timestamp())::bigint"))
    for saved, least, most in ((1700000001, 1700000001, 1700000001), (now + 900000, now + 900000, now + 900000),
                               (-(now - 20), now - 20, now - 20), (-(now - 9000), now, now + 60),
                               (-(now + 9000), now, now + 60)):
        store.save(inbox, saved=saved)
        store.append(inbox, {"content": content(store), "saved": saved})
        for uid in store.db.sql("SELECT extract(epoch FROM saved_at)::bigint FROM pgbox.message"
                                " WHERE mailbox_id = %d ORDER BY uid DESC LIMIT 2" % inbox):
            eq(least <= int(uid[0]) <= most, True, "%d became %s" % (saved, uid[0]))


@with_store
def test_token_before_quota(store):
    """A delivery that is repeated is found out before the quota, which is used up by it."""
    inbox = store.account()[2]
    store.admin.sql("SELECT pgbox.account_set_quota(a.name, 1, NULL)"
                    " FROM pgbox.mailbox m JOIN pgbox.account a USING (account_id) WHERE m.mailbox_id = %d" % inbox)
    token = str(uuid.uuid4())
    store.save(inbox, token=token)
    refused("PB011", store.save, inbox)
    refused("23505", store.save, inbox, token=token)
    one = content(store)
    refused("PB011", store.append, inbox, {"content": one})
    refused("23505", store.append, inbox, {"content": one}, token=token)


def outcome(function):
    """What it returns, or its SQLSTATE."""
    try:
        return function()
    except SqlError as error:
        return error.state


@with_store
def test_preset_uids(store):
    inbox = store.account()[2]
    one = content(store)
    uids = lambda *wanted: store.append(inbox, *[{"content": one, "uid": uid} for uid in wanted])[2]
    eq(uids(10), [10])
    eq(uids(0), [11])
    # what isn't free, or isn't asked for, comes after the highest that is
    eq(uids(5, 30, 0, 20, 4000000000), [4000000001, 30, 4000000002, 20, 4000000000])
    refused("23505", uids, 4100000000, 4100000000)
    eq(uids(4294967294), [4294967294])
    refused("PB008", uids, 0, 0)
    eq(uids(0), [4294967295])
    refused("PB008", uids, 0)
    eq(store.counters(inbox)[0], 4294967296)


@with_store
def test_min_modseq(store):
    inbox = store.account()[2]
    eq(store.append(inbox, {"content": content(store)}, min_modseq=5 * STEP + 1), (STEP, 7 * STEP, [1]))
    eq(store.append(inbox, {"content": content(store)}, min_modseq=5), (7 * STEP, 8 * STEP, [2]))


@with_store
def test_what_is_kept(store):
    inbox = store.account()[2]
    guid = str(uuid.uuid4())
    store.append(inbox, {"content": content(store), "guid": guid, "uidl": "abc", "order": 7},
                 {"content": content(store)})
    eq(store.db.sql("SELECT uid, guid = '%s', extract(epoch FROM received_at)::bigint,"
                    " extract(epoch FROM saved_at)::bigint, pop3_uidl, pop3_order"
                    " FROM pgbox.message WHERE mailbox_id = %d ORDER BY uid" % (guid, inbox)),
       [["1", "t", "1700000000", "1700000001", "abc", "7"], ["2", "f", "1700000000", "1700000001", "", ""]])


@with_store
def test_copy(store):
    _, account, inbox = store.account()
    target = store.create(account, "target")
    for _ in range(3):
        store.save(inbox)
    bodies = store.db.value("SELECT count(*) FROM pgbox.content")
    before = store.counters(inbox)
    eq(store.append(target, {"source": (inbox, 3)}, {"source": (inbox, 1), "flags": SEEN, "keywords": "k"}),
       (STEP, 2 * STEP, [1, 2]))
    eq(store.counters(inbox), before, "the source")
    eq(store.db.value("SELECT count(*) FROM pgbox.content"), bodies, "contents are shared")
    eq(store.append(inbox, {"source": (inbox, 1)}, {"content": content(store)})[2], [4, 5], "onto itself, and mixed")
    refused("PB004", store.append, target, {"source": (inbox, 1)}, {"source": (inbox, 77)})
    refused("PB004", store.append, target, {})
    eq(store.uids(target), [1, 2], "all or nothing")


@with_store
def test_copy_takes_guid_and_date_of_its_source(store):
    _, account, inbox = store.account()
    target = store.create(account, "target")
    store.save(inbox)
    store.force("UPDATE pgbox.message SET received_at = to_timestamp(1234567890) WHERE mailbox_id = %d" % inbox)
    copy = append_sql(target, {"source": (inbox, 1), "guid": uuid.UUID(int=0), "received": -1}, {"source": (inbox, 1)})
    store.db.sql(copy)
    rows = store.db.sql("SELECT guid, extract(epoch FROM received_at)::bigint FROM pgbox.message"
                        " WHERE mailbox_id IN (%d, %d) ORDER BY mailbox_id, uid" % (inbox, target))
    eq(rows[1], rows[0])
    eq((rows[2][0] == rows[0][0], rows[2][1]), (False, "1700000000"))


@with_store
def test_copy_has_flags_of_its_source(store):
    """256 in the flags: those given are a guess."""
    _, account, inbox = store.account()
    target = store.create(account, "target")
    store.save(inbox, flags=8, keywords="Blue own")
    store.save(inbox)
    def differ(*messages):
        sql = append_sql(target, *messages).replace("uids FROM", "uids, differ FROM")
        return store.db.sql(sql)[0][3]
    eq(differ({"source": (inbox, 1), "flags": 256 + 8, "keywords": "OWN blue"},
              {"source": (inbox, 2), "flags": 256}), "f", "the guess was right")
    eq(differ({"source": (inbox, 1), "flags": 256 + 8, "keywords": "blue"}), "t", "a keyword")
    eq(differ({"source": (inbox, 2), "flags": 256, "move": True},
              {"source": (inbox, 1), "flags": 256 + 9, "keywords": "own Blue"}), "t", "a flag")
    eq(differ({"source": (inbox, 1), "flags": 4, "keywords": "chosen"}), "f", "chosen by the caller")
    eq(store.db.sql("SELECT uid, flags FROM pgbox.message_state WHERE mailbox_id = %d ORDER BY uid" % target),
       [["1", "8"], ["2", "0"], ["3", "8"], ["4", "0"], ["5", "8"], ["6", "4"]])
    eq([store.keywords(target, uid) for uid in range(1, 7)],
       [["Blue", "own"], [], ["Blue", "own"], [], ["Blue", "own"], ["chosen"]])
    eq(store.counters(target)[2:4], (6, 3))


@with_store
def test_move(store):
    _, account, inbox = store.account()
    second, target = store.create(account, "second"), store.create(account, "target")
    for _ in range(3):
        store.save(inbox)
        store.save(second)
    before = store.modseq(inbox), store.modseq(second)
    eq(store.append(target, {"source": (second, 1), "move": True}, {"source": (inbox, 2), "move": True},
                    {"source": (inbox, 3)})[2], [1, 2, 3])
    eq((store.uids(inbox), store.uids(second)), ([1, 3], [2, 3]))
    eq((store.modseq(inbox), store.modseq(second)), (before[0] + STEP, before[1] + STEP))
    eq(store.admin.sql("SELECT uid, moved_to FROM pgbox.expunged WHERE mailbox_id = %d" % second),
       [["1", str(target)]])
    refused("PB004", store.append, target, {"source": (inbox, 2), "move": True})
    # a move that fails moves nothing
    refused("PB004", store.append, target, {"source": (inbox, 1), "move": True}, {"source": (inbox, 99)})
    eq(store.uids(inbox), [1, 3])


@with_store
def test_move_within_a_mailbox(store):
    inbox = store.account()[2]
    store.save(inbox)
    store.save(inbox)
    eq(store.append(inbox, {"source": (inbox, 1), "move": True}), (3 * STEP, 4 * STEP, [3]))
    eq(store.uids(inbox), [2, 3])
    # a change of its own: who has seen that of the copy still gets it
    eq([row[:2] for row in store.pull(inbox, 4 * STEP)[2]], [["1", str(5 * STEP)]])


@with_store
def test_token_of_a_committed_transaction(store):
    inbox = store.account()[2]
    token = uuid.uuid4()
    prev, modseq, uids = store.save(inbox, token=token)
    for _ in range(2):
        eq(store.db.sql("SELECT prev_modseq, modseq, uids FROM pgbox.commit_claim('%s')" % token),
           [[str(prev), str(modseq), "{%d}" % uids[0]]])
    refused("23505", store.save, inbox, token=token)


@with_store
def test_token_that_was_claimed(store):
    inbox = store.account()[2]
    token = uuid.uuid4()
    for _ in range(2):
        eq(store.db.sql("SELECT modseq FROM pgbox.commit_claim('%s')" % token), [])
    refused("23505", store.save, inbox, token=token)
    eq(store.uids(inbox), [], "the writer comes too late")


@with_store
def test_large_body(store):
    """Chunks from the second on are put one by one, in one transaction."""
    inbox = store.account()[2]
    body = bytes(range(256)) * (3 * CHUNK // 256) + b"tail"
    store.db.sql("BEGIN")
    one = content(store, body)
    for number in range(1, 4):
        store.db.sql("SELECT pgbox.body_chunk_put(sha256(%s), %d, %s)" % (
            bytea(body), number, bytea(body[number * CHUNK:(number + 1) * CHUNK])))
    store.append(inbox, {"content": one})
    store.db.sql("COMMIT")
    parts = store.db.sql("SELECT encode(b.head, 'hex') FROM pgbox.content c JOIN pgbox.body b USING (body_id)"
                         " WHERE content_id = %d UNION ALL"
                         " (SELECT encode(h.data, 'hex') FROM pgbox.content c JOIN pgbox.body_chunk h USING (body_id)"
                         " WHERE content_id = %d ORDER BY h.number)" % (one, one))
    eq(bytes.fromhex("".join(part[0] for part in parts)) == body, True, "byte by byte")


def bytea(data):
    """An SQL constant."""
    return "'\\x%s'::bytea" % data.hex()


@with_store
def test_bytes_of_all_kinds(store):
    inbox = store.account()[2]
    for body in (bytes(range(256)), b"\0", b"\n", b"\r", b"\\x00", b"'\"\\", b"x" * CHUNK):
        uid = store.save(inbox, body)[2][0]
        eq(bytes.fromhex(store.db.value(
            "SELECT encode(b.head, 'hex') FROM pgbox.message m JOIN pgbox.content USING (content_id)"
            " JOIN pgbox.body b USING (body_id) WHERE mailbox_id = %d AND uid = %d" % (inbox, uid))), body)


@with_store
def test_rollback_leaves_nothing(store):
    inbox = store.account()[2]
    before = store.counters(inbox)
    body = uuid.uuid4().bytes
    store.db.sql("BEGIN; %s; ROLLBACK" % save_sql(inbox, body))
    eq(store.counters(inbox), before)
    eq(store.db.sql("SELECT 1 FROM pgbox.body WHERE digest = sha256(%s)" % bytea(body)), [])
    eq(store.save(inbox, body)[2], [1])


@with_store
def test_ten_thousand(store):
    _, account, inbox = store.account()
    target = store.create(account, "target")
    store.append(inbox, {"content": content(store)})
    copies = [{"source": (inbox, 1), "keywords": "k%d" % (n % 5)} for n in range(10000)]
    eq(len(store.append(inbox, *copies)[2]), 10000)
    uids = list(range(2, 10002))
    eq(len(store.store(inbox, uids, add=SEEN)[0]), 10000)
    eq(len(store.store(inbox, uids, keywords_add="k1")[0]), 8000)
    store.append(target, *[{"source": (inbox, uid), "move": True} for uid in uids])
    eq(store.uids(inbox), [1])
    store.expunge(target, list(range(1, 10001)))
    eq(store.counters(target)[2:], (0, 0, 0))
