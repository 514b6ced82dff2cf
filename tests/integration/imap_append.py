"""LOGIN, SELECT, STATUS and all forms of APPEND."""

import datetime
import re
import time

from imapclient import Lit, Lit8, SyncLit, flags_of, parse_set
from mails import MIXED, PLAIN, fill, multiappend, simple
from tap import eq, has, true


def test_login_refused(lab):
    """A wrong password is NO, and the same connection may try again."""
    user = lab.user()
    c = lab.node().imap()
    reply = c.cmd("LOGIN %s wrong" % user)
    eq(reply.status, "NO")
    has("AUTHENTICATIONFAILED", reply.code or "")
    c.login(user)
    c.logout()


def test_select_empty(lab):
    """A new account's INBOX is there and empty."""
    c = lab.imap()
    reply = c.ok("SELECT INBOX (CONDSTORE)")
    eq(reply.number("EXISTS"), 0)
    eq(reply.number("RECENT"), 0)
    eq(reply.untagged_code("UIDNEXT"), "1")
    true(int(reply.untagged_code("UIDVALIDITY")) > 0, "UIDVALIDITY")
    true(int(reply.untagged_code("HIGHESTMODSEQ")) > 0, "HIGHESTMODSEQ")
    eq(reply.code, "READ-WRITE")
    has("\\*", reply.untagged_code("PERMANENTFLAGS"))


def test_examine(lab):
    """EXAMINE leaves no trace and refuses changes."""
    c = lab.imap()
    c.ok("APPEND INBOX ", Lit(PLAIN))
    reply = c.ok("EXAMINE INBOX")
    eq(reply.code, "READ-ONLY")
    eq(reply.number("RECENT"), 1)
    c.ok("FETCH 1 BODY[]")
    eq(c.ok("STORE 1 +FLAGS (\\Seen)").fetches(), {}, "STORE is ignored")
    c.cmd("EXPUNGE")
    reply = c.ok("SELECT INBOX")
    eq(reply.number("EXISTS"), 1)
    eq(reply.number("RECENT"), 1, "EXAMINE must not take \\Recent")
    eq(flags_of(c.ok("FETCH 1 FLAGS").fetches()[1]["FLAGS"]), {"\\Recent"})


def test_select_missing(lab):
    """SELECT of a mailbox that isn't there."""
    c = lab.imap()
    has("doesn't exist", c.no("SELECT nowhere").text)
    c.bad("FETCH 1 FLAGS")


def test_append_flags_and_date(lab):
    """Flags, keywords and the internal date are kept; APPENDUID is right."""
    c = lab.imap()
    reply = c.ok("APPEND INBOX (\\Seen \\Flagged $Label1 own) "
                 "\"17-Jul-2005 02:44:25 -0730\" ", Lit(PLAIN))
    match = re.match(r"APPENDUID (\d+) (\d+)$", reply.code)
    eq(match.group(2), "1")
    reply = c.ok("SELECT INBOX")
    eq(reply.untagged_code("UIDVALIDITY"), match.group(1))
    eq(reply.untagged_code("UIDNEXT"), "2")
    got = c.ok("FETCH 1 (UID FLAGS INTERNALDATE)").fetches()[1]
    eq(got["UID"], b"1")
    eq(flags_of(got["FLAGS"]), {"\\Seen", "\\Flagged", "$Label1", "own", "\\Recent"})
    has(b"17-Jul-2005", got["INTERNALDATE"])
    eq(c.ok("SEARCH SENTON 2-Jan-2023 ON 17-Jul-2005").numbers(), [1])


def test_append_date_far(lab):
    """Dates at the rim: 1970, before 1970 as sdbox does, 2037, 2100."""
    c = lab.imap()
    other = lab.oracle().imap(lab.user(lab.oracle(), name=None))
    dates = ["01-Jan-1970 00:00:00 +0000", "31-Dec-1969 23:59:00 +0000",
             "19-Jan-2038 03:14:07 +0000", "31-Dec-2099 23:59:59 +0000"]
    for client in (c, other):
        for date in dates:
            client.cmd('APPEND INBOX "%s" ' % date, Lit(PLAIN))
        client.ok("SELECT INBOX")
    got, wanted = (client.cmd("FETCH 1:* INTERNALDATE").fetches() for client in (c, other))
    # what doesn't fit becomes the time of the APPEND, and the two weren't at once
    late = [number for number, item in wanted.items() if seconds_ago(item["INTERNALDATE"]) < 60]
    for number in late:
        true(seconds_ago(got.pop(number)["INTERNALDATE"]) < 60, "message %d" % number)
        del wanted[number]
    eq((late, got), ([3, 4], wanted))
    other.close()


def seconds_ago(date):
    """How long before now an INTERNALDATE was."""
    return time.time() - datetime.datetime.strptime(date.decode().strip(), "%d-%b-%Y %H:%M:%S %z").timestamp()


