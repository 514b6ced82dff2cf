"""A walk through everything once: run plainly first, and under valgrind."""

from imapclient import Lit
from tap import eq

MESSAGE = (b"From: a@example.org\r\nTo: b@example.org\r\nSubject: one\r\n"
           b"Date: Mon, 2 Jan 2023 10:00:00 +0100\r\n\r\nHello\r\n")


def test_append_fetch(lab):
    """APPEND, SELECT, FETCH, SEARCH, STORE, EXPUNGE."""
    c = lab.imap()
    c.ok("APPEND INBOX (\\Seen) ", Lit(MESSAGE))
    reply = c.ok("SELECT INBOX")
    eq(reply.number("EXISTS"), 1)
    got = c.ok("FETCH 1 (FLAGS BODY[] ENVELOPE)").fetches()[1]
    eq(got["BODY[]"], MESSAGE)
