"""SEARCH, ESEARCH, SEARCHRES, SORT, THREAD, CONTEXT, WITHIN."""

import time

from imapclient import Lit, parse_set
from mails import MIXED, PLAIN, fill, simple
from tap import eq, has, true, timeout


def corpus(lab, user=None):
    """Five messages with known properties in the selected INBOX."""
    c = lab.imap(user)
    c.ok('APPEND INBOX (\\Seen) "01-Jan-2020 10:00:00 +0000" ', Lit(PLAIN))
    c.ok('APPEND INBOX (\\Flagged k1) "02-Feb-2021 10:00:00 +0000" ', Lit(MIXED))
    c.ok('APPEND INBOX (\\Answered) "03-Mar-2022 10:00:00 +0000" ',
         Lit(simple(3, subject="Re: Lunch on Friday", sender="zoe@example.org")))
    c.ok('APPEND INBOX (\\Draft \\Seen) "04-Apr-2023 10:00:00 +0000" ',
         Lit(simple(4, subject="alpha", body="x" * 5000 + "\r\nneedle\r\n")))
    c.ok("APPEND INBOX (\\Deleted) ",
         Lit(simple(5, subject="beta", sender="anna@example.org")))
    c.ok("SELECT INBOX")
    return c


CASES = [
    ("ALL", [1, 2, 3, 4, 5]), ("2:3", [2, 3]), ("UID 4:*", [4, 5]), ("*", [5]),
    ("SEEN", [1, 4]), ("UNSEEN", [2, 3, 5]), ("FLAGGED", [2]), ("ANSWERED", [3]),
    ("DELETED", [5]), ("UNDELETED", [1, 2, 3, 4]), ("DRAFT", [4]),
    ("KEYWORD k1", [2]), ("UNKEYWORD k1", [1, 3, 4, 5]), ("KEYWORD none", []),
    ("FROM anna", [1, 5]), ("FROM zoe@example.org", [3]), ("TO carl", [1, 2]),
    ("CC list", [1]), ("BCC x", []), ("SUBJECT lunch", [1, 3]),
    ("SUBJECT \"lunch ON friday\"", [1, 3]), ("HEADER X-Colour green", [1]),
    ("HEADER X-Colour \"\"", [1]), ("HEADER Message-ID two@example.org", [2]),
    ("BODY needle", [4]), ("TEXT needle", [4]), ("TEXT green", [1]),
    ("BODY green", []), ("BODY \"usual place\"", [1]), ("LARGER 4000", [4]),
    ("SMALLER 4000", [1, 2, 3, 5]), ("BEFORE 2-Feb-2021", [1]),
    ("ON 2-Feb-2021", [2]), ("SINCE 3-Mar-2022", [3, 4, 5]),
    ("SENTBEFORE 1-Jan-2024", [1, 2]), ("SENTON 3-Jan-2023", [2]),
    ("SENTSINCE 1-Jan-2024", [3, 4, 5]), ("NOT SEEN", [2, 3, 5]),
    ("OR SEEN FLAGGED", [1, 2, 4]), ("OR (SEEN DRAFT) (FLAGGED KEYWORD k1)", [2, 4]),
    ("NOT (OR SEEN FLAGGED)", [3, 5]), ("SEEN SUBJECT lunch", [1]),
    ("NEW", [2, 3, 5]), ("OLD", []), ("MODSEQ 1", [1, 2, 3, 4, 5]),
]
WORDS = [("BODY", "K\u00f6ln"), ("SUBJECT", "\u00dcberweisung"),
         ("SUBJECT", "\u00fcberweisung"), ("FROM", "J\u00fcrgen"),
         ("TEXT", "GR\u00dc\u00dfE")]


def test_search_keys(lab):
    """Each key, by sequence and by UID, cold and with a warm cache."""
    c = corpus(lab)
    for _ in range(2):
        for key, wanted in CASES:
            got = c.ok("SEARCH CHARSET UTF-8 " + key).numbers()
            if key.startswith("MODSEQ"):
                got = got[:len(wanted)]
            eq(got, wanted, key)
        for key, word in WORDS:
            eq(c.ok("SEARCH CHARSET UTF-8 ", key, " ", Lit(word.encode())).numbers(),
               [2], key + " " + word)
    eq(c.ok("UID SEARCH SEEN").numbers(), [1, 4])


def test_search_charset(lab):
    """ISO-8859-1 literals; unknown charsets are refused."""
    c = corpus(lab)
    eq(c.ok("SEARCH CHARSET ISO-8859-1 SUBJECT ", Lit("Überweisung".encode("latin-1")))
       .numbers(), [2])
    has("BADCHARSET", c.no("SEARCH CHARSET X-NONE SUBJECT a").code)


def test_search_bad(lab):
    """Syntax errors are BAD and harm nothing."""
    c = corpus(lab)
    for line in ("SEARCH", "SEARCH NOSUCHKEY", "SEARCH BEFORE yesterday",
                 "SEARCH OR SEEN", "SEARCH 9:", "SEARCH (SEEN"):
        c.bad(line)
    eq(c.ok("SEARCH ALL").numbers(), [1, 2, 3, 4, 5])