def test_append_to_missing(lab):
    """TRYCREATE, and nothing is created."""
    c = lab.imap()
    eq(c.no("APPEND nowhere ", Lit(PLAIN)).code, "TRYCREATE")
    eq(len(c.ok('LIST "" *').all("LIST")), 1)


def test_append_while_selected(lab):
    """An APPEND to the selected mailbox is announced in the same command."""
    c = lab.imap()
    c.ok("SELECT INBOX")
    reply = c.ok("APPEND INBOX ", Lit(PLAIN))
    eq(reply.number("EXISTS"), 1)
    eq(c.ok("FETCH 1 UID").fetches()[1]["UID"], b"1")


def test_append_empty_refused(lab):
    """An empty literal cancels APPEND or is refused, as on sdbox."""
    c = lab.imap()
    reply = c.cmd("APPEND INBOX ", Lit(b""))
    eq(reply.status, "NO")
    eq(c.ok("SELECT INBOX").number("EXISTS"), 0)


def test_append_bad_flag(lab):
    """A syntax error in the arguments stores nothing."""
    c = lab.imap()
    c.bad("APPEND INBOX (\\Unknown) ", SyncLit(PLAIN))
    c.bad("APPEND INBOX () \"nonsense\" ", SyncLit(PLAIN))
    eq(c.ok("SELECT INBOX").number("EXISTS"), 0)


def test_multiappend(lab):
    """Several messages, each with its flags and date; UIDs in order."""
    c = lab.imap()
    reply = c.ok("APPEND INBOX (\\Seen) ", Lit(simple(1)),
                 " (\\Draft k1) \"01-Feb-2020 10:00:00 +0000\" ", Lit(simple(2)),
                 " ", Lit(simple(3)))
    eq(reply.code.split()[2], "1:3")
    c.ok("EXAMINE INBOX")
    got = c.ok("FETCH 1:3 (FLAGS INTERNALDATE BODY[])").fetches()
    eq([flags_of(got[n]["FLAGS"]) - {"\\Recent"} for n in (1, 2, 3)],
       [{"\\Seen"}, {"\\Draft", "k1"}, set()])
    has(b"-Feb-2020 10:00:00", got[2]["INTERNALDATE"])
    eq([got[n]["BODY[]"] for n in (1, 2, 3)], [simple(n) for n in (1, 2, 3)])


def test_multiappend_atomic(lab):
    """A MULTIAPPEND that fails in the middle stores nothing."""
    c = lab.imap()
    reply = c.cmd("APPEND INBOX ", Lit(simple(1)), " (\\Bogus) ", SyncLit(simple(2)))
    eq(reply.status, "BAD")
    eq(c.ok("SELECT INBOX").number("EXISTS"), 0)
    c.ok("APPEND INBOX ", Lit(simple(3)))
    eq(c.ok("UID SEARCH ALL").numbers(), [1], "no UID was lost or used twice")


def test_append_connection_lost(lab):
    """A connection that dies within a literal stores nothing."""
    user = lab.user()
    c = lab.node().imap(user)
    c.send_raw(b"x APPEND INBOX {1000+}\r\nFrom: a\r\n")
    c.close()
    c = lab.imap(user)
    eq(c.ok("SELECT INBOX").number("EXISTS"), 0)


def test_multiappend_many(lab):
    """500 messages in one command."""
    c = lab.imap()
    reply = multiappend(c, "INBOX", [simple(n) for n in range(500)])
    eq(parse_set(reply.code.split()[2]), list(range(1, 501)))
    eq(c.ok("SELECT INBOX").number("EXISTS"), 500)
    eq(c.ok("FETCH 500 BODY[]").fetches()[500]["BODY[]"], simple(499))


def test_catenate(lab):
    """CATENATE of text and of parts of stored messages."""
    c = lab.imap()
    c.ok("APPEND INBOX ", Lit(MIXED))
    c.ok("SELECT INBOX")
    c.ok("APPEND INBOX (\\Seen) CATENATE (TEXT ", Lit(b"Subject: joined\r\n\r\n"),
         " URL \"/INBOX/;UID=1/;SECTION=2\" TEXT ", Lit(b"\r\nend\r\n"), ")")
    eq(c.ok("FETCH 2 BODY[]").fetches()[2]["BODY[]"],
       b"Subject: joined\r\n\r\nAAECAwQFBgcICQ==\r\nend\r\n")
    c.ok("APPEND INBOX CATENATE (URL \"/INBOX/;UID=1\")")
    eq(c.ok("FETCH 3 BODY[]").fetches()[3]["BODY[]"], MIXED)
    reply = c.no("APPEND INBOX CATENATE (URL \"/INBOX/;UID=99\")")
    has("BADURL", reply.code)
    eq(c.ok("SELECT INBOX").number("EXISTS"), 3)


