"""What an index says is exactly the database's, whatever became of it before.

pgbox only. HIGHESTMODSEQ after a damage, after a process died in the middle of
a commit, and with indexes in memory; sessions whose tombstones were pruned;
\\Recent on two nodes."""

import glob
import os
import random

from cache_truth import Truth, check, expunge
from imapclient import flags_of, parse_set
from mails import fill
from tap import eq, only, timeout, true


def index_files(node, user, name):
    """The index files of that name of all of the user's mailboxes."""
    return glob.glob(os.path.join(node.index_dir(user), "*", "*", name))


def prune(lab, limit=1000):
    """Tombstones go, with what they keep; returns how many."""
    lab.cluster.psql("UPDATE pgbox.store SET retention = '0'")
    lab.cluster.psql("SELECT * FROM pgbox.purge(10000)")
    lab.cluster.psql("UPDATE pgbox.store SET retention = '14 days'")
    return int(lab.cluster.value("SELECT tombstones FROM pgbox.tombstone_prune(now(), %d)" % limit))


def vanished(reply, earlier=False):
    """UIDs that VANISHED tells, EARLIER or not."""
    return {uid for item in reply.all("VANISHED") for uid in parse_set(item.data[-1])
            if (item.data[0] == [b"EARLIER"]) == earlier}


@only("pgbox")
def test_highest_after_rebuild(lab):
    """An index that is made anew in place, over a log that was current."""
    user = lab.user()
    client = lab.imap(user)
    fill(client, "INBOX", 5)
    client.ok("SELECT INBOX")
    for number in range(5):
        client.ok("STORE 1:5 +FLAGS.SILENT (k%d)" % number)
    check(lab, client, user)
    client.logout()
    lab.cluster.psql("UPDATE pgbox.store SET epoch = epoch + 1")
    for _ in range(2):
        client = lab.imap(user)
        check(lab, client, user)
        client.logout()


def raise_log(lab, user, records):
    """The log as a process leaves it that dies between raising it and writing its
    changes: the database has a change, the log only the modseq before it."""
    truth = Truth(lab, user)
    lab.cluster.psql("SELECT pgbox.message_store(%s, NULL, '{1,2}', '{0,0}', '{8}', '{0}', '{a b c d}',"
                     " '{\"\"}', '{f}')" % truth.mailbox_id)
    modseq = truth.highest + 65536 - records
    record = modseq.to_bytes(8, "little")
    path, = index_files(lab.node(), user, "dovecot.index.log")
    size = 8 + 12
    # MAIL_TRANSACTION_MODSEQ_UPDATE | MAIL_TRANSACTION_EXTERNAL; the size as
    # lib-index writes it, seven bits a byte
    offset = size >> 2
    packed = bytes((0x80 | (offset >> 21) & 0x7f, 0x80 | (offset >> 14) & 0x7f,
                    0x80 | (offset >> 7) & 0x7f, 0x80 | offset & 0x7f))
    with open(path, "ab") as log:
        log.write(packed + (0x10008000).to_bytes(4, "little") + bytes(4) + record)


@only("pgbox")
def test_highest_after_crash(lab):
    """The log is above last_synced, with less room than a pull needs."""
    user = lab.user()
    client = lab.imap(user)
    fill(client, "INBOX", 5)
    client.ok("SELECT INBOX")
    client.ok("STORE 3:5 +FLAGS.SILENT (z y x)")
    check(lab, client, user)
    client.logout()
    raise_log(lab, user, 1)
    for _ in range(2):
        client = lab.imap(user)
        check(lab, client, user)
        client.logout()


@only("pgbox")
def test_index_in_memory(lab):
    """Modseqs are permanent there, too, and a client resynchronises."""
    node = lab.node("memory", location=":INDEX=MEMORY")
    user = lab.user()
    a, b = lab.imap(user), lab.imap(user, node)
    fill(a, "INBOX", 8)
    b.ok("ENABLE QRESYNC")
    before = check(lab, b, user)
    b.ok("UNSELECT")
    a.ok("SELECT INBOX")
    expunge(a, "2,4")
    a.ok("STORE 1 +FLAGS (kw)")
    reply = b.ok("SELECT INBOX (QRESYNC (%d %d 1:8))" % (before.validity, before.highest))
    eq(vanished(reply, True), {2, 4})
    eq([int(item["UID"]) for item in reply.fetches().values()], [1])
    check(lab, b, user)
    b.ok("STORE 1:3 +FLAGS (own)")
    expunge(b, "8")
    for client in (a, b):
        check(lab, client, user)


