"""What else the capability line promises."""

import re

from imapclient import Lit, quoted
from mails import MIXED, PLAIN, fill, simple
from tap import eq, has, true, timeout

# What Dovecot 2.3.19 advertises with the plugins of the lab.
PROMISED = """IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY
    THREAD=REFERENCES THREAD=REFS THREAD=ORDEREDSUBJECT MULTIAPPEND URL-PARTIAL
    CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED I18NLEVEL=1 CONDSTORE
    QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE
    SNIPPET=FUZZY PREVIEW=FUZZY PREVIEW STATUS=SIZE SAVEDATE LITERAL+ NOTIFY
    METADATA SPECIAL-USE COMPRESS=DEFLATE QUOTA""".split()


def test_capability(lab):
    """The line is what the tests know: a new word needs a new test."""
    c = lab.imap()
    got = [word.decode() for word in c.ok("CAPABILITY").one("CAPABILITY")]
    eq(sorted(got), sorted(PROMISED))


def test_namespace(lab):
    """One personal namespace with the separator."""
    c = lab.imap()
    eq(c.ok("NAMESPACE").one("NAMESPACE"), [[[b"", b"/"]], None, None])


def test_id(lab):
    """ID with and without arguments."""
    c = lab.imap()
    eq(c.ok("ID NIL").one("ID")[0][:2], [b"name", b"Dovecot"])
    c.ok('ID ("name" "test" "version" "1")')


def test_enable(lab):
    """ENABLE says what it enabled."""
    c = lab.imap()
    eq(c.ok("ENABLE CONDSTORE").one("ENABLED"), [b"CONDSTORE"])
    has(b"QRESYNC", c.ok("ENABLE QRESYNC X-UNKNOWN").one("ENABLED"))


@timeout(60)
def test_compress(lab):
    """COMPRESS=DEFLATE: the rest of a session, large answers too."""
    c = lab.imap()
    c.compress()
    fill(c, "INBOX", 200)
    c.ok("APPEND INBOX ", Lit(simple(999, body="compress me\r\n" * 50000)))
    c.ok("SELECT INBOX")
    got = c.ok("FETCH 1:* BODY.PEEK[]").fetches()
    eq(got[200]["BODY[]"], simple(200))
    eq(len(got[201]["BODY[]"]), len(simple(999)) - len("Body of message 999.\r\n")
       + 13 * 50000)


def test_metadata_mailbox(lab):
    """SETMETADATA and GETMETADATA on a mailbox, private and shared."""
    c = lab.imap()
    c.ok("CREATE box")
    c.ok('SETMETADATA box (/private/comment "mine" /shared/comment ', Lit(b"a\r\nb"), ")")
    got = c.ok("GETMETADATA box (/private/comment /shared/comment)").one("METADATA")
    eq(pairs(got[1]), {b"/private/comment": b"mine", b"/shared/comment": b"a\r\nb"})
    c.ok("SETMETADATA box (/private/comment NIL)")
    got = c.ok("GETMETADATA box /private/comment").all("METADATA")
    eq([pairs(item.data[1]).get(b"/private/comment") for item in got], [None] * len(got))
    c.ok('SETMETADATA box (/private/vendor/x/a "1" /private/vendor/x/b "22")')
    got = c.ok("GETMETADATA (DEPTH infinity) box /private/vendor/x").one("METADATA")
    eq(pairs(got[1]), {b"/private/vendor/x/a": b"1", b"/private/vendor/x/b": b"22"})


def test_metadata_follows_rename(lab):
    """A rename keeps a mailbox's metadata, a delete ends it."""
    c = lab.imap()
    c.ok("CREATE box")
    c.ok('SETMETADATA box (/private/comment "kept")')
    c.ok("RENAME box moved")
    eq(pairs(c.ok("GETMETADATA moved /private/comment").one("METADATA")[1]),
       {b"/private/comment": b"kept"})
    c.ok("DELETE moved")
    c.ok("CREATE moved")
    got = c.ok("GETMETADATA moved /private/comment").all("METADATA")
    true(not got or pairs(got[0].data[1])[b"/private/comment"] is None, "gone")


def test_metadata_server(lab):
    """Metadata of the server."""
    c = lab.imap()
    c.ok('SETMETADATA "" (/private/vendor/test "v")')
    got = c.ok('GETMETADATA "" /private/vendor/test').one("METADATA")
    eq(pairs(got[1]), {b"/private/vendor/test": b"v"})