def test_append_binary_literal(lab):
    """literal8 may hold NULs; BINARY[] gives them back decoded."""
    body = bytes(range(256)) * 4
    message = (b"Subject: bin\r\nMIME-Version: 1.0\r\n"
               b"Content-Type: application/octet-stream\r\n"
               b"Content-Transfer-Encoding: binary\r\n\r\n" + body)
    c = lab.imap()
    c.ok("APPEND INBOX ", Lit8(message))
    c.ok("SELECT INBOX")
    got = c.ok("FETCH 1 (BINARY[1] BINARY.SIZE[1] BODY[])").fetches()[1]
    eq(got["BINARY[1]"], body)
    eq(got["BINARY.SIZE[1]"], b"%d" % len(body))
    true(b"\0" not in got["BODY[]"], "BODY[] carries no NUL")


def test_status_all_items(lab):
    """Each STATUS item, before and after changes."""
    c = lab.imap()
    multiappend(c, "INBOX", [simple(1), simple(2), simple(3)])
    c.ok("CREATE box")
    c.ok("APPEND box (\\Seen) ", Lit(simple(4)), " ", Lit(simple(5)))
    got = status(c, "box")
    eq((got["MESSAGES"], got["UIDNEXT"], got["UNSEEN"], got["RECENT"]), (2, 3, 1, 2))
    eq(got["SIZE"], len(simple(4)) + len(simple(5)))
    c.ok("SELECT box")
    c.ok("STORE 1:2 +FLAGS (\\Seen \\Deleted)")
    before = got["HIGHESTMODSEQ"]
    c.ok("EXPUNGE")
    c.ok("SELECT INBOX")
    got = status(c, "box")
    eq((got["MESSAGES"], got["UIDNEXT"], got["UNSEEN"], got["SIZE"]), (0, 3, 0, 0))
    true(got["HIGHESTMODSEQ"] > before, "HIGHESTMODSEQ grows")
    has("doesn't exist", c.no("STATUS nowhere (MESSAGES)").text)


def test_status_of_selected(lab):
    """STATUS of the selected mailbox agrees with it."""
    c = lab.imap()
    fill(c, "INBOX", 5)
    c.ok("SELECT INBOX")
    c.ok("STORE 2 +FLAGS.SILENT (\\Seen)")
    got = status(c, "INBOX")
    eq((got["MESSAGES"], got["UNSEEN"], got["UIDNEXT"]), (5, 4, 6))


def status(client, mailbox):
    """STATUS as {item: int}."""
    data = client.ok("STATUS %s (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN "
                     "HIGHESTMODSEQ SIZE)" % mailbox).one("STATUS")
    pairs = data[1]
    return {pairs[i].decode(): int(pairs[i + 1]) for i in range(0, len(pairs), 2)}


def test_recent_to_one_session(lab):
    """\\Recent goes to the first session that selects."""
    user = lab.user()
    a = lab.imap(user)
    fill(a, "INBOX", 3)
    eq(a.ok("SELECT INBOX").number("RECENT"), 3)
    b = lab.imap(user)
    eq(b.ok("SELECT INBOX").number("RECENT"), 0)
    eq(a.ok("SEARCH RECENT").numbers(), [1, 2, 3])
    eq(b.ok("SEARCH RECENT").numbers(), [])
    eq(b.ok("SEARCH OLD").numbers(), [1, 2, 3])
    eq(lab.imap(user).ok("EXAMINE INBOX").number("RECENT"), 0)


def test_two_sessions_see_append(lab):
    """A NOOP shows what another session appended."""
    user = lab.user()
    a, b = lab.imap(user), lab.imap(user)
    a.ok("SELECT INBOX")
    b.ok("APPEND INBOX (\\Answered) ", Lit(PLAIN))
    eq(a.ok("NOOP").number("EXISTS"), 1)
    has("\\Answered", flags_of(a.ok("FETCH 1 FLAGS").fetches()[1]["FLAGS"]))


def test_keywords_many_and_case(lab):
    """Keywords: 60 of them, case kept, compared without case."""
    c = lab.imap()
    words = ["kw%02d" % n for n in range(60)]
    c.ok("APPEND INBOX (%s) " % " ".join(words), Lit(PLAIN))
    c.ok("APPEND INBOX (MixedCase) ", Lit(PLAIN))
    reply = c.ok("SELECT INBOX")
    true(set(words) <= flags_of(reply.one("FLAGS")[0]), "FLAGS lists all keywords")
    eq(flags_of(c.ok("FETCH 1 FLAGS").fetches()[1]["FLAGS"]) - {"\\Recent"}, set(words))
    c.ok("STORE 1 +FLAGS (MIXEDCASE)")
    eq(c.ok("SEARCH KEYWORD mixedcase").numbers(), [1, 2])
    got = flags_of(c.ok("FETCH 2 FLAGS").fetches()[2]["FLAGS"])
    eq(got - {"\\Recent"}, {"MixedCase"})
    c.ok("STORE 1 -FLAGS (kw00 KW01)")
    eq(len(flags_of(c.ok("FETCH 1 FLAGS").fetches()[1]["FLAGS"]) - {"\\Recent"}), 59)
