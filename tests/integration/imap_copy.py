"""COPY and MOVE."""

from imapclient import Lit, flags_of, parse_set, quoted
from mails import MIXED, PLAIN, fill, simple
from tap import eq, has, only, timeout, true


def opened(lab, count=3, user=None):
    """A client with messages in INBOX and a second mailbox `box`."""
    c = lab.imap(user)
    fill(c, "INBOX", count)
    c.ok("CREATE box")
    c.ok("SELECT INBOX")
    return c


def copyuid(reply):
    """COPYUID as (validity, from, to); MOVE tells it in an untagged OK."""
    code = reply.code if reply.code and reply.code.startswith("COPYUID") else None
    args = code[8:] if code else reply.untagged_code("COPYUID")
    validity, source, target = args.split()
    return validity, parse_set(source), parse_set(target)


def items(client, mailbox):
    """[(uid, flags, internaldate, body)] of a mailbox."""
    client.ok("EXAMINE ", quoted(mailbox))
    got = client.ok("UID FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])").fetches()
    return [(int(got[n]["UID"]), flags_of(got[n]["FLAGS"]) - {"\\Recent"},
             got[n]["INTERNALDATE"], got[n]["BODY[]"]) for n in sorted(got)]


def test_copy(lab):
    """COPY keeps flags, keywords, date and bytes; the source stays."""
    c = opened(lab, 0)
    c.ok("APPEND INBOX (\\Seen k1) \"03-Mar-2003 03:03:03 +0000\" ", Lit(MIXED))
    c.ok("APPEND INBOX (\\Flagged K2) ", Lit(PLAIN))
    source = items(c, "INBOX")
    c.ok("SELECT INBOX")
    validity, from_uids, to_uids = copyuid(c.ok("COPY 1:2 box"))
    eq((from_uids, to_uids), ([1, 2], [1, 2]))
    eq(items(c, "box"), source)
    eq(items(c, "INBOX"), source)
    eq(c.ok("SELECT box").untagged_code("UIDVALIDITY"), validity)


