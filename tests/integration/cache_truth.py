"""The local index is a cache: it may go at any time, and nothing is lost.

pgbox only. `Truth` is what PostgreSQL says, read by plain SQL; each session
on each node has to say the same."""

import os
import random
import shutil

from imapclient import Lit, flags_of, parse_set
from mails import MIXED, PLAIN, fill, simple
from tap import eq, has, only, timeout, true

STEP = 65536
FLAG_BITS = {1: "\\Answered", 2: "\\Flagged", 4: "\\Deleted", 8: "\\Seen", 16: "\\Draft"}
ROWS = """
SELECT m.uid, greatest(s.modseq, c.message_floor), s.flags, m.guid,
       coalesce((SELECT string_agg(k.name, ' ' ORDER BY k.name)
                   FROM pgbox.mailbox_keyword k
                  WHERE k.mailbox_id = m.mailbox_id AND k.number = ANY (s.keywords)), ''),
       to_char(m.received_at AT TIME ZONE 'UTC', 'DD-Mon-YYYY HH24:MI:SS')
  FROM pgbox.message m JOIN pgbox.message_state s USING (mailbox_id, uid)
  JOIN pgbox.mailbox_counter c USING (mailbox_id)
 WHERE m.mailbox_id = %s ORDER BY m.uid
"""
MAILBOX = """
SELECT b.mailbox_id, b.uidvalidity, c.uid_next, c.highest_modseq, c.messages, c.unseen
  FROM pgbox.mailbox b JOIN pgbox.account a USING (account_id)
  JOIN pgbox.mailbox_counter c USING (mailbox_id)
 WHERE a.name = '%s' AND b.name = '%s' AND b.deleted_at IS NULL
"""


class Truth:
    """A mailbox as PostgreSQL has it."""

    def __init__(self, lab, user, mailbox="INBOX"):
        row, = lab.cluster.psql(MAILBOX % (user, mailbox))
        self.mailbox_id = row[0]
        self.validity, self.uid_next, self.highest, self.messages, self.unseen = (
            int(word) for word in row[1:])
        self.rows = {}
        for uid, modseq, flags, guid, keywords, received in lab.cluster.psql(ROWS % row[0]):
            names = {name for bit, name in FLAG_BITS.items() if int(flags) & bit}
            names |= set(keywords.split())
            self.rows[int(uid)] = (int(modseq), names, received)


def picture(client, mailbox="INBOX"):
    """The same as an IMAP session sees it, in the form of Truth.rows."""
    reply = client.ok("SELECT ", mailbox, " (CONDSTORE)")
    got = client.ok("UID FETCH 1:* (FLAGS INTERNALDATE MODSEQ)").fetches()
    rows = {}
    for item in got.values():
        date = item["INTERNALDATE"].decode().strip()
        true(date.endswith("+0000"), "the lab runs in UTC: " + date)
        rows[int(item["UID"])] = (int(item["MODSEQ"][0]),
                                  flags_of(item["FLAGS"]) - {"\\Recent"}, date[:-6])
    return reply, rows


def check(lab, client, user, mailbox="INBOX"):
    """The session agrees with the database in every fact."""
    reply, rows = picture(client, mailbox)
    truth = Truth(lab, user, mailbox)
    eq(rows, truth.rows, mailbox)
    eq(int(reply.untagged_code("UIDVALIDITY")), truth.validity)
    eq(int(reply.untagged_code("UIDNEXT")), truth.uid_next)
    eq(int(reply.untagged_code("HIGHESTMODSEQ")), truth.highest)
    eq(reply.number("EXISTS"), truth.messages)
    eq(len(client.ok("SEARCH UNSEEN").numbers()), truth.unseen)
    return truth


def second(lab):
    """A second node on the same database, with an index folder of its own."""
    return lab.node("second")