def esearch(reply):
    """ESEARCH as {ITEM: value}."""
    data = reply.one("ESEARCH")[1:]
    if data and data[0] == b"UID":
        data = data[1:]
    return {data[i].decode(): data[i + 1].decode() for i in range(0, len(data), 2)}


def test_esearch(lab):
    """RETURN (MIN MAX COUNT ALL), single and together."""
    c = corpus(lab)
    got = esearch(c.ok("SEARCH RETURN (MIN MAX COUNT ALL) UNSEEN"))
    eq(got, {"MIN": "2", "MAX": "5", "COUNT": "3", "ALL": "2:3,5"})
    eq(esearch(c.ok("UID SEARCH RETURN (COUNT) ALL")), {"COUNT": "5"})
    eq(esearch(c.ok("SEARCH RETURN () FLAGGED")), {"ALL": "2"})
    eq(esearch(c.ok("SEARCH RETURN (COUNT) KEYWORD none")), {"COUNT": "0"})


def test_partial_esearch(lab):
    """RETURN (PARTIAL a:b)."""
    c = lab.imap()
    fill(c, "INBOX", 20)
    c.ok("SELECT INBOX")
    data = c.ok("UID SEARCH RETURN (PARTIAL 3:7) ALL").one("ESEARCH")
    eq(data[-1], [b"3:7", b"3:7"])


def test_searchres(lab):
    """SAVE and $, also after an expunge."""
    c = corpus(lab)
    c.ok("SEARCH RETURN (SAVE) UNSEEN")
    eq(sorted(c.ok("FETCH $ UID").fetches()), [2, 3, 5])
    eq(c.ok("UID SEARCH UID $ FLAGGED").numbers(), [2])
    c.ok("STORE $ +FLAGS.SILENT (found)")
    eq(c.ok("SEARCH KEYWORD found").numbers(), [2, 3, 5])
    c.ok("EXPUNGE")
    eq(sorted(c.ok("FETCH $ UID").fetches()), [2, 3])
    c.ok("CREATE box")
    c.ok("COPY $ box")
    eq(c.ok("STATUS box (MESSAGES)").one("STATUS")[1], [b"MESSAGES", b"2"])


def test_sort(lab):
    """Every SORT key, and REVERSE."""
    c = corpus(lab)
    cases = {
        "(ARRIVAL)": [1, 2, 3, 4, 5], "(REVERSE ARRIVAL)": [5, 4, 3, 2, 1],
        "(DATE)": [1, 2, 3, 4, 5], "(SUBJECT)": [4, 5, 1, 3, 2],
        "(FROM)": [4, 1, 5, 2, 3], "(SIZE)": None, "(TO)": None, "(CC)": None,
        "(SUBJECT REVERSE DATE)": [4, 5, 3, 1, 2], "(DISPLAYFROM)": None,
        "(DISPLAYTO)": None,
    }
    for key, wanted in cases.items():
        got = c.ok("SORT %s UTF-8 ALL" % key).numbers("SORT")
        eq(sorted(got), [1, 2, 3, 4, 5], key)
        if wanted:
            eq(got, wanted, key)
    eq(c.ok("UID SORT (REVERSE DATE) UTF-8 UNSEEN").numbers("SORT"), [5, 3, 2])
    eq(c.ok("SORT (SIZE) UTF-8 LARGER 4000").numbers("SORT"), [4])


def test_sort_against_oracle(lab):
    """SORT by everything is what sdbox says."""
    one = corpus(lab)
    oracle = lab.oracle()
    other = lab.imap(lab.user(oracle), oracle)
    for message in (PLAIN, MIXED, simple(3, subject="Re: Lunch on Friday",
                                         sender="zoe@example.org")):
        other.ok("APPEND INBOX ", Lit(message))
    other.ok("SELECT INBOX")
    for key in ("SUBJECT", "FROM", "TO", "CC", "DATE", "DISPLAYFROM", "DISPLAYTO"):
        eq(one.ok("SORT (%s) UTF-8 1:3" % key).numbers("SORT"),
           other.ok("SORT (%s) UTF-8 1:3" % key).numbers("SORT"), key)


def test_esort(lab):
    """SORT RETURN (...)."""
    c = corpus(lab)
    got = esearch(c.ok("SORT RETURN (MIN MAX COUNT ALL) (REVERSE ARRIVAL) UTF-8 UNSEEN"))
    eq(got["COUNT"], "3")
    eq(got["ALL"], "5,3,2")
    eq((got["MIN"], got["MAX"]), ("2", "5") if got["MIN"] == "2" else ("5", "2"))


