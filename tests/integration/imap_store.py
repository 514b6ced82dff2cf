"""STORE, EXPUNGE, CLOSE, UNSELECT."""

from imapclient import Lit, flags_of, parse_set
from mails import PLAIN, fill, simple
from tap import eq, has, true, timeout


def opened(lab, count, user=None):
    """A client with so many messages in its selected INBOX."""
    c = lab.imap(user)
    fill(c, "INBOX", count)
    c.ok("SELECT INBOX")
    return c


def flags(client, seq):
    """A message's flags without \\Recent."""
    return flags_of(client.ok("FETCH %d FLAGS" % seq).fetches()[seq]["FLAGS"]) - {"\\Recent"}


def test_store_forms(lab):
    """FLAGS, +FLAGS, -FLAGS with the untagged FETCH."""
    c = opened(lab, 2)
    got = c.ok("STORE 1 FLAGS (\\Seen \\Flagged k1)").fetches()
    eq(flags_of(got[1]["FLAGS"]) - {"\\Recent"}, {"\\Seen", "\\Flagged", "k1"})
    got = c.ok("STORE 1 +FLAGS (\\Answered k2)").fetches()
    eq(flags_of(got[1]["FLAGS"]) - {"\\Recent"},
       {"\\Seen", "\\Flagged", "k1", "\\Answered", "k2"})
    got = c.ok("STORE 1 -FLAGS (\\Seen k1 nosuch)").fetches()
    eq(flags_of(got[1]["FLAGS"]) - {"\\Recent"}, {"\\Flagged", "\\Answered", "k2"})
    c.ok("STORE 1 FLAGS ()")
    eq(flags(c, 1), set())
    eq(flags(c, 2), set())
    c.ok("STORE 1:2 +FLAGS \\Draft")
    eq((flags(c, 1), flags(c, 2)), ({"\\Draft"}, {"\\Draft"}))


def test_store_silent(lab):
    """.SILENT has no untagged FETCH, and the change is there."""
    c = opened(lab, 3)
    for form, wanted in (("FLAGS.SILENT (\\Seen k1)", {"\\Seen", "k1"}),
                         ("+FLAGS.SILENT (\\Draft)", {"\\Seen", "k1", "\\Draft"}),
                         ("-FLAGS.SILENT (\\Seen)", {"k1", "\\Draft"})):
        eq(c.ok("STORE 1:3 " + form).all("FETCH"), [], form)
        eq(c.ok("NOOP").all("FETCH"), [], "nor later")
        eq([flags(c, n) for n in (1, 2, 3)], [wanted] * 3, form)


def test_store_every_system_flag(lab):
    """Each flag by itself, set, searched and cleared."""
    c = opened(lab, 2)
    for name in ("Answered", "Flagged", "Deleted", "Seen", "Draft"):
        c.ok("STORE 2 +FLAGS.SILENT (\\%s)" % name)
        eq(flags(c, 2), {"\\" + name})
        eq(c.ok("SEARCH " + name.upper()).numbers(), [2])
        eq(c.ok("SEARCH UN" + name.upper()).numbers(), [1])
        c.ok("STORE 2 -FLAGS.SILENT (\\%s)" % name)


def test_store_refused(lab):
    """\\Recent and unknown system flags can't be stored."""
    c = opened(lab, 1)
    c.bad("STORE 1 +FLAGS (\\Bogus)")
    c.bad("STORE 5 +FLAGS (\\Seen)")
    eq(flags(c, 1), set())
    eq(c.ok("UID STORE 77 +FLAGS (\\Seen)").fetches(), {})


def test_uid_store(lab):
    """UID STORE, and its untagged FETCH has the UID."""
    c = opened(lab, 4)
    c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    got = c.ok("UID STORE 3:4 +FLAGS (\\Flagged)").fetches()
    eq({seq: item["UID"] for seq, item in got.items()}, {2: b"3", 3: b"4"})
    eq(flags(c, 1), set())


def test_store_many(lab):
    """One STORE over 2,000 messages, then over every other one."""
    c = opened(lab, 2000)
    eq(len(c.ok("STORE 1:* +FLAGS (\\Seen)").fetches()), 2000)
    odd = ",".join(str(n) for n in range(1, 2001, 2))
    c.ok("STORE %s +FLAGS.SILENT (k1 \\Flagged)" % odd)
    eq(c.ok("SEARCH KEYWORD k1").numbers(), list(range(1, 2001, 2)))
    eq(len(c.ok("SEARCH FLAGGED SEEN").numbers()), 1000)