def lived_in(lab, user, count=40):
    """A session whose mailbox has a history: changes, expunges, moves."""
    c = lab.imap(user)
    fill(c, "INBOX", count)
    c.ok("CREATE box")
    c.ok("SELECT INBOX")
    c.ok("STORE 1:10 +FLAGS.SILENT (\\Seen $Label1)")
    c.ok("STORE 5:15 +FLAGS.SILENT (\\Flagged own)")
    c.ok("STORE 3,20 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    c.ok("MOVE 10:14 box")
    c.ok("COPY 1:3 box")
    c.ok("APPEND INBOX (\\Draft) \"07-Jul-2007 07:07:07 +0200\" ", Lit(MIXED))
    c.ok("UNSELECT")
    return c


@only("pgbox")
def test_session_equals_database(lab):
    """One node, warm index."""
    user = lab.user()
    c = lived_in(lab, user)
    for mailbox in ("INBOX", "box"):
        check(lab, c, user, mailbox)


@only("pgbox")
def test_second_node(lab):
    """A node that never saw the mailbox says the same."""
    user = lab.user()
    lived_in(lab, user)
    c = lab.imap(user, second(lab))
    for mailbox in ("INBOX", "box"):
        check(lab, c, user, mailbox)
    eq(sorted(item.data[2] for item in c.ok('LIST "" *').all("LIST")),
       [b"INBOX", b"box"])


@only("pgbox")
def test_guids_on_both_nodes(lab):
    """Message and mailbox GUIDs are the database's."""
    user = lab.user()
    lived_in(lab, user)
    args = ("fetch", "uid guid mailbox-guid", "mailbox", "INBOX")
    one = lab.node().doveadm(*args, user=user).stdout
    two = second(lab).doveadm(*args, user=user).stdout
    eq(one, two)
    guids = {row[3].replace("-", "") for row in
             lab.cluster.psql(ROWS % Truth(lab, user).mailbox_id)}
    eq({line.split()[1].decode() for line in one.splitlines()
        if line.startswith(b"guid:")}, guids)


@only("pgbox")
def test_index_deleted_closed(lab):
    """rm -rf of the whole index folder while no session is open."""
    user = lab.user()
    c = lived_in(lab, user)
    check(lab, c, user)
    c.logout()
    shutil.rmtree(lab.node().index_dir(user))
    c = lab.imap(user)
    for mailbox in ("INBOX", "box"):
        check(lab, c, user, mailbox)


def wipe(lab, user, node=None):
    """rm -rf of the user's index folder, as an administrator may do."""
    shutil.rmtree((node or lab.node()).index_dir(user), ignore_errors=True)


@only("pgbox")
@timeout(120)
def test_index_deleted_open(lab):
    """rm -rf under an open session, after each kind of command."""
    user = lab.user()
    c = lived_in(lab, user)
    c.ok("SELECT INBOX")
    for command in ("NOOP", "FETCH 1:* (FLAGS)", "STORE 1:5 +FLAGS (later)",
                    "FETCH 1:* (UID BODY.PEEK[])", "COPY 1:2 box", "SEARCH BODY message",
                    "STORE 2 +FLAGS (\\Deleted)", "EXPUNGE", "MOVE 1 box", "CHECK"):
        wipe(lab, user)
        lab.node().expect_log("Error: ")
        try:
            reply = c.cmd(command)
            true(reply.status != "BAD", command)
        except Exception:
            c = lab.imap(user)
            c.ok("SELECT INBOX")
    fresh = lab.imap(user)
    for mailbox in ("INBOX", "box"):
        check(lab, fresh, user, mailbox)


@only("pgbox")
@timeout(120)
def test_index_files_deleted_one_by_one(lab):
    """Any single file of the index may go, or be cut, or begin with rubbish."""
    user = lab.user()
    c = lived_in(lab, user)
    check(lab, c, user)
    c.logout()
    rng = random.Random(5)
    for turn in range(12):
        lab.node().expect_log("Error: ")
        damage(rng, lab.node().index_dir(user), turn % 3)
        c = lab.imap(user)
        if turn % 3 > 0:
            # Dovecot may refuse one SELECT while it marks a file as corrupted.
            c.cmd("SELECT INBOX")
            c = lab.imap(user)
        check(lab, c, user)
        c.ok("STORE 1 +FLAGS.SILENT (turn%d)" % turn)
        c.ok("APPEND INBOX ", Lit(simple(turn)))
        check(lab, c, user)
        c.logout()


def damage(rng, folder, how):
    """Delete one file below the folder, cut it, or scribble over its head.

    Not over its middle, nor is the cache file cut: Dovecot has no checksum that
    could tell a wrong date in there."""
    files = sorted(os.path.join(where, name) for where, _, names in os.walk(folder)
                   for name in names if how != 1 or not name.endswith(".cache"))
    victim = rng.choice(files)
    if how == 0:
        os.remove(victim)
        return
    with open(victim, "r+b") as handle:
        if how == 1:
            handle.truncate(os.path.getsize(victim) // 2)
        else:
            handle.write(bytes(rng.randrange(256) for _ in range(64)))


@only("pgbox")
def test_index_half_lost(lab):
    """Messages are missing in the index: lib-index drops them, we get them back."""
    user = lab.user()
    c = lab.imap(user)
    fill(c, "INBOX", 300)
    c.ok("SELECT INBOX")
    # enough for lib-index to write the index file, not just the log
    for number in range(30):
        c.ok("STORE 1:* +FLAGS.SILENT (k%d)" % number)
    check(lab, c, user)
    c.logout()
    for where, _, names in os.walk(lab.node().index_dir(user)):
        if "dovecot.index" in names:
            path = os.path.join(where, "dovecot.index")
            os.truncate(path, os.path.getsize(path) * 2 // 3)
    lab.node().expect_log("Error: .*index file")
    for _ in range(2):
        eq(picture(lab.imap(user), "INBOX")[1], Truth(lab, user).rows)
    has("fscking", lab.node().log_since_mark())


@only("pgbox")
@timeout(180)
def test_two_nodes_alternate(lab):
    """Changes from both nodes in turn: both agree with the database each time."""
    user = lab.user()
    a = lived_in(lab, user)
    b = lab.imap(user, second(lab))
    rng = random.Random(11)
    for turn in range(30):
        c = rng.choice((a, b))
        c.ok("SELECT INBOX")
        if c.ok("SEARCH ALL").numbers() == []:
            fill(c, "INBOX", 20)
        uids = c.ok("UID SEARCH ALL").numbers()
        some = ",".join(str(uid) for uid in sorted(rng.sample(uids, min(4, len(uids)))))
        rng.choice((
            lambda: c.ok("UID STORE %s +FLAGS.SILENT (k%d \\Seen)" % (some, turn % 5)),
            lambda: c.ok("UID STORE %s -FLAGS.SILENT (k1 \\Seen)" % some),
            lambda: c.ok("APPEND INBOX (\\Answered) ", Lit(simple(turn))),
            lambda: c.ok("UID COPY %s INBOX" % some),
            lambda: expunge(c, some),
            lambda: c.ok("UID MOVE %s box" % some)))()
        if rng.random() < 0.2:
            wipe(lab, user, rng.choice((lab.node(), second(lab))))
            lab.node().expect_log("Error: ")
            second(lab).expect_log("Error: ")
            a, b = lab.imap(user), lab.imap(user, second(lab))
        for client in (a, b):
            check(lab, client, user)
            check(lab, client, user, "box")


def expunge(client, uids):
    """Expunge the messages."""
    client.ok("UID STORE %s +FLAGS.SILENT (\\Deleted)" % uids)
    client.ok("UID EXPUNGE " + uids)


@only("pgbox")
def test_open_sessions_on_two_nodes(lab):
    """An open session on node B follows what happens on node A."""
    user = lab.user()
    a, b = lab.imap(user), lab.imap(user, second(lab))
    fill(a, "INBOX", 5)
    a.ok("SELECT INBOX")
    b.ok("SELECT INBOX")
    a.ok("STORE 2 +FLAGS (\\Seen kw)")
    reply = b.ok("NOOP")
    eq(flags_of(reply.fetches()[2]["FLAGS"]) - {"\\Recent"}, {"\\Seen", "kw"})
    a.ok("STORE 1 +FLAGS (\\Deleted)")
    a.ok("EXPUNGE")
    eq(b.ok("NOOP").expunged(), [1])
    a.ok("APPEND INBOX ", Lit(PLAIN))
    eq(b.ok("NOOP").number("EXISTS"), 5)
    eq(b.ok("FETCH 5 BODY.PEEK[]").fetches()[5]["BODY[]"], PLAIN)


@only("pgbox")
def test_modseq_of_flags_that_came_and_went(lab):
    """Flags and keywords that were set and unset on node A between two looks of
    node B: sessions with CONDSTORE hear of the modseq, others of nothing."""
    user = lab.user()
    a, b, plain = lab.imap(user), lab.imap(user, second(lab)), lab.imap(user, second(lab))
    fill(a, "INBOX", 4)
    a.ok("SELECT INBOX")
    b.ok("SELECT INBOX (CONDSTORE)")
    plain.ok("SELECT INBOX")
    # with an expunge in the same pull, and without
    for last in ("NOOP", "EXPUNGE"):
        for flag in ("\\Seen", "word"):
            a.ok("STORE 2 +FLAGS (%s)" % flag)
            a.ok("STORE 2 -FLAGS (%s)" % flag)
        a.ok("STORE 4 +FLAGS (\\Deleted)")
        a.ok(last)
        a.ok("STORE 3 +FLAGS (\\Seen)")
        a.ok("STORE 3 -FLAGS (\\Seen)")
        truth = Truth(lab, user)
        got = b.ok("NOOP").fetches()
        for number in (2, 3):
            eq(int(got[number]["MODSEQ"][0]), truth.rows[number][0], "message %d" % number)
        true(not {2, 3} & set(plain.ok("NOOP").fetches()), "there is nothing to tell")
    check(lab, b, user)


@only("pgbox")
def test_search_size_and_body(lab):
    """A search that needs the size of some messages, which the cache doesn't
    have, and the bodies of others before and behind them."""
    user = lab.user()
    fill(lab.imap(user), "INBOX", 12)
    c = lab.imap(user, second(lab))
    c.ok("SELECT INBOX")
    eq(c.ok('SEARCH OR UID 1:3,6:12 SMALLER 9999 BODY "of message 1"').numbers(), [1, 10, 11, 12])


@only("pgbox")
def test_rename_and_delete_on_other_node(lab):
    """Names are the database's too."""
    user = lab.user()
    a, b = lab.imap(user), lab.imap(user, second(lab))
    a.ok("CREATE one/two")
    a.ok("APPEND one/two ", Lit(PLAIN))
    eq(b.ok("SELECT one/two").number("EXISTS"), 1)
    b.ok("UNSELECT")
    a.ok("RENAME one uno")
    b.no("SELECT one/two")
    eq(b.ok("SELECT uno/two").number("EXISTS"), 1)
    a.ok("SUBSCRIBE uno/two")
    eq([item.data[2] for item in b.ok('LSUB "" *').all("LSUB")], [b"uno/two"])


@only("pgbox")
def test_qresync_after_index_loss(lab):
    """A client that resyncs against a new index misses no expunge.

    It may be told of more than happened (a superset of VANISHED), never of
    a message that is there, never too little."""
    user = lab.user()
    c = lab.imap(user)
    fill(c, "INBOX", 30)
    c.ok("SELECT INBOX (CONDSTORE)")
    truth = Truth(lab, user)
    gone = {3, 4, 9, 30}
    expunge(c, "3,4,9,30")
    c.ok("UID STORE 7 +FLAGS.SILENT (\\Flagged)")
    for node in (lab.node(), second(lab)):
        wipe(lab, user, node)
        lab.node().expect_log("Error: ")
        d = lab.imap(user, node)
        d.ok("ENABLE QRESYNC")
        reply = d.ok("SELECT INBOX (QRESYNC (%d %d 1:30))" % (truth.validity, truth.highest))
        told = {uid for item in reply.all("VANISHED") for uid in parse_set(item.data[-1])}
        true(gone <= told, "told: %r" % told)
        eq(told & set(Truth(lab, user).rows), set(), "nothing that is there")
        has(7, [int(item["UID"]) for item in reply.fetches().values()])


@only("pgbox")
def test_modseqs_are_steps(lab):
    """Modseqs are the database's: multiples of the step, the same for one change."""
    user = lab.user()
    lived_in(lab, user)
    truth = Truth(lab, user)
    eq({modseq % STEP for modseq, _, _ in truth.rows.values()}, {0})
    eq(truth.highest % STEP, 0)
    true(max(modseq for modseq, _, _ in truth.rows.values()) <= truth.highest, "highest")


@only("pgbox")
def test_direct_sql(lab):
    """What Dovecot did, seen by psql; counters equal rows."""
    user = lab.user()
    lived_in(lab, user)
    eq(lab.cluster.verify(), "")
    text = lab.cluster.value(
        "SELECT count(*) FROM pgbox.expunged e JOIN pgbox.mailbox b USING (mailbox_id) "
        "JOIN pgbox.account a USING (account_id) WHERE a.name = '%s'" % user)
    eq(int(text), 2 + 5, "tombstones of EXPUNGE and MOVE")