def test_thread(lab):
    """REFERENCES, REFS, ORDEREDSUBJECT."""
    c = corpus(lab)
    got = c.ok("THREAD REFERENCES UTF-8 ALL").one("THREAD")
    has([b"1", [b"2"], [b"3"]], got)
    for algorithm in ("REFS", "ORDEREDSUBJECT", "REFERENCES"):
        got = c.ok("UID THREAD %s UTF-8 ALL" % algorithm).one("THREAD")
        eq(sorted(numbers_in(got)), [1, 2, 3, 4, 5], algorithm)
    got = c.ok("THREAD REFERENCES UTF-8 3:5").one("THREAD")
    eq(sorted(numbers_in(got)), [3, 4, 5])


def test_thread_grows(lab):
    """A reply that comes later joins its thread; an expunged one leaves."""
    c = corpus(lab)
    c.ok("THREAD REFERENCES UTF-8 ALL")
    reply = PLAIN.replace(b"<one@", b"<six@").replace(
        b"X-Colour: green\r\n", b"In-Reply-To: <two@example.org>\r\n"
        b"References: <one@example.org> <two@example.org>\r\n")
    c.ok("APPEND INBOX ", Lit(reply))
    got = c.ok("THREAD REFERENCES UTF-8 ALL").one("THREAD")
    has([b"1", [b"2", b"6"], [b"3"]], got)
    c.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    got = c.ok("THREAD REFERENCES UTF-8 ALL").one("THREAD")
    # The expunged parent leaves; \\Deleted message 5 left with it.
    eq(sorted(numbers_in(got)), [1, 2, 3, 4])


def numbers_in(tree):
    """All numbers in a tree of lists."""
    out = []
    for item in tree:
        out += numbers_in(item) if isinstance(item, list) else [int(item)]
    return out


def test_context_search(lab):
    """CONTEXT=SEARCH: UPDATE tells of arrivals and departures."""
    user = lab.user()
    c = corpus(lab, user)
    tag = c.send("UID SEARCH RETURN (UPDATE COUNT) UNSEEN")
    eq(esearch(c.finish(tag))["COUNT"], "3")
    other = lab.imap(user)
    other.ok("APPEND INBOX ", Lit(simple(6)))
    reply = c.ok("NOOP")
    eq(reply.one("ESEARCH")[-1], [b"0", b"6"])
    c.ok('CANCELUPDATE "%s"' % tag)
    other.ok("APPEND INBOX ", Lit(simple(7)))
    eq(c.ok("NOOP").all("ESEARCH"), [])


def test_context_removefrom(lab):
    """REMOVEFROM comes with the command that made it so."""
    c = corpus(lab)
    c.ok("UID SEARCH RETURN (UPDATE) UNSEEN")
    reply = c.ok("STORE 2 +FLAGS (\\Seen)")
    found = [item.raw for item in reply.all("ESEARCH")]
    true(any(b"REMOVEFROM (0 2)" in raw for raw in found), "REMOVEFROM: %r" % found)


def test_within(lab):
    """YOUNGER and OLDER count from the internal date."""
    c = lab.imap()
    recent = time.strftime("%d-%b-%Y %H:%M:%S +0000", time.gmtime(time.time() - 3600))
    c.ok('APPEND INBOX "01-Jan-2020 10:00:00 +0000" ', Lit(PLAIN))
    c.ok('APPEND INBOX "%s" ' % recent, Lit(PLAIN))
    c.ok("SELECT INBOX")
    eq(c.ok("SEARCH YOUNGER 7200").numbers(), [2])
    eq(c.ok("SEARCH OLDER 7200").numbers(), [1])
    eq(c.ok("SEARCH YOUNGER 1800").numbers(), [])


def test_search_modseq(lab):
    """SEARCH MODSEQ gives what changed, and the highest."""
    c = corpus(lab)
    reply = c.ok("SEARCH MODSEQ 1")
    highest = int(reply.all("SEARCH")[0].data[-1][1])
    c.ok("STORE 3 +FLAGS (\\Flagged)")
    reply = c.ok("SEARCH MODSEQ %d" % (highest + 1))
    eq(reply.numbers(), [3])
    eq(c.ok("SEARCH MODSEQ 9999999999999").numbers(), [])


def test_inthread(lab):
    """INTHREAD finds a whole thread."""
    c = corpus(lab)
    eq(c.ok("SEARCH INTHREAD REFERENCES HEADER Message-ID two@example.org").numbers()[:2],
       [1, 2])


@timeout(90)
def test_search_large(lab):
    """Headers, bodies and sizes of 2,000 messages, twice the same."""
    c = lab.imap()
    fill(c, "INBOX", 2000)
    c.ok("SELECT INBOX")
    for _ in range(2):
        eq(c.ok("SEARCH SUBJECT \"message 1999\"").numbers(), [1999])
        eq(c.ok("SEARCH BODY \"message 77.\"").numbers(), [77])
        eq(len(c.ok("SEARCH FROM a3@").numbers()), 286)
    got = c.ok("SORT (REVERSE SUBJECT) UTF-8 ALL").numbers("SORT")
    eq(len(got), 2000)
    eq(parse_set(esearch(c.ok("SEARCH RETURN (ALL) ALL"))["ALL"]), list(range(1, 2001)))