def test_store_other_session(lab):
    """Two sessions: deltas add up, and each is told."""
    user = lab.user()
    a = opened(lab, 2, user)
    b = lab.imap(user)
    b.ok("SELECT INBOX")
    a.ok("STORE 1 +FLAGS (\\Seen)")
    b.ok("STORE 1 +FLAGS.SILENT (\\Flagged)")
    a.ok("NOOP")
    b.ok("NOOP")
    eq(flags(a, 1), {"\\Seen", "\\Flagged"})
    eq(flags(b, 1), {"\\Seen", "\\Flagged"})
    b.ok("STORE 1 +FLAGS (shared)")
    reply = a.ok("NOOP")
    has("shared", flags_of(reply.fetches()[1]["FLAGS"]))
    has("shared", flags_of(reply.one("FLAGS")[0]), "the new keyword is announced")


def test_unchangedsince(lab):
    """UNCHANGEDSINCE: what failed is in MODIFIED, the rest is done."""
    c = opened(lab, 3)
    c.ok("ENABLE CONDSTORE")
    base = max(int(item["MODSEQ"][0]) for item in
               c.ok("FETCH 1:3 MODSEQ").fetches().values())
    c.ok("STORE 2 +FLAGS (\\Flagged)")
    reply = c.ok("STORE 1:3 (UNCHANGEDSINCE %d) +FLAGS (\\Seen)" % base)
    eq(reply.code, "MODIFIED 2")
    eq([sorted(flags(c, n)) for n in (1, 2, 3)], [["\\Seen"], ["\\Flagged"], ["\\Seen"]])
    true(all(int(item["MODSEQ"][0]) > base for seq, item in reply.fetches().items()
             if seq != 2), "MODSEQ grows")
    reply = c.ok("UID STORE 1:3 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\\Answered)" % base)
    eq(parse_set(reply.code.split()[1]), [1, 2, 3])
    eq([sorted(flags(c, n)) for n in (1, 2, 3)], [["\\Seen"], ["\\Flagged"], ["\\Seen"]])


def test_unchangedsince_zero(lab):
    """UNCHANGEDSINCE 0 changes nothing."""
    c = opened(lab, 1)
    reply = c.ok("STORE 1 (UNCHANGEDSINCE 0) +FLAGS (\\Seen)")
    eq(reply.code, "MODIFIED 1")
    eq(flags(c, 1), set())


def test_unchangedsince_silent_has_modseq(lab):
    """With CONDSTORE a .SILENT store still tells the new MODSEQ, not the flags."""
    c = opened(lab, 1)
    base = int(c.ok("FETCH 1 MODSEQ").fetches()[1]["MODSEQ"][0])
    got = c.ok("STORE 1 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\\Seen)" % base).fetches()
    true(int(got[1]["MODSEQ"][0]) > base, "MODSEQ")
    true("FLAGS" not in got[1], "no FLAGS with .SILENT")


def test_unchangedsince_two_sessions(lab):
    """Of two sessions with the same knowledge one wins."""
    user = lab.user()
    a = opened(lab, 1, user)
    b = lab.imap(user)
    b.ok("SELECT INBOX (CONDSTORE)")
    base = int(a.ok("FETCH 1 MODSEQ").fetches()[1]["MODSEQ"][0])
    a.ok("STORE 1 (UNCHANGEDSINCE %d) +FLAGS.SILENT (winner)" % base)
    reply = b.ok("STORE 1 (UNCHANGEDSINCE %d) +FLAGS.SILENT (loser)" % base)
    eq(reply.code, "MODIFIED 1")
    eq(flags(b, 1), {"winner"})


def test_store_nothing_changes(lab):
    """A STORE that changes nothing leaves HIGHESTMODSEQ alone."""
    c = opened(lab, 2)
    c.ok("ENABLE CONDSTORE")
    c.ok("STORE 1 +FLAGS.SILENT (\\Seen)")
    before = c.ok("STATUS INBOX (HIGHESTMODSEQ)").one("STATUS")[1]
    c.ok("STORE 1 +FLAGS.SILENT (\\Seen)")
    c.ok("STORE 1 -FLAGS.SILENT (\\Draft)")
    eq(c.ok("STATUS INBOX (HIGHESTMODSEQ)").one("STATUS")[1], before)