@only("pgbox")
def test_pruned_under_a_session(lab):
    """An open session follows though the tombstones that it needs are gone; so
    does who comes with what he knew from another node."""
    user = lab.user()
    second = lab.node("second")
    a, b, c = lab.imap(user), lab.imap(user), lab.imap(user, second)
    for client in (a, b, c):
        client.ok("ENABLE QRESYNC")
    fill(c, "INBOX", 6)
    for client in (a, b, c):
        client.ok("SELECT INBOX")
    expunge(c, "2,3")
    fill(c, "INBOX", 3)
    c.ok("STORE 1 +FLAGS (kw)")
    # another client of the second node knows 7 to 9, then two of them go
    known = check(lab, c, user)
    expunge(c, "7,8")
    true(prune(lab) > 0, "pruned")
    eq(vanished(a.ok("NOOP")), {2, 3}, "what this session knew")
    eq(sorted(check(lab, a, user).rows), [1, 4, 5, 6, 9])
    b.ok("UID STORE 2,5 +FLAGS (late)")
    check(lab, b, user)
    reply = b.ok("SELECT INBOX (QRESYNC (%d %d 1,4:9))" % (known.validity, known.highest))
    eq(vanished(reply, True), {7, 8}, "what another node had shown")
    lab.node().assert_log_clean()


@only("pgbox")
def test_pruned_at_commit(lab):
    """The same, noticed when a session changes or adds something itself."""
    user = lab.user()
    a, c = lab.imap(user), lab.imap(user, lab.node("second"))
    fill(c, "INBOX", 9)
    for command in ("UID STORE 8 +FLAGS (mine)", "UID COPY 8 INBOX", "UID MOVE 9 INBOX",
                    "UID EXPUNGE 7"):
        a.ok("SELECT INBOX")
        a.ok("UID STORE 7 +FLAGS (\\Deleted)")
        c.ok("SELECT INBOX")
        expunge(c, str(min(Truth(lab, user).rows)))
        true(prune(lab) > 0, "pruned")
        a.ok(command)
        a.ok("NOOP")
        true("open the mailbox again" not in lab.node().log_since_mark(), command)
        for client in (a, c):
            check(lab, client, user)


@only("pgbox")
def test_resync_compares_without_tombstones(lab):
    """force-resync tells what came and went meanwhile, too."""
    user = lab.user()
    a, c = lab.imap(user), lab.imap(user, lab.node("second"))
    fill(a, "INBOX", 3)
    a.ok("SELECT INBOX")
    a.ok("UNSELECT")
    fill(c, "INBOX", 3)
    c.ok("SELECT INBOX")
    known = Truth(lab, user)
    expunge(c, "5")
    lab.node().doveadm("force-resync", "INBOX", user=user)
    a.ok("ENABLE QRESYNC")
    reply = a.ok("SELECT INBOX (QRESYNC (%d %d 1:6))" % (known.validity, known.highest))
    eq(vanished(reply, True), {5})
    check(lab, a, user)


@only("pgbox")
@timeout(120)
def test_recent_once(lab):
    """Each message is \\Recent in exactly one session, on whatever node."""
    user = lab.user()
    nodes = (lab.node(), lab.node("second"), lab.node("memory", location=":INDEX=MEMORY"))
    rng = random.Random(3)
    sender = lab.imap(user)
    seen = []
    idlers = []
    for node in nodes[:2]:
        client = lab.imap(user, node)
        client.ok("SELECT INBOX")
        idlers.append((client, client.idle()))
    total = 0
    for _ in range(12):
        fill(sender, "INBOX", 2)
        total += 2
        viewer = lab.imap(user, rng.choice(nodes))
        viewer.ok("EXAMINE INBOX")
        sessions = [lab.imap(user, rng.choice(nodes)) for _ in range(3)]
        # all at once
        tags = [client.send("SELECT INBOX") for client in sessions]
        for client, tag in zip(sessions, tags):
            eq(client.finish(tag).status, "OK")
        for client in sessions:
            seen += recent(client)
        for client in sessions + [viewer]:
            client.close()
    for client, tag in idlers:
        client.done(tag)
        seen += recent(client)
    eq(sorted(seen), list(range(1, total + 1)))


def recent(client):
    """UIDs that are \\Recent here."""
    return [int(item["UID"]) for item in client.ok("UID FETCH 1:* (FLAGS)").fetches().values()
            if "\\Recent" in flags_of(item["FLAGS"])]
