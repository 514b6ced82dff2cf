"""LMTP: what an MTA delivers again because the answer was lost is there once.

pgbox only. And what only looks like it is there as often as it was sent."""

from cache_truth import check
from imapclient import Lit
from lmtp import LmtpClient
from mails import PLAIN, queued, simple
from tap import eq, only

BIG = simple(3, body="line of a large message\r\n" * 20000)


def send(lab, message, *recipients, code=250, node=None):
    """One delivery by a connection of its own, as a queue run makes it."""
    client = LmtpClient((node or lab.node()).ports["lmtp"])
    answers = client.deliver(message, *recipients)
    client.close()
    for recipient in recipients:
        eq(answers[recipient][0], code, answers[recipient][1])


def amount(lab, user, mailbox="INBOX", node=None):
    """Messages in a mailbox."""
    return int(lab.imap(user, node).ok("STATUS %s (MESSAGES)" % mailbox).one("STATUS")[1][1])


@only("pgbox")
def test_again(lab):
    """The same queued message, small, large, in an index that is warm, and for several."""
    for message in (queued(PLAIN), queued(BIG)):
        user, other = lab.user(), lab.user()
        send(lab, message, user)
        c = lab.imap(user)
        eq(c.ok("SELECT INBOX").number("EXISTS"), 1)
        send(lab, message, user)
        eq(c.ok("NOOP").all("EXISTS"), [])
        send(lab, message, user, other)
        send(lab, message, other, user)
        eq([amount(lab, user), amount(lab, other)], [1, 1])
        # what is copied to the second recipient isn't what the first one got alone
        d = lab.imap(other)
        d.ok("SELECT INBOX")
        eq(d.ok("FETCH 1 BODY.PEEK[]").fetches()[1]["BODY[]"].count(b"Delivered-To: "), 0)
        check(lab, lab.imap(user), user)


@only("pgbox")
def test_again_after_others(lab):
    """Other changes in between, and the message itself is gone: it stays gone."""
    user = lab.user()
    message = queued(PLAIN)
    send(lab, message, user)
    c = lab.imap(user)
    c.ok("SELECT INBOX")
    send(lab, queued(PLAIN), user)
    c.ok("STORE 1 +FLAGS (\\Deleted)")
    c.ok("EXPUNGE")
    send(lab, message, user)
    send(lab, message, user, lab.user())
    eq(c.ok("UID SEARCH ALL").one("SEARCH"), [b"2"])
    check(lab, lab.imap(user), user)


@only("pgbox")
def test_again_by_sieve(lab):
    """A script files one delivery into two folders: each once, and what is missing is completed."""
    user = lab.user()
    sieve = lab.sieve(user)
    sieve.put(b"s", b'require ["fileinto", "mailbox", "copy"];\r\nfileinto :copy :create "lists";\r\n')
    sieve.activate(b"s")
    message = queued(PLAIN)
    send(lab, message, user)
    send(lab, message, user)
    eq([amount(lab, user), amount(lab, user, "lists")], [1, 1])
    sieve.put(b"t", b'require ["fileinto", "mailbox", "copy"];\r\nfileinto :copy :create "other";\r\n')
    sieve.activate(b"t")
    sieve.close()
    send(lab, message, user)
    eq([amount(lab, user), amount(lab, user, "lists"), amount(lab, user, "other")], [1, 1, 1])


@only("pgbox")
def test_again_by_proxy(lab):
    """A proxy that speaks LMTP adds a line of its own at each attempt."""
    user = lab.user()
    message = queued(PLAIN)
    for number in range(2):
        line = (b"Received: from mx.example.org ([192.0.2.1])\r\n\tby director.example.org with LMTP\r\n"
                b"\tid %d\r\n\t(envelope-from <a@example.org>); Mon, 2 Jan 2023 10:00:0%d +0100\r\n" % (number, number))
        send(lab, line + message, user)
    eq(amount(lab, user), 1)


@only("pgbox")
def test_again_over_quota(lab):
    """The account is full, by this very message: it isn't refused now."""
    # Dovecot's own plugin can't know, and refuses it before we see it
    node = lab.node("unlimited", plugins="zlib")
    for text in (PLAIN, BIG):
        user = lab.user(node)
        lab.cluster.psql("SELECT pgbox.account_set_quota('%s', 1, NULL)" % user)
        message = queued(text)
        send(lab, message, user, node=node)
        send(lab, queued(text), user, node=node, code=552)
        send(lab, message, user, node=node)
        eq(amount(lab, user, node=node), 1)
    user = lab.user()
    lab.cluster.psql("SELECT pgbox.account_set_quota('%s', 1, NULL)" % user)
    message = queued(PLAIN)
    send(lab, message, user)
    send(lab, message, user, code=552)


@only("pgbox")
def test_not_again(lab):
    """Queued twice, never queued, another recipient, another sender's header: all are there."""
    user = lab.user()
    for _ in range(2):
        send(lab, queued(PLAIN), user)
    eq(amount(lab, user), 2, "queued twice, as a newsletter that is sent twice")
    for _ in range(2):
        send(lab, PLAIN, user)
    eq(amount(lab, user), 4, "never queued")
    message = queued(PLAIN)
    send(lab, message, user)
    send(lab, message, user + "+box")
    eq(amount(lab, user), 6, "for two addresses")
    send(lab, queued(b"List-Id: <list.example.org>\r\n" + message), user)
    eq(amount(lab, user), 7, "directly and by a list")
    c = lab.imap(user)
    c.ok("APPEND INBOX ", Lit(message))
    c.ok("APPEND INBOX ", Lit(message))
    eq(amount(lab, user), 9, "no delivery")


@only("pgbox")
def test_again_later(lab):
    """Tokens are kept for a day: then nobody knows any more."""
    user = lab.user()
    message = queued(PLAIN)
    send(lab, message, user)
    for age, wanted in (("23 hours", 1), ("25 hours", 2)):
        lab.cluster.psql("UPDATE pgbox.commit_token SET created_at = now() - interval '%s'" % age)
        lab.cluster.psql("SELECT pgbox.purge(100000)")
        send(lab, message, user)
        eq(amount(lab, user), wanted, age)