def pairs(values):
    """A flat list of names and values as a dictionary."""
    return {values[i]: values[i + 1] for i in range(0, len(values), 2)}


def test_quota(lab):
    """GETQUOTAROOT and GETQUOTA follow appends and expunges."""
    c = lab.imap()
    before = usage(c)
    big = simple(1, body="x" * 100000 + "\r\n")
    c.ok("APPEND INBOX ", Lit(big))
    true(abs(usage(c) - before - len(big) // 1024) <= 1, "usage grows")
    c.ok("SELECT INBOX")
    c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    eq(usage(c), before)


def usage(client):
    """The used storage in KB."""
    return int(client.ok("GETQUOTAROOT INBOX").one("QUOTA")[1][1])


def test_utf8_keywords_refused(lab):
    """Keywords with 8-bit characters are refused or kept, never a crash."""
    c = lab.imap()
    c.ok("APPEND INBOX ", Lit(PLAIN))
    c.ok("SELECT INBOX")
    c.cmd("STORE 1 +FLAGS (gr\u00fcn)")
    c.ok("NOOP")


def test_unknown_command(lab):
    """BAD, and the session goes on."""
    c = lab.imap()
    c.bad("FROBNICATE")
    c.bad("SELECT")
    c.ok("NOOP")


def test_pipelined(lab):
    """Commands sent without waiting are answered in a sound order."""
    c = lab.imap()
    fill(c, "INBOX", 10)
    tags = [c.send("SELECT INBOX")]
    tags += [c.send("FETCH %d (UID BODY.PEEK[])" % n) for n in range(1, 11)]
    tags.append(c.send("STORE 1:* +FLAGS (\\Seen)"))
    replies = [c.finish(tag) for tag in tags]
    true(all(reply.ok for reply in replies), "all OK")
    # Dovecot may run neighbours at once: an answer may come before another tag.
    bodies = {}
    for reply in replies:
        for seq, items in reply.fetches().items():
            bodies.setdefault(seq, items.get("BODY[]"))
    eq([bodies[n] for n in range(1, 11)], [simple(n) for n in range(1, 11)])


def test_select_reselect(lab):
    """SELECT again, of the same and of others; [CLOSED]."""
    c = lab.imap()
    c.ok("CREATE box")
    fill(c, "INBOX", 3)
    for name, count in (("INBOX", 3), ("box", 0), ("INBOX", 3), ("INBOX", 3)):
        reply = c.ok("SELECT ", name)
        eq(reply.number("EXISTS"), count)
    eq(c.ok("SELECT box").untagged_code("CLOSED"), "")
    c.no("SELECT nowhere")
    c.bad("FETCH 1 FLAGS")


def test_append_catenate_part_of_other_mailbox(lab):
    """URLs reach into other mailboxes, with UIDVALIDITY and partials."""
    c = lab.imap()
    c.ok("CREATE ", quoted("a b"))
    c.ok("APPEND ", quoted("a b"), " ", Lit(MIXED))
    validity = c.ok("STATUS \"a b\" (UIDVALIDITY)").one("STATUS")[1][1].decode()
    c.ok("APPEND INBOX CATENATE (URL \"/a%%20b;UIDVALIDITY=%s/;UID=1/;SECTION=HEADER\" "
         "URL \"/a%%20b/;UID=1/;SECTION=1.1/;PARTIAL=0.4\")" % validity)
    c.ok("SELECT INBOX")
    got = c.ok("FETCH 1 BODY[]").fetches()[1]["BODY[]"]
    eq(got, MIXED.partition(b"\r\n\r\n")[0] + b"\r\n\r\nGr=C")
    c.no("APPEND INBOX CATENATE (URL \"/a%%20b;UIDVALIDITY=%d/;UID=1\")"
         % (int(validity) + 1))


def test_reply_times(lab):
    """The tagged text is for people: it has no SQL, host or path in it."""
    c = lab.imap()
    texts = [c.cmd(line).text for line in (
        "SELECT nowhere", "CREATE INBOX", "DELETE nowhere", "RENAME a b",
        "STATUS nowhere (MESSAGES)", "SUBSCRIBE \"\"")]
    for text in texts:
        true(not re.search(r"SELECT|sql|pgbox|/tmp|postgres", text), text)
