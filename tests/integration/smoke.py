"""A walk through everything once: the leg that runs under valgrind or ASan."""

import poplib

from imapclient import Lit, Lit8, flags_of
from mails import MIXED, PLAIN, fill, nasty, simple
from tap import eq, has, true, timeout


def test_imap_walk(lab):
    """Append, select, fetch, store, search, sort, copy, move, expunge."""
    c = lab.imap()
    c.ok("CREATE box")
    c.ok("APPEND INBOX (\\Seen kw) ", Lit(MIXED), " ", Lit(PLAIN))
    c.ok("APPEND INBOX ", Lit8(b"Subject: nul\r\n\r\na\0b\r\n"))
    c.ok("SELECT INBOX (CONDSTORE)")
    got = c.ok("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE "
               "BODY.PEEK[] BODY.PEEK[1] BODY.PEEK[HEADER.FIELDS (SUBJECT)] PREVIEW "
               "SAVEDATE MODSEQ BODY.PEEK[TEXT]<3.10>)").fetches()
    eq(got[1]["BODY[]"], MIXED)
    c.ok("FETCH 1 (BINARY.PEEK[2] BINARY.SIZE[2])")
    c.ok("STORE 1:2 +FLAGS (\\Flagged other)")
    c.ok("STORE 1 (UNCHANGEDSINCE 1) -FLAGS (\\Flagged)")
    eq(c.ok("SEARCH FLAGGED KEYWORD other").numbers(), [1, 2])
    eq(c.ok("SEARCH BODY noon").numbers(), [2])
    c.ok("SORT (SUBJECT REVERSE DATE) UTF-8 ALL")
    c.ok("THREAD REFERENCES UTF-8 ALL")
    c.ok("COPY 1:* box")
    c.ok("MOVE 1 box")
    c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    c.ok("SELECT box")
    eq(c.ok("UID SEARCH ALL").numbers(), [1, 2, 3, 4])
    c.ok("CLOSE")
    c.ok("LOGOUT")


def test_errors(lab):
    """The ways out: what is refused, interrupted, missing."""
    user = lab.user()
    c = lab.imap(user)
    fill(c, "INBOX", 2)
    for line in ("SELECT nowhere", "DELETE nowhere", "RENAME a b", "STATUS nowhere (UIDNEXT)",
                 "CREATE INBOX", "FROB", "DELETE INBOX"):
        true(not c.cmd(line).ok, line)
    c.ok("SELECT INBOX")
    for line in ("COPY 1 nowhere", "MOVE 1 nowhere", "STORE 9 FLAGS (a)", "FETCH 9 UID"):
        true(not c.cmd(line).ok, line)
    half = lab.node().imap(user)
    half.send_raw(b"x APPEND INBOX {100000+}\r\n" + b"y" * 70000)
    half.close()
    eq(c.ok("NOOP").number("EXISTS"), None)


def test_lists(lab):
    """Mailboxes: create, rename, subscribe, list, delete."""
    c = lab.imap()
    for name in ("a/b/c", "a/d", "&APw-"):
        c.ok("CREATE ", name)
        c.ok("SUBSCRIBE ", name)
    c.ok("APPEND a/b/c ", Lit(PLAIN))
    c.ok("RENAME a x")
    eq(len(c.ok('LIST "" * RETURN (SUBSCRIBED CHILDREN STATUS (MESSAGES))').all("LIST")), 6)
    c.ok('LSUB "" *')
    c.ok("DELETE x/b/c")
    c.ok('SETMETADATA x/d (/private/comment "c")')
    c.ok("GETMETADATA x/d /private/comment")


def test_two_sessions(lab):
    """IDLE and QRESYNC between two sessions."""
    user = lab.user()
    a, b = lab.imap(user), lab.imap(user)
    a.ok("ENABLE QRESYNC")
    fill(a, "INBOX", 5)
    a.ok("SELECT INBOX")
    b.ok("SELECT INBOX")
    tag = a.idle()
    b.ok("STORE 1 +FLAGS (\\Seen)")
    b.ok("STORE 2 +FLAGS (\\Deleted)")
    b.ok("EXPUNGE")
    b.ok("APPEND INBOX ", Lit(PLAIN))
    a.wait_untagged(lambda item: item.name == "EXISTS", 60)
    a.done(tag)
    eq(a.ok("UID SEARCH ALL").numbers(), [1, 3, 4, 5, 6])


def test_delivery(lab):
    """LMTP to three, one unknown; Sieve; POP3."""
    users = [lab.user() for _ in range(3)]
    sieve = lab.sieve(users[0])
    sieve.put(b"s", b'require ["fileinto","mailbox"]; fileinto :create "lists";\r\n')
    sieve.activate(b"s")
    sieve.close()
    answers = lab.lmtp().deliver(MIXED, "nobody-here", *users)
    eq([answers[user][0] for user in users], [250] * 3)
    eq(answers["nobody-here"][0], 550)
    eq(lab.imap(users[0]).ok("SELECT lists").number("EXISTS"), 1)
    p = poplib.POP3("127.0.0.1", lab.node().ports["pop3"], timeout=120)
    p.user(users[1])
    p.pass_("pw")
    p.uidl()
    p.top(1, 3)
    p.retr(1)
    p.dele(1)
    p.quit()


def test_doveadm(lab):
    """fetch, search, flags, copy, expunge, resync, purge, mailbox, quota."""
    user = lab.user()
    node = lab.node()
    fill(lab.imap(user), "INBOX", 5)
    for args in (("fetch", "uid flags guid hdr.subject size.virtual text", "all"),
                 ("search", "subject", "message"), ("mailbox", "create", "t/b"),
                 ("flags", "add", "\\Seen kw", "mailbox", "INBOX", "uid", "1:3"),
                 ("copy", "t/b", "mailbox", "INBOX", "all"),
                 ("move", "t/b", "mailbox", "INBOX", "uid", "1"),
                 ("expunge", "mailbox", "INBOX", "uid", "2"),
                 ("mailbox", "status", "all", "*"), ("mailbox", "rename", "t/b", "u"),
                 ("index", "INBOX"), ("force-resync", "*"), ("purge",),
                 ("quota", "get"), ("deduplicate", "mailbox", "u"),
                 ("mailbox", "delete", "u")):
        node.doveadm(*args, user=user, timeout=300)


@timeout(120)
def test_large(lab):
    """5 MB in and out, and 300 small ones."""
    c = lab.imap()
    big = simple(1, body="0123456789abcdef\r\n" * 280000)
    c.ok("APPEND INBOX ", Lit(big), timeout=300)
    fill(c, "INBOX", 300)
    c.ok("SELECT INBOX")
    got = c.ok("FETCH 1 BODY.PEEK[]", timeout=300).fetches()[1]["BODY[]"]
    true(got == big, "5 MB")
    c.ok("FETCH 1 BODY.PEEK[]<4000000.1000>")
    eq(len(c.ok("FETCH 2:* (ENVELOPE BODY.PEEK[])", timeout=300).fetches()), 300)


def test_nasty(lab):
    """Thirty damaged messages."""
    c = lab.imap()
    lab.node().expect_log("got too little data", "Broken MIME parts")
    for seed in range(30):
        c.ok("APPEND INBOX ", Lit(nasty(seed) or b"x"))
    c.ok("SELECT INBOX")
    eq(len(c.ok("FETCH 1:* (BODYSTRUCTURE ENVELOPE BODY.PEEK[] BODY.PEEK[TEXT])")
           .fetches()), 30)
    has("\\Recent", flags_of(c.ok("FETCH 1 FLAGS").fetches()[1]["FLAGS"]))