def test_expunge(lab):
    """EXPUNGE: sequence numbers as they fall, the rest stays."""
    c = opened(lab, 6)
    c.ok("STORE 2,3,6 +FLAGS.SILENT (\\Deleted)")
    gone = c.ok("EXPUNGE").expunged()
    left = list(range(1, 7))
    for seq in gone:
        left.pop(seq - 1)
    eq(left, [1, 4, 5])
    eq(c.ok("UID SEARCH ALL").numbers(), [1, 4, 5])
    eq(c.ok("FETCH 2 BODY[]").fetches()[2]["BODY[]"], simple(4))
    eq(c.ok("EXPUNGE").expunged(), [])


def test_uid_expunge(lab):
    """UID EXPUNGE takes what is named and \\Deleted, no more."""
    c = opened(lab, 5)
    c.ok("STORE 1,3,5 +FLAGS.SILENT (\\Deleted)")
    c.ok("UID EXPUNGE 2:4")
    eq(c.ok("UID SEARCH ALL").numbers(), [1, 2, 4, 5])
    eq(c.ok("SEARCH DELETED").numbers(), [1, 4])
    eq(c.ok("UID EXPUNGE 77").expunged(), [])


def test_close_and_unselect(lab):
    """CLOSE expunges silently; UNSELECT and EXAMINE+CLOSE don't."""
    c = opened(lab, 3)
    c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    c.ok("UNSELECT")
    eq(c.ok("EXAMINE INBOX").number("EXISTS"), 3)
    c.ok("CLOSE")
    eq(c.ok("SELECT INBOX").number("EXISTS"), 3)
    eq(c.ok("CLOSE").expunged(), [])
    c.bad("FETCH 1 FLAGS")
    eq(c.ok("SELECT INBOX").number("EXISTS"), 2)
    eq(c.ok("UID SEARCH ALL").numbers(), [2, 3])


def test_expunge_seen_by_other(lab):
    """Another session learns of an expunge at NOOP, not during FETCH."""
    user = lab.user()
    a = opened(lab, 3, user)
    b = lab.imap(user)
    b.ok("SELECT INBOX")
    a.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    a.ok("EXPUNGE")
    eq(b.cmd("FETCH 2 UID").expunged(), [], "FETCH may not renumber")
    eq(b.ok("NOOP").expunged(), [1])
    eq(b.ok("UID SEARCH ALL").numbers(), [2, 3])


def test_expunge_all_then_append(lab):
    """UIDs are never used again, UIDVALIDITY stays."""
    c = opened(lab, 4)
    validity = c.ok("STATUS INBOX (UIDVALIDITY)").one("STATUS")[1]
    c.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    c.ok("APPEND INBOX ", Lit(PLAIN))
    eq(c.ok("UID SEARCH ALL").numbers(), [5])
    reply = c.ok("SELECT INBOX")
    eq(reply.untagged_code("UIDNEXT"), "6")
    eq(c.ok("STATUS INBOX (UIDVALIDITY)").one("STATUS")[1], validity)


@timeout(60)
def test_expunge_many(lab):
    """2,000 messages, half of them expunged at once."""
    c = opened(lab, 2000)
    even = ",".join(str(n) for n in range(2, 2001, 2))
    c.ok("STORE %s +FLAGS.SILENT (\\Deleted)" % even)
    eq(len(c.ok("EXPUNGE").expunged()), 1000)
    eq(c.ok("UID SEARCH ALL").numbers(), list(range(1, 2001, 2)))


def test_flags_survive_reconnect(lab):
    """Flags and keywords are there in the next session."""
    user = lab.user()
    c = opened(lab, 2, user)
    c.ok("STORE 1 FLAGS (\\Answered $Forwarded NonJunk)")
    c.logout()
    c = lab.imap(user)
    c.ok("SELECT INBOX")
    eq(flags(c, 1), {"\\Answered", "$Forwarded", "NonJunk"})