def test_copy_pairs_uids(lab):
    """COPYUID pairs source and target even with holes."""
    c = opened(lab, 7)
    c.ok("STORE 2,4 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    c.ok("APPEND box ", Lit(PLAIN))
    reply = c.ok("UID COPY 3,5:7 box")
    eq(copyuid(reply)[1:], ([3, 5, 6, 7], [2, 3, 4, 5]))
    eq([row[3] for row in items(c, "box")],
       [PLAIN, simple(3), simple(5), simple(6), simple(7)])


def test_copy_missing(lab):
    """To a mailbox that isn't there: TRYCREATE; of nothing: OK."""
    c = opened(lab)
    eq(c.no("COPY 1 nowhere").code, "TRYCREATE")
    eq(c.no("MOVE 1 nowhere").code, "TRYCREATE")
    c.ok("UID COPY 99 box")
    c.bad("COPY 99 box")
    eq(c.ok("NOOP").expunged(), [])
    eq(items(c, "box"), [])


def test_copy_to_self(lab):
    """COPY into the selected mailbox."""
    c = opened(lab, 2)
    reply = c.ok("COPY 1:2 INBOX")
    eq(copyuid(reply)[1:], ([1, 2], [3, 4]))
    eq(reply.number("EXISTS"), 4)
    eq([row[3] for row in items(c, "INBOX")],
       [simple(1), simple(2), simple(1), simple(2)])


def test_move_to_self(lab):
    """MOVE into the selected mailbox gives new UIDs or nothing lost."""
    c = opened(lab, 2)
    c.ok("MOVE 1 INBOX")
    c.ok("NOOP")
    bodies = sorted(row[3] for row in items(c, "INBOX"))
    eq(bodies, [simple(1), simple(2)])


def test_copy_twice(lab):
    """The same message copied twice, in one command and in two."""
    c = opened(lab, 1)
    c.ok("COPY 1 box")
    c.ok("COPY 1,1 box")
    got = items(c, "box")
    eq([row[0] for row in got], [1, 2])
    eq({row[3] for row in got}, {simple(1)})


def test_move(lab):
    """MOVE: COPYUID, EXPUNGE, all kept; nothing \\Deleted anywhere."""
    c = opened(lab, 0)
    for n in range(1, 5):
        c.ok("APPEND INBOX (\\Seen kw%d) \"0%d-May-2015 00:00:00 +0000\" " % (n, n),
             Lit(simple(n)))
    before = items(c, "INBOX")
    c.ok("SELECT INBOX")
    reply = c.ok("MOVE 2:3 box")
    eq(copyuid(reply)[1:], ([2, 3], [1, 2]))
    eq(len(reply.expunged()), 2)
    eq(items(c, "INBOX"), [before[0], before[3]])
    eq([row[1:] for row in items(c, "box")], [row[1:] for row in before[1:3]])


def test_uid_move(lab):
    """UID MOVE with ranges and holes."""
    c = opened(lab, 6)
    c.ok("UID MOVE 1,3:4,50 box")
    c.ok("NOOP")
    eq(c.ok("UID SEARCH ALL").numbers(), [2, 5, 6])
    eq([row[3] for row in items(c, "box")], [simple(1), simple(3), simple(4)])


def test_move_of_deleted(lab):
    """MOVE leaves other \\Deleted messages where they are."""
    c = opened(lab, 3)
    c.ok("STORE 1:2 +FLAGS.SILENT (\\Deleted)")
    c.ok("MOVE 2 box")
    eq(c.ok("UID SEARCH ALL").numbers(), [1, 3])
    eq(items(c, "box")[0][1], {"\\Deleted"})


@timeout(90)
def test_move_many(lab):
    """1,000 messages in one MOVE, and back."""
    c = opened(lab, 1000)
    reply = c.ok("MOVE 1:* box")
    eq(copyuid(reply)[2], list(range(1, 1001)))
    eq(len(reply.expunged()), 1000)
    c.ok("SELECT box")
    c.ok("MOVE 1:* INBOX")
    c.ok("SELECT INBOX")
    eq(c.ok("UID SEARCH ALL").numbers(), list(range(1001, 2001)))
    got = c.ok("FETCH 1:* BODY.PEEK[]").fetches()
    true(all(got[n]["BODY[]"] == simple(n) for n in got), "bytes in order")


def test_copy_of_expunged(lab):
    """COPY of what another session has expunged never copies another."""
    user = lab.user()
    a = opened(lab, 3, user)
    b = lab.imap(user)
    b.ok("SELECT INBOX")
    b.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    b.ok("EXPUNGE")
    a.cmd("COPY 1:3 box")
    bodies = [row[3] for row in items(a, "box")]
    true(simple(1) in bodies or bodies == [], "all or nothing of what is left")
    true(set(bodies) <= {simple(1), simple(2), simple(3)}, "the right ones")


@only("pgbox")
def test_out_of_deleted_mailbox(lab):
    """COPY and MOVE by a session whose mailbox another one has deleted: what is
    answered NO has not been done."""
    for command in ("COPY 1:2 INBOX", "MOVE 1:2 INBOX"):
        user = lab.user()
        a = opened(lab, 2, user)
        a.ok("COPY 1:2 box")
        a.ok("SELECT box")
        b = lab.imap(user)
        b.ok("DELETE box")
        done = a.cmd(command).ok
        eq(len(items(b, "INBOX")), 4 if done else 2, command)


def test_copy_announces(lab):
    """A session in the target sees the copies."""
    user = lab.user()
    a = opened(lab, 2, user)
    b = lab.imap(user)
    b.ok("SELECT box")
    a.ok("COPY 1:2 box")
    eq(b.ok("NOOP").number("EXISTS"), 2)
    eq(b.ok("FETCH 2 BODY[]").fetches()[2]["BODY[]"], simple(2))


def test_copy_recent(lab):
    """Copies are \\Recent in the target."""
    c = opened(lab, 2)
    c.ok("COPY 1:2 box")
    eq(c.ok("SELECT box").number("RECENT"), 2)


def test_copy_guid(lab):
    """The copy's GUID is the source's, as sdbox has it; per message unique."""
    user = lab.user()
    c = opened(lab, 1, user)
    c.ok("COPY 1 box")
    node = lab.node()
    guids = [node.doveadm("fetch", "guid", "mailbox", name, user=user).stdout
             for name in ("INBOX", "box")]
    eq(guids[0], guids[1])


def test_copy_between_separate_users_refused(lab):
    """There is no way into another account by name."""
    c = opened(lab, 1)
    has("doesn't exist", c.no("COPY 1 Shared/other").text)
